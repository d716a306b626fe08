//! What can go wrong with proofs, by what the caller can do about it.

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
    /// The log could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}
