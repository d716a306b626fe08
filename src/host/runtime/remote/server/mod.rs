//! The server of a remote runtime: lets sessions of engines elsewhere run in runtimes here.

mod guard;
mod hosted;
mod memory;
mod refusal;
mod routes;
mod run;
mod v0;

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;

use super::wire::{Opened, Opening};
use crate::engine::ports::{Provision, Runtimes, SecretValue};
use crate::session::{Epoch, RuntimeSpec};
use hosted::Hosted;
use memory::Memory;
use refusal::Refusal;

/// How long it is waited for connections when the server is stopped.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// For how long it is remembered what came of what was handed over.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// How a server is run.
#[derive(Clone)]
pub struct ServerOptions {
    /// Who asks must know it; without one, only this machine is answered.
    pub key: Option<String>,
    /// Where it is remembered what was handed over.
    pub state: PathBuf,
    /// Where sessions work.
    pub workspaces: Workspaces,
    /// How their runtimes are made.
    pub runtime: RuntimeSpec,
    /// After this long without hearing of its owner, a session's runtime ends with all that runs in it.
    pub owner_timeout: Duration,
    /// Whether the server ends with its session.
    pub once: bool,
}

impl fmt::Debug for ServerOptions {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, state, workspaces, runtime, owner_timeout, once } = self;
        f.debug_struct("ServerOptions")
            .field("has_key", &key.is_some())
            .field("state", state)
            .field("workspaces", workspaces)
            .field("runtime", runtime)
            .field("owner_timeout", owner_timeout)
            .field("once", once)
            .finish()
    }
}

/// Where sessions work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workspaces {
    /// Each in a directory of its own under this one.
    Under(PathBuf),
    /// In this directory.
    At(PathBuf),
}

impl Workspaces {
    fn of(&self, name: &str) -> PathBuf {
        match self {
            Self::Under(root) => root.join(name),
            Self::At(directory) => directory.clone(),
        }
    }
}

/// Why a server cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Without a key it would let anybody in.
    #[error(
        "{0} can be reached from elsewhere, which takes a key: set {variable}, or listen on 127.0.0.1",
        variable = super::API_KEY_VARIABLE
    )]
    NoKey(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The directory for what is remembered cannot be used.
    #[error("{} cannot be used to remember what was handed over: {}; name another directory with --state", .0.display(), .1)]
    State(PathBuf, std::io::Error),
}

/// A server that listens.
pub struct RuntimeServer {
    listener: TcpListener,
    address: SocketAddr,
    server: Arc<Server>,
}

impl fmt::Debug for RuntimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeServer").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Server {
    options: ServerOptions,
    runtimes: Arc<dyn Runtimes>,
    sessions: AsyncMutex<HashMap<String, Arc<Hosted>>>,
    peer: v0::Peer,
    began: Instant,
    heard: Mutex<Instant>,
    stopping: AtomicBool,
    /// Turns true when the one session of a server that ends with it has ended.
    over: watch::Sender<bool>,
}

impl RuntimeServer {
    /// Listens on `address` for sessions that run in `runtimes`.
    ///
    /// # Errors
    /// [`ServerError`] when that cannot be, or would let anybody in.
    pub async fn bind(address: SocketAddr, runtimes: Arc<dyn Runtimes>, options: ServerOptions) -> Result<Self, ServerError> {
        if options.key.is_none() && !address.ip().is_loopback() {
            return Err(ServerError::NoKey(address));
        }
        let state = options.state.clone();
        let made = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&state)?;
            memory::prune(&state, KEEP);
            Ok(())
        });
        let made = made.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        made.map_err(|error| ServerError::State(options.state.clone(), error))?;
        let listener = TcpListener::bind(address).await.map_err(|error| ServerError::Listen(address, error))?;
        let address = listener.local_addr().map_err(|error| ServerError::Listen(address, error))?;
        let now = Instant::now();
        let server = Server {
            options,
            runtimes,
            sessions: AsyncMutex::default(),
            peer: v0::Peer::default(),
            began: now,
            heard: Mutex::new(now),
            stopping: AtomicBool::new(false),
            over: watch::Sender::new(false),
        };
        Ok(Self { listener, address, server: Arc::new(server) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done, then ends everything that runs here.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let Self { listener, server, .. } = self;
        let (stopping, stopped) = watch::channel(false);
        let graceful = async move {
            let mut stopped = stopped;
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let serve = axum::serve(listener, routes::router(Arc::clone(&server))).with_graceful_shutdown(graceful);
        let serve = tokio::spawn(serve.into_future());
        let mut over = server.over.subscribe();
        tokio::select! {
            () = stop => {}
            () = server.reap() => {}
            _ = over.wait_for(|over| *over) => {}
        }
        // Nothing new is taken, and those that wait for an answer get one, since everything ends.
        server.stopping.store(true, Ordering::Release);
        stopping.send_replace(true);
        server.release_all("the runtime server was stopped").await;
        let abort = serve.abort_handle();
        if tokio::time::timeout(STOP_WAIT, serve).await.is_err() {
            abort.abort();
        }
    }
}

impl Server {
    fn directory(&self, at: &str) -> PathBuf {
        self.options.state.join(at)
    }

    fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// A session that was here before.
    async fn known(&self, at: &str) -> Result<Arc<Hosted>, Refusal> {
        self.hear();
        if !is_place(at) {
            return Err(Refusal::BadRequest("this is no session's address".to_owned()));
        }
        let mut sessions = self.sessions.lock().await;
        if let Some(hosted) = sessions.get(at) {
            return Ok(Arc::clone(hosted));
        }
        let directory = self.directory(at);
        let found = tokio::task::spawn_blocking(move || Memory::find(&directory)).await;
        let found = found.map_err(|error| Refusal::Unavailable(error.to_string()))?.map_err(|error| Refusal::memory(&error))?;
        let memory = found.ok_or_else(|| Refusal::Gone("no such session is known here".to_owned()))?;
        let hosted = Arc::new(Hosted::new(memory));
        sessions.insert(at.to_owned(), Arc::clone(&hosted));
        Ok(hosted)
    }

    async fn open(&self, at: &str, opening: Opening) -> Result<Opened, Refusal> {
        self.hear();
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Unavailable("the runtime server is being stopped".to_owned()));
        }
        let hosted = {
            let mut sessions = self.sessions.lock().await;
            match sessions.get(at) {
                Some(hosted) => Arc::clone(hosted),
                None => {
                    let (directory, born) = (self.directory(at), opening.version);
                    let memory = tokio::task::spawn_blocking(move || Memory::open(&directory, born)).await;
                    let memory = memory.map_err(|error| Refusal::Unavailable(error.to_string()))?;
                    let hosted = Arc::new(Hosted::new(memory.map_err(|error| Refusal::memory(&error))?));
                    sessions.insert(at.to_owned(), Arc::clone(&hosted));
                    hosted
                }
            }
        };
        let _heard = hosted.hear();
        let workspace = self.options.workspaces.of(&opening.session.to_string());
        let mut request = Provision::new(opening.session, opening.birth, at, opening.epoch, workspace);
        request.directory.clone_from(&opening.directory);
        request.runtime = self.options.runtime.clone();
        request.version = opening.version;
        request.within = Duration::from_millis(opening.within_ms);
        let mut opening = opening;
        request.environment = std::mem::take(&mut opening.environment).into_iter().map(SecretValue::from).collect();
        let live = hosted.open(&opening, self.runtimes.as_ref(), request).await?;
        let owner_timeout_ms = u64::try_from(self.options.owner_timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Opened { runtime: live.id, owner_timeout_ms, report: live.report })
    }

    /// Ends what runs of a session for an owner with this epoch.
    async fn release(&self, at: &str, epoch: Epoch) -> Result<(), Refusal> {
        let hosted = self.known(at).await?;
        hosted.admit(epoch)?;
        hosted.release("the session's runtime was released").await?;
        drop(hosted);
        self.forget(at).await;
        if self.options.once {
            self.over.send_replace(true);
        }
        Ok(())
    }

    /// Lets go of a session of which nothing runs; what it remembers stays on the disk.
    async fn forget(&self, at: &str) {
        let mut sessions = self.sessions.lock().await;
        if sessions.get(at).is_some_and(|hosted| !hosted.is_live() && Arc::strong_count(hosted) == 1) {
            sessions.remove(at);
        }
    }

    /// Ends what nobody has asked for in a long time, again and again.
    async fn reap(&self) {
        let timeout = self.options.owner_timeout;
        loop {
            tokio::time::sleep((timeout / 8).max(Duration::from_millis(50))).await;
            self.peer.release(Some(timeout)).await;
            let sessions: Vec<_> = {
                let sessions = self.sessions.lock().await;
                sessions.iter().map(|(at, hosted)| (at.clone(), Arc::clone(hosted))).collect()
            };
            for (at, hosted) in sessions {
                if !hosted.is_forsaken(timeout) {
                    continue;
                }
                let was_live = hosted.is_live();
                if let Err(error) = hosted.release("its owner was not heard of any more").await {
                    tracing::warn!(%error, session = at, "a runtime was not released");
                    continue;
                }
                drop(hosted);
                self.forget(&at).await;
                if was_live && self.options.once {
                    self.over.send_replace(true);
                }
            }
            if self.options.once && self.idle() >= timeout && self.sessions.lock().await.is_empty() {
                // Whoever started it never came.
                self.over.send_replace(true);
            }
        }
    }

    async fn release_all(&self, why: &str) {
        self.peer.release(None).await;
        let sessions: Vec<_> = self.sessions.lock().await.values().cloned().collect();
        let released = sessions.iter().map(|hosted| hosted.release(why));
        for error in futures_util::future::join_all(released).await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "a runtime was not released");
        }
    }
}

/// Whether this is the address of a session: it becomes the name of a directory.
fn is_place(at: &str) -> bool {
    let parts = at.rsplit_once('-');
    parts.is_some_and(|(session, birth)| {
        session.parse::<crate::session::SessionId>().is_ok_and(|id| id.to_string() == session)
            && birth.len() == 12
            && birth.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}
