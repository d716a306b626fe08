//! What a session is made of, as it is asked for. Stored whole with the session, so that any restart has it; values of secrets are
//! never part of it.

mod agent;
mod condenser;
mod mcp;
mod memory;
mod origin;
mod parent;
mod plugin;
mod repository;
mod runtime;
mod secret;
mod security;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::workspace::SnapshotSpec;

pub use agent::{AgentConfig, AgentSpec, Interaction, Limits, ModelApi, ModelSpec, Price, Tool};
pub use condenser::Condenser;
pub use mcp::{McpServer, McpTransport};
pub use memory::{MemorySpec, OnBadFile};
pub use origin::{OnDivergence, OnUnknown, Origin};
pub use parent::{Parent, task};
pub use plugin::PluginSpec;
pub use repository::{OnSetupFailure, Provider, RepositorySpec};
pub use runtime::{Launcher, RuntimeSpec, Sandbox};
pub use secret::{SecretRef, SecretUse};
pub use security::{Analyzer, ConfirmationPolicy, Risk, SecuritySpec};

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
    /// Who it is for, in the words of whoever opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long things may take.
    #[serde(default)]
    pub deadlines: Deadlines,
    /// Who decides what is done; unset when whoever opened the session submits the actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,
    /// What it may use up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whether a person is there to be asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interaction: Interaction,
    /// The code to work on, cloned into the workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositorySpec>,
    /// What is done when the project's setup script fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_setup_failure: OnSetupFailure,
    /// Which secrets it has, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// Who judges actions, and which a person must agree to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: SecuritySpec,
    /// Servers that bring further tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp: Vec<McpServer>,
    /// What the agent is told of the workspace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: MemorySpec,
    /// Where actions run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime: RuntimeSpec,
    /// What its shell is prepared with, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginSpec>,
    /// What the agent is told beside the task, for this conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Free words of whoever opened it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whose delegate it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How much of the workspace is kept at the end of each turn; nothing when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<SnapshotSpec>,
}

impl SessionSpec {
    /// A session that begins so and works there, and is else told nothing.
    pub fn new(origin: Origin, workspace: impl Into<PathBuf>) -> Self {
        Self {
            origin,
            workspace: workspace.into(),
            title: None,
            user: None,
            deadlines: Deadlines::default(),
            agent: None,
            limits: Limits::default(),
            interaction: Interaction::default(),
            repository: None,
            on_setup_failure: OnSetupFailure::default(),
            secrets: Vec::new(),
            security: SecuritySpec::default(),
            mcp: Vec::new(),
            memory: MemorySpec::default(),
            runtime: RuntimeSpec::default(),
            plugins: Vec::new(),
            instructions: None,
            metadata: BTreeMap::new(),
            parent: None,
            snapshots: None,
        }
    }
}

/// Left out of the stored form, so that states of logs from before it was there keep their digests.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_usual(prepare_ms: &u64) -> bool {
    *prepare_ms == Deadlines::default().prepare_ms
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// Cloning the repository; running its setup script.
    #[serde(skip_serializing_if = "is_usual")]
    pub prepare_ms: u64,
    /// The whole close.
    pub close_ms: u64,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            action_ms: 120_000,
            action_max_ms: 600_000,
            quiet_ms: 30_000,
            start_step_ms: 60_000,
            prepare_ms: 600_000,
            close_ms: 90_000,
        }
    }
}
