//! Whatever happens in a session, no value of a secret is ever in a file of the store, in any form, not even for a moment.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{
    Agent, AgentError, AgentRequest, Agents, Briefing, Delta, Deltas, ModelErrorClass, ModelFailure, Ports, Response,
    SecretError, ToolDefinition, Turn, Usage,
};
use rekindle::engine::restore::{Trust, restore};
use rekindle::engine::{Engine, EngineError, EngineOptions, Status};
use rekindle::host::agent::{AgentRegistry, CODER};
use rekindle::host::secrets::{Keyring, UserSecrets};
use rekindle::session::mask::HIDDEN;
use rekindle::session::{
    AgentSpec, AgentState, Command, Digest, Interaction, Item, Json, Origin, Phase, Provider, RepositorySpec, SecretRef,
    SecretUse, Seq, SessionId, SessionSpec,
};
use rekindle::store::{OpenOptions, Read, Row, SharedStore, connect};
use rekindle::testing::Scenario;
use tempfile::TempDir;

use crate::model_server::{ModelAnswer, ModelServer};
use crate::secrets_support::{Bash, Values, assert_nowhere, holds, secret};

const TOKEN: &str = "ghp_q7Zk\"2$x'LmN0 ö%Vt9/yR4+wB8";
const KEY: &str = "sk-live-0a1b2c3d4e5f60718293a4b5";

/// An agent that does what it was told, and whose model repeats what it should not.
struct Talker {
    briefing: Briefing,
    commands: Vec<String>,
}

#[derive(Clone)]
struct Talkers(Vec<String>);

#[async_trait]
impl Agents for Talkers {
    async fn agent(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError> {
        let key = request.key.map(|key| key.value).unwrap_or_default();
        let tools = vec![ToolDefinition {
            name: "bash".to_owned(),
            description: format!("runs commands with {TOKEN}"),
            parameters: serde_json::json!({"properties": {(TOKEN): {"default": key}}}),
        }];
        let briefing = Briefing { prompt: format!("You are told {TOKEN} and {key}."), tools };
        Ok(Arc::new(Talker { briefing, commands: self.0.clone() }))
    }
}

#[async_trait]
impl Agent for Talker {
    fn briefing(&self) -> &Briefing {
        &self.briefing
    }

    async fn step(&self, turn: Turn<'_>, deltas: &dyn Deltas) -> Result<Response, ModelFailure> {
        let done = turn.history.iter().filter(|past| past.item.tool_call_metadata.is_some()).count();
        for char in format!("I will use {TOKEN} now").chars() {
            deltas.delta(Delta::Reasoning(char.to_string()));
            deltas.delta(Delta::Text(char.to_string()));
        }
        for char in format!("I will use {TOKEN} now").chars() {
            deltas.delta(Delta::Text(char.to_string()));
        }
        deltas.delta(Delta::Retry(format!("401: bad key {KEY}")));
        let Some(command) = self.commands.get(done) else {
            let message = format!("Incorrect API key provided: {KEY}, and {TOKEN}");
            let class = ModelErrorClass::Authentication;
            return Err(ModelFailure { class, message, retry_after: None, usage: Usage::default() });
        };
        let metadata = serde_json::json!({
            "function_name": "execute_bash", "tool_call_id": format!("c{done}"), "total_calls_in_response": 1,
            "model_response": {"id": format!("r{done}"), "choices": [{"message": {"content": [TOKEN, {(KEY): TOKEN}],
                "tool_calls": [{"function": {"arguments": serde_json::json!({"command": command, "why": TOKEN}).to_string()}}]}}]},
        });
        let action = serde_json::json!({"action": "run", "args": {"command": command, "thought": format!("use {TOKEN}")},
            "tool_call_metadata": metadata});
        Ok(Response {
            actions: vec![Item::decode(&action.to_string()).unwrap()],
            model: "fake".to_owned(),
            response_id: Some(format!("r{done}")),
            finish_reason: None,
            reasoning: Some(format!("hm, {TOKEN}")),
            usage: Usage::default(),
            request: Digest::ZERO,
            latency: Duration::from_millis(1),
            retries: vec![format!("refused: {KEY}")],
            answer: Json::default(),
        })
    }
}

/// Commands that show the value in every way that a shell has at hand.
fn showing() -> Vec<String> {
    [
        "echo \"$TOKEN\"",
        "printf %s \"$TOKEN\" | base64",
        "printf 'user:%s' \"$TOKEN\" | base64 -w0",
        "{ seq 1 40; printf %s \"$TOKEN$TOKEN$TOKEN$TOKEN\"; } | base64",
        "printf %s \"$TOKEN\" | od -An -v -tx1 | tr -d ' \\n'",
        "printf '%s' \"${TOKEN:0:9}\"; printf '%s' \"${TOKEN:9}\"",
        "export -p; set; declare -p TOKEN; printf '%q\\n' \"$TOKEN\"",
        "python3 -c 'import os,json,urllib.parse as u; t=os.environ[\"TOKEN\"]; print(json.dumps({\"a\":[t]}), json.dumps(json.dumps(t)), u.quote(t), u.quote(t, safe=\"\"), u.quote_plus(t))'",
        "python3 -c 'import os; print(\"x\"*70000 + os.environ[\"TOKEN\"])'",
        "cat \"/no/such/$TOKEN\"",
        "test \"$(printf %s \"$TOKEN\" | wc -c)\" = 32 && echo the-value-was-there",
    ]
    .map(str::to_owned)
    .to_vec()
}

async fn open(directory: &Path) -> SharedStore {
    connect(&format!("sqlite://{}", directory.join("log.db").display()), OpenOptions::default()).await.unwrap()
}

fn engine(store: &SharedStore, values: &Values, commands: &[String]) -> Engine {
    let ports = Ports::new(Arc::new(Bash), rekindle::trajectory::recording);
    let agents = Arc::new(Talkers(commands.to_vec()));
    let ports = Ports { secrets: Arc::new(values.clone()), agents, ..ports };
    // A session that rests leaves at once, and keeps a snapshot.
    let options = EngineOptions { idle: Duration::from_millis(1), ..EngineOptions::default() };
    Engine::with_options(Arc::clone(store), ports, Arc::new(SystemClock), options)
}

fn spec(workspace: &Path) -> SessionSpec {
    let model_key = SecretRef { used: SecretUse::Engine, ..secret("MODEL_KEY") };
    let mut spec = SessionSpec {
        title: Some(format!("use {TOKEN}")),
        secrets: vec![secret("TOKEN"), model_key],
        instructions: Some(format!("never show {TOKEN}")),
        metadata: [(TOKEN.to_owned(), KEY.to_owned())].into(),
        interaction: Interaction::Headless,
        ..Scenario::agent_spec()
    };
    spec.workspace = workspace.to_owned();
    spec.origin =
        Origin::Fresh { message: Some(format!("my token is {TOKEN}, keep it")), images: vec![format!("https://x/?t={KEY}")] };
    if let Some(AgentSpec { config, .. }) = &mut spec.agent {
        config.model.key = Some("MODEL_KEY".to_owned());
    }
    spec
}

async fn until_rest(engine: &Engine, id: SessionId) -> Status {
    let status = engine.rest(id).await;
    while engine.is_live(id) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    status
}

async fn log(store: &SharedStore, id: SessionId) -> String {
    let (mut text, mut after) = (String::new(), Seq::ZERO);
    loop {
        let page = store.read(Read::forward(id, after)).await.unwrap();
        for row in &page.rows {
            after = row.seq();
            match row {
                Row::Event { event, .. } => text += &format!("{} {}\n", event.kind, event.body.as_json()),
                Row::Damaged { seq, what } => panic!("{seq}: {what}"),
            }
        }
        if !page.more {
            return text;
        }
    }
}

fn files_hold(directory: &Path, text: &str) -> bool {
    std::fs::read_dir(directory).unwrap().flatten().any(|entry| holds(&std::fs::read(entry.path()).unwrap(), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_session_leaves_no_value_in_any_file_of_the_store() {
    let (directory, workspace) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = open(directory.path()).await;
    let values = Values::of(&[("TOKEN", TOKEN), ("MODEL_KEY", KEY)]);
    let commands = showing();
    let first = engine(&store, &values, &commands);
    let mut deltas = first.deltas();
    let id = first.new_session_id();
    first.create(id, None, spec(workspace.path())).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = String::new();
        while let Ok((_, delta)) = deltas.recv().await {
            match delta {
                Delta::Text(text) => heard.push_str(&text),
                Delta::Reasoning(_) => {}
                Delta::Call(text) | Delta::Retry(text) => heard.push_str(&format!("[{text}]")),
            }
        }
        heard
    });
    until_rest(&first, id).await;
    let restored = first.restore(id).await.unwrap().session;
    assert_eq!(restored.agent, AgentState::Error, "the model failed at last: {}", restored.agent_reason);
    // Somebody else says something, and lets it be closed.
    let text = log(&store, id).await;
    assert!(text.contains("the-value-was-there"), "commands have the value: {text}");
    assert!(text.matches(HIDDEN).count() > 30, "{text}");
    assert!(restored.title.unwrap().contains(HIDDEN));
    let second = engine(&store, &values, &commands);
    first.shutdown().await;
    second.submit(id, Command::Say { content: format!("again: {TOKEN}") }).await.unwrap();
    until_rest(&second, id).await;
    second.submit(id, Command::Close { reason: format!("{KEY} was shown") }).await.unwrap();
    until_rest(&second, id).await;
    let restored = restore(store.as_ref(), id, Trust::Nothing).await.unwrap();
    assert!(matches!(restored.session.phase, Phase::Closed { .. }));
    let quick = restore(store.as_ref(), id, Trust::Snapshot).await.unwrap();
    assert_eq!(restored.proof.digest, quick.proof.digest);
    for value in [TOKEN, KEY] {
        let looked = assert_nowhere(directory.path(), value);
        assert!(looked > 100_000, "{looked}");
        let text = log(&store, id).await;
        assert!(!text.contains(value));
    }
    assert!(files_hold(directory.path(), "the-value-was-there"), "what is there is found");
    drop(first);
    second.shutdown().await;
    drop(second);
    let heard = heard.await.unwrap();
    assert!(
        heard.contains(&format!("I will use {HIDDEN} now")) && heard.contains(&format!("[401: bad key {HIDDEN}]")),
        "{heard}"
    );
    assert!(!heard.contains(TOKEN) && !heard.contains(KEY), "{heard}");
    store.close().await;
    assert_nowhere(directory.path(), TOKEN);
}

#[tokio::test]
async fn a_step_that_fails_with_a_value_on_its_lips_says_it_without() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let engine = engine(&store, &Values::of(&[("TOKEN", TOKEN)]), &[]);
    let id = engine.new_session_id();
    let repository = RepositorySpec {
        provider: Provider::Plain,
        location: "https://example.org/a.git".to_owned(),
        branch: None,
        token: Some("TOKEN".to_owned()),
        depth: None,
    };
    let origin = Origin::fresh(Some("clone it".to_owned()));
    let spec =
        SessionSpec { repository: Some(repository), secrets: vec![secret("TOKEN")], ..SessionSpec::new(origin, "/tmp/none") };
    engine.create(id, None, spec).await.unwrap();
    until_rest(&engine, id).await;
    let session = engine.restore(id).await.unwrap().session;
    let Phase::StartFailed { error, .. } = session.phase else { panic!("{:?}", session.phase) };
    assert!(error.contains(&format!("https://x:{HIDDEN}@example.org")), "{error}");
    engine.shutdown().await;
    assert_nowhere(directory.path(), TOKEN);
}

#[tokio::test]
async fn a_letter_to_another_node_does_not_carry_a_value() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let values = Values::of(&[("TOKEN", TOKEN)]);
    let ports = || Ports { secrets: Arc::new(values.clone()), ..Ports::new(Arc::new(Bash), rekindle::trajectory::recording) };
    let [runs, asks] = [ports(), ports()].map(|ports| Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock)));
    let id = runs.new_session_id();
    let spec = SessionSpec { secrets: vec![secret("TOKEN")], ..SessionSpec::new(Origin::fresh(None), "/tmp/none") };
    runs.create(id, None, spec).await.unwrap();
    runs.rest(id).await;
    let run = serde_json::json!({"action": "run", "args": {"command": format!("echo {TOKEN}")}}).to_string();
    asks.submit(id, Command::Act { actions: vec![Item::decode(&run).unwrap()] }).await.unwrap();
    asks.submit(id, Command::Say { content: format!("it is {TOKEN}") }).await.unwrap();
    assert!(!asks.is_live(id), "it went there as a letter");
    runs.rest(id).await;
    assert!(log(&store, id).await.contains(&format!("it is {HIDDEN}")));
    assert_nowhere(directory.path(), TOKEN);
    runs.shutdown().await;
}

#[tokio::test]
async fn a_value_that_is_replaced_is_hidden_still_and_the_new_one_too() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let values = Values::of(&[("TOKEN", TOKEN)]);
    let ports = Ports { secrets: Arc::new(values.clone()), ..Ports::new(Arc::new(Bash), rekindle::trajectory::recording) };
    let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
    let id = engine.new_session_id();
    let spec = SessionSpec { secrets: vec![secret("TOKEN")], ..SessionSpec::new(Origin::fresh(None), "/tmp/none") };
    engine.create(id, None, spec).await.unwrap();
    engine.rest(id).await;
    values.set("TOKEN", KEY);
    let file = directory.path().parent().unwrap().join(format!("values-{id}"));
    std::fs::write(&file, format!("{TOKEN}\n{KEY}\n")).unwrap();
    let run = serde_json::json!({"action": "run", "args": {"command": format!("cat {}", file.display())}}).to_string();
    engine.submit(id, Command::Act { actions: vec![Item::decode(&run).unwrap()] }).await.unwrap();
    engine.rest(id).await;
    std::fs::remove_file(&file).unwrap();
    assert!(log(&store, id).await.contains(&format!("{HIDDEN}\\n{HIDDEN}")));
    for value in [TOKEN, KEY] {
        assert_nowhere(directory.path(), value);
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn what_stands_for_a_value_is_not_written_over_it() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let ports = Ports::new(Arc::new(Bash), rekindle::trajectory::recording);
    let ports = Ports { secrets: Arc::new(Values::of(&[("TOKEN", TOKEN)])), ..ports };
    let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
    let id = engine.new_session_id();
    let spec = SessionSpec { secrets: vec![secret("TOKEN")], ..SessionSpec::new(Origin::fresh(None), "/tmp/none") };
    engine.create(id, None, spec).await.unwrap();
    engine.rest(id).await;
    for text in [HIDDEN, "no value"] {
        let write = serde_json::json!({"action": "write", "args": {"path": "/workspace/.env", "content": format!("T={text}")}});
        engine.submit(id, Command::Act { actions: vec![Item::decode(&write.to_string()).unwrap()] }).await.unwrap();
        engine.rest(id).await;
    }
    let text = log(&store, id).await;
    assert_eq!(text.matches("Nothing was written: the text holds").count(), 1, "{text}");
    assert!(text.contains("not a command"), "the other one went to the runtime: {text}");
    engine.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_hidden_is_not_begun() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let values = Values::of(&[("TOKEN", TOKEN)]);
    let engine = engine(&store, &values, &[]);
    let asked = || {
        let origin = Origin::fresh(Some(format!("take {TOKEN}")));
        SessionSpec { secrets: vec![secret("TOKEN")], ..SessionSpec::new(origin, "/tmp/none") }
    };
    let placed = SessionSpec { workspace: format!("/tmp/{TOKEN}").into(), ..asked() };
    let refused = engine.create(engine.new_session_id(), None, placed).await.unwrap_err();
    assert!(matches!(&refused, EngineError::SecretInSpec { part: "workspace", secret } if secret == "TOKEN"), "{refused}");
    assert!(!refused.to_string().contains(TOKEN));
    values.break_down();
    let id = engine.new_session_id();
    let refused = engine.create(id, None, asked()).await.unwrap_err();
    assert!(matches!(refused, EngineError::Secrets(SecretError::Unavailable(_))), "{refused}");
    assert!(store.session(id).await.unwrap().is_none());
    assert_nowhere(directory.path(), TOKEN);
}

#[tokio::test]
async fn the_log_names_a_secret_and_its_fingerprint() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await;
    let engine = engine(&store, &Values::of(&[("TOKEN", TOKEN)]), &[]);
    let id = engine.new_session_id();
    let spec =
        SessionSpec { secrets: vec![secret("TOKEN"), secret("UNKNOWN")], ..SessionSpec::new(Origin::fresh(None), "/tmp/none") };
    engine.create(id, None, spec).await.unwrap();
    until_rest(&engine, id).await;
    let session = engine.restore(id).await.unwrap().session;
    let secrets = session.spec.unwrap().secrets;
    assert_eq!(secrets[0].fingerprint.as_deref(), Some("0000000000000020"));
    assert_eq!(secrets[1].fingerprint, None);
    let Phase::StartFailed { error, .. } = session.phase else { panic!("{:?}", session.phase) };
    assert!(error.contains("no value is known of UNKNOWN") && error.contains("secrets set"), "{error}");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_keyring_goes_to_the_model_and_nowhere_else() {
    let (directory, home) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let keyring = home.path().join("secrets.json");
    Keyring::change(&keyring, |keyring| {
        keyring.set("MODEL_KEY", "sk-former-0123456789".to_owned(), None);
        keyring.set("MODEL_KEY", KEY.to_owned(), None);
        keyring.set("UNUSED", TOKEN.to_owned(), None);
    })
    .unwrap();
    let server = ModelServer::replying(|asked| {
        let sent = asked.headers.get("authorization").cloned().unwrap_or_default();
        ModelAnswer::says(&format!("you sent {sent}, before that sk-former-0123456789, and there is {TOKEN}")).into()
    })
    .await;
    let store = open(directory.path()).await;
    let secrets = Arc::new(UserSecrets::at(Some(keyring)));
    let ports = Ports::new(Arc::new(Bash), rekindle::trajectory::recording);
    let ports = Ports { secrets, agents: Arc::new(AgentRegistry::new()), ..ports };
    let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
    let mut spec = Scenario::agent_spec();
    spec.secrets = vec![SecretRef { used: SecretUse::Engine, ..secret("MODEL_KEY") }];
    if let Some(AgentSpec { name, config, .. }) = &mut spec.agent {
        *name = CODER.to_owned();
        config.model.key = Some("MODEL_KEY".to_owned());
        config.model.base_url = Some(server.base_url());
    }
    let id = engine.new_session_id();
    engine.create(id, None, spec).await.unwrap();
    engine.rest(id).await;
    assert_eq!(server.received()[0].headers["authorization"], format!("Bearer {KEY}"));
    let text = log(&store, id).await;
    assert!(text.contains(&format!("you sent Bearer {HIDDEN}, before that {HIDDEN}, and there is {HIDDEN}")), "{text}");
    let fingerprint = engine.restore(id).await.unwrap().session.spec.unwrap().secrets.remove(0).fingerprint.unwrap();
    assert!(fingerprint.len() == 16 && text.contains(&fingerprint));
    engine.shutdown().await;
    for value in [KEY, TOKEN, "sk-former-0123456789"] {
        assert_nowhere(directory.path(), value);
    }
}
