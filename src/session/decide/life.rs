//! The life of a session: created, taken over, started step by step, closed and released.

use std::time::Duration;

use super::{Deciding, STOPPED_BY_CLOSE};
use crate::session::action::{Action, Message};
use crate::session::command::{Proof, Rejection, StepDone};
use crate::session::event::{
    CloseRequested, Closed, Created, Entry, Event, OwnerAcquired, ReleaseFailed, ReleaseFinished, ReleaseStarted, ReplayStarted,
    Restored, StartPlanned, StepFailed, StepFinished, StepStarted,
};
use crate::session::id::NodeId;
use crate::session::item::Item;
use crate::session::phase::{Phase, StepProgress, StepRecord};
use crate::session::spec::{Deadlines, Origin, RepositorySpec, RuntimeSpec, SecuritySpec, SessionSpec};
use crate::session::start::{Report, StartStep, StepOutcome};
use crate::session::state::REDUCER;
use crate::session::time::Timestamp;
use crate::session::turn::AgentState;

impl Deciding {
    pub(super) fn create(&mut self, spec: Box<SessionSpec>, node: NodeId) -> Result<(), Rejection> {
        if self.session.phase != Phase::Unborn {
            return Err(Rejection::Exists);
        }
        if spec.repository.as_ref().is_some_and(RepositorySpec::holds_credentials) {
            return Err(Rejection::Credentials);
        }
        let plan = StartStep::plan(&spec.origin);
        self.emit(Event::Created(Created { spec }));
        if !plan.is_empty() {
            self.own(node, "created".to_owned());
            self.emit(Event::StartPlanned(StartPlanned { steps: plan }));
        }
        Ok(())
    }

    pub(super) fn own(&mut self, node: NodeId, reason: String) {
        let epoch = self.session.epoch.next();
        self.emit(Event::OwnerAcquired(OwnerAcquired { epoch, node, reason }));
    }

    pub(super) fn acquire(&mut self, node: NodeId, reason: String, proof: &Proof) -> Result<(), Rejection> {
        match self.session.phase {
            Phase::Unborn => return Err(Rejection::Missing),
            Phase::Closed { .. } | Phase::Imported { .. } | Phase::Audit {} => {
                return Err(Rejection::out_of_phase("be run", &self.session.phase));
            }
            Phase::Forked {} | Phase::Starting(_) | Phase::StartFailed { .. } | Phase::Ready | Phase::Closing { .. } => {}
        }
        self.own(node, reason);
        let &Proof { events, snapshot, digest } = proof;
        self.emit(Event::Restored(Restored { events, snapshot, digest, reducer: REDUCER.to_owned() }));
        if let Phase::Forked {} = self.session.phase {
            self.emit(Event::StartPlanned(StartPlanned { steps: self.plan() }));
        }
        while self.session.phase == Phase::Ready && self.settle_interrupted() {}
        Ok(())
    }

    /// A start that failed is taken from its first step again.
    pub(super) fn start_again(&mut self) {
        if let Phase::StartFailed { .. } = self.session.phase {
            self.emit(Event::StartPlanned(StartPlanned { steps: self.plan() }));
        }
    }

    /// The steps of a start. A fork goes on with the recording that its parent was performing, and does not begin it again.
    fn plan(&self) -> Vec<StartStep> {
        let mut steps = self.session.spec.as_ref().map(|spec| StartStep::plan(&spec.origin)).unwrap_or_default();
        if self.session.fork.is_some() && self.session.replay.is_some() {
            steps.retain(|step| *step != StartStep::Replay);
        }
        steps
    }

    pub(super) fn stale(&self, step: StartStep, attempt: u32) -> Result<(), Rejection> {
        let waits = self
            .session
            .step(step)
            .is_some_and(|record| record.attempt == attempt && matches!(record.progress, StepProgress::Running { .. }));
        if waits { Ok(()) } else { Err(Rejection::Stale(format!("attempt {attempt} of the step {step}"))) }
    }

    pub(super) fn step_done(&mut self, step: StartStep, attempt: u32, done: StepDone) -> Result<(), Rejection> {
        self.stale(step, attempt)?;
        let (outcome, plan, told) = match done {
            StepDone::Report(report) => (StepOutcome::Done { report }, None, None),
            StepDone::Skipped(reason) => (StepOutcome::Skipped { reason }, None, None),
            StepDone::Tools { report, told } => (StepOutcome::Done { report }, None, told),
            StepDone::Recording(plan) => (StepOutcome::Done { report: Report::default() }, Some(plan), None),
        };
        self.emit(Event::StepFinished(StepFinished { step, attempt, outcome }));
        if let Some(told) = told.filter(|_| self.session.has_agent()) {
            let message = Action::Message(Message { content: told, ..Message::default() });
            self.emit(Event::Item(Box::new(Entry::new(Item::from(message)))));
        }
        if let Some(plan) = plan {
            self.emit(Event::ReplayStarted(ReplayStarted { plan }));
        }
        Ok(())
    }

    pub(super) fn step_failed(&mut self, step: StartStep, attempt: u32, error: String) -> Result<(), Rejection> {
        self.stale(step, attempt)?;
        let reason = format!("the step {step} failed: {error}");
        self.emit(Event::StepFailed(StepFailed { step, attempt, error }));
        if self.session.phase == Phase::Ready {
            self.turn(AgentState::Error, &reason);
        }
        Ok(())
    }

    pub(super) fn begin_step(&mut self, step: StartStep) {
        let attempt = self.session.next_attempt(step);
        let Deadlines { start_step_ms, prepare_ms, .. } = self.deadline_ms();
        let wait = match step {
            StartStep::Repository | StartStep::SetupScript => prepare_ms,
            StartStep::Runtime if self.launches() || self.plugs_in() => prepare_ms,
            _ => start_step_ms,
        };
        let deadline = self.now.plus(Duration::from_millis(wait));
        self.emit(Event::StepStarted(StepStarted { step, attempt, deadline }));
    }

    /// Begins a step that the world must take, and decides one that it need not.
    pub(super) fn take_step(&mut self, step: StartStep) -> bool {
        let needs_the_world = self.session.spec.as_ref().is_some_and(|spec| step.needs_the_world(spec));
        if needs_the_world {
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
            StartStep::SecurityAnalyzer if self.has_analyzers() => StepOutcome::Done { report: self.security() },
            _ => StepOutcome::Skipped { reason: "not asked for".to_owned() },
        };
        if step == StartStep::FirstMessage {
            self.tell_of_fork();
        }
        let instead = self.session.fork.as_ref().and_then(|fork| fork.message.clone());
        let message = match (step, self.session.spec.as_ref().map(|spec| &spec.origin)) {
            (StartStep::FirstMessage, _) if instead.is_some() => instead.clone().map(|message| (message, Vec::new())),
            (StartStep::FirstMessage, Some(Origin::Fresh { message, images })) => {
                message.clone().map(|message| (message, images.clone()))
            }
            _ => None,
        };
        let first_time = self.session.counts.messages == 0;
        self.emit(Event::StepFinished(StepFinished { step, attempt, outcome }));
        if step == StartStep::FirstMessage {
            match message.filter(|_| first_time || instead.is_some()) {
                Some((content, images)) => {
                    self.user_message(content, Some(images).filter(|images| !images.is_empty()));
                    // Whoever held or stopped it meanwhile lets it go on.
                    if self.session.agent == AgentState::Loading {
                        self.run("");
                    } else if instead.is_some() {
                        self.refuse_all("the user", "The user said something else instead.");
                        self.run_unless_waiting();
                    }
                }
                None if self.session.fork.is_some() => self.go_on_as_fork(),
                None if self.session.agent == AgentState::Loading || !first_time => self.turn(AgentState::AwaitingUserInput, ""),
                None => {}
            }
        }
        true
    }

    /// Tells the agent of a fork what it may believe to be in its workspace and is not.
    fn tell_of_fork(&mut self) {
        let told = self.session.fork.as_ref().and_then(|fork| fork.found.told(fork.at));
        if let Some(content) = told.filter(|_| self.session.has_agent()) {
            let message = Action::Message(Message { content, ..Message::default() });
            self.emit(Event::Item(Box::new(Entry::new(Item::from(message)))));
        }
    }

    /// A fork answers what the user said last, when it was forked there; else it goes on with what its parent was at.
    fn go_on_as_fork(&mut self) {
        let said = self.session.fork.as_ref().filter(|fork| fork.answers).map(|fork| fork.query.clone());
        match said {
            Some(query) => {
                if let Some(query) = query {
                    self.recall(query, self.session.counts.messages == 1);
                }
                self.run_unless_waiting();
            }
            None if self.session.agent == AgentState::Loading => self.turn(AgentState::AwaitingUserInput, ""),
            None => {}
        }
    }

    pub(super) fn restore_lost(&mut self, steps: &[StartStep]) -> bool {
        let is_lost = |step: &StartStep| {
            let record = self.session.step(*step);
            record.is_some_and(|record| matches!(record.progress, StepProgress::Lost | StepProgress::Interrupted))
        };
        let lost = steps.iter().copied().filter(|step| step.holds_something()).find(is_lost);
        if let Some(step) = lost {
            self.begin_step(step);
        }
        lost.is_some()
    }

    pub(super) fn close(&mut self, reason: String) -> Result<(), Rejection> {
        let wait = Duration::from_millis(self.session.spec.as_ref().map_or(0, |spec| spec.deadlines.close_ms));
        match self.session.phase {
            Phase::Unborn => return Err(Rejection::Missing),
            Phase::Closing { .. } | Phase::Closed { .. } => return Ok(()),
            Phase::Audit {} => return Err(Rejection::out_of_phase("be closed", &self.session.phase)),
            Phase::Forked {} | Phase::Starting(_) | Phase::StartFailed { .. } | Phase::Ready | Phase::Imported { .. } => {}
        }
        self.emit(Event::CloseRequested(CloseRequested { reason, deadline: self.now.plus(wait) }));
        Ok(())
    }

    pub(super) fn released(&mut self, step: StartStep, attempt: u32, error: Option<String>) -> Result<(), Rejection> {
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

    pub(super) fn begin_release(&mut self, deadline: Timestamp) -> bool {
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

    pub(super) fn finish_close(&mut self, reason: String) -> bool {
        if self.session.last_held().is_some() || self.session.delegation.is_some() {
            return false;
        }
        if !self.session.agent_rests() {
            self.turn(AgentState::Stopped, STOPPED_BY_CLOSE);
            return true;
        }
        let given_up = |record: &&StepRecord| record.progress == StepProgress::GivenUp;
        let unreleased = self.session.steps.iter().filter(given_up).map(|record| record.step).collect();
        self.emit(Event::Closed(Closed { reason, unreleased }));
        true
    }

    /// Whether the runtime is something that is started first, which can mean that an image is fetched.
    fn launches(&self) -> bool {
        self.session.spec.as_ref().is_some_and(|spec| matches!(spec.runtime, RuntimeSpec::Command(_)))
    }

    fn plugs_in(&self) -> bool {
        self.session.spec.as_ref().is_some_and(|spec| !spec.plugins.is_empty())
    }

    fn has_analyzers(&self) -> bool {
        self.session.spec.as_ref().is_some_and(|spec| spec.security != SecuritySpec::default())
    }

    /// Who judges, and what a person must agree to.
    fn security(&self) -> Report {
        let spec = self.session.spec.as_ref().map(|spec| &spec.security);
        Report(serde_json::to_value(spec).unwrap_or_default())
    }

    pub(super) fn deadline_ms(&self) -> Deadlines {
        self.session.spec.as_ref().map(|spec| spec.deadlines).unwrap_or_default()
    }
}
