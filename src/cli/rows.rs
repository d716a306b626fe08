//! The events of one session, from one place to another, page by page; what is missing on the way is named.

use crate::engine::Subscription;
use crate::session::{Seq, SessionId};
use crate::store::{Row, SharedStore, StoreError};

/// Reads events in order.
pub struct Rows {
    pages: Subscription,
    wanted: Seq,
    last: Seq,
    held: Option<Row>,
}

impl Rows {
    /// The events from `first` to `last`.
    pub fn new(store: &SharedStore, session: SessionId, first: Seq, last: Seq) -> Self {
        let after = Seq(first.0.saturating_sub(1));
        Self { pages: Subscription::new(SharedStore::clone(store), session, after), wanted: first, last, held: None }
    }

    /// The next one; a place where there should be one and is none comes as a damaged one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        if self.wanted > self.last {
            return Ok(None);
        }
        let row = match self.held.take() {
            Some(row) => Some(row),
            None => self.pages.next_recorded().await?,
        };
        let row = match row {
            Some(row) if row.seq() <= self.wanted => row,
            other => {
                // A gap is told once, however wide it is.
                let next = other.as_ref().map_or_else(|| self.last.next(), |row| row.seq().min(self.last.next()));
                let last = next.0.saturating_sub(1);
                let seq = self.wanted;
                let what = if seq.0 == last { "it is missing".to_owned() } else { format!("events {seq} to {last} are missing") };
                self.held = other;
                self.wanted = next;
                return Ok(Some(Row::Damaged { seq, what }));
            }
        };
        self.wanted = self.wanted.next();
        Ok(Some(row))
    }
}
