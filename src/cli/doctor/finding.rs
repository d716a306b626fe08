//! What is found, and how it is told.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::exit::CliError;
use crate::cli::output::{Cell, Side, table};
use crate::cli::paint::Tone;

/// How one thing is. The shape of each document of `doctor -o json`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: stable.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) state: State,
    /// What was found.
    pub(super) found: String,
    /// What to do about it.
    pub(super) advice: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it should be.
    Well,
    /// Worth knowing.
    Note,
    /// Somebody should do something about it.
    Warn,
    /// Something that was stored is damaged.
    Bad,
}

impl Finding {
    /// Of the thing `check`.
    pub(super) fn new(check: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { check, state, found: found.into(), advice: None }
    }

    /// With what to do about it.
    pub(super) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Tells people.
///
/// # Errors
/// When nobody reads any more.
pub(super) fn print(context: &mut Context, findings: &[Finding]) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for finding in findings {
        let (word, tone) = match finding.state {
            State::Well => ("well", Tone::Good),
            State::Note => ("note", Tone::Dim),
            State::Warn => ("warn", Tone::Warn),
            State::Bad => ("BAD", Tone::Bad),
        };
        rows.push(vec![Cell::new(word).tone(tone), Cell::new(finding.check), Cell::new(&finding.found)]);
        if let Some(advice) = &finding.advice {
            rows.push(vec![Cell::new(""), Cell::new(""), Cell::new(format!("→ {advice}")).tone(Tone::Dim)]);
        }
    }
    table(&mut context.out, &[("", Side::Left), ("CHECK", Side::Left), ("FOUND", Side::Left)], &rows)?;
    Ok(())
}
