//! A session's events in pieces, the next ones on their way while the caller works on those that are there.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};

use super::pieces::{Pieces, Taken};
use super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::{Page, Read, Row, Store, StoreError};
use crate::session::Seq;

/// A read of any length, oldest first, in pieces.
pub struct Pages<'s> {
    store: &'s dyn Store,
    /// What of it was not asked for yet; nothing where its `after` is not below its `upto`.
    rest: Read,
    /// The next pages. Seqs are dense, so that it is known where one behind a full one begins.
    coming: VecDeque<Coming<'s>>,
    /// What was handed out so far.
    rows: u64,
    bytes: u64,
}

/// A page on its way.
struct Coming<'s> {
    read: Read,
    pieces: Pieces,
    taken: Taken,
    /// What of it was not handed over in pieces.
    page: MaybeDone<BoxFuture<'s, Result<Page, StoreError>>>,
}

impl Coming<'_> {
    /// The next piece that the store has handed over; `None` once there is no other one to come.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Vec<Row>>> {
        match self.page.poll_unpin(context) {
            // All of its pieces are here; to wait for one could be put off for the sake of others, which is not the end.
            Poll::Ready(()) => Poll::Ready(self.taken.try_recv().ok()),
            Poll::Pending => match self.taken.poll_recv(context) {
                Poll::Ready(Some(rows)) => Poll::Ready(Some(rows)),
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            },
        }
    }

    /// Whether some of it was handed over.
    fn has_begun(&self) -> bool {
        self.pieces.last() > self.read.after
    }

    /// Lets it begin; it goes on by itself.
    async fn begin(&mut self) {
        let _ = poll_fn(|context| Poll::Ready(self.page.poll_unpin(context))).await;
    }

    fn into_page(mut self) -> Result<Page, StoreError> {
        Pin::new(&mut self.page).take_output().unwrap_or_else(|| Ok(Page::default()))
    }
}

impl<'s> Pages<'s> {
    /// All that `read` asks for; its `limit` is how many events are asked for at first. Later on it is more where
    /// the store wants that and events are short.
    pub fn new(store: &'s dyn Store, read: Read) -> Self {
        Self { store, rest: read, coming: VecDeque::new(), rows: 0, bytes: 0 }
    }

    /// The next events, some at least; `None` behind the last one. A call that is given up, or fails, can be made again and gives the
    /// same ones.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        loop {
            self.ask_ahead().await;
            let Some(coming) = self.coming.front_mut() else { return Ok(None) };
            if let Some(rows) = poll_fn(|context| coming.poll_piece(context)).await {
                return Ok(Some(self.counted(rows)));
            }
            // From here on nothing waits, so that what is taken is handed out.
            let Some(coming) = self.coming.pop_front() else { return Ok(None) };
            let (read, last) = (coming.read, coming.pieces.last());
            match coming.into_page() {
                Ok(page) => {
                    self.go_on(&read, page.rows.last().map_or(last, Row::seq), page.more);
                    if !page.rows.is_empty() {
                        return Ok(Some(self.counted(page.rows)));
                    }
                }
                Err(error) => {
                    self.coming.clear();
                    self.rest = Read { after: last, ..read };
                    return Err(error);
                }
            }
        }
    }

    /// Asks for the next page, and for those behind it once it comes.
    async fn ask_ahead(&mut self) {
        while self.rest.after < self.rest.upto && self.wants_more() {
            self.rest.limit = self.grown();
            let read = self.rest;
            self.rest.after = end(&read);
            let (pieces, taken) = Pieces::of(&read);
            let page = maybe_done(self.store.read_in_pieces(read, pieces.clone()));
            self.coming.push_back(Coming { read, pieces, taken, page });
            if let Some(coming) = self.coming.back_mut() {
                coming.begin().await;
            }
        }
    }

    /// Whether another page is to be asked for now: the first one, or one behind a page that comes and will be full.
    fn wants_more(&self) -> bool {
        let Some(front) = self.coming.front() else { return true };
        // Where it is not known how far the log goes, most of what is behind a page would be asked for in vain.
        let is_bounded = self.rest.upto < Read::END;
        is_bounded && front.has_begun() && self.fits(front.read.limit) && self.coming.len() < self.store.paging().at_once
    }

    /// Goes on behind a page that has ended at `last`, where that is not where it was thought to.
    fn go_on(&mut self, read: &Read, last: Seq, more: bool) {
        // A damaged place may come where it does not belong; to read on from there would never end.
        let after = if more && last > read.after { last } else { read.upto };
        if !more || last != end(read) {
            self.coming.clear();
            self.rest.after = after;
        }
    }

    /// How long the next page may be.
    fn grown(&self) -> u32 {
        let limit = self.rest.limit;
        let longer = self.store.paging().rows.min(limit.saturating_mul(2));
        if self.fits(longer.saturating_mul(2)) { limit.max(longer) } else { limit }
    }

    /// Whether so many events are one page, if they are as long as those that were handed out: what does not fit would be read and
    /// thrown away.
    fn fits(&self, rows: u32) -> bool {
        self.bytes.saturating_mul(u64::from(rows)) < (PAGE_BYTES_MAX as u64).saturating_mul(self.rows)
    }

    fn counted(&mut self, rows: Vec<Row>) -> Vec<Row> {
        self.rows += rows.len() as u64;
        self.bytes += rows.iter().map(|row| row.body_bytes() as u64).sum::<u64>();
        rows
    }
}

/// The last event of a page that is full.
fn end(read: &Read) -> Seq {
    Seq(read.after.0.saturating_add(u64::from(read.limit.min(PAGE_ROWS_MAX))))
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pages").field("rest", &self.rest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::session::SessionId;
    use crate::store::conformance::{append, event_of, new_session};
    use crate::store::{Decorator, Expected, MemoryStore, Paging};

    /// Hands pages over in pieces, and counts their rows.
    struct InPieces {
        inner: MemoryStore,
        pages: AtomicUsize,
        rows: AtomicUsize,
    }

    impl InPieces {
        /// A store with a session of 1000 events.
        async fn filled(session: SessionId, size: usize) -> Self {
            let inner = MemoryStore::new();
            for _ in 0..4 {
                let bodies = (0..250).map(|_| event_of(format!("\"{}\"", "x".repeat(size)))).collect();
                inner.append(append(session, Expected::Any, bodies)).await.unwrap();
            }
            Self { inner, pages: AtomicUsize::default(), rows: AtomicUsize::default() }
        }
    }

    #[async_trait]
    impl Decorator for InPieces {
        fn inner(&self) -> &dyn Store {
            &self.inner
        }

        fn paging(&self) -> Paging {
            Paging { rows: 512, at_once: 4 }
        }

        async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
            let page = self.inner.read(read).await?;
            self.pages.fetch_add(1, Ordering::Relaxed);
            self.rows.fetch_add(page.rows.len(), Ordering::Relaxed);
            let mut rest = Page { more: page.more, ..Page::default() };
            for row in page.rows {
                rest.rows.push(row);
                pieces.take(&mut rest.rows);
                tokio::task::yield_now().await;
            }
            Ok(rest)
        }
    }

    async fn read_all(store: &dyn Store, read: Read) -> Vec<u64> {
        let mut pages = Pages::new(store, read);
        let mut seqs = Vec::new();
        while let Some(rows) = pages.next().await.unwrap() {
            assert!(!rows.is_empty());
            seqs.extend(rows.iter().map(|row| row.seq().0));
        }
        seqs
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_nothing_is_read_twice_however_long_bodies_are() {
        for size in [1, 1_000, 60_000] {
            for upto in [Seq(1000), Read::END] {
                let session = new_session();
                let store = InPieces::filled(session, size).await;
                let read = Read { limit: 128, upto, ..Read::forward(session, Seq::ZERO) };
                assert_eq!(read_all(&store, read).await, (1..=1000).collect::<Vec<_>>(), "bodies of {size} bytes");
                assert_eq!(store.rows.load(Ordering::Relaxed), 1000, "bodies of {size} bytes");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_for_behind_the_end() {
        let session = new_session();
        for (upto, limit, pages) in [(Seq(1000), 1000, 1), (Seq(1000), 500, 2), (Read::END, 1001, 1), (Seq(100), 500, 1)] {
            let store = InPieces::filled(session, 1).await;
            read_all(&store, Read { limit, upto, ..Read::forward(session, Seq::ZERO) }).await;
            assert_eq!(store.pages.load(Ordering::Relaxed), pages, "up to {upto} in pages of {limit}");
        }
    }

    #[tokio::test]
    async fn every_event_comes_once_also_after_a_call_that_was_given_up() {
        let session = new_session();
        let store = InPieces::filled(session, 1).await;
        let mut pages = Pages::new(&store, Read { limit: 2, ..Read::forward(session, Seq::ZERO) });
        let given_up = {
            let mut next = Box::pin(pages.next());
            poll_fn(|context| Poll::Ready(next.poll_unpin(context))).await
        };
        assert!(given_up.is_pending());
        let mut seqs = Vec::new();
        while let Some(rows) = pages.next().await.unwrap() {
            seqs.extend(rows.iter().map(|row| row.seq().0));
        }
        assert_eq!(seqs, (1..=1000).collect::<Vec<_>>());
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
