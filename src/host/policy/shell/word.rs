//! The words of a command line, taken apart as a shell does: quotes, escapes, variables, braces.

use std::iter::Peekable;
use std::str::Chars;

/// How many words braces may make of one.
const BRACES_MAX: usize = 64;
/// What `<(…)` becomes: a stream of what the command in it prints.
const STREAM: &str = "/dev/fd/63";
/// Words longer than this are not looked at for braces, in bytes.
const BRACED_MAX: usize = 4096;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host::policy) enum Piece {
    /// Text; patterns and spaces in it mean something where it is not quoted.
    Text { text: String, quoted: bool },
    /// The value of a variable, or this where it has none.
    Variable { name: String, quoted: bool, or: Option<String> },
    /// The directory that the shell is in: `$(pwd)`.
    Directory,
    /// What only running it can tell.
    Unseen,
}

/// The words that `raw` makes, before variables are known.
pub(in crate::host::policy) fn words(raw: &str) -> Vec<Vec<Piece>> {
    braces(raw).iter().map(|raw| pieces(raw)).collect()
}

/// `a{b,c}` as `ab ac`.
fn braces(raw: &str) -> Vec<String> {
    let mut done = Vec::new();
    if raw.len() > BRACED_MAX || !raw.contains('{') {
        return vec![raw.to_owned()];
    }
    let mut todo = vec![raw.to_owned()];
    while let Some(word) = todo.pop() {
        match group(&word) {
            Some((before, choices, after)) if done.len() + todo.len() + choices.len() <= BRACES_MAX => {
                todo.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
            }
            // Groups inside of groups lead to the same word by more than one way.
            _ if done.contains(&word) => {}
            _ => done.push(word),
        }
    }
    done
}

/// The first unquoted group with a comma: what is before it, its choices, what is after it.
fn group(word: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut quote = None;
    let mut escaped = false;
    let mut last = ' ';
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    for (at, char) in word.char_indices() {
        let before = std::mem::replace(&mut last, char);
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (quote, char) {
            (Some(end), char) if char == end => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => escaped = true,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(char),
            // `${` is no group, but its end is one's end.
            (None, '{') => open.push((at, if before == '$' { vec![usize::MAX] } else { Vec::new() })),
            (None, ',') => {
                if let Some((_, commas)) = open.last_mut() {
                    commas.push(at);
                }
            }
            (None, '}') => {
                let Some((begin, commas)) = open.pop() else { continue };
                if commas.is_empty() || commas.first() == Some(&usize::MAX) {
                    continue;
                }
                let starts = std::iter::once(begin).chain(commas.iter().copied()).map(|at| at + 1);
                let ends = commas.iter().copied().chain([at]);
                let choices = starts.zip(ends).map(|(start, end)| word.get(start..end).unwrap_or_default()).collect();
                return Some((word.get(..begin)?, choices, word.get(at + 1..)?));
            }
            (None, _) => {}
        }
    }
    None
}

fn pieces(raw: &str) -> Vec<Piece> {
    let mut lexer = Lexer { chars: raw.chars().peekable(), pieces: Vec::new() };
    lexer.unquoted();
    lexer.pieces
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    pieces: Vec<Piece>,
}

impl Lexer<'_> {
    fn push(&mut self, char: char, is_quoted: bool) {
        match self.pieces.last_mut() {
            Some(Piece::Text { text, quoted }) if *quoted == is_quoted => text.push(char),
            _ => self.pieces.push(Piece::Text { text: char.to_string(), quoted: is_quoted }),
        }
    }

    /// Quotes around nothing are still a word.
    fn quoted_nothing(&mut self) {
        self.pieces.push(Piece::Text { text: String::new(), quoted: true });
    }

    fn unquoted(&mut self) {
        while let Some(char) = self.chars.next() {
            match char {
                '\'' => {
                    self.quoted_nothing();
                    while let Some(char) = self.chars.next().filter(|char| *char != '\'') {
                        self.push(char, true);
                    }
                }
                '"' => self.double_quoted(),
                '\\' => match self.chars.next() {
                    None | Some('\n') => {}
                    Some(char) => self.push(char, true),
                },
                '`' => self.backquoted(),
                '$' => self.dollar(false),
                '<' | '>' if self.chars.peek() == Some(&'(') => {
                    self.skip_parentheses();
                    STREAM.chars().for_each(|char| self.push(char, true));
                }
                char => self.push(char, false),
            }
        }
    }

    fn double_quoted(&mut self) {
        self.quoted_nothing();
        while let Some(char) = self.chars.next() {
            match char {
                '"' => return,
                '\\' => match self.chars.next() {
                    None | Some('\n') => {}
                    Some(char @ ('"' | '\\' | '$' | '`')) => self.push(char, true),
                    Some(char) => {
                        self.push('\\', true);
                        self.push(char, true);
                    }
                },
                '`' => self.backquoted(),
                '$' => self.dollar(true),
                char => self.push(char, true),
            }
        }
    }

    fn backquoted(&mut self) {
        let mut inner = String::new();
        while let Some(char) = self.chars.next() {
            match char {
                '`' => break,
                '\\' => inner.extend(self.chars.next()),
                char => inner.push(char),
            }
        }
        self.substituted(&inner);
    }

    fn substituted(&mut self, inner: &str) {
        self.pieces.push(if inner.trim() == "pwd" { Piece::Directory } else { Piece::Unseen });
    }

    fn dollar(&mut self, quoted: bool) {
        match self.chars.peek().copied() {
            Some('(') => {
                let inner = self.skip_parentheses();
                self.substituted(&inner);
            }
            Some('{') => {
                self.chars.next();
                let inner = self.until_brace();
                self.pieces.push(expansion(&inner, quoted));
            }
            Some('\'') if !quoted => {
                self.chars.next();
                self.ansi();
            }
            Some('"') if !quoted => {
                self.chars.next();
                self.double_quoted();
            }
            Some(char) if char.is_alphabetic() || char == '_' => {
                let mut name = String::new();
                while let Some(char) = self.chars.next_if(|char| char.is_alphanumeric() || *char == '_') {
                    name.push(char);
                }
                self.pieces.push(Piece::Variable { name, quoted, or: None });
            }
            Some('?' | '#' | '!' | '$' | '@' | '*' | '-' | '0'..='9') => {
                self.chars.next();
                self.pieces.push(Piece::Unseen);
            }
            _ => self.push('$', quoted),
        }
    }

    /// What stands between these parentheses, and those inside of them.
    fn skip_parentheses(&mut self) -> String {
        let mut inner = String::new();
        let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
        for char in self.chars.by_ref() {
            if depth > 0 {
                inner.push(char);
            }
            if std::mem::take(&mut escaped) {
                continue;
            }
            match (quote, char) {
                (Some(end), char) if char == end => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => escaped = true,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(char),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        inner.pop();
                        break;
                    }
                }
                (None, _) => {}
            }
        }
        inner
    }

    fn until_brace(&mut self) -> String {
        let mut inner = String::new();
        let mut depth = 1_usize;
        for char in self.chars.by_ref() {
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            inner.push(char);
        }
        inner
    }

    /// `$'…'`, in which `\x72` is `r`.
    fn ansi(&mut self) {
        self.quoted_nothing();
        while let Some(char) = self.chars.next() {
            match char {
                '\'' => return,
                '\\' => {
                    let char = match self.chars.next() {
                        None => return,
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some('e' | 'E') => Some('\u{1b}'),
                        Some('x') => self.number("", 16, 2),
                        Some('u') => self.number("", 16, 4),
                        Some('U') => self.number("", 16, 8),
                        Some(digit @ '0'..='7') => self.number(&digit.to_string(), 8, 2),
                        Some(char) => Some(char),
                    };
                    match char {
                        Some(char) => self.push(char, true),
                        None => self.pieces.push(Piece::Unseen),
                    }
                }
                char => self.push(char, true),
            }
        }
    }

    fn number(&mut self, first: &str, radix: u32, most: usize) -> Option<char> {
        let mut digits = first.to_owned();
        for _ in 0..most {
            digits.extend(self.chars.next_if(|char| char.is_digit(radix)));
        }
        u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32)
    }
}

/// What stands in `${…}`: only a name, with or without what is taken where it has no value, can be followed.
fn expansion(inner: &str, quoted: bool) -> Piece {
    let end = inner.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at_checked(end).unwrap_or((inner, ""));
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let plain = |text: &str| !text.contains(['$', '`', '\\', '"', '\'']);
    let or = match rest.chars().next() {
        _ if name.is_empty() => return Piece::Unseen,
        None if end == inner.len() => None,
        Some('?') => None,
        Some('-' | '=') => rest.get(1..).filter(|or| plain(or)).map(str::to_owned),
        _ => return Piece::Unseen,
    };
    Piece::Variable { name: name.to_owned(), quoted, or }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(raw: &str) -> Vec<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Text { text, .. } => text.clone(),
            Piece::Variable { name, .. } => format!("<{name}>"),
            Piece::Directory => "<pwd>".to_owned(),
            Piece::Unseen => "<?>".to_owned(),
        };
        words(raw).iter().map(|word| word.iter().map(piece).collect()).collect()
    }

    #[test]
    fn quotes_and_escapes_hide_nothing() {
        for (raw, expected) in [
            ("r''m", "rm"),
            ("\\rm", "rm"),
            ("'r'\"m\"", "rm"),
            ("$'\\x72\\155'", "rm"),
            ("$'\\u0072m'", "rm"),
            ("r\\\nm", "rm"),
            ("\"a\\\"b\\c\"", "a\"b\\c"),
            ("a$X/b", "a<X>/b"),
            ("${HOME}/x", "<HOME>/x"),
            ("${X:-y}", "<X>"),
            ("${X:?}", "<X>"),
            ("${X%y}", "<?>"),
            ("${!X}", "<?>"),
            ("a$(echo \")\" ')' \\) x)b", "a<?>b"),
            ("$(pwd)/x", "<pwd>/x"),
            ("`pwd`", "<pwd>"),
            ("$((1+(2)))", "<?>"),
            ("<(ls)", "/dev/fd/63"),
            ("$1$?", "<?><?>"),
            ("a$", "a$"),
            ("'a$X'", "a$X"),
            ("\"unclosed $X", "unclosed <X>"),
            ("${never", "<never>"),
        ] {
            assert_eq!(shown(raw), [expected], "{raw}");
        }
    }

    #[test]
    fn braces_make_words() {
        assert_eq!(shown("{rm,-rf,/}"), ["rm", "-rf", "/"]);
        assert_eq!(shown("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(shown("${X,,}"), ["<?>"]);
        assert_eq!(shown("'{a,b}'"), ["{a,b}"]);
        assert_eq!(shown("{a}"), ["{a}"]);
        assert!(words(&"{a,b}".repeat(500)).len() <= BRACES_MAX);
    }
}
