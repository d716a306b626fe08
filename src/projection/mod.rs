//! Layer 3 · views folded from the log. Each can be dropped and rebuilt; the log cannot.

pub mod directory;
pub mod lifecycle;
pub mod transcript;
pub mod usage;

use crate::session::Recorded;

/// A view that is folded from the events of one session, in order.
pub trait Projection {
    /// Folds one event in.
    fn apply(&mut self, event: &Recorded);

    /// Folds all of them in.
    fn fold<'a>(mut self, events: impl IntoIterator<Item = &'a Recorded>) -> Self
    where
        Self: Sized,
    {
        for event in events {
            self.apply(event);
        }
        self
    }
}
