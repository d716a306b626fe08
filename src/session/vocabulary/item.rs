//! One entry of a V0 trajectory: an action or observation with the attributes that V0 keeps beside it.
//!
//! This is also the body of every `action.*` and `observation.*` event.

use super::action::{Action, Opaque};
use super::metrics::Metrics;
use super::observation::Observation;
use crate::session::envelope::{Kind, Source};

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
    /// Hard timeout, in seconds; only actions have one.
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

impl Content {
    /// The kind under which it stands in the log.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Action(action) => Kind::new(format!("action.{}", action.tag())),
            Self::Observation(observation) => Kind::new(format!("observation.{}", observation.extras.tag())),
        }
    }
}

impl From<Content> for Item {
    /// An item with nothing beside its content.
    fn from(content: Content) -> Self {
        Self {
            id: None,
            timestamp: None,
            source: None,
            cause: None,
            timeout: None,
            tool_call_metadata: None,
            llm_metrics: None,
            content,
        }
    }
}

impl From<Action> for Item {
    fn from(action: Action) -> Self {
        Content::Action(action).into()
    }
}

impl From<Observation> for Item {
    fn from(observation: Observation) -> Self {
        Content::Observation(observation).into()
    }
}

/// Why a text is no action or observation of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The text is no JSON.
    #[error("not json: {0}")]
    NotJson(String),
    /// It is JSON, but nothing that could be an event.
    #[error("an event is an object with an `action` or an `observation`, got {0}")]
    NotAnEvent(String),
    /// Nested so deep that others could not read it.
    #[error("nested {0} levels deep, more than {max} are not read", max = super::json::DEPTH_MAX)]
    TooDeep(usize),
    /// An action that this version does not know.
    #[error("unknown action {0}")]
    UnknownAction(String),
    /// An observation that this version does not know.
    #[error("unknown observation {0}")]
    UnknownObservation(String),
    /// The `args` of an action do not fit it.
    #[error("wrong args of action `{tag}`: {why}")]
    WrongArgs {
        /// The action.
        tag: String,
        /// Which field, and what is wrong with it.
        why: String,
    },
    /// The `extras` of an observation do not fit it.
    #[error("wrong extras of observation `{tag}`: {why}")]
    WrongExtras {
        /// The observation.
        tag: String,
        /// Which field, and what is wrong with it.
        why: String,
    },
    /// A field holds a value of the right type that it may not hold.
    #[error("invalid `{field}`: {why}")]
    InvalidValue {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A field beside the content holds a value of the wrong type.
    #[error("wrong type of `{field}`: {why}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// The error that V0's own reader raises for the same input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An unknown action, or one with wrong arguments.
    LlmMalformedAction,
    /// An unknown observation.
    Key,
    /// Wrong fields in an observation.
    Type,
    /// A wrong value.
    Value,
}

impl ErrorKind {
    /// V0's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LlmMalformedAction => "LLMMalformedActionError",
            Self::Key => "KeyError",
            Self::Type => "TypeError",
            Self::Value => "ValueError",
        }
    }
}

impl ItemError {
    /// The error that V0's own reader raises.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownAction(_) | Self::WrongArgs { .. } => ErrorKind::LlmMalformedAction,
            Self::UnknownObservation(_) => ErrorKind::Key,
            Self::WrongExtras { .. } | Self::WrongType { .. } => ErrorKind::Type,
            Self::NotJson(_) | Self::NotAnEvent(_) | Self::TooDeep(_) | Self::InvalidValue { .. } => ErrorKind::Value,
        }
    }
}
