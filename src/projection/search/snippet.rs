//! The part of a text that shows why it was found.

use std::ops::Range;

use crate::session::searchable::{folded, words};
use crate::store::{Term, Terms};

/// How many bytes are shown before the first match,
const BEFORE: usize = 40;
/// and from there on.
const BEHIND: usize = 120;

/// A part of a text, and what in it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The part.
    pub text: String,
    /// The places in it that were looked for, in bytes, in order.
    pub marks: Vec<Range<usize>>,
}

impl Snippet {
    /// The part, with these signs around what was looked for.
    pub fn marked(&self, open: &str, close: &str) -> String {
        let mut marked = String::with_capacity(self.text.len() + 16);
        let mut last = 0;
        for mark in &self.marks {
            marked.push_str(self.text.get(last..mark.start).unwrap_or_default());
            marked.push_str(open);
            marked.push_str(self.text.get(mark.clone()).unwrap_or_default());
            marked.push_str(close);
            last = mark.end;
        }
        marked.push_str(self.text.get(last..).unwrap_or_default());
        marked
    }
}

/// Cuts out where `terms` are met; the beginning where they are about something else than words.
pub fn snippet(text: &str, terms: &Terms) -> Snippet {
    let (places, kept): (Vec<Range<usize>>, Vec<String>) = words(text).map(|(place, word)| (place, folded(word))).unzip();
    let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
    let mut marks: Vec<Range<usize>> = Vec::new();
    for term in terms.all.iter().flatten() {
        let Term::Words { words, .. } = term else { continue };
        for (index, window) in kept.windows(words.len().max(1)).enumerate() {
            if term.is_met(window)
                && let (Some(first), Some(last)) = (places.get(index), places.get(index + window.len() - 1))
            {
                marks.push(first.start..last.end);
            }
        }
    }
    marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
    let first = marks.first().map_or(0, |mark| mark.start);
    let begin = (first.saturating_sub(BEFORE)..=first).find(|at| text.is_char_boundary(*at)).unwrap_or(first);
    let end = (0..=text.len().min(first + BEHIND)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let mut shown: Vec<Range<usize>> = Vec::new();
    for mark in marks.into_iter().filter(|mark| mark.start >= begin && mark.end <= end) {
        match shown.last_mut() {
            Some(last) if mark.start - begin < last.end => last.end = last.end.max(mark.end - begin),
            _ => shown.push(mark.start - begin..mark.end - begin),
        }
    }
    Snippet { text: text.get(begin..end).unwrap_or_default().to_owned(), marks: shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, words: &[&str]) -> String {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let terms = Terms { all: vec![vec![Term::Words { words, prefix: false }]], none: Vec::new() };
        snippet(text, &terms).marked("«", "»")
    }

    #[test]
    fn what_was_looked_for_is_marked() {
        assert_eq!(shown("Ein Foo_Bar, foo bar!", &["foo", "bar"]), "Ein «Foo_Bar», «foo bar»!");
        assert_eq!(shown("nothing here", &["else"]), "nothing here");
        assert_eq!(shown("", &["else"]), "");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("{}needle{}", "é".repeat(500), "日".repeat(500));
        let text = text.replace("needle", " needle ");
        let cut = shown(&text, &["needle"]);
        assert!(cut.contains("«needle»") && cut.len() < 200, "{cut}");
    }
}
