//! Launched runtimes: a command starts a runtime server somewhere, in a container or on another machine, which is then spoken to
//! over HTTP. It ends with its session; where the engine dies before, a later one finds it again.

mod process;
mod record;
mod words;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::remote::{Released, RemoteOptions, RemoteRuntime, RemoteRuntimes};
use crate::engine::ports::{
    ActionKey, Document, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, Runtimes, SecretValue, Timeout,
};
use crate::session::{Action, Launcher, Observation, RuntimeSpec};
use process::Process;
use record::{Held, Record};
use words::Meaning;

pub use record::{Launched, launched};
pub use words::{PRESETS, preset};

/// How long a server that was launched may be out of reach.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take that one which is on record answers.
const FOUND_WAIT: Duration = Duration::from_secs(10);
/// The pauses between looks whether the server answers.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// What remains of the time to say what went wrong.
const MARGIN: Duration = Duration::from_secs(3);

/// Runtimes that a command launches.
#[derive(Debug)]
pub struct CommandRuntimes {
    remote: RemoteRuntimes,
}

impl Default for CommandRuntimes {
    fn default() -> Self {
        Self { remote: RemoteRuntimes::new(RemoteOptions { patience: PATIENCE }) }
    }
}

fn unavailable(error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Unavailable(error.to_string())
}

#[async_trait]
impl Runtimes for CommandRuntimes {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let RuntimeSpec::Command(launcher) = &request.runtime else {
            return Err(unavailable("no launcher is asked for"));
        };
        let path = record::path(request.session, request.birth)
            .map_err(|error| unavailable(format!("the directory for what is launched: {error}")))?;
        let port = free_port().map_err(unavailable)?;
        let meaning = meaning(launcher, &request, port);
        let stop = meaning.all(&launcher.stop).map_err(unavailable)?;
        match Record::read(&path) {
            Some(former) if former.epoch > request.epoch => {
                return Err(unavailable(format!("epoch {} was taken over by epoch {}", request.epoch, former.epoch)));
            }
            Some(former) => {
                if self.remote.answers(&former.url, &former.key, FOUND_WAIT).await? {
                    let held = Record { epoch: request.epoch, ..former.clone() }.hold(path.clone()).map_err(unavailable)?;
                    match self.speak(Running::found(held), &request).await {
                        Ok(provisioned) => return Ok(provisioned),
                        Err(error) => tracing::warn!(%error, "a launched runtime that was found is of no use"),
                    }
                }
                let (mark, stop) = (former.mark, former.stop);
                blocking(move || process::end(&mark, &stop)).await.map_err(unavailable)?;
            }
            // A predecessor on another machine, or before this one was started anew, may have left something of this name.
            None if request.epoch.0 > 1 && !stop.is_empty() => {
                let stop = stop.clone();
                blocking(move || {
                    process::stop(&stop);
                    Ok(())
                })
                .await
                .map_err(unavailable)?;
            }
            None => {}
        }
        let words = meaning.all(&launcher.command).map_err(unavailable)?;
        let url = launcher.url.clone().unwrap_or_else(|| "http://127.0.0.1:{port}".to_owned());
        let url = meaning.replace(&url).map_err(unavailable)?;
        if let Some(program) = words.first().filter(|program| !process::is_there(program)) {
            return Err(unavailable(format!("there is no program {program}, which is to launch the runtime; install it")));
        }
        if launcher.command.iter().any(|word| word.contains("{workspace}")) {
            std::fs::create_dir_all(&request.workspace)
                .map_err(|error| unavailable(format!("the workspace {} cannot be made: {error}", request.workspace.display())))?;
        }
        let record = Record {
            session: request.session,
            birth: request.birth,
            epoch: request.epoch,
            url,
            key: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
            mark: Uuid::new_v4().simple().to_string(),
            stop,
        };
        // On record before it is there, so that no crash leaves what nobody knows of.
        let mut running = Running::new(record.hold(path).map_err(unavailable)?);
        match self.launch(&mut running, &words, request.within).await {
            Ok(()) => self.speak(running, &request).await,
            Err(why) => {
                if let Err(error) = running.end().await {
                    tracing::warn!(%error, "what was launched in vain could not be ended");
                }
                Err(unavailable(why))
            }
        }
    }
}

impl CommandRuntimes {
    /// Starts the launcher and waits until its server answers, and is the one that was launched: only then is the key sent.
    async fn launch(&self, running: &mut Running, words: &[String], within: Duration) -> Result<(), String> {
        let within = within.saturating_sub(MARGIN).max(within / 2);
        let deadline = Instant::now() + within;
        let Record { url, key, mark, .. } = running.held.record.clone();
        let log = running.held.log();
        let started = Process::start(words, &key, &mark, log.clone()).await.map_err(|error| format!("the launcher: {error}"));
        let process = running.process.insert(started?);
        running.short = Some(tokio::spawn(process::keep_short(log)).abort_handle());
        let said = |process: &Process| match process.tail() {
            tail if tail.is_empty() => "it wrote nothing".to_owned(),
            tail => format!("it wrote: {tail}"),
        };
        let mut pause = LOOKS.0;
        loop {
            // One that ends well may have left something that runs.
            if let Some(status) = process.ended().filter(|status| !status.success()) {
                return Err(format!("the launcher ended with {status}; {}", said(process)));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (seconds, said) = (within.as_secs(), said(process));
                return Err(format!("the launched runtime did not answer at {url} within {seconds} s; {said}"));
            }
            match self.remote.answers(&url, &key, Duration::from_secs(2).min(left)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(error.to_string()),
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOKS.1);
        }
    }

    async fn speak(&self, running: Running, request: &Provision) -> Result<Provisioned, RuntimeError> {
        let Record { url, key, .. } = &running.held.record;
        let key = SecretValue { name: "of the launched runtime".to_owned(), value: key.clone() };
        let (remote, mut report) = match self.remote.at(url, Some(&key), request).await {
            Ok(made) => made,
            Err(error) => {
                let tail = running.process.as_ref().map(Process::tail).unwrap_or_default();
                running.end().await?;
                return Err(if tail.is_empty() { error } else { unavailable(format!("{error}; the launcher wrote: {tail}")) });
            }
        };
        report.runtime = "command".to_owned();
        let runtime = LaunchedRuntime { remote, running: Mutex::new(Some(running)) };
        Ok(Provisioned { runtime: Arc::new(runtime), report })
    }
}

fn meaning(launcher: &Launcher, request: &Provision, port: u16) -> Meaning {
    let program = std::env::current_exe().map(|path| path.display().to_string());
    Meaning {
        session: request.session.to_string(),
        workspace: request.workspace.display().to_string(),
        port: port.to_string(),
        image: launcher.image.clone(),
        program: program.unwrap_or_else(|_| "rekindle".to_owned()),
    }
}

/// A port that is free just now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Something launched that runs. Ends when it is dropped.
struct Running {
    held: Arc<Held>,
    process: Option<Process>,
    short: Option<AbortHandle>,
    is_over: bool,
}

impl Running {
    fn new(held: Held) -> Self {
        Self { held: Arc::new(held), process: None, short: None, is_over: false }
    }

    /// One that an engine before has launched.
    fn found(held: Held) -> Self {
        let mut running = Self::new(held);
        running.short = Some(tokio::spawn(process::keep_short(running.held.log())).abort_handle());
        running
    }

    /// Ends it, unless it is another engine's by now.
    async fn end(mut self) -> Result<(), RuntimeError> {
        if self.held.is_ours() {
            let Record { mark, stop, .. } = self.held.record.clone();
            blocking(move || process::end(&mark, &stop)).await.map_err(unavailable)?;
        }
        self.is_over = true;
        self.held.remove();
        Ok(())
    }

    /// Leaves it as it is.
    fn leave(mut self) {
        self.is_over = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(short) = &self.short {
            short.abort();
        }
        if self.is_over || !self.held.is_ours() {
            return;
        }
        // It waits, and the last owner may be a task: so it happens elsewhere. If this process ends first, it stays on record.
        let held = Arc::clone(&self.held);
        let ends = move || match process::end(&held.record.mark, &held.record.stop) {
            Ok(()) => held.remove(),
            Err(error) => tracing::warn!(%error, "what was launched could not be ended"),
        };
        let _ = std::thread::Builder::new().name("rekindle-launched".into()).spawn(ends);
    }
}

/// A runtime that was launched.
struct LaunchedRuntime {
    remote: Arc<RemoteRuntime>,
    running: Mutex<Option<Running>>,
}

#[async_trait]
impl Runtime for LaunchedRuntime {
    async fn execute(&self, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        self.remote.execute(action, timeout).await
    }

    async fn execute_keyed(&self, key: ActionKey, action: &Action, timeout: Timeout) -> Result<Observation, RuntimeError> {
        self.remote.execute_keyed(key, action, timeout).await
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        self.remote.prepare(preparation).await
    }

    async fn documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        self.remote.documents(paths, limit).await
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        let Some(running) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        match self.remote.end().await {
            Ok(Released::TakenOver) => {
                running.leave();
                Ok(())
            }
            // Whether it could be asked or not, it is ended.
            Ok(Released::Ended) | Err(_) => running.end().await,
        }
    }
}
