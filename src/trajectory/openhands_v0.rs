//! The JSON list of events that OpenHands V0 saves and exports.

use chrono::{DateTime, NaiveDateTime};
use serde_json::value::RawValue;

use super::{Entry, Trajectory, TrajectoryError};
use crate::session::json::{DEPTH_MAX, Dict, depth};
use crate::session::{Kind, Source, Timestamp};

/// What Python's JSON writer puts out for floats that JSON cannot say.
const PYTHON_ONLY: &[&str] = &["NaN", "-Infinity", "Infinity"];

/// Fields that stood at the top level of an event in 2024, and stand in `args` or `extras` since.
const ONCE_AT_TOP: &[&str] = &[
    "agent_state",
    "browser_actions",
    "code",
    "command",
    "command_id",
    "error_id",
    "exit_code",
    "final_thought",
    "hidden",
    "image_urls",
    "images_urls",
    "is_confirmed",
    "keep_prompt",
    "outputs",
    "path",
    "thought",
    "url",
    "wait_for_response",
];

/// Reads a recording: a list of events, or the peer's answer `{"trajectory": […]}` around one.
///
/// # Errors
/// [`TrajectoryError`], when it cannot be a recording. Events that this version does not know are kept.
pub fn parse(text: &str) -> Result<Trajectory, TrajectoryError> {
    // Some editors put a byte order mark in front, which no JSON parser takes.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let whole = one_value(text)?;
    let list = unwrap_list(whole)?;
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|error| not_json(list.get(), &error))?;
    if elements.is_empty() {
        return Err(TrajectoryError::Empty);
    }
    let entries = elements.into_iter().enumerate().map(|(index, raw)| entry(index, raw)).collect::<Result<_, _>>()?;
    Ok(Trajectory { name: None, title: None, entries, damaged: Vec::new() })
}

/// Writes a recording, one event a line, each byte for byte as given.
pub fn write<'a>(entries: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for (index, entry) in entries.into_iter().enumerate() {
        json.push_str(if index > 0 { ",\n" } else { "\n" });
        json.push_str(entry);
    }
    json.push_str("\n]\n");
    json
}

/// Reads a moment as V0 writes it: with a zone, or without one and then taken for UTC.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let micros = match DateTime::parse_from_rfc3339(text) {
        Ok(moment) => moment.timestamp_micros(),
        Err(_) => text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok()?.and_utc().timestamp_micros(),
    };
    Some(Timestamp(micros))
}

/// Makes an entry of one element, if it can be an event at all.
pub(super) fn entry(index: usize, raw: &RawValue) -> Result<Entry, TrajectoryError> {
    let depth = depth(raw.get());
    if depth > DEPTH_MAX {
        return Err(TrajectoryError::TooDeep { index, depth });
    }
    let not_an_event = |found| TrajectoryError::NotAnEvent { index, found };
    if !raw.get().starts_with('{') {
        return Err(not_an_event(describe(raw)));
    }
    // Only a text that no Rust string can hold, half of a surrogate pair in a key, fails here.
    let top: Dict<&RawValue> = serde_json::from_str(raw.get()).map_err(|error| not_an_event(error.to_string()))?;
    let (family, tag, body) = match (top.get("action"), top.get("observation")) {
        (Some(tag), _) => ("action", tag, "args"),
        (None, Some(tag)) => ("observation", tag, "extras"),
        (None, None) => return Err(not_an_event(describe(raw))),
    };
    let is_old = |key: &str| ONCE_AT_TOP.contains(&key) || (key == "content" && body == "args");
    if top.get(body).is_none()
        && let Some((field, _)) = top.iter().find(|(key, _)| is_old(key))
    {
        return Err(TrajectoryError::OldShape { index, field: field.to_owned(), missing: body });
    }
    let text = |raw: &&RawValue| serde_json::from_str::<String>(raw.get()).ok();
    Ok(Entry {
        index,
        kind: Kind::new(format!("{family}.{}", text(tag).unwrap_or_else(|| tag.get().to_owned()))),
        source: top.get("source").and_then(text).and_then(|source| source.parse::<Source>().ok()),
        timestamp: top.get("timestamp").and_then(text).and_then(|moment| timestamp(&moment)),
        raw: raw.to_owned(),
    })
}

/// The one JSON value that `text` holds.
pub(super) fn one_value(text: &str) -> Result<&RawValue, TrajectoryError> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    if let Some(Ok(value)) = values.next() {
        let rest = text.get(values.byte_offset()..).unwrap_or_default();
        let next = rest.trim_start();
        if next.is_empty() {
            return Ok(value);
        }
        if value.get().starts_with('{') && next.starts_with('{') {
            let line = text.get(..text.len() - next.len()).unwrap_or_default().matches('\n').count() + 1;
            return Err(TrajectoryError::JsonLines { line });
        }
    }
    // Parsed once more as a whole for the error, which names the place.
    serde_json::from_str(text).map_err(|error| not_json(text, &error))
}

fn unwrap_list(whole: &RawValue) -> Result<&RawValue, TrajectoryError> {
    match whole.get().bytes().next() {
        Some(b'[') => Ok(whole),
        Some(b'{') => {
            let object: Dict<&RawValue> = serde_json::from_str(whole.get()).map_err(|error| not_json(whole.get(), &error))?;
            match object.get("trajectory") {
                Some(list) if list.get().starts_with('[') => Ok(list),
                Some(_) if object.get("error").is_some() => {
                    let error = object.get("error").map(|error| shortened(error.get())).unwrap_or_default();
                    Err(TrajectoryError::FailedExport { error })
                }
                Some(other) => Err(TrajectoryError::NotAList { found: format!("{} at `trajectory`", describe(other)) }),
                None if object.get("action").is_some() || object.get("observation").is_some() => {
                    Err(TrajectoryError::NotAList { found: "one single event".into() })
                }
                None => Err(TrajectoryError::NotAList { found: describe(whole) }),
            }
        }
        _ => Err(TrajectoryError::NotAList { found: describe(whole) }),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> TrajectoryError {
    let (line, column) = (error.line(), error.column());
    // The parser stops at the first or second byte of such a token.
    let bad_line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    for start in [column.saturating_sub(2), column.saturating_sub(1), column] {
        let rest = bad_line.get(start..).unwrap_or_default();
        if let Some(token) = PYTHON_ONLY.iter().find(|token| rest.starts_with(**token)) {
            return TrajectoryError::NotANumber { token, line, column: start + 1 };
        }
    }
    let why = error.to_string();
    let place = format!(" at line {line} column {column}");
    let why = if text.trim().is_empty() { "there is nothing in it" } else { why.strip_suffix(&place).unwrap_or(&why) };
    TrajectoryError::NotJson { line, column, why: why.to_owned() }
}

/// What a JSON value is, in words.
fn describe(raw: &RawValue) -> String {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'{') => {
            let object: Dict<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<_> = object.iter().take(6).map(|(key, _)| shortened(key)).collect();
            match (keys.as_slice(), object.len() - keys.len()) {
                ([], _) => "an empty object".into(),
                (keys, 0) => format!("an object with the keys {}", keys.join(", ")),
                (keys, more) => format!("an object with the keys {} and {more} more", keys.join(", ")),
            }
        }
        Some(b'[') => "a list".into(),
        Some(b'"') => format!("the text {}", shortened(text)),
        Some(b'n') => "null".into(),
        Some(b't' | b'f') => format!("the boolean {text}"),
        _ => format!("the number {}", shortened(text)),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_without_a_zone_are_utc() {
        for (text, micros) in [
            ("2025-06-10T12:00:00.000123", Some(1_749_556_800_000_123)),
            ("2025-06-10T12:00:00", Some(1_749_556_800_000_000)),
            ("2025-06-10 12:00:00", Some(1_749_556_800_000_000)),
            ("2025-06-10T14:00:00.5+02:00", Some(1_749_556_800_500_000)),
            ("2025-06-10T12:00:00Z", Some(1_749_556_800_000_000)),
            ("yesterday", None),
        ] {
            assert_eq!(timestamp(text), micros.map(Timestamp), "{text}");
        }
    }
}
