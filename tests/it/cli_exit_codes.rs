//! Every documented exit code is what it says; each happens here or in the file named beside it.
//!
//! 2 and 3: `cli_bad_input`; 6 and 130: `cli_replay`.

use crate::cli_support::{Rig, lines, wait_until};

fn imported() -> Rig {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo hello", "hello", 0)]);
    assert_eq!(rig.run(&["import", &file, "--name", "sample"]).code, 0);
    rig
}

fn damage(rig: &Rig, sql: &str) {
    let store = rusqlite::Connection::open(rig.store()).unwrap();
    assert!(store.execute(sql, []).unwrap() > 0, "{sql}");
}

#[test]
fn the_help_and_the_manual_list_the_codes() {
    let rig = Rig::new();
    let help = rig.run(&["--help"]).out;
    for code in ["0    done", "5    verification failed", "7    a restore could not be proven", "130  interrupted"] {
        assert!(help.contains(code), "{code}: {help}");
    }
}

#[test]
fn damage_ends_verify_with_5_naming_session_and_event_and_hides_nothing_else() {
    let rig = imported();
    damage(&rig, "update event set body = replace(body, 'hello', 'jello') where seq = 3");
    let said = rig.run(&["verify", "sample"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("event 3") && said.out.contains("events 1 to 2 hold"), "{said:?}");
    let found: serde_json::Value = serde_json::from_str(&rig.run(&["verify", "sample", "-o", "json"]).out).unwrap();
    assert_eq!((found["ok"].as_bool(), found["bad"].as_u64()), (Some(false), Some(3)));
    assert_eq!(rig.run(&["verify", "--all"]).code, 5);
    assert_eq!(rig.run(&["doctor", "--deep"]).code, 5);
    let shown = rig.run(&["show", "sample"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("Done."), "{shown:?}");
}

#[test]
fn a_missing_event_is_shown_as_such_and_does_not_stop_the_rest() {
    let rig = imported();
    damage(&rig, "delete from event where seq = 4");
    let shown = rig.run(&["show", "sample"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("event 4 is damaged") && shown.out.contains("Done."), "{shown:?}");
    assert!(rig.run(&["show", "sample", "--events"]).out.contains("damaged: it is missing"));
    let raw = rig.run(&["show", "sample", "--raw"]).out;
    assert!(raw.contains("\"seq\":4,\"damaged\""), "{raw}");
    let verified = rig.run(&["verify", "sample"]);
    assert!(verified.code == 5 && verified.out.contains("event 4"), "{verified:?}");
}

#[test]
fn a_state_that_the_log_does_not_prove_ends_with_7_and_runs_nothing() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo once >> /workspace/log; sleep 20", "", 0)]);
    let mut child = rig.spawn(&["replay", &file, "--workspace", "w"]);
    wait_until("the command runs", || !lines(&rig.path("w/log")).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    damage(&rig, "update event set body = replace(body, 'runtime', 'runtine') where seq = 5");
    for args in [&["resume"][..], &["state"], &["close", "@last"]] {
        rig.run(args).assert_refused(7, &["event 5", "cannot be restored"]);
    }
    assert_eq!(rig.run(&["show"]).code, 0, "reading stays possible");
    assert_eq!(lines(&rig.path("w/log")), ["once"]);
}

#[test]
fn a_session_that_a_living_process_runs_ends_with_4_naming_it() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("echo once >> /workspace/log; sleep 20", "", 0)]);
    let mut child = rig.spawn(&["replay", &file, "--workspace", "w"]);
    wait_until("the command runs", || !lines(&rig.path("w/log")).is_empty());
    let pid = format!("pid {}", child.id());
    let stopped = |signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    // One that lives and does not answer: what it is asked is not carried out when it wakes up.
    stopped(nix::sys::signal::Signal::SIGSTOP);
    for args in [&["close", "@last"][..], &["resume"]] {
        rig.run(args).assert_refused(4, &[&pid]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let closed = rig.run(&["close", "@last", "--reason", "enough"]);
    assert_eq!(closed.code, 0, "a dead owner does not keep a session open: {closed:?}");
    assert!(closed.out.contains("enough"), "{closed:?}");
    let again = rig.run(&["close", "@last"]);
    assert!(again.code == 0 && again.out.contains("closed before"), "{again:?}");
    assert_eq!(rig.run(&["resume"]).code, 0);
    assert_eq!(rig.json(&["ls", "-o", "json"])[0]["state"], "closed");
}

#[test]
fn a_session_that_a_living_process_runs_is_closed_by_that_process() {
    let rig = Rig::new();
    let file =
        rig.recording("t.json", &[("echo once >> /workspace/log; sleep 20", "", 0), ("echo never >> /workspace/log", "", 0)]);
    let mut child = rig.spawn(&["replay", &file, "--workspace", "w"]);
    wait_until("the command runs", || !lines(&rig.path("w/log")).is_empty());
    let closed = rig.run(&["close", "@last", "--reason", "enough"]);
    assert!(closed.code == 0 && closed.out.contains("closed: enough"), "{closed:?}");
    child.wait().unwrap();
    assert_eq!(rig.json(&["ls", "-o", "json"])[0]["state"], "closed");
    assert_eq!(lines(&rig.path("w/log")), ["once"]);
}

#[test]
fn a_start_that_fails_ends_with_1_says_why_and_can_be_retried() {
    let rig = Rig::new();
    let file = rig.recording("t.json", &[("true", "", 0)]);
    rig.write("occupied", "a file, not a directory");
    let said = rig.run(&["replay", &file, "--workspace", "occupied"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("the step runtime failed") && said.out.contains("rekindle resume"), "{said:?}");
    std::fs::remove_file(rig.path("occupied")).unwrap();
    let again = rig.run(&["resume"]);
    assert_eq!(again.code, 0, "{again:?}");
}

#[test]
fn a_store_of_a_newer_format_ends_with_8_and_is_left_as_it_is() {
    let rig = imported();
    rusqlite::Connection::open(rig.store()).unwrap().execute_batch("pragma user_version = 99").unwrap();
    rig.run(&["ls"]).assert_refused(8, &["99", "upgrade"]);
    let file = rig.recording("two.json", &[("true", "", 0)]);
    rig.run(&["import", &file]).assert_refused(8, &["99", "upgrade"]);
}
