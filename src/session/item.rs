//! One entry of a V0 trajectory: an action or observation with the attributes that V0 keeps beside it.
//!
//! This is also the body of every `action.*` and `observation.*` event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::{Action, Opaque};
use super::envelope::Source;
use super::observation::Observation;

/// An action or observation and what stands beside it.
#[derive(Debug, Clone)]
pub struct Item {
    /// The id within its stream; V0 counts from 0, with gaps in saved trajectories.
    pub id: Option<i64>,
    /// As V0 wrote it: local time without a zone.
    pub timestamp: Option<String>,
    /// Who.
    pub source: Option<Source>,
    /// The id of the action that an observation answers.
    pub cause: Option<i64>,
    /// Hard timeout, in seconds.
    pub timeout: Option<f64>,
    /// The tool call that this came from; the model's whole response inside it is opaque.
    pub tool_call_metadata: Option<Opaque>,
    /// Cost and tokens so far.
    pub llm_metrics: Option<Metrics>,
    /// The action or observation itself.
    pub content: Content,
}

/// The thing itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Something done.
    Action(Action),
    /// Something seen.
    Observation(Observation),
}

/// Cost and tokens, as V0 counts them: accumulated over the session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// US dollars so far.
    #[serde(default)]
    pub accumulated_cost: f64,
    /// 0.44 and later: US dollars allowed. The outer `None` is a key that was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub max_budget_per_task: Option<Option<f64>>,
    /// Tokens so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accumulated_token_usage: Option<TokenUsage>,
    /// One entry per call.
    #[serde(default)]
    pub costs: Vec<Value>,
    /// One entry per call.
    #[serde(default)]
    pub response_latencies: Vec<Value>,
    /// One entry per call.
    #[serde(default)]
    pub token_usages: Vec<TokenUsage>,
}

/// Tokens of one call, or of all so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// The model.
    pub model: String,
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: i64,
    /// Tokens written to the provider's cache.
    pub cache_write_tokens: i64,
    /// The model's window.
    pub context_window: i64,
    /// Tokens of the last call.
    pub per_turn_token: i64,
    /// The provider's id of the response.
    pub response_id: String,
}

fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
