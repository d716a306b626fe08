//! What a rule finds, and how findings become a judgement.

use crate::session::Risk;

/// How much of the offending part is shown, in characters.
const PART_CHARS_MAX: usize = 120;
/// How many findings are told.
const TOLD_MAX: usize = 8;
/// How many are collected at all; further ones can only repeat what is known, unless they are worse.
const COLLECTED_MAX: usize = 256;

/// One thing that a rule has against an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its stable name.
    pub rule: &'static str,
    /// How bad it is.
    pub risk: Risk,
    /// What it does, in words that follow the part.
    pub why: String,
    /// The offending part.
    pub part: String,
}

/// All findings of an action.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// Notes that `part` is risky, and why.
    pub fn add(&mut self, risk: Risk, rule: &'static str, part: &str, why: impl Into<String>) {
        let worst = self.risk();
        let is_known = self.all.iter().any(|finding| finding.rule == rule && finding.risk >= risk && finding.part == shown(part));
        if is_known || (self.all.len() >= COLLECTED_MAX && risk <= worst) {
            return;
        }
        self.all.push(Finding { rule, risk, why: why.into(), part: shown(part) });
    }

    pub fn medium(&mut self, rule: &'static str, part: &str, why: impl Into<String>) {
        self.add(Risk::Medium, rule, part, why);
    }

    pub fn high(&mut self, rule: &'static str, part: &str, why: impl Into<String>) {
        self.add(Risk::High, rule, part, why);
    }

    /// The highest risk of all; low when there is nothing to say.
    pub fn risk(&self) -> Risk {
        self.all.iter().map(|finding| finding.risk).max().unwrap_or(Risk::Low)
    }

    /// One line each, the worst first.
    pub fn lines(&self) -> Vec<String> {
        let mut sorted: Vec<&Finding> = self.all.iter().collect();
        sorted.sort_by_key(|finding| std::cmp::Reverse(finding.risk));
        let line = |finding: &&Finding| {
            let Finding { rule, risk, why, part } = finding;
            if part.is_empty() {
                format!("rules {rule} ({risk}): {why}")
            } else {
                format!("rules {rule} ({risk}): `{part}` {why}")
            }
        };
        let mut lines: Vec<String> = sorted.iter().take(TOLD_MAX).map(line).collect();
        if sorted.len() > TOLD_MAX {
            lines.push(format!("rules: and {} more", sorted.len() - TOLD_MAX));
        }
        lines
    }
}

/// `part` in one line that is not too long, without characters that could rewrite a terminal.
pub(super) fn shown(part: &str) -> String {
    let mut out = String::new();
    let mut space = false;
    for (count, char) in part.trim().chars().enumerate() {
        if count >= PART_CHARS_MAX {
            out.push('…');
            break;
        }
        if char.is_whitespace() {
            if !space {
                out.push(' ');
            }
            space = true;
            continue;
        }
        space = false;
        out.push(if char.is_control() || is_bidi(char) { '\u{fffd}' } else { char });
    }
    out
}

/// Characters that make a terminal show text in another order than it is run in, or not at all.
const fn is_bidi(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
