//! What happened. One kind per event, each with a stable dotted name and a body of its own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::audit::{AccessRead, AccessSet, Erased, Erasing, HeadsListed, NotErased, Published, RetentionSet, Sealed};
use super::delegation::{DelegateWait, Used};
use super::envelope::{Kind, Recorded};
use super::fork::Forked;
use super::id::{Digest, Epoch, NodeId, Seq, SessionId};
use super::item::Item;
use super::model::{CallReport, CallUsage, Judgement, ModelErrorClass};
use super::replay::{ReplayOutcome, ReplayPlan, Verdict};
use super::spec::{Limits, SessionSpec};
use super::start::{StartStep, StepOutcome};
use super::time::Timestamp;
use super::turn::AgentState;
use super::workspace::{WorkspaceCaptured, WorkspaceCompared, WorkspaceNotCaptured};

/// Ties each engine-owned kind to its body once; reading, writing and the list of names all follow from it.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($body:ty) = $kind:literal;)*) => {
        /// One thing that happened to a session.
        #[derive(Debug, Clone)]
        pub enum Event {
            $($(#[$doc])* $name($body),)*
            /// An action or observation of the shared vocabulary: `action.*`, `observation.*`.
            Item(Box<Entry>),
            /// Written by another version or by a damaged hand; kept as it is.
            Unknown(Kind),
        }

        impl Event {
            /// Every kind that the engine itself writes, beside `action.*` and `observation.*`.
            pub const KINDS: &'static [&'static str] = &[$($kind,)*];

            /// The schema version of the bodies written here; a body of a later one is not read.
            pub const VERSION: u16 = 1;

            /// The stable name under which it is stored.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::known($kind),)*
                    Self::Item(entry) => entry.kind(),
                    Self::Unknown(kind) => kind.clone(),
                }
            }

            /// The JSON text that is stored.
            pub fn body(&self) -> String {
                match self {
                    $(Self::$name(body) => json(body),)*
                    Self::Item(entry) => entry.body(),
                    Self::Unknown(_) => "null".to_owned(),
                }
            }

            /// Reads a stored event. Never fails: what cannot be read is [`Event::Unknown`], and its text stays in the log.
            pub fn read(recorded: &Recorded) -> Self {
                let unknown = || Self::Unknown(recorded.kind.clone());
                if recorded.v > Self::VERSION {
                    return unknown();
                }
                match recorded.kind.as_str() {
                    $($kind => serde_json::from_str(recorded.body.as_json()).map_or_else(|_| unknown(), Self::$name),)*
                    _ => Entry::read(recorded).map_or_else(unknown, |entry| Self::Item(Box::new(entry))),
                }
            }
        }
    };
}

events! {
    /// The session exists and knows what it is for.
    Created(Created) = "session.created";
    /// The session goes on from a place in the log of another one.
    Forked(Forked) = "session.forked";
    /// A node runs the session from now on.
    OwnerAcquired(OwnerAcquired) = "session.owner_acquired";
    /// The session was restored from its log, and this is what that stood on.
    Restored(Restored) = "session.restored";
    /// All entries of an imported recording are in the log.
    Imported(Imported) = "session.imported";
    /// Somebody wants the session closed.
    CloseRequested(CloseRequested) = "session.close_requested";
    /// The session is over; everything it held was released or given up.
    Closed(Closed) = "session.closed";
    /// The steps that the start will take, in order.
    StartPlanned(StartPlanned) = "start.planned";
    /// A step of the start began.
    StepStarted(StepStarted) = "start.step_started";
    /// A step of the start is done or not needed.
    StepFinished(StepFinished) = "start.step_finished";
    /// A step of the start failed.
    StepFailed(StepFailed) = "start.step_failed";
    /// Every step of the start is done.
    Started(Started) = "start.started";
    /// What an agent may use up is another amount from now on.
    LimitsChanged(LimitsChanged) = "session.limits_changed";
    /// What the agent's model is told in each call.
    Briefed(Briefed) = "model.briefed";
    /// The agent is asked what to do next, or a model for a summary.
    ModelRequested(ModelRequested) = "model.requested";
    /// The agent has decided, or the model has summed up; what was decided or written comes right after.
    ModelResponded(CallReport) = "model.responded";
    /// No decision was reached.
    ModelFailed(ModelFailed) = "model.failed";
    /// How risky an action is, and whether a person must agree to it.
    Judged(ActionJudged) = "action.judged";
    /// A person agreed to an action.
    Confirmed(ActionConfirmed) = "action.confirmed";
    /// A person refused an action.
    Refused(ActionRefused) = "action.refused";
    /// An action was handed to the runtime.
    Dispatched(Dispatched) = "action.dispatched";
    /// A session of its own was begun for a part of the task.
    DelegateStarted(DelegateStarted) = "delegate.started";
    /// A delegate comes no further by itself.
    DelegateWaits(DelegateWaits) = "delegate.waits";
    /// A delegate that came no further goes on.
    DelegateGoesOn(DelegateGoesOn) = "delegate.goes_on";
    /// A delegate is closed, and this is what it used.
    DelegateFinished(DelegateFinished) = "delegate.finished";
    /// The agent's state changed.
    StateChanged(StateChanged) = "turn.state_changed";
    /// A turn is over; this is the state that it left, digested.
    TurnEnded(TurnEnded) = "turn.ended";
    /// A recording is being performed from here on.
    ReplayStarted(ReplayStarted) = "replay.started";
    /// An outcome was compared with the recorded one.
    ReplayCompared(ReplayCompared) = "replay.compared";
    /// The recording was performed, or could not be performed further.
    ReplayFinished(ReplayFinished) = "replay.finished";
    /// Something that the session held is being released.
    ReleaseStarted(ReleaseStarted) = "close.step_started";
    /// Something that the session held is released.
    ReleaseFinished(ReleaseFinished) = "close.step_finished";
    /// Something that the session held could not be released.
    ReleaseFailed(ReleaseFailed) = "close.step_failed";
    /// What the workspace holds is kept.
    WorkspaceCaptured(WorkspaceCaptured) = "workspace.captured";
    /// What the workspace holds could not be kept.
    WorkspaceNotCaptured(WorkspaceNotCaptured) = "workspace.not_captured";
    /// A new owner has compared the workspace with what was kept last.
    WorkspaceCompared(WorkspaceCompared) = "workspace.compared";
    /// More heads of sessions are sealed than one event should hold.
    HeadsListed(HeadsListed) = "audit.heads";
    /// The heads of all sessions that changed are sealed under a signed checkpoint.
    Sealed(Sealed) = "audit.sealed";
    /// Checkpoints were published where they cannot be read back.
    Published(Published) = "audit.published";
    /// Something is about to be taken out of the log.
    Erasing(Erasing) = "audit.erasing";
    /// It is gone.
    Erased(Erased) = "audit.erased";
    /// It could not be taken out.
    NotErased(NotErased) = "audit.not_erased";
    /// How long sessions are kept at least.
    RetentionSet(RetentionSet) = "audit.retention_set";
    /// Whether it is written down who reads sessions.
    AccessSet(AccessSet) = "audit.access_set";
    /// Somebody is about to read sessions.
    AccessRead(AccessRead) = "audit.read";
}

/// Serialises a body; the types here have no map with other than text keys, so it cannot fail.
fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|_| "null".to_owned())
}

/// An action or observation, and which entry of a recording it came from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The action or observation.
    pub item: Item,
    /// The index of the recorded entry that is performed again by this.
    pub recorded: Option<u64>,
}

impl Entry {
    /// An entry that no recording asked for.
    pub const fn new(item: Item) -> Self {
        Self { item, recorded: None }
    }

    fn kind(&self) -> Kind {
        self.item.content.kind()
    }

    /// The V0 form without what the envelope says already, and without the text that V0 computes.
    fn body(&self) -> String {
        let mut body = self.item.encode_body();
        if let Some(index) = self.recorded
            && body.pop() == Some('}')
        {
            body.push_str(&format!(",\"recorded\":{index}}}"));
        }
        body
    }

    pub(super) fn read(recorded: &Recorded) -> Option<Self> {
        #[derive(Deserialize)]
        struct Link {
            #[serde(default)]
            recorded: Option<u64>,
        }
        if !matches!(recorded.kind.family(), "action" | "observation") {
            return None;
        }
        let item = Item::decode(recorded.body.as_json()).ok()?;
        let link: Option<Link> = serde_json::from_str(recorded.body.as_json()).ok();
        Some(Self { item, recorded: link.and_then(|link| link.recorded) })
    }
}

/// Body of `session.created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// What was asked for.
    pub spec: Box<SessionSpec>,
}

/// Body of `session.owner_acquired`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerAcquired {
    /// The epoch that begins.
    pub epoch: Epoch,
    /// Who owns the session now.
    pub node: NodeId,
    /// Why it changed hands.
    pub reason: String,
}

/// Body of `session.restored`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// How many events the log held.
    pub events: u64,
    /// The snapshot that the fold began with.
    pub snapshot: Option<Seq>,
    /// SHA-256 of the state after those events.
    pub digest: Digest,
    /// The reducer that folded them.
    pub reducer: String,
}

/// Body of `session.imported`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The seq of the first entry.
    pub first: Seq,
    /// How many entries there are.
    pub entries: u64,
    /// What of the source could not be read and is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// What is here but was not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Body of `session.close_requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseRequested {
    /// Why.
    pub reason: String,
    /// When the close ends at the latest.
    pub deadline: Timestamp,
}

/// Body of `session.closed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// Why, as it was asked for.
    pub reason: String,
    /// What could not be released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreleased: Vec<StartStep>,
}

/// Body of `start.planned`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPlanned {
    /// The steps.
    pub steps: Vec<StartStep>,
}

/// Body of `start.step_started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStarted {
    /// Which.
    pub step: StartStep,
    /// 1 for the first try.
    pub attempt: u32,
    /// When it counts as failed.
    pub deadline: Timestamp,
}

/// Body of `start.step_finished`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFinished {
    /// Which.
    pub step: StartStep,
    /// Which try.
    pub attempt: u32,
    /// What it brought.
    pub outcome: StepOutcome,
}

/// Body of `start.step_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailed {
    /// Which.
    pub step: StartStep,
    /// Which try.
    pub attempt: u32,
    /// Why.
    pub error: String,
}

/// Body of `start.started`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {}

/// Body of `session.limits_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsChanged {
    /// The limits from now on.
    pub limits: Limits,
    /// Why.
    pub reason: String,
}

/// Body of `model.briefed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Briefed {
    /// The agent's name.
    pub agent: String,
    /// The model's name, as the endpoint knows it.
    pub model: String,
    /// The blob that holds the system prompt.
    pub prompt: Digest,
    /// The blob that holds the tool catalogue.
    pub tools: Digest,
    /// The names of the tools.
    pub names: Vec<String>,
}

/// Body of `model.requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRequested {
    /// 1 for the first try; a further one follows when the engine stopped while it waited for the answer.
    pub attempt: u32,
    /// The owner that asks.
    pub epoch: Epoch,
    /// How often the agent was asked, this time among it.
    pub iteration: u64,
    /// The events that are summed up; empty when the agent is asked what to do next. Such a call is no iteration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub summarises: Vec<Seq>,
}

/// Body of `model.failed`; the cause is the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFailed {
    /// What kind of failure.
    pub class: ModelErrorClass,
    /// In words.
    pub message: String,
    /// How long the endpoint asks to be left alone, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What was used all the same.
    #[serde(default)]
    pub usage: CallUsage,
}

/// Body of `action.judged`; the cause is the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionJudged {
    /// What the judges say.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Whether a person must agree before it runs.
    pub confirm: bool,
}

/// Body of `action.confirmed`; the cause is the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionConfirmed {
    /// Who agreed.
    pub by: String,
}

/// Body of `action.refused`; the cause is the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRefused {
    /// Who refused.
    pub by: String,
    /// Why, for the agent to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `action.dispatched`; the cause is the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatched {
    /// 1 for the first try.
    pub attempt: u32,
    /// The owner that dispatched it.
    pub epoch: Epoch,
}

/// Body of `delegate.started`; the cause is the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegateStarted {
    /// The delegate's own session.
    pub session: SessionId,
    /// The agent, by the name by which it was asked for.
    pub agent: String,
    /// How many sessions lie above it.
    pub level: u32,
    /// What it may use up: what is left of its parent's.
    pub limits: Limits,
}

/// Body of `delegate.waits`; the cause is the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegateWaits {
    /// For what.
    pub wait: DelegateWait,
    /// What it has used so far.
    pub used: Used,
}

/// Body of `delegate.goes_on`; the cause is the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegateGoesOn {}

/// Body of `delegate.finished`; the cause is the action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegateFinished {
    /// The delegate's own session.
    pub session: SessionId,
    /// What it used, those below it among it.
    pub used: Used,
    /// Whether it is known to be closed; else it was given up.
    pub closed: bool,
}

/// Body of `turn.state_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChanged {
    /// The state from now on.
    pub state: AgentState,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// V0's id of what happened, for those who show it in their own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Cow<'static, str>>,
    /// When it is tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Body of `turn.ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEnded {
    /// SHA-256 of the state before this event.
    pub digest: Digest,
    /// The reducer that made it.
    pub reducer: String,
}

/// Body of `replay.started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayStarted {
    /// What of the recording will be performed, and what will not.
    pub plan: ReplayPlan,
}

/// Body of `replay.compared`; the cause is the action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCompared {
    /// The recorded action.
    pub index: u64,
    /// How the outcomes compare.
    pub verdict: Verdict,
}

/// Body of `replay.finished`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFinished {
    /// How it ended.
    pub outcome: ReplayOutcome,
}

/// Body of `close.step_started`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStarted {
    /// What is released.
    pub step: StartStep,
    /// 1 for the first try.
    pub attempt: u32,
    /// When it is given up.
    pub deadline: Timestamp,
}

/// Body of `close.step_finished`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFinished {
    /// What is released.
    pub step: StartStep,
    /// Which try.
    pub attempt: u32,
}

/// Body of `close.step_failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseFailed {
    /// What is not released.
    pub step: StartStep,
    /// Which try.
    pub attempt: u32,
    /// Why.
    pub error: String,
}
