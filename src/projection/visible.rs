//! Recorded text as text: what came from an agent or a program is shown, never executed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything escaped that a terminal would obey or that turns the reading order: controls, escapes, bidi marks.
/// Line breaks and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

/// The same in one line: line breaks and tabs are escaped too.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_obeyed)
}

fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if hidden(c) { push_escaped(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Adds the name of a character in place of the character.
pub(crate) fn push_escaped(shown: &mut String, c: char) {
    let _ = match c {
        '\n' => shown.write_str("\\n"),
        '\r' => shown.write_str("\\r"),
        '\t' => shown.write_str("\\t"),
        '\u{1b}' => shown.write_str("\\e"),
        c if u32::from(c) < 0x80 => write!(shown, "\\x{:02x}", u32::from(c)),
        c => write!(shown, "\\u{{{:x}}}", u32::from(c)),
    };
}

/// Controls (also the eight-bit ones, which some terminals take for escapes) and what turns the reading order.
pub(crate) const fn is_obeyed(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
