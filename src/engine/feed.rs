//! History, then live: every event of all sessions from any place, in commit order, none missing, none twice.

use std::collections::VecDeque;

use futures_util::Stream;

use crate::store::{FeedCursor, FeedDamage, FeedPage, FeedRow, Shard, SharedStore, StoreError, WakeUps};

/// How many places are read at once.
const PAGE: u32 = 512;

/// One place of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// An event.
    Event(FeedRow),
    /// A place where none can be read; those behind it can.
    Damaged(FeedDamage),
}

impl Fed {
    const fn place(&self) -> (Shard, u64) {
        match self {
            Self::Event(row) => (row.shard, row.pos),
            Self::Damaged(damage) => (damage.shard, damage.pos),
        }
    }
}

/// Follows the log of all sessions from its own cursor.
///
/// At least once: whoever keeps [`cursor`](Self::cursor) after what it has done with an event goes on there, after a crash too.
pub struct FeedSubscription {
    store: SharedStore,
    cursor: FeedCursor,
    ready: VecDeque<Fed>,
    /// Where the next page begins.
    next: FeedCursor,
    wake_ups: WakeUps,
}

impl FeedSubscription {
    /// Follows everything after `cursor`; the default cursor is the beginning.
    pub fn new(store: SharedStore, cursor: FeedCursor) -> Self {
        // The bell is there before the first read, so that nothing falls between history and live.
        let wake_ups = store.wake_ups();
        Self { store, next: cursor.clone(), cursor, ready: VecDeque::new(), wake_ups }
    }

    /// Where it stands: behind the last event that it gave out.
    pub const fn cursor(&self) -> &FeedCursor {
        &self.cursor
    }

    /// The next event; waits for it when the log has no further one yet.
    ///
    /// # Errors
    /// When the log cannot be read; calling again goes on where it was. [`StoreError::OtherStore`] or [`StoreError::Ahead`] when the
    /// cursor is not of this log.
    pub async fn next(&mut self) -> Result<Fed, StoreError> {
        loop {
            if let Some(fed) = self.next_recorded().await? {
                return Ok(fed);
            }
            self.wake_ups.rung().await;
        }
    }

    /// The next event that is in the log already; `None` at its end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_recorded(&mut self) -> Result<Option<Fed>, StoreError> {
        while self.ready.is_empty() {
            let FeedPage { rows, next, damaged } = self.store.feed(self.next.clone(), PAGE).await?;
            if next == self.next {
                return Ok(None);
            }
            self.cursor.mark_as(&next);
            self.ready.extend(rows.into_iter().map(Fed::Event));
            if !damaged.is_empty() {
                self.ready.extend(damaged.into_iter().map(Fed::Damaged));
                self.ready.make_contiguous().sort_by_key(Fed::place);
            }
            self.next = next;
            if self.ready.is_empty() {
                self.cursor = self.next.clone();
            }
        }
        let fed = self.ready.pop_front();
        if let Some((shard, position)) = fed.as_ref().map(Fed::place) {
            self.cursor.advance(shard, position);
        }
        if self.ready.is_empty() {
            // Places that nothing stands at any more lie behind it too.
            self.cursor = self.next.clone();
        }
        Ok(fed)
    }

    /// The same as a stream without an end: each event, and where to go on after it.
    pub fn into_stream(self) -> impl Stream<Item = Result<(Fed, FeedCursor), StoreError>> + Send {
        futures_util::stream::unfold(self, |mut subscription| async move {
            let fed = subscription.next().await.map(|fed| (fed, subscription.cursor.clone()));
            Some((fed, subscription))
        })
    }
}
