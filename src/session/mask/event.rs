//! What of an event is hidden: everything but what the log itself needs to stay readable.

use super::json::Place;
use super::{HIDDEN, Masker};
use crate::session::envelope::{Body, Kind, Recorded, Source};
use crate::session::event::Event;
use crate::session::id::{EventId, Seq, SessionId};
use crate::session::observation::Observation;
use crate::session::spec::SessionSpec;
use crate::session::time::Timestamp;
use crate::session::{Content, Item};

/// What of a session's spec the session itself is run by. A value in it would be missed, so that it is refused, not hidden.
const OPERATIVE: [&str; 6] = ["workspace", "agent", "repository", "secrets", "mcp", "runtime"];
/// The same, as it stands in `session.created`.
const KEPT: [&[&str]; 6] = [
    &["spec", "workspace"],
    &["spec", "agent"],
    &["spec", "repository"],
    &["spec", "secrets"],
    &["spec", "mcp"],
    &["spec", "runtime"],
];

/// The parts of a spec that a session is run by, each by its key and as JSON.
pub fn operative(spec: &SessionSpec) -> Vec<(&'static str, String)> {
    let whole = serde_json::to_value(spec).unwrap_or_default();
    let part = |key: &&'static str| whole.get(*key).map(|part| (*key, part.to_string()));
    OPERATIVE.iter().filter_map(part).collect()
}

impl Masker {
    /// An event without values, and its body; `None` when there are none in it.
    pub fn event(&self, event: &Event, body: &str) -> Option<(Event, String)> {
        let kind = event.kind();
        let place = Place {
            kept: if kind.as_str() == "session.created" { &KEPT } else { &[] },
            cut: (kind.family() == "observation").then_some("content"),
        };
        let hidden = self.json(body, place, |body| read(&kind, body).map(|event| event.body().matches(HIDDEN).count()))?;
        let event = read(&kind, &hidden).unwrap_or(Event::Unknown(kind));
        Some((event, hidden))
    }

    /// An observation without values; `None` when there are none in it.
    pub fn observation(&self, observation: &Observation) -> Option<Observation> {
        let event = Event::Item(Box::new(crate::session::Entry::new(Item::from(observation.clone()))));
        match self.event(&event, &event.body())?.0 {
            Event::Item(entry) => match entry.item.content {
                Content::Observation(hidden) => Some(hidden),
                Content::Action(_) => None,
            },
            _ => None,
        }
    }
}

/// Reads a body as the log will.
fn read(kind: &Kind, body: &str) -> Option<Event> {
    let recorded = Recorded {
        session: SessionId::from_uuid(uuid::Uuid::nil()),
        seq: Seq::ZERO,
        id: EventId::from_uuid(uuid::Uuid::nil()),
        kind: kind.clone(),
        v: Event::VERSION,
        at: Timestamp(0),
        source: Source::Environment,
        cause: None,
        must_understand: false,
        body: Body::Json(body.to_owned()),
    };
    match Event::read(&recorded) {
        Event::Unknown(_) => None,
        event => Some(event),
    }
}
