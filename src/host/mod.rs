//! The real world behind the engine's ports.

pub mod agent;
pub mod runtime;
