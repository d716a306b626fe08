//! A session goes on from any place of another one's log. Nothing is copied, and the other one is only read.

use std::path::PathBuf;

use super::error::EngineError;
use super::submit::append_until_known;
use super::{Engine, measure};
use crate::projection::directory::of_fork;
use crate::session::decide::{Instead, begin, cut};
use crate::session::state::Usage;
use crate::session::{Digest, Forked, NewEvent, Recorded, Seq, SessionId, SessionName};
use crate::store::{Append, Base, Expected, Order, Page, Read, Row, StoreError, Writer, holder};

/// How many events are looked back at, a page at a time, for what the conversation had used.
const USAGE_LOOKBACK: [u32; 3] = [64, 1024, 4096];

/// How a fork goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkOptions {
    /// The directory that it works in; never one that its parent still works in.
    pub workspace: PathBuf,
    /// Its name; its id is made of it then.
    pub name: Option<SessionName>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Whether it stands for its parent in lists from now on.
    pub rewinds: bool,
    /// What stands for the event at which it is forked.
    pub instead: Option<Instead>,
    /// Another model, at the same endpoint.
    pub model: Option<String>,
    /// Another limit of calls of the model, those before the fork among them.
    pub iterations: Option<u64>,
    /// Another limit in millionths of a US dollar, what was spent before the fork among it.
    pub budget_micro_usd: Option<u64>,
}

impl ForkOptions {
    /// A fork that goes on as it was, there.
    pub fn new(workspace: impl Into<PathBuf>) -> Self {
        Self {
            workspace: workspace.into(),
            name: None,
            reason: None,
            rewinds: false,
            instead: None,
            model: None,
            iterations: None,
            budget_micro_usd: None,
        }
    }
}

/// Where a fork was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkedAt {
    /// The last event that it shares, and the session that holds it.
    pub base: Base,
    /// Its own last event.
    pub head: Seq,
    /// The chain hash there.
    pub hash: Digest,
}

impl Engine {
    /// Begins the session `id` as a fork of `parent` behind its event `at`; returns when that is in the log. Nothing runs until it is
    /// resumed or told something, and its parent goes on as if nothing had happened, whoever runs it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such session, [`EngineError::Instead`] when nothing can stand for that event,
    /// [`StoreError::Invalid`] when there is no such event, and [`StoreError::Conflict`] when the session `id` exists.
    pub async fn fork(
        &self,
        id: SessionId,
        parent: SessionId,
        at: Seq,
        options: ForkOptions,
    ) -> Result<ForkedAt, EngineError> {
        let store = self.shared.store.as_ref();
        let row = store.session(parent).await?.ok_or(EngineError::NotFound(parent))?;
        let (event, _) = self.event(parent, at).await?;
        let ForkOptions { workspace, name, reason, rewinds, instead, model, iterations, budget_micro_usd } = options;
        let (last, instead_of) = cut(&event, instead.as_ref())?;
        let (_, hash) = self.event(parent, last).await?;
        let base = holder(store, Base { session: parent, seq: last }).await?;
        let mask = self.shared.mask_of(parent).await?;
        let usage = self.used(parent, last).await?;
        let forked = Forked {
            reason,
            rewinds,
            instead_of,
            model,
            iterations,
            budget_micro_usd,
            usage,
            ..Forked::new(base.session, base.seq, hash, workspace)
        };
        let decided = begin(forked, &event, instead, mask.masker().as_ref())?;
        let now = self.shared.clock.now();
        let events: Vec<NewEvent> =
            decided.into_iter().map(|decided| decided.into_new_event(self.shared.ids.event(now), now)).collect();
        let directory = Some(of_fork(row.directory.title.clone()));
        let append = Append { session: id, expected: Expected::Fork { base, hash }, writer: Writer::Anyone, events, directory };
        let appended = append_until_known(&self.shared, append).await;
        measure::append(appended.as_ref().err(), std::time::Duration::ZERO);
        let appended = appended?;
        if let Some(name) = &name {
            store.name(id, name).await?;
        }
        Ok(ForkedAt { base, head: appended.last, hash: appended.hash })
    }

    /// The event at `seq`, and its chain hash.
    async fn event(&self, session: SessionId, seq: Seq) -> Result<(Recorded, Digest), EngineError> {
        let read = Read { upto: seq, limit: 1, ..Read::forward(session, Seq(seq.0.saturating_sub(1))) };
        match self.shared.store.read(read).await?.rows.into_iter().next() {
            Some(Row::Event { event, hash, .. }) if event.seq == seq => Ok((event, hash)),
            Some(Row::Damaged { seq, what }) => Err(StoreError::Damaged { session, seq, what }.into()),
            _ => Err(StoreError::Invalid(format!("session {session} has no event {seq}")).into()),
        }
    }

    /// What the conversation had used, as the last action up to `upto` says that says anything.
    async fn used(&self, session: SessionId, upto: Seq) -> Result<Option<Usage>, EngineError> {
        let mut upto = upto;
        for limit in USAGE_LOOKBACK {
            let read = Read { session, after: Seq::ZERO, upto, order: Order::NewestFirst, limit };
            let Page { rows, more } = self.shared.store.read(read).await?;
            let said = rows.iter().find_map(|row| {
                let Row::Event { event, .. } = row else { return None };
                let mut usage = Usage::default();
                usage.fold(event);
                (usage != Usage::default()).then_some(usage)
            });
            let last = rows.last().map_or(Seq::ZERO, Row::seq);
            if said.is_some() || !more || last <= Seq(1) {
                return Ok(said);
            }
            upto = Seq(last.0 - 1);
        }
        Ok(None)
    }
}
