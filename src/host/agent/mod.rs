//! Who decides: agents that ask a model.
//!
//! `history → chat → model → actions`: what happened becomes a conversation, a model answers, and its answer becomes actions.

mod actions;
mod arguments;
mod catalogue;
mod chat;
mod coder;
mod history;
mod metadata;
mod model;
mod prompt;
mod registry;
mod render;
mod summary;

pub(in crate::host) use catalogue::name as tool_name;
pub use model::{Pause, TokioPause};
pub use registry::{AgentRegistry, CODER};
