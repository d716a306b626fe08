//! What is in the feed and not yet in the index comes into it, many events in one transaction.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::session::{Body, searchable};
use crate::store::{FeedCursor, IndexEntry, Indexed, Row, Shard, SharedStore, StoreError};

/// How many places of the feed are indexed in one transaction.
const PAGE: u32 = 512;
/// Whoever follows waits this long after a ring, so that a burst is indexed in one go; less than the second that is promised.
const GATHER: Duration = Duration::from_millis(200);
/// While others append, whoever follows rests this many times as long as it worked, so that most of the time belongs to them.
const REST: u32 = 3;

/// Keeps the index up with the feed. Any number of them may do so at once, in any processes.
pub struct Indexer {
    store: SharedStore,
    page: u32,
    /// How far the index is, once that is known.
    cursor: Option<FeedCursor>,
}

impl Indexer {
    /// One on `store`.
    pub const fn new(store: SharedStore) -> Self {
        Self { store, page: PAGE, cursor: None }
    }

    /// Indexes at most `page` places of the feed in one transaction.
    #[must_use]
    pub const fn with_page(mut self, page: u32) -> Self {
        self.page = if page == 0 { 1 } else { page };
        self
    }

    /// Indexes what is in the feed at this moment, for about `within` at most, and says how many places are left.
    ///
    /// # Errors
    /// When the store fails; nothing is indexed twice when it is called again. The same when its future is dropped.
    pub async fn catch_up(&mut self, within: Duration) -> Result<u64, StoreError> {
        let head = self.store.feed_head().await?;
        self.catch_up_to(&head, within).await
    }

    /// The same up to `head`, whatever comes meanwhile.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub async fn catch_up_to(&mut self, head: &FeedCursor, within: Duration) -> Result<u64, StoreError> {
        let begin = Instant::now();
        loop {
            let cursor = match self.cursor.take() {
                Some(cursor) => cursor,
                None => self.store.indexed().await?,
            };
            let left = cursor.behind(head);
            if left == 0 || begin.elapsed() >= within {
                // Not kept where it is said that all is in: others may drop the index.
                return Ok(left);
            }
            match self.step(cursor, head).await {
                Ok(cursor) => self.cursor = Some(cursor),
                // Another one was first: what it did is done.
                Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Indexes what comes, while others have most of the time; ends only with an error, after which it can be called again.
    ///
    /// # Errors
    /// As [`catch_up`](Self::catch_up).
    pub async fn follow(&mut self) -> Result<Infallible, StoreError> {
        let mut wake_ups = self.store.wake_ups();
        let mut seen = FeedCursor::default();
        loop {
            let begin = Instant::now();
            let head = self.store.feed_head().await?;
            // One page: whatever time has passed, at least one is done.
            if self.catch_up_once(&head).await? {
                wake_ups.rung().await;
                tokio::time::sleep(GATHER).await;
            } else if head != seen {
                tokio::time::sleep(begin.elapsed() * REST).await;
            }
            seen = head;
        }
    }

    /// Indexes one page, and says whether that was all up to `head`.
    async fn catch_up_once(&mut self, head: &FeedCursor) -> Result<bool, StoreError> {
        let cursor = self.store.indexed().await?;
        if cursor.covers(head) {
            return Ok(true);
        }
        match self.step(cursor, head).await {
            Ok(cursor) => Ok(cursor.covers(head)),
            Err(StoreError::Moved { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Indexes one page, one transaction per shard.
    async fn step(&self, mut cursor: FeedCursor, head: &FeedCursor) -> Result<FeedCursor, StoreError> {
        let page = self.store.feed(cursor.clone(), self.page).await?;
        // Where nothing was read, what lies between was purged.
        let next = if page.next == cursor { head.clone() } else { page.next };
        let rows = page.rows;
        let entries = tokio::task::spawn_blocking(move || {
            let mut shards = BTreeMap::<Shard, Vec<IndexEntry>>::new();
            for row in rows {
                // What is damaged or redacted cannot be found.
                if let Row::Event { event, .. } = &row.row
                    && event.body != Body::Redacted
                    && let Some(words) = searchable::terms(event)
                {
                    shards.entry(row.shard).or_default().push(IndexEntry { pos: row.pos, at: event.at, words });
                }
            }
            shards
        });
        let mut entries = entries.await.map_err(|error| StoreError::Unavailable(error.into()))?;
        let further: Vec<_> = next.positions().filter(|(shard, to)| *to > cursor.position(*shard)).collect();
        for (shard, to) in further {
            let entries = entries.remove(&shard).unwrap_or_default();
            self.store.index(Indexed { shard, from: cursor.position(shard), to, entries }).await?;
            cursor.advance(shard, to);
        }
        Ok(cursor)
    }
}
