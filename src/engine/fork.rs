//! A session goes on from any place of another one's log. Nothing is copied, and the other one is only read.

use std::path::{Path, PathBuf};

use super::error::EngineError;
use super::submit::append_until_known;
use super::{Engine, measure};
use crate::projection::directory::of_fork;
use crate::session::audit::RESERVED;
use crate::session::decide::{Instead, Refused, begin, cut, is_said_by_user};
use crate::session::event::Created;
use crate::session::state::Usage;
use crate::session::{
    AgentState, Digest, Event, Forked, NewEvent, Origin, Phase, Recorded, RuntimeSpec, Seq, Session, SessionId, SessionName,
    SessionSpec,
};
use crate::store::{Append, Base, Expected, Order, PURGED, Read, Row, StoreError, Writer, holder};

/// How many events are looked back at for what a conversation had used that another program recorded: nearly every action says it.
const USAGE_LOOKBACK: u32 = 64;

/// How many events are read at once to find what the user said first.
const TITLE_PAGE: u32 = 64;

/// How a fork goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkOptions {
    /// The directory that it works in; never one that its parent still works in.
    pub workspace: PathBuf,
    /// What is in it.
    pub files: Files,
    /// Its name; its id is made of it then.
    pub name: Option<SessionName>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Whether it takes its parent's place.
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
    /// A fork that goes on as it was, there, with the files that there were.
    pub fn new(workspace: impl Into<PathBuf>) -> Self {
        Self {
            workspace: workspace.into(),
            files: Files::Restore,
            name: None,
            reason: None,
            rewinds: false,
            instead: None,
            model: None,
            iterations: None,
            budget_micro_usd: None,
        }
    }

    /// Whether it needs somebody who decides what is done.
    const fn needs_agent(&self) -> bool {
        let said = matches!(self.instead, Some(Instead::Message(_)));
        said || self.model.is_some() || self.iterations.is_some() || self.budget_micro_usd.is_some()
    }
}

/// What is in the workspace of a fork when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// What the newest snapshot of its parent's holds that is not behind the fork; the directory must be new or empty.
    Restore,
    /// Whatever is there.
    Leave,
}

/// What was brought into the workspace of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// What this snapshot of its parent's holds.
    Snapshot {
        /// The event that recorded it.
        at: Seq,
        /// How many files.
        files: u64,
        /// How many bytes they have together.
        bytes: u64,
    },
    /// Nothing, and why.
    Nothing(&'static str),
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
    /// What is in its workspace.
    pub brought: Brought,
}

impl Engine {
    /// Begins the session `id` as a fork of `parent` behind its event `at`; returns when that is in the log. Nothing runs until it is
    /// resumed or told something, and its parent goes on as if nothing had happened, whoever runs it.
    ///
    /// The files are there before the log says so: a process that is killed in between leaves a directory and no session.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such session, [`EngineError::Instead`] when nothing can stand for that event,
    /// [`EngineError::Snapshot`] when its files cannot be brought, [`StoreError::Invalid`] when there is no such event, and
    /// [`StoreError::Conflict`] when the session `id` exists.
    pub async fn fork(&self, id: SessionId, parent: SessionId, at: Seq, options: ForkOptions) -> Result<ForkedAt, EngineError> {
        if parent.is_audit_log() || id.is_audit_log() {
            return Err(StoreError::Invalid(RESERVED.to_owned()).into());
        }
        let store = self.shared.store.as_ref();
        let row = store.session(parent).await?.ok_or(EngineError::NotFound(parent))?;
        if row.directory.phase == PURGED {
            return Err(EngineError::Purged(parent));
        }
        let spec = self.told_at_first(parent).await?;
        let agent = spec.as_ref().and_then(|spec| spec.agent.as_ref());
        if spec.as_ref().is_some_and(|spec| matches!(spec.origin, Origin::Import { .. })) {
            return Err(Refused::Imported(parent).into());
        }
        if agent.is_none() && options.needs_agent() {
            return Err(Refused::NoAgent(parent).into());
        }
        let (event, hash) = self.event(parent, at).await?;
        let ForkOptions { workspace, files, name, reason, rewinds, instead, model, iterations, budget_micro_usd } = options;
        let (last, instead_of) = cut(&event, instead.as_ref())?;
        let hash = if last == at { hash } else { self.event(parent, last).await?.1 };
        let base = holder(store, Base { session: parent, seq: last }).await?;
        let mask = self.shared.mask(parent, spec.as_ref()).await?;
        // An agent of this program says in its own events what it used.
        let usage = if agent.is_some() { None } else { self.used(parent, last).await? };
        let brought = match files {
            Files::Restore => Box::pin(self.bring_files(parent, last, spec.as_ref(), &workspace)).await?,
            Files::Leave => Brought::Nothing("that was not asked for"),
        };
        let files = match brought {
            Brought::Snapshot { at, .. } => Some(at),
            Brought::Nothing(_) => None,
        };
        let forked = Forked {
            files,
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
        let titled = self.title_upto(parent, last, spec.as_ref(), row.directory.title.clone()).await?;
        let directory = decided.iter().find_map(|decided| match &decided.event {
            Event::Forked(forked) => Some(of_fork(titled.clone(), forked, spec.as_ref())),
            _ => None,
        });
        let now = self.shared.clock.now();
        let events: Vec<NewEvent> =
            decided.into_iter().map(|decided| decided.into_new_event(self.shared.ids.event(now), now)).collect();
        let append = Append { session: id, expected: Expected::Fork { base, hash }, writer: Writer::Anyone, events, directory };
        let begun = std::time::Instant::now();
        let appended = append_until_known(&self.shared, append).await;
        measure::append(appended.as_ref().err(), begun.elapsed());
        let appended = appended?;
        if let Some(name) = &name {
            store.name(id, name).await?;
        }
        Ok(ForkedAt { base, head: appended.last, hash: appended.hash, brought })
    }

    /// The event at `seq`, and its chain hash.
    async fn event(&self, session: SessionId, seq: Seq) -> Result<(Recorded, Digest), EngineError> {
        let read = Read::one(session, seq);
        match self.shared.store.read(read).await?.rows.into_iter().next() {
            Some(Row::Event { event, hash, .. }) if event.seq == seq => Ok((event, hash)),
            Some(Row::Damaged { seq, what }) => Err(StoreError::Damaged { session, seq, what }.into()),
            _ => Err(StoreError::Invalid(format!("session {session} has no event {seq}")).into()),
        }
    }

    /// The title that a session had up to `upto`, where it is `title` now: it is told one at first, or takes it from what the user
    /// says first, which is early in any log.
    async fn title_upto(
        &self,
        session: SessionId,
        upto: Seq,
        spec: Option<&SessionSpec>,
        title: Option<String>,
    ) -> Result<Option<String>, StoreError> {
        if title.is_none() || spec.is_some_and(|spec| spec.title.is_some()) {
            return Ok(title);
        }
        let mut after = Seq::ZERO;
        while after < upto {
            let read = Read { upto, limit: TITLE_PAGE, ..Read::forward(session, after) };
            let rows = self.shared.store.read(read).await?.rows;
            if rows.iter().filter_map(Row::event).any(is_said_by_user) {
                return Ok(title);
            }
            match rows.last() {
                Some(row) => after = row.seq(),
                None => break,
            }
        }
        Ok(None)
    }

    /// What a session was told when it was created.
    async fn told_at_first(&self, session: SessionId) -> Result<Option<SessionSpec>, EngineError> {
        match Event::read(&self.event(session, Seq(1)).await?.0) {
            Event::Created(Created { spec }) => Ok(Some(*spec)),
            _ => Ok(None),
        }
    }

    /// What the conversation had used, as the last action up to `upto` says that says anything.
    async fn used(&self, session: SessionId, upto: Seq) -> Result<Option<Usage>, EngineError> {
        let read = Read { session, after: Seq::ZERO, upto, order: Order::NewestFirst, limit: USAGE_LOOKBACK };
        let page = self.shared.store.read(read).await?;
        Ok(page.rows.iter().filter_map(Row::event).find_map(|event| {
            let mut usage = Usage::default();
            usage.fold(event);
            (usage != Usage::default()).then_some(usage)
        }))
    }

    /// Writes the files of the newest snapshot at or before `upto` into a workspace of the fork's own.
    async fn bring_files(
        &self,
        parent: SessionId,
        upto: Seq,
        spec: Option<&SessionSpec>,
        into: &Path,
    ) -> Result<Brought, EngineError> {
        let Some(spec) = spec else { return Ok(Brought::Nothing("nothing is known of its workspace")) };
        if !matches!(spec.runtime, RuntimeSpec::Local { .. }) {
            return Ok(Brought::Nothing("its workspace is not on this machine"));
        }
        if spec.snapshots.is_none() {
            return Ok(Brought::Nothing("it keeps no snapshots of its workspace"));
        }
        let Some(last) = self.snapshot_at(parent, upto).await? else {
            return Ok(Brought::Nothing("there was no snapshot of its workspace yet"));
        };
        let restored = self.restore_files(parent, last.manifest, into).await?;
        Ok(Brought::Snapshot { at: last.at, files: restored.files, bytes: restored.bytes })
    }
}

/// Whether this is a fork that would rest where its parent was held, stopped or had failed, though somebody goes on with it.
pub(super) fn stands_still(session: &Session) -> bool {
    use AgentState::{Error, Paused, RateLimited, Stopped};
    let is_told = session.fork.as_ref().is_some_and(|fork| fork.message.is_some() || fork.answers);
    let stands = matches!(session.agent, Error | Paused | RateLimited | Stopped);
    session.phase == Phase::Forked {} && session.has_agent() && stands && !is_told
}
