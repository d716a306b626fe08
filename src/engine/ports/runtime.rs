//! Where a session's actions run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::SecretValue;
use crate::session::{
    Action, Digest, Epoch, Observation, PluginSpec, Report, RepositorySpec, RuntimeSpec, Sandbox, Seq, SessionId, SessionSpec,
};

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

    /// As [`execute`](Self::execute), for an action that has a key. A runtime that remembers what it was handed answers a key that it
    /// knows with what came of it, and executes nothing twice.
    ///
    /// # Errors
    /// [`RuntimeError::Lost`] when the runtime itself is gone, or does not know any more what came of the action.
    async fn execute_keyed(&self, key: ActionKey, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        let _ = key;
        self.execute(action, timeout).await
    }

    /// Takes a step of the start that happens where the actions run.
    ///
    /// # Errors
    /// [`RuntimeError::Failed`] with what went wrong and the way out, when the step failed; [`RuntimeError::Unavailable`] when it is
    /// not known here.
    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        Err(RuntimeError::Unavailable(format!("this runtime cannot {preparation}")))
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

    /// What an agent should know of this place.
    fn about(&self) -> About {
        About::default()
    }

    /// Ends everything that runs here. Idempotent.
    ///
    /// # Errors
    /// [`RuntimeError::Unavailable`] when something could not be ended.
    async fn release(&self) -> Result<(), RuntimeError>;
}

/// What an action is known by, whoever hands it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionKey {
    /// Where it stands in the log of its session.
    pub action: Seq,
    /// Which try this is. After the first one it may have been handed out already.
    pub attempt: u32,
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
    /// The key that the runtime asks for.
    pub key: Option<SecretValue>,
    /// The last event of the session so far: an action before it can have been handed out before.
    pub version: Seq,
    /// How long making it may take.
    pub within: Duration,
}

/// How long making a runtime may take where nobody says.
const PROVISION_WAIT: Duration = Duration::from_secs(60);

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
            key: None,
            version: Seq::ZERO,
            within: PROVISION_WAIT,
        }
    }
}

/// A step of the start that happens where the actions run.
#[derive(Debug, Clone)]
pub enum Preparation {
    /// Clone a repository into the workspace, with this token, or attach to its checkout that is there; the shell goes there.
    Repository {
        /// The session, after which a fresh branch is named.
        session: SessionId,
        /// What to clone.
        repository: RepositorySpec,
        /// Only git sees it, and only for the server of the repository.
        token: Option<SecretValue>,
    },
    /// Read the microagents that the owner of a repository keeps for all agents, with the same token. Reported are the repository, the
    /// commit and the files, each with `path` and `text`; where there is no such repository, or nobody is let in, that is skipped.
    Organisation {
        /// The session.
        session: SessionId,
        /// Where they are kept.
        repository: RepositorySpec,
        /// Only git sees it, and only for the server of the repository.
        token: Option<SecretValue>,
        /// How long it may take.
        within: Duration,
    },
    /// Run the project's own `.openhands/setup.sh` in the session's shell. That it fails is reported, and no error.
    SetupScript {
        /// Where the project is, as commands see it.
        directory: String,
        /// How long it may take.
        within: Duration,
    },
    /// Source a script of the user's own in the session's shell. That it fails is an error.
    Plugin {
        /// The script.
        plugin: PluginSpec,
        /// How long it may take.
        within: Duration,
    },
    /// Install the project's `.openhands/pre-commit.sh`, keeping a hook that is there.
    GitHooks {
        /// Where the project is, as commands see it.
        directory: String,
    },
}

impl std::fmt::Display for Preparation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Repository { .. } => "clone a repository",
            Self::Organisation { .. } => "read an organisation's microagents",
            Self::SetupScript { .. } => "run a setup script",
            Self::Plugin { .. } => "source a plugin",
            Self::GitHooks { .. } => "install git hooks",
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Where it is, from the workspace on.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// What an agent should know of the place where its actions run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Where web servers that are started here are reached from outside: address and port.
    pub web_hosts: BTreeMap<String, u16>,
    /// What else it should know.
    pub instructions: String,
}

/// Where commands find the session's workspace: the path that recordings name.
pub const WORKSPACE: &str = "/workspace";

/// Where commands find what the session works on: its repository, else the workspace.
pub fn project(spec: &SessionSpec) -> String {
    match spec.repository.as_ref().and_then(RepositorySpec::directory) {
        Some(name) => format!("{WORKSPACE}/{name}"),
        None => WORKSPACE.to_owned(),
    }
}

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
    /// What keeps commands from the rest of the machine; unset by runtimes that are elsewhere, and by versions that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
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

/// What keeps commands from the rest of the machine, and what could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// Which one.
    pub kind: Sandbox,
    /// The version of Landlock that holds; unset where it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<u32>,
    /// Whether commands may open connections.
    pub network: bool,
    /// What holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enforced: Vec<Guard>,
    /// What does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Gap>,
}

/// A guard that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which one.
    pub guard: Guard,
    /// Why not.
    pub why: String,
}

/// One thing that a sandbox keeps commands from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Writing outside of the workspace and of directories of the session's own.
    Writes,
    /// Changing modes, owners and times of files elsewhere.
    Attributes,
    /// Reading the home, other users' files and the machine's secrets.
    Reads,
    /// Finding what others put into `/tmp`, and leaving something there.
    Temporary,
    /// TCP connections to anything but the session's own servers.
    Tcp,
    /// All else that goes over a network.
    Network,
    /// Sockets of the machine's own services.
    Sockets,
    /// Seeing processes that are not the session's.
    Processes,
    /// Signalling and tracing them.
    Signals,
    /// Reading and writing the terminals of others.
    Terminals,
    /// What only root may do to the whole machine.
    Privileges,
}

impl Guard {
    /// A few words for people: what is shut.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Writes => "writing outside of the workspace",
            Self::Attributes => "changing modes and owners elsewhere",
            Self::Reads => "reading the home and the machine's secrets",
            Self::Temporary => "the machine's /tmp",
            Self::Tcp => "TCP connections",
            Self::Network => "all other network",
            Self::Sockets => "sockets of the machine's services",
            Self::Processes => "seeing other processes",
            Self::Signals => "signalling and tracing other processes",
            Self::Terminals => "other terminals",
            Self::Privileges => "root's power over the machine",
        }
    }
}

/// What can go wrong with a runtime itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// It cannot be had, or could not be ended; trying again may help.
    #[error("the runtime is unavailable: {0}")]
    Unavailable(String),
    /// What was asked of it could not be done.
    #[error("{0}")]
    Failed(String),
    /// It is gone, and what it was doing may or may not have happened.
    #[error("the runtime was lost: {0}")]
    Lost(String),
}
