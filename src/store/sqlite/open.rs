//! Opening a file: is it ours, may it be written, is it new; and if it is not ours, leaving it as it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlSafeStr as _};

use super::super::statements::sqlite as sql;
use super::super::{BoxError, FORMAT, OpenError, OpenOptions, StoreError};
use super::fault::Fault;
use super::filesystem;

/// Marks a file as ours: `REKN`.
const APPLICATION_ID: i64 = 0x5245_4B4E;
/// Smaller pages mean fewer bytes to write for each commit; measured best for events of about 1 KB.
const PAGE_BYTES: i64 = 4096;
/// No database is smaller: one page of the smallest size.
const DATABASE_BYTES_MIN: u64 = 512;
/// The write-ahead log's file is cut to this when it is reset after a burst.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// Statements that the writer keeps prepared.
const STATEMENTS_KEPT: usize = 32;
/// How long two processes that make the same store wait for each other between tries.
const CREATE_PAUSE: Duration = Duration::from_millis(20);

/// How a file can be used.
pub(super) enum Access {
    /// It can be written through this connection.
    Write(Connection),
    /// It can only be read, and why.
    Read {
        /// The reason.
        why: String,
        /// Nothing can be written beside it either, so that it must be read as one that nobody changes.
        immutable: bool,
    },
}

/// Opens the file, or makes it, so that it holds the present tables.
pub(super) async fn open(path: &Path, options: OpenOptions) -> Result<Access, StoreError> {
    let owned = path.to_owned();
    let prepared = tokio::task::spawn_blocking(move || prepare(&owned, options)).await;
    match prepared.map_err(|error| StoreError::Unavailable(error.into()))?? {
        Access::Write(connection) => migrate(path, connection, options.busy_wait).await.map(Access::Write),
        access => Ok(access),
    }
}

/// Opens a connection. An immutable file is one that nobody can change: SQLite then needs neither locks nor files beside it.
pub(super) fn connection(path: &Path, mode: OpenFlags, immutable: bool) -> Result<Connection, rusqlite::Error> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !immutable {
        return Connection::open_with_flags(path, flags);
    }
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

/// How sqlx opens the same file for the rest.
pub(super) fn sqlx_options(path: &Path, options: OpenOptions, access: &Access) -> SqliteConnectOptions {
    let shared = SqliteConnectOptions::new().filename(path).busy_timeout(options.busy_wait).foreign_keys(false);
    match access {
        Access::Read { immutable, .. } => shared.read_only(true).immutable(*immutable),
        Access::Write(_) => {
            let shared = shared
                .synchronous(SqliteSynchronous::Full)
                // Checkpoints are the writer's: a second checkpointer beside it only makes the log grow.
                .pragma("wal_autocheckpoint", "0")
                // What a redaction takes out is overwritten in the file as well.
                .pragma("secure_delete", "on");
            match pages_max(options) {
                Some(pages) => shared.pragma("max_page_count", pages.to_string()),
                None => shared,
            }
        }
    }
}

fn pages_max(options: OpenOptions) -> Option<i64> {
    options.bytes_max.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX) / PAGE_BYTES)
}

fn prepare(path: &Path, options: OpenOptions) -> Result<Access, StoreError> {
    let present = match std::fs::metadata(path) {
        // SQLite takes a file of a few bytes for an empty database and would write over it.
        Ok(metadata) if !metadata.is_file() || (1..DATABASE_BYTES_MIN).contains(&metadata.len()) => {
            return Err(OpenError::NotAStore(path.to_owned()).into());
        }
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(unusable(path, error)),
    };
    let may_create = options.create && !options.read_only;
    if !present && !may_create {
        return Err(OpenError::Missing(path.to_owned()).into());
    }
    let place = if present { path } else { directory(path) };
    if let Some(filesystem) = filesystem::network_of(place) {
        return Err(OpenError::Network { path: path.to_owned(), filesystem }.into());
    }
    if present {
        inspect(path, may_create)?;
    }
    if options.read_only {
        return read_only(path, "it was opened for reading only".to_owned());
    }
    let mode = if may_create {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    let opened = connection(path, mode, false).and_then(|connection| {
        // The library opens for reading what it may not write.
        let read_only = connection.is_readonly("main")?;
        Ok((connection, read_only))
    });
    match opened {
        Ok((_, true)) => read_only(path, format!("{} may not be written", path.display())),
        Ok((connection, false)) => match ready(&connection, options) {
            Ok(()) => Ok(Access::Write(connection)),
            Err(error) if present && no_write(&error) => read_only(path, unwritable_place(path)),
            Err(error) => Err(unopened(path, error)),
        },
        Err(error) if present && no_write(&error) => read_only(path, unwritable_place(path)),
        Err(error) => Err(unopened(path, error)),
    }
}

/// Looks at what a file says that it is, so that nothing else's file is ever changed.
fn inspect(path: &Path, may_create: bool) -> Result<(), StoreError> {
    // As if nobody could change it: this leaves no file beside a database that is not ours.
    let (id, mut format, mut tables) = identity(path, true)?;
    if id != APPLICATION_ID && (id != 0 || format != 0 || tables != 0) {
        return Err(OpenError::NotAStore(path.to_owned()).into());
    }
    if id != APPLICATION_ID && beside(path, "-wal") > 0 {
        // An empty database whose tables may all still be in its log.
        (_, format, tables) = identity(path, false)?;
        if format != 0 || tables != 0 {
            return Err(OpenError::NotAStore(path.to_owned()).into());
        }
    }
    if id != APPLICATION_ID && !may_create {
        return Err(OpenError::NotAStore(path.to_owned()).into());
    }
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.to_owned(), found: format, supported: FORMAT }.into());
    }
    Ok(())
}

/// The application id, the format and the number of tables of a file.
fn identity(path: &Path, immutable: bool) -> Result<(i64, i64, i64), StoreError> {
    let read = connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY, immutable).and_then(|connection| identify(&connection));
    read.map_err(|error| match error.sqlite_error_code() {
        // Of a damaged store at least the first page must be whole to tell it from anything else.
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotAStore(path.to_owned()).into(),
        _ => unopened(path, error),
    })
}

fn identify(connection: &Connection) -> Result<(i64, i64, i64), rusqlite::Error> {
    connection.query_row(sql::IDENTITY, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// Makes a connection the writer's. On a new file this is also what makes it ours, before anything else is in it.
fn ready(connection: &Connection, options: OpenOptions) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(options.busy_wait)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let (id, ..) = identify(connection)?;
    if id != APPLICATION_ID {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    in_time(options.busy_wait, || connection.pragma_update(None, "journal_mode", "wal"))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    if let Some(pages) = pages_max(options) {
        connection.pragma_update(None, "max_page_count", pages)?;
    }
    probe(connection, options.busy_wait)
}

/// Begins to write and stops, to find out whether it could. That another process is writing just now is no obstacle.
fn probe(connection: &Connection, busy_wait: Duration) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::ZERO)?;
    let begun = connection.execute_batch(sql::BEGIN);
    if !connection.is_autocommit() {
        connection.execute_batch(sql::ROLLBACK)?;
    }
    connection.busy_timeout(busy_wait)?;
    begun.or_else(|error| if Fault::of(&error) == Fault::Busy { Ok(()) } else { Err(error) })
}

/// Tries again while the database is busy; some locks are not waited for by the library itself.
fn in_time(limit: Duration, mut action: impl FnMut() -> Result<(), rusqlite::Error>) -> Result<(), rusqlite::Error> {
    let begin = Instant::now();
    loop {
        match action() {
            Err(error) if Fault::of(&error) == Fault::Busy && begin.elapsed() < limit => std::thread::sleep(CREATE_PAUSE),
            result => return result,
        }
    }
}

/// Finds a way to read a file that cannot be written.
fn read_only(path: &Path, why: String) -> Result<Access, StoreError> {
    match identity(path, false) {
        Ok((_, format, _)) if format > FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found: format, supported: FORMAT }.into())
        }
        Ok((_, 0, _)) => Err(OpenError::Missing(path.to_owned()).into()),
        Ok(_) => Ok(Access::Read { why, immutable: false }),
        // Without leave to make the shared memory beside it, it can only be read if nothing waits in its log.
        Err(_) if beside(path, "-wal") == 0 => Ok(Access::Read { why, immutable: true }),
        Err(error) => Err(error),
    }
}

/// Brings the tables to the present format. Two processes may do so at once: the one that comes late finds it done.
async fn migrate(path: &Path, writer: Connection, busy_wait: Duration) -> Result<Connection, StoreError> {
    let format = |writer: &Connection| identify(writer).map(|(_, format, _)| format).map_err(|error| unopened(path, error));
    let begin = Instant::now();
    loop {
        match format(&writer)? {
            FORMAT => return Ok(writer),
            newer if newer > FORMAT => {
                return Err(OpenError::Newer { path: path.to_owned(), found: newer, supported: FORMAT }.into());
            }
            _ => {}
        }
        let connect = SqliteConnectOptions::new().filename(path).busy_timeout(busy_wait).synchronous(SqliteSynchronous::Full);
        let failed: BoxError = match sqlx::SqliteConnection::connect_with(&connect).await {
            Ok(mut connection) => {
                // Not `run`, whose future the compiler cannot see to be `Send`.
                let result = migrator().run_direct(None, &mut connection, false).await;
                // Closing may fail where migrating did not; the tables are what counts.
                let _ = connection.close().await;
                match result {
                    Ok(()) => continue,
                    Err(error) => error.into(),
                }
            }
            Err(error) => error.into(),
        };
        if format(&writer)? < FORMAT && begin.elapsed() >= busy_wait {
            return Err(OpenError::Io { path: path.to_owned(), source: failed }.into());
        }
        tokio::time::sleep(CREATE_PAUSE).await;
    }
}

fn migrator() -> Migrator {
    let event_log = include_str!("../../../migrations/sqlite/0001_event_log.sql");
    Migrator::with_migrations(vec![Migration::new(1, "event log".into(), MigrationType::Simple, event_log.into_sql_str(), false)])
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The length of a file that SQLite keeps beside the database; looked at, never opened.
fn beside(path: &Path, suffix: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    std::fs::metadata(PathBuf::from(name)).map_or(0, |metadata| metadata.len())
}

fn no_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
}

fn unwritable_place(path: &Path) -> String {
    format!("nothing may be written in {}", directory(path).display())
}

fn unusable(path: &Path, source: impl Into<BoxError>) -> StoreError {
    OpenError::Io { path: path.to_owned(), source: source.into() }.into()
}

fn unopened(path: &Path, error: rusqlite::Error) -> StoreError {
    match Fault::of(&error) {
        Fault::Busy => StoreError::Busy(error.into()),
        Fault::Full => StoreError::Full(error.into()),
        _ => unusable(path, error),
    }
}
