//! What events are found by does not change unnoticed: an index is only right for the words that it was made of.

use std::fmt::Write as _;
use std::path::Path;

use rekindle::session::searchable::{INDEX_VERSION, terms};
use rekindle::session::{Body, Digest, EventId, Kind, Recorded, Seq, SessionId, Source, Timestamp};
use uuid::Uuid;

#[derive(serde::Deserialize)]
struct Line<'a> {
    seq: Seq,
    kind: Kind,
    v: u16,
    source: Source,
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
}

fn read(line: &str) -> Recorded {
    let Line { seq, kind, v, source, body } = serde_json::from_str(line).unwrap();
    Recorded {
        session: SessionId::from_uuid(Uuid::nil()),
        seq,
        id: EventId::from_uuid(Uuid::nil()),
        kind,
        v,
        at: Timestamp(0),
        source,
        cause: None,
        must_understand: false,
        body: Body::Json(body.get().to_owned()),
    }
}

#[test]
fn whoever_changes_what_events_are_found_by_raises_the_version_of_the_index() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stored");
    let mut all = String::new();
    for name in ["session-1.jsonl", "agent-1.jsonl", "delegate-1.jsonl"] {
        for line in std::fs::read_to_string(folder.join(name)).unwrap().lines().skip(1) {
            let _ = writeln!(all, "{}", terms(&read(line)).unwrap_or_default());
        }
    }
    let digest = Digest::of(all.as_bytes()).to_string();
    // One line for each version of the index: its number, and the digest of all that the stored logs were found by.
    let known = std::fs::read_to_string(folder.with_file_name("search_index.txt")).unwrap();
    let line = format!("{INDEX_VERSION} {digest}");
    assert!(known.lines().any(|known| known == line), "raise INDEX_VERSION, and add the line of the new one: {line}");
}
