//! Effect -> port call -> command with the result. Nothing else calls a port.

mod agent;
mod condense;
mod delegate;
mod execute;
mod heard;
mod replay;
mod snapshot;
mod start;
mod tools;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tracing::Instrument;

use super::error::EngineError;
use super::history::History;
use super::lease::Term;
use super::mask::Mask;
use super::ports::{Agent, Joined, Remembered, Runtime, Workspace};
use super::tell::effect_span;
use super::{Engine, Running, Shared, measure};
use crate::session::event::Briefed;
use crate::session::replay::Script;
use crate::session::{Command, Effect, Session, SessionId, StartStep, Timestamp};
use crate::store::StoreError;

/// What a worker holds beside the log; all of it can be had again.
#[derive(Clone, Default)]
pub(super) struct Holding {
    pub(super) runtime: Option<Arc<dyn Runtime>>,
    pub(super) script: Option<Arc<Script>>,
    /// The line of it whose action is not run, and why.
    pub(super) not_run: Option<(u64, String)>,
    pub(super) memory: Option<Remembered>,
    pub(super) tools: Option<Joined>,
    /// What was seen of the workspace.
    pub(super) workspace: Option<Arc<dyn Workspace>>,
    pub(super) agent: Option<Arc<dyn Agent>>,
    /// What that agent's model is told.
    pub(super) briefed: Option<Briefed>,
    /// Shared, since it can be long; whoever reads on in it leaves it whole at every step.
    pub(super) history: Arc<Mutex<History>>,
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
    (shared, running, rests): (Arc<Shared>, Weak<Running>, watch::Sender<bool>),
    id: SessionId,
    session: Arc<Session>,
    mask: Arc<Mask>,
    effect: Effect,
    holding: Holding,
) -> Performed {
    let mut performing = Performing { shared, running, rests, id, session, mask, holding };
    let command = performing.perform(effect).await;
    Performed { command, holding: performing.holding }
}

struct Performing {
    shared: Arc<Shared>,
    running: Weak<Running>,
    /// Told when it was looked, and nothing is waited for any more but what a person does elsewhere.
    rests: watch::Sender<bool>,
    id: SessionId,
    session: Arc<Session>,
    mask: Arc<Mask>,
    holding: Holding,
}

impl Performing {
    /// Performs an effect in a span of its own, timed.
    async fn perform(&mut self, effect: Effect) -> Result<Command, EngineError> {
        let (span, kind) = effect_span(self.id, &self.session, &effect);
        let begun = Instant::now();
        let command = self.perform_untimed(effect).instrument(span).await;
        measure::effect(kind, begun.elapsed());
        command
    }

    async fn perform_untimed(&mut self, effect: Effect) -> Result<Command, EngineError> {
        // Releasing what is one's own harms nobody.
        if !matches!(effect, Effect::Release { .. }) {
            self.own().await?;
            self.learn_what_is_hidden().await?;
        }
        Ok(match effect {
            Effect::TakeStep { step, attempt, deadline } => self.take_step(step, attempt, deadline).await,
            Effect::Execute { action, attempt } => self.execute(action, attempt).await?,
            Effect::Delegate { action, session, order, .. } => self.delegate(action, session, order).await?,
            Effect::Wait { until } => {
                tokio::time::sleep(self.until(until)).await;
                Command::Wake { until }
            }
            Effect::AskAgent { request, briefing } => self.ask_agent(request, briefing).await?,
            Effect::Summarise { request } => Box::pin(self.summarise(request)).await?,
            Effect::Condense => self.condense().await?,
            Effect::ReadLine { from } => self.read_line(from).await,
            Effect::Capture => self.capture().await,
            Effect::Compare { last } => self.compare(last).await,
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

    /// Looks once more what must be hidden, before anything is done that could show it.
    async fn learn_what_is_hidden(&self) -> Result<(), EngineError> {
        let secrets = self.session.spec.as_ref().map(|spec| spec.secrets.as_slice()).unwrap_or_default();
        let hidden = self.shared.ports.secrets.hidden(self.id, secrets).await?;
        Ok(self.mask.learn(&self.shared.maskers, &hidden)?)
    }

    /// The engine itself, for sessions that this one begins.
    fn engine(&self) -> Result<Engine, EngineError> {
        let running = self.running.upgrade().ok_or(EngineError::ShutDown)?;
        Ok(Engine { shared: Arc::clone(&self.shared), running })
    }

    fn until(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.shared.clock.now())
    }

    async fn release(&mut self, step: StartStep, attempt: u32, deadline: Timestamp) -> Command {
        if step == StartStep::McpTools {
            if let Some(joined) = self.holding.tools.take()
                && tokio::time::timeout(self.until(deadline), joined.tools.close()).await.is_err()
            {
                return Command::ReleaseFailed { step, attempt, error: "not done by the deadline of the close".to_owned() };
            }
            return Command::Released { step, attempt };
        }
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
