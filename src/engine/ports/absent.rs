//! What an engine has whose user brought nothing for a port: nothing, and it says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Agent, AgentError, AgentRequest, Agents, Contents, Join, Joined, Judge, Judgement, Listing, Memories, Memory, MemoryRequest,
    Question, Remembered, RestoredFiles, SecretError, SecretValue, Secrets, SnapshotError, ToolServers, Tools, ToolsReport,
    Workspace, Workspaces,
};
use crate::session::action::{CallToolMcp, Recall};
use crate::session::{Extras, McpServer, Observation, Risk, SecretRef, SessionId, SessionSpec, Timestamp, decide::NOT_EXECUTED};

/// Nobody, nothing and nowhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent;

#[async_trait]
impl Agents for Absent {
    async fn agent(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError> {
        Err(AgentError::Unknown { name: request.name, known: "none, this engine was given no agents".to_owned() })
    }
}

impl Judge for Absent {
    fn judge(&self, question: Question<'_>) -> Judgement {
        Judgement { risk: question.declared.unwrap_or(Risk::Unknown), reasons: Vec::new(), by: Vec::new() }
    }
}

#[async_trait]
impl Secrets for Absent {
    async fn values(&self, _session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        Err(SecretError::Missing(secrets.iter().map(|secret| secret.name.clone()).collect()))
    }
}

#[async_trait]
impl Memories for Absent {
    fn paths(&self, _spec: &SessionSpec) -> Vec<String> {
        Vec::new()
    }

    async fn gather(&self, _request: MemoryRequest) -> Result<Remembered, String> {
        Ok(Remembered { memory: Arc::new(Self), names: Vec::new(), problems: Vec::new() })
    }
}

impl Memory for Absent {
    fn recall(&self, _recall: &Recall, _said: &[String], _now: Timestamp) -> Observation {
        Observation { content: String::new(), extras: Extras::Null }
    }
}

#[async_trait]
impl ToolServers for Absent {
    async fn join(&self, request: Join) -> Joined {
        let error = || Some("this engine reaches no servers".to_owned());
        let absent = |server: &McpServer| ToolsReport { error: error(), ..ToolsReport::new(&server.name) };
        Joined { tools: Arc::new(Self), definitions: Vec::new(), report: request.servers.iter().map(absent).collect() }
    }
}

#[async_trait]
impl Tools for Absent {
    async fn call(&self, call: &CallToolMcp, _timeout: Duration) -> Observation {
        Observation::error(format!("no server brings the tool {}", call.name), NOT_EXECUTED)
    }

    async fn close(&self) {}
}

#[async_trait]
impl Workspaces for Absent {
    fn workspace(&self, _directory: &Path) -> Option<Arc<dyn Workspace>> {
        None
    }

    async fn restore(&self, _: &Listing, _: Arc<dyn Contents>, _: &Path) -> Result<RestoredFiles, SnapshotError> {
        Err(SnapshotError::Unsupported)
    }
}
