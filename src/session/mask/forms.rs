//! What the value of a secret looks like where it is not written as it is: escaped, quoted, encoded, one of its lines alone.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;

/// How many characters a value has at least that is hidden; shorter ones stand in any text.
pub const HIDDEN_MIN: usize = 4;
/// How many characters a value has at least that is hidden also in the middle of a word.
pub const INSIDE_MIN: usize = 8;
/// How many characters a line of a longer value has at least that is hidden on its own.
const LINE_MIN: usize = 12;
/// How many characters a part of an encoding has at least that is looked for.
const PART_MIN: usize = 8;

/// In which form a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// As it is.
    Plain,
    /// One of its lines.
    Line,
    /// As part of a JSON string, or of one in a JSON string.
    Json,
    /// As a word of a shell.
    Shell,
    /// As part of a URL.
    Percent,
    /// As part of a page.
    Html,
    /// In hexadecimal digits.
    Hex,
    /// In Base64, whatever stands before and after it.
    Base64,
}

impl Form {
    /// The word for lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Line => "line",
            Self::Json => "json",
            Self::Shell => "shell",
            Self::Percent => "percent",
            Self::Html => "html",
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

/// One text that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) text: String,
    pub(super) form: Form,
    /// Whether it is hidden only where it is no part of a longer word.
    pub(super) alone: bool,
}

/// Every text in which `value` is looked for.
pub(super) fn patterns(value: &str) -> Vec<Pattern> {
    let mut patterns = Patterns::default();
    for whole in [value, value.trim()] {
        let length = whole.chars().count();
        if length >= HIDDEN_MIN {
            patterns.whole(whole, length < INSIDE_MIN);
        }
    }
    if value.trim().contains('\n') {
        for line in value.lines().map(str::trim) {
            // What opens and closes a key in PEM is in every key.
            if line.chars().count() >= LINE_MIN && !line.starts_with("-----") {
                patterns.add(line, Form::Line, false);
                patterns.add(&json(line), Form::Line, false);
            }
        }
    }
    patterns.all
}

#[derive(Default)]
struct Patterns {
    all: Vec<Pattern>,
    known: HashSet<String>,
}

impl Patterns {
    fn add(&mut self, text: &str, form: Form, alone: bool) {
        if self.known.insert(text.to_owned()) {
            self.all.push(Pattern { text: text.to_owned(), form, alone });
        }
    }

    fn whole(&mut self, value: &str, alone: bool) {
        self.add(value, Form::Plain, alone);
        let once = json(value);
        for escaped in [json(&once), json_ascii(value), once] {
            self.add(&escaped, Form::Json, alone);
        }
        for quoted in [value.replace('\'', r"'\''"), double_quoted(value), backslashed(value), dollar_quoted(value)] {
            self.add(&quoted, Form::Shell, alone);
        }
        for encoded in percent(value) {
            self.add(&encoded, Form::Percent, alone);
        }
        self.add(&html(value), Form::Html, alone);
        let hex = hex(value.as_bytes());
        self.add(&hex.to_uppercase(), Form::Hex, alone);
        self.add(&hex, Form::Hex, alone);
        for alphabet in [STANDARD, URL] {
            let whole = base64(value.as_bytes(), 0, alphabet, Part::Whole);
            self.add(whole.trim_end_matches('='), Form::Base64, alone);
            self.add(&whole, Form::Base64, alone);
            for offset in (0..3).filter(|_| !alone) {
                let inside = base64(value.as_bytes(), offset, alphabet, Part::Determined);
                if inside.len() >= PART_MIN {
                    self.add(&inside, Form::Base64, false);
                }
            }
        }
    }
}

/// As `serde_json` and most others write it.
fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value).to_owned()
}

/// As Python writes it.
fn json_ascii(value: &str) -> String {
    let mut units = [0; 2];
    let mut ascii = String::new();
    for char in json(value).chars() {
        if char.is_ascii() {
            ascii.push(char);
        } else {
            for unit in char.encode_utf16(&mut units) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// As `export -p` writes it.
fn double_quoted(value: &str) -> String {
    escaped(value, |char| matches!(char, '"' | '$' | '`' | '\\'))
}

/// As `printf %q` writes it.
fn backslashed(value: &str) -> String {
    escaped(value, |char| char.is_ascii() && !char.is_ascii_alphanumeric() && !"%+-./:=@_".contains(char))
}

fn escaped(value: &str, special: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(value.len());
    for char in value.chars() {
        if special(char) {
            text.push('\\');
        }
        text.push(char);
    }
    text
}

/// As `set` writes what holds control characters.
fn dollar_quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{1b}' => text.push_str("\\E"),
            '\'' | '\\' => text.extend(['\\', char]),
            other => text.push(other),
        }
    }
    text
}

/// As URLs and forms write it, with large and with small digits.
fn percent(value: &str) -> [String; 6] {
    let encode = |kept: &str, space: &str| {
        let mut text = String::with_capacity(value.len());
        for byte in value.bytes() {
            match char::from(byte) {
                ' ' => text.push_str(space),
                char if char.is_ascii_alphanumeric() || kept.contains(char) => text.push(char),
                _ => {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
        text
    };
    let small = |text: &str| {
        let mut parts = text.split('%');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
            format!("{text}%{}{rest}", digits.to_lowercase())
        })
    };
    // All; the unreserved ones of RFC 3986 not; nor those that browsers leave in a query.
    let (all, strict, loose) = (encode("", "%20"), encode("-._~", "%20"), encode("-._~!*'()", "%20"));
    let (all_small, strict_small) = (small(&all), small(&strict));
    [all, all_small, strict, strict_small, loose, encode("-._*", "+")]
}

/// As a page shows it.
fn html(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const STANDARD: [char; 2] = ['+', '/'];
const URL: [char; 2] = ['-', '_'];

/// How much of an encoding is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it.
    Whole,
    /// The characters that depend on these bytes alone.
    Determined,
}

/// Base64 of `bytes` when `before` bytes stand before them in their group of three.
fn base64(bytes: &[u8], before: usize, alphabet: [char; 2], part: Part) -> String {
    let end = before + bytes.len();
    let byte = |index: usize| index.checked_sub(before).and_then(|index| bytes.get(index)).copied().unwrap_or(0);
    let digit = |place: usize| {
        let (first, shift) = (place * 6 / 8, place * 6 % 8);
        let two = u16::from(byte(first)) << 8 | u16::from(byte(first + 1));
        u8::try_from(two >> (10 - shift) & 0x3f).unwrap_or(0)
    };
    let letter = |digit: u8| match digit {
        0..26 => char::from(b'A' + digit),
        26..52 => char::from(b'a' + digit - 26),
        52..62 => char::from(b'0' + digit - 52),
        62 => alphabet[0],
        _ => alphabet[1],
    };
    let places = match part {
        Part::Whole => 0..(end * 8).div_ceil(6),
        Part::Determined => (before * 8).div_ceil(6)..end * 8 / 6,
    };
    let mut text: String = places.map(|place| letter(digit(place))).collect();
    while part == Part::Whole && !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        patterns(value).into_iter().map(|pattern| pattern.text).collect()
    }

    #[test]
    fn base64_is_known_wherever_a_value_stands_in_its_group() {
        let value = "correct-horse?battery~staple";
        for before in ["", "x", "xy", "user:", "xyz0"] {
            for after in ["", "!", "!!"] {
                let whole = base64(format!("{before}{value}{after}").as_bytes(), 0, STANDARD, Part::Whole);
                assert!(texts(value).iter().any(|text| whole.contains(text.as_str())), "{before}{value}{after}: {whole}");
            }
        }
        assert_eq!(base64(b"any carnal pleas", 0, STANDARD, Part::Whole), "YW55IGNhcm5hbCBwbGVhcw==");
        assert_eq!(base64(b"\xfb\xff\xfe", 0, URL, Part::Whole), "-__-");
    }

    #[test]
    fn each_way_to_write_it_is_known() {
        let all = texts("pa\"ss'w$ör d\n");
        for written in [
            "pa\\\"ss'w$ör d\\n",
            "pa\\\"ss'w$\\u00f6r d",
            "pa\"ss'\\''w$ör d",
            "pa%22ss%27w%24%C3%B6r%20d",
            "pa%22ss%27w%24%C3%B6r+d",
        ] {
            assert!(all.iter().any(|text| text == written), "{written}");
        }
        assert!(all.contains(&"pa\\\"ss'w\\$ör d".to_owned()) && all.contains(&"pa%22ss%27w%24%c3%b6r%20d".to_owned()));
    }

    #[test]
    fn a_short_value_is_looked_for_only_as_a_word_of_its_own() {
        assert!(patterns("abc").is_empty());
        assert!(patterns("").is_empty());
        assert!(patterns("hunter2").iter().all(|pattern| pattern.alone));
        assert!(patterns("hunter22").iter().all(|pattern| !pattern.alone));
    }

    #[test]
    fn lines_of_a_key_are_known_but_not_what_every_key_has() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nshort\n-----END KEY-----\n";
        let lines: Vec<_> = patterns(key).into_iter().filter(|pattern| pattern.form == Form::Line).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].text, "MIIEvQIBADANBgkqhkiG");
    }
}
