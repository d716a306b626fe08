//! Time travel: what a session was after any of its events, and which event made it so.
//!
//! All of it stands on [`state_at`]: the nearest snapshot before the place, and the events from there on. Snapshots stand
//! [`RUNG`](crate::store::RUNG) events apart, so that this takes milliseconds however long the session is; where they are missing, the
//! first one who comes by makes them.

mod bisect;
mod blame;
mod refold;

pub use bisect::{BisectError, Bisected, bisect};
pub use blame::{Blamed, blame};
pub use refold::{Mismatch, RecordedStates, Refolded, refold};

use super::error::EngineError;
use super::fold::{Fold, Rungs};
use super::restore::Restored;
use crate::session::{Seq, SessionId};
use crate::store::{PURGED, SessionRow, Store};

/// The state after event `at`, proven as a restore proves it: the events from the snapshot on are dense and chained, and each state
/// recorded on the way is the one folded here. `Seq::ZERO` is before the first event.
///
/// # Errors
/// [`EngineError::NotFound`] and [`EngineError::Purged`]; [`EngineError::Unproven`] naming the first event that is missing, changed, or
/// folds to another state than recorded.
pub async fn state_at(store: &dyn Store, id: SessionId, at: Seq) -> Result<Restored, EngineError> {
    let row = row(store, id).await?;
    let fold = fold_at(store, id, at).await?;
    if at == row.head && fold.hash() != row.hash {
        let what = "the last event is not the one that the directory names".to_owned();
        return Err(EngineError::Unproven { session: id, seq: row.head, what });
    }
    Ok(fold.into_restored())
}

/// The same, to be folded on from.
async fn fold_at(store: &dyn Store, id: SessionId, at: Seq) -> Result<Fold, EngineError> {
    let mut fold = Fold::nearest(store, id, at).await?;
    fold.forward(store, at, Rungs::Keep, &mut ()).await?;
    Ok(fold)
}

/// The directory row of a session whose events are there.
async fn row(store: &dyn Store, id: SessionId) -> Result<SessionRow, EngineError> {
    let row = store.session(id).await?.ok_or(EngineError::NotFound(id))?;
    if row.directory.phase == PURGED { Err(EngineError::Purged(id)) } else { Ok(row) }
}
