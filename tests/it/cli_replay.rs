//! A replay from the command line is performed, compared, told, and survives being killed.

use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::cli_support::{Rig, lines, recording, wait_until};

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
    let mut events = recording(&[("echo a >> /workspace/log", "", 0)]);
    events.as_array_mut().unwrap().insert(1, serde_json::json!({"id": 90, "source": "agent", "action": "teleport", "args": {}}));
    let file = rig.write("t.json", events.to_string());
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

/// The processes that were started with this word on their command line or in their environment.
fn processes_of(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let read =
            |file: &str| String::from_utf8_lossy(&std::fs::read(process.path().join(file)).unwrap_or_default()).into_owned();
        if read("cmdline").contains(mark) || read("environ").contains(mark) {
            found.push(format!("{:?} {}", process.file_name(), read("cmdline").replace('\0', " ")));
        }
    }
    found
}

#[test]
fn a_command_that_never_ends_does_not_hang_a_replay() {
    for timeout in [None, Some(2.0)] {
        let rig = Rig::new();
        // Port 0 is any free one, so that no other test or person is in the way.
        let mark = format!("mark-{}", uuid::Uuid::now_v7().simple());
        let server = format!("MARK={mark} python3 -m http.server 0");
        let mut events = recording(&[(&server, "", -1), ("echo after >> /workspace/log", "", 0)]);
        if let Some(seconds) = timeout {
            events[1]["timeout"] = seconds.into();
        }
        let file = rig.write("t.json", events.to_string());
        let args = ["replay", &file, "--workspace", "w", "--quiet-timeout", "1", "--action-timeout", "3"];
        let began = Instant::now();
        let said = rig.run(&args);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        assert!(said.out.contains("performed  4 of 4") && said.out.contains("completed"), "{said:?}");
        assert_eq!(processes_of(&mark), [""; 0], "with {timeout:?}");

        let patient = rig.write("patient.json", events.to_string());
        let mut child = rig.spawn(&["replay", &patient, "--workspace", "killed", "--quiet-timeout", "60"]);
        wait_until("the server runs", || processes_of(&mark).iter().any(|process| process.contains("http.server")));
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("nothing of it runs", || processes_of(&mark).is_empty());
        let resumed = rig.run(&["resume"]);
        assert!(resumed.out.contains("1 of unknown outcome") && resumed.out.contains("completed"), "{resumed:?}");
        assert_eq!(processes_of(&mark), [""; 0]);
    }
}

#[test]
fn what_a_resume_says_in_json_is_one_document() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo once >> /workspace/log; sleep 20", "", 0)]);
    let killed = |workspace: &str| {
        let mut child = rig.spawn(&["replay", &file, "--workspace", workspace]);
        wait_until("the command runs", || !lines(&rig.path(&format!("{workspace}/log"))).is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    };
    killed("one");
    let resumed = rig.json(&["resume", "-o", "json"]);
    assert_eq!((resumed["running"].as_bool(), resumed["run"]["verdicts"]["unknown"].as_u64()), (Some(true), Some(1)));
    let again = rig.json(&["resume", "-o", "json"]);
    assert_eq!((again["running"].as_bool(), again.get("run")), (Some(false), None));
    assert_eq!(rig.json(&["resume", "--all", "-o", "json"]), serde_json::json!([]));
    killed("two");
    killed("three");
    let all = rig.json(&["resume", "--all", "-o", "json"]);
    assert!(all.as_array().unwrap().len() == 2 && all[0]["run"]["state"] == "finished", "{all}");
    killed("four");
    let lines = rig.run(&["resume", "-o", "ndjson"]).out;
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines[0]["running"] == true && lines[1]["state"] == "finished", "{lines:?}");
}
