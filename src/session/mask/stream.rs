//! The same for a text that comes in pieces: a value that is split over several is not shown.

use std::sync::Arc;

use super::{Masker, hide};

/// Hides values in a text that comes piece by piece. What may be the beginning of a value is held back until more of it is there.
#[derive(Debug)]
pub struct Streaming {
    masker: Arc<Masker>,
    /// The last character that was given out, and what is held back.
    held: String,
    /// How long that character is.
    given: usize,
}

impl Streaming {
    /// A text that begins.
    pub const fn new(masker: Arc<Masker>) -> Self {
        Self { masker, held: String::new(), given: 0 }
    }

    /// Takes the next piece, and gives what can be shown by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let ranges = self.masker.ranges_in_lines(&self.held);
        let mut upto = self.masker.edges.undecided(&self.held).max(self.given);
        // A value that something undecided overlaps may become longer.
        if let Some(open) = ranges.iter().find(|range| range.start < upto && upto < range.end) {
            upto = open.start.max(self.given);
        }
        let sure = self.held.get(..upto).unwrap_or_default();
        let whole: Vec<_> = ranges.into_iter().filter(|range| range.end <= upto).collect();
        let shown = hide(sure, &whole).get(self.given..).unwrap_or_default().to_owned();
        let last = sure.char_indices().next_back().map_or(0, |(at, _)| at);
        self.given = upto - last;
        self.held.drain(..last);
        shown
    }

    /// Gives what is left: no more comes. Where it breaks off in the middle of a value, that is not shown.
    pub fn end(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let given = std::mem::take(&mut self.given);
        let mut ranges = self.masker.ranges_in_lines(&held);
        if let Some(tail) = self.masker.edges.find(&held).into_iter().next_back().filter(|tail| tail.end == held.len()) {
            super::add(&mut ranges, tail);
        }
        ranges.retain(|range| range.start >= given);
        hide(&held, &ranges).get(given..).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [&str; 4] = ["s3cr3t-t0ken-value", "token-value-longer", "hunter2", "gr\u{fc}n-\u{1f980}-rot"];

    #[test]
    fn however_it_is_split_the_outcome_is_that_of_the_whole() {
        let masker = Arc::new(Masker::new(VALUES.map(|value| ("S", value))).unwrap());
        let text =
            "a s3cr3t-t0ken-value-longer b hunter2 hunter22 gr\u{fc}n-\u{1f980}-rot, s3cr3t-t0ken-valu czNjcjN0LXQwa2VuLXZhbHVl!";
        let whole = masker.text(text).into_owned();
        let splits: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for first in &splits {
            for second in splits.iter().filter(|second| *second >= first) {
                let mut stream = Streaming::new(Arc::clone(&masker));
                let pieces = [&text[..*first], &text[*first..*second], &text[*second..]].map(|piece| stream.push(piece));
                assert_eq!(pieces.concat() + &stream.end(), whole, "split at {first} and {second}");
            }
        }
        let mut stream = Streaming::new(Arc::clone(&masker));
        let shown: String = text.chars().map(|char| stream.push(char.encode_utf8(&mut [0; 4]))).collect();
        assert_eq!(shown + &stream.end(), whole);
    }

    #[test]
    fn nothing_is_held_back_that_cannot_become_a_value() {
        let masker = Arc::new(Masker::new(VALUES.map(|value| ("S", value))).unwrap());
        let mut stream = Streaming::new(masker);
        assert_eq!(stream.push("some words. "), "some words. ");
        assert_eq!(stream.push("s3cr3t-t0k"), "");
        assert_eq!(stream.push("!"), "s3cr3t-t0k!");
        assert_eq!(stream.push("s3cr3t-t0ken-"), "");
        assert_eq!(stream.end(), "<secret_hidden>", "it broke off");
    }
}
