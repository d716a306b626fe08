//! Rings for other nodes: at most fifty times a second, on a connection of its own, after the commits. A notification inside an append
//! would make all commits of the server wait for each other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgListener, PgPool};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use super::super::WakeUps;
use super::super::statements::postgres as sql;
use super::servers::{Pooler, Servers};
use crate::session::SessionId;

/// The channel of the database that rings.
const CHANNEL: &str = "rekindle";
/// The least time between two rings.
const PAUSE: Duration = Duration::from_millis(20);
/// Sessions that one ring may name: PostgreSQL bounds what it carries to 8000 bytes.
const NAMED_MAX: usize = 200;
/// Commits that a slow listener may be behind before its rings merge into one.
const RINGS_MAX: usize = 4096;
/// How often a listener looks by itself: a ring can be lost.
const POLL: Duration = Duration::from_secs(1);
/// The same where nothing rings.
const POLL_ALONE: Duration = Duration::from_millis(200);
/// How long to wait before listening is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// Told of commits, tells listeners here at once and those elsewhere soon.
#[derive(Debug, Clone)]
pub(super) struct Bell {
    here: broadcast::Sender<SessionId>,
    elsewhere: Option<Arc<Elsewhere>>,
}

#[derive(Debug, Default)]
struct Elsewhere {
    dirty: Mutex<HashSet<SessionId>>,
    news: Notify,
}

impl Elsewhere {
    fn take(&self) -> HashSet<SessionId> {
        std::mem::take(&mut self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The tasks behind a bell.
#[derive(Debug)]
pub(super) struct Doorbell {
    bell: Bell,
    servers: Arc<Servers>,
    pool: PgPool,
    /// Rings on this process' own account are not worth a second one.
    sender: String,
    ringer: Mutex<Option<JoinHandle<()>>>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Doorbell {
    /// A bell that is heard on other nodes too, unless a pooler stands between that forgets who listens.
    pub(super) fn new(servers: &Arc<Servers>, pool: &PgPool) -> Self {
        let here = broadcast::channel(RINGS_MAX).0;
        let elsewhere = (servers.pooler != Pooler::Transaction).then(Arc::<Elsewhere>::default);
        let bell = Bell { here, elsewhere };
        let sender = uuid::Uuid::now_v7().simple().to_string();
        let ringer = bell.elsewhere.clone().map(|elsewhere| {
            let (servers, sender) = (Arc::clone(servers), sender.clone());
            tokio::spawn(async move { ring(&servers, &elsewhere, &sender).await })
        });
        let servers = Arc::clone(servers);
        Self { bell, servers, pool: pool.clone(), sender, ringer: Mutex::new(ringer), listener: Mutex::default() }
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Rings for each commit, here and, once somebody wants to hear them, elsewhere.
    pub(super) fn wake_ups(&self) -> WakeUps {
        if self.servers.pooler == Pooler::Transaction {
            return WakeUps::new(self.bell.here.subscribe(), POLL_ALONE);
        }
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_none() && tokio::runtime::Handle::try_current().is_ok() {
            let (pool, here, sender) = (self.pool.clone(), self.bell.here.clone(), self.sender.clone());
            *listener = Some(tokio::spawn(async move { listen(&pool, &here, &sender).await }));
        }
        WakeUps::new(self.bell.here.subscribe(), POLL)
    }

    /// Rings for what was committed last, and stops.
    pub(super) async fn close(&self) {
        let take = |task: &Mutex<Option<JoinHandle<()>>>| task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = take(&self.listener) {
            listener.abort();
            let _ = listener.await;
        }
        let Some(ringer) = take(&self.ringer) else { return };
        ringer.abort();
        let _ = ringer.await;
        if let Some(elsewhere) = &self.bell.elsewhere {
            let dirty = elsewhere.take();
            if !dirty.is_empty()
                && let Ok(mut connection) = self.servers.connect().await
            {
                // Best effort: who does not hear it looks by itself.
                let _ = ring_for(&mut connection, &self.sender, dirty).await;
            }
        }
    }
}

impl Bell {
    /// Says that something was committed.
    pub(super) fn committed(&self, session: SessionId) {
        // Nobody may be listening.
        let _ = self.here.send(session);
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(session);
            elsewhere.news.notify_one();
        }
    }
}

async fn ring(servers: &Servers, elsewhere: &Elsewhere, sender: &str) {
    let mut connection = None;
    loop {
        elsewhere.news.notified().await;
        tokio::time::sleep(PAUSE).await;
        if connection.is_none() {
            connection = connect(servers).await.ok();
        }
        let dirty = elsewhere.take();
        if let Some(open) = &mut connection
            && !dirty.is_empty()
            && ring_for(open, sender, dirty).await.is_err()
        {
            // What was not rung for is found by those who look by themselves.
            connection = None;
        }
    }
}

async fn connect(servers: &Servers) -> Result<PgConnection, sqlx::Error> {
    let mut connection = servers.connect().await?;
    sqlx::raw_sql(sql::RING_IN_MEMORY).execute(&mut connection).await?;
    Ok(connection)
}

async fn ring_for(connection: &mut PgConnection, sender: &str, dirty: HashSet<SessionId>) -> Result<(), sqlx::Error> {
    let dirty: Vec<_> = dirty.into_iter().collect();
    for sessions in dirty.chunks(NAMED_MAX) {
        let named = sessions.iter().map(|session| session.as_uuid().simple().to_string());
        let ring = [sender.to_owned()].into_iter().chain(named).collect::<Vec<_>>().join(" ");
        sqlx::query(sql::RING).bind(CHANNEL).bind(ring).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn listen(pool: &PgPool, here: &broadcast::Sender<SessionId>, sender: &str) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            while let Ok(ring) = listener.recv().await {
                let mut words = ring.payload().split(' ');
                if words.next() == Some(sender) {
                    continue;
                }
                for session in words.filter_map(|word| word.parse::<SessionId>().ok()) {
                    let _ = here.send(session);
                }
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
