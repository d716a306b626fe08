//! What an agent wants to do waits for a person where it must, in the real program: judged before it is dispatched, agreed to or
//! refused by another process, also after the one that waited was killed.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::cli_support::{Rig, lines, wait_until};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};

/// Of high risk by its first part, which does nothing here.
const RISKY: &str = "rm -rf .git; echo ran >> journal";

/// Wants `command`, and is done when it has heard what came of it.
async fn model(command: &'static str) -> ModelServer {
    ModelServer::replying(move |received: &Received| {
        let has_heard = received.body["messages"].as_array().unwrap().iter().any(|message| message["role"] == "tool");
        let (tool, arguments) = match has_heard {
            true => ("finish", json!({ "message": "done", "task_completed": "true" })),
            false => ("bash", json!({ "command": command })),
        };
        Reply::from(ModelAnswer::says("").calls(if has_heard { "b" } else { "a" }, tool, &arguments))
    })
    .await
}

fn args<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args =
        vec!["run", "--name", "s", "--model", "fake", "--base-url", url, "-w", "work", "--confirm", "high", "--lease", "500ms"];
    args.extend(more);
    args.push("do it");
    args
}

fn log(rig: &Rig) -> Vec<Value> {
    let said = rig.run(&["tail", "s", "-n", "1000", "-o", "ndjson"]);
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["kind"] == kind).collect()
}

/// The dispatch of the one command of a log.
fn dispatched(log: &[Value]) -> Option<&Value> {
    let run = of_kind(log, "action.run")[0]["seq"].clone();
    of_kind(log, "action.dispatched").into_iter().find(|event| event["cause"] == run)
}

fn state(log: &[Value]) -> String {
    of_kind(log, "turn.state_changed").last().map(|event| event["body"].to_string()).unwrap_or_default()
}

/// The program with a person at the terminal: what they read is in the file.
fn at_a_terminal(rig: &Rig, args: &[&str]) -> (Child, File) {
    let pty = nix::pty::openpty(None, None).unwrap();
    let slave = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let child = rig.command(args).stdin(slave(&pty.slave)).stderr(slave(&pty.slave)).stdout(Stdio::null()).spawn().unwrap();
    (child, File::from(pty.master))
}

fn read_until(terminal: &mut File, words: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let shown = String::from_utf8_lossy(&read).into_owned();
        if shown.contains(words) {
            return shown;
        }
        match terminal.read(&mut buffer) {
            Ok(0) | Err(_) => panic!("{words:?} is never said in {shown}"),
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_waits_through_a_kill_until_a_person_agrees_and_then_runs_once() {
    let server = model(RISKY).await;
    let rig = Rig::new();
    std::fs::create_dir(rig.path("work")).unwrap();
    let url = server.base_url();
    let (mut child, mut terminal) = at_a_terminal(&rig, &args(&url, &[]));
    let shown = read_until(&mut terminal, "run it?");
    assert!(shown.contains("high risk") && shown.contains("delete.history"), "the person sees why: {shown}");
    child.kill().unwrap();
    child.wait().unwrap();
    let before = log(&rig);
    let judged = of_kind(&before, "action.judged");
    assert_eq!(judged.len(), 1);
    assert_eq!(judged[0]["cause"], of_kind(&before, "action.run")[0]["seq"]);
    let body = judged[0]["body"].to_string();
    assert!(body.contains("\"high\"") && body.contains("delete.history") && body.contains("rules/1"), "{body}");
    assert_eq!(dispatched(&before), None);
    assert_eq!(lines(&rig.path("work/journal")).len(), 0);

    // The killed process counts as living for a moment; whoever agrees meanwhile leaves a letter, and the next one reads it.
    wait_until("the action ran and the session is finished", || {
        rig.run(&["approve", "s", "--lease", "500ms"]);
        state(&log(&rig)).contains("finished")
    });
    let after = log(&rig);
    assert_eq!(lines(&rig.path("work/journal")), ["ran"]);
    assert_eq!(of_kind(&after, "action.confirmed").len(), 1);
    let seq = |event: &Value| event["seq"].as_u64().unwrap();
    let dispatched = dispatched(&after).unwrap();
    assert!(seq(judged[0]) < seq(of_kind(&after, "action.confirmed")[0]));
    assert!(seq(of_kind(&after, "action.confirmed")[0]) < seq(dispatched));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_never_dispatched_and_the_agent_hears_why() {
    let server = model(RISKY).await;
    let rig = Rig::new();
    std::fs::create_dir(rig.path("work")).unwrap();
    let url = server.base_url();
    let waiting = rig.run(&args(&url, &["--headless"]));
    assert!(state(&log(&rig)).contains("awaiting_user_confirmation"), "{waiting:?}");
    assert_eq!(server.received().len(), 1);
    let refused = rig.run(&["reject", "s", "--reason", "keep the history"]);
    assert_eq!(refused.code, 0, "{refused:?}");
    let after = log(&rig);
    assert_eq!(dispatched(&after), None);
    assert_eq!(lines(&rig.path("work/journal")).len(), 0);
    assert_eq!(of_kind(&after, "action.refused").len(), 1);
    assert!(server.received()[1].body["messages"].to_string().contains("keep the history"));
    rig.run(&["approve", "s"]).assert_refused(4, &["agree"]);
    assert_eq!(dispatched(&log(&rig)), None, "nor when somebody agrees too late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_harmless_runs_without_a_question_and_is_judged_all_the_same() {
    let server = model("echo ran >> journal").await;
    let rig = Rig::new();
    std::fs::create_dir(rig.path("work")).unwrap();
    let url = server.base_url();
    let said = rig.run(&args(&url, &["--headless"]));
    assert_eq!(said.code, 0, "{said:?}");
    let log = log(&rig);
    let judged = of_kind(&log, "action.judged");
    assert!(judged[0]["body"].to_string().contains("\"low\""), "{judged:?}");
    assert!(judged[0]["seq"].as_u64() < dispatched(&log).unwrap()["seq"].as_u64());
    assert_eq!(lines(&rig.path("work/journal")), ["ran"]);
}
