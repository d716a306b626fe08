//! What databases differ in: how they are opened, and the paths that are hot enough to be spoken in each one's own way.

use std::path::Path;

use async_trait::async_trait;
use sqlx::database::HasStatementCache;
use sqlx::{Database, Pool};
use tokio::sync::OwnedMutexGuard;

use super::care::Backup;
use super::content::Secrecy;
use super::{
    Append, Appended, Condition, FeedCursor, FeedPage, Page, Paging, Pieces, Read, SessionFilter, SessionRow, Shard, StoreError,
    Terms, WakeUps,
};
use crate::session::{NodeId, SessionId};

/// The right to write, for as long as it is held; nothing where the database queues writers by itself.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held for what its drop does")] pub(super) Option<OwnedMutexGuard<()>>);

/// By which clock leases are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseClock {
    /// By the database's, which this statement reads.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only PostgreSQL has a clock that all nodes read"))]
    Database(&'static str),
    /// By that of the one machine that all processes are on.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only SQLite lives on one machine"))]
    Machine {
        /// Tells it from the clock that the machine had before it was last started.
        id: String,
        /// What it says, in microseconds.
        now: i64,
    },
}

/// How an event is taken out of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// By its words, which must be those that it was indexed with.
    #[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "only SQLite's index asks for them"))]
    Words(&'static str),
    /// By its place.
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only PostgreSQL's index is a table"))]
    Places(&'static str),
}

/// One kind of database under a [`SqlStore`](super::sql::SqlStore).
#[async_trait]
pub trait Dialect: Send + Sync + 'static {
    /// The database of sqlx.
    type Db: Database<Arguments: sqlx::IntoArguments<Self::Db>> + HasStatementCache;

    /// Begins a transaction that writes.
    const BEGIN_WRITE: &'static str;
    /// How it is best asked for a whole session.
    const PAGING: Paging;
    /// Reads the database's clock in microseconds.
    const NOW: &'static str;
    /// Keeps content once; where others may be removing it just now, it is locked until the commit.
    const PUT_BLOB: &'static str;
    /// Locks content that is to be removed, where several may write at once.
    const LOCK_BLOB: Option<&'static str>;
    /// Reads whether the session was purged that a fork goes on from, and keeps others from purging it until the commit.
    const KEEP_BASE: &'static str;
    /// Begins a fork.
    const BEGIN_FORK: &'static str;
    /// Moves the head of a session of another store.
    const MOVE_ADOPTED: &'static str;
    /// Makes a session what it is in another store.
    const SETTLE: &'static str;
    /// Writes an event of another store, as it is there.
    const INSERT_EVENT_ROW: &'static str;

    /// Indexes events for search.
    const INDEX: &'static str;
    /// Notes the days of indexed events, where searches need that.
    const INDEX_DAYS: Option<&'static str>;
    /// Notes which models events name, given with their places, in their sessions.
    const INDEX_MODELS: &'static str;
    /// Takes events out of the index.
    const FORGET: Forget;
    /// Forgets which models of a session no event names that is still in the index.
    const FORGET_MODELS: &'static str;
    /// Empties the index of a shard.
    const CLEAR_INDEX: &'static [&'static str];
    /// Finds events.
    const FIND: &'static str;
    /// The ids of the sessions between two ids, all in one text, as hexadecimal digits; so are those of the next ones.
    const IDS_BETWEEN: &'static str;
    /// Those of the sessions in a phase.
    const IDS_IN_PHASE: &'static str;
    /// Those of the sessions that cost not less and not more than so much.
    const IDS_COSTING: &'static str;
    /// Those of the sessions in which a model was named whose label is not before one text, and before another.
    const IDS_OF_MODEL: &'static str;

    /// The words of an event as the index takes them.
    fn indexed(words: String) -> String;

    /// A search in the database's own language.
    fn matching(terms: &Terms) -> String;

    /// How many rows a statement changed.
    fn rows_affected(result: &<Self::Db as Database>::QueryResult) -> u64;

    /// Who can read what lies in the database.
    fn secrecy(&self) -> &Secrecy;

    /// The address, without secrets.
    fn address(&self) -> &str;

    /// Reads how many bytes the store takes.
    fn bytes(&self) -> &'static str;

    /// Reads the database and its version.
    fn version(&self) -> &'static str;

    /// The shard of a session.
    fn shard_of(&self, session: SessionId) -> Shard;

    /// The shard of a node's letters: that of a session with the same id.
    fn shard_of_node(&self, node: NodeId) -> Shard {
        self.shard_of(SessionId::from_uuid(node.as_uuid()))
    }

    /// Connections that read.
    fn reads(&self) -> &Pool<Self::Db>;

    /// Connections that write.
    fn writes(&self) -> &Pool<Self::Db>;

    /// Whether a pooler stands between that gives each transaction any connection.
    fn pools_transactions(&self) -> bool;

    /// By which clock leases are told.
    fn lease_clock(&self) -> Result<LeaseClock, StoreError>;

    /// Looks where the database is now, after it could not be written where it was; nothing where it cannot move.
    async fn look_again(&self);

    /// Says whether reads are served.
    fn readable(&self) -> Result<(), StoreError>;

    /// Waits for the right to write.
    async fn turn(&self) -> Result<Turn, StoreError>;

    /// What an error of a read means.
    fn failed_read(&self, error: sqlx::Error) -> StoreError;

    /// What an error of a write means.
    fn failed_write(&self, error: sqlx::Error) -> StoreError;

    /// Commits an append, together with whatever else waits.
    async fn append(&self, append: Append) -> Result<Appended, StoreError>;

    /// Scans a session. Rows go to `pieces`, where there are any, as they come; what is returned is the rest of the page.
    async fn read(&self, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError>;

    /// Scans all sessions in commit order.
    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError>;

    /// Reads one session's row.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Lists sessions.
    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError>;

    /// Rings after commits.
    fn wake_ups(&self) -> WakeUps;

    /// Writes a copy of the store as it is at one moment to a file that is not there yet.
    async fn backup(&self, to: &Path) -> Result<Backup, StoreError>;

    /// How the database is.
    async fn condition(&self) -> Result<Condition, StoreError>;

    /// Gives back the room of what was removed, which waits for its turn to write.
    async fn compact(&self) -> Result<(), StoreError>;

    /// Overwrites what content that was taken out has left beside the database, as far as nobody is in the way just now.
    async fn overwrite(&self) {}

    /// Finishes what was accepted.
    async fn close(&self);
}
