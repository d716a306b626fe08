//! Layer 4 · the only place where things happen: effects are performed here, and their results go back as commands.

pub mod clock;
mod error;
mod feed;
pub mod ownership;
mod perform;
pub mod ports;
mod recover;
pub mod restore;
mod submit;
mod subscribe;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use error::EngineError;
pub use feed::{Fed, FeedSubscription};
pub use recover::Recovery;
pub use restore::{Restored, Trust};
pub use subscribe::Subscription;
pub use worker::{FailedBy, Failure, Status};

use crate::session::{Command, Digest, NodeId, Phase, Seq, Session, SessionId, SessionName, SessionSpec};
use crate::store::{FeedCursor, SharedStore, StoreError};
use clock::{Clock, Ids};
use ownership::{LEASE, LEASE_RENEWAL, Standing};
use ports::Ports;
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
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The workers of this process, and the task that renews its lease.
#[derive(Default)]
struct Running {
    workers: Mutex<HashMap<SessionId, (worker::Handle, JoinHandle<()>)>>,
    lease: tokio::sync::Mutex<Option<JoinHandle<()>>>,
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
        let ids = Ids::default();
        let node = ids.node(clock.now());
        Self { shared: Arc::new(Shared { store, ports, clock, ids, node }), running: Arc::default() }
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
    /// [`EngineError::Rejected`] when the session exists.
    pub async fn create(&self, id: SessionId, name: Option<&SessionName>, spec: SessionSpec) -> Result<(), EngineError> {
        self.hold_lease().await?;
        let mut writing = Writing { shared: Arc::clone(&self.shared), id, session: Session::default(), hash: Digest::ZERO };
        writing.submit(Command::Create { spec: Box::new(spec), node: self.shared.node }).await?;
        if let Some(name) = name {
            self.shared.store.name(id, name).await?;
        }
        if writing.session.owner == Some(self.shared.node) {
            self.run(writing);
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
        let waits = restored.session.wants_worker() || matches!(restored.session.phase, Phase::StartFailed { .. });
        if waits && restored.session.not_understood.is_none() {
            self.acquire(id, restored.clone(), None).await?;
        }
        Ok(Resumed { running: waits, restored })
    }

    /// Restores a session's state, without running anything.
    ///
    /// # Errors
    /// [`EngineError::Unproven`] when the log does not prove its state.
    pub async fn restore(&self, id: SessionId) -> Result<Restored, EngineError> {
        restore::restore(self.shared.store.as_ref(), id, Trust::Snapshot).await
    }

    /// Asks something of a session; takes it over first when nobody runs it. Returns the version before the answer.
    ///
    /// # Errors
    /// [`EngineError::Rejected`] when its state does not allow it; [`EngineError::OwnedElsewhere`] as for
    /// [`resume`](Self::resume).
    pub async fn submit(&self, id: SessionId, command: Command) -> Result<Seq, EngineError> {
        if let Some(handle) = self.worker(id) {
            return ask(&handle, command).await;
        }
        let restored = self.restore(id).await?;
        let nobodys = matches!(restored.session.phase, Phase::Imported { .. } | Phase::Closed { .. });
        if nobodys {
            let Restored { session, hash, .. } = restored;
            let mut writing = Writing { shared: Arc::clone(&self.shared), id, session, hash };
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

    /// Follows the events of all sessions: those after `cursor`, then live.
    pub fn feed(&self, cursor: FeedCursor) -> FeedSubscription {
        FeedSubscription::new(Arc::clone(&self.shared.store), cursor)
    }

    /// Waits until the session that runs here waits for a command, and says how its worker is.
    pub async fn rest(&self, id: SessionId) -> Status {
        let Some(mut handle) = self.worker(id) else {
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
        let workers: Vec<_> = self.workers().drain().collect();
        for (_, (handle, task)) in workers {
            drop(handle);
            let _ = task.await;
        }
        if let Some(renewal) = self.running.lease.lock().await.take() {
            renewal.abort();
            if let Err(error) = self.shared.store.end_lease(self.shared.node).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the lease was not given up; it will pass");
            }
        }
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
        let mut writing = Writing { shared: Arc::clone(&self.shared), id, session, hash };
        writing.submit(Command::Acquire { node: self.shared.node, reason, proof, then: then.map(Box::new) }).await?;
        self.run(writing);
        Ok(())
    }

    fn run(&self, writing: Writing) {
        let id = writing.id;
        self.workers().insert(id, worker::start(writing));
    }

    fn worker(&self, id: SessionId) -> Option<worker::Handle> {
        let mut workers = self.workers();
        let (handle, _) = workers.get(&id)?;
        if handle.mailbox.is_closed() {
            workers.remove(&id);
            return None;
        }
        Some(handle.clone())
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, (worker::Handle, JoinHandle<()>)>> {
        self.running.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lease of this process, once, and keeps it renewed.
    async fn hold_lease(&self) -> Result<(), StoreError> {
        let mut lease = self.running.lease.lock().await;
        if lease.is_some() {
            return Ok(());
        }
        let address = ownership::address();
        self.shared.store.renew_lease(self.shared.node, &address, LEASE).await?;
        let shared = Arc::clone(&self.shared);
        *lease = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE_RENEWAL).await;
                if let Err(error) = shared.store.renew_lease(shared.node, &address, LEASE).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the lease was not renewed");
                }
            }
        }));
        Ok(())
    }
}

async fn ask(handle: &worker::Handle, command: Command) -> Result<Seq, EngineError> {
    let (reply, answer) = oneshot::channel();
    let request = worker::Request { command, reply };
    handle.mailbox.send(request).await.map_err(|_| EngineError::ShutDown)?;
    answer.await.map_err(|_| EngineError::ShutDown)?
}
