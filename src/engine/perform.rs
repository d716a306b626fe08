//! Effect -> port call -> command with the result. Nothing else calls a port.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::error::EngineError;
use super::lease::Term;
use super::ports::{Provision, Runtime, RuntimeError, Timeout};
use crate::session::replay::{Script, Step};
use crate::session::{
    Action, Command, Content, Digest, Effect, Event, Extras, Observation, OnUnknown, Origin, Report, Seq, Session, SessionId,
    StartStep, StepDone, Timestamp,
};
use crate::store::{Order, Read, Row, StoreError};

/// How long a runtime may take beyond an action's own timeout before it counts as lost.
const EXECUTE_GRACE: Duration = Duration::from_secs(20);
/// How many events are looked through, from the end, for the directory that the last command left.
const DIRECTORY_LOOKBACK: u32 = 256;

/// What a worker holds beside the log; all of it can be had again.
#[derive(Clone, Default)]
pub(super) struct Holding {
    pub(super) runtime: Option<Arc<dyn Runtime>>,
    pub(super) script: Option<Arc<Script>>,
    /// The term of this process' lease in which the session was last seen to be its own.
    pub(super) owned: Option<Term>,
}

/// The result of an effect, and what is held after it.
pub(super) struct Performed {
    pub(super) command: Result<Command, EngineError>,
    pub(super) holding: Holding,
}

/// Performs `effect` for a session in this state.
pub(super) async fn perform(
    shared: Arc<Shared>,
    id: SessionId,
    session: Arc<Session>,
    effect: Effect,
    holding: Holding,
) -> Performed {
    let mut performing = Performing { shared, id, session, holding };
    let command = performing.perform(effect).await;
    Performed { command, holding: performing.holding }
}

struct Performing {
    shared: Arc<Shared>,
    id: SessionId,
    session: Arc<Session>,
    holding: Holding,
}

impl Performing {
    async fn perform(&mut self, effect: Effect) -> Result<Command, EngineError> {
        // Releasing what is one's own harms nobody.
        if !matches!(effect, Effect::Release { .. }) {
            self.own().await?;
        }
        Ok(match effect {
            Effect::TakeStep { step, attempt, deadline } => self.take_step(step, attempt, deadline).await,
            Effect::Execute { action, .. } => self.execute(action).await?,
            Effect::ReadLine { from } => self.read_line(from).await,
            Effect::Release { step, attempt, deadline } => self.release(step, attempt, deadline).await,
        })
    }

    /// Makes sure that no other process can have taken the session over: the lease holds, and since it began to hold this process
    /// has seen itself as the owner.
    async fn own(&mut self) -> Result<(), EngineError> {
        loop {
            let term = self.shared.lease.hold().await?;
            if self.holding.owned == Some(term) {
                return Ok(());
            }
            let row = self.shared.store.session(self.id).await?.ok_or(EngineError::NotFound(self.id))?;
            if row.epoch != self.session.epoch {
                return Err(StoreError::Fenced { session: self.id, current: row.epoch }.into());
            }
            self.holding.owned = Some(term);
        }
    }

    fn until(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.shared.clock.now())
    }

    async fn take_step(&mut self, step: StartStep, attempt: u32, deadline: Timestamp) -> Command {
        let within = self.until(deadline);
        let taken = tokio::time::timeout(within, async {
            match step {
                StartStep::Runtime => self.provision(attempt).await,
                StartStep::Replay => self.read_recording().await,
                other => Err(format!("nobody knows how to take the step {other}")),
            }
        });
        match taken.await {
            Ok(Ok(done)) => Command::StepDone { step, attempt, done },
            Ok(Err(error)) => Command::StepFailed { step, attempt, error },
            Err(_) => Command::StepFailed { step, attempt, error: format!("not done within {} s", within.as_secs()) },
        }
    }

    async fn provision(&mut self, attempt: u32) -> Result<StepDone, String> {
        let spec = self.session.spec.as_ref().ok_or("the session has no spec")?;
        let request = Provision {
            session: self.id,
            birth: self.birth().await,
            name: format!("{}-{}-{attempt}", self.id, StartStep::Runtime),
            epoch: self.session.epoch,
            workspace: spec.workspace.clone(),
            directory: self.last_directory().await,
            runtime: spec.runtime.clone(),
            environment: Vec::new(),
        };
        let provisioned = self.shared.ports.runtimes.provision(request).await.map_err(|error| error.to_string())?;
        self.holding.runtime = Some(provisioned.runtime);
        let report = serde_json::to_value(&provisioned.report).map_err(|error| error.to_string())?;
        Ok(StepDone::Report(Report(report)))
    }

    /// The chain hash of the session's first event.
    async fn birth(&self) -> Digest {
        let first = Read { upto: Seq(1), limit: 1, ..Read::forward(self.id, Seq::ZERO) };
        match self.shared.store.read(first).await.ok().and_then(|page| page.rows.into_iter().next()) {
            Some(Row::Event { hash, .. }) => hash,
            _ => Digest::ZERO,
        }
    }

    /// Where the last command of the session left its shell.
    async fn last_directory(&self) -> Option<String> {
        let page = self.shared.store.read(Read::last(self.id, DIRECTORY_LOOKBACK)).await.ok()?;
        page.rows.iter().find_map(|row| match row {
            Row::Event { event, .. } if event.kind.as_str() == "observation.run" => match Event::read(event) {
                Event::Item(entry) => match entry.item.content {
                    Content::Observation(Observation { extras: Extras::Run(run), .. }) => run.metadata.working_dir,
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    }

    async fn read_recording(&mut self) -> Result<StepDone, String> {
        let script = self.script().await?;
        if script.is_empty() {
            return Err("the recording holds no message and no action to perform".to_owned());
        }
        Ok(StepDone::Recording(script.plan().clone()))
    }

    /// The recording as a script, read from the blob that the session names.
    async fn script(&mut self) -> Result<Arc<Script>, String> {
        if let Some(script) = &self.holding.script {
            return Ok(Arc::clone(script));
        }
        let digest = match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { trajectory, .. }) => *trajectory,
            _ => return Err("the session performs no recording".to_owned()),
        };
        let bytes = self.shared.store.blob(self.id, digest).await.map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("the recording {digest} is not in the store"))?;
        let read = self.shared.ports.recordings;
        let script = tokio::task::spawn_blocking(move || read(&bytes).map(Script::read)).await;
        let script = Arc::new(script.map_err(|error| error.to_string())??);
        self.holding.script = Some(Arc::clone(&script));
        Ok(script)
    }

    async fn read_line(&mut self, from: u64) -> Command {
        let script = match self.script().await {
            Ok(script) => script,
            Err(reason) => return Command::StopReplay { index: from, reason },
        };
        let step_over = matches!(
            self.session.spec.as_ref().map(|spec| &spec.origin),
            Some(Origin::Replay { on_unknown: OnUnknown::StepOver, .. })
        );
        let mut from = from;
        while let Some(line) = script.line_from(from) {
            if step_over && matches!(line.step, Step::Unknown { .. }) {
                from = line.index + 1;
            } else {
                return Command::Perform { line: Box::new(line.clone()) };
            }
        }
        Command::EndRecording
    }

    async fn execute(&mut self, seq: Seq) -> Result<Command, EngineError> {
        let Some((action, timeout)) = self.action(seq).await else {
            let text = "The action cannot be read from the log, so it was not executed.";
            let observation = Box::new(Observation::error(text, crate::session::decide::NOT_EXECUTED));
            return Ok(Command::Observe { action: seq, observation, recorded: None });
        };
        let Some(runtime) = self.holding.runtime.clone() else {
            return Ok(Command::LoseRuntime { error: "it is not there".to_owned() });
        };
        let recorded = self.recorded_outcome(seq).await;
        // Once more, since reading took time: nothing may lie between this and the dispatch.
        self.own().await?;
        Ok(match tokio::time::timeout(timeout.hard + EXECUTE_GRACE, runtime.execute(&action, timeout)).await {
            Ok(Ok(observation)) => Command::Observe { action: seq, observation: Box::new(observation), recorded },
            Ok(Err(RuntimeError::Lost(error) | RuntimeError::Unavailable(error))) => self.lose(&runtime, error).await,
            Err(_) => self.lose(&runtime, "it did not answer in time".to_owned()).await,
        })
    }

    /// A runtime that cannot be trusted any more is ended before another one is made.
    async fn lose(&mut self, runtime: &Arc<dyn Runtime>, error: String) -> Command {
        if tokio::time::timeout(EXECUTE_GRACE, runtime.release()).await.is_err() {
            tracing::warn!(session.id = %self.id, "a lost runtime could not be ended in time");
        }
        self.holding.runtime = None;
        Command::LoseRuntime { error }
    }

    /// The action at `seq`, and how long it may take.
    async fn action(&self, seq: Seq) -> Option<(Action, Timeout)> {
        let read = Read { session: self.id, after: Seq(seq.0.saturating_sub(1)), upto: seq, order: Order::OldestFirst, limit: 1 };
        let page = self.shared.store.read(read).await.ok()?;
        let Some(Row::Event { event, .. }) = page.rows.first() else {
            return None;
        };
        let Event::Item(entry) = Event::read(event) else {
            return None;
        };
        let deadlines = self.session.spec.as_ref().map(|spec| spec.deadlines).unwrap_or_default();
        let asked = entry.item.timeout.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let hard =
            asked.map_or_else(|| Duration::from_millis(deadlines.action_ms), |seconds| Duration::from_secs_f64(seconds.min(1e6)));
        let hard = hard.min(Duration::from_millis(deadlines.action_max_ms));
        let quiet = Duration::from_millis(deadlines.quiet_ms);
        match entry.item.content {
            Content::Action(action) => Some((action, Timeout { hard, quiet })),
            Content::Observation(_) => None,
        }
    }

    /// What the recording says came of the action at `seq`.
    async fn recorded_outcome(&mut self, seq: Seq) -> Option<Box<Observation>> {
        let index = self.session.open.iter().find(|open| open.seq == seq)?.recorded?;
        let script = self.script().await.ok()?;
        match &script.line_from(index)?.step {
            Step::Perform { expected: Some(item), .. } => match &item.content {
                Content::Observation(observation) => Some(Box::new(observation.clone())),
                Content::Action(_) => None,
            },
            _ => None,
        }
    }

    async fn release(&mut self, step: StartStep, attempt: u32, deadline: Timestamp) -> Command {
        let Some(runtime) = self.holding.runtime.take() else {
            // What a former owner held went with it.
            return Command::Released { step, attempt };
        };
        match tokio::time::timeout(self.until(deadline), runtime.release()).await {
            Ok(Ok(())) => Command::Released { step, attempt },
            Ok(Err(error)) => Command::ReleaseFailed { step, attempt, error: error.to_string() },
            Err(_) => Command::ReleaseFailed { step, attempt, error: "not done by the deadline of the close".to_owned() },
        }
    }
}
