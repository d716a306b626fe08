//! Who judges actions before they run.

pub use crate::session::model::Judgement;
use crate::session::{Item, Risk, SecuritySpec};

/// Judges actions. Pure and quick: what it says goes into the log, and replay never asks again.
pub trait Judge: Send + Sync + 'static {
    /// How risky the action is in the eyes of those whom the spec names.
    fn judge(&self, question: Question<'_>) -> Judgement;
}

/// An action, and what is known beside it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who judges.
    pub spec: &'a SecuritySpec,
    /// The action.
    pub action: &'a Item,
    /// What the model says of it.
    pub declared: Option<Risk>,
    /// Where the session's shell stands, as commands see it; unset before the first command.
    pub directory: Option<&'a str>,
    /// What was decided before it in the same answer, and will have run by then.
    pub before: &'a [Item],
}
