//! Who decides what is done next.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{SecretValue, Summariser, SummariserRequest};
pub use crate::session::model::{CallUsage as Usage, ModelErrorClass, ModelFailure};
use crate::session::{AgentConfig, Digest, Item, Json, Seq, SessionId};

/// Makes agents, by their names.
#[async_trait]
pub trait Agents: Send + Sync + 'static {
    /// Makes the agent that a session asks for.
    ///
    /// # Errors
    /// [`AgentError`] naming what is wrong: an unknown name and the known ones, a missing key.
    async fn agent(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError>;

    /// Makes who sums up what is forgotten of a history that has grown too long.
    ///
    /// # Errors
    /// [`AgentError`] naming what is wrong; what is forgotten is then forgotten without a summary.
    async fn summariser(&self, request: SummariserRequest) -> Result<Arc<dyn Summariser>, AgentError> {
        Err(AgentError::Misconfigured(format!("nobody here sums up by the model `{}`", request.model.name)))
    }

    /// Whether an agent of this name can be made; a delegate that is called otherwise is the agent that asks for it once more.
    fn knows(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// Decides what a session does next, from its history.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// What its model is told in each call: it is kept once, by its digest.
    fn briefing(&self) -> &Briefing;

    /// Decides once, usually by asking a model. Stateless: the history is all that it knows. What can be tried again has been.
    /// Dropping the future ends the call.
    ///
    /// # Errors
    /// [`ModelFailure`] when no decision was reached.
    async fn step(&self, turn: Turn<'_>, deltas: &dyn Deltas) -> Result<Response, ModelFailure>;

    /// SHA-256 of the request that [`step`](Self::step) would make now, as it is in [`Response::request`]; `None` when it cannot be
    /// told without making it.
    fn request(&self, turn: Turn<'_>) -> Option<Digest> {
        let _ = turn;
        None
    }
}

/// What is needed to make an agent.
#[derive(Debug, Clone)]
pub struct AgentRequest {
    /// The session.
    pub session: SessionId,
    /// Its name in the registry.
    pub name: String,
    /// How it is set up.
    pub config: AgentConfig,
    /// The key of its model.
    pub key: Option<SecretValue>,
    /// Tools of servers, beside its own.
    pub tools: Vec<ToolDefinition>,
    /// The agents that it may hand parts of its task to.
    pub delegates: Vec<String>,
    /// Whether it is told to say how risky each call is.
    pub asks_risk: bool,
}

/// What a model is told in each call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Briefing {
    /// The system prompt.
    pub prompt: String,
    /// All tools, its own and those of servers.
    pub tools: Vec<ToolDefinition>,
}

/// A tool, as models are told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDefinition {
    /// Its name; unique.
    pub name: String,
    /// What it does.
    pub description: String,
    /// A JSON schema of its arguments.
    pub parameters: serde_json::Value,
}

/// What an agent decides on.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// What it may see of the session, in order: what was condensed away is left out, and its summary stands there instead.
    pub history: &'a [Past],
}

/// One thing that happened, as an agent sees it.
#[derive(Debug, Clone)]
pub struct Past {
    /// Where it stands in the log.
    pub seq: Seq,
    /// The action that an observation answers.
    pub cause: Option<Seq>,
    /// What happened.
    pub item: Item,
}

/// What an agent decided, and what that took.
#[derive(Debug, Clone)]
pub struct Response {
    /// What is to be done, in order; never empty. Each carries the call that it came from in its `tool_call_metadata`.
    pub actions: Vec<Item>,
    /// The model, as the endpoint names it.
    pub model: String,
    /// The endpoint's id of the answer.
    pub response_id: Option<String>,
    /// Why the model ended: `stop`, `tool_calls`, `length`, …
    pub finish_reason: Option<String>,
    /// What the model thought before it answered, where the endpoint says.
    pub reasoning: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// SHA-256 of the request that was sent, without its key.
    pub request: Digest,
    /// How long the call took.
    pub latency: Duration,
    /// Calls that were tried before this one, and how each failed.
    pub retries: Vec<String>,
    /// The answer as the endpoint meant it: text, tool calls, ids.
    pub answer: Json,
}

/// A piece of an answer that is still being written. Not durable: a subscriber may miss it without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// Text of the answer.
    Text(String),
    /// Text of the model's thoughts.
    Reasoning(String),
    /// A tool is about to be called.
    Call(String),
    /// The call is tried again, because of this.
    Retry(String),
}

/// Hears of an answer while it is written.
pub trait Deltas: Send + Sync {
    /// Takes a piece.
    fn delta(&self, delta: Delta);
}

/// Why an agent cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// No agent has this name.
    #[error("no agent is called `{name}`; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that are known.
        known: String,
    },
    /// It is set up in a way that cannot work.
    #[error("{0}")]
    Misconfigured(String),
}
