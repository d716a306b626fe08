//! What there is after a repository was cloned or found.

use serde::Serialize;

use crate::session::Report;

/// A checkout, for the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Checkout {
    /// Where it is, as commands see it.
    pub(super) directory: String,
    pub(super) origin: String,
    /// Unset when no branch is checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
    /// Unset in a repository without commits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
    /// The branch that a fresh one began at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// Whether it was there before.
    pub(super) was_there: bool,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

impl Checkout {
    pub(super) fn report(&self) -> Report {
        Report(serde_json::to_value(self).unwrap_or_default())
    }
}
