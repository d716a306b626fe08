//! What client and server of a remote runtime say to each other.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Sha256;
use uuid::Uuid;

use crate::engine::ports::{Document, Preparation, Provision, RuntimeReport, SecretValue};
use crate::session::{Digest, Epoch, PluginSpec, Report, RepositorySpec, Seq, SessionId};

/// The variable that the server finds its key in.
pub const API_KEY_VARIABLE: &str = "REKINDLE_RUNTIME_KEY";
/// Carries the key, as the peer names it.
pub(super) const KEY_HEADER: &str = "x-session-api-key";
/// Carries the owner's epoch.
pub(super) const EPOCH_HEADER: &str = "x-rekindle-epoch";
/// Carries which of the session's runtimes is meant: one that was made anew knows nothing of the shell of the one before.
pub(super) const RUNTIME_HEADER: &str = "x-rekindle-runtime";
/// The most that a request may hold, in bytes.
pub(super) const REQUEST_MAX: usize = 32 * 1024 * 1024;
/// The most that an answer may hold, in bytes.
pub(super) const ANSWER_MAX: usize = 32 * 1024 * 1024;
/// The longest that one request waits for an answer.
pub(super) const WAIT_MAX_MS: u64 = 30_000;

/// Where a session is found: its id, and the beginning of the chain hash of its first event.
pub(super) fn place(session: SessionId, birth: Digest) -> String {
    format!("{session}-{}", birth.short())
}

/// Shows to whoever asks with `challenge` that the key is known, without telling it: in hexadecimal digits.
pub fn proof(key: &str, challenge: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    mac.update(b"rekindle-runtime-alive:");
    mac.update(challenge.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks for a session's runtime, or for the one that is there already.
#[derive(Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) session: SessionId,
    pub(super) birth: Digest,
    pub(super) epoch: Epoch,
    /// The last event of the session so far.
    pub(super) version: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) environment: Vec<Secret>,
    pub(super) within_ms: u64,
}

impl Opening {
    pub(super) fn of(request: &Provision) -> Self {
        Self {
            session: request.session,
            birth: request.birth,
            epoch: request.epoch,
            version: request.version,
            directory: request.directory.clone(),
            environment: request.environment.iter().cloned().map(Secret::from).collect(),
            within_ms: u64::try_from(request.within.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A runtime is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    /// Which one; said with each request.
    pub(super) runtime: Uuid,
    /// After this long without a request everything ends.
    pub(super) owner_timeout_ms: u64,
    pub(super) report: RuntimeReport,
}

/// A secret on its way.
#[derive(Serialize, Deserialize)]
pub(super) struct Secret {
    name: String,
    value: String,
}

impl From<SecretValue> for Secret {
    fn from(secret: SecretValue) -> Self {
        Self { name: secret.name, value: secret.value }
    }
}

impl From<Secret> for SecretValue {
    fn from(secret: Secret) -> Self {
        Self { name: secret.name, value: secret.value }
    }
}

/// Something is handed over.
#[derive(Serialize, Deserialize)]
pub(super) struct Handed {
    /// Where the action stands in its session's log; unset for what is no action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<Seq>,
    /// Whether it can have been handed over before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) again: bool,
    pub(super) task: Task,
}

/// What is to be done.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Task {
    /// Execute an action, in the form in which V0 stores it.
    Action { action: Box<RawValue>, hard_ms: u64, quiet_ms: u64 },
    /// Take a step of the start.
    Prepare(Prepare),
}

/// A step of the start.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Prepare {
    Repository { session: SessionId, repository: RepositorySpec, token: Option<Secret> },
    Organisation { session: SessionId, repository: RepositorySpec, token: Option<Secret>, within_ms: u64 },
    SetupScript { directory: String, within_ms: u64 },
    Plugin { plugin: PluginSpec, within_ms: u64 },
    GitHooks { directory: String },
}

impl From<Preparation> for Prepare {
    fn from(preparation: Preparation) -> Self {
        match preparation {
            Preparation::Repository { session, repository, token } => {
                Self::Repository { session, repository, token: token.map(Secret::from) }
            }
            Preparation::Organisation { session, repository, token, within } => Self::Organisation {
                session,
                repository,
                token: token.map(Secret::from),
                within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            },
            Preparation::SetupScript { directory, within } => {
                Self::SetupScript { directory, within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) }
            }
            Preparation::Plugin { plugin, within } => {
                Self::Plugin { plugin, within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) }
            }
            Preparation::GitHooks { directory } => Self::GitHooks { directory },
        }
    }
}

impl From<Prepare> for Preparation {
    fn from(prepare: Prepare) -> Self {
        match prepare {
            Prepare::Repository { session, repository, token } => {
                Self::Repository { session, repository, token: token.map(SecretValue::from) }
            }
            Prepare::Organisation { session, repository, token, within_ms } => Self::Organisation {
                session,
                repository,
                token: token.map(SecretValue::from),
                within: Duration::from_millis(within_ms),
            },
            Prepare::SetupScript { directory, within_ms } => {
                Self::SetupScript { directory, within: Duration::from_millis(within_ms) }
            }
            Prepare::Plugin { plugin, within_ms } => Self::Plugin { plugin, within: Duration::from_millis(within_ms) },
            Prepare::GitHooks { directory } => Self::GitHooks { directory },
        }
    }
}

/// What came of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// An observation, in the form in which V0 stores it.
    Observed(Box<RawValue>),
    /// A preparation is done.
    Done(Report),
    /// There was nothing to prepare.
    Skipped(String),
    /// It was not done.
    Failed(String),
    /// It was not done, since the runtime could not be had.
    Unavailable(String),
    /// Nobody knows.
    Lost(String),
}

/// Which files are wanted.
#[derive(Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) paths: Vec<String>,
    pub(super) limit: u64,
}

/// A text file.
#[derive(Serialize, Deserialize)]
pub(super) struct File {
    path: String,
    text: String,
}

impl From<Document> for File {
    fn from(document: Document) -> Self {
        Self { path: document.path, text: document.text }
    }
}

impl From<File> for Document {
    fn from(file: File) -> Self {
        Self { path: file.path, text: file.text }
    }
}

/// Why something was refused, in the peer's form.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Detail {
    pub(super) detail: String,
}

/// That somebody is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Alive {
    pub(super) status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
}
