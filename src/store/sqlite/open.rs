//! Opening a file: is it ours, may it be written, is it new; and if it is not ours, leaving it as it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, eaccess};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlSafeStr as _};

use super::super::content::Secrecy;
use super::super::statements::{common, sqlite as sql};
use super::super::{Bodies, BoxError, FORMAT, OpenError, OpenOptions, StoreError};
use super::fault::{Fault, busy};
use super::filesystem;

/// Marks a file as ours: `REKN`.
const APPLICATION_ID: i64 = 0x5245_4B4E;
/// Smaller pages mean fewer bytes to write for each commit; measured best for events of about 1 KB.
const PAGE_BYTES: i64 = 8192;
/// No database is smaller: one page of the smallest size.
const DATABASE_BYTES_MIN: u64 = 512;
/// The write-ahead log's file is cut to this when it is reset after a burst.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// The most that a connection of sqlx keeps of what it has read, in KiB.
const CACHE_KIB: u32 = 16 * 1024;
/// Statements that the writer keeps prepared.
const STATEMENTS_KEPT: usize = 32;
/// How long two processes that make the same store wait for each other between tries.
const CREATE_PAUSE: Duration = Duration::from_millis(20);

/// How often a file that looks damaged is looked at, in case another process was writing it just then.
const LOOKS_MAX: u32 = 5;

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
pub(super) async fn open(path: &Path, options: &OpenOptions) -> Result<Access, StoreError> {
    let (owned, asked) = (path.to_owned(), options.clone());
    let prepared = tokio::task::spawn_blocking(move || prepare(&owned, &asked)).await;
    match prepared.map_err(|error| StoreError::Unavailable(error.into()))?? {
        Access::Write(connection) => migrate(path, connection, options.busy_wait).await.map(Access::Write),
        access => Ok(access),
    }
}

/// Who can read what lies in the file; a store that holds nothing yet is encrypted from now on, if that is asked for.
pub(super) fn secrecy(path: &Path, access: &Access, options: &OpenOptions) -> Result<Secrecy, StoreError> {
    let failed = |error| unopened(path, error);
    let encrypted = |connection: &Connection| connection.query_row(common::ENCRYPTED, [], |row| row.get::<_, bool>(0));
    let is_encrypted = match access {
        Access::Read { immutable, .. } => {
            let connection = connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY, *immutable).map_err(failed)?;
            encrypted(&connection).map_err(failed)?
        }
        Access::Write(connection) if options.bodies == Bodies::Encrypted && !encrypted(connection).map_err(failed)? => {
            in_time(options.busy_wait, || connection.execute_batch(sql::BEGIN)).map_err(failed)?;
            let held: bool = connection.query_row(common::HAS_SESSIONS, [], |row| row.get(0)).map_err(failed)?;
            if !held {
                connection.execute(common::ENCRYPT, []).map_err(failed)?;
            }
            connection.execute_batch(sql::COMMIT).map_err(failed)?;
            !held
        }
        Access::Write(connection) => encrypted(connection).map_err(failed)?,
    };
    Secrecy::found(is_encrypted, options, || format!("sqlite://{}", path.display()))
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
pub(super) fn sqlx_options(path: &Path, options: &OpenOptions, access: &Access) -> SqliteConnectOptions {
    let shared = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(options.busy_wait)
        .foreign_keys(false)
        // The upper pages of the index of words stay at hand; they are few of all.
        .pragma("cache_size", format!("-{CACHE_KIB}"));
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

fn pages_max(options: &OpenOptions) -> Option<i64> {
    options.bytes_max.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX) / PAGE_BYTES)
}

fn prepare(path: &Path, options: &OpenOptions) -> Result<Access, StoreError> {
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
        // Asked of the system, which says why; opening the file here would cost SQLite its locks.
        eaccess(path, AccessFlags::R_OK).map_err(|errno| unusable(path, std::io::Error::from(errno)))?;
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
        Ok((_, true)) => {
            read_only(path, format!("{} may not be written; check its permissions and how its disk is mounted", path.display()))
        }
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
    let other = || StoreError::from(OpenError::NotAStore(path.to_owned()));
    let look = |immutable| match connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY, immutable) {
        Ok(seen) => Ok((identify(&seen), seen)),
        Err(error) => Err(unopened(path, error)),
    };
    let mut looks = 1;
    let (identity, seen) = loop {
        // As if nobody could change it: this leaves no file beside a database that is not ours.
        let (identity, seen) = look(true)?;
        let is_torn = identity.as_ref().is_err_and(|error| Fault::of(error) == Fault::Corrupt);
        if is_torn && log(path) {
            // A checkpoint that is on its way, or was when its process ended: only with its log is the database whole.
            break look(false)?;
        }
        if !is_torn || looks == LOOKS_MAX {
            break (identity, seen);
        }
        // Its last process may have written it back, and taken its log away, while it was looked at.
        std::thread::sleep(CREATE_PAUSE);
        looks += 1;
    };
    let (id, format) = identity.map_err(|error| unidentified(path, error))?;
    if id == APPLICATION_ID {
        return if format > FORMAT { Err(newer(path, format)) } else { Ok(()) };
    }
    if id != 0 || format != 0 || !may_create || tables(&seen).map_err(|error| unidentified(path, error))? != 0 {
        return Err(other());
    }
    // An empty database whose tables may all still be in its log.
    if log(path) && tables(&look(false)?.1).map_err(|error| unidentified(path, error))? != 0 {
        return Err(other());
    }
    Ok(())
}

/// The application id and the format of a database.
fn identify(connection: &Connection) -> Result<(i64, i64), rusqlite::Error> {
    let id = connection.query_row(sql::APPLICATION_ID, [], |row| row.get(0))?;
    let format = connection.query_row(sql::USER_VERSION, [], |row| row.get(0))?;
    Ok((id, format))
}

fn tables(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row(sql::TABLES, [], |row| row.get(0))
}

/// Makes a connection the writer's. On a new file this is also what makes it ours, before anything else is in it.
fn ready(connection: &Connection, options: &OpenOptions) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(options.busy_wait)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let (id, _) = identify(connection)?;
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
    let with_log = connection(path, OpenFlags::SQLITE_OPEN_READ_ONLY, false);
    match with_log.and_then(|connection| identify(&connection)) {
        Ok((_, format)) if format > FORMAT => Err(newer(path, format)),
        Ok((_, 0)) => Err(OpenError::Missing(path.to_owned()).into()),
        Ok((_, found)) if found < FORMAT => {
            Err(OpenError::Older { address: format!("sqlite://{}", path.display()), found, needed: FORMAT }.into())
        }
        Ok(_) => Ok(Access::Read { why, immutable: false }),
        // Without leave to make the shared memory beside it, it can only be read if nothing waits in its log.
        Err(error) if no_write(&error) && !log(path) => Ok(Access::Read { why, immutable: true }),
        Err(error) => Err(unidentified(path, error)),
    }
}

/// Brings the tables to the present format. Two processes may do so at once: the one that comes late finds it done.
async fn migrate(path: &Path, writer: Connection, busy_wait: Duration) -> Result<Connection, StoreError> {
    let begin = Instant::now();
    loop {
        let before = match identify(&writer).map_err(|error| unopened(path, error))? {
            (_, FORMAT) => return Ok(writer),
            (_, format) if format > FORMAT => return Err(newer(path, format)),
            (_, format) => format,
        };
        if let Err(error) = run_migrations(path, busy_wait).await {
            let now = identify(&writer).map_or(before, |(_, format)| format);
            let late = now == FORMAT;
            // Two at once: one of them finds the other in its way for a moment, or a part of its work done.
            let in_the_way = now != before || matches!(Fault::of_sqlx(&error), Fault::Busy | Fault::Constraint);
            if !late && (!in_the_way || begin.elapsed() >= busy_wait) {
                return Err(match Fault::of_sqlx(&error) {
                    Fault::Full => StoreError::Full(error.into()),
                    Fault::Busy => busy(&error.into()),
                    _ => unusable(path, error),
                });
            }
            tokio::time::sleep(CREATE_PAUSE).await;
        }
    }
}

async fn run_migrations(path: &Path, busy_wait: Duration) -> Result<(), sqlx::Error> {
    let connect = SqliteConnectOptions::new().filename(path).busy_timeout(busy_wait).synchronous(SqliteSynchronous::Full);
    let mut connection = sqlx::SqliteConnection::connect_with(&connect).await?;
    // Not `run`, whose future the compiler cannot see to be `Send`.
    let result = migrator().run_direct(None, &mut connection, false).await;
    // Closing may fail where migrating did not; the tables are what counts.
    let _ = connection.close().await;
    result.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        error => sqlx::Error::Migrate(error.into()),
    })
}

/// Brings the tables from nothing, or from any older format, to the present one. Each sets `user_version` to its own number.
const MIGRATIONS: [(i64, &str, &str); 11] = [
    (1, "event log", include_str!("../../../migrations/sqlite/0001_event_log.sql")),
    (2, "catch-up projections", include_str!("../../../migrations/sqlite/0002_catch_up_projections.sql")),
    (3, "retention", include_str!("../../../migrations/sqlite/0003_retention.sql")),
    (4, "inbox", include_str!("../../../migrations/sqlite/0004_inbox.sql")),
    (5, "kept content and lease clock", include_str!("../../../migrations/sqlite/0005_kept_content_and_lease_clock.sql")),
    (6, "recent sessions", include_str!("../../../migrations/sqlite/0006_recent_sessions.sql")),
    (7, "forks", include_str!("../../../migrations/sqlite/0007_forks.sql")),
    (8, "search", include_str!("../../../migrations/sqlite/0008_search.sql")),
    (9, "models of sessions", include_str!("../../../migrations/sqlite/0009_models_of_sessions.sql")),
    (10, "packing and encryption", include_str!("../../../migrations/sqlite/0010_packing_and_encryption.sql")),
    (11, "written minutes", include_str!("../../../migrations/sqlite/0011_written_minutes.sql")),
];

fn migrator() -> Migrator {
    let migration = |(version, what, sql): &(i64, &'static str, &'static str)| {
        Migration::new(*version, (*what).into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
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

/// Whether something of the database is in its log only.
fn log(path: &Path) -> bool {
    beside(path, "-wal") > 0
}

fn no_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied))
}

fn newer(path: &Path, found: i64) -> StoreError {
    OpenError::Newer { address: path.display().to_string(), found, supported: FORMAT }.into()
}

/// What cannot be told to be ours is taken for somebody else's.
fn unidentified(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotAStore(path.to_owned()).into(),
        _ => unopened(path, error),
    }
}

fn unwritable_place(path: &Path) -> String {
    format!("nothing may be written in {}; check its permissions and how its disk is mounted", directory(path).display())
}

fn unusable(path: &Path, source: impl Into<BoxError>) -> StoreError {
    OpenError::Io { path: path.to_owned(), source: source.into() }.into()
}

fn unopened(path: &Path, error: rusqlite::Error) -> StoreError {
    match Fault::of(&error) {
        Fault::Busy => busy(&error.into()),
        Fault::Full => StoreError::Full(error.into()),
        _ => unusable(path, error),
    }
}
