//! What goes on inside a session that has started: the agent's state, and the actions that have no outcome yet.

use serde::{Deserialize, Serialize};

use super::action::EffectClass;
use super::envelope::Source;
use super::id::{Epoch, Seq};

/// What the agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Not yet ready.
    #[default]
    Loading,
    /// At work.
    Running,
    /// Waiting for a message of the user.
    AwaitingUserInput,
    /// Waiting for a person to agree to what it wants to do.
    AwaitingUserConfirmation,
    /// Held by a person; what it was at is finished, and nothing new is begun.
    Paused,
    /// Its model does not answer for now, having been asked too often.
    RateLimited,
    /// Done with its task.
    Finished,
    /// Has declined its task.
    Rejected,
    /// Cannot go on; the reason is in the log.
    Error,
    /// Ended from outside.
    Stopped,
}

impl AgentState {
    /// The stored word, the same as V0's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Running => "running",
            Self::AwaitingUserInput => "awaiting_user_input",
            Self::AwaitingUserConfirmation => "awaiting_user_confirmation",
            Self::Paused => "paused",
            Self::RateLimited => "rate_limited",
            Self::Finished => "finished",
            Self::Rejected => "rejected",
            Self::Error => "error",
            Self::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for AgentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An action whose intent is in the log and whose outcome is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenAction {
    /// The action.
    pub seq: Seq,
    /// Who wants it done; what comes of it is told in the same name.
    pub source: Source,
    /// The V0 tag of it.
    pub tag: String,
    /// What may be done with it after a crash.
    pub class: EffectClass,
    /// Whether it may have run.
    pub dispatch: Dispatch,
    /// The recorded entry that it performs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<u64>,
}

impl OpenAction {
    /// Whether the session's runtime executes it; memory and servers answer without one.
    pub fn needs_runtime(&self) -> bool {
        !matches!(self.tag.as_str(), "call_tool_mcp" | "delegate")
    }

    /// Whether it can leave the workspace other than it was. Servers and delegates may work there, too.
    pub fn may_change_files(&self) -> bool {
        !matches!(self.tag.as_str(), "read" | "recall")
    }

    /// Whether a session of its own is begun for it.
    pub fn is_delegate(&self) -> bool {
        self.tag == "delegate"
    }
}

/// How far an open action has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Dispatch {
    /// A person must agree first.
    Unconfirmed,
    /// Not handed to the runtime yet.
    Queued {
        /// Tries so far.
        attempts: u32,
    },
    /// Handed to the runtime of this owner.
    InFlight {
        /// Which try.
        attempt: u32,
        /// The owner.
        epoch: Epoch,
    },
    /// Handed to the runtime of an owner that is gone: it may have run.
    Interrupted {
        /// Which try.
        attempt: u32,
    },
}
