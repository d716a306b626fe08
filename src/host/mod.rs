//! The real world behind the engine's ports.

pub mod runtime;
