//! The real world behind the engine's ports.

pub mod agent;
pub mod mcp;
pub mod memory;
pub mod policy;
pub mod private;
pub mod runtime;
pub mod secrets;
pub mod sinks;
pub mod snapshots;
pub mod workspace;
