//! The steps of a start, in their order, and what each leaves to be released.

use serde::{Deserialize, Serialize};

use super::spec::{Origin, SessionSpec};

/// One step of a start. The order of the variants is the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartStep {
    /// Whoever judges actions.
    SecurityAnalyzer,
    /// Where actions run.
    Runtime,
    /// The code to work on.
    Repository,
    /// The repository's own preparation.
    SetupScript,
    /// The repository's hooks.
    GitHooks,
    /// What must never be shown.
    Secrets,
    /// Instructions and knowledge.
    Memory,
    /// Tools of MCP servers.
    McpTools,
    /// Whoever decides the next action.
    Controller,
    /// The first message of the user.
    FirstMessage,
    /// The recording to perform.
    Replay,
}

impl StartStep {
    /// The steps of a session that begins so, in order.
    pub fn plan(origin: &Origin) -> Vec<Self> {
        let opening = match origin {
            Origin::Fresh { .. } => Self::FirstMessage,
            Origin::Replay { .. } => Self::Replay,
            Origin::Import { .. } => return Vec::new(),
        };
        vec![
            Self::SecurityAnalyzer,
            Self::Runtime,
            Self::Repository,
            Self::SetupScript,
            Self::GitHooks,
            Self::Secrets,
            Self::Memory,
            Self::McpTools,
            Self::Controller,
            opening,
        ]
    }

    /// Whether the world must do something for this step in a session that was told this; the others are decided at once.
    pub const fn needs_the_world(self, spec: &SessionSpec) -> bool {
        match self {
            Self::Runtime | Self::Replay => true,
            Self::Repository => spec.repository.is_some(),
            Self::SetupScript => (spec.repository.is_some() || spec.agent.is_some()) && !spec.finds_all_prepared(),
            Self::GitHooks => (spec.repository.is_some() || spec.agent.is_some()) && spec.parent.is_none(),
            Self::Secrets => !spec.secrets.is_empty(),
            Self::McpTools => !spec.mcp.is_empty(),
            Self::Memory | Self::Controller => spec.agent.is_some(),
            Self::SecurityAnalyzer | Self::FirstMessage => false,
        }
    }

    /// Whether something outside the log is held once this step is done, and must be released.
    pub const fn holds_something(self) -> bool {
        matches!(self, Self::Runtime | Self::McpTools)
    }

    /// The steps that hold something, in order.
    pub const HOLDING: [Self; 2] = [Self::Runtime, Self::McpTools];

    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecurityAnalyzer => "security_analyzer",
            Self::Runtime => "runtime",
            Self::Repository => "repository",
            Self::SetupScript => "setup_script",
            Self::GitHooks => "git_hooks",
            Self::Secrets => "secrets",
            Self::Memory => "memory",
            Self::McpTools => "mcp_tools",
            Self::Controller => "controller",
            Self::FirstMessage => "first_message",
            Self::Replay => "replay",
        }
    }
}

impl std::fmt::Display for StartStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a step brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StepOutcome {
    /// It is done; `report` says what there is now, in the words of whoever did it.
    Done {
        /// Free-form; `null` when there is nothing to say.
        #[serde(default, skip_serializing_if = "Report::is_null")]
        report: Report,
    },
    /// There was nothing to do.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// JSON that a port reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Report(pub serde_json::Value);

impl Report {
    fn is_null(&self) -> bool {
        self.0.is_null()
    }
}
