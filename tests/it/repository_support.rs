//! A session whose start clones: what its tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{Ports, SecretError, SecretValue, Secrets};
use rekindle::engine::{Engine, Status};
use rekindle::host::runtime::local::{Isolation, LocalRuntimes};
use rekindle::session::action::Run;
use rekindle::session::observation::Extras;
use rekindle::session::start::StepOutcome;
use rekindle::session::{
    Action, Command, Content, Event, Item, Observation, Origin, Phase, Provider, Recorded, RepositorySpec, SecretRef, SecretUse,
    Seq, SessionId, SessionSpec, StartStep,
};
use rekindle::store::{MemoryStore, Read, Row, SharedStore};
use serde_json::Value;

use crate::runtime_support::options;

pub const TOKEN: &str = "tok+en/0123456789 abcdef";

/// Knows one value for every secret.
struct OneSecret;

#[async_trait]
impl Secrets for OneSecret {
    async fn values(&self, _session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        let value = |secret: &SecretRef| SecretValue { name: secret.name.clone(), value: TOKEN.to_owned() };
        Ok(secrets.iter().map(value).collect())
    }
}

/// An engine on a store in memory, with real runtimes, and a workspace.
pub struct Bench {
    pub store: SharedStore,
    pub engine: Engine,
    pub home: tempfile::TempDir,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new(Isolation::Auto)
    }
}

impl Bench {
    pub fn new(isolation: Isolation) -> Self {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let engine = engine(&store, isolation);
        Self { store, engine, home: tempfile::tempdir().unwrap() }
    }

    /// Where repositories are kept.
    pub fn served(&self) -> PathBuf {
        self.home.path().join("served")
    }

    pub fn workspace(&self) -> PathBuf {
        self.home.path().join("ws")
    }

    /// The checkout.
    pub fn project(&self) -> PathBuf {
        self.workspace().join("proj")
    }

    pub fn spec(&self, repository: Option<RepositorySpec>) -> SessionSpec {
        let mut spec = SessionSpec::new(Origin::fresh(None), self.workspace());
        if let Some(name) = repository.as_ref().and_then(|repository| repository.token.clone()) {
            let used = SecretUse::Engine;
            spec.secrets.push(SecretRef { name, description: String::new(), used, fingerprint: None });
        }
        spec.repository = repository;
        spec
    }

    /// Starts a session and waits until it rests.
    pub async fn start(&self, spec: SessionSpec) -> SessionId {
        let id = self.engine.new_session_id();
        self.engine.create(id, None, spec).await.unwrap();
        assert_eq!(self.engine.rest(id).await, Status::Resting);
        id
    }

    /// Starts a session that clones, which must succeed.
    pub async fn cloned(&self, repository: RepositorySpec) -> SessionId {
        let id = self.start(self.spec(Some(repository))).await;
        assert_eq!(self.failure(id).await, None);
        id
    }

    /// Starts a session that clones, which must fail; says why.
    pub async fn refused(&self, repository: RepositorySpec) -> String {
        let id = self.start(self.spec(Some(repository))).await;
        self.failure(id).await.expect("the start fails")
    }

    pub async fn events(&self, id: SessionId) -> Vec<Recorded> {
        let page = self.store.read(Read::forward(id, Seq::ZERO)).await.unwrap();
        assert!(!page.more);
        let event = |row| match row {
            Row::Event { event, .. } => event,
            Row::Damaged { seq, what } => panic!("event {seq}: {what}"),
        };
        page.rows.into_iter().map(event).collect()
    }

    /// Why the start failed, if it did.
    pub async fn failure(&self, id: SessionId) -> Option<String> {
        let failed = |event: &Recorded| match Event::read(event) {
            Event::StepFailed(failed) => Some(failed.error),
            _ => None,
        };
        let failed = self.events(id).await.iter().rev().find_map(failed);
        let phase = self.engine.restore(id).await.unwrap().session.phase;
        failed.filter(|_| matches!(phase, Phase::StartFailed { .. }))
    }

    /// What a step reported, or why it was skipped.
    pub async fn step(&self, id: SessionId, wanted: StartStep) -> Result<Value, String> {
        let outcome = |event: &Recorded| match Event::read(event) {
            Event::StepFinished(finished) if finished.step == wanted => Some(finished.outcome),
            _ => None,
        };
        match self.events(id).await.iter().rev().find_map(outcome).expect("the step has ended") {
            StepOutcome::Done { report } => Ok(report.0),
            StepOutcome::Skipped { reason } => Err(reason),
        }
    }

    /// Runs a command in the session.
    pub async fn sh(&self, id: SessionId, command: &str) -> (i64, String) {
        let run: Run = serde_json::from_value(serde_json::json!({ "command": command })).unwrap();
        self.engine.submit(id, Command::Act { actions: vec![Item::from(Action::Run(run))] }).await.unwrap();
        assert_eq!(self.engine.rest(id).await, Status::Resting);
        let observed = |event: &Recorded| match Event::read(event) {
            Event::Item(entry) => match entry.item.content {
                Content::Observation(Observation { content, extras: Extras::Run(run) }) => {
                    Some((run.metadata.exit_code, content))
                }
                _ => None,
            },
            _ => None,
        };
        self.events(id).await.iter().rev().find_map(observed).expect("the command was run")
    }

    /// What unfinished clones have left in the workspace.
    pub fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.workspace()).unwrap().flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.contains(".rekindle-")).collect()
    }
}

pub fn engine(store: &SharedStore, isolation: Isolation) -> Engine {
    let runtimes = Arc::new(LocalRuntimes::new(options(isolation)));
    let ports = Ports { secrets: Arc::new(OneSecret), ..Ports::new(runtimes, rekindle::trajectory::recording) };
    Engine::new(Arc::clone(store), ports, Arc::new(SystemClock))
}

/// A repository at a URL or a path.
pub fn plain(location: impl AsRef<Path>) -> RepositorySpec {
    let location = location.as_ref().display().to_string();
    RepositorySpec { provider: Provider::Plain, location, branch: None, token: None, depth: None }
}

/// Every file below `directory` that holds one of `words`.
pub fn holding(directory: &Path, words: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, words));
        } else if let Ok(bytes) = std::fs::read(&path) {
            let holds = |word: &String| bytes.windows(word.len()).any(|window| window == word.as_bytes());
            found.extend(words.iter().any(holds).then_some(path));
        }
    }
    found
}
