//! A store that fails on purpose: from one seed, so that every failure can be had again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::session::{Digest, NodeId, Seq, SessionId, SessionName, Timestamp};
use crate::store::{
    Adoption, Alike, Append, Appended, Backup, Care, Compacted, Condition, Document, FeedCursor, FeedFlaw, FeedPage, Find, Hit,
    Inbox, Indexed, Keeping, Letter, NodeRow, Packed, Page, Pieces, Projected, ProjectionId, Quarantined, Read, ReadModels,
    SearchIndex, SessionFilter, SessionRow, Shard, SharedStore, Snapshot, Store, StoreError, StoreInfo, WakeUps,
};

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
impl SearchIndex for FaultStore {
    async fn indexed(&self) -> Result<FeedCursor, StoreError> {
        self.inner.indexed().await
    }

    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        self.failing(self.inner.index(indexed)).await
    }

    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError> {
        self.inner.find(find).await
    }

    async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError> {
        self.inner.sessions_alike(alike).await
    }
}

#[async_trait]
impl ReadModels for FaultStore {
    async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError> {
        self.inner.checkpoint(projection).await
    }

    async fn project(&self, projected: Projected) -> Result<(), StoreError> {
        self.failing(self.inner.project(projected)).await
    }

    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError> {
        self.inner.document(projection, shard, key).await
    }

    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.inner.documents(projection, prefix).await
    }

    async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError> {
        self.inner.quarantined(projection).await
    }

    async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError> {
        self.inner.drop_projection(projection).await
    }

    async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError> {
        self.inner.projections().await
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.failing(self.inner.append(append)).await
    }

    fn page_rows(&self) -> u32 {
        self.inner.page_rows()
    }

    async fn read(&self, read: Read) -> Result<Page, StoreError> {
        self.inner.read(read).await
    }

    async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
        self.inner.read_in_pieces(read, pieces).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.inner.session(id).await
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.inner.sessions(filter, limit).await
    }

    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError> {
        self.inner.name(id, name).await
    }

    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        self.inner.put_blob(session, bytes).await
    }

    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.blob(session, digest).await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.inner.put_snapshot(snapshot).await
    }

    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError> {
        self.inner.snapshot(session, reducer, upto).await
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        self.inner.feed(after, limit).await
    }

    async fn feed_head(&self) -> Result<FeedCursor, StoreError> {
        self.inner.feed_head().await
    }

    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError> {
        if self.leaseless.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the lease was not to be renewed".into()));
        }
        self.inner.renew_lease(node, address, ttl).await
    }

    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        self.inner.node(node).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.inner.nodes().await
    }

    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError> {
        self.inner.end_lease(node).await
    }

    fn wake_ups(&self) -> WakeUps {
        self.inner.wake_ups()
    }

    async fn info(&self) -> Result<StoreInfo, StoreError> {
        self.inner.info().await
    }

    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError> {
        self.inner.redact(session, seq).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Inbox for FaultStore {
    async fn post(&self, letter: Letter) -> Result<(), StoreError> {
        self.inner.post(letter).await
    }

    async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError> {
        self.inner.letters(node, limit).await
    }

    async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        self.inner.begin(node, letter).await
    }

    async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError> {
        self.inner.answer(node, letter, answer).await
    }

    async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError> {
        self.inner.take_answer(node, letter).await
    }

    async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        self.inner.withdraw(node, letter).await
    }
}

#[async_trait]
impl Care for FaultStore {
    async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError> {
        self.inner.adopt(adoptions).await
    }

    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError> {
        self.inner.settle(row, keeping).await
    }

    async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError> {
        self.inner.keeping(session).await
    }

    async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError> {
        self.inner.hold(session, reason).await
    }

    async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError> {
        self.inner.purge(session, at).await
    }

    async fn backup(&self, to: &std::path::Path) -> Result<Backup, StoreError> {
        self.inner.backup(to).await
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.inner.condition().await
    }

    async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError> {
        self.inner.feed_flaws().await
    }

    async fn packable(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        self.inner.packable(before, limit).await
    }

    async fn pack(&self, session: SessionId) -> Result<Packed, StoreError> {
        self.inner.pack(session).await
    }

    async fn compact(&self) -> Result<Compacted, StoreError> {
        self.inner.compact().await
    }
}
