//! From a session's events to a V0 recording: what was imported byte for byte, what happened here in V0's exported form.

use crate::session::event::Imported;
use crate::session::{Body, Event, Origin, Recorded, Seq, Timestamp};

/// Makes entries of a V0 recording of one session's events, in order.
#[derive(Debug, Default)]
pub struct Exporter {
    imported: bool,
    missing: Vec<Seq>,
}

impl Exporter {
    /// The entry that `event` is in the recording; `None` for what V0 has no entry for.
    pub fn entry(&mut self, event: &Recorded) -> Option<String> {
        if event.kind.as_str() == "session.created"
            && let Event::Created(created) = Event::read(event)
        {
            self.imported = matches!(created.spec.origin, Origin::Import { .. });
            return None;
        }
        if !matches!(event.kind.family(), "action" | "observation") || Event::KINDS.contains(&event.kind.as_str()) {
            return None;
        }
        if event.body == Body::Redacted {
            self.missing.push(event.seq);
            return None;
        }
        if self.imported {
            return Some(event.body.as_json().to_owned());
        }
        let Event::Item(entry) = Event::read(event) else {
            self.missing.push(event.seq);
            return None;
        };
        let mut item = entry.item;
        item.id = id(event.seq);
        item.cause = event.cause.and_then(id);
        item.source = Some(event.source);
        item.timestamp = Some(timestamp(event.at));
        Some(item.encode_trajectory(true))
    }

    /// Events that should be in the recording and cannot be: redacted or unreadable.
    pub fn missing(&self) -> &[Seq] {
        &self.missing
    }

    /// How many files of the source were damaged when it was imported, when `event` is the end of an import.
    pub fn damaged_at_import(event: &Recorded) -> Vec<String> {
        match (event.kind.as_str(), Event::read(event)) {
            ("session.imported", Event::Imported(Imported { damaged, .. })) => damaged,
            _ => Vec::new(),
        }
    }
}

fn id(seq: Seq) -> Option<i64> {
    i64::try_from(seq.0).ok()
}

/// V0's form: without a zone, which here is UTC.
fn timestamp(at: Timestamp) -> String {
    at.to_utc().map_or_else(|| at.to_string(), |moment| moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
}
