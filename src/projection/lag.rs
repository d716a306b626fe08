//! How far a projection is behind the feed.

use std::time::Duration;

use crate::session::Timestamp;
use crate::store::{FeedCursor, ProjectionId, Store, StoreError};

/// How often a reader looks whether a projection has come far enough.
const LOOK: Duration = Duration::from_millis(10);

/// How far a projection is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// How many events it has not folded; a little less where sessions were purged.
    pub events: u64,
    /// When the first of them happened; `None` when there is none, or none that can be read.
    pub oldest: Option<Timestamp>,
}

impl Lag {
    /// How old the first event is that it has not folded.
    pub fn age(&self, now: Timestamp) -> Duration {
        self.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
    }
}

/// How far a projection is behind the feed now.
///
/// # Errors
/// When the store fails.
pub async fn lag(store: &dyn Store, id: &ProjectionId) -> Result<Lag, StoreError> {
    let checkpoint = store.checkpoint(id).await?;
    let head = store.feed_head().await?;
    let events = checkpoint.behind(&head);
    if events == 0 {
        return Ok(Lag::default());
    }
    // One event of each shard at most, as far as a store mixes them.
    let page = store.feed(checkpoint, u32::try_from(head.positions().count()).unwrap_or(u32::MAX)).await?;
    let oldest = page.rows.iter().filter_map(|row| row.event()).map(|event| event.at).min();
    Ok(Lag { events, oldest })
}

/// Waits until a projection that somebody else runs has folded everything up to `cursor`; the caller sets the limit.
///
/// # Errors
/// When the store fails, and [`StoreError::Ahead`] when the feed does not reach `cursor`.
pub async fn wait_for(store: &dyn Store, id: &ProjectionId, cursor: &FeedCursor) -> Result<(), StoreError> {
    store.feed(cursor.clone(), 1).await?;
    while !store.checkpoint(id).await?.covers(cursor) {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
