//! Servers that bring further tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{SecretValue, ToolDefinition};
use crate::session::action::CallToolMcp;
use crate::session::{McpServer, Observation, SessionId};

/// Reaches servers.
#[async_trait]
pub trait ToolServers: Send + Sync + 'static {
    /// Joins all servers of a session at once. One that is down or slow is reported, and keeps nobody from the others.
    async fn join(&self, request: Join) -> Joined;
}

/// What there is to join.
#[derive(Debug, Clone)]
pub struct Join {
    /// The session.
    pub session: SessionId,
    /// Its servers.
    pub servers: Vec<McpServer>,
    /// Its secrets.
    pub secrets: Vec<SecretValue>,
    /// The directory on this machine that it works in, where there is one.
    pub workspace: PathBuf,
    /// How long all of it may take.
    pub within: Duration,
    /// What came of its servers the last time: tools that models were told of keep their names.
    pub known: Vec<ToolsReport>,
}

/// The servers of a session.
#[derive(Clone)]
pub struct Joined {
    /// Calls.
    pub tools: Arc<dyn Tools>,
    /// What models are told of.
    pub definitions: Vec<ToolDefinition>,
    /// What came of each server, for the log.
    pub report: Vec<ToolsReport>,
}

/// What came of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolsReport {
    /// The server.
    pub server: String,
    /// What it says that it is: a name and a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// Its tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ReportedTool>,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ToolsReport {
    /// Nothing came of this server yet.
    pub fn new(server: &str) -> Self {
        Self { server: server.to_owned(), is: None, tools: Vec::new(), notes: Vec::new(), error: None }
    }
}

/// A tool that a server brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedTool {
    /// As models know it.
    pub name: String,
    /// As the server knows it, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The beginning of the SHA-256 of what models are told of it.
    pub digest: String,
}

/// Calls the tools of a session's servers.
#[async_trait]
pub trait Tools: Send + Sync + 'static {
    /// Calls a tool; everything that can go wrong, a server that died and one that does not answer in time among it, is an observation.
    async fn call(&self, call: &CallToolMcp, timeout: Duration) -> Observation;

    /// Ends all connections and programs.
    async fn close(&self);
}
