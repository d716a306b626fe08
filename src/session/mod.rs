//! Layer 1 · pure: what a session is, what may be asked of it, what happened to it. No async, no clock, no I/O.

pub mod action;
pub mod envelope;
pub mod id;
pub mod item;
pub mod observation;
pub mod time;

pub use action::{Action, EffectClass};
pub use envelope::{Body, Kind, NewEvent, Recorded, Source};
pub use id::{Digest, Epoch, EventId, NodeId, Seq, SessionId, SessionName};
pub use item::{Content, Item};
pub use observation::{Extras, Observation};
pub use time::Timestamp;
