//! What is imported comes out as it went in; what is run comes out as a recording that can be replayed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli_support::{Rig, recording};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_export_of_an_import_is_its_source() {
    let rig = Rig::new();
    let mut events = recording(&[("echo hello", "hello", 0)]);
    let list = events.as_array_mut().unwrap();
    list[1]["field_of_tomorrow"] = serde_json::json!({"deep": [1, 2.50, null]});
    list.push(serde_json::json!({"id": 700, "source": "agent", "action": "teleport to", "args": {"far": true}}));
    let source = serde_json::to_string_pretty(&events).unwrap();
    let file = rig.write("t.json", &source);
    let said = rig.run(&["import", &file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("teleport"), "unknown kinds are named: {said:?}");
    let export = rig.run(&["export", "@last", "--to", "openhands-v0"]);
    assert_eq!(value(&export.out), value(&source));
    assert_eq!(rig.run(&["export", "@last", "--output", "out.json"]).code, 0);
    assert_eq!(fs::read_to_string(rig.path("out.json")).unwrap(), export.out);
    assert_eq!(rig.run(&["verify"]).code, 0);
}

#[test]
fn the_same_recording_is_imported_once() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    let first = rig.json(&["import", &file, "-o", "json"]);
    let again = rig.json(&["import", &file, "-o", "json"]);
    assert_eq!(first["session"], again["session"]);
    assert_eq!((first["already"].as_u64(), again["already"].as_u64()), (Some(0), Some(4)));
    assert_eq!(rig.json(&["ls", "-o", "json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_session_directory_is_imported_under_its_name_and_what_is_damaged_is_named() {
    let rig = Rig::new();
    fs::create_dir_all(rig.path("my-session/events")).unwrap();
    fs::write(rig.path("my-session/agent_state.pkl"), "gASVnever").unwrap();
    let events = recording(&[("echo hello", "hello", 0)]);
    for (event, id) in events.as_array().unwrap().iter().zip([0, 1, 5, 6]) {
        fs::write(rig.path(&format!("my-session/events/{id}.json")), event.to_string()).unwrap();
    }
    fs::write(rig.path("my-session/events/3.json"), "{\"id\": 3, \"sou").unwrap();
    let said = rig.run(&["import", "my-session"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("3.json"), "{said:?}");
    let export = rig.run(&["export", "my-session"]);
    assert_eq!(value(&export.out), events);
    assert!(export.err.contains("3.json"), "an export says what it lacks: {export:?}");
}

#[test]
fn another_recording_does_not_take_a_name() {
    let rig = Rig::new();
    let one = rig.recording("1.json", &[("true", "", 0)]);
    let two = rig.recording("2.json", &[("false", "", 1)]);
    assert_eq!(rig.run(&["import", &one, "--name", "x"]).code, 0);
    rig.run(&["import", &two, "--name", "x"]).assert_refused(4, &["--name"]);
}

#[test]
fn an_export_of_a_replay_can_be_replayed() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0), ("false", "", 1)]);
    assert_eq!(rig.run(&["replay", &file]).code, 0);
    assert_eq!(rig.run(&["export", "@last", "--output", "again.json"]).code, 0);
    let again = rig.run(&["replay", "again.json", "-o", "json"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(value(&again.out)["verdicts"]["same"], 2);
}

#[test]
fn real_recordings_survive_the_round_trip() {
    let shared = Path::new("/work/shared/trajectories");
    for name in ["basic.json", "basic_interactions.json", "pony_parser_49.json", "wrong_initial_state.json"] {
        let file = shared.join(name);
        let Ok(source) = fs::read_to_string(&file) else {
            continue;
        };
        let rig = Rig::new();
        assert_eq!(rig.run(&["import", &file.display().to_string()]).code, 0, "{name}");
        assert_eq!(value(&rig.run(&["export", "@last"]).out), value(&source), "{name}");
        assert_eq!(rig.run(&["verify"]).code, 0, "{name}");
    }
}
