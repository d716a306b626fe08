//! The local runtime: a session's actions run on this machine, each session with its own shell, interpreter and workspace.
//!
//! Where the system permits, a session has namespaces of its own: its workspace is mounted at `/workspace`, and the kernel ends
//! all its processes with it. Elsewhere paths are mapped, and a watchdog ends the processes by a mark in their environment.
//!
//! Its commands run in a sandbox unless none is asked for by name: they find the machine's programs, write to the workspace and
//! to directories that go with the session, and reach neither the home, nor other processes, nor a network that is not allowed.
//! Landlock holds this, inside or outside of namespaces; what it cannot hold is in the report.

mod environment;
mod fence;
mod files;
mod kill;
mod launch;
mod leftover;
mod mapping;
mod namespaces;
mod oneoff;
mod output;
mod prepare;
mod programs;
mod python;
mod run;
mod sandbox;
mod session;
mod shell;
mod terminal;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use uuid::Uuid;

use crate::engine::ports::{
    Document, Mount, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes, Timeout,
    WORKSPACE,
};
use crate::session::{Action, Observation, RuntimeSpec};

use fence::{Fence, Refused};
use launch::{Ground, Plan};
use mapping::Mapping;
use programs::Programs;
use sandbox::Asked;
use session::{Request, Session};

pub(in crate::host) use files::documents;
pub use leftover::{Leftover, leftovers};

/// How sessions are kept apart from the machine and from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces where the system permits them, else as [`Isolation::Plain`] with a warning.
    #[default]
    Auto,
    /// Namespaces, or no runtime.
    Namespaces,
    /// No namespaces: paths are mapped, and a watchdog ends what was started.
    Plain,
}

/// How local runtimes are made.
#[derive(Clone, Default)]
pub struct LocalOptions {
    /// How sessions are kept apart.
    pub isolation: Isolation,
    /// Variables that commands find in their environment, beside the few that are passed on.
    pub environment: Vec<(String, String)>,
}

impl fmt::Debug for LocalOptions {
    /// Leaves the values of variables out, as they may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("LocalOptions").field("isolation", &self.isolation).field("environment", &names).finish()
    }
}

/// Makes runtimes on this machine.
#[derive(Default)]
pub struct LocalRuntimes {
    options: LocalOptions,
    /// One lock per name, so that a slow start holds up nobody else.
    known: Mutex<HashMap<String, Arc<AsyncMutex<Weak<Shared>>>>>,
}

impl fmt::Debug for LocalRuntimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntimes").field("options", &self.options).finish_non_exhaustive()
    }
}

impl LocalRuntimes {
    /// Makes runtimes as `options` say.
    pub fn new(options: LocalOptions) -> Self {
        Self { options, known: Mutex::default() }
    }

    fn slot(&self, name: &str) -> Arc<AsyncMutex<Weak<Shared>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // What is nobody's any more goes, so that a long-lived engine does not collect names.
        known.retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().map_or(true, |shared| shared.strong_count() > 0));
        Arc::clone(known.entry(name.to_owned()).or_default())
    }
}

#[async_trait]
impl Runtimes for LocalRuntimes {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let slot = self.slot(&request.name);
        let mut slot = slot.lock().await;
        if let Some(shared) = slot.upgrade().filter(|shared| shared.is_usable()) {
            return shared.attach(request.epoch.0);
        }
        let options = self.options.clone();
        let epoch = request.epoch.0;
        let shared = tokio::task::spawn_blocking(move || open(&options, &request))
            .await
            .map_err(|error| RuntimeError::Unavailable(error.to_string()))??;
        *slot = Arc::downgrade(&shared);
        shared.attach(epoch)
    }
}

/// A runtime as one owner holds it.
struct LocalRuntime {
    shared: Arc<Shared>,
    epoch: u64,
}

/// A runtime as all its owners share it; everything ends when the last one lets go.
struct Shared {
    ground: Arc<Ground>,
    requests: Mutex<mpsc::Sender<Request>>,
    bell: PipeWriter,
    released: Arc<AtomicBool>,
    epoch: AtomicU64,
    /// Unset where this machine has no place for it; the report warns of that.
    fence: Option<Fence>,
    report: RuntimeReport,
}

impl Shared {
    fn is_usable(&self) -> bool {
        !self.released.load(Ordering::Acquire) && self.ground.is_alive()
    }

    fn attach(self: &Arc<Self>, epoch: u64) -> Result<Provisioned, RuntimeError> {
        let seen = self.epoch.fetch_max(epoch, Ordering::AcqRel);
        if seen > epoch {
            return Err(RuntimeError::Unavailable(format!("epoch {epoch} was taken over by epoch {seen}")));
        }
        if let Some(fence) = &self.fence {
            let admitted = if seen < epoch { fence.raise(epoch) } else { fence.check() };
            admitted.map_err(refused)?;
        }
        let runtime = Arc::new(LocalRuntime { shared: Arc::clone(self), epoch });
        Ok(Provisioned { runtime, report: self.report.clone() })
    }

    fn ring(&self) {
        // A full pipe has rung already.
        let _ = (&self.bell).write(&[1]);
    }

    fn end(&self) -> io::Result<()> {
        self.released.store(true, Ordering::Release);
        self.ring();
        self.ground.kill()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Release);
        self.ring();
        // Killing waits, and the last owner may be a task: so it happens elsewhere. If the process ends first, the guard does it.
        let ground = Arc::clone(&self.ground);
        let spawned = std::thread::Builder::new().name("rekindle-release".into()).spawn(move || ground.kill());
        if spawned.is_err() {
            let _ = self.ground.kill();
        }
    }
}

impl LocalRuntime {
    /// Refuses an owner that was taken over, and what comes after the release.
    async fn admit(&self) -> Result<(), RuntimeError> {
        let shared = &self.shared;
        let seen = shared.epoch.load(Ordering::Acquire);
        if seen > self.epoch {
            return Err(RuntimeError::Unavailable(format!("epoch {} was taken over by epoch {seen}", self.epoch)));
        }
        if shared.released.load(Ordering::Acquire) {
            return Err(RuntimeError::Lost("the runtime was released".into()));
        }
        let fenced = Arc::clone(shared);
        let check = move || fenced.fence.as_ref().map_or(Ok(()), Fence::check);
        let checked = tokio::task::spawn_blocking(check).await;
        checked.map_err(|error| RuntimeError::Unavailable(error.to_string()))?.map_err(refused)
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    async fn execute(&self, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        self.admit().await?;
        let shared = &self.shared;
        let (reply, answer) = oneshot::channel();
        let request = Request { action: action.clone(), timeout, reply };
        let sent = shared.requests.lock().unwrap_or_else(PoisonError::into_inner).send(request);
        shared.ring();
        let ended = || RuntimeError::Lost("the session's thread has ended".into());
        sent.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        self.prepare_workspace(preparation).await
    }

    async fn documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        self.read_documents(paths, limit).await
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        if self.shared.epoch.load(Ordering::Acquire) > self.epoch {
            // It is another owner's now, who will release it.
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.end())
            .await
            .map_err(|error| RuntimeError::Unavailable(error.to_string()))?
            .map_err(|error| RuntimeError::Unavailable(error.to_string()))
    }
}

/// Starts a runtime; nothing of it is left when it fails.
fn open(options: &LocalOptions, request: &Provision) -> Result<Arc<Shared>, RuntimeError> {
    let unavailable = |what: &str, error: &dyn fmt::Display| RuntimeError::Unavailable(format!("{what}: {error}"));
    let RuntimeSpec::Local { sandbox, network } = request.runtime else {
        return Err(RuntimeError::Unavailable("this is the runtime of this machine, and another one was asked for".to_owned()));
    };
    let asked = Asked { sandbox, network };
    let workspace = make_workspace(&request.workspace)
        .map_err(|error| unavailable(&format!("the workspace {} cannot be made or used", request.workspace.display()), &error))?;
    // The name may come again after a crash, when the watchdog of the first run still ends what it left.
    let mark = ("REKINDLE_RUNTIME".to_owned(), Uuid::new_v4().simple().to_string());
    let environment = environment::environment(&request.name, &mark, &options.environment, asked.is_confined());
    let secrets = environment::secrets(&request.environment).map_err(RuntimeError::Unavailable)?;
    // What the ground is made of; without namespaces `sh` is its guard.
    let programs = Programs::of(&environment, &workspace);
    for program in ["bash", "setsid", "sh"] {
        programs.find(program).map_err(RuntimeError::Unavailable)?;
    }
    // Before anything is started here, what the owner before has started is ended.
    let (fence, unfenced) = match Fence::claim(request) {
        Ok(fence) => (Some(fence), None),
        Err(Refused::File(what, error)) if error.kind() != io::ErrorKind::TimedOut => (None, Some(format!("{what}: {error}"))),
        Err(error) => return Err(refused(error)),
    };
    let mark = format!("{}={}", mark.0, mark.1);
    let plan = Plan { isolation: options.isolation, asked, workspace: &workspace, environment, secrets, mark, programs };
    let (ground, refusal) = Ground::open(plan).map_err(|error| unavailable("the session's sandbox", &error))?;
    let ground = Arc::new(ground);
    if let Some(fence) = &fence
        && let Err(error) = fence.note(ground.footprint())
    {
        ground.kill().map_err(|error| unavailable("the processes' ground", &error))?;
        return Err(refused(error));
    }
    let mounted = ground.mount() == Mount::Namespace;
    let mut warnings = Vec::new();
    if let Some(why) = unfenced {
        warnings
            .push(format!("an owner that was stopped and wakes up beside a later one is not kept from this workspace: {why}"));
    }
    if let Some(why) = refusal {
        warnings.push(format!("no namespaces: {why}"));
    }
    warnings.extend(ground.warnings());
    if !mounted {
        warnings.extend(mapping_warnings(&workspace));
    }
    let report = RuntimeReport {
        runtime: "local".into(),
        workspace: workspace.clone(),
        mount: ground.mount(),
        containment: ground.containment(),
        sandbox: Some(ground.sandbox().clone()),
        warnings,
    };
    let mapping = Mapping::new(workspace, mounted);
    let directory = request.directory.clone().unwrap_or_else(|| WORKSPACE.into());
    let (bell_reader, bell) = io::pipe().map_err(|error| unavailable("the bell", &error))?;
    shell::nonblocking(&bell).map_err(|error| unavailable("the bell", &error))?;
    let (requests, receiver) = mpsc::channel();
    let released = Arc::new(AtomicBool::new(false));
    let (started_send, started) = mpsc::channel();
    let (thread_ground, thread_released) = (Arc::clone(&ground), Arc::clone(&released));
    std::thread::Builder::new()
        .name("rekindle-session".into())
        .spawn(move || match Session::start(thread_ground, mapping, &directory) {
            Ok(session) => {
                let _ = started_send.send(Ok(()));
                session.serve(&receiver, bell_reader, &thread_released);
            }
            Err(error) => drop(started_send.send(Err(error))),
        })
        .map_err(|error| unavailable("the session's thread", &error))?;
    match started.recv() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unavailable("the shell", &error)),
        Err(error) => return Err(unavailable("the shell", &error)),
    }
    let epoch = AtomicU64::new(request.epoch.0);
    Ok(Arc::new(Shared { ground, requests: Mutex::new(requests), bell, released, epoch, fence, report }))
}

fn refused(error: Refused) -> RuntimeError {
    RuntimeError::Unavailable(error.to_string())
}

fn make_workspace(directory: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    directory.canonicalize()
}

/// What a person should know when paths are mapped and a watchdog stands guard.
fn mapping_warnings(workspace: &Path) -> Vec<String> {
    let mut warnings = vec!["a program that clears its environment may outlive the session".to_owned()];
    let shown = workspace.display().to_string();
    if shown != WORKSPACE {
        warnings.push(format!("{WORKSPACE} is not mounted: it is replaced by {shown} in commands"));
    }
    if !shown.chars().all(|char| char.is_alphanumeric() || "/._-+@%:,".contains(char)) {
        warnings.push(format!("{shown} has characters that commands may need to quote"));
    }
    warnings
}
