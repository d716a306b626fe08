//! Compares what came of an action with what the recording says came of it.

use serde::{Deserialize, Serialize};

use super::normalise::{Normaliser, normalise};
use crate::session::observation::{Extras, Observation};

/// How much of a differing text a difference shows, in characters.
const SHOWN_MAX: usize = 400;

/// How an outcome compares with the recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Verdict {
    /// Equal.
    Same,
    /// Equal once these were applied to both.
    Normalised {
        /// The normalisers that were needed.
        by: Vec<Normaliser>,
    },
    /// Different.
    Diverged {
        /// In what.
        differences: Vec<Difference>,
    },
    /// The recording has no outcome for this action.
    Unrecorded,
    /// The engine stopped while the action ran, so there is no outcome to compare.
    OutcomeUnknown,
    /// The action was not run: its outcome is the recorded one.
    NotRun {
        /// Why.
        why: String,
    },
}

/// One respect in which two outcomes differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which: `observation`, `exit_code`, `content` …
    pub field: String,
    /// What the recording says, shortened.
    pub recorded: String,
    /// What came of it now, shortened.
    pub actual: String,
}

/// Compares the outcome of an action with the recorded one.
///
/// What counts: the kind of the observation; for commands the exit code and the output; for files whether it worked, and the text
/// that the file has afterwards or that was read. Host, user, process ids and interpreters never count.
pub fn compare(recorded: Option<&Observation>, actual: &Observation) -> Verdict {
    let Some(recorded) = recorded else {
        return Verdict::Unrecorded;
    };
    let mut comparing = Comparing::default();
    if recorded.extras.tag() == actual.extras.tag() {
        comparing.extras(recorded, actual);
    } else {
        comparing.differ("observation", recorded.extras.tag(), actual.extras.tag());
        comparing.text("content", &recorded.content, &actual.content);
    }
    comparing.verdict()
}

#[derive(Default)]
struct Comparing {
    differences: Vec<Difference>,
    needed: Vec<Normaliser>,
}

impl Comparing {
    fn extras(&mut self, recorded: &Observation, actual: &Observation) {
        match (&recorded.extras, &actual.extras) {
            (Extras::Run(before), Extras::Run(now)) => {
                self.exact("exit_code", &before.metadata.exit_code, &now.metadata.exit_code);
                self.text("content", &recorded.content, &actual.content);
            }
            (Extras::Edit(before), Extras::Edit(now)) => {
                // The wording of editors changes between versions; what they did to the file does not.
                self.exact("worked", &!is_refusal(&recorded.content), &!is_refusal(&actual.content));
                if let (Some(before), Some(now), false) =
                    (&before.new_content, &now.new_content, before.prev_exist || now.prev_exist)
                {
                    self.text("new_content", before, now);
                }
            }
            (Extras::Write(_), Extras::Write(_)) => {
                self.exact("worked", &!is_refusal(&recorded.content), &!is_refusal(&actual.content));
            }
            (Extras::Think, Extras::Think) => {}
            _ => self.text("content", &recorded.content, &actual.content),
        }
    }

    fn exact<T: PartialEq + std::fmt::Display>(&mut self, field: &str, recorded: &T, actual: &T) {
        if recorded != actual {
            self.differ(field, &recorded.to_string(), &actual.to_string());
        }
    }

    fn text(&mut self, field: &str, recorded: &str, actual: &str) {
        if recorded == actual {
            return;
        }
        let (before, mut needed) = normalise(recorded);
        let (now, also) = normalise(actual);
        if before == now {
            needed.extend(also);
            self.needed.extend(needed);
        } else {
            let (before, now) = from_first_difference(&before, &now);
            self.differ(field, before, now);
        }
    }

    fn differ(&mut self, field: &str, recorded: &str, actual: &str) {
        self.differences.push(Difference { field: field.to_owned(), recorded: shorten(recorded), actual: shorten(actual) });
    }

    fn verdict(mut self) -> Verdict {
        if !self.differences.is_empty() {
            return Verdict::Diverged { differences: self.differences };
        }
        self.needed.sort_unstable();
        self.needed.dedup();
        if self.needed.is_empty() { Verdict::Same } else { Verdict::Normalised { by: self.needed } }
    }
}

/// The editor of the peer reports a refusal in an ordinary observation.
fn is_refusal(content: &str) -> bool {
    content.trim_start().starts_with("ERROR:")
}

/// Both texts from the line in which they first differ.
fn from_first_difference<'a>(a: &'a str, b: &'a str) -> (&'a str, &'a str) {
    let same: usize =
        a.split_inclusive('\n').zip(b.split_inclusive('\n')).take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum();
    (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default())
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
