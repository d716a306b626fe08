//! Places where a session's actions run.

pub mod local;
