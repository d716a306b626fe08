//! Performing a recording: its lines, the verdicts on what came of them, its end.

use super::{Deciding, NOT_EXECUTED};
use crate::session::command::Rejection;
use crate::session::envelope::Source;
use crate::session::event::{Entry, Event, ReplayCompared, ReplayFinished};
use crate::session::id::Seq;
use crate::session::item::{Content, Item};
use crate::session::observation::Observation;
use crate::session::replay::{Line, ReplayOutcome, Step, Verdict};
use crate::session::spec::{OnDivergence, OnUnknown, Origin};
use crate::session::turn::{AgentState, Dispatch};

impl Deciding {
    pub(super) fn compared(&mut self, action: Seq, index: u64, verdict: Verdict) {
        let diverged = matches!(verdict, Verdict::Diverged { .. });
        self.emit_as(Source::Environment, Some(action), Event::ReplayCompared(ReplayCompared { index, verdict }));
        if diverged && self.on_divergence() == OnDivergence::Stop {
            self.finish_replay(ReplayOutcome::Stopped { index, reason: "the outcome is not the recorded one".to_owned() });
        }
    }

    pub(super) fn on_divergence(&self) -> OnDivergence {
        match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { on_divergence, .. }) => *on_divergence,
            _ => OnDivergence::Continue,
        }
    }

    pub(super) fn on_unknown(&self) -> OnUnknown {
        match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { on_unknown, .. }) => *on_unknown,
            _ => OnUnknown::StepOver,
        }
    }

    pub(super) fn replaying(&self) -> Result<(), Rejection> {
        self.ready("perform a recording")?;
        if self.session.is_replaying() && self.session.open.is_empty() {
            Ok(())
        } else {
            Err(Rejection::Stale("a line of the recording".to_owned()))
        }
    }

    pub(super) fn perform(&mut self, line: Line) -> Result<(), Rejection> {
        self.replaying()?;
        let Line { index, step } = line;
        match step {
            Step::Perform { item, expected } => {
                let by_agent = item.source != Some(Source::User);
                if by_agent {
                    // An agent that asked and then went on without an answer did not wait.
                    self.run("");
                }
                let expected = expected.and_then(|item| match item.content {
                    Content::Observation(observation) => Some(observation),
                    Content::Action(_) => None,
                });
                self.do_action(Entry { item: *item, recorded: Some(index) }, expected.as_ref());
            }
            Step::Unknown { kind, why } => match self.on_unknown() {
                OnUnknown::Stop => {
                    self.finish_replay(ReplayOutcome::Stopped { index, reason: format!("{kind} cannot be read: {why}") });
                }
                OnUnknown::StepOver => return Err(Rejection::Stale(format!("entry {index}, which is stepped over"))),
            },
        }
        Ok(())
    }

    /// The outcome of an action that is not run: the one that was recorded.
    pub(super) fn take_recorded(&mut self, action: Seq, recorded: Option<Observation>, why: String) -> Result<(), Rejection> {
        let open = self.session.open_action(action).filter(|open| matches!(open.dispatch, Dispatch::InFlight { .. }));
        let Some((index, source)) = open.and_then(|open| Some((open.recorded?, open.source))) else {
            return Err(Rejection::Stale(format!("the outcome of action {action}")));
        };
        let outcome = recorded.unwrap_or_else(|| {
            Observation::error(format!("This was not run ({why}), and the recording holds no outcome of it."), NOT_EXECUTED)
        });
        self.emit_as(source, Some(action), Event::Item(Box::new(Entry::new(Item::from(Content::Observation(outcome))))));
        self.compared(action, index, Verdict::NotRun { why });
        Ok(())
    }

    pub(super) fn end_recording(&mut self) -> Result<(), Rejection> {
        self.replaying()?;
        self.finish_replay(ReplayOutcome::Completed);
        Ok(())
    }

    pub(super) fn stop_replay(&mut self, index: u64, reason: String) -> Result<(), Rejection> {
        self.replaying()?;
        self.finish_replay(ReplayOutcome::Stopped { index, reason });
        Ok(())
    }

    pub(super) fn finish_replay(&mut self, outcome: ReplayOutcome) {
        let (state, reason) = match &outcome {
            ReplayOutcome::Completed => (AgentState::AwaitingUserInput, "the recording ends here".to_owned()),
            ReplayOutcome::Stopped { index, reason } => {
                (AgentState::Stopped, format!("replay stopped at entry {index}: {reason}"))
            }
        };
        let stopped = outcome != ReplayOutcome::Completed;
        self.emit(Event::ReplayFinished(ReplayFinished { outcome }));
        if stopped || !self.session.agent_rests() {
            self.turn(state, &reason);
        }
    }
}
