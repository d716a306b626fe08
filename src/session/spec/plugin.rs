//! Scripts of the user's own that make a session's shell what they are used to.

use serde::{Deserialize, Serialize};

/// A script that is sourced in the session's shell each time that the session gets one: what it exports and which functions it
/// makes are there for every command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginSpec {
    /// What it is called.
    pub name: String,
    /// What it says, in the words of bash. It goes wherever the session's commands run.
    pub script: String,
}

impl PluginSpec {
    /// The longest script, in bytes.
    pub const SCRIPT_MAX: usize = 64 * 1024;
}
