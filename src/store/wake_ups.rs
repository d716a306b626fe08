//! Rings that say when to look at the log again: at once after a commit of this process, soon after one of another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::session::SessionId;

/// How often a waiter asks whether other processes have committed.
const LOOK: Duration = Duration::from_millis(100);

/// Tells whether other processes have committed; asked only while somebody waits.
#[async_trait]
pub trait Elsewhere: fmt::Debug + Send + Sync + 'static {
    /// A number that has changed when others may have committed since it was asked before.
    async fn changes(&self) -> u64;

    /// What [`changes`](Self::changes) said last.
    fn known(&self) -> u64;
}

/// Rings when something may have been appended.
#[derive(Debug)]
pub struct WakeUps {
    commits: broadcast::Receiver<SessionId>,
    poll: Duration,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    seen: u64,
}

impl WakeUps {
    /// Rings for each session that `commits` names, and every `poll` for what other processes did.
    pub const fn new(commits: broadcast::Receiver<SessionId>, poll: Duration) -> Self {
        Self { commits, poll, elsewhere: None, seen: 0 }
    }

    /// Rings, beside that, whenever `elsewhere` says that others have committed.
    #[must_use]
    pub fn with(mut self, elsewhere: Arc<dyn Elsewhere>) -> Self {
        self.seen = elsewhere.known();
        self.elsewhere = Some(elsewhere);
        self
    }

    /// Waits until something may have been appended to `session`.
    pub async fn rung_for(&mut self, session: SessionId) {
        self.wait(Some(session)).await;
    }

    /// Waits until something may have been appended to any session.
    pub async fn rung(&mut self) {
        self.wait(None).await;
    }

    async fn wait(&mut self, wanted: Option<SessionId>) {
        let end = Instant::now() + self.poll;
        loop {
            let look = if self.elsewhere.is_some() { end.min(Instant::now() + LOOK) } else { end };
            if tokio::time::timeout_at(look, ring(&mut self.commits, wanted)).await.is_ok() || look == end {
                return;
            }
            if let Some(elsewhere) = &self.elsewhere {
                let changes = elsewhere.changes().await;
                if changes != self.seen {
                    self.seen = changes;
                    return;
                }
            }
        }
    }
}

/// Waits for a commit of this process.
async fn ring(commits: &mut broadcast::Receiver<SessionId>, wanted: Option<SessionId>) {
    loop {
        match commits.recv().await {
            Ok(appended) if wanted.is_none_or(|wanted| wanted == appended) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Told(AtomicU64);

    #[async_trait]
    impl Elsewhere for Told {
        async fn changes(&self) -> u64 {
            self.known()
        }

        fn known(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn commits_of_others_ring_soon_and_those_of_this_process_only_for_their_sessions() {
        let [one, two] = [1, 2].map(|id| SessionId::from_uuid(uuid::Uuid::from_u128(id)));
        let (commits, receiver) = broadcast::channel(8);
        let told = Arc::new(Told::default());
        let mut listener = WakeUps::new(receiver, Duration::from_secs(2)).with(Arc::clone(&told) as _);
        let begin = Instant::now();
        commits.send(two).unwrap();
        listener.rung_for(one).await;
        assert_eq!(begin.elapsed().as_secs(), 2, "nothing rang, and it looks by itself");
        told.0.store(1, Ordering::Relaxed);
        let begin = Instant::now();
        listener.rung_for(one).await;
        assert!(begin.elapsed() <= LOOK * 2);
        commits.send(two).unwrap();
        let begin = Instant::now();
        listener.rung().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
