//! The beginning and the end of something that may be longer than a page can be.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::Page;
use crate::session::Seq;

/// Writes pieces until there are too many bytes of them, and keeps the last ones to be written at the end: what a page shows of a
/// session, and what is held of it meanwhile, is bounded, however long the session is.
pub struct Bounded {
    /// How many bytes may still be written at once.
    room: usize,
    /// How many bytes are kept for the end.
    kept_max: usize,
    kept: VecDeque<(Seq, String)>,
    kept_bytes: usize,
    left_out: Option<LeftOut>,
}

/// What stands between the beginning and the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// The event of the first piece that is left out.
    pub first: Seq,
    /// That of the last one.
    pub last: Seq,
    /// How many pieces.
    pub pieces: u64,
}

impl Bounded {
    /// At most about `bytes_max` bytes, half of them from the beginning, half from the end.
    pub const fn new(bytes_max: usize) -> Self {
        let half = bytes_max / 2;
        Self { room: half, kept_max: half, kept: VecDeque::new(), kept_bytes: 0, left_out: None }
    }

    /// Adds what is shown of the event `seq`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push<W: Write>(&mut self, page: &mut Page<W>, seq: Seq, rendered: String) -> io::Result<()> {
        if self.kept.is_empty() && self.left_out.is_none() && rendered.len() <= self.room {
            self.room -= rendered.len();
            return page.push_str(&rendered);
        }
        self.room = 0;
        self.kept_bytes += rendered.len();
        self.kept.push_back((seq, rendered));
        while self.kept_bytes > self.kept_max
            && self.kept.len() > 1
            && let Some((seq, dropped)) = self.kept.pop_front()
        {
            self.kept_bytes -= dropped.len();
            let left_out = self.left_out.get_or_insert(LeftOut { first: seq, last: seq, pieces: 0 });
            left_out.last = seq;
            left_out.pieces += 1;
        }
        Ok(())
    }

    /// Writes the end, behind what `say` says of what is left out.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end<W: Write>(self, page: &mut Page<W>, say: impl FnOnce(LeftOut) -> String) -> io::Result<()> {
        if let Some(left_out) = self.left_out {
            page.push_str(&say(left_out))?;
        }
        self.kept.iter().try_for_each(|(_, rendered)| page.push_str(rendered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: u64, bytes_max: usize) -> String {
        let mut page = Page { out: Vec::new() };
        let mut bounded = Bounded::new(bytes_max);
        for seq in 1..=pieces {
            bounded.push(&mut page, Seq(seq), format!("{seq:04}")).unwrap();
        }
        let say = |left: LeftOut| format!("{}-{}:{}", left.first, left.last, left.pieces);
        bounded.end(&mut page, say).unwrap();
        String::from_utf8(page.out).unwrap().replace('\n', " ")
    }

    #[test]
    fn the_beginning_and_the_end_are_shown_and_what_is_between_is_counted() {
        assert_eq!(written(3, 24), "0001 0002 0003 ");
        assert_eq!(written(6, 24), "0001 0002 0003 0004 0005 0006 ");
        assert_eq!(written(9, 24), "0001 0002 0003 4-6:3 0007 0008 0009 ");
        assert_eq!(written(9, 0), "1-8:8 0009 ", "the last one is always there");
    }
}
