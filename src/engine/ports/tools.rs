//! Servers that bring further tools.

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
    async fn join(&self, session: SessionId, servers: &[McpServer], secrets: &[SecretValue]) -> Joined;
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
    /// The names of its tools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Calls the tools of a session's servers.
#[async_trait]
pub trait Tools: Send + Sync + 'static {
    /// Calls a tool; everything that can go wrong, a server that died and one that does not answer in time among it, is an observation.
    async fn call(&self, call: &CallToolMcp, timeout: Duration) -> Observation;

    /// Ends all connections and programs.
    async fn close(&self);
}
