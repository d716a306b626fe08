//! How a session begins.

use serde::{Deserialize, Serialize};

use crate::session::id::Digest;

/// How a session begins. Each variant carries what only it needs, so that a bad combination cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Origin {
    /// With a message of the user, or waiting for one. Whoever opened it submits the agent's actions.
    Fresh {
        /// The first message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Pictures that go with it, by their addresses: `https:` or `data:`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        images: Vec<String>,
    },
    /// By performing a recording again.
    Replay {
        /// The blob that holds the recording.
        trajectory: Digest,
        /// What to do when an outcome is not the recorded one.
        on_divergence: OnDivergence,
        /// What to do at an entry that cannot be read.
        on_unknown: OnUnknown,
    },
    /// From another system's recording, as it is; nothing is performed.
    Import {
        /// The format: `openhands-v0`.
        format: String,
        /// SHA-256 of what was imported.
        source: Digest,
    },
}

impl Origin {
    /// With this message of the user, or waiting for one.
    pub const fn fresh(message: Option<String>) -> Self {
        Self::Fresh { message, images: Vec::new() }
    }

    /// The word for lists.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::Replay { .. } => "replay",
            Self::Import { .. } => "import",
        }
    }
}

/// What a replay does when an outcome is not the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// Ends there.
    Stop,
    /// Notes it and goes on.
    Continue,
}

/// What a replay does at an entry that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Ends there.
    Stop,
    /// Names it and goes on behind it.
    StepOver,
}
