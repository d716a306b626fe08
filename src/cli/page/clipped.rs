//! A text, or its beginning and its end.

/// The most bytes of a text that are shown.
const BYTES_MAX: usize = 16 * 1024;
/// The most lines of it.
const LINES_MAX: usize = 400;

/// What is shown of a text: all of it, or its beginning and its end, in which commands say how they went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clipped {
    /// All of it, or its beginning.
    pub head: String,
    /// How many bytes are not shown between the two.
    pub left_out: usize,
    /// Its end.
    pub tail: String,
}

impl Clipped {
    /// Of a text.
    pub fn of(text: &str) -> Self {
        Self::at_most(text, BYTES_MAX, LINES_MAX)
    }

    fn at_most(text: &str, bytes: usize, lines: usize) -> Self {
        let text = text.trim_end_matches(['\n', '\r']);
        let plain = |part: &str| part.replace("\r\n", "\n");
        let first = first(text, bytes, lines);
        if first == text.len() {
            return Self { head: plain(text), ..Self::default() };
        }
        let head = text.get(..self::first(text, bytes / 2, lines / 2)).unwrap_or_default();
        let rest = text.get(head.len()..).unwrap_or_default();
        let tail = rest.get(last(rest, bytes / 2, lines / 2)..).unwrap_or_default();
        Self { head: plain(head), left_out: rest.len() - tail.len(), tail: plain(tail) }
    }

    /// Whether there is nothing.
    pub const fn is_empty(&self) -> bool {
        self.head.is_empty() && self.left_out == 0
    }

    /// How many bytes it takes.
    pub const fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// Where the first `lines` lines end, or where `bytes` bytes do.
fn first(text: &str, bytes: usize, lines: usize) -> usize {
    let end = text.split_inclusive('\n').take(lines).map(str::len).sum::<usize>();
    if end <= bytes {
        return end;
    }
    // A line is cut only where it is too long for itself.
    let cut = text.floor_char_boundary(bytes);
    text.get(..cut).and_then(|head| head.rfind('\n')).map_or(cut, |at| at + 1)
}

/// Where the last `lines` lines begin, or the last `bytes` bytes do.
fn last(text: &str, bytes: usize, lines: usize) -> usize {
    let begin = text.rmatch_indices('\n').nth(lines.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    if text.len() - begin <= bytes {
        return begin;
    }
    let cut = text.ceil_char_boundary(text.len() - bytes);
    text.get(cut..).and_then(|tail| tail.find('\n')).map_or(cut, |at| cut + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(text: &str, bytes: usize, lines: usize) -> (String, usize, String) {
        let Clipped { head, left_out, tail } = Clipped::at_most(text, bytes, lines);
        (head, left_out, tail)
    }

    #[test]
    fn a_long_text_is_its_beginning_and_its_end() {
        let said = |head: &str, left_out, tail: &str| (head.to_owned(), left_out, tail.to_owned());
        assert_eq!(clipped("a\r\nb\n", 100, 10), said("a\nb", 0, ""));
        assert_eq!(clipped("1\n2\n3\n4\n5\n6", 100, 4), said("1\n2\n", 4, "5\n6"));
        assert_eq!(clipped("aaaa\nbbbb\ncccc\ndddd", 12, 10), said("aaaa\n", 10, "dddd"));
        assert_eq!(clipped("äöüäöüäöü", 7, 10), said("ä", 14, "ü"), "never inside of a character");
        assert_eq!(clipped("", 7, 10), said("", 0, ""));
    }

    #[test]
    fn nothing_of_a_text_is_shown_twice_and_nothing_is_lost() {
        for text in ["x".repeat(50_000), "line\n".repeat(50_000), "🚀".repeat(9000), format!("{}\n", "y".repeat(20_000))] {
            let Clipped { head, left_out, tail } = Clipped::of(&text);
            let text = text.trim_end();
            assert!(text.starts_with(&head) && text.ends_with(&tail));
            assert_eq!(head.len() + left_out + tail.len(), text.len());
            assert!(head.len() + tail.len() <= BYTES_MAX && left_out > 0);
        }
    }
}
