//! A session with tools of servers: its agent calls them, what they brought is in the log, and a new owner tells what has changed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{Ports, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, Runtimes, Timeout};
use rekindle::engine::{Engine, Status};
use rekindle::host::agent::AgentRegistry;
use rekindle::host::mcp::McpServers;
use rekindle::session::{
    Action, AgentConfig, AgentSpec, AgentState, Command, McpServer, ModelApi, ModelSpec, Observation, Origin, Phase, Recorded,
    Seq, SessionId, SessionSpec, Tool,
};
use rekindle::store::{MemoryStore, Read, Row, SharedStore};
use rekindle::testing::{Answer, FakeRuntimes};
use serde_json::{Value, json};

use crate::cli_support::Rig;
use crate::mcp_support::{eventually, fake, running};
use crate::model_server::{ModelAnswer, ModelServer, Reply};

/// A runtime with nothing to prepare and nothing to run.
struct Nothing;

#[async_trait]
impl Runtimes for Nothing {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let fakes = FakeRuntimes::new(|_| Answer::Observe(Box::new(Observation::error("nothing runs here", ""))));
        let provisioned = fakes.provision(request).await?;
        Ok(Provisioned { runtime: Arc::new(Self), ..provisioned })
    }
}

#[async_trait]
impl Runtime for Nothing {
    async fn execute(&self, _action: &Action, _timeout: Timeout) -> Result<Observation, RuntimeError> {
        Ok(Observation::error("nothing runs here", ""))
    }

    async fn prepare(&self, _preparation: Preparation) -> Result<Prepared, RuntimeError> {
        Ok(Prepared::Skipped("nothing to do".to_owned()))
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

pub fn engine(store: &SharedStore) -> Engine {
    let ports = Ports {
        agents: Arc::new(AgentRegistry::new()),
        tools: Arc::new(McpServers::default()),
        ..Ports::new(Arc::new(Nothing), rekindle::trajectory::recording)
    };
    Engine::new(Arc::clone(store), ports, Arc::new(SystemClock))
}

pub fn spec(model: &ModelServer, message: &str, servers: Vec<McpServer>) -> SessionSpec {
    let model = ModelSpec { base_url: Some(model.base_url()), ..ModelSpec::new(ModelApi::OpenAi, "fake") };
    let config = AgentConfig { tools: vec![Tool::Finish], ..AgentConfig::new(model) };
    let agent = Some(AgentSpec { name: "coder".to_owned(), config, delegates: Default::default() });
    let origin = Origin::Fresh { message: Some(message.to_owned()), images: Vec::new() };
    SessionSpec { agent, mcp: servers, ..SessionSpec::new(origin, "/") }
}

async fn log(store: &SharedStore, id: SessionId) -> Vec<Recorded> {
    let page = store.read(Read::forward(id, Seq::ZERO)).await.unwrap();
    let event = |row| match row {
        Row::Event { event, .. } => event,
        Row::Damaged { seq, what } => panic!("{seq}: {what}"),
    };
    page.rows.into_iter().map(event).collect()
}

fn bodies(log: &[Recorded], kind: &str) -> Vec<Value> {
    let of = log.iter().filter(|event| event.kind.as_str() == kind);
    of.map(|event| serde_json::from_str(event.body.as_json()).unwrap()).collect()
}

/// What the log says of the servers, once for each owner.
fn servers(log: &[Recorded]) -> Vec<Value> {
    let steps = bodies(log, "start.step_finished").into_iter().filter(|body| body["step"] == "mcp_tools");
    steps.map(|body| body["outcome"]["report"].clone()).collect()
}

pub fn finish(id: &str) -> Reply {
    ModelAnswer::default().calls(id, "finish", &json!({"message": "done", "task_completed": "true"})).into()
}

#[tokio::test]
async fn an_agent_calls_a_tool_of_a_server_and_hears_what_came_of_it() {
    let calls = ModelAnswer::default().calls("c1", "echo", &json!({"word": "grüße"}));
    let model = ModelServer::scripted([calls.into(), finish("c2")]).await;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let engine = engine(&store);
    let id = engine.new_session_id();
    let servers_of = vec![fake("good", "well", &["echo=Says it again."]), fake("bad", "exit", &[])];
    engine.create(id, None, spec(&model, "greet", servers_of)).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    let log = log(&store, id).await;
    let joined = &servers(&log)[0]["servers"];
    assert_eq!(
        (&joined[0]["server"], &joined[0]["is"], &joined[0]["tools"][0]["name"]),
        (&json!("good"), &json!("fake 1"), &json!("echo"))
    );
    assert!(joined[1]["error"].as_str().unwrap().contains("no licence found"), "{joined}");
    assert_eq!(bodies(&log, "model.briefed")[0]["names"], json!(["finish", "echo"]));
    let observed = &bodies(&log, "observation.mcp")[0];
    assert_eq!(observed["extras"], json!({"name": "echo", "arguments": {"word": "grüße"}}));
    let answer: Value = serde_json::from_str(observed["content"].as_str().unwrap()).unwrap();
    assert_eq!((&answer["meta"], &answer["isError"]), (&Value::Null, &json!(false)));
    let heard = model.received()[1].body["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&heard["role"], &heard["content"]), (&json!("tool"), &json!(r#"{"word": "gr\u00fc\u00dfe"}"#)));
    engine.submit(id, Command::Close { reason: "done".to_owned() }).await.unwrap();
    engine.rest(id).await;
    assert!(matches!(engine.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_new_owner_joins_the_servers_again_and_what_has_changed_is_in_the_log_and_told_to_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    fs::write(&tools, "echo=Says it.\nfails\nlong").unwrap();
    let offered = format!("@{}", tools.display());
    let model = ModelServer::scripted([finish("c1"), finish("c2"), finish("c3")]).await;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let first = engine(&store);
    let id = first.new_session_id();
    first.create(id, None, spec(&model, "begin", vec![fake("s", "well", &[offered.as_str()])])).await.unwrap();
    first.rest(id).await;
    first.shutdown().await;

    // The same tools: nothing to tell.
    let second = engine(&store);
    second.submit(id, Command::Say { content: "go on".to_owned() }).await.unwrap();
    second.rest(id).await;
    second.shutdown().await;
    let before = log(&store, id).await;
    assert_eq!(servers(&before).len(), 2);
    assert_eq!((servers(&before)[1].get("changes"), bodies(&before, "model.briefed").len()), (None, 1));

    fs::write(&tools, "echo=Says it twice.\nlong\nwhere").unwrap();
    let third = engine(&store);
    third.submit(id, Command::Say { content: "and on".to_owned() }).await.unwrap();
    third.rest(id).await;
    let log = log(&store, id).await;
    assert_eq!(servers(&log)[2]["changes"], json!({"added": ["where"], "removed": ["fails"], "changed": ["echo"]}));
    assert_eq!(bodies(&log, "model.briefed")[1]["names"], json!(["finish", "echo", "long", "where"]));
    let asked = &model.received()[2].body;
    let told = "[The tools of servers are not what they were. New: where. Gone: fails. Changed: echo.]";
    assert!(asked["messages"].to_string().contains(told), "{}", asked["messages"]);
    let offered: Vec<_> = asked["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(offered, ["finish", "echo", "long", "where"]);
    assert_eq!(third.restore(id).await.unwrap().session.agent, AgentState::Finished);
    third.shutdown().await;
}

#[tokio::test]
async fn all_servers_down_is_no_failed_start() {
    let model = ModelServer::scripted([finish("c1")]).await;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let engine = engine(&store);
    let id = engine.new_session_id();
    engine.create(id, None, spec(&model, "begin", vec![fake("bad", "exit", &[])])).await.unwrap();
    engine.rest(id).await;
    assert_eq!(engine.restore(id).await.unwrap().session.agent, AgentState::Finished);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_servers_started_ends_when_the_engine_is_killed() {
    let calls = ModelAnswer::default().calls("c1", "spawn", &json!({"seconds": "27182"}));
    let model = ModelServer::replying(move |request| {
        let asked = request.body["messages"].to_string().contains("spawned");
        if asked { Reply::Hang } else { calls.clone().into() }
    })
    .await;
    let rig = Rig::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mcp_server.py");
    let server = format!("busy=python3 -u '{}' well spawn", script.display());
    let url = model.base_url();
    let mut child = rig.spawn(&["run", "spawn", "--headless", "--model", "fake", "--base-url", &url, "--mcp", &server]);
    eventually("the helpers run", || running(&["sleep", "27182"]).len() == 2).await;
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the helpers are gone", || running(&["sleep", "27182"]).is_empty()).await;
    eventually("the server is gone", || running(&["python3", "-u", script.to_str().unwrap(), "well", "spawn"]).is_empty()).await;
}
