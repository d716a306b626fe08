//! What a session is made of, as it is asked for. Stored whole with the session, so that any restart has it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::id::Digest;

/// Everything that a new session is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// How it begins.
    pub origin: Origin,
    /// The directory on this machine that it works in; commands find it at `/workspace`.
    pub workspace: PathBuf,
    /// A line for people; the first message when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// How a session begins. Each variant carries what only it needs, so that a bad combination cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Origin {
    /// With a message of the user, or waiting for one. Whoever opened it submits the agent's actions.
    Fresh {
        /// The first message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
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

/// How long things may take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deadlines {
    /// An action that names no timeout of its own.
    pub action_ms: u64,
    /// The longest that any action may take, whatever it asks for.
    pub action_max_ms: u64,
    /// How long a command may be quiet before it is left running.
    pub quiet_ms: u64,
    /// One step of the start.
    pub start_step_ms: u64,
    /// The whole close.
    pub close_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { action_ms: 120_000, action_max_ms: 600_000, quiet_ms: 30_000, start_step_ms: 60_000, close_ms: 90_000 }
    }
}
