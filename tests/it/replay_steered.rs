//! A replay is led: a session is performed again like a file, up to where it is wanted, held before actions, and reported on.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::cli_support::{Rig, Said, lines};

const THREE: [(&str, &str, i64); 3] =
    [("echo one >> /workspace/log", "", 0), ("echo two >> /workspace/log", "", 0), ("echo three >> /workspace/log", "", 0)];

/// Runs the program with these lines on standard input.
fn answering(rig: &Rig, args: &[&str], answers: &str) -> Said {
    let mut child = rig.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_session_is_performed_again_up_to_an_event() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &THREE);
    assert_eq!(rig.run(&["replay", &file, "--name", "first", "-w", "w"]).code, 0);
    let again = rig.run(&["replay", "first", "-w", "again"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(lines(&rig.path("again/log")), ["one", "two", "three"]);
    let events = rig.run(&["show", "first", "--raw"]).out;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let second = events.iter().filter(|event| event["kind"] == "action.run").nth(1).unwrap()["seq"].to_string();
    let part = rig.run(&["replay", "first", "--upto", &second, "-w", "part"]);
    assert_eq!(part.code, 0, "{part:?}");
    assert_eq!(lines(&rig.path("part/log")), ["one", "two"]);
    rig.run(&["replay", "first", "--upto", "9999"]).assert_refused(3, &["9999"]);
    rig.run(&["replay", &file, "--upto", "9999"]).assert_refused(3, &["9999"]);
}

#[test]
fn a_person_goes_on_skips_and_leaves_and_what_was_skipped_stands_in_the_log() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &THREE);
    let said = answering(&rig, &["replay", &file, "-w", "w", "--step"], "next\nwhat\nskip\ncontinue\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(lines(&rig.path("w/log")), ["one", "three"]);
    assert!(said.err.contains("is no answer") && said.out.contains("1 recorded, not run"), "{said:?}");
    assert!(rig.run(&["show", "@last"]).out.contains("skipped by a person"));
    assert_eq!(rig.run(&["replay", "@last", "--mode", "verify"]).code, 0);

    let left = answering(&rig, &["replay", &file, "-w", "left", "--break", "run"], "next\nquit\n");
    assert_eq!(left.code, 130, "{left:?}");
    assert_eq!(lines(&rig.path("left/log")), ["one"]);
    assert_eq!(rig.run(&["resume"]).code, 0);
    assert_eq!(lines(&rig.path("left/log")), ["one", "two", "three"], "nothing was begun when it was left");
    rig.run(&["replay", &file, "--break", "teleport"]).assert_refused(2, &["teleport"]);
}

#[test]
fn what_reaches_outside_is_taken_from_the_recording_or_asked_for() {
    let rig = Rig::new();
    let call = serde_json::json!([
        {"id": 1, "source": "agent", "action": "call_tool_mcp", "args": {"name": "pay", "arguments": {"sum": 5}}},
        {"id": 2, "cause": 1, "source": "agent", "observation": "mcp", "content": "paid", "extras": {}},
    ]);
    let file = rig.write("t.json", call.to_string());
    let said = rig.run(&["replay", &file, "-o", "json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["actions"][0]["run"], false, "{report}");
    assert_eq!(report["actions"][0]["actual"]["content"], "paid");
    rig.run(&["replay", &file, "--unsafe-local"]).assert_refused(2, &["--allow-effects"]);
    rig.run(&["replay", &file, "--network"]).assert_refused(2, &["--allow-effects"]);
}

#[test]
fn a_report_tells_each_action_and_its_page_needs_nothing_and_obeys_nothing() {
    let rig = Rig::new();
    let hostile = "<script>alert(1)</script><img src=http://example.com/x>";
    let file = rig.recording("t.json", &[(&format!("echo '{hostile}'"), "something else", 0), ("echo ok", "ok", 0)]);
    for name in ["r.json", "r.html"] {
        assert_eq!(rig.run(&["replay", &file, "--report", name]).code, 6);
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(rig.path("r.json")).unwrap()).unwrap();
    let actions = report["actions"].as_array().unwrap();
    assert_eq!(actions[0]["verdict"]["type"], "diverged");
    assert_eq!((&actions[1]["verdict"]["type"], &actions[1]["kind"]), (&"same".into(), &"action.run".into()));
    assert!(actions[0]["micros"].as_u64().is_some() && actions[0]["recorded"]["content"] == "something else", "{report}");
    let page = std::fs::read_to_string(rig.path("r.html")).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("something else"), "{page}");
    for outside in ["<script", "<img", "<link", "<iframe", " src=\"", " href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}: {page}");
    }
    rig.run(&["replay", &file, "--report", "r.txt"]).assert_refused(2, &[".html"]);
}
