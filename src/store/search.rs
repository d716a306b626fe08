//! Which words stand in which events: what a store keeps for search, and how it is asked.
//!
//! A cache that follows the feed, as a projection of the name `search` whose documents are words: it can be dropped with
//! [`ReadModels::drop_projection`](super::ReadModels::drop_projection) and made again. An event that is redacted or purged is out of
//! it in the same transaction.

use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::cursor::FeedCursor;
use super::error::StoreError;
use super::read::Shard;
use super::read_models::ProjectionId;
use crate::session::searchable::{INDEX_VERSION, Label};
use crate::session::{Seq, SessionId, Timestamp};

/// The name under which the index keeps its checkpoint.
const SEARCH: &str = "search";

/// The index as the projection that it is.
pub fn search_projection() -> ProjectionId {
    ProjectionId::new(SEARCH, INDEX_VERSION)
}

/// The next events of one shard: all of it is stored, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indexed {
    /// The shard.
    pub shard: Shard,
    /// Where the index must stand.
    pub from: u64,
    /// Where it will stand.
    pub to: u64,
    /// What is indexed on the way; events without a text are not among it.
    pub entries: Vec<IndexEntry>,
}

impl Indexed {
    /// Refuses what no store could keep.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let between = |entry: &IndexEntry| entry.pos > self.from && entry.pos <= self.to;
        match self.from < self.to && self.entries.iter().all(between) {
            true => Ok(()),
            false => Err(StoreError::Invalid(format!("what search made of shard {} cannot be stored", self.shard))),
        }
    }

    /// Somebody else was first.
    pub(super) fn moved(&self) -> StoreError {
        StoreError::Moved { projection: search_projection(), shard: self.shard }
    }
}

/// One event as the index takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its position in the feed of its shard.
    pub pos: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What [`terms`](crate::session::searchable::terms) makes of it.
    pub words: String,
}

/// What sessions can be alike in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alike {
    /// Their ids begin with these hexadecimal digits (dashes are passed over).
    Id(String),
    /// Lists show them in this phase.
    Phase(String),
    /// They have cost so many millionths of a dollar; what was never said counts as nothing.
    Cost(RangeInclusive<u64>),
    /// Events that are in the index name a model whose label begins so.
    Model(String),
}

/// What an event is looked for by. Words are as [`folded`](crate::session::searchable::folded) gives them, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// These words behind each other.
    Words {
        /// One or more.
        words: Vec<String>,
        /// Whether the last one need only begin so.
        prefix: bool,
    },
    /// A label.
    Label {
        /// As [`Label::of`] gives it.
        label: String,
        /// Whether it need only begin so.
        prefix: bool,
    },
}

impl Term {
    /// An event that has this label.
    pub fn label(label: Label, value: &str) -> Self {
        Self::Label { label: label.of(value), prefix: false }
    }

    /// Whether it is met by what [`terms`](crate::session::searchable::terms) made of an event, cut at its blanks.
    pub fn is_met(&self, by: &[&str]) -> bool {
        let begins = |word: &str, wanted: &str, prefix| if prefix { word.starts_with(wanted) } else { word == wanted };
        match self {
            Self::Label { label, prefix } => by.iter().any(|word| begins(word, label, *prefix)),
            Self::Words { words, prefix } => by.windows(words.len().max(1)).any(|window| {
                let last = window.len() - 1;
                window.iter().zip(words).enumerate().all(|(place, (word, wanted))| begins(word, wanted, *prefix && place == last))
            }),
        }
    }
}

/// A search: of each group one, and none of the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Of each of these groups one must be met.
    pub all: Vec<Vec<Term>>,
    /// None of these may be met.
    pub none: Vec<Term>,
}

impl Terms {
    /// Whether what [`terms`](crate::session::searchable::terms) made of an event meets it. The plain truth that indexes are held to.
    pub fn are_met(&self, by: &str) -> bool {
        let by: Vec<&str> = by.split(' ').collect();
        let met = |term: &Term| term.is_met(&by);
        self.all.iter().all(|group| group.iter().any(met)) && !self.none.iter().any(met)
    }
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    /// By which words and labels.
    pub terms: Terms,
    /// Not before.
    pub since: Timestamp,
    /// Before.
    pub until: Timestamp,
    /// Behind this hit, in the order in which they come; from the first when unset.
    pub behind: Option<Place>,
    /// The most hits.
    pub limit: u32,
}

impl Find {
    /// The newest `limit` events of all times.
    pub const fn newest(terms: Terms, limit: u32) -> Self {
        Self { terms, since: Timestamp(i64::MIN), until: Timestamp(i64::MAX), behind: None, limit }
    }
}

/// Where a hit stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it happened.
    pub at: Timestamp,
    /// Its shard.
    pub shard: Shard,
    /// Its position in the feed of that shard.
    pub pos: u64,
}

/// An event that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// The session.
    pub session: SessionId,
    /// The event.
    pub seq: Seq,
    /// Where it stands among the hits.
    pub place: Place,
}

/// Keeps which words stand in which events; fails with [`StoreError::Unsearchable`] where what sessions say is encrypted, since its words
/// would say as much.
#[async_trait]
pub trait SearchIndex: Send + Sync + 'static {
    /// How far the index has read the feed.
    async fn indexed(&self) -> Result<FeedCursor, StoreError>;

    /// Moves the index of one shard and stores what was made of the events on the way, in one transaction. What was redacted or
    /// purged meanwhile is not stored. Beginning anew (`from` 0) lets go what another version has made.
    ///
    /// Fails with [`StoreError::Moved`] and stores nothing when the index is not where the caller knew it.
    async fn index(&self, indexed: Indexed) -> Result<(), StoreError>;

    /// Finds events that are in the index, newest first: by the feed where there is one shard, else by their time.
    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError>;

    /// The ids of all sessions that are alike in this, in any order: no more than that of each, so that it takes little even where a
    /// store has many.
    ///
    /// Fails with [`StoreError::Invalid`] where what an id is to begin with cannot be the beginning of one.
    async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError>;
}
