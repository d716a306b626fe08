//! What a person says of an agent's work: yes, no, hold, stop, go on.

use super::{Deciding, NOT_EXECUTED, OUTCOME_UNKNOWN, STOPPED_WHILE_IT_RAN};
use crate::session::command::Rejection;
use crate::session::delegation::Used;
use crate::session::envelope::Source;
use crate::session::event::{ActionConfirmed, ActionRefused, Event, LimitsChanged, StepFailed};
use crate::session::id::Seq;
use crate::session::observation::{Extras, Observation};
use crate::session::phase::Phase;
use crate::session::spec::{Interaction, Limits};
use crate::session::start::StartStep;
use crate::session::turn::{AgentState, Dispatch, OpenAction};

impl Deciding {
    pub(super) fn confirm(&mut self, action: Option<Seq>, by: &str) -> Result<(), Rejection> {
        for open in self.waiting(action)? {
            self.emit_as(Source::User, Some(open.seq), Event::Confirmed(ActionConfirmed { by: by.to_owned() }));
        }
        if self.session.unconfirmed().next().is_none() && self.session.agent == AgentState::AwaitingUserConfirmation {
            self.run_unless_waiting();
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, action: Option<Seq>, by: &str, reason: Option<&str>) -> Result<(), Rejection> {
        for open in self.waiting(action)? {
            self.refuse_one(&open, by, reason);
        }
        if self.session.unconfirmed().next().is_none() && self.session.agent == AgentState::AwaitingUserConfirmation {
            match reason {
                Some(_) => self.run_unless_waiting(),
                None => self.turn(AgentState::AwaitingUserInput, "the action was refused"),
            }
        }
        Ok(())
    }

    /// Refuses all that waits for a person, if anything does.
    pub(super) fn refuse_all(&mut self, by: &str, reason: &str) {
        let waiting: Vec<OpenAction> = self.session.unconfirmed().cloned().collect();
        for open in waiting {
            self.refuse_one(&open, by, Some(reason));
        }
    }

    fn refuse_one(&mut self, open: &OpenAction, by: &str, reason: Option<&str>) {
        let refused = ActionRefused { by: by.to_owned(), reason: reason.map(str::to_owned) };
        self.emit_as(Source::User, Some(open.seq), Event::Refused(refused));
        let content = match reason {
            Some(reason) => format!("The action was refused and not executed: {reason}"),
            None => "The action was refused and not executed. Wait for further input of the user.".to_owned(),
        };
        self.outcome(open.seq, open.recorded, Observation { content, extras: Extras::UserRejected }, None, open.source);
    }

    fn waiting(&self, action: Option<Seq>) -> Result<Vec<OpenAction>, Rejection> {
        self.ready_or_forked("agree to or refuse an action")?;
        let wanted = |open: &&OpenAction| action.is_none_or(|seq| open.seq == seq);
        let waiting: Vec<OpenAction> = self.session.unconfirmed().filter(wanted).cloned().collect();
        if waiting.is_empty() {
            let what = action.map_or_else(|| "anybody to agree".to_owned(), |seq| format!("anybody to agree to event {seq}"));
            return Err(Rejection::Stale(what));
        }
        Ok(waiting)
    }

    pub(super) fn pause(&mut self) -> Result<(), Rejection> {
        if !matches!(self.session.phase, Phase::Starting(_)) {
            self.ready("pause")?;
        }
        match self.session.agent {
            AgentState::Paused => Ok(()),
            AgentState::Loading | AgentState::Running | AgentState::AwaitingUserConfirmation | AgentState::RateLimited
                if self.session.has_agent() =>
            {
                self.turn(AgentState::Paused, "paused by the user");
                Ok(())
            }
            other => Err(Rejection::OutOfPhase { asked: "pause".into(), phase: other.as_str().into() }),
        }
    }

    /// Ends what the agent is at. A runtime that is at an action is made anew: nothing else ends a program for certain.
    pub(super) fn stop(&mut self, reason: &str) -> Result<(), Rejection> {
        if matches!(self.session.phase, Phase::Starting(_)) && self.session.has_agent() {
            // The start goes on, so that it can be gone on from there; the agent is not asked.
            self.turn(AgentState::Stopped, reason);
            return Ok(());
        }
        self.ready("stop")?;
        self.cancel_call(reason);
        let in_flight = self.session.in_flight().cloned();
        if let Some(open) = &in_flight {
            self.stopped(open, &format!("{STOPPED_WHILE_IT_RAN} ({reason})"));
        }
        let open: Vec<OpenAction> = self.session.open.clone();
        for open in open {
            match open.dispatch {
                Dispatch::Unconfirmed | Dispatch::Queued { .. } => {
                    let text = "The action has not been executed: the agent was stopped before.";
                    self.settle(&open, Observation::error(text, NOT_EXECUTED));
                }
                Dispatch::InFlight { .. } | Dispatch::Interrupted { .. } => {
                    self.stopped(&open, STOPPED_WHILE_IT_RAN);
                }
            }
        }
        self.turn(AgentState::Stopped, reason);
        if in_flight.is_some_and(|open| open.needs_runtime()) && self.session.has_runtime() {
            let attempt = self.session.next_attempt(StartStep::Runtime).saturating_sub(1);
            let error = "ended with what it ran".to_owned();
            self.emit(Event::StepFailed(StepFailed { step: StartStep::Runtime, attempt, error }));
            self.begin_step(StartStep::Runtime);
        }
        Ok(())
    }

    /// The terminal event of an action that was stopped and may have run.
    fn stopped(&mut self, open: &OpenAction, why: &str) {
        match &self.session.delegation {
            Some(delegation) if delegation.action == open.seq => {
                let text = format!("{} was stopped. What it did until then is done.", delegation.agent);
                self.settle(open, Observation::error(text, OUTCOME_UNKNOWN));
            }
            _ => self.unknown_outcome(open, why),
        }
    }

    pub(super) fn go_on(&mut self, limits: Option<Limits>) -> Result<(), Rejection> {
        if !self.session.has_agent() {
            return Err(Rejection::OutOfPhase { asked: "go on by itself".into(), phase: "without an agent".into() });
        }
        if matches!(self.session.phase, Phase::Starting(_)) && self.session.fork.is_none() {
            // Held or stopped while it started; it goes to work when it has.
            let held = matches!(self.session.agent, AgentState::Paused | AgentState::Stopped);
            self.turn(if held { AgentState::Loading } else { self.session.agent }, "");
            return Ok(());
        }
        if !matches!(self.session.phase, Phase::Starting(_)) {
            self.ready("go on")?;
        }
        match limits {
            Some(limits) if limits != self.session.limits() => {
                self.emit(Event::LimitsChanged(LimitsChanged { limits, reason: "asked for".to_owned() }));
            }
            Some(_) => {}
            None => self.raise_limits_by_what_they_were("the session goes on"),
        }
        self.run_unless_waiting();
        Ok(())
    }

    /// With a person there, their message lets the agent go on where it stopped at a limit.
    pub(super) fn raise_limits_that_were_reached(&mut self) {
        if self.session.spec.as_ref().is_some_and(|spec| spec.interaction == Interaction::Interactive) {
            self.raise_limits_by_what_they_were("the user said something");
        }
    }

    /// Raises each limit that was reached by what it was at first.
    fn raise_limits_by_what_they_were(&mut self, reason: &str) {
        let (now, first) = (self.session.limits(), self.session.spec.as_ref().map(|spec| spec.limits).unwrap_or_default());
        if self.session.spec.as_ref().is_some_and(|spec| spec.parent.is_some()) {
            // What a delegate may use up is its parent's, who gives it more.
            return;
        }
        let mut limits = now;
        let all = Used::of(&self.session);
        if all.iterations >= now.iterations {
            limits.iterations = all.iterations.saturating_add(first.iterations);
        }
        let used = all.cost_micro_usd.unwrap_or(0);
        if let (Some(budget), Some(at_first)) = (now.budget_micro_usd, first.budget_micro_usd)
            && used >= budget
        {
            limits.budget_micro_usd = Some(used.saturating_add(at_first));
        }
        if limits != now {
            self.emit(Event::LimitsChanged(LimitsChanged { limits, reason: reason.to_owned() }));
        }
    }
}
