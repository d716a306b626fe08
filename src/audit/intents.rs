//! Which actions were meant to be done, and which of them have an outcome: read from the log as anybody can, without its fold.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::session::{Action, Recorded, Seq};

/// Follows the actions of one log.
#[derive(Debug, Default)]
pub struct Intents {
    /// Whether the session has an agent, which also recalls and delegates.
    has_agent: bool,
    /// Whether it holds another system's recording, of which nothing is done.
    is_import: bool,
    open: BTreeSet<Seq>,
    /// Those without an outcome when the session was closed.
    lost: BTreeSet<Seq>,
}

impl Intents {
    /// Takes the next event.
    pub fn event(&mut self, event: &Recorded) {
        let (kind, tag) = (event.kind.as_str(), event.kind.tag());
        match event.kind.family() {
            "observation" => {
                if let Some(cause) = event.cause {
                    self.open.remove(&cause);
                }
            }
            "action" if self.is_import => {}
            "action" if Action::RUNNABLE.contains(&tag) || (self.has_agent && matches!(tag, "recall" | "delegate")) => {
                self.open.insert(event.seq);
            }
            "session" if kind == "session.created" => {
                let body: Value = serde_json::from_str(event.body.as_json()).unwrap_or_default();
                self.has_agent = body.pointer("/spec/agent").is_some_and(|agent| !agent.is_null());
                self.is_import = body.pointer("/spec/origin/type").is_some_and(|origin| origin == "import");
            }
            "session" if kind == "session.closed" => self.lost.append(&mut self.open),
            _ => {}
        }
    }

    /// Actions without an outcome in a session that is not closed.
    pub fn open(&self) -> impl Iterator<Item = Seq> {
        self.open.iter().copied()
    }

    /// The first action that a closed session left without an outcome.
    pub fn first_lost(&self) -> Option<Seq> {
        self.lost.first().copied()
    }
}
