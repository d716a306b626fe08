//! Who judges actions, and which a person must agree to.

use serde::{Deserialize, Serialize};

/// Who judges actions, and which a person must agree to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecuritySpec {
    /// Who judges; the highest risk that any of them sees counts. Nobody when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub analyzers: Vec<Analyzer>,
    /// Which actions a person must agree to before they run.
    pub confirmation: ConfirmationPolicy,
}

/// Somebody who judges actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Analyzer {
    /// Rules over the parsed command line.
    Rules,
    /// What the model itself says of each call.
    Model,
}

/// Which actions a person must agree to before they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationPolicy {
    /// None.
    #[default]
    Never,
    /// All that a runtime executes.
    Always,
    /// Those of at least this risk, and those whose risk nobody could tell.
    AtOrAbove(Risk),
}

/// How much harm an action could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nobody could tell.
    Unknown,
    /// Changes nothing that matters, or only the workspace.
    Low,
    /// Changes something outside the workspace, or does what cannot be seen from the command.
    Medium,
    /// Destroys, discloses, or takes rights.
    High,
}

impl Risk {
    /// V0's number: -1 unknown, 0 low, 1 medium, 2 high.
    pub const fn number(self) -> i64 {
        match self {
            Self::Unknown => -1,
            Self::Low => 0,
            Self::Medium => 1,
            Self::High => 2,
        }
    }

    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl std::fmt::Display for Risk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
