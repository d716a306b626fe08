//! Where actions run.

use serde::{Deserialize, Serialize};

/// Where actions run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RuntimeSpec {
    /// On this machine.
    Local {
        /// What keeps commands from the rest of the machine.
        #[serde(default)]
        sandbox: Sandbox,
        /// Whether commands may open connections.
        #[serde(default)]
        network: bool,
    },
    /// Behind the action-execution HTTP API.
    Remote {
        /// Where. Never holds credentials.
        url: String,
        /// The name of the secret that holds the API key; none is sent when unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A command that starts the runtime server somewhere, which is then spoken to over HTTP.
    Command(Launcher),
}

impl RuntimeSpec {
    /// Whether it remembers what it was handed, so that a later owner can ask what came of an action.
    pub const fn remembers(&self) -> bool {
        match self {
            Self::Local { .. } => false,
            Self::Remote { .. } | Self::Command(_) => true,
        }
    }
}

impl Default for RuntimeSpec {
    fn default() -> Self {
        Self::Local { sandbox: Sandbox::default(), network: false }
    }
}

/// What keeps commands from the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// Landlock, with namespaces where they are permitted; the start fails where Landlock cannot be had.
    #[default]
    Landlock,
    /// Bubblewrap; the start fails where it is not installed.
    Bubblewrap,
    /// Nothing: only by the word `--unsafe-local`.
    Unsafe,
}

/// How the runtime server is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launcher {
    /// The program and its arguments, in which `{session}`, `{workspace}`, `{port}` and `{image}` stand for what they name.
    pub command: Vec<String>,
    /// The same, to end it; its own process is ended in any case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The image of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where the server is then reached; `http://127.0.0.1:{port}` when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
