//! The conversation as people read it: who said and did what, and what came of it, one entry per action.

use std::collections::HashMap;

use serde::Serialize;

use super::Projection;
use crate::session::event::{ReplayCompared, StateChanged};
use crate::session::replay::Verdict;
use crate::session::{Action, AgentState, Content, Event, Extras, Observation, Recorded, Seq, Source, Timestamp};

/// The conversation.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Transcript {
    /// Its entries, in order.
    pub entries: Vec<TranscriptEntry>,
    /// Where the actions of an imported recording stand, by the ids that the recording gave them.
    #[serde(skip)]
    imported: HashMap<i64, Seq>,
}

/// One thing that people read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranscriptEntry {
    /// The event that it begins with.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "super::moment")]
    pub at: Timestamp,
    /// Who.
    pub source: Source,
    /// What.
    pub said: Said,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    /// Words.
    Message {
        /// The text.
        text: String,
    },
    /// Something done.
    Action {
        /// The V0 tag.
        tag: String,
        /// Why, in the agent's words; may be empty.
        thought: String,
        /// What exactly: the command, the path, the code.
        what: String,
        /// What came of it; unset while nothing has.
        outcome: Option<OutcomeView>,
        /// How that compares with the recording; unset outside a replay.
        verdict: Option<Verdict>,
    },
    /// Something seen that answers no action.
    Observation {
        /// The V0 tag.
        tag: String,
        /// The text.
        text: String,
    },
    /// The agent's state changed.
    State {
        /// To what.
        state: AgentState,
        /// Why; may be empty.
        reason: String,
    },
    /// An entry that cannot be read; the log has it.
    Unreadable {
        /// Its kind.
        kind: String,
    },
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeView {
    /// The observation.
    pub seq: Seq,
    /// The V0 tag.
    pub tag: String,
    /// The exit code, of commands.
    pub exit_code: Option<i64>,
    /// The text.
    pub text: String,
}

impl Projection for Transcript {
    fn apply(&mut self, event: &Recorded) {
        let said = match Event::read(event) {
            Event::Item(entry) => match entry.item.content {
                Content::Action(action) => match self.acted(event, entry.item.id, action) {
                    Some(said) => said,
                    None => return,
                },
                Content::Observation(observation) => match self.observed(event, observation, entry.item.cause) {
                    Some(said) => said,
                    None => return,
                },
            },
            Event::StateChanged(StateChanged { state, reason, .. }) => Said::State { state, reason },
            Event::ReplayCompared(ReplayCompared { verdict, .. }) => {
                if let Some(Said::Action { verdict: known, .. }) = self.action(event.cause) {
                    *known = Some(verdict);
                }
                return;
            }
            Event::Unknown(kind) => Said::Unreadable { kind: kind.to_string() },
            _ => return,
        };
        self.entries.push(TranscriptEntry { seq: event.seq, at: event.at, source: event.source, said });
    }
}

impl Transcript {
    fn action(&mut self, seq: Option<Seq>) -> Option<&mut Said> {
        let seq = seq?;
        self.entries.iter_mut().rev().find(|entry| entry.seq == seq).map(|entry| &mut entry.said)
    }

    fn acted(&mut self, event: &Recorded, imported_id: Option<i64>, action: Action) -> Option<Said> {
        if let Some(id) = imported_id {
            self.imported.insert(id, event.seq);
        }
        said(action)
    }

    /// An observation goes to the action that it answers; an imported one names it by the recording's ids, or follows it.
    fn observed(&mut self, event: &Recorded, observation: Observation, imported_cause: Option<i64>) -> Option<Said> {
        let tag = observation.extras.tag().to_owned();
        let exit_code = match &observation.extras {
            Extras::Run(run) => Some(run.metadata.exit_code),
            Extras::AgentStateChanged(_) | Extras::Null => return None,
            _ => None,
        };
        let text = observation.content;
        let cause = event.cause.or_else(|| imported_cause.and_then(|id| self.imported.get(&id).copied()));
        let answered = match cause {
            Some(_) => self.action(cause),
            None if event.source != Source::User => self.entries.last_mut().map(|entry| &mut entry.said),
            None => None,
        };
        if let Some(Said::Action { outcome: outcome @ None, .. }) = answered {
            *outcome = Some(OutcomeView { seq: event.seq, tag, exit_code, text });
            return None;
        }
        Some(Said::Observation { tag, text })
    }
}

/// What exactly an action asks for, on as many lines as it takes: the command, the path, the code, the words.
pub fn described(action: &Action) -> String {
    match said(action.clone()) {
        Some(Said::Action { what, thought, .. }) if what.is_empty() => thought,
        Some(Said::Action { what, .. }) => what,
        Some(Said::Message { text }) => text,
        _ => String::new(),
    }
}

/// What an action says to people; `None` for what only machines need.
pub fn said(action: Action) -> Option<Said> {
    let tag = action.tag().to_owned();
    let (thought, what) = match action {
        Action::Message(message) => return Some(Said::Message { text: message.content }),
        Action::Run(run) => (run.thought, run.command),
        Action::RunIpython(cell) => (cell.thought, cell.code),
        Action::Browse(browse) => (browse.thought, browse.url),
        Action::BrowseInteractive(browse) => (browse.thought, browse.browser_actions),
        Action::Read(read) => (read.thought, read.path),
        Action::Write(write) => (write.thought, write.path),
        Action::Edit(edit) => (edit.thought, format!("{} {}", edit.command, edit.path).trim().to_owned()),
        Action::Think(think) => (think.thought, String::new()),
        Action::Finish(finish) => (finish.thought, finish.final_thought),
        Action::Reject(reject) => (reject.thought, String::new()),
        Action::Delegate(delegate) => (delegate.thought, delegate.agent),
        Action::CallToolMcp(call) => (call.thought, call.name),
        Action::TaskTracking(tasks) => (tasks.thought, tasks.command),
        Action::Null
        | Action::Recall(_)
        | Action::ChangeAgentState(_)
        | Action::System(_)
        | Action::Condensation(_)
        | Action::CondensationRequest
        | Action::LoopRecovery(_) => return None,
    };
    Some(Said::Action { tag, thought, what, outcome: None, verdict: None })
}
