//! Layer 6 · proof: what a log says, shown to someone who does not trust whoever keeps it.

pub mod bundle;
pub mod checkpoint;
mod error;
mod intents;
mod judge;
mod leaf;
pub mod merkle;
pub mod note;
mod verdict;
mod verify;

pub use checkpoint::Checkpoint;
pub use error::AuditError;
pub use judge::{Judge, Judged};
pub use leaf::head_leaf;
pub use note::{Note, SignerKey, VerifierKey};
pub use verdict::{Verdict, Verdicts};
pub use verify::verify_session;
