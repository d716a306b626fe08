//! A file's text: its encoding and line ends are kept whatever is done to it.

/// How the bytes stand for characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8 {
        mark: bool,
    },
    Utf16 {
        big: bool,
    },
    /// Any encoding of one byte a character: bytes that are not touched come back as they were.
    Bytes,
}

/// How much of a file is looked at to see whether it is text.
const SAMPLE_BYTES: usize = 8192;

/// A decoded file.
#[derive(Debug, Clone)]
pub(super) struct Text {
    raw: String,
    encoding: Encoding,
}

impl Text {
    /// Decodes a file, unless it is binary.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(rest) = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF])
            && let Ok(raw) = std::str::from_utf8(rest)
        {
            return Some(Self { raw: raw.to_owned(), encoding: Encoding::Utf8 { mark: true } });
        }
        let wide = match bytes {
            [0xFF, 0xFE, rest @ ..] => Some((rest, false)),
            [0xFE, 0xFF, rest @ ..] => Some((rest, true)),
            _ => None,
        };
        if let Some((rest, big)) = wide
            && rest.len() % 2 == 0
        {
            let join = if big { u16::from_be_bytes } else { u16::from_le_bytes };
            let units: Vec<u16> = rest.as_chunks::<2>().0.iter().map(|pair| join(*pair)).collect();
            if let Ok(raw) = String::from_utf16(&units) {
                return Some(Self { raw, encoding: Encoding::Utf16 { big } });
            }
        }
        if is_binary(bytes) {
            return None;
        }
        Some(match std::str::from_utf8(bytes) {
            Ok(raw) => Self { raw: raw.to_owned(), encoding: Encoding::Utf8 { mark: false } },
            Err(_) => Self { raw: bytes.iter().map(|byte| char::from(*byte)).collect(), encoding: Encoding::Bytes },
        })
    }

    /// The bytes of the file, or the first character that its encoding does not have.
    pub(super) fn encode(&self) -> Result<Vec<u8>, char> {
        match self.encoding {
            Encoding::Utf8 { mark: false } => Ok(self.raw.as_bytes().to_vec()),
            Encoding::Utf8 { mark: true } => Ok([&[0xEF, 0xBB, 0xBF], self.raw.as_bytes()].concat()),
            Encoding::Utf16 { big } => {
                let split = if big { u16::to_be_bytes } else { u16::to_le_bytes };
                Ok(std::iter::once(0xFEFF).chain(self.raw.encode_utf16()).flat_map(split).collect())
            }
            Encoding::Bytes => self.raw.chars().map(|char| u8::try_from(u32::from(char)).map_err(|_| char)).collect(),
        }
    }

    /// Whether the file is UTF-8, as the peer's plain tools want it.
    pub(super) const fn is_utf8(&self) -> bool {
        matches!(self.encoding, Encoding::Utf8 { .. })
    }

    /// The text as the agent sees it: lines end with one character.
    pub(super) fn shown(&self) -> String {
        unix(&self.raw)
    }

    /// The text as it is in the file.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// The same file with another text, given as it is in the file.
    pub(super) fn with_raw(&self, raw: String) -> Self {
        Self { raw, encoding: self.encoding }
    }

    /// The same file with `new` instead of what the agent sees from `start` to `end`, in bytes of [`Text::shown`].
    pub(super) fn splice(&self, start: usize, end: usize, new: &str) -> Self {
        let (start, end) = (self.raw_offset(start), self.raw_offset(end));
        let before = self.raw.get(..start).unwrap_or_default();
        let after = self.raw.get(end..).unwrap_or_default();
        self.with_raw([before, &self.with_ends(new), after].concat())
    }

    /// `text` with the line ends that most lines of the file have.
    fn with_ends(&self, text: &str) -> String {
        let text = unix(text);
        if self.raw.matches("\r\n").count() * 2 > self.raw.matches('\n').count() { text.replace('\n', "\r\n") } else { text }
    }

    fn raw_offset(&self, shown: usize) -> usize {
        let bytes = self.raw.as_bytes();
        let mut raw = 0;
        for _ in 0..shown {
            raw += if bytes.get(raw..raw + 2) == Some(b"\r\n".as_slice()) { 2 } else { 1 };
        }
        raw
    }
}

/// Text whose lines end with one character.
pub(super) fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// Whether the bytes are no text.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.get(..SAMPLE_BYTES).unwrap_or(bytes).contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_encoding_and_line_ends() {
        let crlf = Text::decode(b"one\r\ntwo\r\nthree\n").unwrap();
        assert_eq!(crlf.shown(), "one\ntwo\nthree\n");
        assert_eq!(crlf.splice(4, 7, "2\n2").encode().unwrap(), b"one\r\n2\r\n2\r\nthree\n");
        let latin = Text::decode(b"caf\xe9 \xa4\n").unwrap();
        assert_eq!(latin.splice(0, 3, "Caf").encode().unwrap(), b"Caf\xe9 \xa4\n");
        assert_eq!(latin.splice(0, 3, "\u{20ac}").encode(), Err('\u{20ac}'));
        let wide = Text::decode(b"\xff\xfeh\0i\0").unwrap();
        assert_eq!(wide.splice(1, 2, "o").encode().unwrap(), b"\xff\xfeh\0o\0");
        let marked = Text::decode(b"\xef\xbb\xbfa").unwrap();
        assert_eq!(marked.splice(1, 1, "b").encode().unwrap(), b"\xef\xbb\xbfab");
        assert!(Text::decode(b"\x7fELF\0\0").is_none());
    }
}
