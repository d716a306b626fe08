//! Hiding values in JSON text: in every string at every depth, in keys, and in numbers that are one; its shape stays.
//!
//! Nobody lists the words that belong to the log itself. Whoever asks for a text to be hidden in reads what came of it: a word that
//! cannot be hidden without making the text another one is its own, whatever a secret's value may be.

use std::borrow::Cow;
use std::ops::Range;

use super::{Found, HIDDEN, Masker};

/// How many words are tried one by one for whether they belong to the text itself.
const TRIES_MAX: usize = 64;
/// How long such a word is at most, in bytes.
const WORD_MAX: usize = 128;

/// Whose JSON it is, and so what of it is left as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The keys on the way to values that stay.
    pub kept: &'a [&'a [&'a str]],
    /// The key at the top whose text may have been cut.
    pub cut: Option<&'a str>,
}

impl Masker {
    /// The JSON text without values; `None` when there are none in it.
    ///
    /// `read` reads a text as whoever it belongs to will, and says how often [`HIDDEN`] is in what was read; `None` when it cannot be
    /// read.
    pub fn json(&self, json: &str, place: Place<'_>, read: impl Fn(&str) -> Option<usize>) -> Option<String> {
        let hits = self.hits(json, place);
        if hits.is_empty() {
            return None;
        }
        let all: Vec<&Hit> = hits.iter().collect();
        let hidden = replaced(json, &all);
        if read(&hidden).is_some_and(|count| count == marks(&hidden)) {
            return Some(hidden);
        }
        if read(json).is_none() {
            // It was no text that anybody can read before, so that nothing of it can be lost.
            return Some(hidden);
        }
        let mut tries = 0;
        let foreign = |hit: &&Hit| {
            tries += 1;
            if tries > TRIES_MAX {
                return hit.role != Role::Key;
            }
            let alone = replaced(json, &[*hit]);
            match (read(&alone), hit.role) {
                (None, _) => false,
                (Some(count), Role::Key) => count == marks(&alone),
                (Some(_), Role::Text | Role::Number) => true,
            }
        };
        let kept: Vec<&Hit> = hits.iter().filter(foreign).collect();
        let hidden = replaced(json, &kept);
        if read(&hidden).is_some() {
            return (!kept.is_empty()).then_some(hidden);
        }
        let words: Vec<&Hit> = kept.into_iter().filter(|hit| !hit.is_word).collect();
        Some(replaced(json, &words))
    }

    /// Where which value stands in a JSON text: the keys on the way, and what was found there.
    pub fn find_in_json(&self, json: &str) -> Vec<(String, Found)> {
        let mut found: Vec<(String, Found)> = Vec::new();
        walk(json, |token, way| {
            let whole = token.role != Role::Number;
            let here = self.find(&token.text()).into_iter().filter(|_| whole || self.is_value(token.inner));
            for here in here {
                found.push((self.text(&shown(way)).into_owned(), here));
            }
        });
        found
    }

    fn hits(&self, json: &str, place: Place<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        if self.is_empty() {
            return hits;
        }
        walk(json, |token, way| {
            if token.role == Role::Number && !(self.numbers && self.is_value(token.inner)) {
                return;
            }
            if place.kept.iter().any(|kept| is_below(way, kept)) {
                return;
            }
            let text = token.text();
            let is_cut = token.role == Role::Text && place.cut.is_some_and(|cut| way.len() == 1 && is_below(way, &[cut]));
            let hidden = if is_cut { self.cut_text(&text) } else { self.text(&text) };
            if let Cow::Owned(hidden) = hidden {
                let new = serde_json::Value::from(hidden).to_string();
                hits.push(Hit { at: token.at, new, role: token.role, is_word: is_word(&text) });
            }
        });
        hits
    }

    /// Whether a text is a value and nothing else.
    fn is_value(&self, text: &str) -> bool {
        self.matches(text).any(|found| found.range() == (0..text.len()))
    }
}

struct Hit {
    at: Range<usize>,
    /// The JSON text that stands there then.
    new: String,
    role: Role,
    is_word: bool,
}

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Text,
    Number,
}

struct Token<'a> {
    at: Range<usize>,
    /// Without quotes, as it is written.
    inner: &'a str,
    role: Role,
}

impl<'a> Token<'a> {
    fn text(&self) -> Cow<'a, str> {
        if !self.inner.contains('\\') {
            return Cow::Borrowed(self.inner);
        }
        // Half a surrogate pair is looked at as it is written.
        serde_json::from_str(&format!("\"{}\"", self.inner)).map_or(Cow::Borrowed(self.inner), Cow::Owned)
    }
}

/// One array or object that is open.
#[derive(Default)]
struct Level<'a> {
    /// The key that it is at; unset in an array.
    key: Option<&'a str>,
    index: usize,
    is_object: bool,
}

/// Calls `look` with each string and number, and with the levels that are open there.
fn walk<'a>(json: &'a str, mut look: impl FnMut(Token<'a>, &[Level<'a>])) {
    let bytes = json.as_bytes();
    let mut way: Vec<Level<'a>> = Vec::new();
    let mut at = 0;
    let mut awaits_key = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => {
                awaits_key = byte == b'{';
                way.push(Level { is_object: awaits_key, ..Level::default() });
            }
            b'}' | b']' => {
                way.pop();
                awaits_key = false;
            }
            b',' => {
                if let Some(level) = way.last_mut() {
                    level.index += 1;
                    awaits_key = level.is_object;
                }
            }
            b':' => awaits_key = false,
            b'"' => {
                let end = end_of_string(bytes, at + 1);
                let inner = json.get(at + 1..end).unwrap_or_default();
                let role = if awaits_key { Role::Key } else { Role::Text };
                if let (Role::Key, Some(level)) = (role, way.last_mut()) {
                    level.key = Some(inner);
                }
                look(Token { at: at..(end + 1).min(json.len()), inner, role }, &way);
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let length =
                    rest.iter().take_while(|byte| matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')).count();
                let inner = json.get(at..at + length).unwrap_or_default();
                look(Token { at: at..at + length, inner, role: Role::Number }, &way);
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Where the string that begins at `at` has its closing quote.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn replaced(json: &str, hits: &[&Hit]) -> String {
    let mut text = String::with_capacity(json.len());
    let mut from = 0;
    for hit in hits {
        text.push_str(json.get(from..hit.at.start).unwrap_or_default());
        text.push_str(&hit.new);
        from = hit.at.end;
    }
    text.push_str(json.get(from..).unwrap_or_default());
    text
}

fn marks(text: &str) -> usize {
    text.matches(HIDDEN).count()
}

fn is_below(way: &[Level<'_>], keys: &[&str]) -> bool {
    way.len() >= keys.len() && way.iter().zip(keys).all(|(level, key)| level.key == Some(key))
}

/// Whether it could be a word of the log: a name, an id, a digest, a moment.
fn is_word(text: &str) -> bool {
    text.len() <= WORD_MAX && text.chars().all(|char| char.is_ascii_alphanumeric() || "_.:$+-".contains(char))
}

/// The keys on the way, as people write it.
fn shown(way: &[Level<'_>]) -> String {
    let mut text = String::new();
    for level in way {
        match level.key {
            Some(key) if text.is_empty() => text.push_str(key),
            Some(key) => text.extend([".", key]),
            None => text.push_str(&format!("[{}]", level.index)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(value: &str) -> Masker {
        Masker::new([("S", value)]).unwrap()
    }

    /// Reads anything that is JSON.
    fn any(text: &str) -> Option<usize> {
        serde_json::from_str::<&serde_json::value::RawValue>(text).ok()?;
        Some(marks(text))
    }

    #[test]
    fn strings_keys_and_numbers_at_every_depth_are_hidden_and_nothing_else_changes() {
        let masker = masker("12345678");
        let json = r#"{"a":["12345678",{"x-12345678":1e400}],"b":12345678,"c":123456789,"d":"\u0031\u0032345678\n","e":{}}"#;
        let hidden = masker.json(json, Place::default(), any).unwrap();
        let h = HIDDEN;
        assert_eq!(hidden, format!(r#"{{"a":["{h}",{{"x-{h}":1e400}}],"b":"{h}","c":123456789,"d":"{h}\n","e":{{}}}}"#));
        assert_eq!(masker.json(r#"{"a":"1234567"}"#, Place::default(), any), None);
    }

    #[test]
    fn a_word_that_belongs_to_the_text_stays_where_it_does() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Body {
            running: Kind,
            words: std::collections::BTreeMap<String, String>,
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Running,
        }
        let read = |text: &str| {
            let body: Body = serde_json::from_str(text).ok()?;
            Some(marks(&serde_json::to_string(&body).unwrap()))
        };
        let json = r#"{"running":"running","words":{"running":"running"}}"#;
        let hidden = masker("running").json(json, Place::default(), read).unwrap();
        assert_eq!(hidden, format!(r#"{{"running":"running","words":{{"{HIDDEN}":"{HIDDEN}"}}}}"#));
    }

    #[test]
    fn what_is_to_be_kept_is_kept_and_the_rest_is_not() {
        let json = r#"{"spec":{"title":"12345678","workspace":"/12345678"}}"#;
        let place = Place { kept: &[&["spec", "workspace"]], cut: None };
        let hidden = masker("12345678").json(json, place, any).unwrap();
        assert_eq!(hidden, format!(r#"{{"spec":{{"title":"{HIDDEN}","workspace":"/12345678"}}}}"#));
    }

    #[test]
    fn it_is_told_where_a_value_was_found() {
        let json = r#"{"args":{"list":[1,{"deep":"x 12345678"}]},"12345678":true}"#;
        let found = masker("12345678").find_in_json(json);
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["args.list[1].deep", HIDDEN]);
    }
}
