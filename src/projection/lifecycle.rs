//! The life of a session as steps: start, replay, close, each with its attempts, its outcome and how long it took.

use serde::Serialize;

use super::Projection;
use crate::session::event::{
    ReleaseFailed, ReleaseFinished, ReleaseStarted, ReplayFinished, StateChanged, StepFailed, StepFinished, StepStarted,
};
use crate::session::replay::{ReplayOutcome, ReplayPlan, VerdictCounts};
use crate::session::start::StepOutcome;
use crate::session::workspace::{WorkspaceCaptured, WorkspaceCompared, WorkspaceNotCaptured};
use crate::session::{AgentState, Epoch, Event, Origin, Recorded, Report, Seq, StartStep, Timestamp};

/// The life of a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Lifecycle {
    /// When it was created.
    #[serde(serialize_with = "super::moment_if_any")]
    pub created_at: Option<Timestamp>,
    /// How it began.
    pub origin: Option<&'static str>,
    /// Every owner that it had.
    pub owners: Vec<OwnerView>,
    /// The steps of its start, in order.
    pub start: Vec<StepView>,
    /// When every step was done.
    #[serde(serialize_with = "super::moment_if_any")]
    pub started_at: Option<Timestamp>,
    /// The replay; unset when it is none.
    pub replay: Option<ReplayView>,
    /// What its agent does.
    pub agent: AgentState,
    /// Each time that the workspace was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workspace: Vec<WorkspaceView>,
    /// Why the close was asked for.
    pub close_reason: Option<String>,
    /// What was released, in order.
    pub close: Vec<StepView>,
    /// When it was closed.
    #[serde(serialize_with = "super::moment_if_any")]
    pub closed_at: Option<Timestamp>,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerView {
    /// The epoch that it began.
    pub epoch: Epoch,
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "super::moment")]
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// One step, over all its tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// Which.
    pub step: StartStep,
    /// How many tries.
    pub attempts: u32,
    /// When the latest try began.
    #[serde(serialize_with = "super::moment")]
    pub started_at: Timestamp,
    /// How it ended.
    pub outcome: StepEnd,
    /// How long the latest try took, in microseconds; unset while it goes on.
    pub micros: Option<u64>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StepEnd {
    /// Not yet.
    UnderWay,
    /// It is done.
    Done {
        /// What it reported.
        report: Report,
    },
    /// There was nothing to do.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It failed.
    Failed {
        /// Why.
        error: String,
    },
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplayView {
    /// What was planned.
    pub plan: ReplayPlan,
    /// When it began.
    #[serde(serialize_with = "super::moment")]
    pub started_at: Timestamp,
    /// Verdicts so far.
    pub verdicts: VerdictCounts,
    /// How it ended.
    pub outcome: Option<ReplayOutcome>,
    /// How long it took, in microseconds; unset while it goes on.
    pub micros: Option<u64>,
}

/// A look at the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkspaceView {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "super::moment")]
    pub at: Timestamp,
    /// What came of it.
    #[serde(flatten)]
    pub look: Look,
}

/// What came of a look at the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Look {
    /// What it held is kept.
    Kept(WorkspaceCaptured),
    /// It could not be.
    Missed(WorkspaceNotCaptured),
    /// It was compared with what was kept.
    Compared(WorkspaceCompared),
}

impl Lifecycle {
    fn look(&mut self, event: &Recorded, look: Look) {
        self.workspace.push(WorkspaceView { seq: event.seq, at: event.at, look });
    }
}

impl Projection for Lifecycle {
    fn apply(&mut self, event: &Recorded) {
        // Actions and observations are nothing to a lifecycle, and are most of a log.
        if matches!(event.kind.family(), "action" | "observation") {
            return;
        }
        let at = event.at;
        match Event::read(event) {
            Event::Created(body) => {
                self.created_at = Some(at);
                self.origin = Some(Origin::as_str(&body.spec.origin));
            }
            Event::OwnerAcquired(body) => {
                self.owners.push(OwnerView { epoch: body.epoch, seq: event.seq, at, reason: body.reason });
            }
            Event::StepStarted(StepStarted { step, attempt, .. }) => begin(&mut self.start, step, attempt, at),
            Event::StepFinished(StepFinished { step, attempt, outcome }) => {
                let outcome = match outcome {
                    StepOutcome::Done { report } => StepEnd::Done { report },
                    StepOutcome::Skipped { reason } => StepEnd::Skipped { reason },
                };
                end(&mut self.start, step, attempt, at, outcome);
            }
            Event::StepFailed(StepFailed { step, attempt, error }) => {
                end(&mut self.start, step, attempt, at, StepEnd::Failed { error });
            }
            Event::Started(_) => self.started_at = Some(at),
            Event::StateChanged(StateChanged { state, .. }) => self.agent = state,
            Event::ReplayStarted(body) => {
                self.replay = Some(ReplayView {
                    plan: body.plan,
                    started_at: at,
                    verdicts: VerdictCounts::default(),
                    outcome: None,
                    micros: None,
                });
            }
            Event::ReplayCompared(body) => {
                if let Some(replay) = &mut self.replay {
                    replay.verdicts.count(&body.verdict);
                }
            }
            Event::ReplayFinished(ReplayFinished { outcome }) => {
                if let Some(replay) = &mut self.replay {
                    replay.micros = Some(micros(replay.started_at, at));
                    replay.outcome = Some(outcome);
                }
            }
            Event::CloseRequested(body) => self.close_reason = Some(body.reason),
            Event::ReleaseStarted(ReleaseStarted { step, attempt, .. }) => begin(&mut self.close, step, attempt, at),
            Event::ReleaseFinished(ReleaseFinished { step, attempt }) => {
                end(&mut self.close, step, attempt, at, StepEnd::Done { report: Report::default() });
            }
            Event::ReleaseFailed(ReleaseFailed { step, attempt, error }) => {
                end(&mut self.close, step, attempt, at, StepEnd::Failed { error });
            }
            Event::WorkspaceCaptured(body) => self.look(event, Look::Kept(body)),
            Event::WorkspaceNotCaptured(body) => self.look(event, Look::Missed(body)),
            Event::WorkspaceCompared(body) => self.look(event, Look::Compared(body)),
            Event::Closed(_) => self.closed_at = Some(at),
            Event::Forked(_)
            | Event::Restored(_)
            | Event::Imported(_)
            | Event::StartPlanned(_)
            | Event::LimitsChanged(_)
            | Event::Briefed(_)
            | Event::ModelRequested(_)
            | Event::ModelResponded(_)
            | Event::ModelFailed(_)
            | Event::Judged(_)
            | Event::Confirmed(_)
            | Event::Refused(_)
            | Event::Dispatched(_)
            | Event::DelegateStarted(_)
            | Event::DelegateWaits(_)
            | Event::DelegateGoesOn(_)
            | Event::DelegateFinished(_)
            | Event::TurnEnded(_)
            | Event::HeadsListed(_)
            | Event::Sealed(_)
            | Event::Published(_)
            | Event::Erasing(_)
            | Event::Erased(_)
            | Event::NotErased(_)
            | Event::RetentionSet(_)
            | Event::AccessSet(_)
            | Event::AccessRead(_)
            | Event::Item(_)
            | Event::Unknown(_) => {}
        }
    }
}

fn begin(steps: &mut Vec<StepView>, step: StartStep, attempts: u32, started_at: Timestamp) {
    let view = StepView { step, attempts, started_at, outcome: StepEnd::UnderWay, micros: None };
    match steps.iter_mut().find(|known| known.step == step) {
        Some(known) => *known = view,
        None => steps.push(view),
    }
}

fn end(steps: &mut Vec<StepView>, step: StartStep, attempt: u32, at: Timestamp, outcome: StepEnd) {
    if !steps.iter().any(|known| known.step == step && known.attempts == attempt) {
        begin(steps, step, attempt, at);
    }
    if let Some(known) = steps.iter_mut().find(|known| known.step == step) {
        known.micros = Some(micros(known.started_at, at));
        known.outcome = outcome;
    }
}

fn micros(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
}
