//! A session's events page by page, the next page on its way while the caller works on this one.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};

use super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::{Page, Read, Row, Store, StoreError};
use crate::session::Seq;

/// How many pages are on their way while the caller works on one: to read a page may take longer than to work on it, and two are read
/// at once.
const AHEAD_MAX: usize = 2;

/// A page on its way.
type Coming<'s> = MaybeDone<BoxFuture<'s, Result<Page, StoreError>>>;

/// A read of any length, oldest first, as pages.
pub struct Pages<'s> {
    store: &'s dyn Store,
    /// What of it was not asked for yet; nothing where its `after` is not below its `upto`.
    rest: Read,
    /// The next pages. Seqs are dense, so that it is known where one behind a full one begins.
    coming: VecDeque<(Read, Coming<'s>)>,
}

impl<'s> Pages<'s> {
    /// All that `read` asks for; its `limit` is how long the first page may be. The next ones are longer where
    /// the store wants that and events are short.
    pub fn new(store: &'s dyn Store, read: Read) -> Self {
        Self { store, rest: read, coming: VecDeque::new() }
    }

    /// The next page; `None` behind the last one. A call that is given up, or fails, can be made again and gives the same page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        if self.coming.is_empty() {
            self.ask();
        }
        let Some((read, coming)) = self.coming.front_mut() else { return Ok(None) };
        let read = *read;
        poll_fn(|context| coming.poll_unpin(context)).await;
        if let Some(Ok(page)) = Pin::new(coming).output_mut() {
            match page.rows.last().map(Row::seq) {
                // A damaged place may come where it does not belong; to read on from there would never end.
                Some(last) if page.more && last > read.after => {
                    let limit = grown(read.limit, self.store.page_rows(), &page.rows);
                    if last != end(&read) {
                        self.go_on(Read { after: last, ..read });
                    }
                    self.rest.limit = self.rest.limit.max(limit);
                    self.ask_ahead().await;
                }
                _ => self.go_on(Read { after: read.upto, ..read }),
            }
        }
        // From here on nothing waits, so that what is taken is handed out.
        match self.coming.pop_front().and_then(|(_, coming)| taken(coming)) {
            Some(Ok(page)) if page.rows.is_empty() => Ok(None),
            Some(Ok(page)) => Ok(Some(page.rows)),
            Some(Err(error)) => {
                self.coming.clear();
                self.rest = read;
                Err(error)
            }
            None => Ok(None),
        }
    }

    /// Lets the next pages begin.
    async fn ask_ahead(&mut self) {
        while self.coming.len() <= AHEAD_MAX && self.ask() {
            if let Some((_, coming)) = self.coming.back_mut() {
                // A read begins when it is asked for the first time, and goes on by itself.
                let _ = poll_fn(|context| Poll::Ready(coming.poll_unpin(context))).await;
            }
        }
        // What they have spawned waits for this worker, and for no other, until this worker lets it begin.
        tokio::task::yield_now().await;
    }

    /// Asks for the next page; false where nothing is left to ask for.
    fn ask(&mut self) -> bool {
        let read = self.rest;
        if read.after >= read.upto {
            return false;
        }
        self.rest.after = end(&read);
        self.coming.push_back((read, maybe_done(self.store.read(read))));
        true
    }

    /// Goes on behind the page that is there elsewhere than was thought.
    fn go_on(&mut self, read: Read) {
        self.coming.truncate(1);
        self.rest = Read { limit: self.rest.limit, ..read };
    }
}

/// The last event of a page that is full.
fn end(read: &Read) -> Seq {
    Seq(read.after.0.saturating_add(u64::from(read.limit.min(PAGE_ROWS_MAX))))
}

/// How long the page behind `rows` may be.
fn grown(limit: u32, wanted: u32, rows: &[Row]) -> u32 {
    let bytes: usize = rows.iter().filter_map(Row::event).map(|event| event.body.as_json().len()).sum();
    // Twice as many must fit well: what does not would be read and thrown away.
    if bytes < PAGE_BYTES_MAX / 4 { limit.max(wanted.min(limit.saturating_mul(2))) } else { limit }
}

fn taken<F: Future + Unpin>(mut done: MaybeDone<F>) -> Option<F::Output> {
    Pin::new(&mut done).take_output()
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pages").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{append, event_of, events, new_session};
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

    #[tokio::test]
    async fn pages_that_end_early_because_bodies_are_long_lose_and_repeat_nothing() {
        let store = MemoryStore::new();
        let session = new_session();
        let body = |size: usize| event_of(format!("\"{}\"", "x".repeat(size)));
        let sizes = [1, PAGE_BYTES_MAX, 1, 1, PAGE_BYTES_MAX / 2, PAGE_BYTES_MAX, 1, 1, 1];
        store.append(append(session, Expected::NoSession, sizes.map(body).to_vec())).await.unwrap();
        let mut pages = Pages::new(&store, Read { limit: 3, ..Read::forward(session, Seq::ZERO) });
        let mut seqs = Vec::new();
        while let Some(rows) = pages.next().await.unwrap() {
            seqs.extend(rows.iter().map(|row| row.seq().0));
        }
        assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
        let mut part = Pages::new(&store, Read { limit: 2, upto: Seq(7), ..Read::forward(session, Seq(3)) });
        let mut seqs = Vec::new();
        while let Some(rows) = part.next().await.unwrap() {
            seqs.extend(rows.iter().map(|row| row.seq().0));
        }
        assert_eq!(seqs, [4, 5, 6, 7]);
    }
}
