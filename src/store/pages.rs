//! A session's events page by page, the next page on its way while the caller works on this one.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};

use super::{Page, Read, Row, Store, StoreError};

/// A read of any length, oldest first, as pages.
pub struct Pages<'s> {
    store: &'s dyn Store,
    /// What of it comes after the last page that was asked for.
    rest: Read,
    /// The page that was asked for, and not yet handed out.
    ahead: Option<MaybeDone<BoxFuture<'s, Result<Page, StoreError>>>>,
}

impl<'s> Pages<'s> {
    /// All that `read` asks for; its `limit` is how long one page may be.
    pub fn new(store: &'s dyn Store, read: Read) -> Self {
        Self { store, rest: read, ahead: Some(maybe_done(store.read(read))) }
    }

    /// The next page; `None` behind the last one, and behind one that could not be read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let Some(ahead) = &mut self.ahead else { return Ok(None) };
        // Kept where it is until it is there, so that nothing is lost when the caller gives up meanwhile.
        poll_fn(|context| ahead.poll_unpin(context)).await;
        let read = self.ahead.take().and_then(taken);
        let Some(Page { rows, more }) = read.transpose()? else { return Ok(None) };
        let Some(last) = rows.last() else { return Ok(None) };
        if more {
            self.rest.after = last.seq();
            let mut ahead = maybe_done(self.store.read(self.rest));
            // A read begins when it is asked for the first time, and goes on by itself.
            let _ = poll_fn(|context| Poll::Ready(ahead.poll_unpin(context))).await;
            self.ahead = Some(ahead);
        }
        Ok(Some(rows))
    }
}

fn taken<F: Future + Unpin>(mut done: MaybeDone<F>) -> Option<F::Output> {
    std::pin::Pin::new(&mut done).take_output()
}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pages").field("rest", &self.rest).finish_non_exhaustive()
    }
}
