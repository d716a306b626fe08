//! Which event last set a part of the state.

use serde_json::Value;

use super::{fold_at, row};
use crate::engine::error::EngineError;
use crate::engine::fold::{Fold, Rungs, Watch};
use crate::projection::part::StatePath;
use crate::session::{Recorded, Seq, Session, SessionId};
use crate::store::Store;

/// The event that made a part of a state what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Blamed {
    /// The event.
    pub event: Recorded,
    /// What the part was before; `None` where it was not there.
    pub old: Option<Value>,
    /// What it is since; `None` when the event took it away.
    pub new: Option<Value>,
}

/// Finds the event that last changed the part of the state at `path`, up to event `at`; `None` when no event ever did.
///
/// The log is looked through from its end, one stretch between snapshots after another, and no further than to the event.
///
/// # Errors
/// As [`state_at`](super::state_at).
pub async fn blame(store: &dyn Store, id: SessionId, at: Seq, path: &StatePath) -> Result<Option<Blamed>, EngineError> {
    row(store, id).await?;
    // The snapshots that the way back needs are made on the way there.
    let mut end = fold_at(store, id, at).await?.seq();
    while end > Seq::ZERO {
        let mut fold = Fold::nearest(store, id, Seq(end.0 - 1)).await?;
        let begin = fold.seq();
        let mut changed = Changed { path, value: path.of(fold.session()), last: None };
        fold.forward(store, end, Rungs::Leave, &mut changed).await?;
        if let Some(last) = changed.last {
            return Ok(Some(last));
        }
        end = begin;
    }
    Ok(None)
}

struct Changed<'a> {
    path: &'a StatePath,
    value: Option<Value>,
    last: Option<Blamed>,
}

impl Watch for Changed<'_> {
    fn after(&mut self, state: &Session, event: &Recorded) {
        let new = self.path.of(state);
        if new != self.value {
            let old = std::mem::replace(&mut self.value, new.clone());
            self.last = Some(Blamed { event: event.clone(), old, new });
        }
    }
}
