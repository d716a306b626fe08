//! What agents are told of the workspace and the task: microagents, skills, instructions.

use std::sync::Arc;

use async_trait::async_trait;

use super::{About, Document};
use crate::session::action::Recall;
use crate::session::{Observation, SessionId, SessionSpec, Timestamp};

/// Gathers what a session's agent is told.
#[async_trait]
pub trait Memories: Send + Sync + 'static {
    /// The paths inside the workspace that are looked at.
    fn paths(&self, spec: &SessionSpec) -> Vec<String>;

    /// Gathers it. A bad file is a problem of its own and takes nothing from the others.
    ///
    /// # Errors
    /// In words, when nothing could be gathered at all.
    async fn gather(&self, request: MemoryRequest) -> Result<Remembered, String>;
}

/// What is there to gather from.
#[derive(Debug, Clone)]
pub struct MemoryRequest {
    /// The session.
    pub session: SessionId,
    /// What it was told.
    pub spec: Arc<SessionSpec>,
    /// What the organisation of the repository tells every agent, each by its path inside the organisation's own repository.
    pub organisation: Vec<Document>,
    /// The files found under [`Memories::paths`].
    pub documents: Vec<Document>,
    /// What the runtime says of itself.
    pub about: About,
}

/// What was gathered.
#[derive(Clone)]
pub struct Remembered {
    /// Answers.
    pub memory: Arc<dyn Memory>,
    /// The names of what is there, for the log.
    pub names: Vec<String>,
    /// Files that could not be read.
    pub problems: Vec<MemoryProblem>,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryProblem {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub why: String,
}

/// Answers what is asked of it.
pub trait Memory: Send + Sync + 'static {
    /// What there is to tell at `now`; a null observation when there is nothing. `said` are the names of the microagents that this
    /// session was told of before.
    fn recall(&self, recall: &Recall, said: &[String], now: Timestamp) -> Observation;
}
