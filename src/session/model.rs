//! Asking an agent what to do next: the call that is under way, what it took, and how it can fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{Digest, Epoch, Seq};
use super::item::Item;
use super::omit::is_zero;
use super::spec::Risk;

/// A call of the agent that has no answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCall {
    /// The event that asked.
    pub request: Seq,
    /// 1 for the first try.
    pub attempt: u32,
    /// The owner that asks; unset once that owner is gone, so that it is asked again.
    pub epoch: Option<Epoch>,
}

/// What one call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CallUsage {
    /// Tokens read, cached ones among them.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cached_tokens: u64,
    /// Millionths of a US dollar; unset when nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
}

/// What an agent decided.
#[derive(Debug, Clone)]
pub struct Decision {
    /// What is to be done, in order, and what was thought of each.
    pub actions: Vec<Judged>,
    /// What the call took, for the log.
    pub call: CallReport,
}

/// What a model wrote of events that are forgotten.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The summary.
    pub text: String,
    /// Where among what is still seen it stands.
    pub offset: u64,
    /// What the call took, for the log.
    pub call: CallReport,
}

/// An action that an agent decided on, and how risky it is.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The action.
    pub action: Item,
    /// What the judges say; unset when the session has none.
    pub judgement: Option<Judgement>,
}

/// What a judge says of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The highest risk that anybody saw.
    pub risk: Risk,
    /// Why, one line each, beginning with who says so and by which rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Who judged, with versions: `rules/1`, `model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// How a call went: body of `model.responded`, whose cause is the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReport {
    /// The model, as the endpoint names it.
    pub model: String,
    /// The endpoint's id of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Why the model ended: `stop`, `tool_calls`, `length`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// What the model thought before it answered, where the endpoint says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What was used.
    pub usage: CallUsage,
    /// SHA-256 of the request, without its key: the prompt itself is in the log already.
    pub request: Digest,
    /// The blob that holds the system prompt, where it is not the one of the agent's briefing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Digest>,
    /// How long it took, in microseconds.
    pub latency_us: u64,
    /// Tries that came before, and how each failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<String>,
}

/// Why no decision was reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelFailure {
    /// What kind of failure, which says what can be done about it.
    pub class: ModelErrorClass,
    /// In words, without a key and without the request.
    pub message: String,
    /// How long the endpoint asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What was used all the same.
    pub usage: CallUsage,
}

/// What kind of failure of a model it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelErrorClass {
    /// The key is missing, wrong or not allowed to.
    Authentication,
    /// Too many calls; retries are used up.
    RateLimit,
    /// The endpoint cannot be reached, or the connection broke.
    Unavailable,
    /// It did not answer in time.
    Timeout,
    /// It answered with an error of its own.
    Internal,
    /// There is no money left.
    OutOfCredits,
    /// It refuses the content.
    ContentPolicy,
    /// The history is longer than the model's window.
    ContextWindow,
    /// It does not take the request as it is: a bug, or a setting.
    BadRequest,
    /// The answer holds a call that cannot be read, of a tool that is not there, or nothing at all: the model is told, and asked again.
    BadAnswer,
    /// It was not waited for any more: the session was stopped or closed.
    Cancelled,
}

impl ModelErrorClass {
    /// V0's id of the status that is shown for it.
    pub const fn status(self) -> Option<&'static str> {
        match self {
            Self::Authentication => Some("STATUS$ERROR_LLM_AUTHENTICATION"),
            Self::Unavailable | Self::Timeout => Some("STATUS$ERROR_LLM_SERVICE_UNAVAILABLE"),
            Self::Internal => Some("STATUS$ERROR_LLM_INTERNAL_SERVER_ERROR"),
            Self::OutOfCredits => Some("STATUS$ERROR_LLM_OUT_OF_CREDITS"),
            Self::ContentPolicy => Some("STATUS$ERROR_LLM_CONTENT_POLICY_VIOLATION"),
            Self::RateLimit | Self::ContextWindow | Self::BadRequest | Self::BadAnswer | Self::Cancelled => None,
        }
    }

    /// V0's name of the error.
    pub const fn as_v0(self) -> &'static str {
        match self {
            Self::Authentication => "AuthenticationError",
            Self::RateLimit => "RateLimitError",
            Self::Unavailable => "ServiceUnavailableError",
            Self::Timeout => "Timeout",
            Self::Internal => "InternalServerError",
            Self::OutOfCredits => "ExceededBudget",
            Self::ContentPolicy => "ContentPolicyViolationError",
            Self::ContextWindow => "LLMContextWindowExceedError",
            Self::BadRequest => "BadRequestError",
            Self::BadAnswer => "LLMMalformedActionError",
            Self::Cancelled => "Cancelled",
        }
    }
}
