//! Replay in mode `fold`: a log is folded from its first event, and each state that it records is compared with the one folded here.

use serde::{Deserialize, Serialize};

use super::row;
use crate::engine::error::EngineError;
use crate::engine::fold::{Fold, Watch};
use crate::session::{Digest, REDUCER, Recorded, Seq, Session, SessionId};
use crate::store::Store;

/// What a fold of a whole log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refolded {
    /// The session.
    pub session: SessionId,
    /// The reducer that folded.
    pub reducer: &'static str,
    /// How many events were folded.
    pub events: u64,
    /// The digest of the state that they lead to.
    pub digest: Digest,
    /// How many recorded digests were compared.
    pub compared: u64,
    /// How many could not be: other reducers made them, or something before them was taken out of the log.
    pub passed_over: u64,
    /// How many of those compared are others than those folded here.
    pub mismatches: u64,
    /// The first of them.
    pub first: Option<Mismatch>,
    /// The first event that this version must understand and does not.
    pub not_understood: Option<Seq>,
}

/// A recorded state that is not the one folded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// The event that records it.
    pub seq: Seq,
    /// The event after which it was the state.
    pub after: Seq,
    /// The recorded digest.
    pub recorded: Digest,
    /// The digest of what was folded.
    pub folded: Digest,
}

/// Folds the log of a session from its first event up to `upto`, or to its end, and compares each state that is recorded in it
/// (`turn.ended`, `session.restored`) with the one folded. A state that is another one is in what was found, no error.
///
/// # Errors
/// [`EngineError::NotFound`], [`EngineError::Purged`], and [`EngineError::Unproven`] where an event is missing, unreadable or changed.
pub async fn refold(store: &dyn Store, id: SessionId, upto: Option<Seq>) -> Result<Refolded, EngineError> {
    let head = row(store, id).await?.head;
    let mut fold = Fold::new(id);
    let mut compare = RecordedStates::default();
    fold.forward_unproven(store, upto.unwrap_or(head).min(head), &mut compare).await?;
    let session = fold.session();
    Ok(Refolded {
        session: id,
        reducer: REDUCER,
        events: session.version.0,
        digest: session.digest(),
        compared: compare.compared,
        passed_over: compare.passed_over,
        mismatches: compare.mismatches,
        first: compare.first,
        not_understood: session.not_understood,
    })
}

/// Compares the states that a log records with those that it folds to.
#[derive(Debug, Default)]
pub struct RecordedStates {
    /// How many recorded digests were compared.
    pub compared: u64,
    /// How many could not be: other reducers made them, or something before them was taken out of the log.
    pub passed_over: u64,
    /// How many of those compared are others than those folded here.
    pub mismatches: u64,
    /// The first of them.
    pub first: Option<Mismatch>,
    redacted: bool,
    /// The state before the last change of hands, which the event after it records.
    handed_over: Option<(Seq, Digest)>,
}

/// What events that record a state have in common.
#[derive(Deserialize)]
struct Claim {
    digest: Digest,
    reducer: String,
    /// After how many events; those before this one when it does not say.
    #[serde(default)]
    events: Option<u64>,
}

impl Watch for RecordedStates {
    fn before(&mut self, state: &Session, event: &Recorded) {
        self.redacted |= event.body == crate::session::Body::Redacted;
        match event.kind.as_str() {
            "session.owner_acquired" => self.handed_over = Some((state.version, state.digest())),
            "turn.ended" | "session.restored" => {
                if let Ok(claim) = serde_json::from_str::<Claim>(event.body.as_json()) {
                    self.claimed(state, event.seq, &claim);
                }
            }
            _ => {}
        }
    }
}

impl RecordedStates {
    fn claimed(&mut self, state: &Session, seq: Seq, claim: &Claim) {
        let after = claim.events.map_or(state.version, Seq);
        let folded = match self.handed_over {
            _ if after == state.version => Some(state.digest()),
            Some((at, digest)) if after == at => Some(digest),
            _ => None,
        };
        let Some(folded) = folded.filter(|_| claim.reducer == REDUCER && !self.redacted) else {
            self.passed_over += 1;
            return;
        };
        self.compared += 1;
        if folded != claim.digest {
            self.mismatches += 1;
            self.first.get_or_insert(Mismatch { seq, after, recorded: claim.digest, folded });
        }
    }
}
