//! Layer 6 · proof: that a store's log is what it was, to someone who does not trust whoever keeps it.
//!
//! The audit log is a session of the store. A seal ([`seal`]) makes the heads of all sessions that changed leaves of a Merkle tree
//! ([`merkle`]), and signs its root: a checkpoint ([`checkpoint`]), which is a signed note ([`note`]). Checkpoints are published to sinks
//! outside of the store; a store is checked against them ([`against`]). What is taken out of the store is written down there, too
//! ([`Eraser`]).

pub mod against;
pub mod checkpoint;
mod erase;
mod error;
mod log;
pub mod merkle;
pub mod note;
mod publish;
pub mod seal;
pub mod text;

pub use checkpoint::Checkpoint;
pub use erase::{Eraser, Retention};
pub use error::AuditError;
pub use note::{Note, SignerKey, VerifierKey};
pub use publish::Outcome;
pub use seal::{Seal, Sealer, origin};
