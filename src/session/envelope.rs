//! The part of an event that the log itself understands: who, when, in which order, of which kind.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::{EventId, Seq, SessionId};
use super::time::Timestamp;

/// Who made an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A person, or the program that speaks for one.
    User,
    /// The agent.
    Agent,
    /// The engine and the world around it.
    Environment,
}

impl Source {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Environment => "environment",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a source is user, agent or environment, got {0:?}")]
pub struct InvalidSource(String);

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        match text {
            "user" => Ok(Self::User),
            "agent" => Ok(Self::Agent),
            "environment" => Ok(Self::Environment),
            other => Err(InvalidSource(other.chars().take(40).collect())),
        }
    }
}

/// The dotted stable name of what happened, such as `action.run`. Never a Rust path; names that this version does not know are kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// A kind that this version writes.
    pub const fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A kind read from a log or made from a foreign tag.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot.
    pub fn family(&self) -> &str {
        self.0.split_once('.').map_or(self.as_str(), |(family, _)| family)
    }

    /// The part after the first dot; the V0 tag of an action or observation.
    pub fn tag(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, tag)| tag)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An event that is still to be appended: everything but its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Made where the event is made; the same id with the same content is appended once.
    pub id: EventId,
    /// What happened.
    pub kind: Kind,
    /// Schema version of `body`.
    pub v: u16,
    /// When, by the engine's clock.
    pub at: Timestamp,
    /// Who.
    pub source: Source,
    /// The event of the same session that this one answers.
    pub cause: Option<Seq>,
    /// Whether a reader that does not know `kind` must not act on this session.
    pub must_understand: bool,
    /// JSON text, kept byte for byte.
    pub body: String,
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The session it belongs to.
    pub session: SessionId,
    /// Its place there.
    pub seq: Seq,
    /// Its name.
    pub id: EventId,
    /// What happened.
    pub kind: Kind,
    /// Schema version of the body.
    pub v: u16,
    /// When, by the clock of the engine that wrote it.
    pub at: Timestamp,
    /// Who.
    pub source: Source,
    /// The event that this one answers.
    pub cause: Option<Seq>,
    /// Whether a reader that does not know `kind` must not act on this session.
    pub must_understand: bool,
    /// The content.
    pub body: Body,
}

/// The content of a recorded event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// JSON text, byte for byte as it was appended.
    Json(String),
    /// Taken out on request; only its digest is left, so that the chain still verifies.
    Redacted,
}

impl Body {
    /// The JSON text; `null` for a redacted body, so that readers need no special case.
    pub fn as_json(&self) -> &str {
        match self {
            Self::Json(text) => text,
            Self::Redacted => "null",
        }
    }
}

impl NewEvent {
    /// The event as it will stand in the log once it is appended at `seq`.
    pub fn recorded(self, session: SessionId, seq: Seq) -> Recorded {
        let Self { id, kind, v, at, source, cause, must_understand, body } = self;
        Recorded { session, seq, id, kind, v, at, source, cause, must_understand, body: Body::Json(body) }
    }
}
