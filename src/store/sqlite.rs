//! The log in one SQLite file: a writer thread, a few readers, and sqlx for what is neither hot nor peculiar.

mod clock;
mod commit;
mod condition;
mod decode;
mod fault;
pub mod filesystem;
mod holder;
mod matching;
mod open;
mod reader;
mod watch;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::sync::{Mutex, broadcast};

use super::care::Backup;
use super::content::Secrecy;
use super::dialect::{Dialect, Forget, LeaseClock, Turn};
use super::read::PAGE_ROWS;
use super::statements::sqlite as sql;
use super::{
    Append, Appended, BoxError, Condition, FeedCursor, FeedPage, OpenError, OpenOptions, Page, Paging, Pieces, Read,
    SessionFilter, SessionRow, Shard, StoreError, Terms, WakeUps,
};
use crate::session::SessionId;
use fault::{Fault, Health};
use open::Access;
use reader::Readers;
use watch::{Eye, Watch};
use writer::Writer;

/// The only shard.
const SHARD: Shard = 0;
/// How long a listener waits at most; what other processes append rings long before.
const POLL: Duration = Duration::from_secs(2);
/// Commits that a slow listener may be behind before its rings merge into one.
const RINGS_MAX: usize = 1024;
/// Connections of sqlx for the reads that are not hot.
const READS_MAX: u32 = 2;

/// One SQLite file.
#[derive(Debug)]
pub(super) struct Sqlite {
    address: String,
    readers: Readers,
    /// `None` where the file can only be read.
    writer: Option<Writer>,
    reads: SqlitePool,
    writes: SqlitePool,
    gate: Arc<Mutex<()>>,
    health: Arc<Health>,
    commits: broadcast::Sender<SessionId>,
    watch: Arc<Watch>,
    secrecy: Secrecy,
}

impl Sqlite {
    /// Opens the store at `path`, or makes it.
    pub(super) async fn open(path: &str, options: OpenOptions) -> Result<Self, StoreError> {
        let address = format!("sqlite://{path}");
        let path = Path::new(path);
        let access = open::open(path, &options).await?;
        let secrecy = open::secrecy(path, &access, &options)?;
        let connect = open::sqlx_options(path, &options, &access);
        let (immutable, read_only, connection) = match access {
            Access::Write(connection) => (false, None, Some(connection)),
            Access::Read { why, immutable } => (immutable, Some(why), None),
        };
        let health = Arc::new(Health::new(read_only));
        let gate = Arc::new(Mutex::new(()));
        let commits = broadcast::channel(RINGS_MAX).0;
        let start =
            |connection| Writer::start(connection, options.busy_wait, Arc::clone(&gate), Arc::clone(&health), commits.clone());
        let writer = connection
            .map(start)
            .transpose()
            .map_err(|error| StoreError::from(OpenError::Io { path: path.to_owned(), source: error.into() }))?;
        let readers = Readers::new(path.to_owned(), immutable, options.busy_wait, Arc::clone(&health), secrecy.clone());
        let eye = writer.as_ref().map_or_else(|| Eye::Readers(readers.clone()), |writer| Eye::Writer(writer.asker()));
        Ok(Self {
            address,
            readers,
            writer,
            reads: pool(READS_MAX).connect_lazy_with(connect.clone()),
            writes: pool(1).connect_lazy_with(connect),
            gate,
            health,
            commits,
            watch: Arc::new(Watch::new(eye)),
            secrecy,
        })
    }

    /// Says who was in the way, where that can be seen.
    fn told(&self, error: StoreError) -> StoreError {
        let path = self.address.strip_prefix("sqlite://").unwrap_or(&self.address);
        match error {
            StoreError::Busy(why) => StoreError::Busy(holder::holder(Path::new(path)).map_or(why, BoxError::from)),
            other => other,
        }
    }
}

/// A pool whose connections never go back into it inside a transaction that somebody abandoned.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).after_release(|connection, _| {
        Box::pin(async move {
            // It fails when there is nothing to take back, which is how it should be; otherwise the connection is let go.
            Ok(sqlx::raw_sql(sql::ROLLBACK).execute(connection).await.is_err())
        })
    })
}

#[async_trait]
impl Dialect for Sqlite {
    type Db = sqlx::Sqlite;

    const BEGIN_WRITE: &'static str = sql::BEGIN;
    // Each is read on a thread of its own.
    const PAGING: Paging = Paging { rows: PAGE_ROWS, at_once: 4 };
    const NOW: &'static str = sql::NOW;
    const PUT_BLOB: &'static str = sql::PUT_BLOB;
    const LOCK_BLOB: Option<&'static str> = None;
    const KEEP_BASE: &'static str = sql::KEEP_BASE;
    const BEGIN_FORK: &'static str = sql::BEGIN_FORK;
    const MOVE_ADOPTED: &'static str = sql::MOVE_ADOPTED;
    const SETTLE: &'static str = sql::SETTLE;
    const INSERT_EVENT_ROW: &'static str = sql::INSERT_EVENT_ROW;
    const INDEX: &'static str = sql::INDEX;
    const INDEX_DAYS: Option<&'static str> = Some(sql::INDEX_DAYS);
    const INDEX_MODELS: &'static str = sql::INDEX_MODELS;
    const FORGET: Forget = Forget::Words(sql::FORGET_WORDS);
    const FORGET_MODELS: &'static str = sql::FORGET_MODELS;
    const CLEAR_INDEX: &'static [&'static str] = &[sql::CLEAR_INDEX, sql::CLEAR_DAYS, sql::CLEAR_MODELS];
    const FIND: &'static str = sql::FIND;
    const IDS_BETWEEN: &'static str = sql::IDS_BETWEEN;
    const IDS_IN_PHASE: &'static str = sql::IDS_IN_PHASE;
    const IDS_COSTING: &'static str = sql::IDS_COSTING;
    const IDS_OF_MODEL: &'static str = sql::IDS_OF_MODEL;

    fn indexed(words: String) -> String {
        words
    }

    fn matching(terms: &Terms) -> String {
        matching::matching(terms)
    }

    fn rows_affected(result: &sqlx::sqlite::SqliteQueryResult) -> u64 {
        result.rows_affected()
    }

    fn secrecy(&self) -> &Secrecy {
        &self.secrecy
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn bytes(&self) -> &'static str {
        sql::BYTES
    }

    fn version(&self) -> &'static str {
        sql::VERSION
    }

    fn shard_of(&self, _session: SessionId) -> Shard {
        SHARD
    }

    fn reads(&self) -> &SqlitePool {
        &self.reads
    }

    fn writes(&self) -> &SqlitePool {
        &self.writes
    }

    fn pools_transactions(&self) -> bool {
        false
    }

    fn lease_clock(&self) -> Result<LeaseClock, StoreError> {
        clock::read().map_err(|error| StoreError::Unavailable(error.into()))
    }

    async fn look_again(&self) {}

    fn readable(&self) -> Result<(), StoreError> {
        self.health.readable()
    }

    async fn turn(&self) -> Result<Turn, StoreError> {
        self.health.writable()?;
        Ok(Turn(Some(Arc::clone(&self.gate).lock_owned().await)))
    }

    fn failed_read(&self, error: sqlx::Error) -> StoreError {
        Fault::of_sqlx(&error).failed_read(error.into())
    }

    fn failed_write(&self, error: sqlx::Error) -> StoreError {
        let fault = Fault::of_sqlx(&error);
        if fault == Fault::Disk {
            self.health.poison();
        }
        self.told(fault.failed_write(error.into()))
    }

    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        match &self.writer {
            Some(writer) => writer.append(append, &self.secrecy).await.map_err(|error| self.told(error)),
            None => {
                self.health.writable()?;
                Err(StoreError::ReadOnly(
                    self.health.read_only().cloned().unwrap_or_else(|| "it was opened to be read".to_owned()),
                ))
            }
        }
    }

    async fn read(&self, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError> {
        self.readers.page(read, pieces).await
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        self.readers.feed(after, limit).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.readers.session(id).await
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.readers.sessions(filter, limit).await
    }

    fn wake_ups(&self) -> WakeUps {
        WakeUps::new(self.commits.subscribe(), POLL).with(Arc::clone(&self.watch) as _)
    }

    async fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        let failed = |error: sqlx::Error| StoreError::Unavailable(error.into());
        let unsynced = |error: std::io::Error| StoreError::Unavailable(error.into());
        let path = to.to_str().ok_or_else(|| StoreError::Invalid(format!("{} is not UTF-8", to.display())))?;
        sqlx::query(sql::BACKUP).bind(path.to_owned()).execute(&self.reads).await.map_err(failed)?;
        let copy = std::fs::File::open(to).map_err(unsynced)?;
        tokio::task::spawn_blocking(move || copy.sync_all())
            .await
            .map_err(|error| StoreError::Unavailable(error.into()))?
            .map_err(unsynced)?;
        Ok(Backup::Made)
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.readers.condition().await.map(Condition::File)
    }

    async fn compact(&self) -> Result<(), StoreError> {
        self.health.writable()?;
        match &self.writer {
            Some(writer) => writer.compact().await,
            None => Err(super::closed()),
        }
    }

    async fn overwrite(&self) {
        if let Some(writer) = &self.writer {
            writer.overwrite().await;
        }
    }

    async fn close(&self) {
        self.health.close();
        self.readers.close().await;
        self.reads.close().await;
        self.writes.close().await;
        // Last, so that no reader keeps the write-ahead log from being emptied.
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }
}
