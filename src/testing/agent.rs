//! Agents that decide as they are told, without a model.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::engine::ports::{
    Agent, AgentError, AgentRequest, Agents, Briefing, Deltas, ModelErrorClass, ModelFailure, Past, Response, Turn, Usage,
};
use crate::session::{Digest, Item, Json, Seq, SessionId};

/// What a fake agent answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These are to be done.
    Do(Vec<Item>),
    /// No decision was reached.
    Fail(Box<ModelFailure>),
    /// Nothing, ever.
    Hang,
    /// This, once there is a permit.
    After(Arc<Semaphore>, Box<Reply>),
}

impl Reply {
    /// These are to be done, each in its stored form.
    ///
    /// # Panics
    /// When one of them is no action.
    pub fn of(actions: &[&str]) -> Self {
        let item = |text: &&str| match Item::decode(text) {
            Ok(item) => item,
            Err(error) => panic!("{text} is no action: {error}"),
        };
        Self::Do(actions.iter().map(item).collect())
    }

    /// The call failed so.
    pub fn failure(class: ModelErrorClass, message: &str) -> Self {
        let (retry_after, usage) = (None, Usage::default());
        Self::Fail(Box::new(ModelFailure { class, message: message.to_owned(), retry_after, usage }))
    }
}

/// Which session was asked, and the last event that its agent saw.
pub type Asked = (SessionId, Option<Seq>);

type Script = dyn Fn(&AgentRequest, &[Past]) -> Reply + Send + Sync;

/// Makes agents that all decide by one script, and remembers what they were asked. Each answer costs ten tokens and a hundredth of a
/// dollar. Clones share one memory.
#[derive(Clone)]
pub struct FakeAgents {
    script: Arc<Script>,
    known: Vec<String>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeAgents {
    /// Decides as `script` says, from who is asked and what was seen.
    pub fn new(script: impl Fn(&AgentRequest, &[Past]) -> Reply + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), known: Vec::new(), asked: Arc::default() }
    }

    /// Knows agents of this name, too.
    #[must_use]
    pub fn knowing(mut self, name: &str) -> Self {
        self.known.push(name.to_owned());
        self
    }

    /// Which sessions were asked so far, and the last event that each saw, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Agents for FakeAgents {
    fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|known| known == name)
    }

    async fn agent(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError> {
        let briefing = Briefing { prompt: format!("You are {}.", request.name), tools: request.tools.clone() };
        Ok(Arc::new(FakeAgent { all: self.clone(), request, briefing }))
    }
}

struct FakeAgent {
    all: FakeAgents,
    request: AgentRequest,
    briefing: Briefing,
}

#[async_trait]
impl Agent for FakeAgent {
    fn briefing(&self) -> &Briefing {
        &self.briefing
    }

    async fn step(&self, turn: Turn<'_>, _deltas: &dyn Deltas) -> Result<Response, ModelFailure> {
        let last = turn.history.last().map(|past| past.seq);
        self.all.asked.lock().unwrap_or_else(PoisonError::into_inner).push((self.request.session, last));
        let mut reply = (self.all.script)(&self.request, turn.history);
        let actions = loop {
            match reply {
                Reply::Do(actions) => break actions,
                Reply::Fail(failure) => return Err(*failure),
                Reply::Hang => std::future::pending().await,
                Reply::After(gate, then) => {
                    if let Ok(permit) = gate.acquire().await {
                        permit.forget();
                    }
                    reply = *then;
                }
            }
        };
        Ok(Response {
            actions,
            model: "fake".to_owned(),
            response_id: None,
            finish_reason: None,
            reasoning: None,
            usage: Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: 0, cost_micro_usd: Some(10_000) },
            request: Digest::ZERO,
            latency: Duration::from_micros(1),
            retries: Vec::new(),
            answer: Json::default(),
        })
    }
}
