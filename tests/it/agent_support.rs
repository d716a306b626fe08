//! An agent in front of a fake model: what its tests share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rekindle::engine::ports::{Agent, AgentRequest, Agents, Delta, Deltas, ModelFailure, Past, Response, SecretValue, Turn};
use rekindle::host::agent::{AgentRegistry, CODER, Pause};
use rekindle::session::action::{Action, Message};
use rekindle::session::observation::{CommandMetadata, Extras, RunOutput};
use rekindle::session::{AgentConfig, Item, ModelApi, ModelSpec, Observation, Seq, SessionId, Source, Tool};
use uuid::Uuid;

use crate::model_server::ModelServer;

pub const KEY: &str = "sk-test-0123456789";

/// Waits for nothing, and remembers for how long it was asked to.
#[derive(Default)]
pub struct NoPause(Mutex<Vec<Duration>>);

impl NoPause {
    pub fn asked(&self) -> Vec<Duration> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Pause for NoPause {
    async fn pause(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait);
    }
}

/// Remembers what was heard of an answer while it was written.
#[derive(Default)]
pub struct Listener(Mutex<Vec<Delta>>);

impl Listener {
    pub fn heard(&self) -> Vec<Delta> {
        self.0.lock().unwrap().clone()
    }
}

impl Deltas for Listener {
    fn delta(&self, delta: Delta) {
        self.0.lock().unwrap().push(delta);
    }
}

/// An agent whose model is a fake.
pub struct Bench {
    pub agent: Arc<dyn Agent>,
    pub pause: Arc<NoPause>,
    pub listener: Listener,
}

pub fn request(model: ModelSpec) -> AgentRequest {
    let mut tools = Tool::all();
    tools.push(Tool::Delegate);
    AgentRequest {
        session: SessionId::from_uuid(Uuid::from_u128(1)),
        name: CODER.to_owned(),
        config: AgentConfig { tools, ..AgentConfig::new(model) },
        key: Some(SecretValue { name: "MODEL_KEY".to_owned(), value: KEY.to_owned() }),
        tools: Vec::new(),
        delegates: Vec::new(),
        asks_risk: false,
    }
}

pub fn model(api: ModelApi, server: &ModelServer) -> ModelSpec {
    let key = Some("MODEL_KEY".to_owned());
    ModelSpec { base_url: Some(server.base_url()), key, retries: 2, ..ModelSpec::new(api, "fake") }
}

impl Bench {
    pub async fn new(api: ModelApi, server: &ModelServer) -> Self {
        Self::asking(request(model(api, server))).await
    }

    pub async fn asking(request: AgentRequest) -> Self {
        let pause = Arc::new(NoPause::default());
        let agents = AgentRegistry::new().pausing(Arc::<NoPause>::clone(&pause));
        let agent = agents.agent(request).await.unwrap();
        Self { agent, pause, listener: Listener::default() }
    }

    pub async fn step(&self, history: &[Past]) -> Result<Response, ModelFailure> {
        self.agent.step(Turn { history }, &self.listener).await
    }
}

/// A history that grows.
#[derive(Default)]
pub struct History(pub Vec<Past>);

impl History {
    /// With a first message of the user.
    pub fn of(words: &str) -> Self {
        let mut history = Self::default();
        history.says(words);
        history
    }

    pub fn says(&mut self, words: &str) {
        let mut item = Item::from(Action::Message(Message { content: words.to_owned(), ..Message::default() }));
        item.source = Some(Source::User);
        self.push(item, None);
    }

    /// Returns where it stands.
    pub fn push(&mut self, item: Item, cause: Option<Seq>) -> Seq {
        let seq = Seq(self.0.len() as u64 + 1);
        self.0.push(Past { seq, cause, item });
        seq
    }

    /// What a command printed.
    pub fn printed(&mut self, cause: Seq, words: &str) {
        let run = RunOutput { command: String::new(), metadata: CommandMetadata::default(), hidden: false };
        let mut item = Item::from(Observation { content: words.to_owned(), extras: Extras::Run(run) });
        item.source = Some(Source::Environment);
        self.push(item, Some(cause));
    }
}
