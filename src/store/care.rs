//! What whoever keeps a store does with it: taking over the events of another one, holding and purging sessions, backups.

use std::path::Path;

use async_trait::async_trait;

use super::{Base, Compacted, Condition, FeedFlaw, Row, SessionRow, StoreError};
use crate::session::{SessionId, Timestamp};

/// Events of one session as another store holds them: sealed already, to be kept as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// The session.
    pub session: SessionId,
    /// Where it goes on from, when it is a fork.
    pub base: Option<Base>,
    /// Its own events, oldest first.
    pub rows: Vec<Row>,
}

/// What may become of a session that is kept no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// Why it must not be purged: a legal hold.
    pub hold: Option<String>,
    /// When its events were purged.
    pub purged_at: Option<Timestamp>,
}

/// How a backup went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backup {
    /// It is there, whole and durable.
    Made,
    /// This kind of store has no backup of its own; [`copy`](super::copy()) into a new one is the way.
    ByCopy,
}

/// What packing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packed {
    /// How many events were packed.
    pub events: u64,
    /// How long their bodies and the content of their session were, in bytes.
    pub bytes_before: u64,
    /// How long they are now.
    pub bytes_after: u64,
}

impl Packed {
    /// Adds what else was packed.
    pub const fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
    }
}

/// The care of a store.
#[async_trait]
pub trait Care: Send + Sync + 'static {
    /// Writes events of another store as they are there: the same ids, seqs, salts, digests and hashes, in this order. What is here
    /// already is passed over.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when their chain does not hold, [`StoreError::Conflict`] when the session has gone on differently here,
    /// [`StoreError::Invalid`] when what a fork goes on from is not here.
    /// Nothing is written of a session then.
    async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError>;

    /// Makes the rest of a session's row what it is in another store, once its events are all here.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its events are not all here.
    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError>;

    /// Whether a session is held or purged; `None` when there is none.
    async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError>;

    /// Holds a session, so that nothing purges it, or lets it go.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when there is no such session.
    async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError>;

    /// Removes all events of a session, its snapshots, and the content that nothing else refers to. Its row stays, with head and hash,
    /// so that its id is never used again; its positions in the feed are kept as holes. Purging again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] while it is held, needs a worker, or a fork reads its events.
    async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError>;

    /// Writes a copy of the store as it is at one moment to a new file, while it is in use.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the file exists.
    async fn backup(&self, to: &Path) -> Result<Backup, StoreError>;

    /// Those of these sessions whose keys are not there, or cannot be used: nothing that they have said can be read. None where nothing is
    /// encrypted.
    async fn keyless(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, StoreError>;

    /// How the database below is.
    async fn condition(&self) -> Result<Condition, StoreError>;

    /// Places of the feed that are not what they should be; at most 100 of each shard. Reads every position there is.
    async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError>;

    /// Lists sessions that can be packed and are not yet: they have [ended](super::ENDED) and did not change from `before` on. The one
    /// that rests the longest comes first; at most `limit`.
    async fn packable(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError>;

    /// Packs what a session that has ended has said: its bodies are compressed, many together. Every reader gets them as before; one that is
    /// redacted is taken out. May be cut off anywhere and called again.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the session still goes on, [`StoreError::Damaged`] when its chain does not hold: what is damaged
    /// stays as it is.
    async fn pack(&self, session: SessionId) -> Result<Packed, StoreError>;

    /// Gives back the room of what was removed; may take as long as copying the store.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another process is reading or writing a SQLite file all the while.
    async fn compact(&self) -> Result<Compacted, StoreError>;
}
