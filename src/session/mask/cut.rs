//! The beginnings and ends of values where a text was cut in the middle of one.

use std::ops::Range;

use super::forms::Pattern;

/// What runtimes put in the place of what they left out.
const LEFT_OUT: &str = "[... Observation truncated due to length ...]";
/// How much of a value is hidden at least, in bytes.
const PART_MIN: usize = 8;

/// The texts that are looked for, ordered by how they begin and by how they end.
pub(super) struct Edges {
    begins: Vec<Box<[u8]>>,
    /// Turned round.
    ends: Vec<Box<[u8]>>,
    /// What may be gone on with, also when it is whole: whether it stands alone shows only then.
    alone: Vec<Box<[u8]>>,
    /// Whether a text begins with a byte.
    first: [bool; 256],
    longest: usize,
}

impl Edges {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut edges = Self { begins: Vec::new(), ends: Vec::new(), alone: Vec::new(), first: [false; 256], longest: 0 };
        for pattern in patterns {
            let bytes = pattern.text.as_bytes();
            if let Some(first) = bytes.first().and_then(|byte| edges.first.get_mut(usize::from(*byte))) {
                *first = true;
            }
            edges.longest = edges.longest.max(bytes.len());
            if pattern.alone {
                edges.alone.push(bytes.into());
            } else {
                edges.ends.push(bytes.iter().rev().copied().collect());
            }
            edges.begins.push(bytes.into());
        }
        edges.begins.sort_unstable();
        edges.ends.sort_unstable();
        edges.alone.sort_unstable();
        edges
    }

    /// The ends of values that `text` begins with, the beginnings that it ends with, and the same where something was left out.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut at = 0;
        for part in text.split(LEFT_OUT) {
            let trimmed = part.trim_end_matches('\n');
            let lead = part.len() - part.trim_start_matches('\n').len();
            let kept = at + lead.min(trimmed.len())..at + trimmed.len();
            at += part.len() + LEFT_OUT.len();
            if let Some(kept_text) = text.get(kept.clone()) {
                let head = self.longest_end_at_the_beginning(kept_text.as_bytes());
                found.extend(head.map(|length| kept.start..kept.start + length));
                let tail = self.longest_beginning_at_the_end(kept_text.as_bytes());
                found.extend(tail.map(|length| kept.end - length..kept.end));
            }
        }
        found.retain(|range| text.is_char_boundary(range.start) && text.is_char_boundary(range.end));
        found
    }

    fn longest_beginning_at_the_end(&self, text: &[u8]) -> Option<usize> {
        let longest = self.longest.saturating_sub(1).min(text.len());
        (PART_MIN..=longest).rev().find(|length| {
            let part = text.get(text.len() - length..).unwrap_or_default();
            self.may_begin(part) && begins_one(&self.begins, part)
        })
    }

    fn longest_end_at_the_beginning(&self, text: &[u8]) -> Option<usize> {
        let longest = self.longest.saturating_sub(1).min(text.len());
        let head: Vec<u8> = text.get(..longest).unwrap_or_default().iter().rev().copied().collect();
        (PART_MIN..=longest).rev().find(|length| begins_one(&self.ends, head.get(longest - length..).unwrap_or_default()))
    }

    /// Where the part of `text` begins that what comes next may make a value of.
    pub(super) fn undecided(&self, text: &str) -> usize {
        let bytes = text.as_bytes();
        let from = bytes.len().saturating_sub(self.longest);
        let undecided = (from..bytes.len()).find(|at| {
            let part = bytes.get(*at..).unwrap_or_default();
            self.may_begin(part)
                && (begins_one(&self.begins, part) || self.alone.binary_search_by(|one| (**one).cmp(part)).is_ok())
        });
        undecided.unwrap_or(bytes.len())
    }

    fn may_begin(&self, part: &[u8]) -> bool {
        part.first().is_some_and(|byte| self.first.get(usize::from(*byte)).copied().unwrap_or(true))
    }
}

/// Whether one of the ordered texts begins with `part` and goes on.
fn begins_one(ordered: &[Box<[u8]>], part: &[u8]) -> bool {
    // Equal ones come first, and say nothing of those that go on.
    let at = ordered.partition_point(|one| **one <= *part);
    ordered.get(at).is_some_and(|one| one.starts_with(part))
}
