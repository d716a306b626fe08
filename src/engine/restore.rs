//! From the log to a state that is proven to follow from it.
//!
//! The newest snapshot of this reducer and the events behind it are folded, and three things are checked on the way: the events are
//! dense, the hash chain holds up to the head that the directory names, and the last state digest that this reducer recorded is the
//! digest of the state folded here.

use serde::Deserialize;

use super::error::EngineError;
use crate::session::{Body, Digest, Proof, REDUCER, Recorded, Seq, Session, SessionId};
use crate::store::chain::Verifier;
use crate::store::{Order, PURGED, Read, Row, SessionRow, Snapshot, Store, StoreError};

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

/// What a snapshot keeps: the state, and the chain hash that it stands at.
#[derive(Debug, serde::Serialize, Deserialize)]
struct Kept {
    hash: Digest,
    session: Session,
}

/// Packs a state to be kept.
pub fn snapshot(id: SessionId, session: &Session, hash: Digest) -> Snapshot {
    let bytes = serde_json::to_vec(&Kept { hash, session: session.clone() }).unwrap_or_default();
    Snapshot { session: id, seq: session.version, reducer: REDUCER.to_owned(), digest: Digest::of(&bytes), bytes }
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

/// Restores the session as it was after event `at`.
///
/// # Errors
/// As [`restore`]; also [`EngineError::Unproven`] when there is no such event.
pub async fn restore_at(store: &dyn Store, id: SessionId, at: Seq, trust: Trust) -> Result<Restored, EngineError> {
    let row = store.session(id).await?.ok_or(EngineError::NotFound(id))?;
    fold(store, &row, at, trust).await
}

async fn fold(store: &dyn Store, row: &SessionRow, upto: Seq, trust: Trust) -> Result<Restored, EngineError> {
    let id = row.id;
    if row.directory.phase == PURGED {
        return Err(EngineError::Purged(id));
    }
    let kept = match trust {
        Trust::Snapshot => read_snapshot(store, id, upto).await?,
        Trust::Nothing => None,
    };
    let snapshot = kept.as_ref().map(|kept| kept.session.version);
    let (mut session, mut verifier) = match kept {
        Some(kept) => {
            let verifier = Verifier::from_anchor(id, kept.session.version, kept.hash);
            (kept.session, verifier)
        }
        None => (Session::default(), Verifier::new(id)),
    };
    if row.base.is_some_and(|base| session.version < base.seq) {
        verifier = verifier.across(store).await?;
    }
    let unproven = |error: StoreError| match error {
        StoreError::Damaged { session, seq, what } => EngineError::Unproven { session, seq, what },
        other => EngineError::Store(other),
    };
    // A fold over what was taken out of the log leads elsewhere than the fold that was recorded.
    let mut comparable = true;
    while session.version < upto {
        let read = Read { upto, ..Read::forward(id, session.version) };
        let page = store.read(read).await.map_err(unproven)?;
        if page.rows.is_empty() {
            let what = "it is missing".to_owned();
            return Err(EngineError::Unproven { session: id, seq: session.version.next(), what });
        }
        for row in &page.rows {
            verifier.check(row).map_err(|flaw| unproven(verifier.named(flaw)))?;
            if let Row::Event { event, .. } = row {
                comparable &= event.body != Body::Redacted;
                if comparable {
                    check_digest(&session, event).map_err(unproven)?;
                }
                session.apply(event);
            }
        }
    }
    let digest = session.digest();
    Ok(Restored { proof: Proof { events: session.version.0, snapshot, digest }, hash: verifier.hash(), session })
}

/// Compares the digest that an event records with the state folded so far, when this reducer made it.
fn check_digest(session: &Session, event: &Recorded) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    struct Ended<'a> {
        digest: Digest,
        reducer: &'a str,
    }
    if event.kind.as_str() != "turn.ended" {
        return Ok(());
    }
    match serde_json::from_str::<Ended<'_>>(event.body.as_json()) {
        Ok(ended) if ended.reducer == REDUCER && ended.digest != session.digest() => Err(StoreError::Damaged {
            session: event.session,
            seq: event.seq,
            what: "the state folded from the log is not the one recorded there".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The newest usable snapshot; one that cannot be used is passed over, since it is only a cache.
async fn read_snapshot(store: &dyn Store, id: SessionId, upto: Seq) -> Result<Option<Kept>, StoreError> {
    let Some(snapshot) = store.snapshot(id, REDUCER, upto).await? else {
        return Ok(None);
    };
    let kept = Some(&snapshot).filter(|snapshot| Digest::of(&snapshot.bytes) == snapshot.digest);
    let kept = kept.and_then(|snapshot| serde_json::from_slice::<Kept>(&snapshot.bytes).ok());
    let Some(kept) = kept.filter(|kept| kept.session.version == snapshot.seq && kept.session.version <= upto) else {
        tracing::warn!(session.id = %id, seq = %snapshot.seq, "a damaged snapshot is passed over");
        return Ok(None);
    };
    anchored(store, id, kept).await
}

/// A snapshot counts only while the event that it stands on is the one in the log.
async fn anchored(store: &dyn Store, id: SessionId, kept: Kept) -> Result<Option<Kept>, StoreError> {
    let at = kept.session.version;
    let read = Read { session: id, after: Seq(at.0.saturating_sub(1)), upto: at, order: Order::OldestFirst, limit: 1 };
    let page = store.read(read).await?;
    let stands = matches!(page.rows.first(), Some(Row::Event { event, hash, .. }) if event.seq == at && *hash == kept.hash);
    Ok(stands.then_some(kept))
}
