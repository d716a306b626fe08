//! What always differs between two runs of the same command, and is therefore not held against a replay.
//!
//! The list is declared and versioned; every verdict that needed one of them says which.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// The version of the rules below; a verdict is only comparable with one of the same version.
pub const NORMALISERS: &str = "normalise/1";

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normaliser {
    /// Terminal colours and cursor movements.
    Colours,
    /// Line ends, and blanks before them and at the end.
    LineEnds,
    /// Where the peer's notebook says its interpreter lies.
    Interpreter,
    /// Universally unique ids.
    Uuids,
    /// Dates and times of day.
    Timestamps,
    /// How long something took.
    Durations,
    /// Temporary files.
    TemporaryPaths,
    /// Process ids and addresses in memory.
    Pids,
    /// Commit ids and checksums.
    Hashes,
    /// Owner, link count and size of directories in long listings.
    Listings,
}

struct Rule {
    normaliser: Normaliser,
    pattern: Regex,
    replacement: &'static str,
}

macro_rules! rules {
    ($($normaliser:ident: $pattern:literal => $replacement:literal;)*) => {
        static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| vec![$(Rule {
            normaliser: Normaliser::$normaliser,
            pattern: compile($pattern),
            replacement: $replacement,
        },)*]);
    };
}

rules! {
    Colours: r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])" => "";
    LineEnds: r"[ \t\r]+(?:\n|$)" => "\n";
    Interpreter: r"(?m)^\[(?:Jupyter )?Python [Ii]nterpreter: [^\]\n]*\]$" => "[python interpreter]";
    Listings: r"(?m)^([d-][rwxsStT-]{9})[.+]?[ \t]+[0-9]+[ \t]+[^\s]+[ \t]+[^\s]+[ \t]+([0-9]+)[ \t]" => "$1 <owner> $2 ";
    Listings: r"(?m)^(d[rwxsStT-]{9} <owner>) [0-9]+ " => "$1 <size> ";
    Listings: r"(?m)^total [0-9]+$" => "total <size>";
    Uuids: r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b" => "<uuid>";
    Timestamps: r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?)?(?:Z|[ ]?[+-][0-9]{2}:?[0-9]{2})?" => "<time>";
    Timestamps: r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* {1,2}[0-9]{1,2}(?: {1,2}(?:[0-9]{2}:[0-9]{2}(?::[0-9]{2})?|[0-9]{4}))+(?: [A-Z]{3,4})?(?: [0-9]{4})?" => "<time>";
    Timestamps: r"\b[0-9]{1,2}/(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)/[0-9]{4}[: ][0-9:]+" => "<time>";
    Timestamps: r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?\b" => "<time>";
    Durations: r"\b(?:[0-9]+m)?[0-9]+(?:[.,][0-9]+)? ?(?:ns|us|µs|ms|s|secs?|seconds?|minutes?|mins?)\b" => "<duration>";
    TemporaryPaths: r"/(?:tmp|var/tmp|var/folders)/[A-Za-z0-9._/-]*[A-Za-z0-9_-]" => "<tmp>";
    Pids: r"\b0x[0-9a-fA-F]{6,16}\b" => "<address>";
    Pids: r"(?m)^(\[[0-9]+\][+-]?) +[0-9]+$" => "$1 <pid>";
    Pids: r"(?i)\b(pid|process|ppid)([ =:#]{1,3})[0-9]+" => "$1$2<pid>";
    Hashes: r"\b(?:[0-9]+[a-f]|[a-f]+[0-9])[0-9a-f]{5,62}\b" => "<hash>";
}

/// Compiles a rule; the patterns are constants of this file and a test compiles them all.
#[expect(clippy::expect_used, reason = "a constant pattern either compiles in the test below or not at all")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant")
}

/// The text without what always differs, and the rules that changed it.
pub fn normalise(text: &str) -> (String, Vec<Normaliser>) {
    let mut text = Cow::Borrowed(text);
    let mut needed = Vec::new();
    for rule in RULES.iter() {
        if let Cow::Owned(changed) = rule.pattern.replace_all(&text, rule.replacement)
            && changed != *text
        {
            text = Cow::Owned(changed);
            if needed.last() != Some(&rule.normaliser) {
                needed.push(rule.normaliser);
            }
        }
    }
    let trimmed = text.trim_end();
    if trimmed.len() != text.len() {
        text = Cow::Owned(trimmed.to_owned());
        needed.push(Normaliser::LineEnds);
    }
    (text.into_owned(), needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal_once_normalised(a: &str, b: &str) {
        assert_eq!(normalise(a).0, normalise(b).0);
    }

    #[test]
    fn every_rule_compiles_and_what_always_differs_is_no_difference() {
        equal_once_normalised("\x1b[31mred\x1b[0m", "red");
        equal_once_normalised("a  \r\nb\n\n", "a\nb");
        equal_once_normalised("Ran 3 tests in 0.001s", "Ran 3 tests in 0.02s");
        equal_once_normalised("at 2025-02-01T00:14:10.787622 ok", "at 2026-11-22 10:00:00 ok");
        equal_once_normalised("-rw-r--r-- 1 root root 12 Apr 30 08:32 a", "-rw-r--r--  1 nobody users  12 Nov  2 2024 a");
        equal_once_normalised("drwxr-xr-x 2 a b 4096 Apr 30 08:32 d", "drwxr-xr-x 3 root root 60 May  1 09:00 d");
        equal_once_normalised("[1] 4242", "[1] 7");
        equal_once_normalised("commit 8f3a2b1c9", "commit 1b2c3d4e5");
        equal_once_normalised("<object at 0x7f00deadbeef>", "<object at 0x7fabcdef0123>");
        equal_once_normalised("/tmp/tmpabc123/x.py", "/tmp/tmpzzz999/x.py");
    }

    #[test]
    fn what_matters_stays_different() {
        for (a, b) in [
            ("3 passed", "2 passed"),
            ("exit 1", "exit 0"),
            ("-rw-r--r-- 1 root root 12 Apr 30 08:32 a", "-rw-r--r-- 1 root root 13 Apr 30 08:32 a"),
            ("listening on 8000", "listening on 8001"),
            ("decade", "facade"),
        ] {
            assert_ne!(normalise(a).0, normalise(b).0, "{a} and {b}");
        }
    }

    #[test]
    fn the_rules_that_were_needed_are_named() {
        assert_eq!(normalise("took 3.2s").1, [Normaliser::Durations]);
        assert_eq!(normalise("plain").1, []);
    }
}
