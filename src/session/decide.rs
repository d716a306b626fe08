//! (Session, Command) -> events, or a refusal. Pure: the time is an argument, and nothing is done here.
//!
//! After the events that answer the command come those that follow from the state alone (`follow_ups`): steps that begin,
//! actions that are handed out, a turn that ends. So the log always rests in a state in which only the world owes something.

use std::time::Duration;

use super::action::{Action, Message, Think};
use super::command::{Command, Proof, Rejection, StepDone};
use super::envelope::{NewEvent, Source};
use super::event::{
    CloseRequested, Closed, Created, Dispatched, Entry, Event, OwnerAcquired, ReleaseFailed, ReleaseFinished, ReleaseStarted,
    ReplayCompared, ReplayFinished, ReplayStarted, Restored, StartPlanned, Started, StateChanged, StepFailed, StepFinished,
    StepStarted, TurnEnded,
};
use super::id::{EventId, NodeId, Seq, SessionId};
use super::item::{Content, Item};
use super::observation::{Extras, Observation};
use super::phase::{Phase, StepProgress};
use super::replay::{Line, ReplayOutcome, Step, Verdict, compare};
use super::spec::{OnDivergence, OnUnknown, Origin, SessionSpec};
use super::start::{Report, StartStep, StepOutcome};
use super::state::{REDUCER, Session};
use super::time::Timestamp;
use super::turn::{AgentState, Dispatch, OpenAction};

/// The error id of an action whose outcome nobody knows.
pub const OUTCOME_UNKNOWN: &str = "REKINDLE$OUTCOME_UNKNOWN";

/// The error id of an action that was never handed to a runtime.
pub const NOT_EXECUTED: &str = "AGENT_ERROR$ERROR_ACTION_NOT_EXECUTED";

/// An event that was decided on, still without an id.
#[derive(Debug, Clone)]
pub struct Decided {
    /// What happens.
    pub event: Event,
    /// Who does it.
    pub source: Source,
    /// What it answers.
    pub cause: Option<Seq>,
    /// The stored text.
    body: String,
}

impl Decided {
    /// The event to append.
    pub fn into_new_event(self, id: EventId, at: Timestamp) -> NewEvent {
        NewEvent {
            id,
            kind: self.event.kind(),
            v: Event::VERSION,
            at,
            source: self.source,
            cause: self.cause,
            must_understand: false,
            body: self.body,
        }
    }
}

/// Decides what `command` does to `session` at `now`.
///
/// # Errors
/// A [`Rejection`] when the command does not fit the state; nothing happens then.
pub fn decide(session: &Session, command: Command, now: Timestamp) -> Result<Vec<Decided>, Rejection> {
    if let Some(seq) = session.not_understood {
        return Err(Rejection::NotUnderstood(seq));
    }
    let mut deciding = Deciding { session: session.clone(), events: Vec::new(), now };
    deciding.answer(command)?;
    deciding.follow_ups();
    Ok(deciding.events)
}

struct Deciding {
    session: Session,
    events: Vec<Decided>,
    now: Timestamp,
}

impl Deciding {
    /// Adds an event and folds it, so that what is decided next sees it.
    fn emit_as(&mut self, source: Source, cause: Option<Seq>, event: Event) -> Seq {
        let decided = Decided { body: event.body(), event, source, cause };
        let seq = self.session.version.next();
        let nowhere = SessionId::from_uuid(uuid::Uuid::nil());
        let recorded = decided.clone().into_new_event(EventId::from_uuid(uuid::Uuid::nil()), self.now).recorded(nowhere, seq);
        self.session.apply(&recorded);
        self.events.push(decided);
        seq
    }

    fn emit(&mut self, event: Event) -> Seq {
        self.emit_as(Source::Environment, None, event)
    }

    fn answer(&mut self, command: Command) -> Result<(), Rejection> {
        match command {
            Command::Create { spec, node } => self.create(*spec, node),
            Command::Acquire { node, reason, proof, then } => {
                self.acquire(node, reason, &proof)?;
                match then {
                    Some(then) => self.answer(*then),
                    None => {
                        self.start_again();
                        Ok(())
                    }
                }
            }
            Command::Say { content } => self.say(content),
            Command::Act { actions } => self.act(actions),
            Command::StepDone { step, attempt, done } => self.step_done(step, attempt, done),
            Command::StepFailed { step, attempt, error } => self.step_failed(step, attempt, error),
            Command::Observe { action, observation, recorded } => self.observe(action, *observation, recorded.as_deref()),
            Command::LoseRuntime { error } => self.lose_runtime(&error),
            Command::Perform { line } => self.perform(*line),
            Command::EndRecording => self.end_recording(),
            Command::StopReplay { index, reason } => self.stop_replay(index, reason),
            Command::Close { reason } => self.close(reason),
            Command::Released { step, attempt } => self.released(step, attempt, None),
            Command::ReleaseFailed { step, attempt, error } => self.released(step, attempt, Some(error)),
        }
    }

    fn create(&mut self, spec: SessionSpec, node: NodeId) -> Result<(), Rejection> {
        if self.session.phase != Phase::Unborn {
            return Err(Rejection::Exists);
        }
        let plan = StartStep::plan(&spec.origin);
        self.emit(Event::Created(Created { spec }));
        if !plan.is_empty() {
            self.own(node, "created".to_owned());
            self.emit(Event::StartPlanned(StartPlanned { steps: plan }));
        }
        Ok(())
    }

    fn own(&mut self, node: NodeId, reason: String) {
        let epoch = self.session.epoch.next();
        self.emit(Event::OwnerAcquired(OwnerAcquired { epoch, node, reason }));
    }

    fn acquire(&mut self, node: NodeId, reason: String, proof: &Proof) -> Result<(), Rejection> {
        match self.session.phase {
            Phase::Unborn => return Err(Rejection::Missing),
            Phase::Closed { .. } | Phase::Imported { .. } => {
                return Err(Rejection::out_of_phase("be run", &self.session.phase));
            }
            Phase::Starting(_) | Phase::StartFailed { .. } | Phase::Ready | Phase::Closing { .. } => {}
        }
        self.own(node, reason);
        let &Proof { events, snapshot, digest } = proof;
        self.emit(Event::Restored(Restored { events, snapshot, digest, reducer: REDUCER.to_owned() }));
        while self.session.phase == Phase::Ready && self.settle_interrupted() {}
        Ok(())
    }

    /// A start that failed is taken from its first step again.
    fn start_again(&mut self) {
        if let (Phase::StartFailed { .. }, Some(spec)) = (&self.session.phase, self.session.spec.as_ref()) {
            let steps = StartStep::plan(&spec.origin);
            self.emit(Event::StartPlanned(StartPlanned { steps }));
        }
    }

    fn ready(&self, asked: &'static str) -> Result<(), Rejection> {
        match self.session.phase {
            Phase::Ready => Ok(()),
            Phase::Unborn => Err(Rejection::Missing),
            _ => Err(Rejection::out_of_phase(asked, &self.session.phase)),
        }
    }

    fn say(&mut self, content: String) -> Result<(), Rejection> {
        self.ready("take a message")?;
        let message = Action::Message(Message { content, ..Message::default() });
        self.emit_as(Source::User, None, Event::Item(Box::new(Entry::new(Item::from(Content::Action(message))))));
        self.run("");
        Ok(())
    }

    fn run(&mut self, reason: &str) {
        self.turn(AgentState::Running, reason);
    }

    fn turn(&mut self, state: AgentState, reason: &str) {
        if self.session.agent != state || (!reason.is_empty() && self.session.agent_reason != reason) {
            self.emit(Event::StateChanged(StateChanged { state, reason: reason.to_owned() }));
        }
    }

    fn act(&mut self, actions: Vec<Item>) -> Result<(), Rejection> {
        self.ready("act")?;
        if actions.is_empty() {
            return Err(Rejection::Empty);
        }
        if self.session.is_replaying() {
            return Err(Rejection::OutOfPhase { asked: "act by itself", phase: "performing a recording" });
        }
        self.run("");
        for item in actions {
            self.do_action(Entry::new(item), None);
        }
        Ok(())
    }

    /// An action enters the log; what needs no runtime has its outcome at once.
    fn do_action(&mut self, mut entry: Entry, expected: Option<&Observation>) {
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
    fn outcome(
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

    fn compared(&mut self, action: Seq, index: u64, verdict: Verdict) {
        let diverged = matches!(verdict, Verdict::Diverged { .. });
        self.emit_as(Source::Environment, Some(action), Event::ReplayCompared(ReplayCompared { index, verdict }));
        if diverged && self.on_divergence() == OnDivergence::Stop {
            self.finish_replay(ReplayOutcome::Stopped { index, reason: "the outcome is not the recorded one".to_owned() });
        }
    }

    fn on_divergence(&self) -> OnDivergence {
        match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { on_divergence, .. }) => *on_divergence,
            _ => OnDivergence::Continue,
        }
    }

    fn on_unknown(&self) -> OnUnknown {
        match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { on_unknown, .. }) => *on_unknown,
            _ => OnUnknown::StepOver,
        }
    }

    fn stale(&self, step: StartStep, attempt: u32) -> Result<(), Rejection> {
        let waits = self
            .session
            .step(step)
            .is_some_and(|record| record.attempt == attempt && matches!(record.progress, StepProgress::Running { .. }));
        if waits { Ok(()) } else { Err(Rejection::Stale(format!("attempt {attempt} of the step {step}"))) }
    }

    fn step_done(&mut self, step: StartStep, attempt: u32, done: StepDone) -> Result<(), Rejection> {
        self.stale(step, attempt)?;
        let (report, plan) = match done {
            StepDone::Report(report) => (report, None),
            StepDone::Recording(plan) => (Report::default(), Some(plan)),
        };
        self.emit(Event::StepFinished(StepFinished { step, attempt, outcome: StepOutcome::Done { report } }));
        if let Some(plan) = plan {
            self.emit(Event::ReplayStarted(ReplayStarted { plan }));
        }
        Ok(())
    }

    fn step_failed(&mut self, step: StartStep, attempt: u32, error: String) -> Result<(), Rejection> {
        self.stale(step, attempt)?;
        let reason = format!("the step {step} failed: {error}");
        self.emit(Event::StepFailed(StepFailed { step, attempt, error }));
        if self.session.phase == Phase::Ready {
            self.turn(AgentState::Error, &reason);
        }
        Ok(())
    }

    fn observe(&mut self, action: Seq, observation: Observation, expected: Option<&Observation>) -> Result<(), Rejection> {
        let Some(open) = self.session.open_action(action).filter(|open| matches!(open.dispatch, Dispatch::InFlight { .. }))
        else {
            return Err(Rejection::Stale(format!("the outcome of action {action}")));
        };
        let (recorded, source) = (open.recorded, open.source);
        self.outcome(action, recorded, observation, expected, source);
        Ok(())
    }

    fn lose_runtime(&mut self, error: &str) -> Result<(), Rejection> {
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
    fn unknown_outcome(&mut self, open: &OpenAction, why: &str) {
        let text = format!("{why}; its outcome is unknown. It was not repeated: check what it did before doing it again.");
        self.settle(open, Observation::error(text, OUTCOME_UNKNOWN));
    }

    fn settle(&mut self, open: &OpenAction, observation: Observation) {
        let item = Item::from(Content::Observation(observation));
        self.emit_as(Source::Environment, Some(open.seq), Event::Item(Box::new(Entry::new(item))));
        if let Some(index) = open.recorded {
            self.compared(open.seq, index, Verdict::OutcomeUnknown);
        }
    }

    fn replaying(&self) -> Result<(), Rejection> {
        self.ready("perform a recording")?;
        if self.session.is_replaying() && self.session.open.is_empty() {
            Ok(())
        } else {
            Err(Rejection::Stale("a line of the recording".to_owned()))
        }
    }

    fn perform(&mut self, line: Line) -> Result<(), Rejection> {
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

    fn end_recording(&mut self) -> Result<(), Rejection> {
        self.replaying()?;
        self.finish_replay(ReplayOutcome::Completed);
        Ok(())
    }

    fn stop_replay(&mut self, index: u64, reason: String) -> Result<(), Rejection> {
        self.replaying()?;
        self.finish_replay(ReplayOutcome::Stopped { index, reason });
        Ok(())
    }

    fn finish_replay(&mut self, outcome: ReplayOutcome) {
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

    fn close(&mut self, reason: String) -> Result<(), Rejection> {
        let wait = Duration::from_millis(self.session.spec.as_ref().map_or(0, |spec| spec.deadlines.close_ms));
        match self.session.phase {
            Phase::Unborn => return Err(Rejection::Missing),
            Phase::Closing { .. } | Phase::Closed { .. } => return Ok(()),
            Phase::Starting(_) | Phase::StartFailed { .. } | Phase::Ready | Phase::Imported { .. } => {}
        }
        self.emit(Event::CloseRequested(CloseRequested { reason, deadline: self.now.plus(wait) }));
        Ok(())
    }

    fn released(&mut self, step: StartStep, attempt: u32, error: Option<String>) -> Result<(), Rejection> {
        let waits = self.session.step(step).is_some_and(
            |record| matches!(record.progress, StepProgress::Releasing { attempt: current, .. } if current == attempt),
        );
        if !waits {
            return Err(Rejection::Stale(format!("the release of {step}")));
        }
        self.emit(match error {
            None => Event::ReleaseFinished(ReleaseFinished { step, attempt }),
            Some(error) => Event::ReleaseFailed(ReleaseFailed { step, attempt, error }),
        });
        Ok(())
    }

    /// Everything that follows from the state alone.
    fn follow_ups(&mut self) {
        while self.follow_up() {}
    }

    /// One event that follows from the state alone; `false` when only the world can bring the session further.
    fn follow_up(&mut self) -> bool {
        match self.session.phase.clone() {
            Phase::Unborn | Phase::Imported { .. } | Phase::Closed { .. } => false,
            Phase::Starting(start) => match start.current() {
                Some(step) => self.take_step(step),
                None => {
                    self.emit(Event::Started(Started {}));
                    true
                }
            },
            Phase::StartFailed { .. } => self.begin_release(self.now.plus(Duration::from_millis(self.deadline_ms().close_ms))),
            Phase::Ready => self.settle_interrupted() || self.restore_runtime() || self.dispatch_next() || self.end_turn(),
            Phase::Closing { reason, deadline } => {
                self.cancel_open() || self.begin_release(deadline) || self.end_turn() || self.finish_close(reason)
            }
        }
    }

    fn deadline_ms(&self) -> super::spec::Deadlines {
        self.session.spec.as_ref().map(|spec| spec.deadlines).unwrap_or_default()
    }

    fn begin_step(&mut self, step: StartStep) {
        let attempt = self.session.next_attempt(step);
        let deadline = self.now.plus(Duration::from_millis(self.deadline_ms().start_step_ms));
        self.emit(Event::StepStarted(StepStarted { step, attempt, deadline }));
    }

    /// Begins a step that the world must take, and decides one that it need not.
    fn take_step(&mut self, step: StartStep) -> bool {
        if step.needs_the_world() {
            let under_way = self.session.step(step).is_some_and(|record| matches!(record.progress, StepProgress::Running { .. }));
            // A retried start finds the runtime of its owner still there only when it was never released.
            if !under_way {
                self.begin_step(step);
            }
            return !under_way;
        }
        let attempt = self.session.next_attempt(step);
        let outcome = match step {
            StartStep::Controller | StartStep::FirstMessage => StepOutcome::Done { report: Report::default() },
            _ => StepOutcome::Skipped { reason: "not asked for".to_owned() },
        };
        let message = match (step, self.session.spec.as_ref().map(|spec| &spec.origin)) {
            (StartStep::FirstMessage, Some(Origin::Fresh { message })) => message.clone(),
            _ => None,
        };
        let first_time = self.session.counts.messages == 0;
        self.emit(Event::StepFinished(StepFinished { step, attempt, outcome }));
        if step == StartStep::FirstMessage {
            match message.filter(|_| first_time) {
                Some(content) => {
                    let message = Action::Message(Message { content, ..Message::default() });
                    self.emit_as(Source::User, None, Event::Item(Box::new(Entry::new(Item::from(Content::Action(message))))));
                    self.run("");
                }
                None => self.turn(AgentState::AwaitingUserInput, ""),
            }
        }
        true
    }

    fn begin_release(&mut self, deadline: Timestamp) -> bool {
        let Some(record) = self.session.last_held() else {
            return false;
        };
        if matches!(record.progress, StepProgress::Releasing { .. }) {
            return false;
        }
        let step = record.step;
        self.emit(Event::ReleaseStarted(ReleaseStarted { step, attempt: 1, deadline }));
        true
    }

    /// Gives one action that a former owner was at its outcome, or another try.
    fn settle_interrupted(&mut self) -> bool {
        let interrupted = self.session.open.iter().find(|open| matches!(open.dispatch, Dispatch::Interrupted { .. }));
        let Some(open) = interrupted.cloned() else {
            return false;
        };
        if open.class.repeatable() {
            return false;
        }
        self.unknown_outcome(&open, "the engine stopped while this ran");
        true
    }

    fn restore_runtime(&mut self) -> bool {
        let lost = self
            .session
            .step(StartStep::Runtime)
            .is_some_and(|record| matches!(record.progress, StepProgress::Lost | StepProgress::Interrupted));
        if lost {
            self.begin_step(StartStep::Runtime);
        }
        lost
    }

    fn dispatch_next(&mut self) -> bool {
        if self.session.in_flight().is_some() || !self.session.has_runtime() {
            return false;
        }
        let Some(open) = self.session.open.first() else {
            return false;
        };
        let attempt = match open.dispatch {
            Dispatch::Queued { attempts } | Dispatch::Interrupted { attempt: attempts } => attempts.saturating_add(1),
            Dispatch::InFlight { .. } => return false,
        };
        let (action, epoch) = (open.seq, self.session.epoch);
        self.emit_as(Source::Environment, Some(action), Event::Dispatched(Dispatched { attempt, epoch }));
        true
    }

    fn end_turn(&mut self) -> bool {
        let over = self.session.turn_open && self.session.agent_rests() && self.session.open.is_empty();
        if over {
            let digest = self.session.digest();
            self.emit(Event::TurnEnded(TurnEnded { digest, reducer: REDUCER.to_owned() }));
        }
        over
    }

    fn cancel_open(&mut self) -> bool {
        let Some(open) = self.session.open.first().cloned() else {
            return false;
        };
        match open.dispatch {
            Dispatch::Queued { .. } => {
                let text = "The session was closed before this was executed.";
                self.settle(&open, Observation::error(text, NOT_EXECUTED));
            }
            Dispatch::InFlight { .. } => self.unknown_outcome(&open, "the session was closed while this ran"),
            Dispatch::Interrupted { .. } => self.unknown_outcome(&open, "the engine stopped while this ran"),
        }
        true
    }

    fn finish_close(&mut self, reason: String) -> bool {
        if self.session.last_held().is_some() {
            return false;
        }
        if !self.session.agent_rests() {
            self.turn(AgentState::Stopped, "the session was closed");
            return true;
        }
        let given_up = |record: &&super::phase::StepRecord| record.progress == StepProgress::GivenUp;
        let unreleased = self.session.steps.iter().filter(given_up).map(|record| record.step).collect();
        self.emit(Event::Closed(Closed { reason, unreleased }));
        true
    }
}
