//! Parts of the task that are handed to sessions of their own: begun, waited for, ended.

use super::{Deciding, NOT_EXECUTED};
use crate::session::action::Delegate;
use crate::session::command::Rejection;
use crate::session::delegation::{DelegateWait, Delegation, Used};
use crate::session::envelope::Source;
use crate::session::event::{DelegateFinished, DelegateGoesOn, DelegateStarted, DelegateWaits, Event};
use crate::session::id::{Seq, SessionId};
use crate::session::observation::Observation;
use crate::session::spec::{Parent, SessionSpec, task};
use crate::session::turn::{AgentState, Dispatch};

impl Deciding {
    fn level(&self) -> u32 {
        self.session.spec.as_ref().map_or(0, SessionSpec::level)
    }

    /// Refuses at once what no session could be begun for.
    pub(super) fn admit_delegate(&mut self, seq: Seq, delegate: &Delegate) {
        let told = if self.level() >= Parent::LEVEL_MAX {
            format!("There are {} levels of agents above you already. Do it yourself.", self.level())
        } else if task(&delegate.inputs).is_none() {
            "The agent was given no task. Say in `task` what it is to do.".to_owned()
        } else {
            return;
        };
        self.outcome(seq, None, Observation::error(told, NOT_EXECUTED), None, Source::Environment);
    }

    pub(super) fn start_delegate(&mut self, action: Seq, session: SessionId, agent: String) -> Result<(), Rejection> {
        self.ready("begin a delegate")?;
        let open = self.session.open_action(action);
        let waits = open.is_some_and(|open| open.is_delegate() && matches!(open.dispatch, Dispatch::InFlight { .. }));
        if !waits || self.session.delegation.is_some() {
            return Err(Rejection::Stale(format!("a delegate for action {action}")));
        }
        let (level, limits) = (self.level().saturating_add(1), self.session.left());
        let started = DelegateStarted { session, agent, level, limits };
        self.emit_as(Source::Environment, Some(action), Event::DelegateStarted(started));
        Ok(())
    }

    fn delegation(&self, action: Seq) -> Result<&Delegation, Rejection> {
        let known = self.session.delegation.as_ref().filter(|delegation| delegation.action == action);
        known.ok_or_else(|| Rejection::Stale(format!("the delegate of action {action}")))
    }

    /// A delegate that comes no further by itself holds up its parent, and that says so.
    pub(super) fn delegate_waits(&mut self, action: Seq, wait: DelegateWait, used: Used) -> Result<(), Rejection> {
        self.ready("wait for a delegate")?;
        let (session, known) = self.delegation(action).map(|delegation| (delegation.session, delegation.wait))?;
        if known == Some(wait) || self.session.open_action(action).is_none() {
            return Err(Rejection::Stale(format!("news of the delegate of action {action}")));
        }
        let before = self.session.agent;
        self.emit_as(Source::Environment, Some(action), Event::DelegateWaits(DelegateWaits { wait, used }));
        let (state, reason) = match wait {
            DelegateWait::Consent { session } => {
                (AgentState::AwaitingUserConfirmation, format!("its delegate {session} waits for consent to an action"))
            }
            DelegateWait::Release => (AgentState::Paused, format!("its delegate {session} is paused")),
            DelegateWait::Limits => {
                let reached = self.limit_reached().unwrap_or_else(|| "RuntimeError: Agent reached its limits".to_owned());
                (AgentState::Error, reached)
            }
            DelegateWait::Model => (AgentState::RateLimited, format!("the model of its delegate {session} refuses for now")),
        };
        // Who holds it is not overruled.
        if before != AgentState::Paused {
            self.turn(state, &reason);
        }
        Ok(())
    }

    pub(super) fn delegate_goes_on(&mut self, action: Seq) -> Result<(), Rejection> {
        self.ready("go on with a delegate")?;
        self.delegation(action)?;
        // Its parent's own actions may wait for a person all the same.
        if self.session.unconfirmed().next().is_none() {
            self.run("");
        }
        self.emit_as(Source::Environment, Some(action), Event::DelegateGoesOn(DelegateGoesOn {}));
        Ok(())
    }

    pub(super) fn end_delegate(
        &mut self,
        action: Seq,
        outcome: Option<Box<Observation>>,
        used: Used,
        closed: bool,
    ) -> Result<(), Rejection> {
        let session = self.delegation(action)?.session;
        let finished = DelegateFinished { session, used, closed };
        self.emit_as(Source::Environment, Some(action), Event::DelegateFinished(finished));
        let waits = self.session.open_action(action).map(|open| open.source);
        if let (Some(source), Some(outcome)) = (waits, outcome) {
            self.outcome(action, None, *outcome, None, source);
            // It may have been held up by its delegate; a person that holds it is not overruled.
            if matches!(self.session.agent, AgentState::AwaitingUserConfirmation | AgentState::Error | AgentState::RateLimited) {
                self.run_unless_waiting();
            }
        }
        Ok(())
    }
}
