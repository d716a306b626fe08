//! Performing a recording again: what of it is performed, and how each outcome is compared with the recorded one.

mod compare;
mod normalise;
mod script;
pub mod verify;

use super::omit::is_zero;
use serde::{Deserialize, Serialize};

pub use compare::{Difference, Verdict, compare};
pub use normalise::{NORMALISERS, Normaliser, normalise};
pub use script::{Line, RecordedEntry, Script, Step, SteppedOver, UnknownEntry};

/// What of a recording will be performed, and what will not: fixed when the replay begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplayPlan {
    /// Entries of the recording.
    pub entries: u64,
    /// Messages that re-enter.
    pub messages: u64,
    /// Actions that are performed again.
    pub actions: u64,
    /// The version of the normalisers that verdicts are made with.
    pub normalisers: String,
    /// What is left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stepped_over: Vec<SteppedOver>,
    /// What this version cannot read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownEntry>,
}

/// How a replay ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReplayOutcome {
    /// Every line was performed.
    Completed,
    /// It ended before the recording did.
    Stopped {
        /// The recorded entry at which it ended.
        index: u64,
        /// Why.
        reason: String,
    },
}

/// How far a replay has come: part of the session's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// Entries of the recording.
    pub entries: u64,
    /// Messages and actions to perform.
    pub lines: u64,
    /// Messages and actions performed so far.
    pub performed: u64,
    /// The first recorded entry that is still to be looked at.
    pub next: u64,
    /// Verdicts so far.
    pub verdicts: VerdictCounts,
    /// How it ended; unset while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReplayOutcome>,
}

/// How many outcomes compared how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerdictCounts {
    /// Equal to the recorded one.
    pub same: u64,
    /// Equal but for what always differs.
    pub normalised: u64,
    /// Different.
    pub diverged: u64,
    /// The recording has no outcome to compare with.
    pub unrecorded: u64,
    /// The outcome itself is unknown: the engine stopped while the action ran.
    pub unknown: u64,
    /// Taken from the recording: the action was not run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_run: u64,
}

impl VerdictCounts {
    /// Each with what it is called.
    pub const fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("same", self.same),
            ("same but for what always differs", self.normalised),
            ("diverged", self.diverged),
            ("without a recorded outcome", self.unrecorded),
            ("of unknown outcome", self.unknown),
            ("recorded, not run", self.not_run),
        ]
    }

    /// Counts one more.
    pub const fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Normalised { .. } => self.normalised += 1,
            Verdict::Diverged { .. } => self.diverged += 1,
            Verdict::Unrecorded => self.unrecorded += 1,
            Verdict::OutcomeUnknown => self.unknown += 1,
            Verdict::NotRun { .. } => self.not_run += 1,
        }
    }
}
