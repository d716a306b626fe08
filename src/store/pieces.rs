//! The rows of a page, handed over in pieces while it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::{Read, Row};
use crate::session::Seq;

/// How many rows are handed over at once: many enough that it costs little, few enough that they are still in the processor's cache
/// when they are worked on.
const PIECE_ROWS: usize = 64;

/// Where a store puts the rows of a page that is read oldest first, so that its reader can begin before the page is whole.
#[derive(Debug, Clone)]
pub struct Pieces(Arc<Taker>);

#[derive(Debug)]
struct Taker {
    sender: mpsc::UnboundedSender<Vec<Row>>,
    /// The last event that was taken; where the page begins before the first one.
    last: AtomicU64,
}

/// Where they come out. What lies between is bounded by the page.
pub(super) type Taken = mpsc::UnboundedReceiver<Vec<Row>>;

impl Pieces {
    /// For the rows of `read`.
    pub(super) fn of(read: &Read) -> (Self, Taken) {
        let (sender, taken) = mpsc::unbounded_channel();
        (Self(Arc::new(Taker { sender, last: AtomicU64::new(read.after.0) })), taken)
    }

    /// Takes `rows` once there are enough, and where they go on right behind those taken before. Others stay, and all that follow
    /// them: they are damaged, or of a session that does not hold all that is read of it, which only the page as a whole shows.
    pub fn take(&self, rows: &mut Vec<Row>) {
        if !rows.len().is_multiple_of(PIECE_ROWS) {
            return;
        }
        let (Some(first), Some(last)) = (rows.first().map(Row::seq), rows.last().map(Row::seq)) else { return };
        let is_dense = (first.0..).zip(&*rows).all(|(seq, row)| row.seq().0 == seq);
        if first != self.last().next() || !is_dense {
            return;
        }
        self.0.last.store(last.0, Ordering::Relaxed);
        let piece = std::mem::replace(rows, Vec::with_capacity(PIECE_ROWS));
        // Nobody may be waiting any more; then it does not matter what was read.
        let _ = self.0.sender.send(piece);
    }

    /// The last event that was taken.
    pub fn last(&self) -> Seq {
        Seq(self.0.last.load(Ordering::Relaxed))
    }

    /// What of `read` was not taken yet, for who has to begin again.
    pub fn rest_of(&self, read: Read) -> Read {
        let taken = self.last().0.saturating_sub(read.after.0);
        let limit = u64::from(read.limit).saturating_sub(taken);
        Read { after: self.last(), limit: u32::try_from(limit).unwrap_or(u32::MAX), ..read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::new_session;

    fn rows(seqs: impl IntoIterator<Item = u64>) -> Vec<Row> {
        seqs.into_iter().map(|seq| Row::Damaged { seq: Seq(seq), what: String::new() }).collect()
    }

    #[test]
    fn rows_are_taken_once_there_are_enough_and_go_on_where_those_before_ended() {
        let read = Read { limit: 200, ..Read::forward(new_session(), Seq(10)) };
        let (pieces, mut taken) = Pieces::of(&read);
        let mut few = rows(11..20);
        pieces.take(&mut few);
        assert_eq!((few.len(), pieces.last()), (9, Seq(10)));
        let mut enough = rows(11..75);
        pieces.take(&mut enough);
        assert_eq!((enough.len(), pieces.last()), (0, Seq(74)));
        assert_eq!(taken.try_recv().unwrap(), rows(11..75));
        assert_eq!(pieces.rest_of(read), Read { after: Seq(74), limit: 136, ..read });
    }

    #[test]
    fn rows_behind_a_hole_stay_with_their_page() {
        let (pieces, mut taken) = Pieces::of(&Read::forward(new_session(), Seq::ZERO));
        for odd in [rows(2..66), rows((1..64).chain([70])), rows(0..64), rows(1..65).into_iter().rev().collect()] {
            let mut left = odd.clone();
            pieces.take(&mut left);
            assert_eq!(left, odd);
        }
        assert!(taken.try_recv().is_err());
    }
}
