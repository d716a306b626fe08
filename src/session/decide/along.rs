//! Deciding along a log that is there already: as long as it holds what is decided, its events are the ones that are folded in.

use std::sync::Arc;

use super::Decided;
use crate::session::envelope::Recorded;
use crate::session::event::Event;
use crate::session::state::Session;

/// Whether a recorded event says what was decided.
pub type Agrees = fn(&Decided, &Recorded) -> bool;

/// The events of a log from some place on.
#[derive(Debug, Clone)]
pub struct Along {
    events: Arc<[Recorded]>,
    next: usize,
    agrees: Agrees,
    /// Something else was decided than the log holds; it says nothing of what comes then.
    left: bool,
}

impl Along {
    /// These events from the one at `from` on; `agrees` says which of them say what was decided.
    pub const fn new(events: Arc<[Recorded]>, from: usize, agrees: Agrees) -> Self {
        Self { events, next: from, agrees, left: false }
    }

    /// The event of the log that says what was decided. Those before it that this version does not know are folded in.
    pub(super) fn next(&mut self, decided: &Decided, session: &mut Session) -> Option<Recorded> {
        if self.left {
            return None;
        }
        while let Some(event) = self.events.get(self.next)
            && is_foreign(event)
        {
            session.apply(event);
            self.next += 1;
        }
        let there = self.events.get(self.next).filter(|event| (self.agrees)(decided, event));
        self.next += 1;
        self.left = there.is_none();
        there.cloned()
    }
}

/// Whether an event is one that this version does not write: one of its own kinds that cannot be read is damaged.
pub fn is_foreign(event: &Recorded) -> bool {
    let own = event.v <= Event::VERSION && Event::KINDS.contains(&event.kind.as_str());
    !own && matches!(Event::read(event), Event::Unknown(_))
}
