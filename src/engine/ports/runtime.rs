//! Where a session's actions run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::SecretValue;
use crate::session::{Action, Digest, Epoch, Observation, Report, RepositorySpec, RuntimeSpec, SessionId};

/// Makes runtimes: places where a session's actions run.
#[async_trait]
pub trait Runtimes: Send + Sync + 'static {
    /// Makes a runtime, or attaches to the one of the same name.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when it cannot be had; nothing is left behind then.
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError>;
}

/// Executes the actions of one session, one at a time.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Executes `action` and returns what came of it, at the latest a little after `timeout`.
    ///
    /// Everything that an action can do wrong (a failing command, a missing file, a timeout, an action that this runtime does not
    /// support) is an observation, not an error.
    ///
    /// # Errors
    /// [`RuntimeError::Lost`] when the runtime itself is gone, so that the outcome is unknown.
    async fn execute(&self, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError>;

    /// Takes a step of the start that happens where the actions run. What is not known here is skipped, but a repository, without
    /// which there is nothing to work on.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] with what went wrong, when the step failed or is not known here.
    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        let cannot = format!("this runtime cannot {preparation}");
        match preparation {
            Preparation::Repository { .. } => Err(RuntimeError::Unavailable(cannot)),
            Preparation::SetupScript | Preparation::GitHooks => Ok(Prepared::Skipped(cannot)),
        }
    }

    /// Reads the text files under these paths, each a file or a directory inside the workspace: at most `limit` bytes in all.
    /// What is not there is left out; what is no UTF-8 is read as far as it is.
    ///
    /// # Errors
    /// [`RuntimeError::Lost`] when the runtime is gone.
    async fn documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        let _ = (paths, limit);
        Ok(Vec::new())
    }

    /// Ends everything that runs here. Idempotent.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when something could not be ended.
    async fn release(&self) -> Result<(), RuntimeError>;
}

/// How long an action may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout {
    /// After this the program is interrupted, then killed.
    pub hard: Duration,
    /// After this long without new output a non-blocking command is left running and reported as such.
    pub quiet: Duration,
}

/// What a session needs of its runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// The session.
    pub session: SessionId,
    /// The chain hash of its first event, which tells two sessions of one id in two stores apart.
    pub birth: Digest,
    /// A name derived from session, step and attempt, so that a retry attaches instead of duplicating.
    pub name: String,
    /// The owner's epoch; a runtime refuses lower ones than it has seen.
    pub epoch: Epoch,
    /// The directory that the session works in; made when it is missing. Commands find it at [`WORKSPACE`].
    pub workspace: PathBuf,
    /// Where the shell begins, as commands see it; [`WORKSPACE`] when unset or gone.
    pub directory: Option<String>,
    /// What kind of runtime is asked for.
    pub runtime: RuntimeSpec,
    /// What commands find in their environment.
    pub environment: Vec<SecretValue>,
}

impl Provision {
    /// The default runtime of this machine, with nothing in its environment.
    pub fn new(session: SessionId, birth: Digest, name: impl Into<String>, epoch: Epoch, workspace: impl Into<PathBuf>) -> Self {
        Self {
            session,
            birth,
            name: name.into(),
            epoch,
            workspace: workspace.into(),
            directory: None,
            runtime: RuntimeSpec::default(),
            environment: Vec::new(),
        }
    }
}

/// A step of the start that happens where the actions run.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Clone a repository into the workspace, with this token.
    Repository {
        /// What to clone.
        repository: RepositorySpec,
        /// Only git sees it, and only for the server of the repository.
        token: Option<SecretValue>,
    },
    /// Run the repository's own `.openhands/setup.sh`.
    SetupScript,
    /// Install the repository's `.openhands/pre-commit.sh`, keeping a hook that is there.
    GitHooks,
}

impl std::fmt::Display for Preparation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Repository { .. } => "clone a repository",
            Self::SetupScript => "run a setup script",
            Self::GitHooks => "install git hooks",
        })
    }
}

/// What came of a preparation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// It is done; what there is now, for the log.
    Done(Report),
    /// There was nothing to do, and why.
    Skipped(String),
}

/// A text file of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it is, from the workspace on.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// Where commands find the session's workspace: the path that recordings name.
pub const WORKSPACE: &str = "/workspace";

/// A runtime and what it is.
#[derive(Clone)]
pub struct Provisioned {
    /// Executes.
    pub runtime: Arc<dyn Runtime>,
    /// Goes into the log.
    pub report: RuntimeReport,
}

/// What a runtime says about itself, for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeReport {
    /// Which runtime: `local`.
    pub runtime: String,
    /// The directory on this machine.
    pub workspace: PathBuf,
    /// How commands find it at `/workspace`.
    pub mount: Mount,
    /// How everything that was started is ended, also when the engine is killed.
    pub containment: Containment,
    /// What a person should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How commands find the workspace at `/workspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mount {
    /// It is mounted there, in a mount namespace of the session's own.
    Namespace,
    /// The path is replaced in commands and paths, and put back in what they print.
    PathMapping,
}

/// How processes are kept from outliving their session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    /// A PID namespace: the kernel ends all of them with its first process.
    PidNamespace,
    /// A watchdog ends all that carry the session's mark in their environment.
    Watchdog,
}

/// What can go wrong with a runtime itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// It cannot be had, or could not be ended; trying again may help.
    #[error("the runtime is unavailable: {0}")]
    Unavailable(String),
    /// It is gone, and what it was doing may or may not have happened.
    #[error("the runtime was lost: {0}")]
    Lost(String),
}
