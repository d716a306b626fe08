//! The real program with an agent, killed with SIGKILL at random moments of its start, its calls of the model, its actions and its
//! close, two hundred times and more.
//!
//! After every kill the log is whole and nothing ran twice; every conversation that the model ever gets is one that endpoints take; at
//! the end each call of the model and each action has one outcome, and nothing of the session is left on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle::engine::restore::{Trust, restore};
use rekindle::session::{AgentState, Phase, Recorded, Session, SessionId};
use rekindle::store::{OpenOptions, SharedStore, verify_session};
use serde_json::json;

use crate::cli_support::{Rig, lines, wait_until};
use crate::kill_anywhere::{Random, log};
use crate::live_support::{assert_conversation, calls, finishes, following};
use crate::model_server::{ModelAnswer, ModelServer};

/// How often each of the four tests below kills.
const KILLS: usize = 52;
/// The longest that a program lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(1500);
/// How many lines the agent's commands write.
const LINES: usize = 10;

/// Each command writes a line of its own, so that one which ran twice is seen.
fn script(daemon: &str) -> Vec<ModelAnswer> {
    let write = |n: usize| json!({ "command": format!("echo {n} >> /workspace/journal") });
    let mut script: Vec<ModelAnswer> = (0..LINES)
        .step_by(2)
        .map(|n| calls(n, "bash", &write(n)).calls(&format!("call_{}", n + 1), "bash", &write(n + 1)))
        .collect();
    script.insert(0, calls(100, "bash", &json!({ "command": format!("setsid {daemon} > /dev/null 2>&1 &") })));
    script.push(calls(
        20,
        "str_replace_editor",
        &json!({ "command": "create", "path": "/workspace/note", "file_text": "noted\n" }),
    ));
    script.push(calls(21, "python", &json!({ "code": "open('/workspace/journal').read().count('\\n')" })));
    script.push(finishes(22, "written"));
    script
}

struct Trial {
    rig: Rig,
    model: ModelServer,
    /// A command that leaves its shell and would outlive the session.
    daemon: String,
}

impl Trial {
    async fn new() -> Self {
        let daemon = format!("sleep 54321.{}", uuid::Uuid::new_v4().as_u128());
        Self { rig: Rig::new(), model: following(script(&daemon)).await, daemon }
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
            None => self.rig.live(&self.model, &["write it down"]),
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
        store.close().await;
        assert_calls(&events, is_done(&session));
        assert_actions(&events, is_done(&session));
        Some(session)
    }
}

fn is_done(session: &Session) -> bool {
    session.agent == AgentState::Finished || matches!(session.phase, Phase::Closing { .. } | Phase::Closed { .. })
}

/// How often each event is answered by one of these kinds.
fn answers(events: &[Recorded], kinds: &[&str]) -> BTreeMap<u64, usize> {
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
    let outcomes = answers(events, &["model.responded", "model.failed"]);
    assert!(outcomes.values().all(|count| *count == 1), "{outcomes:?}");
    let requests: Vec<&Recorded> = events.iter().filter(|event| event.kind.as_str() == "model.requested").collect();
    for (request, next) in requests.iter().zip(requests.iter().skip(1).map(Some).chain([None])) {
        let attempt =
            |event: &Recorded| serde_json::from_str::<serde_json::Value>(event.body.as_json()).unwrap()["attempt"].clone();
        if !outcomes.contains_key(&request.seq.0) {
            match next {
                Some(next) => assert_eq!(attempt(next), json!(attempt(request).as_u64().unwrap() + 1)),
                None => assert!(!done, "the last call has no outcome"),
            }
        }
    }
}

fn assert_actions(events: &[Recorded], done: bool) {
    let outcomes = answers(events, &["observation."]);
    assert!(outcomes.values().all(|count| *count == 1), "{outcomes:?}");
    let intents =
        events.iter().filter(|event| matches!(event.kind.as_str(), "action.run" | "action.edit" | "action.run_ipython"));
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
        let unknown = LINES - trial.journal().len();
        assert!(unknown as u64 <= kills_here, "only what a kill has cut off may be missing");
        wait_until("no process of the session is left", || processes(&trial.daemon).is_empty());
        let names: Vec<_> = fs::read_dir(trial.rig.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        // What keeps a former owner from the workspace, should it wake up.
        let fences = format!("rekindle-{}", nix::unistd::geteuid());
        let known = ["rekindle", "work", &fences];
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
