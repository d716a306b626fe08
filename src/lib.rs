//! Rekindle: an event-sourced session engine for AI agents.
//!
//! Layers, each using only those above it in this list: [`session`] is pure; [`store`] keeps the log; [`projection`] folds it
//! into views; [`engine`] makes things happen; [`host`] is the real world behind the engine's ports; [`trajectory`] reads and
//! writes other systems' recordings.

pub mod session;

pub mod store;

pub mod engine;

#[cfg(feature = "host")]
pub mod host;
