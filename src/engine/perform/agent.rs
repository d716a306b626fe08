//! The agent: made of its spec, told what it is, asked what to do.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::Performing;
use crate::engine::error::EngineError;
use crate::engine::history::half_to_forget;
use crate::engine::ports::{Agent, AgentRequest, Delta, Deltas, Response, Turn};
use crate::session::event::Briefed;
use crate::session::item::Content;
use crate::session::model::{CallReport, CallUsage, Decision, Judged, ModelErrorClass, ModelFailure};
use crate::session::state::Briefing;
use crate::session::{Action, Analyzer, Command, Item, Risk, Seq, SessionId};

impl Performing {
    /// Asks the agent; when it would be told something else than the log says, that is said first.
    pub(super) async fn ask_agent(&mut self, request: Seq, briefing: Option<Briefing>) -> Result<Command, EngineError> {
        let told = match self.briefed().await {
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
        let deltas = Heard { session: self.id, sender: self.shared.deltas.clone() };
        let answer = agent.step(Turn { history: history.past() }, &deltas).await;
        let command = match answer {
            Ok(response) => Command::Decide { request, decision: Box::new(self.decision(response)) },
            Err(failure) => {
                let condenses =
                    self.session.spec.as_ref().and_then(|spec| spec.agent.as_ref()).is_some_and(|agent| agent.config.condense);
                let too_long = failure.class == ModelErrorClass::ContextWindow && condenses;
                let forget = if too_long { half_to_forget(history.past()) } else { Vec::new() };
                Command::FailModel { request, failure: Box::new(failure), forget }
            }
        };
        Ok(command)
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
        let tools = serde_json::to_vec(&briefing.tools).map_err(|error| error.to_string())?;
        let put = async |bytes: Vec<u8>| self.shared.store.put_blob(self.id, bytes).await.map_err(|error| error.to_string());
        let (prompt, tools) = (put(briefing.prompt.clone().into_bytes()).await?, put(tools).await?);
        let names = briefing.tools.iter().map(|tool| tool.name.clone()).collect();
        let asked = self.spec()?.agent.as_ref();
        let (name, model) = asked.map(|asked| (asked.name.clone(), asked.config.model.name.clone())).unwrap_or_default();
        let briefed = Briefed { agent: name, model, prompt, tools, names };
        self.holding.briefed = Some(briefed.clone());
        Ok(briefed)
    }

    fn decision(&self, response: Response) -> Decision {
        let Response { actions, model, response_id, finish_reason, reasoning, usage, request, latency, retries, answer: _ } =
            response;
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let call = CallReport { model, response_id, finish_reason, reasoning, usage, request, latency_us, retries };
        let actions = actions.into_iter().map(|action| self.judged(action)).collect();
        Decision { actions, call }
    }

    fn judged(&self, action: Item) -> Judged {
        let spec = self.session.spec.as_ref().map(|spec| &spec.security);
        let judgement = match (spec, &action.content) {
            (Some(spec), Content::Action(what)) if !spec.analyzers.is_empty() && what.is_runnable() => {
                Some(self.shared.ports.judge.judge(spec, &action, declared(what)))
            }
            _ => None,
        };
        Judged { action, judgement }
    }
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
fn cannot_ask(request: Seq, message: String) -> Command {
    let failure = ModelFailure { class: ModelErrorClass::BadRequest, message, retry_after: None, usage: CallUsage::default() };
    Command::FailModel { request, failure: Box::new(failure), forget: Vec::new() }
}

struct Heard {
    session: SessionId,
    sender: broadcast::Sender<(SessionId, Delta)>,
}

impl Deltas for Heard {
    fn delta(&self, delta: Delta) {
        // Nobody may be listening.
        let _ = self.sender.send((self.session, delta));
    }
}
