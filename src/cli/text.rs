//! Recorded text on a terminal: what came from an agent or a program is shown, never executed.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::projection::visible::is_obeyed;
pub use crate::projection::visible::{one_line, visible};
use crate::session::Timestamp;

/// JSON that says the same and holds nothing that a terminal would obey. Such characters stand only inside of texts, where JSON
/// may escape them.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let hidden = |c: char| is_obeyed(c) && !matches!(c, '\n' | '\t' | '\r');
    if !json.contains(hidden) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if hidden(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// How many columns a terminal gives to a text: wide characters take two, marks on the one before them none.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

const fn columns(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// At most so many columns, with an ellipsis where something is left out.
pub fn shorten(text: &str, most: usize) -> Cow<'_, str> {
    let (mut wide, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        // What is kept when something is left out: the last column is the ellipsis's.
        if wide < most {
            end = at;
        }
        wide += columns(c);
        if wide > most {
            return Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default()));
        }
    }
    Cow::Borrowed(text)
}

/// The first lines of a text, and how many lines and characters are left out.
pub fn beginning(text: &str, lines: usize, chars: usize) -> (Cow<'_, str>, usize) {
    let text = text.trim_end_matches('\n');
    let total = text.lines().count();
    let end = text.split_inclusive('\n').take(lines).map(str::len).sum();
    let head = text.get(..end).unwrap_or(text).trim_end_matches('\n');
    let cut = shorten(head, chars);
    let left_out = total.saturating_sub(cut.lines().count());
    (cut, left_out)
}

/// How long ago, in the largest unit that fits.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    match seconds {
        0..=4 => "now".to_owned(),
        5..=59 => format!("{seconds}s ago"),
        60..=3599 => format!("{}m ago", seconds / 60),
        3600..=86_399 => format!("{}h ago", seconds / 3600),
        86_400..=31_535_999 => format!("{}d ago", seconds / 86_400),
        _ => format!("{}y ago", seconds / 31_536_000),
    }
}

/// A length of time in the unit that people would use.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn duration(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} µs"),
        1_000..=999_999 => format!("{} ms", micros / 1000),
        1_000_000..=119_999_999 => format!("{:.1} s", micros as f64 / 1e6),
        _ => format!("{} min", micros / 60_000_000),
    }
}

/// A number of bytes in the unit that people would use.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = "KiB";
    for next in UNITS.iter().skip(1) {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// JSON over several lines. Works on the text, so that keys keep their order, numbers their spelling, and no depth is too deep.
pub fn pretty_json(json: &str) -> String {
    let mut pretty = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped, mut opened) = (0_usize, false, false, false);
    let break_line = |pretty: &mut String, depth: usize| {
        pretty.push('\n');
        // Deeper lines would be mostly blanks.
        (0..depth.min(40)).for_each(|_| pretty.push_str("  "));
    };
    for c in json.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            pretty.push(c);
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        if opened != closes && (opened || closes) {
            break_line(&mut pretty, depth);
        }
        opened = matches!(c, '{' | '[');
        depth += usize::from(opened);
        in_text = c == '"';
        pretty.push(c);
        match c {
            ',' => break_line(&mut pretty, depth),
            ':' => pretty.push(' '),
            _ => {}
        }
    }
    pretty
}

/// A count and its noun: `1 event`, `2 events`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let hostile = "a\u{1b}]0;owned\u{7}b\u{9b}31mc\u{202e}d\r\ne";
        assert_eq!(visible(hostile), "a\\e]0;owned\\x07b\\u{9b}31mc\\u{202e}d\\r\ne");
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
        assert!(matches!(visible("plain\n\ttext ünï"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_is_escaped_without_saying_anything_else() {
        let json = "{\"a\":\"x\u{9b}y\u{7f}\u{202e}\"}";
        let shown = visible_json(json);
        assert!(!shown.contains('\u{9b}'));
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&shown), value(json));
    }

    #[test]
    fn json_over_several_lines_says_the_same() {
        let json = r#"{"b":[1,2.50,{}],"a":"x\",{[","c":[],"d":{"e":null}}"#;
        let pretty = pretty_json(json);
        assert!(pretty.starts_with("{\n  \"b\": [\n    1,\n    2.50,\n    {}\n  ],"), "{pretty}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&pretty), value(json));
    }

    #[test]
    fn long_texts_say_how_much_is_left_out() {
        let (head, left_out) = beginning("1\n2\n3\n4\n", 2, 100);
        assert_eq!((head.as_ref(), left_out), ("1\n2", 2));
        assert_eq!((width("ab"), width("日本"), width("e\u{301}"), width("🚀")), (2, 4, 1, 2));
        assert_eq!(
            (shorten("日本語", 6), shorten("日本語", 5), shorten("abc", 2)),
            ("日本語".into(), "日本…".into(), "a…".into())
        );
        let (head, left_out) = beginning("all\n", 2, 100);
        assert_eq!((head.as_ref(), left_out), ("all", 0));
    }
}
