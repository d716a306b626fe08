//! The log in PostgreSQL: a few committers, each with shards of its own, a pool to read through, and a doorbell between nodes.

mod columns;
mod commit;
mod committer;
mod condition;
mod decode;
mod doorbell;
mod fault;
mod feed;
mod kept;
mod matching;
mod open;
mod reader;
mod records;
mod rows;
mod servers;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::postgres::{PgPool, PgQueryResult};

use super::care::Backup;
use super::content::Secrecy;
use super::dialect::{Dialect, Forget, LeaseClock, Turn};
use super::sealed::Sealed;
use super::statements::postgres as sql;
use super::{
    Append, Appended, Condition, FeedCursor, FeedPage, OpenOptions, Page, Paging, Pieces, Read, SessionFilter, SessionRow, Shard,
    StoreError, Terms, WakeUps,
};
use crate::session::SessionId;
use commit::Speech;
use committer::Committers;
use doorbell::Doorbell;
use fault::Fault;
use reader::Readers;
use servers::{Pooler, Servers, Wanted};

/// Connections that read, and write what is not an append.
const CONNECTIONS_MAX: u32 = 8;

/// One PostgreSQL database.
#[derive(Debug)]
pub(super) struct Postgres {
    servers: Arc<Servers>,
    shards: Shard,
    distributed: bool,
    pool: PgPool,
    readers: Readers,
    /// `None` where it was opened to be read.
    committers: Option<Committers>,
    doorbell: Doorbell,
    closed: AtomicBool,
}

impl Postgres {
    /// Opens the store in the database at `urls`, or makes it.
    pub(super) async fn open(urls: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let wanted = if options.read_only { Wanted::Any } else { Wanted::Primary };
        let servers = Arc::new(Servers::read(urls, wanted)?);
        let found = open::open(&servers, &options).await?;
        let secrecy = Secrecy::found(found.encrypted, &options, || servers.address.clone())?;
        let pool = servers.pool(CONNECTIONS_MAX, options.outage_wait);
        let doorbell = Doorbell::new(&servers, &pool);
        let transaction_pooler = servers.pooler == Pooler::Transaction;
        let speech = Speech {
            begin: if transaction_pooler { sql::BEGIN_DURABLE } else { sql::BEGIN },
            keeps_statements: servers.keeps_statements(),
            routed: found.distributed,
        };
        let committers = (!options.read_only).then(|| Committers::start(&servers, speech, options.outage_wait, doorbell.bell()));
        let readers = Readers {
            pool: pool.clone(),
            kept: Arc::default(),
            servers: Arc::clone(&servers),
            patience: options.outage_wait,
            routed: found.distributed,
            secrecy,
        };
        Ok(Self {
            servers,
            shards: found.shards,
            distributed: found.distributed,
            pool,
            readers,
            committers,
            doorbell,
            closed: AtomicBool::new(false),
        })
    }
}

/// Spreads ids over shards: FNV-1a, since time-ordered ids differ in few of their bits.
fn spread(id: &[u8; 16], shards: Shard) -> Shard {
    let hash = id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    // The high bits depend on every byte.
    Shard::try_from((hash >> 32) % shards).unwrap_or_default()
}

#[async_trait]
impl Dialect for Postgres {
    type Db = sqlx::Postgres;

    const BEGIN_WRITE: &'static str = sql::BEGIN;
    // To begin a page costs as much as a hundred events. A second one at once would take the server's processor from the first, which
    // is waited for, and what one task reads another one finds in another processor's cache.
    const PAGING: Paging = Paging { rows: 4096, at_once: 1 };
    const NOW: &'static str = sql::NOW;
    const PUT_BLOB: &'static str = sql::INSERT_BLOB;
    const LOCK_BLOB: Option<&'static str> = Some(sql::LOCK_BLOB);
    const KEEP_BASE: &'static str = sql::KEEP_BASE;
    const BEGIN_FORK: &'static str = sql::BEGIN_FORK;
    const MOVE_ADOPTED: &'static str = sql::MOVE_ADOPTED;
    const SETTLE: &'static str = sql::SETTLE;
    const INSERT_EVENT_ROW: &'static str = sql::INSERT_EVENT_ROW;
    const INDEX: &'static str = sql::INDEX;
    const INDEX_DAYS: Option<&'static str> = None;
    const INDEX_MODELS: &'static str = sql::INDEX_MODELS;
    const FORGET: Forget = Forget::Places(sql::FORGET_PLACES);
    const FORGET_MODELS: &'static str = sql::FORGET_MODELS;
    const CLEAR_INDEX: &'static [&'static str] = &[sql::CLEAR_INDEX, sql::CLEAR_MODELS];
    const FIND: &'static str = sql::FIND;
    const IDS_BETWEEN: &'static str = sql::IDS_BETWEEN;
    const IDS_IN_PHASE: &'static str = sql::IDS_IN_PHASE;
    const IDS_COSTING: &'static str = sql::IDS_COSTING;
    const IDS_OF_MODEL: &'static str = sql::IDS_OF_MODEL;

    fn indexed(words: String) -> String {
        matching::indexed(&words)
    }

    fn matching(terms: &Terms) -> String {
        matching::matching(terms)
    }

    fn rows_affected(result: &PgQueryResult) -> u64 {
        result.rows_affected()
    }

    fn secrecy(&self) -> &Secrecy {
        &self.readers.secrecy
    }

    fn address(&self) -> &str {
        &self.servers.address
    }

    fn bytes(&self) -> &'static str {
        if self.distributed { sql::BYTES_DISTRIBUTED } else { sql::BYTES }
    }

    fn version(&self) -> &'static str {
        if self.distributed { sql::VERSION_DISTRIBUTED } else { sql::VERSION }
    }

    fn shard_of(&self, session: SessionId) -> Shard {
        spread(session.as_bytes(), self.shards)
    }

    fn reads(&self) -> &PgPool {
        self.servers.lead(&self.pool);
        &self.pool
    }

    fn writes(&self) -> &PgPool {
        self.servers.lead(&self.pool);
        &self.pool
    }

    fn pools_transactions(&self) -> bool {
        self.servers.pooler == Pooler::Transaction
    }

    fn lease_clock(&self) -> Result<LeaseClock, StoreError> {
        Ok(LeaseClock::Database(sql::NOW))
    }

    async fn look_again(&self) {
        if let Ok(found) = self.servers.connect().await {
            // Where it is was all that was asked.
            let _ = found.close().await;
        }
    }

    fn readable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(super::closed()) } else { Ok(()) }
    }

    async fn turn(&self) -> Result<Turn, StoreError> {
        self.readable()?;
        match self.committers {
            Some(_) => Ok(Turn(None)),
            None => Err(StoreError::ReadOnly("it was opened to be read".to_owned())),
        }
    }

    fn failed_read(&self, error: sqlx::Error) -> StoreError {
        StoreError::Unavailable(error.into())
    }

    fn failed_write(&self, error: sqlx::Error) -> StoreError {
        Fault::of(&error).failed_write(error.into())
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.turn().await?;
        let Some(committers) = &self.committers else { return Err(super::closed()) };
        let shard = self.shard_of(append.session);
        committers.append(shard, Sealed::new(append, self.secrecy())?).await
    }

    async fn read(&self, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError> {
        self.readable()?;
        self.readers.page(self.shard_of(read.session), read, pieces).await
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        self.readable()?;
        self.readers.feed(after, limit).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.readable()?;
        self.readers.session(self.shard_of(id), id).await
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.readable()?;
        self.readers.sessions(filter, limit).await
    }

    fn wake_ups(&self) -> WakeUps {
        self.doorbell.wake_ups()
    }

    async fn backup(&self, _to: &Path) -> Result<Backup, StoreError> {
        // The file is to be read without a server.
        Ok(Backup::ByCopy)
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.readers.condition().await.map(Condition::Server)
    }

    async fn compact(&self) -> Result<(), StoreError> {
        self.turn().await?;
        let servers = Arc::clone(&self.servers);
        // In a task of its own, so that it is finished whatever becomes of the caller.
        let task = tokio::spawn(async move {
            let mut connection = servers.connect().await?;
            sqlx::raw_sql(sql::COMPACT).execute(&mut connection).await?;
            connection.close().await
        });
        let compacted = task.await.map_err(|error| StoreError::Unavailable(error.into()))?;
        compacted.map_err(|error| self.failed_write(error))
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(committers) = &self.committers {
            committers.close().await;
        }
        self.doorbell.close().await;
        // From here on none is kept, and the one that is comes back.
        let closed = self.pool.close();
        self.readers.kept.let_go();
        closed.await;
    }
}
