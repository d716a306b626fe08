//! What goes on in a session that has started: messages, actions, outcomes, the end of a turn.

use super::{Deciding, NOT_EXECUTED, OUTCOME_UNKNOWN};
use crate::session::action::{Action, Message, Recall, RecallType, Think};
use crate::session::command::Rejection;
use crate::session::envelope::Source;
use crate::session::event::{Dispatched, Entry, Event, StateChanged, StepFailed, TurnEnded};
use crate::session::id::Seq;
use crate::session::item::{Content, Item};
use crate::session::observation::{Extras, Observation};
use crate::session::phase::{Phase, StepProgress};
use crate::session::replay::{Verdict, compare};
use crate::session::start::StartStep;
use crate::session::state::REDUCER;
use crate::session::turn::{AgentState, Dispatch, OpenAction};

impl Deciding {
    pub(super) fn say(&mut self, content: String, images: Option<Vec<String>>) -> Result<(), Rejection> {
        self.ready_or_forked("take a message")?;
        self.refuse_all("the user", "The user said something else instead.");
        self.user_message(content, images);
        self.run_unless_waiting();
        Ok(())
    }

    /// A message of the user, and what memory is asked because of it.
    pub(super) fn user_message(&mut self, content: String, images: Option<Vec<String>>) {
        let first = self.session.counts.messages == 0;
        let query = content.clone();
        let message = Action::Message(Message { content, image_urls: images, ..Message::default() });
        self.emit_as(Source::User, None, Event::Item(Box::new(Entry::new(Item::from(message)))));
        if self.session.has_agent() {
            self.raise_limits_that_were_reached();
            self.recall(query, first);
        }
    }

    /// Asks memory what it knows of what the user said, the first time also of the workspace.
    pub(super) fn recall(&mut self, query: String, first: bool) {
        if self.session.has_agent() {
            let recall_type = if first { RecallType::WorkspaceContext } else { RecallType::Knowledge };
            let recall = Action::Recall(Recall { recall_type, query, thought: String::new() });
            self.emit_as(Source::User, None, Event::Item(Box::new(Entry::new(Item::from(recall)))));
        }
    }

    /// Goes to work, unless a person must still agree to something, here or below.
    pub(super) fn run_unless_waiting(&mut self) {
        if self.session.unconfirmed().next().is_some() {
            self.turn(AgentState::AwaitingUserConfirmation, "");
        } else if !self.session.waits_for_consent_below() {
            self.run("");
        }
    }

    /// What could not be made again when it was lost is tried once more.
    fn mend(&mut self) {
        let failed = |step: &StartStep| self.session.step(*step).is_some_and(|record| record.progress == StepProgress::Failed);
        if let Some(step) = StartStep::HOLDING.into_iter().find(failed) {
            self.begin_step(step);
        }
    }

    pub(super) fn run(&mut self, reason: &str) {
        if self.session.phase == Phase::Ready {
            self.mend();
        }
        self.turn(AgentState::Running, reason);
    }

    pub(super) fn turn(&mut self, state: AgentState, reason: &str) {
        if self.session.agent != state || (!reason.is_empty() && self.session.agent_reason != reason) {
            self.emit(Event::StateChanged(StateChanged { state, reason: reason.to_owned(), status: None, until: None }));
        }
    }

    pub(super) fn act(&mut self, actions: Vec<Item>) -> Result<(), Rejection> {
        self.ready("act")?;
        if actions.is_empty() {
            return Err(Rejection::Empty);
        }
        if self.session.is_replaying() {
            return Err(Rejection::OutOfPhase { asked: "act by itself".into(), phase: "performing a recording".into() });
        }
        self.run("");
        for item in actions {
            self.do_action(Entry::new(item), None);
        }
        Ok(())
    }

    /// An action enters the log; what needs no runtime has its outcome at once.
    pub(super) fn do_action(&mut self, mut entry: Entry, expected: Option<&Observation>) {
        let source = entry.item.source.unwrap_or(Source::Agent);
        entry.item.id = None;
        entry.item.cause = None;
        let Content::Action(action) = entry.item.content.clone() else {
            return;
        };
        let recorded = entry.recorded;
        let refused = action.is_refused();
        let seq = self.emit_as(source, None, Event::Item(Box::new(entry)));
        match action {
            Action::Delegate(delegate) if self.session.has_agent() => self.admit_delegate(seq, &delegate),
            Action::Message(message) if source == Source::User => {
                drop(message);
                self.run("");
            }
            Action::Message(message) if message.wait_for_response => self.turn(AgentState::AwaitingUserInput, ""),
            Action::Finish(_) => self.turn(AgentState::Finished, ""),
            Action::Reject(_) => self.turn(AgentState::Rejected, ""),
            Action::Think(Think { .. }) => {
                let thought = Observation { content: "Your thought has been logged.".to_owned(), extras: Extras::Think };
                self.outcome(seq, recorded, thought, expected, source);
            }
            _ if refused => {
                let content = "Action has been rejected by the user! Waiting for further user input.".to_owned();
                self.outcome(seq, recorded, Observation { content, extras: Extras::UserRejected }, expected, source);
            }
            _ => {}
        }
    }

    /// The one outcome of an action, and how it compares with the recorded one.
    pub(super) fn outcome(
        &mut self,
        action: Seq,
        recorded: Option<u64>,
        observation: Observation,
        expected: Option<&Observation>,
        source: Source,
    ) {
        let verdict = recorded.map(|index| (index, compare(expected, &observation)));
        let item = Item::from(Content::Observation(observation));
        self.emit_as(source, Some(action), Event::Item(Box::new(Entry::new(item))));
        if let Some((index, verdict)) = verdict {
            self.compared(action, index, verdict);
        }
    }

    pub(super) fn observe(
        &mut self,
        action: Seq,
        observation: Observation,
        expected: Option<&Observation>,
    ) -> Result<(), Rejection> {
        let Some(open) = self.session.open_action(action).filter(|open| matches!(open.dispatch, Dispatch::InFlight { .. }))
        else {
            return Err(Rejection::Stale(format!("the outcome of action {action}")));
        };
        let (recorded, source) = (open.recorded, open.source);
        self.outcome(action, recorded, observation, expected, source);
        Ok(())
    }

    pub(super) fn lose_runtime(&mut self, error: &str) -> Result<(), Rejection> {
        self.ready("lose its runtime")?;
        let attempt = self.session.next_attempt(StartStep::Runtime);
        self.emit(Event::StepFailed(StepFailed {
            step: StartStep::Runtime,
            attempt: attempt.saturating_sub(1),
            error: error.to_owned(),
        }));
        let in_flight: Vec<OpenAction> = self.session.in_flight().cloned().into_iter().collect();
        for open in in_flight {
            self.unknown_outcome(&open, &format!("the runtime was lost while this ran ({error})"));
        }
        self.begin_step(StartStep::Runtime);
        Ok(())
    }

    /// The terminal event of an action that may have run.
    pub(super) fn unknown_outcome(&mut self, open: &OpenAction, why: &str) {
        let text = format!("{why}; its outcome is unknown. It was not repeated: check what it did before doing it again.");
        self.settle(open, Observation::error(text, OUTCOME_UNKNOWN));
    }

    pub(super) fn settle(&mut self, open: &OpenAction, observation: Observation) {
        let item = Item::from(Content::Observation(observation));
        self.emit_as(Source::Environment, Some(open.seq), Event::Item(Box::new(Entry::new(item))));
        if let Some(index) = open.recorded {
            self.compared(open.seq, index, Verdict::OutcomeUnknown);
        }
    }

    /// Gives one action that a former owner was at its outcome, or another try.
    pub(super) fn settle_interrupted(&mut self) -> bool {
        let interrupted = self.session.open.iter().find(|open| matches!(open.dispatch, Dispatch::Interrupted { .. }));
        let Some(open) = interrupted.cloned() else {
            return false;
        };
        if open.class.repeatable() {
            return false;
        }
        self.unknown_outcome(&open, self.why_interrupted(&open));
        true
    }

    fn why_interrupted(&self, open: &OpenAction) -> &'static str {
        match &self.session.fork {
            Some(fork) if fork.left == Some(open.seq) => "the session was forked while this ran",
            _ => "the engine stopped while this ran",
        }
    }

    pub(super) fn dispatch_next(&mut self) -> bool {
        let Some(open) = self.session.open.first() else {
            return false;
        };
        // Whoever goes on with a delegate that was begun has it held, too.
        let held = self.session.agent == AgentState::Paused && self.session.delegation.is_none();
        if held || self.session.in_flight().is_some() {
            return false;
        }
        if open.needs_runtime() && !self.session.has_runtime() {
            return false;
        }
        let attempt = match open.dispatch {
            Dispatch::Unconfirmed => return false,
            Dispatch::Queued { attempts } | Dispatch::Interrupted { attempt: attempts } => attempts.saturating_add(1),
            Dispatch::InFlight { .. } => return false,
        };
        let (action, epoch) = (open.seq, self.session.epoch);
        self.emit_as(Source::Environment, Some(action), Event::Dispatched(Dispatched { attempt, epoch }));
        true
    }

    pub(super) fn cancel_open(&mut self) -> bool {
        let Some(open) = self.session.open.first().cloned() else {
            return false;
        };
        match open.dispatch {
            Dispatch::Unconfirmed | Dispatch::Queued { .. } => {
                let text = "The session was closed before this was executed.";
                self.settle(&open, Observation::error(text, NOT_EXECUTED));
            }
            Dispatch::InFlight { .. } => self.unknown_outcome(&open, "the session was closed while this ran"),
            Dispatch::Interrupted { .. } => self.unknown_outcome(&open, self.why_interrupted(&open)),
        }
        true
    }

    pub(super) fn end_turn(&mut self) -> bool {
        let over = self.session.turn_open
            && self.session.agent_rests()
            && self.session.open.is_empty()
            && self.session.delegation.is_none();
        if over {
            let digest = self.session.digest();
            self.emit(Event::TurnEnded(TurnEnded { digest, reducer: REDUCER.to_owned() }));
        }
        over
    }
}
