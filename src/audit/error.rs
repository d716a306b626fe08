//! What can go wrong with proofs, by what the caller can do about it.

use crate::engine::EngineError;
use crate::session::{Seq, SessionId};
use crate::store::StoreError;

/// Why something is no proof, or cannot be made one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A text that is no signed note.
    #[error("this is no signed note: {0}")]
    Note(&'static str),
    /// A text that is no key; it may be a secret one, so it is not repeated.
    #[error("this is no {kind} key: {why}")]
    Key {
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that no key may have.
    #[error("a key is named by a word without blanks, control characters and +, got {0:?}")]
    Name(String),
    /// A note without a signature of any key that is trusted.
    #[error("it is not signed with {wanted}; it bears {borne}")]
    Unsigned {
        /// The keys that are trusted.
        wanted: String,
        /// The signatures that are there.
        borne: String,
    },
    /// A signature that a trusted key did not make.
    #[error("the signature of {0} is forged, or what it signs was changed")]
    Forged(String),
    /// A note that is no checkpoint.
    #[error("this is no checkpoint: {0}")]
    Checkpoint(&'static str),
    /// The audit log is not what was written.
    #[error(
        "the audit log of the store is damaged at event {seq}: {what}; nothing was sealed, and a copy of the store may hold it whole"
    )]
    Damaged {
        /// The first event that is bad.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// Something else has taken the name of the audit log.
    #[error("event {0} of session rekindle.audit is none of an audit log, so the store cannot have one; nothing was sealed")]
    Occupied(Seq),
    /// The audit log of the store is another one than the key is of.
    #[error("the audit log of the store is {log}, and the key is one of {key}; nothing was sealed, so bring the key of {log}")]
    OtherLog {
        /// The origin of the log.
        log: String,
        /// The name of the key.
        key: String,
    },
    /// What a sink holds is no earlier state of the audit log: signing a new one would deny what was said.
    #[error("{sink} holds {what}, so nothing was sealed; `rekindle verify --against` it says what of the store was changed")]
    Inconsistent {
        /// The sink.
        sink: String,
        /// What it holds.
        what: String,
    },
    /// It is to be kept.
    #[error("{what} is not taken out of the log: {why}")]
    Kept {
        /// What was to be taken out.
        what: String,
        /// Why it is not, and the way out.
        why: String,
    },
    /// What was taken out is still there.
    #[error("{what} was taken out of the log, and {left}; doing it again may help")]
    Left {
        /// What was taken out.
        what: String,
        /// What is left of it.
        left: String,
    },
    /// The audit log could not be folded.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Others sealed at the same time, again and again.
    #[error("others seal this store all the time, so nothing was sealed here; try again")]
    Contended,
    /// A file that does not begin as a bundle does.
    #[error("this is no bundle: its first line is no header of the format {}", super::bundle::FORMAT)]
    NotABundle,
    /// Something of a session is not what was written, so that no proof of it would hold.
    #[error("session {session} is damaged{}: {what}", seq.map(|seq| format!(" at event {seq}")).unwrap_or_default())]
    BadSession {
        /// The session.
        session: SessionId,
        /// The first bad event; unset where what is wrong lies in no event.
        seq: Option<Seq>,
        /// What is wrong.
        what: String,
    },
    /// The events of a session are gone.
    #[error("session {0} was purged: what is left of it is its id and the hash of its last event")]
    Purged(SessionId),
    /// A file cannot be read or written.
    #[error("cannot read or write it")]
    Io(#[from] std::io::Error),
    /// The log could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
