//! What is said to a model and what it answers, in no provider's words.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::engine::ports::{Briefing, Usage};

/// One call of a model: what it is told, and what was said so far.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// Prompt and tools, the same in each call of a session.
    pub briefing: Arc<Briefing>,
    /// The conversation; begins and ends with something that the model is told.
    pub messages: Vec<Message>,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// What the model is told by the user or on the user's behalf.
    User {
        /// Texts and pictures, in order.
        parts: Vec<Part>,
    },
    /// What the model said.
    Assistant {
        /// Its words; empty when it only called tools.
        text: String,
        /// The tools that it called.
        calls: Vec<Call>,
    },
    /// What came of one tool call.
    Result {
        /// The id of the call.
        call: String,
        /// The tool.
        tool: String,
        /// The outcome.
        text: String,
    },
}

/// A piece of a user's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Words.
    Text(String),
    /// The address of a picture, or the picture itself as a `data:` URL.
    Image(String),
}

/// A tool call of an earlier answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Its id; unique within a conversation.
    pub id: String,
    /// The tool.
    pub name: String,
    /// An object.
    pub arguments: Value,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The endpoint's id of it.
    pub id: Option<String>,
    /// The model, as the endpoint names it.
    pub model: Option<String>,
    /// Its words.
    pub text: String,
    /// What it thought before, where the endpoint says.
    pub reasoning: String,
    /// The tools that it calls.
    pub calls: Vec<AnsweredCall>,
    /// Why it ended: `stop`, `tool_calls`, `length`, …
    pub finish_reason: Option<String>,
    /// What was used.
    pub usage: Usage,
}

/// A tool call as a model wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnsweredCall {
    /// Its id, as the endpoint gave it.
    pub id: String,
    /// The tool, which need not exist.
    pub name: String,
    /// Its arguments, which need not be JSON.
    pub arguments: String,
}
