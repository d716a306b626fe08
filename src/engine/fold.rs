//! A state on its way through its log: where it begins, one event after another, and what is proven of it meanwhile.

use serde::{Deserialize, Serialize};

use super::error::EngineError;
use super::restore::Restored;
use crate::session::{Body, Digest, Proof, REDUCER, Recorded, Seq, Session, SessionId};
use crate::store::chain::Verifier;
use crate::store::{Pages, RUNG, Read, Row, Snapshot, Store, StoreError};

/// What a snapshot keeps: the state, and the chain hash that it stands at.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    hash: Digest,
    session: Session,
    /// Whether something that it stands on was taken out of the log, so that states recorded behind it may be others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

impl Kept {
    fn pack(&self, id: SessionId) -> Snapshot {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let seq = self.session.version;
        Snapshot { session: id, seq, reducer: REDUCER.to_owned(), digest: Digest::of(&bytes), bytes }
    }

    fn unpack(snapshot: &Snapshot) -> Option<Self> {
        let kept = (Digest::of(&snapshot.bytes) == snapshot.digest).then(|| serde_json::from_slice::<Self>(&snapshot.bytes).ok());
        kept.flatten().filter(|kept| kept.session.version == snapshot.seq)
    }
}

/// Packs a state to be kept.
pub fn snapshot(id: SessionId, session: &Session, hash: Digest) -> Snapshot {
    Kept { hash, session: session.clone(), redacted: false }.pack(id)
}

/// Whether the snapshots that a fold comes by, one in each stretch of [`RUNG`] events, are kept for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rungs {
    /// They are, where the store can be written.
    Keep,
    /// They are not.
    Leave,
}

/// Looks on while events are folded.
pub trait Watch: Send {
    /// The state that `event` finds.
    fn before(&mut self, state: &Session, event: &Recorded) {
        let _ = (state, event);
    }

    /// The state that `event` leaves.
    fn after(&mut self, state: &Session, event: &Recorded) {
        let _ = (state, event);
    }
}

/// Nobody looks.
impl Watch for () {}

/// A state and what it stands on; it can be folded on, and copied to fold on from it more than once.
#[derive(Debug, Clone)]
pub struct Fold {
    id: SessionId,
    session: Session,
    verifier: Verifier,
    snapshot: Option<Seq>,
    /// Whether something was taken out of what was folded: that leads elsewhere than the fold that was recorded.
    redacted: bool,
}

impl Fold {
    /// Before the first event.
    pub fn new(id: SessionId) -> Self {
        Self { id, session: Session::default(), verifier: Verifier::new(id), snapshot: None, redacted: false }
    }

    /// At the newest usable snapshot up to `upto`, else before the first event. A snapshot is only a cache: one that is damaged, or
    /// stands on an event that is not in the log, is passed over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn nearest(store: &dyn Store, id: SessionId, mut upto: Seq) -> Result<Self, StoreError> {
        while let Some(snapshot) = store.snapshot(id, REDUCER, upto).await? {
            match Kept::unpack(&snapshot) {
                Some(kept) if is_anchored(store, id, &kept).await? => {
                    let verifier = Verifier::from_anchor(id, kept.session.version, kept.hash);
                    let Kept { session, redacted, .. } = kept;
                    return Ok(Self { id, snapshot: Some(session.version), session, verifier, redacted });
                }
                _ => tracing::warn!(session.id = %id, seq = %snapshot.seq, "a damaged snapshot is passed over"),
            }
            let Some(older) = snapshot.seq.0.checked_sub(1) else { break };
            upto = Seq(older);
        }
        Ok(Self::new(id))
    }

    /// The last event that was folded in.
    pub const fn seq(&self) -> Seq {
        self.session.version
    }

    /// The state after it.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The chain hash of it.
    pub const fn hash(&self) -> Digest {
        self.verifier.hash()
    }

    /// Folds on up to event `upto`; there where it stands already, nothing happens.
    ///
    /// # Errors
    /// [`EngineError::Unproven`] naming the first event that is missing, changed, or folds to another state than recorded.
    pub async fn forward(
        &mut self,
        store: &dyn Store,
        upto: Seq,
        rungs: Rungs,
        watch: &mut dyn Watch,
    ) -> Result<(), EngineError> {
        self.fold(store, upto, rungs, watch, true).await
    }

    /// The same, whatever states are recorded on the way: the watcher compares.
    pub(super) async fn forward_unproven(
        &mut self,
        store: &dyn Store,
        upto: Seq,
        watch: &mut dyn Watch,
    ) -> Result<(), EngineError> {
        self.fold(store, upto, Rungs::Leave, watch, false).await
    }

    async fn fold(
        &mut self,
        store: &dyn Store,
        upto: Seq,
        mut rungs: Rungs,
        watch: &mut dyn Watch,
        compare: bool,
    ) -> Result<(), EngineError> {
        let id = self.id;
        let mut pages = Pages::new(store, Read { upto, ..Read::forward(id, self.session.version) });
        while self.session.version < upto {
            let Some(rows) = pages.next().await.map_err(unproven)? else {
                let what = "it is missing".to_owned();
                return Err(EngineError::Unproven { session: id, seq: self.session.version.next(), what });
            };
            if rows.iter().any(|row| row.event().is_some_and(|event| event.session != id)) && !self.verifier.is_across() {
                // A fork is read: what it shares is checked as part of the logs that hold it.
                self.verifier = self.verifier.clone().across(store).await.map_err(unproven)?;
            }
            let mut passed = None;
            for row in &rows {
                self.verifier.check(row).map_err(|flaw| unproven(self.verifier.named(flaw)))?;
                let Row::Event { event, .. } = row else { continue };
                self.redacted |= event.body == Body::Redacted;
                if compare && !self.redacted {
                    check_digest(&self.session, event).map_err(unproven)?;
                }
                watch.before(&self.session, event);
                self.session.apply(event);
                watch.after(&self.session, event);
                if rungs == Rungs::Keep && event.seq.0.is_multiple_of(RUNG) {
                    passed = Some(self.pack());
                }
            }
            if let Some(rung) = passed
                && let Err(error) = store.put_snapshot(rung).await
            {
                // Whoever may only read still gets what it came for.
                tracing::debug!(session.id = %id, error = &error as &dyn std::error::Error, "a snapshot was not kept");
                rungs = Rungs::Leave;
            }
        }
        Ok(())
    }

    fn pack(&self) -> Snapshot {
        // The state of a shared event is the same in all that share it: kept where the event is, it serves all of them.
        let holder = self.verifier.session_at(self.seq()).unwrap_or(self.id);
        Kept { hash: self.hash(), session: self.session.clone(), redacted: self.redacted }.pack(holder)
    }

    /// The state and what it stands on.
    pub fn into_restored(self) -> Restored {
        let proof = Proof { events: self.session.version.0, snapshot: self.snapshot, digest: self.session.digest() };
        Restored { proof, hash: self.verifier.hash(), session: self.session }
    }
}

fn unproven(error: StoreError) -> EngineError {
    match error {
        StoreError::Damaged { session, seq, what } => EngineError::Unproven { session, seq, what },
        other => EngineError::Store(other),
    }
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

/// A snapshot counts only while the event that it stands on is the one in the log.
async fn is_anchored(store: &dyn Store, id: SessionId, kept: &Kept) -> Result<bool, StoreError> {
    let at = kept.session.version;
    let read = Read::one(id, at);
    let page = store.read(read).await?;
    Ok(matches!(page.rows.first(), Some(Row::Event { event, hash, .. }) if event.seq == at && *hash == kept.hash))
}
