//! How the file is, and which other processes of this machine hold locks on it. Nothing here opens a file of the database: closing it
//! again would cost SQLite its locks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::super::statements::sqlite as sql;
use super::super::{FileCondition, StoreError};

/// The byte of the shared memory that a writer locks (`WALINDEX_LOCK_OFFSET` in SQLite's file format).
const WRITER: u64 = 120;
/// The bytes that readers lock.
const READERS: std::ops::RangeInclusive<u64> = 123..=127;

/// How the file at `path` is, seen through a connection that reads.
pub(super) fn condition(connection: &Connection, path: &Path) -> Result<FileCondition, StoreError> {
    let ask = |statement: &str| connection.query_row(statement, [], |row| row.get::<_, i64>(0));
    let read = || Ok((ask(sql::PAGE_BYTES)?, ask(sql::PAGES)?, ask(sql::FREE_PAGES)?));
    let (page, pages, free) = read().map_err(|error: rusqlite::Error| StoreError::Unavailable(error.into()))?;
    let bytes = |pages: i64| u64::try_from(pages.saturating_mul(page)).unwrap_or_default();
    let length = |suffix: &str| fs::metadata(beside(path, suffix)).map_or(0, |metadata| metadata.len());
    let locks = Locks::of(&beside(path, "-shm"));
    Ok(FileCondition {
        path: path.to_owned(),
        bytes: bytes(pages),
        free_bytes: bytes(free),
        log_bytes: length("-wal"),
        readers: locks.readers,
        writer: locks.writer,
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Which other processes hold locks on the shared memory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Locks {
    readers: Vec<u32>,
    writer: Option<u32>,
}

impl Locks {
    /// The locks on the file at `path`, as far as this machine tells.
    fn of(path: &Path) -> Self {
        let Ok(metadata) = fs::metadata(path) else { return Self::default() };
        Self::read(&fs::read_to_string("/proc/locks").unwrap_or_default(), metadata.ino(), std::process::id())
    }

    /// Reads `/proc/locks` (proc(5)). Files are told apart by inode alone: some file systems show another device than they say.
    fn read(table: &str, inode: u64, own: u32) -> Self {
        let mut locks = Self::default();
        // A process that waits for a lock stands behind an arrow, and holds nothing.
        for line in table.lines().filter(|line| !line.contains("->")) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, "POSIX", _, _, pid, file, first, last] = fields.as_slice() else { continue };
            let of_file = file.rsplit(':').next().and_then(|number| number.parse().ok()) == Some(inode);
            let (Ok(pid), Ok(first)) = (pid.parse::<u32>(), first.parse::<u64>()) else { continue };
            let last = last.parse().unwrap_or(u64::MAX);
            if !of_file || pid == own {
                continue;
            }
            if (first..=last).contains(&WRITER) {
                locks.writer = Some(pid);
            }
            if first <= *READERS.end() && last >= *READERS.start() && !locks.readers.contains(&pid) {
                locks.readers.push(pid);
            }
        }
        locks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_of_other_processes_on_the_file_are_told_apart() {
        let table = "1: POSIX  ADVISORY  READ 100 fd:00:7 124 124\n\
             2: POSIX  ADVISORY  WRITE 101 fd:00:7 120 120\n\
             2: -> POSIX  ADVISORY  WRITE 102 fd:00:7 120 120\n\
             3: POSIX  ADVISORY  READ 103 fd:00:8 124 124\n\
             4: POSIX  ADVISORY  READ 1 fd:00:7 123 123\n\
             5: POSIX  ADVISORY  READ 104 fd:00:7 128 128\n\
             6: FLOCK  ADVISORY  WRITE 105 fd:00:7 0 EOF\n";
        assert_eq!(Locks::read(table, 7, 1), Locks { readers: vec![100], writer: Some(101) });
        assert_eq!(Locks::read("nonsense", 7, 1), Locks::default());
    }
}
