//! What is no recording is refused in one sentence; what is one in spite of its faults is read.

use std::fs;
use std::path::Path;

use rekindle::trajectory::{Trajectory, TrajectoryError, parse, read_file};

const EVENT: &str = r#"{"action":"null","args":{}}"#;

/// The message for `text`, which must be one sentence without a full stop.
#[track_caller]
fn refused(text: &str) -> String {
    let message = parse(text).unwrap_err().to_string();
    assert!(!message.contains('\n') && !message.ends_with('.') && message.len() < 400, "{message}");
    message
}

#[track_caller]
fn assert_refused(text: &str, wanted: &[&str]) {
    let message = refused(text);
    for part in wanted {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

fn shared(file: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/trajectories")).join(file)
}

#[test]
fn a_missing_path_is_named() {
    let error = read_file(Path::new("/nowhere/x.json")).unwrap_err();
    assert!(matches!(error, TrajectoryError::Missing { .. }));
    assert!(error.to_string().starts_with("/nowhere/x.json does not exist; "));
}

#[test]
fn a_directory_without_events_is_named() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(read_file(directory.path()), Err(TrajectoryError::NoEvents { .. })));
    fs::create_dir(directory.path().join("events")).unwrap();
    assert!(matches!(read_file(directory.path()), Err(TrajectoryError::NoEvents { .. })));
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.json");
    fs::write(&file, b"[\"\xff\"]").unwrap();
    assert!(matches!(read_file(&file), Err(TrajectoryError::NotUtf8 { at: 2 })));
}

#[test]
fn text_that_is_no_json_is_refused_with_its_place() {
    assert_refused("", &["not json", "there is nothing in it"]);
    assert_refused("[\n{\"action\": }]", &["not json at line 2 column 12", "expected value"]);
    assert_refused(&format!("[{EVENT}"), &["not json at line 1", "EOF"]);
    assert_refused(&format!("[{EVENT},]"), &["not json at line 1", "expected value"]);
    assert_refused(&format!("[{EVENT}] x"), &["not json at line 1", "trailing characters"]);
    assert_refused(&format!("[{EVENT}]\n[{EVENT}]"), &["not json at line 2", "trailing characters"]);
    assert_refused(&format!("{EVENT}\n{EVENT}\n"), &["several json values", "line 2", "jq -s"]);
}

#[test]
fn python_only_numbers_are_called_by_their_name() {
    for token in ["NaN", "Infinity", "-Infinity"] {
        let text = format!("[\n{{\"action\":\"null\",\"args\":{{\"x\": [1, {token}]}}}}]");
        assert_refused(&text, &[&format!("{token} at line 2 column 35 "), "null"]);
    }
}

#[test]
fn json_of_another_shape_is_refused_by_what_it_is() {
    for (text, wanted) in [
        ("{}", "an empty object"),
        (r#"{"a":1,"b":2}"#, "an object with the keys a, b"),
        (EVENT, "one single event"),
        ("\"x\"", "the text \"x\""),
        ("1.5", "the number 1.5"),
        ("null", "null"),
        (r#"{"trajectory":{}}"#, "an empty object at `trajectory`"),
    ] {
        assert_refused(text, &[&format!("a recording is a list of events, this is {wanted};")]);
    }
    assert_refused(r#"{"trajectory":null,"error":"no runtime"}"#, &["\"no runtime\"", "export the session again"]);
    assert_refused("[]", &["empty list"]);
    assert_refused(r#"{"trajectory":[]}"#, &["empty list"]);
}

#[test]
fn an_element_that_is_no_event_is_refused_with_its_index() {
    for (element, wanted) in [("1", "the number 1"), ("[]", "a list"), ("{}", "an empty object"), (r#"{"id":1}"#, "the keys id")]
    {
        assert_refused(&format!("[{EVENT},{element}]"), &["element 1 (from 0) is", wanted]);
    }
}

#[test]
fn the_shape_of_2024_is_refused_by_its_name() {
    let error = read_file(&shared("old_2024_shape.json")).unwrap_err();
    assert!(matches!(error, TrajectoryError::OldShape { index: 0, .. }), "{error}");
    assert_refused(r#"[{"observation":"run","content":"","exit_code":0,"command":"ls"}]"#, &["2024", "`exit_code`", "`extras`"]);
}

#[test]
fn nesting_too_deep_to_read_is_refused_and_not_followed() {
    for levels in [200, 500_000] {
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_refused(&format!(r#"[{{"action":"null","args":{deep}}}]"#), &["element 0 (from 0) is nested", "levels deep"]);
    }
    assert!(matches!(parse(&"[".repeat(500_000)), Err(TrajectoryError::NotJson { .. })));
}

#[test]
fn the_peers_answer_around_a_list_is_unwrapped() {
    let trajectory = parse(&format!("\u{feff}{{\"trajectory\":[{EVENT}]}}")).unwrap();
    assert_eq!(trajectory.entries[0].raw(), EVENT);
}

#[test]
fn an_unknown_tag_is_kept() {
    let unknown = r#"{"action":"fly","args":{"height":1.50},"later":true}"#;
    let trajectory = parse(&format!("[{unknown},{EVENT}]")).unwrap();
    assert_eq!(trajectory.entries[0].kind().as_str(), "action.fly");
    assert_eq!(trajectory.entries[0].raw(), unknown);
    assert_eq!(trajectory.entries[0].item().unwrap_err().to_string(), "unknown action `fly`");
    assert!(trajectory.to_json().contains(unknown));
}

#[test]
fn wrong_arguments_and_half_characters_are_kept() {
    for raw in [r#"{"action":"run","args":{"bogus":1}}"#, r#"{"observation":"error","content":"\ud800"}"#, r#"{"action":5}"#] {
        let trajectory = parse(&format!("[{raw}]")).unwrap();
        assert_eq!(trajectory.entries[0].raw(), raw);
        assert!(trajectory.entries[0].item().is_err());
    }
}

#[test]
fn a_field_of_100_mb_is_read() {
    let text = format!(r#"[{{"observation":"success","content":"{}"}}]"#, "x".repeat(100 << 20));
    let trajectory = parse(&text).unwrap();
    assert_eq!(trajectory.entries[0].raw().len(), text.len() - 2);
}

fn session_directory(files: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let session = directory.path().join("my-session");
    fs::create_dir_all(session.join("events")).unwrap();
    for (name, text) in files {
        fs::write(session.join(name), text).unwrap();
    }
    (directory, session)
}

fn contents(trajectory: &Trajectory) -> Vec<&str> {
    trajectory.entries.iter().map(|entry| entry.raw()).collect()
}

#[test]
fn a_session_directory_is_read_in_the_order_of_its_numbers() {
    let event = |n| format!(r#"{{"id":{n},"action":"null","args":{{}}}}"#);
    let (first, second, tenth) = (event(0), event(2), event(10));
    let (_guard, session) = session_directory(&[
        ("events/10.json", &tenth),
        ("events/2.json", &second),
        ("events/0.json", &first),
        ("events/notes.json", "no event"),
        ("events/3.json.tmp", "no event"),
        ("agent_state.pkl", "no pickle"),
        ("metadata.json", r#"{"title":"Fizz"}"#),
    ]);
    for path in [session.clone(), session.join("events"), session.join("events/../.")] {
        let trajectory = read_file(&path).unwrap();
        assert_eq!(contents(&trajectory), [&first, &second, &tenth]);
        assert_eq!(trajectory.name.as_ref().map(|name| name.as_str()), Some("my-session"));
        assert_eq!(trajectory.title.as_deref(), Some("Fizz"));
        assert_eq!(trajectory.damaged, []);
    }
}

#[test]
fn a_damaged_file_is_named_and_the_rest_is_read() {
    let (_guard, session) = session_directory(&[
        ("events/0.json", EVENT),
        ("events/1.json", ""),
        ("events/2.json", "{\"action\": \"ru"),
        ("events/3.json", "{\"id\": 3}"),
        ("events/4.json", EVENT),
        ("metadata.json", "damaged"),
    ]);
    let trajectory = read_file(&session).unwrap();
    assert_eq!(contents(&trajectory), [EVENT, EVENT]);
    assert_eq!(trajectory.entries[1].index(), 1);
    let damaged: Vec<_> = trajectory.damaged.iter().map(|damaged| format!("{}: {}", damaged.file, damaged.why)).collect();
    assert_eq!(
        damaged,
        [
            "1.json: empty, as after a crash while it was written",
            "2.json: not json at line 1 column 14: EOF while parsing a string",
            "3.json: no event but an object with the keys id",
        ]
    );
}

#[test]
fn a_directory_of_damage_only_is_refused() {
    let (_guard, session) = session_directory(&[("events/0.json", ""), ("events/1.json", "")]);
    assert!(matches!(read_file(&session), Err(TrajectoryError::AllDamaged { count: 2, .. })));
}
