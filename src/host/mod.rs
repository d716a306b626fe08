//! The real world behind the engine's ports.

pub mod agent;
pub mod memory;
pub mod policy;
pub mod mcp;
pub mod runtime;
pub mod secrets;
pub mod workspace;
