//! History, then live: every event of one session from any seq, in order, none missing, none twice.

use std::collections::VecDeque;

use futures_util::Stream;

use crate::session::{Seq, SessionId};
use crate::store::{Read, Row, SharedStore, StoreError, WakeUps};

/// Follows one session's log from its own cursor.
pub struct Subscription {
    store: SharedStore,
    session: SessionId,
    after: Seq,
    ready: VecDeque<Row>,
    wake_ups: WakeUps,
}

impl Subscription {
    /// Follows `session` with the first event after `after`.
    pub fn new(store: SharedStore, session: SessionId, after: Seq) -> Self {
        // The bell is there before the first read, so that nothing falls between history and live.
        let wake_ups = store.wake_ups();
        Self { store, session, after, ready: VecDeque::new(), wake_ups }
    }

    /// The next event; waits for it when the log has no further one yet.
    ///
    /// # Errors
    /// When the log cannot be read; calling again goes on where it was.
    pub async fn next(&mut self) -> Result<Row, StoreError> {
        loop {
            if let Some(row) = self.next_recorded().await? {
                return Ok(row);
            }
            self.wake_ups.rung_for(self.session).await;
        }
    }

    /// The next event that is in the log already; `None` at its end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_recorded(&mut self) -> Result<Option<Row>, StoreError> {
        if self.ready.is_empty() {
            self.ready.extend(self.store.read(Read::forward(self.session, self.after)).await?.rows);
        }
        let row = self.ready.pop_front();
        if let Some(row) = &row {
            self.after = row.seq();
        }
        Ok(row)
    }

    /// The same as a stream without an end.
    pub fn into_stream(self) -> impl Stream<Item = Result<Row, StoreError>> + Send {
        futures_util::stream::unfold(self, |mut subscription| async move {
            let row = subscription.next().await;
            Some((row, subscription))
        })
    }
}
