//! What a player gets of a program's output.
//!
//! A recording is played in somebody's terminal, often another one than the program had, and by people who want to see what happened.
//! So colours and what moves within the line pass (progress bars live of it), and nothing else is obeyed: a title, the clipboard, a
//! hyperlink or a notification (OSC, DCS, APC) would reach out of the recording; moving to other lines, scrolling, clearing and the
//! other screen would let an output rewrite what came before it; queries would make the player's terminal type. What is not obeyed is
//! shown as text, for it is part of what happened.

use crate::projection::visible::{is_obeyed, push_escaped, visible};

/// No sequence that passes is longer.
const SEQUENCE_MAX: usize = 64;

/// Output for a terminal: ends each line as a terminal has it, and leaves no colour on.
pub(super) fn output(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + text.len() / 16);
    let mut coloured = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = after;
        match c {
            '\n' => shown.push_str("\r\n"),
            // The pair is one line break.
            '\r' if after.starts_with('\n') => {}
            '\r' | '\t' | '\u{8}' => shown.push(c),
            '\u{1b}' => match passing(after) {
                Some(sequence) => {
                    coloured |= sequence.ends_with('m');
                    shown.push(c);
                    shown.push_str(sequence);
                    rest = after.get(sequence.len()..).unwrap_or_default();
                }
                None => push_escaped(&mut shown, c),
            },
            c if is_obeyed(c) => push_escaped(&mut shown, c),
            c => shown.push(c),
        }
    }
    if coloured {
        shown.push_str("\u{1b}[0m");
    }
    shown
}

/// Words for a terminal: nothing in them is obeyed but line breaks and tabs.
pub(super) fn words(text: &str) -> String {
    visible(&text.replace("\r\n", "\n")).replace('\n', "\r\n")
}

/// What follows an escape and passes: colours, and what moves or erases within the line.
fn passing(after: &str) -> Option<&str> {
    // The usual character set, which `tput sgr0` says as well.
    if after.starts_with("(B") {
        return after.get(..2);
    }
    let parameters = after.strip_prefix('[')?;
    let end = parameters.bytes().take(SEQUENCE_MAX).position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    match parameters.as_bytes().get(end)? {
        b'm' | b'K' | b'C' | b'D' | b'G' => after.get(..end + 2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_and_what_moves_within_the_line_pass() {
        assert_eq!(output("\u{1b}[1;31mred\u{1b}[0m\n"), "\u{1b}[1;31mred\u{1b}[0m\r\n\u{1b}[0m");
        assert_eq!(output("10%\r20%\u{1b}[K\r\n"), "10%\r20%\u{1b}[K\r\n");
        assert_eq!(output("a\u{8}b\u{1b}[2D\u{1b}(B"), "a\u{8}b\u{1b}[2D\u{1b}(B");
        assert_eq!(output("\u{1b}[38:2::1:2:3mx"), "\u{1b}[38:2::1:2:3mx\u{1b}[0m");
    }

    #[test]
    fn what_reaches_out_or_rewrites_is_shown_as_text() {
        for (hostile, shown) in [
            ("\u{1b}]0;title\u{7}", "\\e]0;title\\x07"),
            ("\u{1b}]52;c;aGk=\u{1b}\\", "\\e]52;c;aGk=\\e\\"),
            ("\u{1b}]8;;http://x\u{7}link", "\\e]8;;http://x\\x07link"),
            ("\u{1b}[2J\u{1b}[H", "\\e[2J\\e[H"),
            ("\u{1b}[3A", "\\e[3A"),
            ("\u{1b}[?1049h", "\\e[?1049h"),
            ("\u{1b}[6n\u{1b}[c", "\\e[6n\\e[c"),
            ("\u{1b}P+q\u{1b}\\", "\\eP+q\\e\\"),
            ("\u{1b}c", "\\ec"),
            ("\u{9d}0;t\u{9c}\u{9b}31m", "\\u{9d}0;t\\u{9c}\\u{9b}31m"),
            ("\0\u{e}\u{202e}", "\\x00\\x0e\\u{202e}"),
            ("\u{1b}[31", "\\e[31"),
            ("\u{1b}\u{1b}[>4;1m", "\\e\\e[>4;1m"),
        ] {
            assert_eq!(output(hostile), shown);
            assert!(!words(hostile).contains('\u{1b}'));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_nothing_but_what_passes_is_obeyed(
            parts in proptest::collection::vec(prop_oneof![
                Just("\u{1b}".to_owned()), Just("[".to_owned()), Just("]".to_owned()), Just("0;".to_owned()), Just("m".to_owned()),
                Just("\u{7}".to_owned()), Just("\r".to_owned()), Just("\n".to_owned()), Just("\u{9b}".to_owned()), any::<String>(),
            ], 0..30)
        ) {
            let shown = output(&parts.concat());
            let mut rest = shown.as_str();
            while let Some(at) = rest.find(is_obeyed) {
                rest = &rest[at..];
                let c = rest.chars().next().unwrap();
                rest = &rest[c.len_utf8()..];
                if c == '\u{1b}' {
                    prop_assert!(passing(rest).is_some(), "{:?}", shown);
                } else {
                    prop_assert!(matches!(c, '\r' | '\n' | '\t' | '\u{8}'), "{:?}", c);
                }
            }
        }
    }
}
