//! What the engine needs of the world, as traits. [`crate::host`] implements them; tests bring fakes.

mod absent;
mod agent;
mod gate;
mod memory;
mod policy;
mod runtime;
mod secrets;
mod sink;
mod summary;
mod tools;
mod workspaces;

use std::sync::Arc;

pub use agent::{
    Agent, AgentError, AgentRequest, Agents, Briefing, Delta, Deltas, ModelErrorClass, ModelFailure, Past, Response,
    ToolDefinition, Turn, Usage,
};
pub use gate::{Gate, Pass};
pub use memory::{Memories, Memory, MemoryProblem, MemoryRequest, Remembered};
pub use policy::{Judge, Judgement, Question};
pub use runtime::{
    About, ActionKey, Containment, Document, Gap, Guard, Mount, Preparation, Prepared, Provision, Provisioned, Runtime,
    RuntimeError, RuntimeReport, Runtimes, SandboxReport, Timeout, WORKSPACE, project,
};
pub use secrets::{SecretError, SecretValue, Secrets};
pub use sink::{HeldText, Sink, SinkError};
pub use summary::{Summarised, Summariser, SummariserRequest};
pub use tools::{Join, Joined, ReportedTool, ToolServers, Tools, ToolsReport};
pub use workspaces::{Capture, Contents, Listing, RestoredFiles, SnapshotError, Workspace, Workspaces};

use crate::session::replay::RecordedEntry;

/// Everything that an engine needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Where actions run.
    pub runtimes: Arc<dyn Runtimes>,
    /// Reads the bytes of a recording.
    pub recordings: ReadRecording,
    /// Who decides.
    pub agents: Arc<dyn Agents>,
    /// Who judges actions.
    pub judge: Arc<dyn Judge>,
    /// Where the values of secrets are.
    pub secrets: Arc<dyn Secrets>,
    /// What agents are told of the workspace and the task.
    pub memories: Arc<dyn Memories>,
    /// Servers that bring further tools.
    pub tools: Arc<dyn ToolServers>,
    /// Who is asked before a line of a recording is performed.
    pub gate: Arc<dyn Gate>,
    /// Keeps what workspaces on this machine hold.
    pub workspaces: Arc<dyn Workspaces>,
}

impl Ports {
    /// Runtimes and recordings, and nothing else: a session that asks for an agent, a secret or a server fails to start.
    pub fn new(runtimes: Arc<dyn Runtimes>, recordings: ReadRecording) -> Self {
        let absent = Arc::new(absent::Absent);
        Self {
            runtimes,
            recordings,
            agents: Arc::<absent::Absent>::clone(&absent),
            judge: Arc::<absent::Absent>::clone(&absent),
            secrets: Arc::<absent::Absent>::clone(&absent),
            memories: Arc::<absent::Absent>::clone(&absent),
            tools: Arc::<absent::Absent>::clone(&absent),
            workspaces: absent,
            gate: Arc::new(gate::Open),
        }
    }
}

/// Reads a recording, or says why it cannot be read.
pub type ReadRecording = fn(&[u8]) -> Result<Vec<RecordedEntry>, String>;
