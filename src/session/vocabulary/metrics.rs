//! Cost and tokens, as V0 counts them beside its events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::lax::{integer, present};

/// Cost and tokens, accumulated over the session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// US dollars so far.
    #[serde(default)]
    pub accumulated_cost: f64,
    /// 0.44 and later: US dollars allowed. The outer `None` is a key that was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub max_budget_per_task: Option<Option<f64>>,
    /// Tokens so far; V0 writes zeros of a model called `default` when nothing was counted.
    #[serde(default, serialize_with = "or_uncounted")]
    pub accumulated_token_usage: Option<TokenUsage>,
    /// One entry per call.
    #[serde(default)]
    pub costs: Vec<Cost>,
    /// One entry per call.
    #[serde(default)]
    pub response_latencies: Vec<ResponseLatency>,
    /// One entry per call.
    #[serde(default)]
    pub token_usages: Vec<TokenUsage>,
}

/// What one call cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// The model.
    pub model: String,
    /// US dollars.
    pub cost: f64,
    /// Seconds since 1970. V0 puts in the time of reading when it is missing; here it stays missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<f64>,
}

/// How long one call took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ResponseLatency {
    /// The model.
    pub model: String,
    /// Seconds.
    pub latency: f64,
    /// The provider's id of the response.
    pub response_id: String,
}

/// Tokens of one call, or of all so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenUsage {
    /// The model.
    pub model: String,
    /// Tokens read.
    #[serde(deserialize_with = "integer")]
    pub prompt_tokens: i64,
    /// Tokens written.
    #[serde(deserialize_with = "integer")]
    pub completion_tokens: i64,
    /// Tokens read from the provider's cache.
    #[serde(deserialize_with = "integer")]
    pub cache_read_tokens: i64,
    /// Tokens written to the provider's cache.
    #[serde(deserialize_with = "integer")]
    pub cache_write_tokens: i64,
    /// The model's window.
    #[serde(deserialize_with = "integer")]
    pub context_window: i64,
    /// Tokens of the last call.
    #[serde(deserialize_with = "integer")]
    pub per_turn_token: i64,
    /// The provider's id of the response.
    pub response_id: String,
}

impl Metrics {
    /// Reads what stands at `llm_metrics`; anything but an object counts as nothing counted.
    pub(super) fn decode(raw: &RawValue) -> Result<Self, String> {
        if !raw.get().starts_with('{') {
            return Ok(Self::default());
        }
        let metrics: Self = serde_json::from_str(raw.get()).map_err(|error| super::decode::fragment(&error))?;
        if metrics.accumulated_cost < 0.0 {
            return Err(format!("accumulated_cost is {}, and a cost cannot be negative", metrics.accumulated_cost));
        }
        Ok(metrics)
    }
}

fn or_uncounted<S: serde::Serializer>(usage: &Option<TokenUsage>, serializer: S) -> Result<S::Ok, S::Error> {
    match usage {
        Some(usage) => usage.serialize(serializer),
        None => TokenUsage { model: "default".into(), ..TokenUsage::default() }.serialize(serializer),
    }
}
