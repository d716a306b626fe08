//! Layer 6 · proof: what a log says, and that it is what it was, to someone who does not trust whoever keeps it.
//!
//! The audit log is a session of the store. A seal ([`seal`]) makes the heads of all sessions that changed leaves of a Merkle tree
//! ([`merkle`]), and signs its root: a checkpoint ([`checkpoint`]), which is a signed note ([`note`]). Checkpoints are published to sinks
//! outside of the store; a store is checked against them ([`against`]). One session is judged by itself ([`verify_session`]), also in a
//! file that it left its store in ([`bundle`]). What is taken out of a store is written down in its audit log, too ([`Eraser`]), and who
//! reads it, where the store says so ([`Recorder`]). What auditors ask of a period is answered from all of that ([`report`]).

mod access;
pub mod against;
pub mod bundle;
pub mod checkpoint;
mod erase;
mod error;
mod intents;
mod judge;
mod log;
pub mod merkle;
pub mod note;
mod publish;
mod recorder;
pub mod report;
mod scribe;
pub mod seal;
pub mod text;
mod verdict;
mod verify;

pub use access::{AccessLedger, is_access_recorded, set_access_recorded};
pub use checkpoint::Checkpoint;
pub use erase::{Eraser, Retention};
pub use error::AuditError;
pub use judge::{Judge, Judged};
pub use note::{Note, SignerKey, VerifierKey};
pub use publish::Outcome;
pub use recorder::Recorder;
pub use seal::{Seal, Sealer, last_key, origin};
pub use verdict::{Verdict, Verdicts};
pub use verify::verify_session;
