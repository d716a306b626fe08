//! What an agent did, call by call, each with what came of it.

use std::collections::{BTreeSet, HashMap};

use super::Projection;
use crate::session::{Action, Content, Event, Extras, Observation, Recorded, Seq, Source, Timestamp};

/// What of a session counts as a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counted {
    /// Calls of tools.
    #[default]
    Calls,
    /// What was said and thought, too.
    CallsAndWords,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The event that asked for it.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: Action,
    /// What came of it; unset while nothing has.
    pub outcome: Option<Outcome>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The event that says so.
    pub seq: Seq,
    /// What was seen.
    pub observation: Observation,
}

/// The steps of a session, in order.
#[derive(Debug, Clone, Default)]
pub struct Steps {
    counted: Counted,
    steps: Vec<Step>,
    /// Where the step of an event stands.
    of_event: HashMap<Seq, usize>,
    /// Where the actions of an imported recording stand, by the ids that the recording gave them.
    imported: HashMap<i64, Seq>,
}

impl Steps {
    /// None yet.
    pub fn counting(counted: Counted) -> Self {
        Self { counted, ..Self::default() }
    }

    /// What was done so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The files that were written or edited with the agent's tools, and took it.
    pub fn files(&self) -> BTreeSet<&str> {
        let took = |step: &&Step| step.outcome.as_ref().is_some_and(|outcome| worked(&outcome.observation));
        self.steps
            .iter()
            .filter(took)
            .filter_map(|step| match &step.action {
                Action::Write(write) => Some(write.path.as_str()),
                Action::Edit(edit) if edit.command != "view" => Some(edit.path.as_str()),
                _ => None,
            })
            .collect()
    }

    fn counts(&self, action: &Action, source: Source) -> bool {
        match action {
            Action::Null
            | Action::Recall(_)
            | Action::ChangeAgentState(_)
            | Action::System(_)
            | Action::Condensation(_)
            | Action::CondensationRequest
            | Action::LoopRecovery(_) => false,
            Action::Message(_) => self.counted == Counted::CallsAndWords,
            Action::Think(_) => self.counted == Counted::CallsAndWords && source == Source::Agent,
            _ => true,
        }
    }
}

/// Whether an observation says that something was done to a file: editors report a refusal in an ordinary one.
fn worked(observation: &Observation) -> bool {
    matches!(observation.extras, Extras::Write(_) | Extras::Edit(_)) && !observation.content.trim_start().starts_with("ERROR:")
}

impl Projection for Steps {
    fn apply(&mut self, event: &Recorded) {
        let Event::Item(entry) = Event::read(event) else { return };
        match entry.item.content {
            Content::Action(action) => {
                if let Some(id) = entry.item.id {
                    self.imported.insert(id, event.seq);
                }
                if self.counts(&action, event.source) {
                    self.of_event.insert(event.seq, self.steps.len());
                    self.steps.push(Step { seq: event.seq, at: event.at, action, outcome: None });
                }
            }
            Content::Observation(observation) => {
                if matches!(observation.extras, Extras::AgentStateChanged(_) | Extras::Null) {
                    return;
                }
                // One of an import names its action by the recording's ids, or follows it.
                let cause = event.cause.or_else(|| entry.item.cause.and_then(|id| self.imported.get(&id).copied()));
                let step = match cause {
                    Some(cause) => self.of_event.get(&cause).and_then(|index| self.steps.get_mut(*index)),
                    None if event.source != Source::User => self.steps.last_mut(),
                    None => None,
                };
                if let Some(Step { outcome: outcome @ None, .. }) = step {
                    *outcome = Some(Outcome { seq: event.seq, observation });
                }
            }
        }
    }
}
