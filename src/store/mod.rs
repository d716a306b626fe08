//! Layer 2 · the log. [`Store`] is the contract; the in-memory store is its readable reference, `SqlStore` the durable one.

mod append;
mod care;
pub mod chain;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod cipher;
mod condition;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod content;
mod copy;
mod cursor;
#[cfg(any(feature = "audit", feature = "testing", test))]
mod decorator;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod dialect;
mod error;
mod fork;
mod inbox;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod keys;
mod memory;
mod pages;
mod pieces;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod read_models;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sealed;
mod search;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod segment;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod statements;
mod title;
mod wake_ups;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use append::{Append, Appended, Base, Directory, Expected, SessionRow, Writer};
pub use care::{Adoption, Backup, Care, Keeping, Packed};
pub use chain::{Flaw, Verified, Verifier, verify_session};
pub use condition::{Compacted, Condition, FeedFlaw, FileCondition, Holder, HolderKind, ServerCondition, TableCondition};
pub use copy::{Copied, copy};
use cursor::StoreMark;
pub use cursor::{FeedCursor, InvalidCursor};
#[cfg(any(feature = "audit", feature = "testing", test))]
pub(crate) use decorator::Decorator;
pub use error::{BoxError, OpenError, StoreError};
pub use fork::holder;
pub use inbox::{Inbox, Letter};
pub use memory::MemoryStore;
pub use pages::Pages;
pub use pieces::Pieces;
pub use read::{
    DamagedEvent, FeedDamage, FeedPage, FeedRow, NodeRow, Order, Page, Paging, Read, Row, SessionFilter, Shard, Snapshot,
    StoreInfo,
};
pub use read_models::{Change, Document, DocumentWrite, Projected, ProjectionId, Quarantined, ReadModels, session_key};
pub use search::{Alike, Find, Hit, IndexEntry, Indexed, Place, SearchIndex, Term, Terms, search_projection};
pub use wake_ups::{Elsewhere, WakeUps};

use crate::session::{Digest, NodeId, Seq, SessionId, SessionName};

/// The format of the tables that this version writes and reads.
pub const FORMAT: i64 = 11;

/// How many snapshots of one session and reducer are kept for being the newest.
pub const SNAPSHOTS_KEPT: usize = 2;

/// Of each stretch of so many events the first snapshot is kept as well, so that any state is at most about two such stretches away
/// from one. A state takes a few KB whatever the length of its session, the events of a stretch a thousand times that.
pub const RUNG: u64 = 4096;

/// The longest lease: one that is asked for longer is cut, so that no node is believed to live for ever.
pub const LEASE_MAX: Duration = Duration::from_hours(24);

/// The log of all sessions.
///
/// What every implementation promises, and the conformance kit checks:
///
/// 1. An acknowledged append is durable and visible, whole and in order; a failed one left nothing.
/// 2. [`Expected`] is honoured under any concurrency; a loser gets [`StoreError::Conflict`] with the head.
/// 3. Per session `seq` is dense, and a reader that sees n has seen everything below n.
/// 4. The [feed](Store::feed) delivers every event of every session, in commit order, gap-free.
/// 5. A writer whose epoch has passed gets [`StoreError::Fenced`], whatever its clock says.
/// 6. Damage is named by session and seq, and makes nothing else unreadable.
/// 7. After a failed write to disk the handle refuses to write ([`StoreError::Poisoned`]).
/// 8. Appending the same events again (same ids, same content) answers what the first time did.
/// 9. A [fork](Expected::Fork) reads as one log with what it shares: the same events, seqs and hashes up to its base, its own after
///    that. Nothing is copied and the other session does not change; the feed holds only what each wrote itself.
///
/// Dropping the future of an append does not undo it: the append happens, or not, as if nobody had asked for the answer.
#[async_trait]
pub trait Store: Care + Inbox + ReadModels + SearchIndex {
    /// Appends all events of `append`, durably, or none.
    async fn append(&self, append: Append) -> Result<Appended, StoreError>;

    /// Reads one bounded page of one session's events. A page may end before `read.limit`; [`Page::more`] says whether to go on.
    async fn read(&self, read: Read) -> Result<Page, StoreError>;

    /// The same for a read oldest first, whose rows go to `pieces` as they come, in order; what is returned is what of the page did not.
    async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
        let _ = pieces;
        self.read(read).await
    }

    /// How it is best asked for a whole session.
    fn paging(&self) -> Paging {
        Paging { rows: read::PAGE_ROWS, at_once: 1 }
    }

    /// Reads the directory row of one session.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Lists sessions, the most recently changed first, at most `limit`.
    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError>;

    /// Says that a session is called by the name that its id was made of ([`SessionId::named`]); fails with
    /// [`StoreError::Invalid`] when it was made of another.
    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError>;

    /// Stores content by its digest, once, and keeps it for `session`: it goes when the last session that was given it is purged.
    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError>;

    /// Stores all of these as [`put_blob`](Self::put_blob) does, at once where the store can.
    async fn put_blobs(&self, session: SessionId, contents: Vec<Vec<u8>>) -> Result<(), StoreError> {
        for bytes in contents {
            self.put_blob(session, bytes).await?;
        }
        Ok(())
    }

    /// Reads content by its digest.
    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a snapshot. Of those of the same reducer, the [`SNAPSHOTS_KEPT`] newest stay, and the first one of each stretch of
    /// [`RUNG`] events; others go. Losing one loses time, never data.
    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError>;

    /// Finds the newest snapshot that `reducer` made at or before `upto`.
    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError>;

    /// Reads events of all sessions in commit order; fails with [`StoreError::Ahead`] where the feed does not reach `after`, and with
    /// [`StoreError::OtherStore`] where another store gave it out.
    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError>;

    /// Where the feed ends now.
    async fn feed_head(&self) -> Result<FeedCursor, StoreError>;

    /// Says that `node` lives at `address` until `ttl` from now, by the store's clock.
    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError>;

    /// What is known of a node.
    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError>;

    /// All nodes that may live, and those whose lease passed not long ago; others that passed may be missing.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;

    /// Gives up the lease of `node`, so that others need not wait for it to pass.
    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError>;

    /// Rings after each commit, here or elsewhere; may ring for nothing, and rings may merge.
    fn wake_ups(&self) -> WakeUps;

    /// What the store says about itself, for `doctor`.
    async fn info(&self) -> Result<StoreInfo, StoreError>;

    /// Blanks the body of one event, for ever; its digest stays, so that the chain still verifies.
    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError>;

    /// Finishes what was accepted and closes the store. Later calls fail with [`StoreError::Unavailable`].
    async fn close(&self);
}

/// The one shared handle that everything above the log holds.
pub type SharedStore = Arc<dyn Store>;

/// How to open a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Make the store when there is none.
    pub create: bool,
    /// Bring the tables of an older version to this one's. A SQLite file that may be written is brought there in any case: nobody
    /// else can be using it with an older version that a server would have to think of.
    pub migrate: bool,
    /// Open it for reading only, even where it could be written.
    pub read_only: bool,
    /// How long to wait for another process that is writing.
    pub busy_wait: Duration,
    /// How long an append waits for a server that is away: restarting, failing over, out of reach.
    pub outage_wait: Duration,
    /// The most bytes that a SQLite store may take on disk; none by default.
    pub bytes_max: Option<u64>,
    /// Where a new store's tables are.
    pub placement: Placement,
    /// Who can read what the sessions of a new store say.
    pub bodies: Bodies,
    /// The directory that holds the keys of the sessions of an encrypted store; made when it is not there.
    pub keys: Option<PathBuf>,
}

/// Who can read what sessions have said: bodies, long content, states, titles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Whoever can read the database. A store that is there and encrypted stays so.
    Readable,
    /// Only who has the keys, too: one of each session, outside of the database. Kinds, times, sizes and counts can be read all the same,
    /// and so can what a projection makes of events. Nothing can be searched.
    Encrypted,
}

/// Where the tables of a new store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In one database, on one server.
    OneServer,
    /// Distributed over the workers of a Citus cluster, by shard.
    Distributed,
}

impl OpenOptions {
    /// What is usual.
    pub const DEFAULT: Self = Self {
        create: true,
        migrate: false,
        read_only: false,
        busy_wait: BUSY_WAIT,
        outage_wait: OUTAGE_WAIT,
        bytes_max: None,
        placement: Placement::OneServer,
        bodies: Bodies::Readable,
        keys: None,
    };
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How long a writer waits for another process by default.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// How long an append waits for a server by default: longer than a failover takes.
const OUTAGE_WAIT: Duration = Duration::from_secs(30);

/// Opens the store at `url`: `sqlite://PATH`, `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or `memory:` for one that is gone with
/// the process.
///
/// Several PostgreSQL addresses, separated by commas, are the members of one cluster: the one that can be written is used, also
/// after it moved. The parameter `pooler=session|transaction` says what stands between, if not the server itself.
///
/// # Errors
/// [`StoreError::Open`] says why it cannot be opened and what to do about it.
pub async fn connect(url: &str, options: OpenOptions) -> Result<SharedStore, StoreError> {
    if url == "memory:" {
        return Ok(Arc::new(MemoryStore::new()));
    }
    #[cfg(feature = "sqlite")]
    if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))
        && !path.is_empty()
        // What SQLite itself would read as something else than a path.
        && !path.starts_with([':', '?']) && !path.starts_with("file:") && !path.contains('?')
    {
        return Ok(Arc::new(sql::SqlStore::new(sqlite::Sqlite::open(path, options).await?)));
    }
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(sql::SqlStore::new(postgres::Postgres::open(url, options).await?)));
    }
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    let _ = options;
    Err(OpenError::Address(url.to_owned()).into())
}

/// The first and the last id that begin with the hexadecimal digits of `prefix`.
fn id_range(prefix: &str) -> Result<([u8; 16], [u8; 16]), StoreError> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    if digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(StoreError::Invalid(format!("{prefix:.80?} is not the beginning of a session id")));
    }
    let bound = |fill: &str| {
        let filled = u128::from_str_radix(&format!("{digits}{}", fill.repeat(32 - digits.len())), 16);
        filled.map(u128::to_be_bytes).map_err(|error| StoreError::Invalid(error.to_string()))
    };
    Ok((bound("0")?, bound("f")?))
}

/// Refuses a cursor of another store: going on from there would pass over events in silence.
fn is_ours(after: &FeedCursor, mark: StoreMark) -> Result<(), StoreError> {
    if after.is_of(mark) { Ok(()) } else { Err(StoreError::OtherStore) }
}

/// Refuses a cursor of a later state of this store, or of another one from which that cannot be seen.
fn is_reached(after: &FeedCursor, head: &FeedCursor) -> Result<(), StoreError> {
    match head.ahead(after) {
        None => Ok(()),
        Some((shard, at)) => Err(StoreError::Ahead { shard, at, head: head.position(shard) }),
    }
}

/// What a closed store answers.
fn closed() -> StoreError {
    StoreError::Unavailable("it was closed".into())
}

/// The phase of a session whose events were purged.
pub const PURGED: &str = "purged";

/// The phases, as directory rows have them, in which nothing more is expected of a session: it is closed, could not be started, or holds
/// a recording.
pub const ENDED: [&str; 3] = ["closed", "start_failed", "imported"];

/// What whoever wants to pack a session that goes on is told.
fn not_ended(id: SessionId) -> StoreError {
    StoreError::Invalid(format!("session {id} still goes on; it is packed once it was closed"))
}

/// What an append to a purged session is told.
fn purged(id: SessionId) -> StoreError {
    StoreError::Invalid(format!("session {id} was purged; nothing can be appended to it any more"))
}

fn no_session(id: SessionId) -> StoreError {
    StoreError::Invalid(format!("there is no session {id}"))
}

fn no_event(id: SessionId, seq: Seq) -> StoreError {
    StoreError::Invalid(format!("session {id} has no event {seq}"))
}

/// A session has its name from its birth: its id is made of it, so that no two sessions can have the same.
fn is_name_of(name: &SessionName, id: SessionId) -> Result<(), StoreError> {
    if SessionId::named(name) == id {
        Ok(())
    } else {
        Err(StoreError::Invalid(format!("the name {name} belongs to another session")))
    }
}
