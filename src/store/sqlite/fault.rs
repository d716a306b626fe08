//! What SQLite's errors mean to the callers of a store, whichever library they came through.

use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{BoxError, StoreError};

/// Kinds of failure that call for different behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another process holds the lock.
    Busy,
    /// No room.
    Full,
    /// A read or a write of the disk failed.
    Disk,
    /// The file cannot be written.
    ReadOnly,
    /// The bytes are not those of a database.
    Corrupt,
    /// A rule of the tables forbids it.
    Constraint,
    /// Anything else.
    Other,
}

impl Fault {
    /// Sorts a result code, plain or extended, of the library.
    pub(super) const fn of_code(code: i32) -> Self {
        match code & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            10 => Self::Disk,
            11 | 26 => Self::Corrupt,
            13 => Self::Full,
            19 => Self::Constraint,
            _ => Self::Other,
        }
    }

    /// Sorts an error of rusqlite.
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        error.sqlite_error().map_or(Self::Other, |error| Self::of_code(error.extended_code))
    }

    /// Sorts an error of sqlx.
    pub(super) fn of_sqlx(error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse().ok());
        code.map_or(Self::Other, Self::of_code)
    }

    /// The error of a write that left nothing.
    pub(super) fn failed_write(self, error: BoxError) -> StoreError {
        match self {
            Self::Busy => busy(&error),
            Self::Full => StoreError::Full(error),
            Self::Disk => StoreError::Poisoned(Some(error)),
            Self::ReadOnly => StoreError::ReadOnly(format!("{error}; check the permissions of its file and directory")),
            Self::Corrupt | Self::Constraint | Self::Other => StoreError::Unavailable(error),
        }
    }

    /// The error of a read.
    pub(super) fn failed_read(self, error: BoxError) -> StoreError {
        match self {
            Self::Busy => busy(&error),
            _ => StoreError::Unavailable(error),
        }
    }
}

/// SQLite's own words for it, "database is locked", sound like damage to whoever reads them; they go to the trace.
pub(super) fn busy(error: &BoxError) -> StoreError {
    tracing::debug!(error = error.as_ref() as &dyn std::error::Error, "the store is busy");
    StoreError::Busy("its lock was held all the while".into())
}

/// Whether a handle may still be written through.
#[derive(Debug, Default)]
pub(super) struct Health {
    poisoned: AtomicBool,
    closed: AtomicBool,
    /// Why it can only be read.
    read_only: Option<String>,
}

impl Health {
    /// Of a handle that can be written, or of one that cannot, and why.
    pub(super) fn new(read_only: Option<String>) -> Self {
        Self { read_only, ..Self::default() }
    }

    /// Refuses all writes from now on: after a failed write to disk nobody knows what the system still holds to be written.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// Whether writes are refused because of a failed write to disk.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Refuses everything from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Why it can only be read.
    pub(super) const fn read_only(&self) -> Option<&String> {
        self.read_only.as_ref()
    }

    /// Says whether reads are served.
    pub(super) fn readable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(super::super::closed()) } else { Ok(()) }
    }

    /// Says whether writes are.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.readable()?;
        if self.is_poisoned() {
            return Err(StoreError::Poisoned(None));
        }
        self.read_only.as_ref().map_or(Ok(()), |why| Err(StoreError::ReadOnly(why.clone())))
    }
}
