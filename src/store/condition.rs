//! How the database below a store is: what it takes, what it could give back, and who keeps it from doing so.

use std::path::PathBuf;
use std::time::Duration;

use super::Shard;

/// How the database below a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// There is none.
    Memory,
    /// A SQLite file.
    File(FileCondition),
    /// A PostgreSQL database.
    Server(ServerCondition),
}

/// How a SQLite file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCondition {
    /// The file.
    pub path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many of them hold nothing: pages that compacting gives back.
    pub free_bytes: u64,
    /// How many bytes its write-ahead log has, in the file beside it.
    pub log_bytes: u64,
    /// Other processes of this machine that are reading just now: what was written since they began stays in the write-ahead log.
    pub readers: Vec<u32>,
    /// Another process of this machine that is writing just now.
    pub writer: Option<u32>,
}

/// How a PostgreSQL database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCondition {
    /// How many bytes the whole database takes, the tables of others among them.
    pub database_bytes: u64,
    /// The store's tables, by name.
    pub tables: Vec<TableCondition>,
    /// What keeps vacuum from removing dead rows, the oldest first.
    pub holders: Vec<Holder>,
}

/// How a table of the store is, as the server's statistics have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCondition {
    /// Its name.
    pub name: String,
    /// How many bytes it takes with its indexes.
    pub bytes: u64,
    /// About how many rows it has.
    pub live_rows: u64,
    /// About how many rows were changed or removed and still take room.
    pub dead_rows: u64,
}

/// Something that keeps dead rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What it is.
    pub what: HolderKind,
    /// How long it has been open; `None` where the server does not say.
    pub open_for: Option<Duration>,
    /// How many transactions began since the oldest one that it keeps.
    pub transactions: u64,
}

/// What keeps dead rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderKind {
    /// An open transaction.
    Transaction {
        /// The server's process.
        pid: i32,
        /// What its client calls itself; may be empty.
        application: String,
        /// What it does: `active`, `idle in transaction`, …
        state: String,
    },
    /// A transaction that was prepared for a commit in two steps.
    Prepared {
        /// Its identifier.
        name: String,
    },
    /// A replication slot.
    Slot {
        /// Its name.
        name: String,
    },
}

/// A place of a shard's feed that is not what it should be: positions are dense, but for the recorded holes of purged sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFlaw {
    /// There is neither an event nor a recorded hole.
    Missing {
        /// The shard.
        shard: Shard,
        /// The first position.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// There is more than one event or hole, or something behind the end of the feed.
    Overlap {
        /// The shard.
        shard: Shard,
        /// The position.
        position: u64,
    },
}

/// What compacting a store came to, in bytes that it takes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub before: u64,
    /// After. A server may keep room inside its files, to be used again.
    pub after: u64,
}
