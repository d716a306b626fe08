//! How a command ends: one table of exit codes, and the one place where an error becomes one.

use std::io;
use std::path::{Path, PathBuf};

use crate::audit::AuditError;
use crate::engine::ports::SnapshotError;
use crate::engine::{EngineError, FailedBy, Failure};
use crate::session::{Rejection, Seq, SessionId};
use crate::store::{OpenError, StoreError};
use crate::trajectory::TrajectoryError;

/// The exit codes, as they are documented for people.
pub const TABLE: &str = "  0    done
  1    failure
  2    usage
  3    not found: a session, an event, a file
  4    conflict, or owned by another process
  5    verification failed
  6    a replay diverged from its recording
  7    a restore could not be proven
  8    the store is unavailable
  130  interrupted";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It is not, for a reason that has no code of its own.
    Failure = 1,
    /// It was asked for in a way that cannot be understood.
    Usage = 2,
    /// There is no such session, event or file.
    NotFound = 3,
    /// Somebody else was first, or runs the session.
    Conflict = 4,
    /// The log is not what was written.
    Unverified = 5,
    /// An outcome is not the recorded one.
    Diverged = 6,
    /// The log does not prove the state that it should lead to.
    Unproven = 7,
    /// The store cannot be opened, read or written.
    StoreUnavailable = 8,
    /// A person stopped it.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for. Each message names the thing and the way out.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Asked for in a way that cannot be understood.
    #[error("{0}")]
    Usage(String),
    /// Nothing has that address.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else was first.
    #[error("{0}")]
    Conflict(String),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// A run ended before it was done; the session stays as it is.
    #[error("{}; go on with `{resume}`", failure.why)]
    Stopped {
        /// Why.
        failure: Failure,
        /// The command that goes on.
        resume: String,
    },
    /// The session has no such event.
    #[error("session {session} has no event {seq}; its last one is {head}")]
    PastTheEnd {
        /// The session.
        session: SessionId,
        /// What was asked for.
        seq: Seq,
        /// What there is.
        head: Seq,
    },
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is no proof, or cannot be made one.
    #[error(transparent)]
    Audit(AuditError),
    /// A recording that cannot be read.
    #[error("{}", recording(path, source))]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: TrajectoryError,
    },
    /// A file that cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Standard output is gone.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The code that it ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) | Self::PastTheEnd { .. } => Exit::NotFound,
            Self::Conflict(_) => Exit::Conflict,
            Self::Failed(_) => Exit::Failure,
            Self::Stopped { failure, .. } => match failure.by {
                FailedBy::Store => Exit::StoreUnavailable,
                FailedBy::Owner => Exit::Conflict,
                FailedBy::Worker => Exit::Failure,
            },
            Self::Engine(error) => of_engine(error),
            Self::Store(error) => of_store(error),
            Self::Audit(error) => of_audit(error),
            Self::Recording { source: TrajectoryError::Missing { .. }, .. } => Exit::NotFound,
            Self::Recording { .. } => Exit::Failure,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::File { .. } => Exit::Failure,
            // Whoever reads has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Output(_) => Exit::Failure,
        }
    }

    /// Whether nobody is left to be told.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The reason, with the file where the reason does not name it.
fn recording(path: &Path, source: &TrajectoryError) -> String {
    match source {
        TrajectoryError::Missing { .. }
        | TrajectoryError::Unreadable { .. }
        | TrajectoryError::NoEvents { .. }
        | TrajectoryError::AllDamaged { .. } => source.to_string(),
        _ => format!("{}: {source}", path.display()),
    }
}

fn of_engine(error: &EngineError) -> Exit {
    match error {
        EngineError::NotFound(_) | EngineError::Purged(_) | EngineError::Rejected(Rejection::Missing) => Exit::NotFound,
        EngineError::Rejected(Rejection::NotUnderstood(_)) | EngineError::Unproven { .. } => Exit::Unproven,
        EngineError::Rejected(_)
        | EngineError::OwnedElsewhere { .. }
        | EngineError::Unanswered { .. }
        | EngineError::LeaseLost => Exit::Conflict,
        EngineError::Store(error) => of_store(error),
        EngineError::SecretInSpec { .. } | EngineError::Instead(_) => Exit::Usage,
        EngineError::Snapshot(SnapshotError::Missing(_)) => Exit::NotFound,
        EngineError::Snapshot(SnapshotError::NotEmpty(_)) => Exit::Conflict,
        EngineError::Snapshot(_) | EngineError::Secrets(_) | EngineError::ShutDown => Exit::Failure,
    }
}

fn of_store(error: &StoreError) -> Exit {
    match error {
        StoreError::Open(OpenError::Address(_)) => Exit::Usage,
        StoreError::Conflict { .. } | StoreError::Fenced { .. } | StoreError::Moved { .. } => Exit::Conflict,
        StoreError::Ahead { .. } | StoreError::OtherStore => Exit::NotFound,
        StoreError::Damaged { .. } => Exit::Unverified,
        StoreError::Reused { .. } | StoreError::Invalid(_) | StoreError::Unsearchable => Exit::Failure,
        StoreError::Unknown(_)
        | StoreError::Poisoned(_)
        | StoreError::Full(_)
        | StoreError::Busy(_)
        | StoreError::ReadOnly(_)
        | StoreError::Open(_)
        | StoreError::NoKey { .. }
        | StoreError::Unavailable(_) => Exit::StoreUnavailable,
    }
}

fn of_audit(error: &AuditError) -> Exit {
    match error {
        AuditError::Store(error) => of_store(error),
        AuditError::Engine(error) => of_engine(error),
        AuditError::Contended | AuditError::Kept { .. } => Exit::Conflict,
        AuditError::Name(_) | AuditError::NotABundle => Exit::Usage,
        AuditError::Purged(_) => Exit::NotFound,
        AuditError::Damaged { .. }
        | AuditError::BadSession { .. }
        | AuditError::Inconsistent { .. }
        | AuditError::Forged(_)
        | AuditError::Unsigned { .. }
        | AuditError::Note(_)
        | AuditError::Checkpoint(_) => Exit::Unverified,
        AuditError::Left { .. }
        | AuditError::Key { .. }
        | AuditError::Io(_)
        | AuditError::Occupied(_)
        | AuditError::OtherLog { .. } => Exit::Failure,
    }
}

impl From<AuditError> for CliError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => Self::Store(error),
            AuditError::Engine(error) => Self::Engine(error),
            AuditError::Io(error) => Self::Output(error),
            other => Self::Audit(other),
        }
    }
}

/// An error and its causes in one line; a cause that its parent repeats is said once.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// The whole of an error for people: what it quotes from files and programs cannot drive their terminal.
pub fn told(error: &CliError) -> String {
    super::text::visible(&chain(error)).into_owned()
}
