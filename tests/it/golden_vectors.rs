//! Events as V0's own code wrote and read them: the shared vectors, and our own for every type of the vocabulary.

use std::path::{Path, PathBuf};

use rekindle::session::{Item, Json};
use serde::Deserialize;

/// One event in both written forms.
#[derive(Deserialize)]
struct Written {
    name: String,
    dict: Json,
    trajectory: Json,
    #[serde(default)]
    with_screenshots: Option<Json>,
}

/// What a reader makes of an input.
#[derive(Deserialize)]
struct Read {
    r#in: Json,
    #[serde(default)]
    ok: Option<Json>,
    #[serde(default)]
    error: Option<String>,
}

fn shared(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/trajectories")).join(file)
}

fn own(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(file)
}

fn lines<T: for<'de> Deserialize<'de>>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{} is needed: {error}", path.display()));
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `Json` compares the text without white space first; unlike its equality this also sees the order of keys.
#[track_caller]
fn assert_same_text(what: &str, got: &str, wanted: &Json) {
    let got: Json = serde_json::from_str(got).unwrap();
    assert_eq!(got.get(), wanted.get(), "{what}");
}

fn check_written(path: &Path) -> usize {
    let vectors: Vec<Written> = lines(path);
    for Written { name, dict, trajectory, with_screenshots } in &vectors {
        let item = Item::decode(dict.get()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same_text(name, &item.encode(), dict);
        assert_same_text(name, &item.encode_trajectory(false), trajectory);
        if let Some(with_screenshots) = with_screenshots {
            assert_same_text(name, &item.encode_trajectory(true), with_screenshots);
        }
    }
    vectors.len()
}

fn check_read(path: &Path) -> usize {
    let vectors: Vec<Read> = lines(path);
    for Read { r#in, ok, error } in &vectors {
        match (Item::decode(r#in.get()), ok, error) {
            (Ok(item), Some(ok), None) => assert_same_text(r#in.get(), &item.encode(), ok),
            (Err(got), None, Some(wanted)) => assert_eq!(got.kind().as_str(), wanted, "{}: {got}", r#in.get()),
            (got, _, _) => panic!("{}: {got:?}", r#in.get()),
        }
    }
    vectors.len()
}

#[test]
fn what_v0_wrote_is_read_and_written_again_the_same() {
    assert!(check_written(&shared("golden/events.jsonl")) > 0);
}

#[test]
fn what_older_versions_wrote_is_read_as_v0_reads_it() {
    assert!(check_read(&shared("golden/upgrade.jsonl")) > 0);
}

#[test]
fn our_own_vectors_hold_every_type() {
    check_written(&own("events.jsonl"));
    let mut tags: Vec<String> = lines::<Written>(&own("events.jsonl"))
        .iter()
        .map(|w| Item::decode(w.dict.get()).unwrap().content.kind().to_string())
        .collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 21 + 19, "{tags:?}");
}

#[test]
fn our_own_old_forms_are_read_as_v0_reads_them() {
    assert!(check_read(&own("upgrade.jsonl")) > 0);
}

#[test]
fn every_error_says_what_is_wrong_and_where() {
    for (input, wanted) in [
        (r#"{"action":"run","args":{"command":"ls","bogus":1}}"#, "wrong args of action `run`: unknown field `bogus`"),
        (
            r#"{"action":"run","args":{"command":5}}"#,
            "wrong args of action `run`: command: invalid type: integer `5`, expected a string",
        ),
        (r#"{"action":"run","args":{}}"#, "wrong args of action `run`: missing field `command`"),
        (r#"{"action":"run","args":[]}"#, "wrong args of action `run`: args: invalid type: sequence, expected an object"),
        (r#"{"action":"fly"}"#, "unknown action `fly`"),
        (r#"{"action":7}"#, "unknown action 7"),
        (r#"{"observation":"fly"}"#, "unknown observation `fly`"),
        (r#"{"a":1,"b":2}"#, "an event is an object with an `action` or an `observation`, got one with the keys a, b"),
        ("[1]", "an event is an object with an `action` or an `observation`, got [1]"),
        ("{\"a\"", "not json: EOF while parsing an object at line 1 column 4"),
        (r#"{"action":"null","source":"robot"}"#, "invalid `source`: a source is user, agent or environment, got \"robot\""),
        (r#"{"action":"null","tool_call_metadata":3}"#, "wrong type of `tool_call_metadata`: expected an object, got 3"),
    ] {
        let error = Item::decode(input).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{input}: {error}");
    }
}
