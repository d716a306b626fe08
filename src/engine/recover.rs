//! Every session that has a next effect gets a worker. A question to the store, asked as often as one likes; never a list kept.

use super::Engine;
use super::error::EngineError;
use crate::session::SessionId;
use crate::store::SessionFilter;

/// How many sessions are looked at in one pass.
const PASS_MAX: u32 = 1000;

/// What became of one session that needed a worker.
#[derive(Debug)]
pub struct Recovery {
    /// The session.
    pub session: SessionId,
    /// Whether it runs here now; the error says why not.
    pub outcome: Result<(), EngineError>,
}

impl Engine {
    /// Takes over every session that needs a worker and has no living owner.
    ///
    /// # Errors
    /// When the store cannot be asked; what is wrong with one session is in its [`Recovery`].
    pub async fn recover(&self) -> Result<Vec<Recovery>, EngineError> {
        let due = self.store().sessions(SessionFilter::Due, PASS_MAX).await?;
        let mut recoveries = Vec::with_capacity(due.len());
        for row in due {
            if self.is_live(row.id) {
                continue;
            }
            let outcome = self.resume(row.id).await.map(|_| ());
            recoveries.push(Recovery { session: row.id, outcome });
        }
        Ok(recoveries)
    }
}
