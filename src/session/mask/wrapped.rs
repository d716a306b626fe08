//! Long words that were broken over several lines, as `base64` and `fold` do it.

use std::ops::Range;

/// How many characters stand at least at the end of a line whose word goes on in the next one.
const RUN_MIN: usize = 16;

/// Calls `look` with each word that goes over several lines, joined, and with the way from places there to places in `text`.
pub(super) fn blocks(text: &str, mut look: impl FnMut(&str, &dyn Fn(Range<usize>) -> Range<usize>)) {
    if !text.contains('\n') {
        return;
    }
    let mut block: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim_end();
        let start = at + (words.len() - words.trim_start().len());
        let words = words.trim_start();
        at += line.len();
        let lead = words.bytes().take_while(|byte| goes_on(*byte)).count();
        let whole = lead == words.len();
        if !block.is_empty() {
            if lead > 0 {
                block.push(start..start + lead);
            }
            if whole && lead >= RUN_MIN {
                continue;
            }
            flush(text, &mut block, &mut look);
        }
        let trail = words.bytes().rev().take_while(|byte| goes_on(*byte)).count();
        if trail >= RUN_MIN {
            block.push(start + words.len() - trail..start + words.len());
        }
    }
    flush(text, &mut block, &mut look);
}

/// Whether it can be part of an encoding.
const fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'.' | b'%' | b'~' | b':')
}

fn flush(text: &str, block: &mut Vec<Range<usize>>, look: &mut impl FnMut(&str, &dyn Fn(Range<usize>) -> Range<usize>)) {
    let parts = std::mem::take(block);
    if parts.len() < 2 {
        return;
    }
    let joined: String = parts.iter().filter_map(|part| text.get(part.clone())).collect();
    let place = |wanted: usize| {
        let mut left = wanted;
        for part in &parts {
            if left < part.len() {
                return part.start + left;
            }
            left -= part.len();
        }
        parts.last().map_or(0, |part| part.end)
    };
    look(&joined, &|range| place(range.start)..place(range.end.saturating_sub(1)) + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_over_several_lines_is_joined_and_its_place_known() {
        let text = "data: abcdefghijklmnop\r\n  qrstuvwxyzABCDEF\n  GH.\nother words\n";
        let mut seen = Vec::new();
        blocks(text, |joined, original| {
            let at = joined.find("pqr").unwrap();
            seen.push((joined.to_owned(), text[original(at..at + 3)].to_owned()));
        });
        assert_eq!(seen, [("abcdefghijklmnopqrstuvwxyzABCDEFGH.".to_owned(), "p\r\n  qr".to_owned())]);
    }

    #[test]
    fn prose_is_left_alone() {
        blocks("a few words\nand an extraordinarily long\nword", |joined, _| panic!("{joined}"));
    }
}
