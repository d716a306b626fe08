//! The real program with an agent, killed with SIGKILL at random moments of its start, its calls of the model, its actions, its
//! delegate's work and its close, two hundred times and more. The session has all parts: a private repository, a setup script, secrets,
//! memory, a server of tools, a delegate, and a history so long that it is summed up.
//!
//! After every kill the logs are whole, nothing ran twice, and no value of a secret is in a file of the store; every conversation that
//! the model ever gets is one that endpoints take; at the end each call of the model and each action has one outcome, and nothing of
//! the session is left on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rekindle::engine::restore::{Trust, restore};
use rekindle::session::{AgentState, Event, Phase, Recorded, Session, SessionId};
use rekindle::store::{OpenOptions, SharedStore, verify_session};
use serde_json::{Value, json};

use crate::cli_support::{Rig, lines, wait_until};
use crate::git_server::{GitServer, Manners, repository};
use crate::kill_anywhere::{Random, log};
use crate::live_support::{assert_conversation, calls, finishes, is_summary, messages, words};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};
use crate::organisation::organisation;
use crate::repository_support::holding;

/// How often each of the four tests below kills.
const KILLS: usize = 52;
/// The longest that a program lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(1500);
/// How many lines the agent's commands write.
const LINES: usize = 10;
/// How many more its delegate's write.
const DELEGATED: usize = 2;
/// What the delegate is told, by which the model knows it.
const PART: &str = "Write the part of the other hand.";
/// What memory tells the agent, since the task speaks of the tide.
const KNOWLEDGE: &str = "The tide is written with one line a command.";
/// How a summary begins.
const SUMMARY: &str = "It is being written: ";
/// What the owner of the repository tells all agents.
const FOR_ALL: &str = "Everybody writes neatly.";
const TOKEN: &str = "ghp_q7ZkLmN0Vt9yR4wB8xX2";
const KEY: &str = "deploy-5d41402abc4b2a76b9719d911017c592";

/// Each command writes a line of its own, so that one which ran twice is seen.
fn writes(n: usize) -> Value {
    json!({ "command": format!("echo {n} >> /workspace/journal") })
}

fn script(daemon: &str) -> Vec<ModelAnswer> {
    let mut script: Vec<ModelAnswer> = (0..LINES)
        .step_by(2)
        .map(|n| calls(n, "bash", &writes(n)).calls(&format!("call_{}", n + 1), "bash", &writes(n + 1)))
        .collect();
    script.insert(0, calls(100, "bash", &json!({ "command": format!("setsid {daemon} > /dev/null 2>&1 &") })));
    script.insert(2, calls(101, "echo", &json!({ "said": "to the server" })));
    script.insert(3, calls(102, "bash", &json!({ "command": "echo \"$DEPLOY_KEY\"; printf %s \"$DEPLOY_KEY\" | base64" })));
    script.insert(4, calls(103, "delegate", &json!({ "agent": "helper", "task": PART })));
    script.push(calls(
        20,
        "str_replace_editor",
        &json!({ "command": "create", "path": "/workspace/note", "file_text": "noted\n" }),
    ));
    script.push(calls(21, "python", &json!({ "code": "open('/workspace/journal').read().count('\\n')" })));
    script.push(finishes(22, "written"));
    script
}

/// What a model writes of events: how many calls they tell of, those of an earlier summary among them.
fn summary(request: &Received) -> ModelAnswer {
    let told = words(&messages(request)[1]);
    let calls = told.lines().filter(|line| line.starts_with("calls ")).count();
    ModelAnswer::says(&format!("{SUMMARY}{} calls so far.", calls + summed_up(&told)))
}

/// How many calls a summary tells of that stands in what is said.
fn summed_up(told: &str) -> usize {
    let told = told.split(SUMMARY).nth(1).and_then(|rest| rest.split(' ').next());
    told.map_or(0, |calls| calls.parse().unwrap())
}

/// How often the model has answered, by a conversation of which a part may be summed up: a summary parts no answer.
fn answered(request: &Received, script: &[ModelAnswer]) -> usize {
    let told: String = messages(request).iter().map(words).collect();
    let calls = messages(request).iter().filter_map(|message| message["tool_calls"].as_array()).map(Vec::len).sum::<usize>();
    let mut left = calls + summed_up(&told);
    script.iter().take_while(|answer| left.checked_sub(answer.calls.len()).map(|rest| left = rest).is_some()).count()
}

/// What the delegate does.
fn part() -> Vec<ModelAnswer> {
    let write = |n: usize| calls(n, "bash", &writes(n));
    let mut part: Vec<ModelAnswer> = (LINES..LINES + DELEGATED).map(write).collect();
    part.push(finishes(30, "the part is written"));
    part
}

/// Whether a request to the model is one of the delegate's.
fn is_part(request: &Received) -> bool {
    let task = messages(request).iter().find(|message| message["role"] == "user" && !is_summary(request));
    task.is_some_and(|task| words(task).contains(PART))
}

struct Trial {
    rig: Rig,
    model: ModelServer,
    _git: GitServer,
    /// A command that leaves its shell and would outlive the session.
    daemon: String,
    /// A tool of the server, by which its process is known.
    tool: String,
}

impl Trial {
    async fn new() -> Self {
        let mark = uuid::Uuid::new_v4();
        let (daemon, tool) = (format!("sleep 54321.{}", mark.as_u128()), format!("tool_{}", mark.simple()));
        let (script, part) = (script(&daemon), part());
        let model = ModelServer::replying(move |request| {
            if is_summary(request) {
                return summary(request).into();
            }
            let script = if is_part(request) { &part } else { &script };
            let end = || Reply::error(400, "script_ended", "the test scripted no further answer");
            script.get(answered(request, script)).map_or_else(end, |answer| answer.clone().into())
        })
        .await;
        let rig = Rig::new();
        let microagent = format!("---\ntriggers: [tide]\n---\n{KNOWLEDGE}\n");
        let files = [
            (".openhands/setup.sh", "echo ready >> /workspace/prepared\n"),
            (".openhands/microagents/tide.md", microagent.as_str()),
        ];
        repository(&rig.path("served"), &files);
        let microagents = [("microagents/tide.md", "---\ntriggers: [tide]\n---\nNot this.\n"), ("microagents/all.md", FOR_ALL)];
        organisation(&rig.path("served"), ".openhands", &microagents);
        let login = Some(("x-access-token".to_owned(), TOKEN.to_owned()));
        let git = GitServer::start(&rig.path("served"), Manners { login, ..Manners::default() });
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mcp_server.py");
        rig.write(
            "config.toml",
            format!(
                "[condenser]\nkeep-first = 2\nmax = 14\n[repository]\nlocation = \"owner/proj\"\nprovider = \"github\"\nhost = \"{}\"\n\
                 token = \"GIT_TOKEN\"\n[agents.helper]\n[mcp.fake]\ncommand = \"python3\"\nargs = [\"-u\", \"{}\", \"well\", \"echo\", \"{tool}\"]\n",
                git.url(),
                server.display()
            ),
        );
        for (name, value) in [("GIT_TOKEN", TOKEN), ("DEPLOY_KEY", KEY)] {
            let mut set = rig.command(&["secrets", "set", name]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            set.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
            assert!(set.wait().unwrap().success());
        }
        Self { rig, model, _git: git, daemon, tool }
    }

    fn journal(&self) -> Vec<usize> {
        let mut written: Vec<usize> = lines(&self.rig.path("work/journal")).iter().map(|line| line.parse().unwrap()).collect();
        written.sort_unstable();
        let length = written.len();
        written.dedup();
        assert_eq!(written.len(), length, "an action ran twice: {written:?}");
        written
    }

    /// The program: beginning, going on, or closing.
    fn command(&self, session: Option<&Session>) -> Command {
        match session {
            None => {
                let mut command = self.rig.live(&self.model, &["--secret", "DEPLOY_KEY"]);
                command.arg("--config").arg(self.rig.path("config.toml")).arg("write it down by the tide");
                command
            }
            Some(session) if is_done(session) => self.rig.command(&["close", "live"]),
            Some(_) => self.rig.command(&["resume", "live"]),
        }
    }

    async fn store(&self) -> Option<SharedStore> {
        let path: PathBuf = self.rig.store();
        if !path.exists() {
            return None;
        }
        Some(rekindle::store::connect(&format!("sqlite://{}", path.display()), OpenOptions::default()).await.unwrap())
    }

    /// What must hold after any kill; the state, where the session is there.
    async fn assert_sound(&self) -> Option<Session> {
        let written = self.journal();
        self.model.received().iter().for_each(assert_conversation);
        let store = self.store().await?;
        let row = store.session(SessionId::named(&"live".parse().unwrap())).await.unwrap();
        let Some(row) = row else {
            assert!(written.is_empty());
            store.close().await;
            return None;
        };
        verify_session(store.as_ref(), row.id).await.unwrap();
        let session = restore(store.as_ref(), row.id, Trust::Nothing).await.unwrap().session;
        let events = log(&store, row.id).await;
        assert_calls(&events, is_done(&session));
        assert_actions(&events, is_done(&session));
        let summaries = assert_summaries(&events);
        assert!(summaries > 1 || session.agent != AgentState::Finished, "the history was summed up, and its summary, too");
        for event in &events {
            let Event::DelegateStarted(delegate) = Event::read(event) else { continue };
            // It is begun after its parent has said so.
            if store.session(delegate.session).await.unwrap().is_none() {
                continue;
            }
            verify_session(store.as_ref(), delegate.session).await.unwrap();
            let delegated = restore(store.as_ref(), delegate.session, Trust::Nothing).await.unwrap().session;
            let events = log(&store, delegate.session).await;
            assert_calls(&events, is_done(&delegated));
            assert_actions(&events, is_done(&delegated));
        }
        // Also in what is not yet moved from the write-ahead log.
        self.assert_nothing_told();
        store.close().await;
        self.assert_nothing_told();
        Some(session)
    }

    /// No value of a secret is in any file of the store, as it is or in base64.
    fn assert_nothing_told(&self) {
        let told = [TOKEN, KEY].map(|value| [value.to_owned(), BASE64_STANDARD.encode(value)]).concat();
        let found = holding(&self.rig.path("rekindle"), &told);
        assert!(found.is_empty(), "values are in {found:?}");
    }
}

fn is_done(session: &Session) -> bool {
    session.agent == AgentState::Finished || matches!(session.phase, Phase::Closing { .. } | Phase::Closed { .. })
}

/// Each history was summed up by one summary that was asked for, and no event twice.
fn assert_summaries(events: &[Recorded]) -> usize {
    let body = |event: &Recorded| serde_json::from_str::<Value>(event.body.as_json()).unwrap();
    let mut forgotten = Vec::new();
    let condensations: Vec<&Recorded> = events.iter().filter(|event| event.kind.as_str() == "action.condensation").collect();
    for event in &condensations {
        let asked = events.iter().find(|asked| Some(asked.seq) == event.cause).expect("it was asked for");
        assert_eq!(body(asked)["summarises"], body(event)["args"]["forgotten_event_ids"]);
        assert!(body(event)["args"]["summary"].as_str().is_some_and(|summary| summary.starts_with(SUMMARY)), "{event:?}");
        forgotten.extend(body(event)["args"]["forgotten_event_ids"].as_array().unwrap().clone());
    }
    let count = forgotten.len();
    forgotten.sort_by_key(|id| id.as_i64());
    forgotten.dedup();
    assert_eq!(forgotten.len(), count, "an event was forgotten twice");
    condensations.len()
}

/// How often each event is answered by one of these kinds.
fn answers_of(events: &[Recorded], kinds: &[&str]) -> BTreeMap<u64, usize> {
    let mut answers = BTreeMap::new();
    for event in events.iter().filter(|event| kinds.iter().any(|kind| event.kind.as_str().starts_with(kind))) {
        if let Some(cause) = event.cause {
            *answers.entry(cause.0).or_default() += 1;
        }
    }
    answers
}

/// A call of the model has one outcome, but for those whose engine was killed: they are asked again as a further attempt.
fn assert_calls(events: &[Recorded], done: bool) {
    let outcomes = answers_of(events, &["model.responded", "model.failed"]);
    assert!(outcomes.values().all(|count| *count == 1), "{outcomes:?}");
    let requests: Vec<&Recorded> = events.iter().filter(|event| event.kind.as_str() == "model.requested").collect();
    for (request, next) in requests.iter().zip(requests.iter().skip(1).map(Some).chain([None])) {
        let attempt = |event: &Recorded| serde_json::from_str::<Value>(event.body.as_json()).unwrap()["attempt"].clone();
        if !outcomes.contains_key(&request.seq.0) {
            match next {
                Some(next) => assert_eq!(attempt(next), json!(attempt(request).as_u64().unwrap() + 1)),
                None => assert!(!done, "the last call has no outcome"),
            }
        }
    }
}

fn assert_actions(events: &[Recorded], done: bool) {
    let outcomes = answers_of(events, &["observation."]);
    assert!(outcomes.values().all(|count| *count == 1), "{outcomes:?}");
    let unsafe_kinds = ["action.run", "action.edit", "action.run_ipython", "action.call_tool_mcp"];
    let dispatched = answers_of(events, &["action.dispatched"]);
    for event in events.iter().filter(|event| unsafe_kinds.contains(&event.kind.as_str())) {
        let count = dispatched.get(&event.seq.0).copied().unwrap_or(0);
        assert!(count <= 1, "{} {} was handed out {count} times", event.kind.as_str(), event.seq);
    }
    let intents =
        events.iter().filter(|event| unsafe_kinds.contains(&event.kind.as_str()) || event.kind.as_str() == "action.delegate");
    let open: Vec<u64> = intents.map(|event| event.seq.0).filter(|seq| !outcomes.contains_key(seq)).collect();
    assert!(!done || open.is_empty(), "actions {open:?} have no outcome");
}

/// The processes whose command line says this.
fn processes(saying: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(saying)).collect()
}

fn end(mut child: Child, life: Duration) -> bool {
    let until = std::time::Instant::now() + life;
    while std::time::Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.code().is_some());
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

fn kill_again_and_again(seed: u64) {
    let mut random = Random(seed);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mut kills, mut completed) = (0, 0);
    while kills < KILLS || completed == 0 {
        let trial = tokio.block_on(Trial::new());
        let mut session: Option<Session> = None;
        let mut kills_here = 0;
        while !session.as_ref().is_some_and(|session| matches!(session.phase, Phase::Closed { .. })) {
            let child =
                trial.command(session.as_ref()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Later programs of a trial live longer, so that every trial comes to its end.
            let life = Duration::from_micros(random.below(LIFE_MAX.as_micros() as u64) * (1 + kills_here / 6));
            if end(child, life) {
                kills += 1;
                kills_here += 1;
            }
            session = tokio.block_on(trial.assert_sound());
        }
        let again = trial.rig.run(&["replay", "live", "--mode", "verify"]);
        assert!(again.code == 0 && !again.out.contains("unchecked"), "today's code decides it as it stands: {again:?}");
        let unknown = LINES + DELEGATED - trial.journal().len();
        assert!(unknown as u64 <= kills_here, "only what a kill has cut off may be missing");
        let clones = fs::read_dir(trial.rig.path("work")).unwrap().flatten().map(|entry| entry.file_name());
        let clones: Vec<_> = clones.filter(|name| name.to_string_lossy().contains(".rekindle-")).collect();
        assert!(clones.is_empty(), "clones are left over: {clones:?}");
        assert!(!lines(&trial.rig.path("work/prepared")).is_empty(), "the setup script has run");
        let last = trial.model.received().into_iter().rfind(|request| !is_part(request) && !is_summary(request)).unwrap();
        for what in [KNOWLEDGE, FOR_ALL] {
            let told: usize = messages(&last).iter().map(|message| words(message).matches(what).count()).sum();
            assert_eq!(told, 1, "{what:?} is told once, and forgotten by no restart");
        }
        let parts = trial.model.received().iter().filter(|request| is_part(request)).count();
        assert!(parts > DELEGATED, "the delegate was asked");
        for saying in [&trial.daemon, &trial.tool] {
            wait_until("no process of the session is left", || processes(saying).is_empty());
        }
        let names: Vec<_> = fs::read_dir(trial.rig.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // What keeps a former owner from the workspace, should it wake up.
        let fences = format!("rekindle-{}", nix::unistd::geteuid());
        let known = ["rekindle", "work", "served", "config.toml", "secrets.json", "secrets.json.lock", &fences];
        assert!(names.iter().all(|name| known.iter().any(|known| name == known)), "files are left over: {names:?}");
        completed += 1;
    }
}

#[test]
fn an_agent_that_is_killed_anywhere_goes_on_and_repeats_nothing_1() {
    kill_again_and_again(0x9E37_79B9);
}

#[test]
fn an_agent_that_is_killed_anywhere_goes_on_and_repeats_nothing_2() {
    kill_again_and_again(0x7F4A_7C15);
}

#[test]
fn an_agent_that_is_killed_anywhere_goes_on_and_repeats_nothing_3() {
    kill_again_and_again(0xBF58_476D);
}

#[test]
fn an_agent_that_is_killed_anywhere_goes_on_and_repeats_nothing_4() {
    kill_again_and_again(0x94D0_49BB);
}
