//! A store that fails on purpose: from one seed, so that every failure can be had again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::session::NodeId;
use crate::store::{Append, Appended, Decorator, Indexed, Projected, SharedStore, Store, StoreError};

/// One way for an append, or for what a projection stores, to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It took place, but the answer was lost.
    AppliedButUnknown,
    /// It did not take place, and the answer was lost.
    LostAndUnknown,
    /// Somebody else held the lock for too long.
    Busy,
}

/// Passes everything on to another store, but lets some appends fail.
pub struct FaultStore {
    inner: SharedStore,
    state: AtomicU64,
    /// Of a hundred appends, how many fail.
    percent: u64,
    /// Whether leases are not renewed any more.
    leaseless: AtomicBool,
    /// How many appends there are until all fail.
    left: AtomicU64,
    /// Whether the first of those takes place all the same.
    applies: bool,
}

impl FaultStore {
    /// Lets `percent` of a hundred appends to `inner` fail, chosen from `seed`.
    pub const fn new(inner: SharedStore, seed: u64, percent: u64) -> Self {
        let state = AtomicU64::new(seed.wrapping_mul(2) | 1);
        Self { inner, state, percent, leaseless: AtomicBool::new(false), left: AtomicU64::new(u64::MAX), applies: false }
    }

    /// Lets all appends to `inner` fail after the first `appends`, as when whoever writes is killed then: just before it can write, or,
    /// when it `applies`, just after and before it knows.
    pub const fn cut(inner: SharedStore, appends: u64, applies: bool) -> Self {
        let (state, leaseless, left) = (AtomicU64::new(1), AtomicBool::new(false), AtomicU64::new(appends));
        Self { inner, state, percent: 0, leaseless, left, applies }
    }

    /// Whether all appends fail by now.
    pub fn is_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// From now on no lease is renewed, as when the database cannot be reached just for that; appends go on.
    pub fn stop_leases(&self) {
        self.leaseless.store(true, Ordering::SeqCst);
    }

    /// The next number of a xorshift64* generator.
    fn next(&self) -> u64 {
        let step = |mut x: u64| {
            x ^= x >> 12;
            x ^= x << 25;
            x ^ (x >> 27)
        };
        let before = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(step(x))).unwrap_or(1);
        step(before).wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    fn fault(&self) -> Option<Fault> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Err(_) => return Some(Fault::LostAndUnknown),
            Ok(1) if self.applies => return Some(Fault::AppliedButUnknown),
            Ok(_) => {}
        }
        (self.next() % 100 < self.percent).then(|| match self.next() % 3 {
            0 => Fault::AppliedButUnknown,
            1 => Fault::LostAndUnknown,
            _ => Fault::Busy,
        })
    }

    /// Lets what is written take place or not, as chance has it.
    async fn failing<T>(&self, written: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match self.fault() {
            None => written.await,
            Some(Fault::AppliedButUnknown) => {
                written.await?;
                Err(StoreError::Unknown("the answer was lost".into()))
            }
            Some(Fault::LostAndUnknown) => Err(StoreError::Unknown("the request was lost".into())),
            Some(Fault::Busy) => Err(StoreError::Busy("the lock was held".into())),
        }
    }
}

#[async_trait]
impl Decorator for FaultStore {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.failing(self.inner.append(append)).await
    }

    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError> {
        if self.leaseless.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the lease was not to be renewed".into()));
        }
        self.inner.renew_lease(node, address, ttl).await
    }

    async fn project(&self, projected: Projected) -> Result<(), StoreError> {
        self.failing(self.inner.project(projected)).await
    }

    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        self.failing(self.inner.index(indexed)).await
    }
}
