//! A replay from the command line is performed, compared, told, and survives being killed.

use std::io::Read as _;

use crate::cli_support::{Rig, lines, wait_until};

#[test]
fn every_action_is_performed_and_compared() {
    let rig = Rig::new();
    let file = rig.recording(
        "t.json",
        &[("echo hello", "hello", 0), ("cd /workspace && echo x > made && exit_code() { return 3; }; exit_code", "", 3)],
    );
    let said = rig.run(&["replay", &file, "--workspace", "w", "--name", "first"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("performed  4 of 4") && said.out.contains("2 same") && said.out.contains("finished"), "{said:?}");
    assert!(said.err.starts_with("session ") && said.err.contains("(first)"), "a killed run can be named: {said:?}");
    assert_eq!(lines(&rig.path("w/made")), ["x"]);
    let row = &rig.json(&["ls", "-o", "json"])[0];
    assert_eq!((row["name"].as_str(), row["state"].as_str()), (Some("first"), Some("finished")));
}

#[test]
fn progress_is_one_line_an_action_for_those_who_ask() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    let said = rig.run(&["replay", &file, "-v"]);
    assert!(said.err.contains("run          echo hello  same"), "{said:?}");
    let quiet = rig.run(&["replay", &file, "-q"]);
    assert_eq!(quiet.err, "");
}

#[test]
fn a_divergence_is_named_and_ends_with_6_under_both_policies() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo now", "then", 0), ("echo on >> /workspace/log", "", 0)]);
    let on = rig.run(&["replay", &file, "--workspace", "on"]);
    assert_eq!(on.code, 6, "{on:?}");
    assert!(on.out.contains("then") && on.out.contains("now") && on.out.contains("completed"), "{on:?}");
    assert_eq!(lines(&rig.path("on/log")), ["on"]);
    let stopped = rig.run(&["replay", &file, "--workspace", "stopped", "--on-divergence", "stop", "-o", "json"]);
    assert_eq!(stopped.code, 6, "{stopped:?}");
    let summary: serde_json::Value = serde_json::from_str(&stopped.out).unwrap();
    assert_eq!(summary["first_divergence"]["differences"][0]["field"], "content");
    assert_eq!(summary["outcome"]["type"], "stopped");
    assert_eq!(lines(&rig.path("stopped/log")).len(), 0);
}

#[test]
fn a_killed_replay_is_resumed_and_repeats_nothing_that_may_have_run() {
    let rig = Rig::new();
    let commands = [("echo once >> /workspace/log; sleep 20", "", 0), ("echo after >> /workspace/log", "", 0)];
    let file = rig.recording("t.json", &commands);
    let mut child = rig.spawn(&["replay", &file, "--workspace", "w"]);
    wait_until("the command runs", || !lines(&rig.path("w/log")).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let said = rig.run(&["resume"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("restored") && said.out.contains("digest") && said.out.contains("1 of unknown outcome"),
        "{said:?}"
    );
    assert_eq!(lines(&rig.path("w/log")), ["once", "after"]);
    assert_eq!(rig.run(&["verify"]).code, 0);
    let again = rig.run(&["resume"]);
    assert_eq!(again.code, 0);
    assert!(again.err.contains("nothing is left to do"), "{again:?}");
    let none = rig.run(&["resume", "--all"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
}

#[test]
fn ctrl_c_leaves_a_session_that_can_be_resumed() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo once >> /workspace/log; sleep 20", "", 0)]);
    let mut child = rig.spawn(&["replay", &file, "--workspace", "w"]);
    wait_until("the command runs", || !lines(&rig.path("w/log")).is_empty());
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("rekindle resume "), "{err}");
    assert_eq!(rig.run(&["resume", "--all"]).code, 0);
    assert_eq!(lines(&rig.path("w/log")), ["once"]);
}

#[test]
fn an_unknown_entry_is_named_and_then_stepped_over_or_stopped_at() {
    let rig = Rig::new();
    let mut recording = crate::cli_support::recording(&[("echo a >> /workspace/log", "", 0)]);
    recording
        .as_array_mut()
        .unwrap()
        .insert(1, serde_json::json!({"id": 90, "source": "agent", "action": "teleport", "args": {}}));
    let file = rig.write("t.json", recording.to_string());
    let over = rig.run(&["replay", &file, "--workspace", "over"]);
    assert_eq!(over.code, 0, "{over:?}");
    assert!(over.err.contains("action.teleport"), "{over:?}");
    assert_eq!(lines(&rig.path("over/log")), ["a"]);
    let stop = rig.run(&["replay", &file, "--workspace", "stop", "--on-unknown", "stop"]);
    assert_eq!(stop.code, 1, "{stop:?}");
    assert!(stop.out.contains("stopped at entry 1"), "{stop:?}");
}

#[test]
fn a_name_belongs_to_one_session() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    assert_eq!(rig.run(&["replay", &file, "--name", "mine"]).code, 0);
    rig.run(&["replay", &file, "--name", "mine"]).assert_refused(4, &["mine", "choose another"]);
    assert_eq!(rig.json(&["ls", "-o", "json"]).as_array().unwrap().len(), 1);
}
