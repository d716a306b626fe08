//! The agent: made of its spec, told what it is, asked what to do.

use std::sync::Arc;
use std::time::Duration;

use super::Performing;
use super::heard::Heard;
use crate::engine::error::EngineError;
use crate::engine::history::half_to_forget;
use crate::engine::ports::{Agent, AgentRequest, Past, Question, Response, Turn};
use crate::session::event::Briefed;
use crate::session::item::Content;
use crate::session::model::{CallReport, CallUsage, Decision, Judged, Judgement, ModelErrorClass, ModelFailure};
use crate::session::state::Briefing;
use crate::session::{Action, Analyzer, Command, Condenser, Extras, Item, ModelSpec, Observation, Risk, Seq};

/// How long an agent may wait before it tries again, and for what it does beside.
const BETWEEN_TRIES: Duration = Duration::from_secs(150);

impl Performing {
    /// Asks the agent; when it would be told something else than the log says, that is said first.
    pub(super) async fn ask_agent(&mut self, request: Seq, briefing: Option<Briefing>) -> Result<Command, EngineError> {
        let made = tokio::time::timeout(self.start_step(), self.briefed()).await;
        let told = match made.unwrap_or_else(|_| Err("the agent could not be made in time".to_owned())) {
            Ok(told) => told,
            Err(message) => return Ok(cannot_ask(request, message)),
        };
        if briefing != Some(Briefing { prompt: told.prompt, tools: told.tools }) {
            return Ok(Command::Brief(told));
        }
        let agent = match self.agent().await {
            Ok(agent) => agent,
            Err(message) => return Ok(cannot_ask(request, message)),
        };
        let history = Arc::clone(&self.holding.history);
        let mut history = history.lock().await;
        let store = self.shared.store.clone();
        history.catch_up(store.as_ref(), self.id, self.session.version).await?;
        // Once more, since reading took time.
        self.own().await?;
        let deltas = Heard::new(self.id, self.shared.deltas.clone(), self.mask.masker());
        let model = self.session.spec.as_ref().and_then(|spec| spec.agent.as_ref()).map(|agent| &agent.config.model);
        let within = model.map_or(BETWEEN_TRIES, patience);
        let answer = tokio::time::timeout(within, agent.step(Turn { history: history.past() }, &deltas)).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer(within)));
        deltas.end();
        let command = match answer {
            Ok(response) => Command::Decide { request, decision: Box::new(self.decision(response, directory(history.past()))) },
            Err(failure) => {
                let condenser = self.session.condenser().filter(|condenser| **condenser != Condenser::None);
                let too_long = condenser.filter(|_| failure.class == ModelErrorClass::ContextWindow);
                let forget = too_long.map(|condenser| half_to_forget(history.past(), condenser.keep_first()));
                let forget = forget.unwrap_or_default();
                Command::FailModel { request, failure: Box::new(failure), forget }
            }
        };
        Ok(command)
    }

    pub(super) fn start_step(&self) -> Duration {
        Duration::from_millis(self.session.spec.as_ref().map(|spec| spec.deadlines).unwrap_or_default().start_step_ms)
    }

    /// The agent of this session; made anew by each owner.
    async fn agent(&mut self) -> Result<Arc<dyn Agent>, String> {
        if let Some(agent) = &self.holding.agent {
            return Ok(Arc::clone(agent));
        }
        let spec = self.spec()?;
        let asked = spec.agent.clone().ok_or("the session has no agent")?;
        let asks_risk = spec.security.analyzers.contains(&Analyzer::Model);
        let request = AgentRequest {
            session: self.id,
            name: asked.name,
            key: self.secret(asked.config.model.key.as_deref()).await?,
            delegates: asked.delegates.into_keys().collect(),
            config: asked.config,
            tools: self.holding.tools.as_ref().map(|joined| joined.definitions.clone()).unwrap_or_default(),
            asks_risk,
        };
        let agent = self.shared.ports.agents.agent(request).await.map_err(|error| error.to_string())?;
        self.holding.agent = Some(Arc::clone(&agent));
        Ok(agent)
    }

    /// What the agent's model is told in each call. The texts are kept as blobs, once.
    pub(super) async fn briefed(&mut self) -> Result<Briefed, String> {
        let agent = self.agent().await?;
        if let Some(briefed) = &self.holding.briefed {
            return Ok(briefed.clone());
        }
        let briefing = agent.briefing();
        let tools = serde_json::to_string(&briefing.tools).map_err(|error| error.to_string())?;
        let (prompt, tools) = (self.mask.text(briefing.prompt.clone()), self.mask.json(tools));
        let put = async |bytes: Vec<u8>| self.shared.store.put_blob(self.id, bytes).await.map_err(|error| error.to_string());
        let (prompt, tools) = (put(prompt.into_bytes()).await?, put(tools.into_bytes()).await?);
        let names = briefing.tools.iter().map(|tool| tool.name.clone()).collect();
        let asked = self.spec()?.agent.as_ref();
        let (name, model) = asked.map(|asked| (asked.name.clone(), asked.config.model.name.clone())).unwrap_or_default();
        let briefed = Briefed { agent: name, model, prompt, tools, names };
        self.holding.briefed = Some(briefed.clone());
        Ok(briefed)
    }

    fn decision(&self, response: Response, directory: Option<&str>) -> Decision {
        let Response { actions, model, response_id, finish_reason, reasoning, usage, request, latency, retries, answer: _ } =
            response;
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let call = CallReport { model, response_id, finish_reason, reasoning, usage, request, prompt: None, latency_us, retries };
        let judgements: Vec<_> = (0..actions.len()).map(|at| self.judgement(&actions, at, directory)).collect();
        let judged = |(action, judgement)| Judged { action, judgement };
        Decision { actions: actions.into_iter().zip(judgements).map(judged).collect(), call }
    }

    /// What the judges say of one of the actions of an answer; `directory` is where the shell stood before the first.
    fn judgement(&self, actions: &[Item], at: usize, directory: Option<&str>) -> Option<Judgement> {
        let spec = &self.session.spec.as_ref()?.security;
        let (before, rest) = actions.split_at_checked(at)?;
        let action = rest.first()?;
        let Content::Action(what) = &action.content else { return None };
        let asks = !spec.analyzers.is_empty() && what.is_runnable();
        let question = Question { spec, action, declared: declared(what), directory, before };
        asks.then(|| self.shared.ports.judge.judge(question))
    }
}

/// How long one answer of a model may take, whatever is waited for and however often it is tried.
pub(super) fn patience(model: &ModelSpec) -> Duration {
    (Duration::from_millis(model.timeout_ms) + BETWEEN_TRIES).saturating_mul(model.retries.saturating_add(1))
}

/// Where the last command left the shell.
fn directory(history: &[Past]) -> Option<&str> {
    history.iter().rev().find_map(|past| match &past.item.content {
        Content::Observation(Observation { extras: Extras::Run(run), .. }) => run.metadata.working_dir.as_deref(),
        _ => None,
    })
}

/// What the model itself says of its call.
fn declared(action: &Action) -> Option<Risk> {
    let number = match action {
        Action::Run(run) => run.security_risk,
        Action::RunIpython(cell) => cell.security_risk,
        Action::Read(read) => read.security_risk,
        Action::Write(write) => write.security_risk,
        Action::Edit(edit) => edit.security_risk,
        Action::CallToolMcp(call) => call.security_risk,
        _ => None,
    };
    match number? {
        0 => Some(Risk::Low),
        1 => Some(Risk::Medium),
        2 => Some(Risk::High),
        _ => None,
    }
}

/// The agent cannot even be made: the session says so, and can go on once that is mended.
pub(super) fn cannot_ask(request: Seq, message: String) -> Command {
    failed(request, ModelFailure { class: ModelErrorClass::BadRequest, message, retry_after: None, usage: CallUsage::default() })
}

/// The model failed, for which nothing needs to be forgotten.
pub(super) fn failed(request: Seq, failure: ModelFailure) -> Command {
    Command::FailModel { request, failure: Box::new(failure), forget: Vec::new() }
}

/// An agent that does not keep its own time: the call is given up.
pub(super) fn no_answer(within: Duration) -> ModelFailure {
    let message = format!("there was no answer within {} s", within.as_secs());
    ModelFailure { class: ModelErrorClass::Timeout, message, retry_after: None, usage: CallUsage::default() }
}
