//! Layer 3 · views folded from the log. Each can be dropped and rebuilt; the log cannot.

pub mod activity;
pub mod catch_up;
pub mod compare;
pub mod directory;
pub mod file_blame;
mod fold;
pub mod lag;
pub mod lifecycle;
pub mod part;
pub mod search;
pub mod spending;
pub mod steps;
pub mod transcript;
pub mod usage;
pub mod visible;

use serde::Serializer;

use crate::session::{Recorded, Timestamp};

/// Writes a moment as people and other programs read it, in RFC 3339; a `Timestamp` of its own writes the number that is stored.
///
/// # Errors
/// Those of the serializer.
pub fn moment<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

/// The same where there may be none.
///
/// # Errors
/// Those of the serializer.
pub fn moment_if_any<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => moment(at, serializer),
        None => serializer.serialize_none(),
    }
}

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
