//! What the session's agent is told of the workspace.

use serde::{Deserialize, Serialize};

/// What the session's agent is told of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemorySpec {
    /// What is done about a microagent that cannot be read.
    pub on_bad_file: OnBadFile,
}

/// What is done about a microagent that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadFile {
    /// It is named in the log, and the others are told.
    #[default]
    Note,
    /// The session does not start.
    Fail,
}
