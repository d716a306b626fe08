//! Layer 4 · the only place where things happen: effects are performed here, and their results go back as commands.

pub mod clock;
mod delegates;
mod errand;
mod error;
mod feed;
pub mod fold;
mod fork;
mod history;
mod lease;
mod letters;
mod mask;
pub mod measure;
mod ownership;
mod perform;
pub mod ports;
mod recover;
mod redecide;
pub mod restore;
mod serve;
pub mod snapshots;
mod submit;
mod subscribe;
mod tell;
pub mod travel;
mod way_out;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

pub use error::EngineError;
pub use feed::{Fed, FeedSubscription};
pub use fork::{Brought, Files, ForkOptions, ForkedAt};
pub use ownership::{describe as node_at, living};
pub use recover::Recovery;
pub use redecide::redecide;
pub use restore::{Restored, Trust};
pub use serve::Served;
pub use subscribe::Subscription;
pub use worker::{FailedBy, Failure, Status};

use crate::session::audit::RESERVED;
use crate::session::{Command, Digest, NodeId, Phase, Seq, Session, SessionId, SessionName, SessionSpec};
use crate::store::{FeedCursor, SharedStore, StoreError};
use clock::{Clock, Ids};
use errand::Errand;
use lease::Lease;
use mask::Maskers;
use ownership::{Role, Standing};
use ports::{Delta, Ports};
use submit::Writing;

/// Runs sessions: creates them, restores them, performs what they need, tells what happened.
///
/// Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// What every part of an engine needs.
struct Shared {
    store: SharedStore,
    ports: Ports,
    clock: Arc<dyn Clock>,
    ids: Ids,
    node: NodeId,
    lease: Lease,
    idle: Duration,
    /// What agents are writing just now.
    deltas: broadcast::Sender<(SessionId, Delta)>,
    maskers: Maskers,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).finish_non_exhaustive()
    }
}

/// How an engine behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// How long this process counts as living after it was last heard of: 10 s by default. Others take its sessions over within
    /// one lease more; a store that cannot be reached for longer stops the work here.
    pub lease: Duration,
    /// How long a session that waits for a command stays in memory, with its runtime: 30 minutes by default. It comes back when it
    /// is asked for; its files stay, and its shell is another one then.
    pub idle: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(10), idle: Duration::from_mins(30) }
    }
}

/// How many pieces of answers a listener may be behind.
const DELTAS_MAX: usize = 1024;
/// How often a command follows a session that changes hands.
const MOVES_MAX: u32 = 5;

/// A worker and its task.
type Worker = (worker::Handle, JoinHandle<()>);

/// The workers of this process, and the tasks that keep its lease and answer its letters.
#[derive(Default)]
struct Running {
    workers: Mutex<HashMap<SessionId, Worker>>,
    lease: tokio::sync::Mutex<Option<[AbortHandle; 2]>>,
    serving: AtomicBool,
    stopping: watch::Sender<bool>,
}

impl Running {
    fn workers(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of a worker that takes no more requests.
    fn forget(&self, id: SessionId) {
        let mut workers = self.workers();
        if workers.get(&id).is_some_and(|(handle, _)| handle.mailbox.is_closed()) {
            workers.remove(&id);
        }
    }

    fn serves(&self) {
        self.serving.store(true, Ordering::Release);
    }

    fn role(&self) -> Role {
        if self.serving.load(Ordering::Acquire) { Role::Serves } else { Role::Runs }
    }
}

/// What a resume found and did.
#[derive(Debug, Clone)]
pub struct Resumed {
    /// What the restored state stands on.
    pub restored: Restored,
    /// Whether there was anything left to do; a worker runs the session then.
    pub running: bool,
}

impl Engine {
    /// An engine on `store`. Nothing happens until it is asked; [`recover`](Self::recover) takes up what was left.
    pub fn new(store: SharedStore, ports: Ports, clock: Arc<dyn Clock>) -> Self {
        Self::with_options(store, ports, clock, EngineOptions::default())
    }

    /// The same, with other spans of time.
    pub fn with_options(store: SharedStore, ports: Ports, clock: Arc<dyn Clock>, options: EngineOptions) -> Self {
        let EngineOptions { lease, idle } = options;
        let lease = Lease::new(lease);
        let ids = Ids::default();
        let node = ids.node(clock.now());
        Self {
            shared: Arc::new(Shared {
                store,
                ports,
                clock,
                ids,
                node,
                lease,
                idle,
                deltas: broadcast::channel(DELTAS_MAX).0,
                maskers: Maskers::default(),
            }),
            running: Arc::default(),
        }
    }

    /// The log that it runs on.
    pub fn store(&self) -> &SharedStore {
        &self.shared.store
    }

    /// The id of this process, as it stands in the log.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Makes an id for a session that nobody else has named.
    pub fn new_session_id(&self) -> SessionId {
        self.shared.ids.session(self.shared.clock.now())
    }

    /// Creates a session and starts it; returns when its first events are in the log.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when the session exists; [`EngineError::SecretInSpec`] when its spec holds a value instead of a name.
    pub async fn create(&self, id: SessionId, name: Option<&SessionName>, spec: SessionSpec) -> Result<(), EngineError> {
        if id.is_audit_log() {
            return Err(StoreError::Invalid(RESERVED.to_owned()).into());
        }
        self.hold_lease().await?;
        let (spec, mask) = self.shared.hide_in(id, spec).await?;
        let (shared, session) = (Arc::clone(&self.shared), Session::default());
        let mut writing = Writing { shared, id, session, hash: Digest::ZERO, mask };
        writing.submit(Command::Create { spec: Box::new(spec), node: self.shared.node }).await?;
        if let Some(name) = name {
            self.shared.store.name(id, name).await?;
        }
        if writing.session.owner == Some(self.shared.node) {
            self.run(writing)?;
        }
        Ok(())
    }

    /// Restores a session and, when something is left to do, takes it over and goes on.
    ///
    /// # Errors
    /// [`EngineError::Unproven`] when the log does not prove its state, [`EngineError::OwnedElsewhere`] while another process that
    /// lives runs it.
    pub async fn resume(&self, id: SessionId) -> Result<Resumed, EngineError> {
        let restored = self.restore(id).await?;
        if self.is_live(id) {
            return Ok(Resumed { restored, running: true });
        }
        let begins = matches!(restored.session.phase, Phase::StartFailed { .. } | Phase::Forked {});
        let waits = restored.session.wants_worker() || begins;
        if waits && restored.session.not_understood.is_none() {
            // A fork of a session that was held or had failed is gone on with all the same.
            let stands = fork::stands_still(&restored.session).then_some(Command::Continue { limits: None });
            self.acquire(id, restored.clone(), stands).await?;
        }
        Ok(Resumed { running: waits, restored })
    }

    /// Restores a session's state, without running anything.
    ///
    /// # Errors
    /// [`EngineError::Unproven`] when the log does not prove its state.
    pub async fn restore(&self, id: SessionId) -> Result<Restored, EngineError> {
        let restored = restore::restore(self.shared.store.as_ref(), id, Trust::Snapshot).await;
        if matches!(restored, Err(EngineError::Unproven { .. })) {
            measure::unproven();
        }
        restored
    }

    /// Asks something of a session: of the worker here, or through the store of the node that runs it; takes it over first when
    /// nobody does. Returns the version before the answer.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when its state does not allow it; [`EngineError::OwnedElsewhere`] when the node that runs it does not
    /// answer, and the command will not be carried out; [`EngineError::Unanswered`] when it may have been.
    pub async fn submit(&self, id: SessionId, command: Command) -> Result<Seq, EngineError> {
        let errand = Errand::of(&command);
        for _ in 1..MOVES_MAX {
            let (session, node, address) = match (Box::pin(self.submit_here(id, command.clone())).await, &errand) {
                (Err(EngineError::OwnedElsewhere { session, node, address }), Some(_)) => (session, node, address),
                (outcome, _) => return outcome,
            };
            if let Some(errand) = &errand
                && let Some(before) = Box::pin(self.forward(session, node, &address, errand)).await?
            {
                return Ok(before);
            }
        }
        Box::pin(self.submit_here(id, command)).await
    }

    /// The same without asking another node.
    async fn submit_here(&self, id: SessionId, command: Command) -> Result<Seq, EngineError> {
        while let Some(handle) = self.worker(id) {
            if let Some(answer) = ask(&handle, command.clone()).await? {
                return answer;
            }
        }
        let restored = self.restore(id).await?;
        let nobodys = matches!(restored.session.phase, Phase::Imported { .. } | Phase::Audit {} | Phase::Closed { .. });
        if nobodys {
            let Restored { session, hash, .. } = restored;
            let mask = self.shared.mask(id, session.spec.as_ref()).await?;
            let mut writing = Writing { shared: Arc::clone(&self.shared), id, session, hash, mask };
            return writing.submit(command).await;
        }
        let before = restored.session.version;
        self.acquire(id, restored, Some(command)).await?;
        Ok(before)
    }

    /// Follows a session's events: those after `after`, then live.
    pub fn subscribe(&self, id: SessionId, after: Seq) -> Subscription {
        Subscription::new(Arc::clone(&self.shared.store), id, after)
    }

    /// What the agents of this process are writing, piece by piece, while they write it. Not durable: a slow listener misses pieces,
    /// and what was written whole is in the log.
    pub fn deltas(&self) -> broadcast::Receiver<(SessionId, Delta)> {
        self.shared.deltas.subscribe()
    }

    /// Follows the events of all sessions: those after `cursor`, then live.
    pub fn feed(&self, cursor: FeedCursor) -> FeedSubscription {
        FeedSubscription::new(Arc::clone(&self.shared.store), cursor)
    }

    /// Waits until the session that runs here waits for a command, and says how its worker is.
    pub async fn rest(&self, id: SessionId) -> Status {
        // Not only a living one: why a worker gave up is asked afterwards, too.
        let known = self.running.workers().get(&id).map(|(handle, _)| handle.clone());
        let Some(mut handle) = known else {
            return Status::Resting;
        };
        match handle.status.wait_for(|status| *status != Status::Busy).await {
            Ok(status) => status.clone(),
            Err(_) => Status::Failed(Failure::own("the worker is gone".to_owned())),
        }
    }

    /// Whether the session runs in this process.
    pub fn is_live(&self, id: SessionId) -> bool {
        self.worker(id).is_some()
    }

    /// Stops all workers, interrupts what they are at, releases their runtimes and gives up the lease. Sessions stay as they are,
    /// to be resumed.
    pub async fn shutdown(&self) {
        let workers: Vec<_> = self.running.workers().drain().collect();
        // All are told before the first is waited for.
        let tasks: Vec<_> = workers.into_iter().map(|(_, (_, task))| task).collect();
        for task in tasks {
            let _ = task.await;
        }
        if let Some(tasks) = self.running.lease.lock().await.take() {
            tasks.iter().for_each(AbortHandle::abort);
            if let Err(error) = self.shared.store.end_lease(self.shared.node).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the lease was not given up; it will pass");
            }
        }
    }

    /// Shuts down for good: takes no further session, ends [`serve`](Self::serve), and hands over what runs here: the other nodes
    /// that serve take it over at once.
    pub async fn drain(&self) {
        self.running.stopping.send_replace(true);
        self.shutdown().await;
    }

    /// Takes a session over, and does `then` first of all.
    async fn acquire(&self, id: SessionId, restored: Restored, then: Option<Command>) -> Result<(), EngineError> {
        let Restored { session, proof, hash } = restored;
        let row = self.shared.store.session(id).await?.ok_or(EngineError::NotFound(id))?;
        let reason = match ownership::standing(self.shared.store.as_ref(), &row, self.shared.node).await? {
            Standing::Free(reason) => reason,
            Standing::Ours => "this process ran it before".to_owned(),
        };
        self.hold_lease().await?;
        // Before the first word of this owner.
        let mask = self.shared.mask(id, session.spec.as_ref()).await?;
        let mut writing = Writing { shared: Arc::clone(&self.shared), id, session, hash, mask };
        writing.submit(Command::Acquire { node: self.shared.node, reason, proof, then: then.map(Box::new) }).await?;
        self.run(writing)
    }

    fn run(&self, writing: Writing) -> Result<(), EngineError> {
        let id = writing.id;
        let mut workers = self.running.workers();
        // Seen under the lock, so that a drain that has emptied the table finds nothing new in it.
        if *self.running.stopping.borrow() {
            return Err(EngineError::ShutDown);
        }
        workers.insert(id, worker::start(writing, self.shared.idle, Arc::downgrade(&self.running)));
        Ok(())
    }

    fn worker(&self, id: SessionId) -> Option<worker::Handle> {
        let workers = self.running.workers();
        let (handle, _) = workers.get(&id)?;
        (!handle.mailbox.is_closed()).then(|| handle.clone())
    }
}

/// Asks a worker; `None` when it has left before it was asked.
async fn ask(handle: &worker::Handle, command: Command) -> Result<Option<Result<Seq, EngineError>>, EngineError> {
    let (reply, answer) = oneshot::channel();
    let request = worker::Request { command: Box::new(command), reply };
    if handle.mailbox.send(request).await.is_err() {
        return Ok(None);
    }
    match answer.await.map_err(|_| EngineError::ShutDown)? {
        worker::Reply::Done(result) => Ok(Some(result)),
        worker::Reply::Left => Ok(None),
    }
}
