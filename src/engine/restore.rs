//! From the log to a state that is proven to follow from it.
//!
//! The newest snapshot of this reducer and the events behind it are folded, and three things are checked on the way: the events are
//! dense, the hash chain holds up to the head that the directory names, and the last state digest that this reducer recorded is the
//! digest of the state folded here.

use super::error::EngineError;
pub use super::fold::snapshot;
use super::fold::{Fold, Rungs};
use crate::session::{Digest, Proof, Seq, Session, SessionId};
use crate::store::{PURGED, SessionRow, Store};

/// A restored session and what it stands on.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The state.
    pub session: Session,
    /// What it stands on.
    pub proof: Proof,
    /// The chain hash of the last event.
    pub hash: Digest,
}

/// How much of what the log promises is checked while it is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Begin with a snapshot where there is one.
    Snapshot,
    /// Begin with the first event.
    Nothing,
}

/// Restores the session at its head.
///
/// # Errors
/// [`EngineError::Unproven`] naming the first event that is missing, changed or folds to another state than recorded.
pub async fn restore(store: &dyn Store, id: SessionId, trust: Trust) -> Result<Restored, EngineError> {
    let row = store.session(id).await?.ok_or(EngineError::NotFound(id))?;
    let restored = fold(store, &row, row.head, trust).await?;
    if restored.hash != row.hash {
        let what = "the last event is not the one that the directory names".to_owned();
        return Err(EngineError::Unproven { session: id, seq: row.head, what });
    }
    Ok(restored)
}

/// Restores the session as it was after event `at`. With [`Trust::Snapshot`] this is [`state_at`](super::travel::state_at), which
/// keeps snapshots on its way.
///
/// # Errors
/// As [`restore`]; also [`EngineError::Unproven`] when there is no such event.
pub async fn restore_at(store: &dyn Store, id: SessionId, at: Seq, trust: Trust) -> Result<Restored, EngineError> {
    let row = store.session(id).await?.ok_or(EngineError::NotFound(id))?;
    fold(store, &row, at, trust).await
}

async fn fold(store: &dyn Store, row: &SessionRow, upto: Seq, trust: Trust) -> Result<Restored, EngineError> {
    if row.directory.phase == PURGED {
        return Err(EngineError::Purged(row.id));
    }
    let (mut fold, rungs) = match trust {
        Trust::Snapshot => (Fold::nearest(store, row.id, upto).await?, Rungs::Keep),
        Trust::Nothing => (Fold::new(row.id), Rungs::Leave),
    };
    fold.forward(store, upto, rungs, &mut ()).await?;
    Ok(fold.into_restored())
}
