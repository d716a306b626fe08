//! (Session, Command) -> events, or a refusal. Pure: the time is an argument, and nothing is done here.
//!
//! After the events that answer the command come those that follow from the state alone (`follow_ups`): steps that begin,
//! actions that are handed out, a turn that ends. So the log always rests in a state in which only the world owes something.

mod agent;
mod along;
mod condense;
mod confirm;
mod delegate;
mod fork;
mod life;
mod replay;
mod turn;
mod workspace;

use std::sync::Arc;
use std::time::Duration;

pub use along::{Along, is_foreign};

use crate::session::command::{Command, Rejection};
use crate::session::envelope::{NewEvent, Source};
use crate::session::event::{Event, Started};
use crate::session::id::{EventId, Seq, SessionId};
use crate::session::mask::Masker;
use crate::session::phase::Phase;
use crate::session::start::StartStep;
use crate::session::state::Session;
use crate::session::time::Timestamp;

/// The error id of an action whose outcome nobody knows.
pub const OUTCOME_UNKNOWN: &str = "REKINDLE$OUTCOME_UNKNOWN";

/// The error id of an action that was never handed to a runtime.
pub const NOT_EXECUTED: &str = "AGENT_ERROR$ERROR_ACTION_NOT_EXECUTED";

/// The error id of an answer of the model that could not be read.
pub const BAD_ANSWER: &str = "AGENT_ERROR$BAD_ACTION";

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

/// How the outcome of an action begins that was stopped under way; why may follow, in brackets.
pub(in crate::session) const STOPPED_WHILE_IT_RAN: &str = "this was stopped while it ran";

/// Why an agent was stopped whose session was closed while it was at work.
pub const STOPPED_BY_CLOSE: &str = "the session was closed";

impl Decided {
    fn hide(&mut self, masker: &Masker) {
        if let Some((event, body)) = masker.event(&self.event, &self.body) {
            (self.event, self.body) = (event, body);
        }
    }

    /// The stored text.
    pub fn body(&self) -> &str {
        &self.body
    }

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
    decide_hiding(session, command, now, None)
}

/// The same, without the values of secrets: what is decided next sees each event as it will stand in the log.
///
/// # Errors
/// As [`decide`].
pub fn decide_hiding(
    session: &Session,
    command: Command,
    now: Timestamp,
    hide: Option<Arc<Masker>>,
) -> Result<Vec<Decided>, Rejection> {
    deciding(session, command, now, hide, None)
}

/// The same along a log: where it holds what is decided, its own event is folded in, byte for byte.
///
/// # Errors
/// As [`decide`].
pub fn decide_along(session: &Session, command: Command, now: Timestamp, along: Along) -> Result<Vec<Decided>, Rejection> {
    deciding(session, command, now, None, Some(along))
}

fn deciding(
    session: &Session,
    command: Command,
    now: Timestamp,
    hide: Option<Arc<Masker>>,
    along: Option<Along>,
) -> Result<Vec<Decided>, Rejection> {
    if let Some(seq) = session.not_understood {
        return Err(Rejection::NotUnderstood(seq));
    }
    let mut deciding = Deciding { session: session.clone(), events: Vec::new(), now, hide, along };
    deciding.answer(command)?;
    deciding.follow_ups();
    Ok(deciding.events)
}

pub use fork::{Instead, Refused, begin, cut, is_said_by_user};

struct Deciding {
    session: Session,
    events: Vec<Decided>,
    now: Timestamp,
    /// What must not be in any event.
    hide: Option<Arc<Masker>>,
    /// The log that it is decided along.
    along: Option<Along>,
}

impl Deciding {
    /// Adds an event and folds it, so that what is decided next sees it.
    fn emit_as(&mut self, source: Source, cause: Option<Seq>, event: Event) -> Seq {
        let mut decided = Decided { body: event.body(), event, source, cause };
        if let Some(masker) = &self.hide {
            decided.hide(masker);
        }
        if let Some(recorded) = self.along.as_mut().and_then(|along| along.next(&decided, &mut self.session)) {
            self.session.apply(&recorded);
            self.events.push(decided);
            return recorded.seq;
        }
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
            Command::Create { spec, node } => self.create(spec, node),
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
            Command::Say { content } => self.say(content, None),
            Command::Show { content, images } => self.say(content, Some(images)),
            Command::Confirm { action, by } => self.confirm(action, &by),
            Command::Refuse { action, by, reason } => self.refuse(action, &by, reason.as_deref()),
            Command::Pause => self.pause(),
            Command::Stop { reason } => self.stop(&reason),
            Command::Continue { limits } => self.go_on(limits),
            Command::Recover { how, forget, from } => self.recover(how, &forget, from),
            Command::Wake { until } => self.wake(until),
            Command::StartDelegate { action, session, agent } => self.start_delegate(action, session, agent),
            Command::DelegateWaits { action, wait, used } => self.delegate_waits(action, wait, used),
            Command::DelegateGoesOn { action } => self.delegate_goes_on(action),
            Command::EndDelegate { action, outcome, used, closed } => self.end_delegate(action, outcome, used, closed),
            Command::Brief(briefed) => self.brief(briefed),
            Command::Decide { request, decision } => self.decided(request, *decision),
            Command::FailModel { request, failure, forget } => self.model_failed(request, *failure, &forget),
            Command::Forget { forget } => self.forget(&forget),
            Command::Summarise { request, summary } => self.summarised(request, *summary),
            Command::Act { actions } => self.act(actions),
            Command::StepDone { step, attempt, done } => self.step_done(step, attempt, done),
            Command::StepFailed { step, attempt, error } => self.step_failed(step, attempt, error),
            Command::Observe { action, observation, recorded } => self.observe(action, *observation, recorded.as_deref()),
            Command::TakeRecorded { action, recorded, why } => {
                self.take_recorded(action, recorded.map(|recorded| *recorded), why)
            }
            Command::LoseRuntime { error } => self.lose_runtime(&error),
            Command::Perform { line } => self.perform(*line),
            Command::EndRecording => self.end_recording(),
            Command::StopReplay { index, reason } => self.stop_replay(index, reason),
            Command::KeepSnapshot(captured) => self.keep_snapshot(captured),
            Command::MissSnapshot(missed) => self.miss_snapshot(missed),
            Command::CompareWorkspace { manifest, comparison } => self.compare_workspace(manifest, comparison),
            Command::Close { reason } => self.close(reason),
            Command::Released { step, attempt } => self.released(step, attempt, None),
            Command::ReleaseFailed { step, attempt, error } => self.released(step, attempt, Some(error)),
        }
    }

    fn ready(&self, asked: &'static str) -> Result<(), Rejection> {
        match self.session.phase {
            Phase::Ready => Ok(()),
            Phase::Unborn => Err(Rejection::Missing),
            _ => Err(Rejection::out_of_phase(asked, &self.session.phase)),
        }
    }

    /// What a fork is told that nobody has gone on with yet is what it goes on with, once it has started.
    fn ready_or_forked(&self, asked: &'static str) -> Result<(), Rejection> {
        match self.session.phase {
            Phase::Starting(_) if self.session.fork.is_some() => Ok(()),
            _ => self.ready(asked),
        }
    }

    /// Everything that follows from the state alone.
    fn follow_ups(&mut self) {
        while self.follow_up() {}
    }

    /// One event that follows from the state alone; `false` when only the world can bring the session further.
    fn follow_up(&mut self) -> bool {
        match self.session.phase.clone() {
            Phase::Unborn | Phase::Forked {} | Phase::Imported { .. } | Phase::Audit {} | Phase::Closed { .. } => false,
            Phase::Starting(start) => match start.current() {
                // What earlier steps brought and went with an owner that is gone comes first: the others need it.
                _ if self.restore_lost(start.taken()) => true,
                _ if self.session.is_restoring(&start) => false,
                Some(step) => self.take_step(step),
                None => {
                    self.emit(Event::Started(Started {}));
                    true
                }
            },
            Phase::StartFailed { .. } => self.begin_release(self.now.plus(Duration::from_millis(self.deadline_ms().close_ms))),
            Phase::Ready => {
                self.settle_interrupted()
                    || self.restore_lost(&StartStep::HOLDING)
                    || self.dispatch_next()
                    || self.ask_agent()
                    || self.end_turn()
            }
            Phase::Closing { reason, deadline } => {
                self.cancel_call("the session was closed")
                    || self.cancel_open()
                    || (self.session.delegation.is_none() && self.begin_release(deadline))
                    || self.end_turn()
                    || self.finish_close(reason)
            }
        }
    }
}
