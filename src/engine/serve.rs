//! A node that serves takes up what nobody runs: again and again asked of the store, spread over all the nodes that serve.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use tokio::time::Instant;

use super::error::EngineError;
use super::ownership::{Nodes, rendezvous};
use super::{Engine, Status};
use crate::session::SessionId;
use crate::store::{SessionFilter, StoreError};

/// How many sessions are looked at in one pass.
const DUE_MAX: u32 = 100_000;
/// How many sessions are taken over at the same time.
const TAKEOVERS_AT_ONCE: usize = 8;
/// The longest pause after which a session that keeps failing is tried again.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// What a node that serves tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum Served {
    /// It runs this session now.
    Took(SessionId),
    /// It should run this session, but cannot.
    NotTaken(SessionId, EngineError),
    /// This session waits for a command, or its worker gave up.
    Rested(SessionId, Status),
    /// The store cannot be asked just now; it is asked again.
    Troubled(EngineError),
}

/// What a node remembers of sessions that nobody runs.
struct Waiting {
    seen: Instant,
    again: Instant,
    pause: Duration,
}

impl Engine {
    /// Runs this process as a node until it is [drained](Self::drain): takes over, soon, each session that has something left to do
    /// and no living owner.
    ///
    /// All nodes that serve agree on who takes which session; when that node does not, the others do a little later. No error ends
    /// this: it is told, and the next pass asks again.
    pub async fn serve(&self, mut tell: impl FnMut(Served) + Send) {
        let mut stopping = self.running.stopping.subscribe();
        self.running.serves();
        let mut waiting = HashMap::new();
        let mut running: FuturesUnordered<BoxFuture<'static, (SessionId, Status)>> = FuturesUnordered::new();
        let mut next = Instant::now();
        let mut told_role = false;
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                Some((session, status)) = running.next(), if !running.is_empty() => {
                    tell(Served::Rested(session, status));
                    continue;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            let mut taken = Vec::new();
            let pass = async {
                if !told_role {
                    self.tell_role().await?;
                    told_role = true;
                }
                self.pass(&mut waiting, |served| {
                    if let Served::Took(session) = &served {
                        taken.push(*session);
                    }
                    tell(served);
                })
                .await
            };
            let passed = tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return,
                passed = pass => passed,
            };
            for session in taken {
                let engine = self.clone();
                running.push(Box::pin(async move { (session, engine.rest(session).await) }));
            }
            if let Err(error) = passed {
                tell(Served::Troubled(error));
            }
            next = Instant::now() + jittered(self.pass_every());
        }
    }

    /// A death is noticed and a session of another's share given up within one lease, together.
    fn pass_every(&self) -> Duration {
        self.shared.lease.length / 5
    }

    async fn pass(&self, waiting: &mut HashMap<SessionId, Waiting>, mut tell: impl FnMut(Served)) -> Result<(), EngineError> {
        self.hold_lease().await?;
        let store = &self.shared.store;
        let nodes = Nodes::living(store.as_ref()).await?;
        let serving = nodes.serving(self.node());
        let due = store.sessions(SessionFilter::Due, DUE_MAX).await?;
        let free = due.into_iter().filter(|row| row.owner.is_none_or(|owner| owner == self.node() || !nodes.has(owner)));
        let now = Instant::now();
        let grace = self.pass_every() * 2;
        let mut before = std::mem::take(waiting);
        let mut mine = Vec::new();
        for row in free.filter(|row| !self.is_live(row.id)) {
            let mut known = before.remove(&row.id).unwrap_or(Waiting { seen: now, again: now, pause: self.pass_every() });
            let chosen = row.owner == Some(self.node()) || rendezvous(row.id, &serving) == Some(self.node());
            if (chosen || now.duration_since(known.seen) >= grace) && known.again <= now {
                known.again = now + known.pause;
                known.pause = (known.pause * 2).min(PAUSE_MAX);
                mine.push(row.id);
            }
            waiting.insert(row.id, known);
        }
        let takeovers = mine.into_iter().map(|id| Box::pin(async move { (id, self.resume(id).await) }));
        let mut takeovers = stream::iter(takeovers).buffer_unordered(TAKEOVERS_AT_ONCE);
        while let Some((session, outcome)) = takeovers.next().await {
            match outcome {
                Ok(resumed) if resumed.running => tell(Served::Took(session)),
                // Another node was first, or there is nothing to do any more.
                Ok(_) | Err(EngineError::OwnedElsewhere { .. } | EngineError::Store(StoreError::Fenced { .. })) => {}
                Err(error) => tell(Served::NotTaken(session, error)),
            }
        }
        Ok(())
    }
}

/// A little more or less than `wait`, so that nodes do not stay in step.
fn jittered(wait: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait.mul_f64(0.8 + 0.4 * f64::from(chance) / f64::from(u32::MAX))
}
