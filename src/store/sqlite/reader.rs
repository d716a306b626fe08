//! Reading: a few read-only connections, each used on a thread that may block, one bounded page at a time.
//!
//! No read transaction outlives its page, so that a slow consumer never keeps the write-ahead log from being emptied.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::Semaphore;

use super::super::content::{Content, Held, Opener, Secrecy};
use super::super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::super::statements::sqlite as sql;
use super::super::{
    BoxError, DamagedEvent, FeedCursor, FeedDamage, FeedPage, FeedRow, FileCondition, Order, Page, Pieces, Read, Row,
    SessionFilter, SessionRow, StoreError, id_range,
};
use super::decode::{self, EventRow};
use super::fault::{Fault, Health};
use super::{SHARD, condition, open};
use crate::session::{Digest, Seq, SessionId};

/// How many pages are read at once.
const READERS_MAX: usize = 4;
/// Statements that each connection keeps prepared.
const STATEMENTS_KEPT: usize = 32;

/// The connections that are read through.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    source: Arc<Source>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    immutable: bool,
    busy_wait: Duration,
    idle: Mutex<Vec<Connection>>,
    /// The one that [`Readers::data_version`] asks: its numbers compare with nobody else's.
    watching: Mutex<Option<Connection>>,
    health: Arc<Health>,
    secrecy: Secrecy,
}

impl Source {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.open(), Ok)
    }

    fn open(&self) -> Result<Connection, StoreError> {
        let opened = open::connection(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY, self.immutable).and_then(|connection| {
            connection.busy_timeout(self.busy_wait)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            Ok(connection)
        });
        opened.map_err(|error| Fault::of(&error).failed_read(error.into()))
    }

    fn give_back(&self, connection: Connection) {
        // A connection that is somehow still inside a transaction would pin the log: let it go.
        if connection.is_autocommit() && self.health.readable().is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Readers {
    pub(super) fn new(path: PathBuf, immutable: bool, busy_wait: Duration, health: Arc<Health>, secrecy: Secrecy) -> Self {
        let source = Source { path, immutable, busy_wait, idle: Mutex::default(), watching: Mutex::default(), health, secrecy };
        Self { source: Arc::new(source), permits: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Runs `read` to its end on a thread of its own, whatever becomes of the caller.
    async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.source.health.readable()?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| super::super::closed())?;
        let source = Arc::clone(&self.source);
        let task = tokio::task::spawn_blocking(move || {
            let connection = source.take()?;
            let result = read(&connection);
            source.give_back(connection);
            drop(permit);
            result
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    pub(super) async fn page(&self, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError> {
        let secrecy = self.source.secrecy.clone();
        self.run(move |connection| page(connection, &secrecy, read, pieces.as_ref())).await
    }

    pub(super) async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        let secrecy = self.source.secrecy.clone();
        self.run(move |connection| feed(connection, &secrecy, after, limit)).await
    }

    pub(super) async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.run(move |connection| session(connection, id)).await
    }

    pub(super) async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.run(move |connection| sessions(connection, &filter, limit)).await
    }

    pub(super) async fn condition(&self) -> Result<FileCondition, StoreError> {
        let path = self.source.path.clone();
        self.run(move |connection| condition::condition(connection, &path)).await
    }

    /// A number that changes with every commit to the file.
    pub(super) async fn data_version(&self) -> Result<i64, StoreError> {
        let source = Arc::clone(&self.source);
        let task = tokio::task::spawn_blocking(move || {
            let mut watching = source.watching.lock().unwrap_or_else(PoisonError::into_inner);
            source.health.readable()?;
            let connection = match watching.take() {
                Some(connection) => connection,
                None => source.open()?,
            };
            let version = connection.query_row(sql::DATA_VERSION, [], |row| row.get(0)).map_err(unavailable)?;
            *watching = Some(connection);
            Ok(version)
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    /// Waits for the pages that are being read, and closes the connections.
    pub(super) async fn close(&self) {
        let all = u32::try_from(READERS_MAX).unwrap_or(u32::MAX);
        let permits = self.permits.acquire_many(all).await;
        self.permits.close();
        self.source.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.source.watching.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(permits);
    }
}

fn page(connection: &Connection, secrecy: &Secrecy, read: Read, pieces: Option<&Pieces>) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let limit = usize::try_from(read.limit.min(PAGE_ROWS_MAX)).unwrap_or(usize::MAX);
    let statement = match read.order {
        Order::OldestFirst => sql::EVENTS_FORWARD,
        Order::NewestFirst => sql::EVENTS_BACKWARD,
    };
    // What could not be read, if the database itself gives up in the middle: the next in order.
    let failed = |error: rusqlite::Error| {
        let next = match read.order {
            Order::OldestFirst => Seq(read.after.0.saturating_add(1)),
            Order::NewestFirst => read.upto,
        };
        unreadable(read.session, next, error)
    };
    let query = || -> Result<_, rusqlite::Error> { connection.prepare_cached(statement) };
    let mut statement = query().map_err(failed)?;
    let parameters = params![SHARD, read.session.as_bytes(), bounded(read.after), bounded(read.upto), rows_of(limit + 1)];
    let mut rows = statement.query(parameters).map_err(failed)?;
    let mut opener = Opener::new(secrecy);
    let (mut count, mut bytes) = (0, 0);
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(page),
            // What was read before is delivered; who asks for the rest hears of the damage.
            Err(_) if count > 0 => {
                page.more = true;
                return Ok(page);
            }
            Err(error) => return Err(failed(error)),
        };
        if count == limit || bytes >= PAGE_BYTES_MAX {
            page.more = true;
            return Ok(page);
        }
        let row = match decode::event(row, Some(read.session)).and_then(|row| with_body(connection, row, &mut opener)) {
            Ok(row) => row,
            Err(DamagedEvent { seq, what, .. }) => Row::Damaged { seq, what },
        };
        count += 1;
        bytes += row.body_bytes();
        page.rows.push(row);
        if let Some(pieces) = pieces {
            pieces.take(&mut page.rows);
        }
    }
}

fn feed(connection: &Connection, secrecy: &Secrecy, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
    let position = i64::try_from(after.position(SHARD)).unwrap_or(i64::MAX);
    let mut page = FeedPage { next: after, ..FeedPage::default() };
    let query = || -> Result<_, rusqlite::Error> { connection.prepare_cached(sql::FEED) };
    let mut statement = query().map_err(unavailable)?;
    let mut rows = statement.query(params![position, limit.min(PAGE_ROWS_MAX)]).map_err(unavailable)?;
    let mut opener = Opener::new(secrecy);
    let mut bytes = 0;
    while bytes < PAGE_BYTES_MAX {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(_) if !page.rows.is_empty() => break,
            Err(error) => return Err(unavailable(error)),
        };
        let pos = decode::count(row, 14).map_err(|what| StoreError::Unavailable(what.into()))?;
        page.next.advance(SHARD, pos);
        match decode::event(row, None).and_then(|row| with_body(connection, row, &mut opener)) {
            Ok(row) => {
                bytes += row.body_bytes();
                page.rows.push(FeedRow { shard: SHARD, pos, row });
            }
            Err(event) => page.damaged.push(FeedDamage { shard: SHARD, pos, event }),
        }
    }
    Ok(page)
}

fn session(connection: &Connection, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
    let failed = |error| unreadable(id, Seq::ZERO, error);
    let mut statement = connection.prepare_cached(sql::SESSION).map_err(failed)?;
    let mut rows = statement.query(params![SHARD, id.as_bytes()]).map_err(failed)?;
    let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
    decode::session(row).map(Some).map_err(|what| StoreError::Damaged { session: id, seq: Seq::ZERO, what })
}

fn sessions(connection: &Connection, filter: &SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
    let statement = match filter {
        SessionFilter::All => sql::SESSIONS,
        SessionFilter::Due => sql::SESSIONS_DUE,
        SessionFilter::IdPrefix(_) => sql::SESSIONS_BETWEEN,
    };
    let mut statement = connection.prepare_cached(statement).map_err(unavailable)?;
    let mut rows = match filter {
        SessionFilter::All | SessionFilter::Due => statement.query(params![SHARD, limit]),
        SessionFilter::IdPrefix(prefix) => {
            let (low, high) = id_range(prefix)?;
            statement.query(params![SHARD, limit, low, high])
        }
    }
    .map_err(unavailable)?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        match decode::session(row) {
            Ok(session) => sessions.push(session),
            // One bad row must not hide all other sessions; asking for that session by its id names the damage.
            Err(what) => tracing::warn!(what, "a session's row cannot be read and is left out of the list"),
        }
    }
    Ok(sessions)
}

/// Fetches and opens a body that is not as it is in its row.
pub(super) fn with_body(connection: &Connection, event: EventRow, opener: &mut Opener) -> Result<Row, DamagedEvent> {
    let EventRow { mut row, held } = event;
    let opened = match held {
        Held::Here => return Ok(row),
        Held::Encrypted => opener.decrypt(&mut row),
        Held::InBlob(digest) if opener.has(digest) => opener.set_from_segment(digest, &mut row),
        Held::InBlob(digest) => content(connection, digest).and_then(|content| opener.set_from(digest, content, &mut row)),
    };
    match opened {
        Ok(()) => Ok(row),
        Err(what) => Err(held.damaged(&row, &what)),
    }
}

fn content(connection: &Connection, digest: Digest) -> Result<Content, String> {
    let read = || -> Result<Content, rusqlite::Error> {
        let mut statement = connection.prepare_cached(sql::LONG_BODY)?;
        statement.query_row(params![SHARD, digest.0], |row| Ok(Content { bytes: row.get(0)?, form: row.get(1)? }))
    };
    read().map_err(|error| error.to_string())
}

/// The same place as a number that the database can hold.
fn bounded(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

fn rows_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn unavailable(error: rusqlite::Error) -> StoreError {
    Fault::of(&error).failed_read(error.into())
}

fn unreadable(session: SessionId, seq: Seq, error: rusqlite::Error) -> StoreError {
    match Fault::of(&error) {
        Fault::Corrupt | Fault::Disk => StoreError::Damaged { session, seq, what: error.to_string() },
        fault => fault.failed_read(BoxError::from(error)),
    }
}
