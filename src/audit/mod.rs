//! Layer 6 · proof: that a store's log is what it was, to someone who does not trust whoever keeps it.

pub mod checkpoint;
mod error;
pub mod merkle;
pub mod note;

pub use checkpoint::Checkpoint;
pub use error::AuditError;
pub use note::{Note, SignerKey, VerifierKey};
