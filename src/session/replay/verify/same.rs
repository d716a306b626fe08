//! Whether a recorded event says what was decided: by what its body means, not by how it is written.

use serde_json::Value;

use super::super::Difference;
use crate::session::decide::Decided;
use crate::session::envelope::{Body, Recorded};
use crate::session::event::Event;
use crate::session::state::REDUCER;

/// How much of a differing value is shown, in characters.
const SHOWN_MAX: usize = 200;
/// How many differences of one event are told.
const DIFFERENCES_MAX: usize = 8;

/// Whether `recorded` says what was decided. A body that was taken out is whatever was decided.
pub(super) fn agrees(decided: &Decided, recorded: &Recorded) -> bool {
    same_envelope(decided, recorded) && same_body(decided, recorded)
}

/// The same for a log out of which something was taken, whose states are not the ones that were digested.
pub(super) fn agrees_in_part(decided: &Decided, recorded: &Recorded) -> bool {
    same_envelope(decided, recorded) && (recorded.kind.as_str() == "turn.ended" || same_body(decided, recorded))
}

fn same_envelope(decided: &Decided, recorded: &Recorded) -> bool {
    decided.event.kind() == recorded.kind && decided.source == recorded.source && decided.cause == recorded.cause
}

fn same_body(decided: &Decided, recorded: &Recorded) -> bool {
    let Body::Json(body) = &recorded.body else { return true };
    if *body == decided.body() {
        return true;
    }
    let (before, now) = bodies(decided, recorded);
    before == now
}

/// Both bodies as values: the recorded one as today's code reads it, so that a field that has a default may be left out, and without
/// what another fold made.
fn bodies(decided: &Decided, recorded: &Recorded) -> (Value, Value) {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (mut before, mut now) = (read(&Event::read(recorded).body()), read(decided.body()));
    // A digest of a state that another fold made says nothing of this one.
    if before.get("reducer").is_some_and(|reducer| reducer != REDUCER) {
        for body in [&mut before, &mut now] {
            if let Value::Object(fields) = body {
                fields.remove("reducer");
                fields.remove("digest");
            }
        }
    }
    (before, now)
}

/// In what the two differ.
pub(super) fn differences(decided: &Decided, recorded: &Recorded) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |field: &str, recorded: String, actual: String| {
        if recorded != actual {
            found.push(Difference { field: field.to_owned(), recorded: shorten(recorded), actual: shorten(actual) });
        }
    };
    let number = |cause: Option<crate::session::Seq>| cause.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
    differ("kind", recorded.kind.to_string(), decided.event.kind().to_string());
    differ("source", recorded.source.to_string(), decided.source.to_string());
    differ("cause", number(recorded.cause), number(decided.cause));
    if recorded.kind == decided.event.kind() && !same_body(decided, recorded) {
        let (before, now) = bodies(decided, recorded);
        values(&mut found, "", &before, &now);
    }
    found.truncate(DIFFERENCES_MAX);
    found
}

/// Walks both values down to where they differ; fields are named by their JSON pointers.
fn values(found: &mut Vec<Difference>, at: &str, before: &Value, now: &Value) {
    match (before, now) {
        _ if before == now => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                values(found, &format!("{at}/{key}"), a, b);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                values(found, &format!("{at}/{index}"), a, b);
            }
        }
        _ => {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let field = if at.is_empty() { "body" } else { at };
            found.push(Difference { field: field.to_owned(), recorded: shorten(text(before)), actual: shorten(text(now)) });
        }
    }
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
