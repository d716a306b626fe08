//! Layer 1 · pure: what a session is, what may be asked of it, what happened to it. No async, no clock, no I/O.

pub mod action;
mod decode;
mod encode;
pub mod envelope;
pub mod id;
pub mod item;
pub mod json;
mod lax;
mod message_text;
pub mod metrics;
pub mod observation;
mod python_literal;
mod python_repr;
pub mod time;
mod upcast;

pub use action::{Action, EffectClass};
pub use envelope::{Body, Kind, NewEvent, Recorded, Source};
pub use id::{Digest, Epoch, EventId, NodeId, Seq, SessionId, SessionName};
pub use item::{Content, ErrorKind, Item, ItemError};
pub use json::{Json, Object};
pub use metrics::Metrics;
pub use observation::{Extras, Observation};
pub use time::Timestamp;
