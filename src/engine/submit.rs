//! Decide, append, apply: the only place that appends to a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::error::EngineError;
use super::mask::Mask;
use super::measure;
use super::tell::StartEnd;
use crate::projection::directory::directory;
use crate::session::{
    Command, Decided, Digest, Event, Masker, NewEvent, Observation, Phase, Rejection, Seq, Session, SessionId, decide_hiding,
};
use crate::store::{Append, Appended, Expected, Read, Row, StoreError, Writer};

/// How often an append is repeated whose outcome is unknown or that the store could not take just now.
const RETRIES_MAX: u32 = 6;
/// How long to wait before the first repetition; doubled each time.
const RETRY_WAIT: Duration = Duration::from_millis(50);
/// How often a command is decided again because somebody else appended.
const CONFLICTS_MAX: u32 = 5;

/// A session that this process may write to, as far as it has read it.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) shared: Arc<Shared>,
    pub(super) id: SessionId,
    pub(super) session: Session,
    pub(super) hash: Digest,
    /// What must not be in what it appends.
    pub(super) mask: Arc<Mask>,
}

impl Writing {
    /// Decides `command`, appends what was decided and folds it in. Returns the version before it.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when the state does not allow it; then nothing was appended.
    pub(super) async fn submit(&mut self, command: Command) -> Result<Seq, EngineError> {
        let hide = self.mask.masker();
        let command = match &hide {
            Some(masker) => hidden(masker, command),
            None => command,
        };
        for _ in 0..CONFLICTS_MAX {
            let now = self.shared.clock.now();
            let decided = decide_hiding(&self.session, command.clone(), now, hide.clone())?;
            let before = self.session.version;
            if decided.is_empty() {
                return Ok(before);
            }
            match self.append(decided, now).await {
                Ok(()) => return Ok(before),
                Err(StoreError::Conflict { .. }) if before > Seq::ZERO => self.catch_up().await?,
                Err(StoreError::Conflict { .. }) => return Err(Rejection::Exists.into()),
                Err(other) => return Err(other.into()),
            }
        }
        let head = self.session.version;
        Err(StoreError::Conflict { session: self.id, head }.into())
    }

    async fn append(&mut self, decided: Vec<Decided>, now: crate::session::Timestamp) -> Result<(), StoreError> {
        let expected =
            if self.session.version == Seq::ZERO { Expected::NoSession } else { Expected::Exact(self.session.version) };
        let writer = self.writer(&decided);
        let events: Vec<NewEvent> =
            decided.into_iter().map(|decided| decided.into_new_event(self.shared.ids.event(now), now)).collect();
        let mut after = self.session.clone();
        for (event, seq) in events.iter().zip(self.session.version.0 + 1..) {
            after.apply(&event.clone().recorded(self.id, Seq(seq)));
        }
        let seen = measure::is_wanted().then(|| events.clone());
        let append = Append { session: self.id, expected, writer, events, directory: Some(directory(&after)) };
        let begun = Instant::now();
        let appended = append_until_known(&self.shared, append).await;
        measure::append(appended.as_ref().err(), begun.elapsed());
        let Appended { last, hash, .. } = appended?;
        debug_assert_eq!(last, after.version, "decided events are dense");
        if let Some(events) = seen {
            measure::appended(self.id, &self.session, &events);
        }
        let start = StartEnd::between(&self.session, &after);
        self.session = after;
        self.hash = hash;
        if let Some(end) = start {
            Box::pin(self.tell_start(end, now)).await;
        }
        Ok(())
    }

    /// A takeover where the events say so; else the epoch that the session has. What nobody runs, anyone may write to.
    fn writer(&self, decided: &[Decided]) -> Writer {
        let taken = decided.iter().find_map(|decided| match &decided.event {
            Event::OwnerAcquired(body) => Some(Writer::Takeover { epoch: body.epoch, node: body.node }),
            _ => None,
        });
        match (taken, &self.session.phase) {
            (Some(takeover), _) => takeover,
            (None, Phase::Unborn | Phase::Imported { .. } | Phase::Audit {}) => Writer::Anyone,
            (None, _) => Writer::Owner(self.session.epoch),
        }
    }

    /// Folds in what somebody else appended.
    async fn catch_up(&mut self) -> Result<(), EngineError> {
        loop {
            let page = self.shared.store.read(Read::forward(self.id, self.session.version)).await?;
            for row in &page.rows {
                match row {
                    Row::Event { event, hash, .. } => {
                        self.session.apply(event);
                        self.hash = *hash;
                    }
                    Row::Damaged { seq, what } => {
                        return Err(EngineError::Unproven { session: self.id, seq: *seq, what: what.clone() });
                    }
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// Hides values in what is compared while it is decided on, so that outcomes which differ in them alone are the same.
fn hidden(masker: &Masker, command: Command) -> Command {
    let without = |observation: Box<Observation>| masker.observation(&observation).map_or(observation, Box::new);
    match command {
        Command::Observe { action, observation, recorded } => {
            Command::Observe { action, observation: without(observation), recorded: recorded.map(without) }
        }
        Command::TakeRecorded { action, recorded, why } => Command::TakeRecorded { action, recorded: recorded.map(without), why },
        other => other,
    }
}

/// Repeats an append until its outcome is known; the ids of its events make that safe.
pub(super) async fn append_until_known(shared: &Shared, append: Append) -> Result<Appended, StoreError> {
    let mut wait = RETRY_WAIT;
    for _ in 1..RETRIES_MAX {
        match shared.store.append(append.clone()).await {
            Err(error @ (StoreError::Unknown(_) | StoreError::Busy(_) | StoreError::Unavailable(_))) => {
                tracing::warn!(session.id = %append.session, error = &error as &dyn std::error::Error, "an append is repeated");
            }
            known => return known,
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    shared.store.append(append).await
}
