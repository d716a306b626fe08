//! The real program with a model behind real HTTP: a model that follows a script by what it is sent, and the rules of its protocol.

use std::process::Command;

use serde_json::{Value, json};

use crate::cli_support::{Rig, Said};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};

/// How often the model has answered in the conversation that it is sent.
pub fn answers(request: &Received) -> usize {
    messages(request).iter().filter(|message| message["role"] == "assistant").count()
}

pub fn messages(request: &Received) -> &[Value] {
    request.body["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// All that a message says, whichever form its content has.
pub fn words(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// Whether a model is asked to sum up what is about to be forgotten.
pub fn is_summary(request: &Received) -> bool {
    messages(request).first().is_some_and(|message| words(message).starts_with("You keep the memory of an agent"))
}

/// Fails unless the conversation is one that endpoints take: each tool call has exactly one result, right after the answer that
/// made it and in its order, and no result is without a call.
#[track_caller]
pub fn assert_conversation(request: &Received) {
    let mut owed: Vec<&str> = Vec::new();
    for message in messages(request) {
        if message["role"] == "tool" {
            assert!(!owed.is_empty(), "a result without a call: {message} in {:#}", request.body);
            assert_eq!(message["tool_call_id"], owed.remove(0), "results are in the order of their calls: {:#}", request.body);
            continue;
        }
        assert!(owed.is_empty(), "calls {owed:?} have no result: {:#}", request.body);
        if let Some(calls) = message["tool_calls"].as_array() {
            owed = calls.iter().map(|call| call["id"].as_str().unwrap()).collect();
        }
    }
    assert!(owed.is_empty(), "calls {owed:?} have no result: {:#}", request.body);
}

/// A model that gives the n-th of these answers to a conversation in which it has answered n times.
pub async fn following(script: Vec<ModelAnswer>) -> ModelServer {
    ModelServer::replying(move |request| {
        let said = answers(request);
        script.get(said).map_or_else(
            || Reply::error(400, "script_ended", "the test scripted no further answer"),
            |answer| answer.clone().into(),
        )
    })
    .await
}

/// A call of one tool; its id follows from its number, so that no two are alike.
pub fn calls(number: usize, tool: &str, arguments: &Value) -> ModelAnswer {
    ModelAnswer::default().calls(&format!("call_{number}"), tool, arguments)
}

pub fn finishes(number: usize, words: &str) -> ModelAnswer {
    calls(number, "finish", &json!({ "message": words, "task_completed": "true" }))
}

/// Runs a command to its end off the runtime, which serves the model.
pub async fn said(command: Command) -> Said {
    tokio::task::spawn_blocking(move || Said::of(command)).await.unwrap()
}

/// The same of the program.
pub async fn asked(rig: &Rig, args: &[&str]) -> Said {
    said(rig.command(args)).await
}

/// The events of the session `live`, each with its number, kind and body.
pub async fn log(rig: &Rig) -> Vec<Value> {
    let tail = asked(rig, &["tail", "live", "-n", "100000", "-o", "ndjson"]).await;
    assert_eq!(tail.code, 0, "{tail:?}");
    tail.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The numbers of the events of this kind.
pub fn seqs(log: &[Value], kind: &str) -> Vec<u64> {
    log.iter().filter(|event| event["kind"] == kind).map(|event| event["seq"].as_u64().unwrap()).collect()
}

impl Rig {
    /// `rekindle run` against `server`, in a workspace named `work`, with nobody to ask.
    pub fn live(&self, server: &ModelServer, args: &[&str]) -> Command {
        self.live_as("live", server, args)
    }

    /// The same, of this name.
    pub fn live_as(&self, name: &str, server: &ModelServer, args: &[&str]) -> Command {
        let mut command =
            self.command(&["run", "--model", "fake", "--base-url", &server.base_url(), "--name", name, "--headless", "-w"]);
        command.arg(self.path("work")).args(args);
        command.env_remove("OPENAI_API_KEY").env_remove("ANTHROPIC_API_KEY").env("XDG_CONFIG_HOME", self.home.path());
        command
    }
}
