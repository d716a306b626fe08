//! The first event after which something holds, found by halving, as `git bisect` finds a commit.

use super::{fold_at, row};
use crate::engine::error::EngineError;
use crate::engine::fold::{Fold, Rungs};
use crate::session::{Recorded, Seq, Session, SessionId};
use crate::store::{RUNG, Read, Row, Store};

/// Below this many events it is quicker to fold them than to look for a snapshot.
const FOLDED_AT_ONCE: u64 = RUNG / 8;

/// The event that was looked for.
#[derive(Debug, Clone)]
pub struct Bisected {
    /// The first event after which it holds.
    pub event: Recorded,
    /// How many states were folded and looked at, the two ends among them.
    pub folds: u32,
    /// The state that the event found.
    pub before: Session,
    /// The state that it left.
    pub after: Session,
}

/// Why there is no such event.
#[derive(Debug, thiserror::Error)]
pub enum BisectError {
    /// It holds at the start already.
    #[error("it holds already after event {0}")]
    HoldsAlready(Seq),
    /// It does not hold at the end.
    #[error("it does not hold after event {0}")]
    NeverHolds(Seq),
    /// The end does not come after the start, or is not there.
    #[error("there is no event between {good} and {bad} in a session of {head} events")]
    Bounds {
        /// The start.
        good: Seq,
        /// The end.
        bad: Seq,
        /// The last event.
        head: Seq,
    },
    /// What was asked cannot be told of a state.
    #[error("it cannot be told whether it holds after event {seq}: {what}")]
    Untold {
        /// The last event of the state.
        seq: Seq,
        /// Why not.
        what: String,
    },
    /// The log could not be read or does not prove its states.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Finds the first event after which `holds`, given that it does not hold after event `good` (`Seq::ZERO` is before the first one) and
/// does after event `bad`. The interval is halved, so that about log₂ states are looked at; where it comes and goes, one of the events
/// at which it comes is found.
///
/// # Errors
/// [`BisectError`], when an end is not as it must be, or a state cannot be had or judged.
pub async fn bisect(
    store: &dyn Store,
    id: SessionId,
    good: Seq,
    bad: Option<Seq>,
    mut holds: impl FnMut(&Session) -> Result<bool, String> + Send,
) -> Result<Bisected, BisectError> {
    let head = row(store, id).await?.head;
    let bad = bad.unwrap_or(head);
    if good >= bad || bad > head {
        return Err(BisectError::Bounds { good, bad, head });
    }
    let mut folds = 0;
    let mut test = |state: &Session| {
        folds += 1;
        holds(state).map_err(|what| BisectError::Untold { seq: state.version, what })
    };
    let mut low = fold_at(store, id, good).await?;
    if test(low.session())? {
        return Err(BisectError::HoldsAlready(good));
    }
    let mut high = fold_at(store, id, bad).await?.session().clone();
    if !test(&high)? {
        return Err(BisectError::NeverHolds(bad));
    }
    while high.version.0 - low.seq().0 > 1 {
        let middle = halfway(store, id, &low, high.version).await?;
        if test(middle.session())? {
            high = middle.session().clone();
        } else {
            low = middle;
        }
    }
    let read = Read { upto: high.version, ..Read::forward(id, low.seq()) };
    let page = store.read(read).await.map_err(EngineError::from)?;
    let Some(Row::Event { event, .. }) = page.rows.into_iter().next() else {
        let what = "it is missing".to_owned();
        return Err(EngineError::Unproven { session: id, seq: high.version, what }.into());
    };
    Ok(Bisected { event, folds, before: low.session().clone(), after: high })
}

/// A state about halfway between: that of a snapshot where one stands well inside, else the one in the middle.
async fn halfway(store: &dyn Store, id: SessionId, low: &Fold, high: Seq) -> Result<Fold, EngineError> {
    let span = high.0 - low.seq().0;
    let middle = low.seq().plus(span / 2);
    let mut fold = None;
    if span / 2 > FOLDED_AT_ONCE {
        let kept = Fold::nearest(store, id, middle).await?;
        if kept.seq().0 >= low.seq().0 + span / 4 {
            return Ok(kept);
        }
        fold = Some(kept).filter(|kept| kept.seq() > low.seq());
    }
    let mut fold = fold.unwrap_or_else(|| low.clone());
    fold.forward(store, middle, Rungs::Keep, &mut ()).await?;
    Ok(fold)
}
