//! A session's events page by page, the next page on its way while the caller works on this one.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};

use super::read::PAGE_BYTES_MAX;
use super::{Page, Read, Row, Store, StoreError};

/// A read of any length, oldest first, as pages.
pub struct Pages<'s> {
    store: &'s dyn Store,
    /// What of it was not handed out yet.
    rest: Read,
    /// The next page, on its way.
    ahead: Option<MaybeDone<BoxFuture<'s, Result<Page, StoreError>>>>,
    is_done: bool,
}

impl<'s> Pages<'s> {
    /// All that `read` asks for; its `limit` is how long the first page may be. The next ones are longer where
    /// the store wants that and events are short.
    pub fn new(store: &'s dyn Store, read: Read) -> Self {
        Self { store, rest: read, ahead: None, is_done: read.after >= read.upto }
    }

    /// The next page; `None` behind the last one. A call that is given up, or fails, can be made again and gives the same page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let (store, rest) = (self.store, self.rest);
        let ahead = self.ahead.get_or_insert_with(|| maybe_done(store.read(rest)));
        poll_fn(|context| ahead.poll_unpin(context)).await;
        let read = self.ahead.take().and_then(taken);
        let Page { rows, more } = read.transpose()?.unwrap_or_default();
        match rows.last() {
            // A damaged place may come where it does not belong; to read on from there would never end.
            Some(last) if more && last.seq() > self.rest.after => {
                let rest = Read { after: last.seq(), limit: grown(self.rest.limit, store.page_rows(), &rows), ..self.rest };
                let mut ahead = maybe_done(store.read(rest));
                // A read begins when it is asked for the first time, and goes on by itself.
                let _ = poll_fn(|context| Poll::Ready(ahead.poll_unpin(context))).await;
                // What it has spawned waits for this worker, and for no other, until this worker lets it begin.
                tokio::task::yield_now().await;
                (self.rest, self.ahead) = (rest, Some(ahead));
            }
            Some(_) => self.is_done = true,
            None => {
                self.is_done = true;
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }
}

/// How long the page behind `rows` may be.
fn grown(limit: u32, wanted: u32, rows: &[Row]) -> u32 {
    let bytes: usize = rows.iter().filter_map(Row::event).map(|event| event.body.as_json().len()).sum();
    // Twice as many must fit well: what does not would be read and thrown away.
    if bytes < PAGE_BYTES_MAX / 4 { limit.max(wanted.min(limit.saturating_mul(2))) } else { limit }
}

fn taken<F: Future + Unpin>(mut done: MaybeDone<F>) -> Option<F::Output> {
    std::pin::Pin::new(&mut done).take_output()
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pages").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Seq;
    use crate::store::conformance::{append, events, new_session};
    use crate::store::{Expected, MemoryStore};

    #[tokio::test]
    async fn every_event_comes_once_also_after_a_call_that_was_given_up() {
        let store = MemoryStore::new();
        let session = new_session();
        store.append(append(session, Expected::NoSession, events(5))).await.unwrap();
        let mut pages = Pages::new(&store, Read { limit: 2, ..Read::forward(session, Seq::ZERO) });
        let given_up = {
            let mut next = Box::pin(pages.next());
            poll_fn(|context| Poll::Ready(next.poll_unpin(context))).await
        };
        assert!(given_up.is_pending(), "it lets others work before it hands the page out");
        let mut seqs = Vec::new();
        while let Some(rows) = pages.next().await.unwrap() {
            seqs.extend(rows.iter().map(|row| row.seq().0));
        }
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
        assert_eq!(pages.next().await.unwrap(), None);
    }
}
