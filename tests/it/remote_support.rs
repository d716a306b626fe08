//! A runtime server in this process, and its client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::ports::{ActionKey, Provision, Provisioned, RuntimeError, Runtimes, SecretValue, Timeout};
use rekindle::host::runtime::local::{Isolation, LocalRuntimes};
use rekindle::host::runtime::remote::{RemoteOptions, RemoteRuntimes, RuntimeServer, ServerOptions, Workspaces};
use rekindle::session::{Action, Digest, Epoch, Observation, RuntimeSpec, Sandbox, Seq, SessionId};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::runtime_support::{PATIENT, options, run};

pub const KEY: &str = "k-3f9a-not-to-be-shown";

/// A server and the directory that it keeps everything in.
pub struct Serving {
    pub directory: TempDir,
    pub address: SocketAddr,
    pub options: ServerOptions,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

pub fn unsafe_local() -> RuntimeSpec {
    RuntimeSpec::Local { sandbox: Sandbox::Unsafe, network: true }
}

pub fn local() -> Arc<dyn Runtimes> {
    Arc::new(LocalRuntimes::new(options(Isolation::Auto)))
}

impl Serving {
    pub async fn start() -> Self {
        Self::with(local(), Duration::from_secs(60)).await
    }

    pub async fn with(runtimes: Arc<dyn Runtimes>, owner_timeout: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = ServerOptions {
            key: Some(KEY.to_owned()),
            state: directory.path().join("state"),
            workspaces: Workspaces::At(directory.path().join("workspace")),
            runtime: unsafe_local(),
            owner_timeout,
            once: false,
        };
        let mut serving = Self { directory, address: "127.0.0.1:0".parse().unwrap(), options, stop: None, task: None };
        serving.start_again(runtimes).await;
        serving
    }

    /// Starts it, at the address that it had before.
    pub async fn start_again(&mut self, runtimes: Arc<dyn Runtimes>) {
        let server = RuntimeServer::bind(self.address, runtimes, self.options.clone()).await.unwrap();
        self.address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        self.task = Some(tokio::spawn(server.serve(async move { drop(stopped.await) })));
    }

    /// Stops it as SIGTERM does.
    pub async fn stop(&mut self) {
        drop(self.stop.take());
        self.task.take().unwrap().await.unwrap();
    }

    /// Ends it as SIGKILL does: nothing is written any more, and no connection is answered.
    pub fn is_over(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("workspace/journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }
}

/// A session that asks for the runtime at `url`.
pub fn asked(url: &str, epoch: u64) -> Provision {
    let session = SessionId::from_uuid(Uuid::new_v4());
    let request = Provision::new(session, Digest([7; 32]), format!("{session}-runtime-1"), Epoch(epoch), "/nowhere");
    Provision {
        runtime: RuntimeSpec::Remote { url: url.to_owned(), key: Some("RUNTIME_KEY".to_owned()) },
        key: Some(SecretValue { name: "RUNTIME_KEY".to_owned(), value: KEY.to_owned() }),
        version: Seq(3),
        ..request
    }
}

/// A client that gives a server up after this long.
pub fn client(patience: Duration) -> RemoteRuntimes {
    RemoteRuntimes::new(RemoteOptions { patience })
}

pub async fn provision(request: Provision) -> Provisioned {
    client(Duration::from_secs(20)).provision(request).await.unwrap_or_else(|error| panic!("{error}"))
}

pub fn sh(command: &str) -> Action {
    Action::Run(run(command))
}

pub fn key(action: u64, attempt: u32) -> ActionKey {
    ActionKey { action: Seq(action), attempt }
}

pub async fn keyed(made: &Provisioned, seq: u64, attempt: u32, command: &str) -> Result<Observation, RuntimeError> {
    within(made, key(seq, attempt), command, PATIENT).await
}

pub async fn within(made: &Provisioned, key: ActionKey, command: &str, timeout: Timeout) -> Result<Observation, RuntimeError> {
    let action = sh(command);
    let executed = made.runtime.execute_keyed(key, &action, timeout);
    tokio::time::timeout(Duration::from_secs(90), executed).await.expect("execute hangs")
}

/// Waits until something is so; the time is a bound for a loaded machine, not a pause.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// The processes that have `text` in their arguments.
pub fn with_argument(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(text) && entry.file_name() != std::process::id().to_string().as_str() {
            found.push(arguments);
        }
    }
    found
}
