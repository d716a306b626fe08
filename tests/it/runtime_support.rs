//! A local runtime in a workspace of its own, and short ways to say what it is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::ports::{Provision, Runtime, RuntimeError, RuntimeReport, Runtimes, Timeout};
use rekindle::host::runtime::local::{Isolation, LocalOptions, LocalRuntimes};
use rekindle::session::action::{EditFile, ReadFile, Run, WriteFile};
use rekindle::session::observation::CommandMetadata;
use rekindle::session::{Action, Digest, Epoch, Extras, Observation, SessionId};
use serde_json::{Value, json};

/// The ways to keep sessions apart that this machine permits; some permit no namespaces.
pub fn isolations() -> Vec<Isolation> {
    let user = if nix::unistd::geteuid().is_root() { "" } else { "--user --map-current-user --keep-caps" };
    let probe = format!("unshare {user} --mount --pid --fork -- mount -t proc proc /proc");
    let permitted = std::process::Command::new("sh").args(["-c", &probe]).output().is_ok_and(|output| output.status.success());
    if permitted { vec![Isolation::Namespaces, Isolation::Plain] } else { vec![Isolation::Plain] }
}

pub const PATIENT: Timeout = Timeout { hard: Duration::from_secs(60), quiet: Duration::from_secs(60) };

/// A runtime and the directory that is its workspace.
pub struct Local {
    pub runtime: Arc<dyn Runtime>,
    pub report: RuntimeReport,
    pub name: String,
    pub workspace: PathBuf,
    _directory: tempfile::TempDir,
}

pub fn options(isolation: Isolation) -> LocalOptions {
    LocalOptions { isolation, ..LocalOptions::default() }
}

pub fn request(name: &str, workspace: PathBuf) -> Provision {
    let session: SessionId = serde_json::from_value(json!(uuid::Uuid::now_v7())).unwrap();
    Provision::new(session, Digest::ZERO, name, Epoch(1), workspace)
}

pub async fn local(isolation: Isolation) -> Local {
    local_with(options(isolation)).await
}

pub async fn local_with(options: LocalOptions) -> Local {
    local_as(options, |_| ()).await
}

/// One that is asked for in other words than the usual ones.
pub async fn local_as(options: LocalOptions, ask: impl FnOnce(&mut Provision)) -> Local {
    let directory = tempfile::tempdir().unwrap();
    let workspace = directory.path().canonicalize().unwrap().join("ws");
    let name = format!("test-{}", uuid::Uuid::now_v7());
    let mut asked = request(&name, workspace.clone());
    ask(&mut asked);
    let made = LocalRuntimes::new(options).provision(asked).await.unwrap();
    Local { runtime: made.runtime, report: made.report, name, workspace, _directory: directory }
}

pub fn run(command: &str) -> Run {
    serde_json::from_value(json!({ "command": command })).unwrap()
}

pub fn input(text: &str) -> Action {
    Action::Run(Run { is_input: true, ..run(text) })
}

pub fn within(hard_ms: u64, quiet_ms: u64) -> Timeout {
    Timeout { hard: Duration::from_millis(hard_ms), quiet: Duration::from_millis(quiet_ms) }
}

pub fn metadata(observation: &Observation) -> &CommandMetadata {
    match &observation.extras {
        Extras::Run(output) => &output.metadata,
        other => panic!("not a command's: {other:?} {}", observation.content),
    }
}

/// The parts that most tests look at.
pub fn told(observation: &Observation) -> (i64, &str) {
    (metadata(observation).exit_code, &observation.content)
}

impl Local {
    pub async fn try_execute(&self, action: Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        // A hang is a failure with a name, not a test that never ends.
        tokio::time::timeout(Duration::from_secs(90), self.runtime.execute(&action, timeout)).await.expect("execute hangs")
    }

    pub async fn execute(&self, action: Action, timeout: Timeout) -> Observation {
        self.try_execute(action, timeout).await.unwrap()
    }

    pub async fn sh(&self, command: &str) -> Observation {
        self.execute(Action::Run(run(command)), PATIENT).await
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub async fn ok(&self, command: &str) -> String {
        let observation = self.sh(command).await;
        assert_eq!(metadata(&observation).exit_code, 0, "{command}: {observation:?}");
        observation.content
    }

    pub async fn edit(&self, fields: Value) -> Observation {
        let action: EditFile = serde_json::from_value(fields).unwrap();
        self.execute(Action::Edit(action), PATIENT).await
    }

    pub async fn read(&self, fields: Value) -> Observation {
        let action: ReadFile = serde_json::from_value(fields).unwrap();
        self.execute(Action::Read(action), PATIENT).await
    }

    pub async fn write(&self, fields: Value) -> Observation {
        let action: WriteFile = serde_json::from_value(fields).unwrap();
        self.execute(Action::Write(action), PATIENT).await
    }

    pub fn file(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.workspace.join(path)).unwrap()
    }

    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.workspace.join(path), content).unwrap();
    }
}

/// Processes that carry the mark of the runtime called `name` and have not ended.
pub fn marked(name: &str) -> Vec<String> {
    let mark = format!("REKINDLE_SESSION={name}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!(
                "{} {}",
                entry.file_name().to_string_lossy(),
                String::from_utf8_lossy(&command).replace('\0', " ")
            ));
        }
    }
    found
}

/// Waits until `condition` gives something; the time is a bound for a loaded machine, not a pause.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
