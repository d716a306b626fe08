//! The real world behind the engine's ports.

pub mod agent;
pub mod mcp;
pub mod memory;
pub mod policy;
pub mod runtime;
pub mod secrets;
pub mod snapshots;
pub mod workspace;
