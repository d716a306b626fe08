//! What a program prints, kept within bounds while it is read, and made fit for an agent to read.

use std::collections::VecDeque;

/// Longest text of an observation, in characters; what is in the middle of longer ones is left out.
const SHOWN_MAX: usize = 30_000;
/// Bytes kept of the beginning, and again of the end: enough for half of [`SHOWN_MAX`] in any script.
const KEPT_MAX: usize = 4 * SHOWN_MAX / 2 + 4096;
/// Stands for what was left out.
const CUT: &str = "\n[... Observation truncated due to length ...]\n";

/// The beginning and the end of a stream.
#[derive(Debug, Default)]
pub(super) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Output {
    /// Takes in what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = KEPT_MAX.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        // Only the last part of a long read can survive, so the rest of it is never copied.
        let skipped = rest.len().saturating_sub(KEPT_MAX);
        let (skip, rest) = rest.split_at(skipped);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(KEPT_MAX);
        self.tail.drain(..surplus);
        self.dropped += (skip.len() + surplus) as u64;
    }

    /// Gives what was printed as text, and forgets it.
    pub(super) fn take(&mut self) -> String {
        let Self { mut head, tail, dropped } = std::mem::take(self);
        if dropped == 0 {
            head.extend(tail);
            return shorten(readable(&String::from_utf8_lossy(&head)));
        }
        let tail: Vec<u8> = tail.into();
        let (first, last) = (readable(&String::from_utf8_lossy(&head)), readable(&String::from_utf8_lossy(&tail)));
        format!("{}{CUT}{}", first_chars(&first, SHOWN_MAX / 2), last_chars(&last, SHOWN_MAX / 2))
    }
}

/// Leaves out the middle of a text that is too long to be shown.
fn shorten(text: String) -> String {
    // Fewer bytes than characters there cannot be.
    if text.len() <= SHOWN_MAX || text.chars().count() <= SHOWN_MAX {
        return text;
    }
    format!("{}{CUT}{}", first_chars(&text, SHOWN_MAX / 2), last_chars(&text, SHOWN_MAX / 2))
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn last_chars(text: &str, count: usize) -> &str {
    let Some(back) = count.checked_sub(1) else { return "" };
    text.char_indices().nth_back(back).and_then(|(start, _)| text.get(start..)).unwrap_or(text)
}

/// The text as a terminal would show it: without escape sequences and other control characters, and of a line that was written
/// over only the last version.
fn readable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut line = 0;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' => {
                shown.push('\n');
                line = shown.len();
            }
            // A carriage return before a line end or the text's end takes nothing away.
            '\r' => match chars.peek() {
                Some('\n' | '\r') | None => {}
                Some(_) => shown.truncate(line),
            },
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => shown.push('\t'),
            '\u{8}' => {
                if shown.len() > line {
                    shown.pop();
                }
            }
            char if char.is_control() => {}
            char => shown.push(char),
        }
    }
    shown
}

/// Skips what follows an escape character: a control sequence, a command to the terminal, or one more character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next_if(|char| matches!(char, '[' | ']' | '(' | ')' | '0'..='~')) {
        Some('[') => {
            while chars.next_if(|char| matches!(char, '\u{20}'..='\u{3f}')).is_some() {}
            chars.next_if(|char| matches!(char, '\u{40}'..='\u{7e}'));
        }
        Some(']') => {
            while chars.next_if(|char| !matches!(char, '\u{7}' | '\u{1b}' | '\n')).is_some() {}
            if chars.next_if_eq(&'\u{1b}').is_some() {
                chars.next_if_eq(&'\\');
            } else {
                chars.next_if_eq(&'\u{7}');
            }
        }
        Some('(' | ')') => drop(chars.next()),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(chunks: &[&[u8]]) -> String {
        let mut output = Output::default();
        for chunk in chunks {
            output.push(chunk);
        }
        output.take()
    }

    #[test]
    fn what_fits_is_kept_whole_across_chunks() {
        assert_eq!(shown(&["gr\u{fc}".as_bytes().split_at(3).0, &"gr\u{fc}".as_bytes()[3..], b"n\n"]), "gr\u{fc}n\n");
    }

    #[test]
    fn of_a_flood_the_beginning_and_the_end_remain() {
        let mut output = Output::default();
        output.push(b"first\n");
        for _ in 0..1000 {
            output.push(&[b'x'; 65_536]);
        }
        output.push(b"\nlast\n");
        let text = output.take();
        assert!(text.starts_with("first\n") && text.ends_with("\nlast\n"), "{}", text.len());
        assert_eq!(text.chars().count(), SHOWN_MAX + CUT.len());
        assert_eq!(output.take(), "");
    }

    #[test]
    fn a_long_text_of_wide_characters_is_cut_by_characters() {
        let text = shown(&["\u{1f980}".repeat(40_000).as_bytes()]);
        assert_eq!(text.chars().filter(|char| *char == '\u{1f980}').count(), SHOWN_MAX);
        assert!(text.contains(CUT));
        assert!(!text.contains('\u{fffd}'));
    }

    #[test]
    fn control_characters_do_what_a_terminal_does() {
        assert_eq!(shown(&[b"10%\r50%\r100%\r\nok\0\x07\n\x1b[1;31mred\x1b[0m \x1b]0;title\x07t\n"]), "100%\nok\nred t\n");
        assert_eq!(shown(&[b"\xff\xfe\x80abc\x1b"]), "\u{fffd}\u{fffd}\u{fffd}abc");
    }
}
