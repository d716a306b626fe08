//! Who decides, with which model, and what that may use up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Condenser;

/// Who decides what is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// The agent's name in the registry: `coder` is the tool-calling agent.
    pub name: String,
    /// How it is set up.
    pub config: AgentConfig,
    /// How the agents are set up to which it may hand parts of its task, by name. Others are set up like it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delegates: BTreeMap<String, AgentConfig>,
}

/// How an agent is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The model that it asks.
    pub model: ModelSpec,
    /// Its own tools, beside those of MCP servers.
    #[serde(default = "Tool::all")]
    pub tools: Vec<Tool>,
    /// Microagents that it is not told of, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disabled_microagents: Vec<String>,
    /// What is done with a history that grows too long.
    #[serde(default)]
    pub condense: Condenser,
}

impl AgentConfig {
    /// An agent that asks this model, with everything else by default.
    pub fn new(model: ModelSpec) -> Self {
        Self { model, tools: Tool::all(), disabled_microagents: Vec::new(), condense: Condenser::default() }
    }
}

/// A tool that the agent brings itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// A persistent shell.
    Bash,
    /// Viewing, creating and editing files.
    Editor,
    /// A persistent Python interpreter.
    Python,
    /// Thinking aloud.
    Think,
    /// Ending the task.
    Finish,
    /// Handing a part of the task to another agent.
    Delegate,
}

impl Tool {
    /// All of them but `delegate`, which must be asked for.
    pub fn all() -> Vec<Self> {
        vec![Self::Bash, Self::Editor, Self::Python, Self::Think, Self::Finish]
    }
}

/// A model behind an HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The endpoint's own name of the model.
    pub name: String,
    /// How the endpoint is spoken to.
    pub api: ModelApi,
    /// Where it is; the provider's public address when unset. Never holds credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The name of the secret that holds the key; none is sent when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Thousandths; the provider's default when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_milli: Option<u32>,
    /// The most tokens of one answer; the provider's default when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How long one try may take, in milliseconds.
    #[serde(default = "ModelSpec::default_timeout_ms")]
    pub timeout_ms: u64,
    /// How often a call that may succeed later is tried again.
    #[serde(default = "ModelSpec::default_retries")]
    pub retries: u32,
    /// What it costs; a known model's price when unset, and no price is claimed for an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl ModelSpec {
    /// A model with everything else by default.
    pub fn new(api: ModelApi, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            api,
            base_url: None,
            key: None,
            temperature_milli: None,
            max_output_tokens: None,
            timeout_ms: Self::default_timeout_ms(),
            retries: Self::default_retries(),
            price: None,
        }
    }

    const fn default_timeout_ms() -> u64 {
        300_000
    }

    const fn default_retries() -> u32 {
        5
    }
}

/// How a model's endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelApi {
    /// The chat completions of `OpenAI`, which many others speak.
    OpenAi,
    /// The messages of Anthropic.
    Anthropic,
}

/// What a model costs, in millionths of a US dollar per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Tokens read.
    pub input: u64,
    /// Tokens read from the provider's cache.
    pub cached_input: u64,
    /// Tokens written.
    pub output: u64,
}

/// What a session may use up. Each is a limit on the fold of its log, so it survives restarts, and can be raised on resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Calls of the model.
    pub iterations: u64,
    /// Millionths of a US dollar; no limit when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { iterations: 500, budget_micro_usd: None }
    }
}

/// Whether a person is there to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interaction {
    /// Nobody is: what would be asked ends the run, and a limit that is reached stays.
    #[default]
    Headless,
    /// Somebody is: saying something after a limit was reached raises it by what it was.
    Interactive,
}
