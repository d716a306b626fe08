//! Who judges actions before they run.

pub use crate::session::model::Judgement;
use crate::session::{Item, Risk, SecuritySpec};

/// Judges actions. Pure and quick: what it says goes into the log, and replay never asks again.
pub trait Judge: Send + Sync + 'static {
    /// How risky `action` is in the eyes of those whom `spec` names. `declared` is what the model says of it.
    fn judge(&self, spec: &SecuritySpec, action: &Item, declared: Option<Risk>) -> Judgement;
}
