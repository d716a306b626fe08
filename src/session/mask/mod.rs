//! Hiding the values of secrets in whatever is written down. Pure: from values to texts without them.

mod cut;
mod event;
mod forms;
mod json;
mod stream;
mod wrapped;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Match};

pub use event::operative;
pub use forms::{Form, HIDDEN_MIN, INSIDE_MIN};
pub use json::Place;
pub use stream::Streaming;

use forms::{Pattern, patterns};

/// What stands where a value was.
pub const HIDDEN: &str = "<secret_hidden>";

/// Finds the values of secrets in texts, in every form that they usually take, and hides them. Where two overlap, all of both is
/// hidden.
pub struct Masker {
    names: Vec<String>,
    patterns: Vec<(Pattern, usize)>,
    automaton: AhoCorasick,
    edges: cut::Edges,
    /// Whether a value could be a JSON number.
    numbers: bool,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("names", &self.names).finish_non_exhaustive()
    }
}

/// There are more values, or longer ones, than can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the values of all secrets together are too long to be looked for")]
pub struct TooMuch;

/// What cannot be promised of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Caveat {
    /// There is nothing to hide.
    #[error("it is empty, so that there is nothing to hide")]
    Empty,
    /// It would be found everywhere.
    #[error("a value of fewer than {HIDDEN_MIN} characters stands in any text and is not hidden")]
    TooShort,
    /// It is found in other texts by chance.
    #[error("a value of fewer than {INSIDE_MIN} characters is hidden only where it stands alone, and may be met by chance")]
    Short,
    /// It is a word that others use, too.
    #[error("it is a plain word: it is hidden in every text, but not where it is a word of the log itself")]
    Word,
    /// It is what stands for something hidden.
    #[error("it is a part of {HIDDEN}, which stands where something was hidden, and is not hidden itself")]
    Mark,
}

impl Caveat {
    /// What cannot be promised of this value, if anything.
    pub fn of(value: &str) -> Option<Self> {
        let is_word = |text: &str| text.chars().all(|char| char.is_ascii_lowercase() || "_.-".contains(char));
        match value.trim() {
            "" => Some(Self::Empty),
            text if HIDDEN.contains(text) => Some(Self::Mark),
            text if text.chars().count() < HIDDEN_MIN => Some(Self::TooShort),
            text if text.chars().count() < INSIDE_MIN => Some(Self::Short),
            text if is_word(text) => Some(Self::Word),
            _ => None,
        }
    }

    /// Whether the value is hidden all the same.
    pub const fn is_hidden(self) -> bool {
        matches!(self, Self::Short | Self::Word)
    }
}

/// One place where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name of the secret.
    pub secret: String,
    /// The form.
    pub form: Form,
    /// Whether its value is so short that it may stand there by chance.
    pub by_chance: bool,
}

impl Masker {
    /// Hides these values, each with the name of its secret. A name may have several.
    ///
    /// # Errors
    /// [`TooMuch`] when there are too many to be looked for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, TooMuch> {
        let (mut names, mut all) = (Vec::new(), Vec::new());
        let mut numbers = false;
        for (name, value) in secrets {
            if Caveat::of(value).is_none_or(Caveat::is_hidden) {
                numbers |= serde_json::from_str::<serde_json::Number>(value.trim()).is_ok();
                all.extend(patterns(value).into_iter().map(|pattern| (pattern, names.len())));
                names.push(name.to_owned());
            }
        }
        // A table of all transitions would be twice as fast, take forty times the room and ten times as long to be made.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(all.iter().map(|(pattern, _)| &pattern.text))
            .map_err(|_| TooMuch)?;
        let edges = cut::Edges::new(all.iter().map(|(pattern, _)| pattern));
        Ok(Self { names, patterns: all, automaton, edges, numbers })
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The text without values.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        hide(text, &self.ranges(text))
    }

    /// The text without values, and without the beginning or the end of one where the text was cut.
    pub fn cut_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut ranges = self.ranges(text);
        self.edges.find(text).into_iter().for_each(|edge| add(&mut ranges, edge));
        hide(text, &ranges)
    }

    /// Where which value stands in a text, each secret once in each form.
    pub fn find(&self, text: &str) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        let mut note = |found_here: &Match| {
            if let Some((pattern, secret)) = self.patterns.get(found_here.pattern().as_usize())
                && let Some(name) = self.names.get(*secret)
            {
                let here = Found { secret: name.clone(), form: pattern.form, by_chance: pattern.alone };
                if !found.contains(&here) {
                    found.push(here);
                }
            }
        };
        self.matches(text).for_each(|found| note(&found));
        wrapped::blocks(text, |joined, _| self.matches(joined).for_each(|found| note(&found)));
        found
    }

    /// Where values stand, in order, none touching another.
    fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges = self.ranges_in_lines(text);
        wrapped::blocks(text, |joined, original| {
            for range in self.ranges_in_lines(joined) {
                add(&mut ranges, original(range));
            }
        });
        ranges
    }

    fn ranges_in_lines(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        self.matches(text).for_each(|found| add(&mut ranges, found.range()));
        ranges
    }

    fn matches<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Match> + 't {
        let found = self.automaton.find_overlapping_iter(text);
        found.filter(|found| {
            let pattern = self.patterns.get(found.pattern().as_usize());
            pattern.is_some_and(|(pattern, _)| !pattern.alone || stands_alone(text, found.range()))
        })
    }
}

/// Whether what stands there is no part of a longer word.
fn stands_alone(text: &str, range: Range<usize>) -> bool {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let before = text.get(..range.start).and_then(|text| text.chars().next_back());
    let after = text.get(range.end..).and_then(|text| text.chars().next());
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

/// Adds a range to others that are in order; those that overlap it become one with it.
fn add(ranges: &mut Vec<Range<usize>>, mut range: Range<usize>) {
    let from = ranges.partition_point(|other| other.end <= range.start);
    let upto = ranges.partition_point(|other| other.start < range.end);
    if let Some(overlapping) = ranges.get(from..upto)
        && let (Some(first), Some(last)) = (overlapping.first(), overlapping.last())
    {
        range = range.start.min(first.start)..range.end.max(last.end);
    }
    ranges.splice(from..upto.max(from), [range]);
}

fn hide<'t>(text: &'t str, ranges: &[Range<usize>]) -> Cow<'t, str> {
    if ranges.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut hidden = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        hidden.push_str(text.get(from..range.start).unwrap_or_default());
        hidden.push_str(HIDDEN);
        from = range.end;
    }
    hidden.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(values: &[&str]) -> Masker {
        Masker::new(values.iter().map(|value| ("S", *value))).unwrap()
    }

    #[test]
    fn of_two_that_overlap_all_of_both_is_hidden() {
        let masker = masker(&["password", "password123", "abcdefghij", "ghijklmnop"]);
        assert_eq!(masker.text("my password123!"), "my <secret_hidden>!");
        assert_eq!(masker.text("password12"), "<secret_hidden>12");
        assert_eq!(masker.text("xabcdefghijklmnopx"), "x<secret_hidden>x");
        assert_eq!(masker.text("passwordpassword"), "<secret_hidden><secret_hidden>");
    }

    #[test]
    fn what_cannot_be_hidden_is_told_and_left() {
        for (value, caveat) in [
            ("", Caveat::Empty),
            (" \n", Caveat::Empty),
            ("7", Caveat::TooShort),
            ("abc", Caveat::TooShort),
            ("secret_hidden", Caveat::Mark),
            ("hunter2", Caveat::Short),
            ("awaiting_user_input", Caveat::Word),
        ] {
            assert_eq!(Caveat::of(value), Some(caveat), "{value:?}");
            assert_eq!(masker(&[value]).is_empty(), !caveat.is_hidden(), "{value:?}");
        }
        assert_eq!(Caveat::of("ghp_0123456789"), None);
        assert_eq!(masker(&["", "7"]).text("7 of 77"), "7 of 77");
    }

    #[test]
    fn a_short_value_is_hidden_where_it_stands_alone() {
        let masker = masker(&["hunter2", "gr\u{fc}n"]);
        assert_eq!(
            masker.text("hunter2, hunter22, (hunter2) gr\u{fc}n gr\u{fc}ner"),
            "<secret_hidden>, hunter22, (<secret_hidden>) <secret_hidden> gr\u{fc}ner"
        );
    }

    #[test]
    fn an_encoding_that_was_wrapped_is_hidden() {
        let masker = masker(&["a-token-that-is-long-enough-to-be-wrapped-by-base64-at-its-76th-column!"]);
        let wrapped = "YS10b2tlbi10aGF0LWlzLWxvbmctZW5vdWdoLXRvLWJlLXdyYXBwZWQtYnktYmFzZTY0LWF0LWl0\ncy03NnRoLWNvbHVtbiE=\nnext";
        assert_eq!(masker.text(wrapped), "<secret_hidden>\nnext");
        let text = "just a few words\nand some more of them\n";
        assert_eq!(masker.text(text), text);
    }

    #[test]
    fn what_a_cut_left_of_a_value_is_hidden_too() {
        let masker = masker(&["ghp_0123456789abcdef"]);
        assert_eq!(masker.cut_text("it is ghp_01234567"), "it is <secret_hidden>");
        assert_eq!(masker.cut_text("89abcdef and more"), "<secret_hidden> and more");
        let cut = "x ghp_01234567\n[... Observation truncated due to length ...]\n56789abcdef y";
        assert_eq!(masker.cut_text(cut), "x <secret_hidden>\n[... Observation truncated due to length ...]\n<secret_hidden> y");
        assert_eq!(masker.cut_text("tokens begin with ghp_"), "tokens begin with ghp_");
    }

    #[test]
    fn it_is_told_what_was_found_and_not_its_value() {
        let masker = masker(&["ghp_0123456789abcdef"]);
        let found = masker.find("Z2hwXzAxMjM0NTY3ODlhYmNkZWY= ghp_0123456789abcdef");
        assert_eq!(found.iter().map(|found| found.form).collect::<Vec<_>>(), [Form::Base64, Form::Plain]);
        assert!(!format!("{masker:?}{found:?}").contains("ghp_"));
    }
}
