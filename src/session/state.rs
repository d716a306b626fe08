//! The state of a session: the fold of its log, and nothing else.

use serde::{Deserialize, Serialize};

use super::audit::OpenErasure;
use super::delegation::Delegation;
use super::fork::ForkedFrom;
use super::id::{Digest, Epoch, NodeId, Seq};
use super::model::ModelCall;
use super::omit::{is_false, is_zero};
use super::phase::{Phase, StepProgress, StepRecord};
use super::replay::ReplayProgress;
use super::spec::{Condenser, Limits, SessionSpec};
use super::start::StartStep;
use super::stuck::Trail;
use super::time::Timestamp;
use super::turn::{AgentState, Dispatch, OpenAction};
use super::view::View;
use super::workspace::Snapshots;

/// Names the fold below. A state, a snapshot or a digest made by another one is not comparable; a golden test guards it.
pub const REDUCER: &str = "session/1";

/// A session, as its log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Session {
    /// The seq of the last event folded in.
    pub version: Seq,
    /// When that event was made.
    pub at: Timestamp,
    /// Where the session stands.
    pub phase: Phase,
    /// What it was told; unset until it is created.
    pub spec: Option<SessionSpec>,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// Who runs it.
    pub owner: Option<NodeId>,
    /// A line for people.
    pub title: Option<String>,
    /// How many days sessions are kept at least, where this is the audit log of a store that says so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_days: u64,
    /// Whether it is written down who reads sessions, where this is the audit log of a store that says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub records_access: bool,
    /// What is being taken out of the log of the store, where this is its audit log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erasing: Vec<OpenErasure>,
    /// The steps of the start that were begun, in order.
    pub steps: Vec<StepRecord>,
    /// What the agent is doing.
    pub agent: AgentState,
    /// Why, where there is something to say.
    pub agent_reason: String,
    /// Whether something happened since the last turn ended.
    pub turn_open: bool,
    /// Actions without an outcome, in order.
    pub open: Vec<OpenAction>,
    /// How far the replay has come; unset when this is none.
    pub replay: Option<ReplayProgress>,
    /// What was used.
    pub usage: Usage,
    /// What was counted.
    pub counts: Counts,
    /// The call of the agent that has no answer yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelCall>,
    /// The events that this call sums up, after which they are forgotten; empty when the agent is asked what to do next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgetting: Vec<Seq>,
    /// How much its agent sees, where that has a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// What the organisation of its repository tells every agent: the blob that holds the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<Digest>,
    /// What the agent's model is told in each call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub briefing: Option<Briefing>,
    /// The event that says which tools its servers bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools_at: Option<Seq>,
    /// How often the agent was asked.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub iterations: u64,
    /// What it may use up, where that is not what it was told at first any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised: Option<Limits>,
    /// The last things that the agent did and saw.
    #[serde(default, skip_serializing_if = "Trail::is_empty")]
    pub trail: Trail,
    /// The microagents that it was told of, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// The part of the task that was handed to a session of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// When an agent whose model refuses for now is asked again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How often in a row it was waited for that.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waits: u64,
    /// What was kept of its workspace; unset when nothing is to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Snapshots>,
    /// Where it comes from, when it is a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkedFrom>,
    /// The first event that this version must understand and does not: it will not act on the session.
    pub not_understood: Option<Seq>,
}

/// What an agent's model is told in each call, by the digests under which it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Briefing {
    /// The blob that holds the system prompt.
    pub prompt: Digest,
    /// The blob that holds the tool catalogue.
    pub tools: Digest,
}

/// What a session used, as far as its models said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Millionths of a US dollar; unset when no model said.
    pub cost_micro_usd: Option<u64>,
}

/// What a session counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Actions, messages among them.
    pub actions: u64,
    /// Observations.
    pub observations: u64,
    /// Messages of the user and the agent.
    pub messages: u64,
    /// Observations that report an error.
    pub errors: u64,
}

impl Session {
    /// The state in its one stored form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// SHA-256 of [`to_json`](Self::to_json): equal for equal states.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json().as_bytes())
    }

    /// What is known of a step.
    pub fn step(&self, step: StartStep) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.step == step)
    }

    /// The attempt that comes next for `step`.
    pub(super) fn next_attempt(&self, step: StartStep) -> u32 {
        self.step(step).map_or(1, |record| record.attempt.saturating_add(1))
    }

    /// The last step that still holds something outside the log: what is released next.
    pub(super) fn last_held(&self) -> Option<&StepRecord> {
        self.steps.iter().rev().find(|record| {
            record.step.holds_something()
                && matches!(
                    record.progress,
                    StepProgress::Running { .. }
                        | StepProgress::Interrupted
                        | StepProgress::Held { .. }
                        | StepProgress::Lost
                        | StepProgress::Releasing { .. }
                )
        })
    }

    /// Whether the runtime can be used by the present owner.
    pub(super) fn has_runtime(&self) -> bool {
        self.step(StartStep::Runtime).is_some_and(|record| record.progress == StepProgress::Held { epoch: self.epoch })
    }

    /// The action that the runtime is at.
    pub fn in_flight(&self) -> Option<&OpenAction> {
        self.open.iter().find(|action| matches!(action.dispatch, Dispatch::InFlight { .. }))
    }

    /// Whether somebody must run this session for it to come further by itself.
    pub fn wants_worker(&self) -> bool {
        match self.phase {
            Phase::Unborn | Phase::Forked {} | Phase::Imported { .. } | Phase::Audit {} | Phase::Closed { .. } => false,
            Phase::Starting(_) | Phase::Closing { .. } => true,
            Phase::StartFailed { .. } => self.last_held().is_some(),
            Phase::Ready => {
                let waits = |open: &OpenAction| open.dispatch != Dispatch::Unconfirmed && self.agent != AgentState::Paused;
                self.open.first().is_some_and(waits)
                    || self.in_flight().is_some()
                    || self.is_replaying()
                    || self.is_asking()
                    || self.delegation.is_some()
                    || self.until.is_some()
                    || self.snapshot_is_due()
            }
        }
    }

    /// Whether its agent is asked, or about to be.
    pub fn is_asking(&self) -> bool {
        self.model.is_some() || (self.agent == AgentState::Running && self.has_agent() && self.open.is_empty())
    }

    /// Whether its agent is at work and nothing else is owed, so that it is asked next.
    pub(super) fn may_ask(&self) -> bool {
        self.has_agent()
            && self.agent == AgentState::Running
            && self.open.is_empty()
            && self.model.is_none()
            && self.delegation.is_none()
            && !self.is_replaying()
    }

    /// Whether its agent sees more than it may.
    pub(super) fn has_outgrown(&self) -> bool {
        self.view.is_some_and(|view| view.seen > view.limit)
    }

    /// What is done with a history that grows too long.
    pub fn condenser(&self) -> Option<&Condenser> {
        self.spec.as_ref()?.agent.as_ref().map(|agent| &agent.config.condense)
    }

    /// Whether an agent of its own decides what is done; else whoever opened it does, or a recording.
    pub fn has_agent(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.agent.is_some())
    }

    /// What its agent may use up.
    pub fn limits(&self) -> Limits {
        self.raised.or_else(|| self.spec.as_ref().map(|spec| spec.limits)).unwrap_or_default()
    }

    /// The actions that a person must agree to, in order.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &OpenAction> {
        self.open.iter().filter(|open| open.dispatch == Dispatch::Unconfirmed)
    }

    /// Whether a recording is being performed and has not ended.
    pub fn is_replaying(&self) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.outcome.is_none())
    }
}
