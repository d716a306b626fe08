//! Who judges actions before they run.

use serde::{Deserialize, Serialize};

use crate::session::{Item, Risk, SecuritySpec};

/// Judges actions. Pure and quick: what it says goes into the log, and replay never asks again.
pub trait Judge: Send + Sync + 'static {
    /// How risky `action` is in the eyes of those whom `spec` names. `declared` is what the model says of it.
    fn judge(&self, spec: &SecuritySpec, action: &Item, declared: Option<Risk>) -> Judgement;
}

/// What a judge says of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The highest risk that anybody saw.
    pub risk: Risk,
    /// Why, one line each, beginning with who says so and by which rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Who judged, with versions: `rules/1`, `model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}
