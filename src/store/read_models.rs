//! What projections that follow the feed keep in the store: how far they have read, their documents, and the sessions that they
//! could not read.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;

use super::cursor::FeedCursor;
use super::error::StoreError;
use super::read::Shard;
use crate::session::{Seq, SessionId};

/// One version of one projection. Versions stand beside each other, each with its own checkpoint and documents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectionId {
    /// Its name.
    pub name: String,
    /// Raised whenever what it makes of events changes.
    pub version: u32,
}

impl ProjectionId {
    /// Version `version` of the projection `name`.
    pub fn new(name: impl Into<String>, version: u32) -> Self {
        Self { name: name.into(), version }
    }
}

impl fmt::Display for ProjectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.name, self.version)
    }
}

/// What a projection makes of some events of one shard: all of it is stored, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projected {
    /// The projection.
    pub projection: ProjectionId,
    /// The shard of the events.
    pub shard: Shard,
    /// Where its checkpoint must stand.
    pub from: u64,
    /// Where it will stand; the same for what changes documents without reading on.
    pub to: u64,
    /// The sessions of the shard that must be in quarantine and where: documents depend on them as they do on the checkpoint.
    pub held: BTreeMap<SessionId, Seq>,
    /// The documents that change.
    pub writes: Vec<DocumentWrite>,
    /// Sessions that go into quarantine, or stay there at another event.
    pub quarantine: Vec<Quarantined>,
    /// Sessions that come out of it.
    pub release: Vec<SessionId>,
}

impl Projected {
    /// Refuses what no store could keep.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let keys_hold = self.writes.iter().all(|write| !write.key.contains('\0'));
        let shards_agree = self.quarantine.iter().all(|quarantined| quarantined.shard == self.shard);
        if self.from <= self.to && keys_hold && shards_agree {
            Ok(())
        } else {
            Err(StoreError::Invalid(format!("what {} made of shard {} cannot be stored", self.projection, self.shard)))
        }
    }

    /// Somebody else was first.
    pub(super) fn moved(&self) -> StoreError {
        StoreError::Moved { projection: self.projection.clone(), shard: self.shard }
    }
}

/// The key of a document that is about one session alone: it goes when that session is purged.
pub fn session_key(session: SessionId) -> String {
    format!("{SESSION}{session}")
}

/// What the keys of such documents begin with.
const SESSION: &str = "session/";

/// The session that the document with this key is about alone.
pub(super) fn session_of(key: &str) -> Option<SessionId> {
    key.strip_prefix(SESSION)?.parse().ok()
}

/// A change of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// Its key, one per shard.
    pub key: String,
    /// What becomes of it.
    pub change: Change,
}

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has this content, which is JSON.
    Put(String),
    /// It is gone.
    Delete,
}

/// A document of a projection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Document {
    /// Its key.
    pub key: String,
    /// The shard whose events made it; other shards may have one of the same key.
    pub shard: Shard,
    /// JSON.
    pub value: String,
}

/// A session that a projection could not read on: it passes it over until it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The shard of the session.
    pub shard: Shard,
    /// The session.
    pub session: SessionId,
    /// The event that it could not read; everything before it is in the documents.
    pub seq: Seq,
    /// Why not.
    pub what: String,
}

/// Where projections that follow the feed keep what they make of it.
///
/// Everything here can be dropped and made again from the log.
#[async_trait]
pub trait ReadModels: Send + Sync + 'static {
    /// How far a projection has read; the beginning when nothing is known of it.
    async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError>;

    /// Moves the checkpoint of one shard and stores what was made of the events on the way, in one transaction.
    ///
    /// Fails with [`StoreError::Moved`] and stores nothing when checkpoint or quarantine are not where the caller knew them.
    async fn project(&self, projected: Projected) -> Result<(), StoreError>;

    /// Reads the document that one shard has under `key`.
    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError>;

    /// Reads the documents of all shards whose keys begin with `prefix`, by key and shard.
    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError>;

    /// The sessions that a projection could not read.
    async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError>;

    /// Forgets all of one version of a projection.
    async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError>;

    /// Every version of every projection that has read anything, in order.
    async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError>;
}
