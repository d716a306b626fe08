//! What the read commands print: shapes that programs can rely on, and text that cannot drive a terminal.

use serde_json::Value;

use crate::cli_support::{Rig, recording};

fn rig() -> Rig {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0), ("false", "", 1)]);
    assert_eq!(rig.run(&["import", &file, "--name", "sample"]).code, 0);
    rig
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn ndjson(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lists_have_one_shape_in_json_and_ndjson() {
    let rig = rig();
    let list = rig.json(&["ls", "-o", "json"]);
    let row = &list[0];
    for key in
        ["id", "name", "state", "origin", "title", "events", "hash", "due", "created_at", "updated_at", "actions", "messages"]
    {
        assert!(keys(row).contains(&key), "{key}: {row}");
    }
    assert_eq!(&ndjson(&rig.run(&["ls", "-o", "ndjson"]).out)[0], row);
    let table = rig.run(&["ls"]).out;
    assert!(table.starts_with("ID") && table.contains("sample") && table.contains("imported"), "{table}");
}

#[test]
fn an_event_shows_its_envelope_and_its_body() {
    let rig = rig();
    let event = rig.json(&["show", "sample:3", "-o", "json"]);
    assert_eq!((event["seq"].as_u64(), event["kind"].as_str()), (Some(3), Some("action.run")));
    assert_eq!(event["body"]["args"]["command"], "echo hello");
    let wanted = ["session", "seq", "id", "kind", "v", "at", "source", "cause", "must_understand", "redacted", "hash", "body"];
    assert!(wanted.iter().all(|key| keys(&event).contains(key)), "{event}");
    let text = rig.run(&["show", "sample:3"]).out;
    assert!(text.contains("action.run") && text.contains("\"command\": \"echo hello\""), "{text}");
    assert_eq!(rig.json(&["show", "sample:3..4", "-o", "json"]).as_array().unwrap().len(), 2);
    let raw = ndjson(&rig.run(&["show", "sample", "--raw"]).out);
    let seqs: Vec<u64> = raw.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=raw.len() as u64).collect::<Vec<_>>());
    assert_eq!(rig.run(&["show", "sample", "--events"]).out.lines().count(), raw.len());
}

#[test]
fn a_conversation_shows_who_said_and_did_what() {
    let rig = rig();
    let text = rig.run(&["show", "sample"]).out;
    for word in ["user", "Do it.", "$ echo hello", "hello", "exit 1", "Done."] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let early = rig.run(&["show", "sample@3"]).out;
    assert!(early.contains("echo hello") && !early.contains("Done."), "{early}");
    let entries = rig.json(&["show", "sample", "-o", "json"]);
    assert_eq!(entries[0]["said"]["type"], "message");
    assert_eq!(entries[1]["said"]["outcome"]["text"], "hello");
}

#[test]
fn the_state_after_any_event_has_the_digest_of_its_bytes() {
    let rig = rig();
    let out = rig.run(&["state", "@last@4", "-o", "ndjson"]).out;
    let state: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((state["seq"].as_u64(), state["reducer"].as_str()), (Some(4), Some("session/1")));
    let (_, bytes) = out.trim_end().split_once("\"state\":").unwrap();
    let bytes = &bytes[..bytes.len() - 1];
    assert_eq!(rekindle::session::Digest::of(bytes.as_bytes()).to_string(), state["digest"].as_str().unwrap());
    assert!(rig.run(&["state", "sample@-1"]).out.contains("event 7 "));
}

#[test]
fn the_end_of_a_log_is_tailed_and_followed() {
    let rig = rig();
    assert_eq!(rig.run(&["tail", "-n", "2"]).out.lines().count(), 2);
    assert_eq!(rig.json(&["tail", "sample", "--from", "7", "-o", "json"]).as_array().unwrap().len(), 2);
    let mut follow = rig.spawn(&["tail", "sample", "-f", "--from", "1", "-o", "ndjson"]);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    let seen: Vec<Value> = lines.take(8).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(seen.last().unwrap()["kind"], "session.imported");
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn following_a_session_ends_when_it_is_closed() {
    let rig = rig();
    let follow = rig.spawn(&["tail", "sample", "-f", "-o", "ndjson"]);
    assert_eq!(rig.run(&["close", "sample"]).code, 0);
    let followed = follow.wait_with_output().unwrap();
    assert!(followed.status.success());
    assert_eq!(ndjson(&String::from_utf8(followed.stdout).unwrap()).last().unwrap()["kind"], "session.closed");
    assert_eq!(rig.run(&["tail", "sample", "-f"]).code, 0, "nor is a closed one waited for");
}

#[test]
fn steps_and_doctor_have_json_too() {
    let rig = rig();
    let steps = rig.json(&["show", "sample", "--steps", "-o", "json"]);
    assert_eq!(steps["origin"], "import");
    let said = rig.json(&["show", "sample", "-o", "json"]);
    for moment in [&steps["created_at"], &said[0]["at"]] {
        assert!(moment.as_str().is_some_and(|moment| moment.starts_with("20") && moment.ends_with('Z')), "{moment}");
    }
    let verified = rig.json(&["verify", "sample", "-o", "json"]);
    assert_eq!(verified["ok"], true);
    assert_eq!(rig.json(&["verify", "--all", "-o", "json"])[0]["ok"], true);
    let findings = rig.json(&["doctor", "--deep", "-o", "json"]);
    let checks: Vec<&str> = findings.as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    for check in ["store", "format", "database", "size", "disk", "left", "logs", "runtime"] {
        assert!(checks.contains(&check), "{check}: {checks:?}");
    }
}

#[test]
fn recorded_text_cannot_drive_a_terminal_and_json_keeps_it() {
    let rig = Rig::new();
    let hostile = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\u{202e}";
    let mut events = recording(&[("echo", hostile, 0)]);
    events[0]["args"]["content"] = Value::from(hostile);
    let file = rig.write("t.json", events.to_string());
    assert_eq!(rig.run(&["import", &file]).code, 0);
    for args in [&["show"][..], &["show", "--events"], &["show", "@last:2"], &["ls"], &["tail"], &["state"], &["show", "--full"]]
    {
        let said = rig.run(args);
        let text = said.out + &said.err;
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r', '\u{202e}']), "{args:?}: {text:?}");
    }
    let event = rig.json(&["show", "@last:2", "-o", "json"]);
    assert_eq!(event["body"]["args"]["content"], hostile);
}

#[test]
fn colour_is_for_those_who_want_it() {
    let rig = rig();
    assert!(!rig.run(&["show"]).out.contains('\u{1b}'));
    assert!(rig.run(&["show", "--color", "always"]).out.contains('\u{1b}'));
    let output = rig.command(&["show"]).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").output().unwrap();
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn long_texts_are_shortened_with_a_way_to_see_all() {
    let rig = Rig::new();
    let long: String = (0..100).map(|n| format!("line {n}\n")).collect();
    let file = rig.recording("t.json", &[("seq", &long, 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let short = rig.run(&["show"]).out;
    assert!(short.contains("84 more lines") && !short.contains("line 99") && short.contains("--full"), "{short}");
    assert!(rig.run(&["show", "--full"]).out.contains("line 99"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let rig = Rig::new();
    let long: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let file = rig.recording("t.json", &[("seq", &long, 0)]);
    assert_eq!(rig.run(&["import", &file]).code, 0);
    let mut child = rig.spawn(&["show", "--full"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn shells_and_manuals_are_served() {
    let rig = rig();
    assert!(rig.run(&["completions", "bash"]).out.contains("complete"));
    let offered = rig
        .command(&["--", "rekindle", "show", "sam"])
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "2")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(offered.stdout).unwrap().trim(), "sample");
    let page = rig.run(&["man"]).out;
    assert!(page.contains(".SH EXIT CODES") && page.contains("could not be proven"), "{page}");
    assert_eq!(rig.run(&["man", "--dir", "pages"]).code, 0);
    assert!(rig.path("pages/rekindle-replay.1").exists());
}
