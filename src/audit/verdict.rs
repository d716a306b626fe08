//! What was found of a log: three verdicts, each about something of its own.

use std::fmt;

use serde::Serialize;

use crate::session::Seq;

/// What holds of a log, and what does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Whether each event is what was appended: the hash chain holds from the first event on, and ends where the head says.
    pub integrity: Verdict,
    /// Whether all of it is there: dense, nothing cut off, each action with an outcome.
    pub completeness: Verdict,
    /// Whether it folds to every state that is recorded in it.
    pub determinism: Verdict,
}

/// One verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It holds so far: these actions have no outcome yet, and the session is not closed.
    Open {
        /// The actions.
        actions: Vec<Seq>,
    },
    /// It does not hold.
    Fails {
        /// The first event that is bad; unset where what is wrong lies in no event.
        bad: Option<Seq>,
        /// What is wrong.
        what: String,
    },
    /// It could not be judged, which is no failure.
    Unjudged {
        /// Why not.
        what: String,
    },
}

impl Verdict {
    /// The word for it, the same in every output.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Open { .. } => "open",
            Self::Fails { .. } => "fails",
            Self::Unjudged { .. } => "unjudged",
        }
    }

    /// What is wrong, where something is.
    pub const fn failure(&self) -> Option<(Option<Seq>, &String)> {
        match self {
            Self::Fails { bad, what } => Some((*bad, what)),
            Self::Holds | Self::Open { .. } | Self::Unjudged { .. } => None,
        }
    }

    /// An event that is bad.
    pub(crate) fn bad(seq: Seq, what: impl Into<String>) -> Self {
        Self::Fails { bad: Some(seq), what: what.into() }
    }
}

/// The word, and what there is to say to it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Holds => Ok(()),
            Self::Open { actions } => {
                let first = actions.first().copied().unwrap_or_default();
                match actions.len() {
                    1 => write!(f, ": action {first} has no outcome yet"),
                    count => write!(f, ": {count} actions have no outcome yet, the first is event {first}"),
                }
            }
            Self::Fails { what, .. } | Self::Unjudged { what } => write!(f, ": {what}"),
        }
    }
}

impl Verdicts {
    /// The same reason for not judging anything.
    pub fn unjudged(what: &str) -> Self {
        let unjudged = || Verdict::Unjudged { what: what.to_owned() };
        Self { integrity: unjudged(), completeness: unjudged(), determinism: unjudged() }
    }

    /// Each with its name.
    pub fn each(&self) -> [(&'static str, &Verdict); 3] {
        [("integrity", &self.integrity), ("completeness", &self.completeness), ("determinism", &self.determinism)]
    }

    /// What is wrong at the first bad event; what lies in no event comes last.
    pub fn first_failure(&self) -> Option<(Option<Seq>, &String)> {
        let failures = self.each().into_iter().filter_map(|(_, verdict)| verdict.failure());
        failures.min_by_key(|(bad, _)| bad.map_or(u64::MAX, |bad| bad.0))
    }

    /// Whether nothing fails.
    pub fn hold(&self) -> bool {
        self.first_failure().is_none()
    }
}
