//! What a reader asks of the log, and what it gets.

use super::append::SessionRow;
use super::cursor::FeedCursor;
use crate::session::{Digest, NodeId, Recorded, Seq, SessionId, Timestamp};

/// A page of one session's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The session.
    pub session: SessionId,
    /// Only events after this one.
    pub after: Seq,
    /// Only events up to and with this one.
    pub upto: Seq,
    /// Oldest or newest first.
    pub order: Order,
    /// At most this many.
    pub limit: u32,
}

/// A page ends once its bodies are this long together, in bytes, so that a reader's memory is bounded whatever the events are.
pub(super) const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A page of convenient size.
pub(super) const PAGE_ROWS: u32 = 512;

/// How a store is best asked for a whole session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// How many events a page may well have, where they are short: more where it costs much to ask for one.
    pub rows: u32,
    /// How many pages are best under way at once: more than one where reading them is work for threads that do nothing else.
    pub at_once: usize,
}

/// No page is longer than this, whatever a reader asks for.
pub(super) const PAGE_ROWS_MAX: u32 = 16 * 1024;

impl Read {
    /// Behind every event.
    pub(super) const END: Seq = Seq(i64::MAX as u64);

    /// Events after `after`, oldest first, a page of convenient size.
    pub const fn forward(session: SessionId, after: Seq) -> Self {
        Self { session, after, upto: Self::END, order: Order::OldestFirst, limit: PAGE_ROWS }
    }

    /// One event.
    pub const fn one(session: SessionId, seq: Seq) -> Self {
        Self { session, after: Seq(seq.0.saturating_sub(1)), upto: seq, order: Order::OldestFirst, limit: 1 }
    }

    /// The newest `limit` events, newest first.
    pub const fn last(session: SessionId, limit: u32) -> Self {
        Self { session, after: Seq::ZERO, upto: Self::END, order: Order::NewestFirst, limit }
    }
}

/// In which order a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By rising seq.
    OldestFirst,
    /// By falling seq.
    NewestFirst,
}

/// Some events of a session, in the order asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The events.
    pub rows: Vec<Row>,
    /// Whether there is more in the asked range.
    pub more: bool,
}

/// One place of a session's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// An event that can be read, with what its chain needs.
    Event {
        /// The event.
        event: Recorded,
        /// The salt of its body; `None` once redacted.
        salt: Option<[u8; 16]>,
        /// The digest of a body that is gone; `None` while the body is there.
        digest: Option<Digest>,
        /// The chain hash as stored.
        hash: Digest,
    },
    /// A row that is there but cannot be understood as an event.
    Damaged {
        /// Its place.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
}

impl Row {
    /// The event, where it can be read.
    pub const fn event(&self) -> Option<&Recorded> {
        match self {
            Self::Event { event, .. } => Some(event),
            Self::Damaged { .. } => None,
        }
    }

    /// How long its body is as JSON, in bytes: by this a page is bounded.
    pub(super) fn body_bytes(&self) -> usize {
        self.event().map_or(0, |event| event.body.as_json().len())
    }

    /// The place in the session.
    pub const fn seq(&self) -> Seq {
        match self {
            Self::Event { event, .. } => event.seq,
            Self::Damaged { seq, .. } => *seq,
        }
    }
}

/// Which sessions to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SessionFilter {
    /// All.
    #[default]
    All,
    /// Those that have a next effect.
    Due,
    /// Those whose id begins with these hexadecimal digits (dashes are passed over).
    IdPrefix(String),
}

/// The unit of ordering and of distribution: all events of a session are in one shard.
pub type Shard = i32;

/// One event of the feed and where it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRow {
    /// The shard of its session.
    pub shard: Shard,
    /// Its position in the feed of that shard: 1, 2, 3 … without holes, but for sessions that were purged.
    pub pos: u64,
    /// The event.
    pub row: Row,
}

impl FeedRow {
    /// The event, where it can be read.
    pub fn event(&self) -> Option<&Recorded> {
        match &self.row {
            Row::Event { event, .. } => Some(event),
            Row::Damaged { .. } => None,
        }
    }
}

/// Some events of all sessions, in commit order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedPage {
    /// The events.
    pub rows: Vec<FeedRow>,
    /// Where to go on; equal to the one asked with when there was nothing.
    pub next: FeedCursor,
    /// Events on the way that cannot be read. They are passed over, so that one bad event does not hide all that follow.
    pub damaged: Vec<FeedDamage>,
}

/// A place of the feed where no event can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedDamage {
    /// The shard.
    pub shard: Shard,
    /// The position in the feed of that shard.
    pub pos: u64,
    /// What is known of the event.
    pub event: DamagedEvent,
}

/// An event that is there but cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedEvent {
    /// Its session; `None` when not even that can be read.
    pub session: Option<SessionId>,
    /// Its place there, as far as it can be read.
    pub seq: Seq,
    /// What is wrong with it.
    pub what: String,
}

/// A state kept to save folding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The session.
    pub session: SessionId,
    /// The last event folded in.
    pub seq: Seq,
    /// The reducer that folded; others ignore it.
    pub reducer: String,
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// The state, in the reducer's own form.
    pub bytes: Vec<u8>,
}

/// An engine process that the store knows of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// Where it can be found, in a form that engines understand.
    pub address: String,
    /// Whether its lease has passed, by the store's clock.
    pub expired: bool,
}

/// What a store says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreInfo {
    /// Its address, without secrets.
    pub address: String,
    /// The format of its tables.
    pub format: i64,
    /// The database and its version.
    pub engine: String,
    /// How many sessions it has.
    pub sessions: u64,
    /// How many events it has.
    pub events: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// Whether what sessions say is encrypted.
    pub encrypted: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The most recently changed session.
    pub newest: Option<Box<SessionRow>>,
}
