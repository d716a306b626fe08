//! Travelling through a session from the command line: `@N` on every command that reads, blame, bisect, replay --mode fold.

use serde_json::{Value, json};

use crate::cli_support::{Rig, recording};

/// Six events and a file: created, message, write and its outcome, a command and its outcome, the end, imported.
fn rig() -> Rig {
    let rig = Rig::new();
    let mut events = recording(&[("false", "", 1)]);
    let stamp = "2025-01-01T00:00:09.000001";
    let write = json!({"id": 10, "timestamp": stamp, "source": "agent", "action": "write",
        "args": {"path": "/workspace/src/a.txt", "content": "one\ntwo"}});
    let wrote = json!({"id": 11, "timestamp": stamp, "source": "agent", "cause": 10, "observation": "write", "content": "",
        "extras": {"path": "/workspace/src/a.txt"}});
    let list = events.as_array_mut().unwrap();
    list.splice(1..1, [write, wrote]);
    let file = rig.write("t.json", events.to_string());
    assert_eq!(rig.run(&["import", &file, "--name", "sample"]).code, 0);
    rig
}

fn seq_of(rig: &Rig, kind: &str) -> u64 {
    let all = rig.run(&["show", "sample", "--raw"]).out;
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["kind"] == kind).map(|event| event["seq"].as_u64().unwrap()).next().unwrap()
}

#[test]
fn every_command_that_reads_takes_a_place_in_the_past() {
    let rig = rig();
    assert_eq!(rig.json(&["state", "sample@3", "-o", "json"])["seq"], 3);
    assert_eq!(
        rig.json(&["state", "sample@-1", "-o", "json"])["state"]["version"],
        rig.json(&["ls", "-o", "json"])[0]["events"].as_u64().unwrap() - 1
    );
    assert_eq!(rig.run(&["show", "sample@3", "--events"]).out.lines().count(), 3);
    let verified = rig.json(&["verify", "sample@3", "-o", "json"]);
    assert_eq!((verified["ok"].as_bool(), verified["events"].as_u64()), (Some(true), Some(3)));
    assert_eq!(verified["hash"], rig.json(&["show", "sample:3", "-o", "json"])["hash"]);
    assert_eq!(rig.run(&["verify", "sample@3"]).code, 0);
    let after = rig.json(&["tail", "sample@3", "-o", "json"]);
    assert_eq!(after[0]["seq"], 4);
    assert_eq!(rig.json(&["tail", "sample@-0", "-o", "json"]), json!([]));
    let used = rig.json(&["usage", "sample@3", "-o", "json"]);
    assert_eq!((used["events"].as_u64(), used["actions"].as_u64(), used["messages"].as_u64()), (Some(3), Some(2), Some(1)));
    assert!(rig.run(&["usage", "sample"]).out.starts_with("EVENTS"));
    assert_eq!(rig.run(&["export", "sample@3"]).out.matches("\"action\"").count(), 2);
}

#[test]
fn a_place_that_makes_no_sense_is_refused_with_the_right_way() {
    let rig = rig();
    rig.run(&["close", "sample@3"]).assert_refused(2, &["not as it was", "sample alone"]);
    rig.run(&["tail", "sample:3"]).assert_refused(2, &["show sample:3", "tail sample --from 3"]);
    rig.run(&["tail", "sample@3", "--from", "2"]).assert_refused(2, &["--from"]);
    rig.run(&["verify", "sample:3"]).assert_refused(2, &["sample@3"]);
    rig.run(&["usage", "sample:3"]).assert_refused(2, &["sample@3"]);
    rig.run(&["state", "sample@99"]).assert_refused(3, &["99"]);
    rig.run(&["tail", "sample@99"]).assert_refused(3, &["99"]);
}

#[test]
fn a_part_of_the_state_is_blamed_on_an_event() {
    let rig = rig();
    let blamed = rig.json(&["blame", "sample", "/counts/messages", "-o", "json"]);
    assert_eq!(blamed["event"]["seq"], seq_of(&rig, "action.message"));
    assert_eq!((&blamed["old"], &blamed["new"]), (&json!(0), &json!(1)));
    assert_eq!(rig.json(&["blame", "sample", "counts.messages", "-o", "json"]), blamed);
    let text = rig.run(&["blame", "sample", "/counts/messages"]);
    assert!(text.out.contains("action.message") && text.out.contains("0 → 1"), "{text:?}");
    let early = rig.json(&["blame", "sample@1", "/phase", "-o", "json"]);
    assert_eq!(early["event"]["kind"], "session.created");
    let meant = rig.run(&["blame", "sample", "/messages"]);
    meant.assert_refused(3, &["no such part", "/counts/messages"]);
}

#[test]
fn a_file_and_a_line_of_it_are_blamed_on_events() {
    let rig = rig();
    let write = seq_of(&rig, "action.write");
    let lines = rig.json(&["blame", "sample", "src/a.txt", "-o", "json"]);
    assert_eq!(lines.as_array().unwrap().len(), 2);
    assert_eq!((&lines[1]["line"], &lines[1]["text"], &lines[1]["seq"]), (&json!(2), &json!("two"), &json!(write)));
    assert_eq!(lines[1]["kind"], "action.write");
    let one = rig.run(&["blame", "sample", "a.txt:2"]);
    assert_eq!((one.code, one.out.lines().count()), (0, 1), "{one:?}");
    assert!(one.out.contains("two") && one.out.trim_start().starts_with(&write.to_string()), "{one:?}");
    assert!(one.err.contains("1 command ran after event") && one.err.contains("none names it"), "{one:?}");
    rig.run(&["blame", "sample", "a.txt:9"]).assert_refused(3, &["no line 9"]);
    rig.run(&["blame", "sample", "b.txt"]).assert_refused(3, &["b.txt", "src/a.txt"]);
    rig.run(&["blame", "sample", "--file", "agent"]).assert_refused(3, &["touched no file"]);
    rig.run(&["blame", "sample@2", "a.txt"]).assert_refused(3, &["a.txt"]);
}

#[test]
fn the_first_event_after_which_something_holds_is_found() {
    let rig = rig();
    let outcome = seq_of(&rig, "action.run");
    let found = rig.json(&["bisect", "sample", "--bad", ".counts.actions >= 3", "-o", "json"]);
    assert_eq!((found["event"]["seq"].as_u64(), found["good"].as_u64()), (Some(outcome), Some(0)));
    let change = found["changes"].as_array().unwrap().iter().find(|change| change["path"] == "/counts/actions").unwrap();
    assert_eq!((&change["old"], &change["new"]), (&json!(2), &json!(3)));
    assert!(found["folds"].as_u64().unwrap() <= 6, "{found}");
    let text = rig.run(&["bisect", "sample", "--bad", ".counts.actions >= 3"]);
    assert!(text.out.contains("action.run") && text.out.contains("/counts/actions  2 → 3"), "{text:?}");
    assert!(text.err.contains("states of"), "{text:?}");
    rig.run(&["bisect", "sample", "--bad", "true"]).assert_refused(3, &["before its first event", "--good"]);
    rig.run(&["bisect", "sample", "--good", "4", "--bad", ".counts.messages > 0"]).assert_refused(3, &["after event 4 already"]);
    rig.run(&["bisect", "sample", "--bad", ".counts.errors > 7"]).assert_refused(3, &["does not hold", "--bad-at"]);
    rig.run(&["bisect", "sample", "--bad", ".counts.errors >"]).assert_refused(2, &["at the end", "term"]);
    rig.run(&["bisect", "sample", "--bad", ".title.x"]).assert_refused(1, &["cannot be asked", "?"]);
    rig.run(&["bisect", "sample", "--good", "5", "--bad-at", "3", "--bad", "true"]).assert_refused(2, &["--good 5"]);
    rig.run(&["bisect", "sample@3", "--bad-at", "3", "--bad", "true"]).assert_refused(2, &["--bad-at"]);
    rig.run(&["bisect", "sample", "--bad-at", "99", "--bad", "true"]).assert_refused(3, &["99"]);
}

#[test]
fn a_log_is_folded_again_and_compared_with_what_it_records() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    assert_eq!(rig.run(&["replay", &file, "--workspace", "w", "--name", "mine"]).code, 0);
    let found = rig.json(&["replay", "mine", "--mode", "fold", "-o", "json"]);
    assert_eq!((found["ok"].as_bool(), found["mismatches"].as_u64()), (Some(true), Some(0)));
    assert!(found["compared"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(found["digest"], rig.json(&["state", "mine", "-o", "json"])["digest"]);
    let text = rig.run(&["replay", "mine@5", "--mode", "fold"]);
    assert!(text.code == 0 && text.out.starts_with("same") && text.out.contains("5 events"), "{text:?}");
    let all = rig.json(&["replay", "--all", "--mode", "fold", "-o", "json"]);
    assert_eq!(all, json!([found]));
    rig.run(&["replay", "nobody", "--mode", "fold"]).assert_refused(3, &["nobody"]);
    rig.run(&["replay", "--all"]).assert_refused(2, &["--mode fold"]);
    assert_eq!(rig.run(&["replay", "--mode", "fold"]).code, 2);
}
