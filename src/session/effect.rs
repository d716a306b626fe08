//! What the world owes a session next. Derived from its state alone, so that it is the same before and after a crash.

use super::delegation::{DelegateWait, Order};
use super::id::{Seq, SessionId};
use super::phase::{Phase, Start, StepProgress};
use super::start::StartStep;
use super::state::{Briefing, Session};
use super::time::Timestamp;
use super::turn::Dispatch;
use super::workspace::{LastSnapshot, SnapshotDue};

/// Something that only the world can do. Its result comes back as a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Take a step of the start.
    TakeStep {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
        /// When it counts as failed.
        deadline: Timestamp,
    },
    /// Execute an action.
    Execute {
        /// The action.
        action: Seq,
        /// Which try.
        attempt: u32,
    },
    /// See to a part of the task that was handed to a session of its own.
    Delegate {
        /// The action that asked for it.
        action: Seq,
        /// Which try.
        attempt: u32,
        /// The delegate's own session; unset when it has none yet.
        session: Option<SessionId>,
        /// What is to be done about it.
        order: Order,
        /// For what it waits, where it comes no further without a person.
        waits: Option<DelegateWait>,
    },
    /// Wait, and try again then.
    Wait {
        /// Until when.
        until: Timestamp,
    },
    /// Ask the agent what to do next.
    AskAgent {
        /// The event that asks.
        request: Seq,
        /// What its model was told to be, and can do, when it was last asked; unset when it was told nothing yet.
        briefing: Option<Briefing>,
    },
    /// Have a model sum up what is about to be forgotten.
    Summarise {
        /// The event that asks.
        request: Seq,
    },
    /// Say what is forgotten of a history that has grown too long.
    Condense,
    /// Look up what the recording does next.
    ReadLine {
        /// The first recorded entry to look at.
        from: u64,
    },
    /// Keep what the workspace holds.
    Capture,
    /// Compare what the workspace holds with what was kept last.
    Compare {
        /// What was kept.
        last: LastSnapshot,
    },
    /// Release what a step brought.
    Release {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
        /// When it is given up.
        deadline: Timestamp,
    },
}

impl Effect {
    /// Whether it only watches for what a person does elsewhere: nobody need wait for it.
    pub const fn is_watching(&self) -> bool {
        matches!(self, Self::Delegate { order: Order::Follow, waits: Some(_), .. })
    }
}

impl Session {
    /// What the world owes this session next; `None` when nothing does.
    pub fn next_effect(&self) -> Option<Effect> {
        if self.not_understood.is_some() {
            return None;
        }
        match &self.phase {
            Phase::Unborn | Phase::Forked {} | Phase::Imported { .. } | Phase::Audit {} | Phase::Closed { .. } => None,
            Phase::Starting(start) => {
                let restored = start.taken().iter().find_map(|step| self.step_under_way(*step));
                restored.or_else(|| start.current().and_then(|step| self.step_under_way(step)))
            }
            Phase::StartFailed { .. } | Phase::Closing { .. } => self.delegate_under_way().or_else(|| self.release_under_way()),
            Phase::Ready => {
                let step = StartStep::HOLDING.into_iter().find_map(|step| self.step_under_way(step));
                step.or_else(|| self.workspace_to_compare())
                    .or_else(|| self.first_snapshot())
                    .or_else(|| self.delegate_under_way())
                    .or_else(|| self.action_in_flight())
                    .or_else(|| self.call_under_way())
                    .or_else(|| self.history_to_condense())
                    .or_else(|| self.next_line())
                    .or_else(|| self.snapshot_is_due().then_some(Effect::Capture))
                    .or_else(|| self.until.map(|until| Effect::Wait { until }))
            }
        }
    }

    /// Whether something that an earlier step of the start had brought is just made again.
    pub(super) fn is_restoring(&self, start: &Start) -> bool {
        start.taken().iter().any(|step| self.step_under_way(*step).is_some())
    }

    fn step_under_way(&self, step: StartStep) -> Option<Effect> {
        let record = self.step(step)?;
        match record.progress {
            StepProgress::Running { deadline, .. } => Some(Effect::TakeStep { step, attempt: record.attempt, deadline }),
            _ => None,
        }
    }

    fn workspace_to_compare(&self) -> Option<Effect> {
        let snapshots = self.snapshots.filter(|snapshots| snapshots.unchecked && self.has_runtime())?;
        snapshots.last.map(|last| Effect::Compare { last })
    }

    /// What there was before anything ran: a fork of the first turn begins with it.
    fn first_snapshot(&self) -> Option<Effect> {
        let is_due = self.snapshots.is_some_and(|snapshots| snapshots.due == SnapshotDue::Now);
        (is_due && self.has_runtime()).then_some(Effect::Capture)
    }

    /// Whether the workspace is to be kept as the last turn left it. Whoever says something meanwhile goes first.
    pub(super) fn snapshot_is_due(&self) -> bool {
        self.snapshots.is_some_and(|snapshots| snapshots.due == SnapshotDue::AtRest)
            && self.phase == Phase::Ready
            && !self.turn_open
            && self.agent_rests()
            && self.open.is_empty()
            && self.delegation.is_none()
    }

    fn release_under_way(&self) -> Option<Effect> {
        self.steps.iter().rev().find_map(|record| match record.progress {
            StepProgress::Releasing { attempt, deadline, .. } => Some(Effect::Release { step: record.step, attempt, deadline }),
            _ => None,
        })
    }

    fn delegate_under_way(&self) -> Option<Effect> {
        if self.delegation.is_none() {
            let open = self.in_flight().filter(|open| open.is_delegate())?;
            let Dispatch::InFlight { attempt, .. } = open.dispatch else { return None };
            return Some(Effect::Delegate { action: open.seq, attempt, session: None, order: Order::Follow, waits: None });
        }
        let (delegation, attempt, order) = self.order()?;
        let (action, session, waits) = (delegation.action, Some(delegation.session), delegation.wait);
        Some(Effect::Delegate { action, attempt, session, order, waits })
    }

    fn action_in_flight(&self) -> Option<Effect> {
        self.open.iter().find_map(|action| match action.dispatch {
            Dispatch::InFlight { attempt, .. } => Some(Effect::Execute { action: action.seq, attempt }),
            Dispatch::Unconfirmed | Dispatch::Queued { .. } | Dispatch::Interrupted { .. } => None,
        })
    }

    fn call_under_way(&self) -> Option<Effect> {
        let call = self.model.filter(|call| call.epoch == Some(self.epoch))?;
        Some(if self.forgetting.is_empty() {
            Effect::AskAgent { request: call.request, briefing: self.briefing }
        } else {
            Effect::Summarise { request: call.request }
        })
    }

    fn history_to_condense(&self) -> Option<Effect> {
        (self.may_ask() && self.has_outgrown()).then_some(Effect::Condense)
    }

    fn next_line(&self) -> Option<Effect> {
        let replay = self.replay.as_ref()?;
        (replay.outcome.is_none() && self.open.is_empty() && self.has_runtime()).then_some(Effect::ReadLine { from: replay.next })
    }
}
