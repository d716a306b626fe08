//! The lease of this process: taken once, kept renewed, and known to have passed before anybody else may think so.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::EngineError;
use super::letters;
use super::ownership::{self, Role};
use super::{Engine, Running, Shared};
use crate::store::StoreError;

/// Counts the times that the lease was taken; a term ends when the lease was not renewed in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Term(u64);

/// What this process knows of its own lease, by a clock that nobody sets.
#[derive(Debug)]
pub(super) struct Lease {
    /// How long it is.
    pub(super) length: Duration,
    known: watch::Sender<(Term, Option<Instant>)>,
}

impl Lease {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, known: watch::Sender::new((Term::default(), None)) }
    }

    /// How often it is renewed.
    fn renewal(&self) -> Duration {
        self.length * 3 / 10
    }

    /// How long before its end it counts as passed already, for an effect that has been begun just then.
    fn margin(&self) -> Duration {
        self.length / 5
    }

    /// Notes a renewal that was asked for at `asked`: the store has counted from then, or later.
    fn renewed(&self, asked: Instant) {
        let now = Instant::now();
        self.known.send_modify(|(term, until)| {
            if until.is_none_or(|until| until <= now) {
                term.0 += 1;
            }
            *until = Some(asked + self.length.saturating_sub(self.margin()));
        });
    }

    /// The present term, while the lease certainly holds.
    pub(super) fn held(&self) -> Option<Term> {
        let (term, until) = *self.known.borrow();
        until.is_some_and(|until| Instant::now() < until).then_some(term)
    }

    /// The present term; waits for a renewal when the lease may have passed, but not for ever.
    pub(super) async fn hold(&self) -> Result<Term, EngineError> {
        let mut known = self.known.subscribe();
        let renewed = async {
            loop {
                if let Some(term) = self.held() {
                    return term;
                }
                if known.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(self.length * 3, renewed).await.map_err(|_| EngineError::LeaseLost)
    }
}

impl Shared {
    async fn renew(&self, role: Role) -> Result<(), StoreError> {
        let asked = Instant::now();
        self.store.renew_lease(self.node, &ownership::address(role), self.lease.length).await?;
        self.lease.renewed(asked);
        Ok(())
    }
}

impl Engine {
    /// Takes the lease of this process, and keeps it renewed until the engine is gone or shut down.
    pub(super) async fn hold_lease(&self) -> Result<(), EngineError> {
        if *self.running.stopping.borrow() {
            return Err(EngineError::ShutDown);
        }
        let mut lease = self.running.lease.lock().await;
        if lease.is_some() && self.shared.lease.held().is_some() {
            return Ok(());
        }
        self.shared.renew(self.running.role()).await?;
        if lease.is_none() {
            let renewal = tokio::spawn(keep_renewed(Arc::clone(&self.shared), Arc::downgrade(&self.running)));
            let letters = tokio::spawn(letters::keep_answering(Arc::clone(&self.shared), Arc::downgrade(&self.running)));
            *lease = Some([renewal.abort_handle(), letters.abort_handle()]);
        }
        Ok(())
    }

    /// Says at once in which role this process lives, where it has a lease already.
    pub(super) async fn tell_role(&self) -> Result<(), EngineError> {
        self.hold_lease().await?;
        Ok(self.shared.renew(self.running.role()).await?)
    }
}

async fn keep_renewed(shared: Arc<Shared>, running: Weak<Running>) {
    let mut wait = shared.lease.renewal();
    loop {
        tokio::time::sleep(wait).await;
        let Some(role) = running.upgrade().map(|running| running.role()) else { return };
        let renewed = tokio::time::timeout(shared.lease.renewal(), shared.renew(role)).await;
        wait = match renewed {
            Ok(Ok(())) => shared.lease.renewal(),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not renewed");
                shared.lease.renewal() / 3
            }
            Err(_) => {
                tracing::warn!("the lease was not renewed in time");
                Duration::ZERO
            }
        };
    }
}
