//! Real nodes on one store, and sessions that wait to be run by one of them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rekindle::engine::Engine;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{Ports, Provision, Provisioned, RuntimeError, Runtimes};
use rekindle::session::{
    AgentState, Deadlines, OnDivergence, OnUnknown, Origin, Recorded, RuntimeSpec, Seq, SessionId, SessionSpec,
};
use rekindle::store::{OpenOptions, Read, Row, SessionFilter, SharedStore, connect, verify_session};

/// Where the nodes of a test keep their log.
pub fn sqlite_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("log.db").display())
}

/// A process that serves, and what it says.
pub struct Node {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Node {
    pub fn start(url: &str, lease: &str) -> Self {
        Self::start_in(url, lease, &[])
    }

    /// Starts one with these variables in its environment.
    pub fn start_in(url: &str, lease: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.envs(environment.iter().copied());
        command.args(["--store", url, "serve", "--lease", lease]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, saying) = (child.stderr.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut said = saying.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, said }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Ends it as a person does; returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes no runtime, ever.
struct NoRuntimes;

#[async_trait]
impl Runtimes for NoRuntimes {
    async fn provision(&self, _request: Provision) -> Result<Provisioned, RuntimeError> {
        std::future::pending().await
    }
}

/// A recording whose actions write a line each into `journal`.
fn recording(actions: usize, pause: &str) -> String {
    let mut items = vec![r#"{"id":0,"source":"user","action":"message","args":{"content":"count"}}"#.to_owned()];
    for n in 0..actions {
        let id = 2 * n + 1;
        items.push(format!(
            r#"{{"id":{id},"source":"agent","action":"run","args":{{"command":"echo {n} >> journal; sleep {pause}"}}}}"#
        ));
        items.push(format!(
            r#"{{"id":{},"cause":{id},"source":"agent","observation":"run","content":"","extras":{{"command":"","metadata":{{"exit_code":0}}}}}}"#,
            id + 1
        ));
    }
    items.push(r#"{"source":"agent","action":"finish","args":{}}"#.to_owned());
    format!("[{}]", items.join(","))
}

/// Makes sessions that nobody runs, each with a workspace in `folder`.
pub async fn prepare(url: &str, folder: &Path, sessions: usize, actions: usize, pause: &str) -> Vec<(SessionId, PathBuf)> {
    prepare_in(url, folder, sessions, actions, pause, &RuntimeSpec::default()).await
}

/// The same, in this runtime.
pub async fn prepare_in(
    url: &str,
    folder: &Path,
    sessions: usize,
    actions: usize,
    pause: &str,
    runtime: &RuntimeSpec,
) -> Vec<(SessionId, PathBuf)> {
    let store = connect(url, OpenOptions::default()).await.unwrap();
    let ports = Ports::new(Arc::new(NoRuntimes), rekindle::trajectory::recording);
    let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
    let mut made = Vec::new();
    for n in 0..sessions {
        let id = engine.new_session_id();
        let workspace = folder.join(format!("workspace-{n}"));
        let trajectory = store.put_blob(id, recording(actions, pause).into_bytes()).await.unwrap();
        let origin = Origin::Replay { trajectory, on_divergence: OnDivergence::Continue, on_unknown: OnUnknown::StepOver };
        let deadlines = Deadlines { start_step_ms: 600_000, ..Deadlines::default() };
        let spec = SessionSpec { deadlines, runtime: runtime.clone(), ..SessionSpec::new(origin, workspace.clone()) };
        engine.create(id, None, spec).await.unwrap();
        made.push((id, workspace));
    }
    engine.drain().await;
    store.close().await;
    made
}

/// Which lines the actions of a session have written, each of them once.
#[track_caller]
pub fn journal(workspace: &Path) -> BTreeSet<usize> {
    let text = std::fs::read_to_string(workspace.join("journal")).unwrap_or_default();
    let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    let set: BTreeSet<usize> = lines.iter().copied().collect();
    assert_eq!(set.len(), lines.len(), "an action ran twice: {lines:?}");
    set
}

/// How many sessions have something left to do.
pub async fn due(store: &SharedStore) -> usize {
    store.sessions(SessionFilter::Due, 10_000).await.unwrap().len()
}

async fn log(store: &SharedStore, id: SessionId) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event| event.seq);
        let page = store.read(Read::forward(id, after)).await.unwrap();
        events.extend(page.rows.into_iter().map(|row| match row {
            Row::Event { event, .. } => event,
            Row::Damaged { .. } => panic!("{row:?}"),
        }));
        if !page.more {
            return events;
        }
    }
}

/// The session has ended as its recording says: every action has one outcome, ran at most once, and what did not run is told.
/// Returns how many outcomes are unknown.
pub async fn assert_ended(store: &SharedStore, id: SessionId, workspace: &Path, actions: usize) -> u64 {
    verify_session(store.as_ref(), id).await.unwrap();
    let restored = rekindle::engine::restore::restore(store.as_ref(), id, rekindle::engine::Trust::Nothing).await.unwrap();
    assert_eq!(restored.session.agent, AgentState::Finished, "{id}");
    let unknown = restored.session.replay.unwrap().verdicts.unknown;
    let events = log(store, id).await;
    let intents: Vec<_> = events.iter().filter(|event| event.kind.as_str() == "action.run").collect();
    assert_eq!(intents.len(), actions);
    for intent in intents {
        let outcomes = events.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.family() == "observation");
        assert_eq!(outcomes.count(), 1, "{id}, action {}", intent.seq);
    }
    let ran = journal(workspace).len() as u64;
    assert!(ran + unknown >= actions as u64, "{id}: {ran} ran, {unknown} are unknown");
    unknown
}
