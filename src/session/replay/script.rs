//! Reads a recording as a script: which entries are performed, in order, and what was recorded as their outcome.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{NORMALISERS, ReplayPlan};
use crate::session::action::{Action, Confirmation};
use crate::session::envelope::{Kind, Source};
use crate::session::item::{Content, Item};

/// How many unreadable entries a plan names one by one.
const UNKNOWN_NAMED_MAX: usize = 100;

/// One entry of a recording, as far as it could be read.
#[derive(Debug, Clone)]
pub struct RecordedEntry {
    /// Its kind, known or not.
    pub kind: Kind,
    /// The action or observation, or why it could not be read.
    pub item: Result<Item, String>,
}

/// What is performed, in order.
#[derive(Debug, Clone, Default)]
pub struct Script {
    lines: Vec<Line>,
    plan: ReplayPlan,
}

/// One thing to perform.
#[derive(Debug, Clone)]
pub struct Line {
    /// The recorded entry.
    pub index: u64,
    /// What to do.
    pub step: Step,
}

/// What one line does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Says or does something: a message, or an action with what came of it when it was recorded.
    Perform {
        /// The recorded action.
        item: Box<Item>,
        /// What the recording says came of it.
        expected: Option<Box<Item>>,
    },
    /// Cannot be read.
    Unknown {
        /// The entry's kind.
        kind: Kind,
        /// Why.
        why: String,
    },
}

/// Entries of one kind that are left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteppedOver {
    /// Their kind.
    pub kind: Kind,
    /// Why.
    pub why: String,
    /// How many.
    pub count: u64,
    /// The index of the first.
    pub first: u64,
}

/// An entry that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownEntry {
    /// Its index.
    pub index: u64,
    /// Its kind.
    pub kind: Kind,
    /// Why.
    pub why: String,
}

impl Script {
    /// Reads a recording.
    pub fn read(entries: Vec<RecordedEntry>) -> Self {
        let mut script = Self::default();
        script.plan.entries = entries.len() as u64;
        script.plan.normalisers = NORMALISERS.to_owned();
        let mut outcomes = Outcomes::default();
        for (index, entry) in (0u64..).zip(entries) {
            match entry.item {
                Err(why) => script.unknown(index, entry.kind, why),
                Ok(item) => match &item.content {
                    Content::Observation(_) => outcomes.take(&mut script.lines, item),
                    Content::Action(action) => match left_out(action, item.source) {
                        Some(why) => script.step_over(index, entry.kind, why),
                        None => {
                            match action {
                                Action::Message(_) => script.plan.messages += 1,
                                _ => script.plan.actions += 1,
                            }
                            outcomes.expect_after(&item, script.lines.len());
                            script.lines.push(Line { index, step: Step::Perform { item: Box::new(item), expected: None } });
                        }
                    },
                },
            }
        }
        script
    }

    /// What will be performed and what will not.
    pub const fn plan(&self) -> &ReplayPlan {
        &self.plan
    }

    /// How many lines there are.
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is nothing to perform.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The first line at or behind entry `index`.
    pub fn line_from(&self, index: u64) -> Option<&Line> {
        self.lines.get(self.lines.partition_point(|line| line.index < index))
    }

    /// The first line at or behind entry `index`, without those that cannot be read where they are stepped over.
    pub fn line_to_perform(&self, index: u64, step_over: bool) -> Option<&Line> {
        let from = self.lines.partition_point(|line| line.index < index);
        let mut lines = self.lines.get(from..).unwrap_or_default().iter();
        lines.find(|line| !(step_over && matches!(line.step, Step::Unknown { .. })))
    }

    fn unknown(&mut self, index: u64, kind: Kind, why: String) {
        if self.plan.unknown.len() < UNKNOWN_NAMED_MAX {
            self.plan.unknown.push(UnknownEntry { index, kind: kind.clone(), why: why.clone() });
        }
        self.lines.push(Line { index, step: Step::Unknown { kind, why } });
    }

    fn step_over(&mut self, index: u64, kind: Kind, why: &str) {
        match self.plan.stepped_over.iter_mut().find(|group| group.kind == kind && group.why == why) {
            Some(group) => group.count += 1,
            None => self.plan.stepped_over.push(SteppedOver { kind, why: why.to_owned(), count: 1, first: index }),
        }
    }
}

/// Why an action is not performed again; `None` when it is.
fn left_out(action: &Action, source: Option<Source>) -> Option<&'static str> {
    if source == Some(Source::Environment) {
        return Some("made by the environment, which makes its own");
    }
    match action {
        Action::Null => Some("does nothing"),
        Action::System(_) => Some("the prompt of a model that is not asked"),
        Action::Recall(_) => Some("a question to memory, not an action of the agent"),
        Action::Condensation(_) | Action::CondensationRequest => Some("names events of the recording"),
        Action::ChangeAgentState(_) => Some("the state follows from what is performed"),
        Action::Delegate(_) => Some("the delegate's own actions are in the recording"),
        Action::TaskTracking(_) => Some("kept by an agent that is not asked"),
        Action::LoopRecovery(_) => Some("recovers an agent that is not asked"),
        Action::Run(run) if run.confirmation_state == Confirmation::AwaitingConfirmation => {
            Some("recorded again with the answer of the person")
        }
        Action::RunIpython(cell) if cell.confirmation_state == Confirmation::AwaitingConfirmation => {
            Some("recorded again with the answer of the person")
        }
        Action::Run(_)
        | Action::RunIpython(_)
        | Action::Browse(_)
        | Action::BrowseInteractive(_)
        | Action::Read(_)
        | Action::Write(_)
        | Action::Edit(_)
        | Action::Think(_)
        | Action::Finish(_)
        | Action::Reject(_)
        | Action::Message(_)
        | Action::CallToolMcp(_) => None,
    }
}

/// Finds the action that a recorded observation answers.
#[derive(Default)]
struct Outcomes {
    by_id: HashMap<i64, usize>,
    latest: Option<usize>,
}

impl Outcomes {
    fn expect_after(&mut self, item: &Item, line: usize) {
        if let Some(id) = item.id {
            self.by_id.insert(id, line);
        }
        self.latest = match &item.content {
            Content::Action(action) if action.is_runnable() || matches!(action, Action::Think(_)) => Some(line),
            _ => None,
        };
    }

    /// By cause where the recording has one; else the observation belongs to the action right before it.
    fn take(&mut self, lines: &mut [Line], observation: Item) {
        let line = match observation.cause {
            Some(cause) => self.by_id.get(&cause).copied(),
            None => self.latest.take(),
        };
        if let Some(Line { step: Step::Perform { expected, .. }, .. }) = line.and_then(|line| lines.get_mut(line)) {
            expected.get_or_insert_with(|| Box::new(observation));
        }
    }
}
