//! What can go wrong with an engine, by what the caller can do about it.

use super::ownership::describe;
use super::ports::{SecretError, SnapshotError};
use crate::session::decide::Refused;
use crate::session::{NodeId, Rejection, Seq, SessionId};
use crate::store::StoreError;

/// The outcome of an engine operation that did not work out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no such session.
    #[error("there is no session {0}; the store's list of sessions has those that there are")]
    NotFound(SessionId),
    /// The session's state does not allow it. Nothing was appended.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Another process that lives runs the session.
    #[error("session {session} is run by {}; stop that one, or wait for it to end", describe(address))]
    OwnedElsewhere {
        /// The session.
        session: SessionId,
        /// Who runs it.
        node: NodeId,
        /// Where that is.
        address: String,
    },
    /// Another process took a command for a session that it runs, and has not said what came of it.
    #[error(
        "session {session} is run by {}, which has not said what came of the command; look at the session before asking again",
        describe(address)
    )]
    Unanswered {
        /// The session.
        session: SessionId,
        /// Who runs it.
        node: NodeId,
        /// Where that is.
        address: String,
    },
    /// The lease of this process may have passed, so that others may run its sessions now.
    #[error(
        "the lease of this process could not be renewed, so it begins nothing more; another process goes on with its sessions"
    )]
    LeaseLost,
    /// The session's events were purged; there is nothing to restore.
    #[error("session {0} was purged: what is left of it is its id and the hash of its last event")]
    Purged(SessionId),
    /// The log does not prove the state that it should lead to. Reading stays possible; nothing was performed.
    #[error(
        "session {session} cannot be restored past event {}: {what}; nothing was run, and the log was left as it is, to be read and exported",
        seq.0.saturating_sub(1)
    )]
    Unproven {
        /// The session.
        session: SessionId,
        /// The first event that is bad.
        seq: Seq,
        /// What is wrong.
        what: String,
    },
    /// The engine was shut down.
    #[error("the engine is shut down; its sessions go on in another one on the same store")]
    ShutDown,
    /// It cannot be told what must be hidden, so that nothing was written and nothing begun.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// A part of what the session is to be run by holds the value of a secret. It would stand in the log, or be missed.
    #[error(
        "the session's {part} holds the value of the secret {secret}, which the log may not hold; name the secret there instead, or give it \
         another value if it is met by chance"
    )]
    SecretInSpec {
        /// Which part.
        part: &'static str,
        /// Whose value.
        secret: String,
    },
    /// A snapshot of the workspace could not be read, or the workspace itself.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Something cannot be put in the place of an event. Nothing was forked.
    #[error(transparent)]
    Instead(#[from] Refused),
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
