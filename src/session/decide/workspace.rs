//! What is kept of the workspace, and whether it is still there after a takeover.

use super::Deciding;
use crate::session::action::{Action, Message};
use crate::session::command::Rejection;
use crate::session::effect::Effect;
use crate::session::event::{Entry, Event};
use crate::session::id::Digest;
use crate::session::item::Item;
use crate::session::workspace::{Comparison, SnapshotDue, WorkspaceCaptured, WorkspaceCompared, WorkspaceNotCaptured};

impl Deciding {
    pub(super) fn keep_snapshot(&mut self, captured: WorkspaceCaptured) -> Result<(), Rejection> {
        self.waits_for_snapshot()?;
        self.emit(Event::WorkspaceCaptured(captured));
        Ok(())
    }

    pub(super) fn miss_snapshot(&mut self, missed: WorkspaceNotCaptured) -> Result<(), Rejection> {
        self.waits_for_snapshot()?;
        self.emit(Event::WorkspaceNotCaptured(missed));
        Ok(())
    }

    fn waits_for_snapshot(&self) -> Result<(), Rejection> {
        match self.session.next_effect() {
            Some(Effect::Capture) => Ok(()),
            _ => Err(Rejection::Stale("a snapshot of the workspace".to_owned())),
        }
    }

    /// What is otherwise than the log says is told to the agent, too, unless it may itself have done it.
    pub(super) fn compare_workspace(&mut self, manifest: Digest, comparison: Comparison) -> Result<(), Rejection> {
        let waited = match self.session.next_effect() {
            Some(Effect::Compare { last }) if last.manifest == manifest => Some(last),
            _ => None,
        };
        let Some(last) = waited else {
            return Err(Rejection::Stale("a comparison of the workspace".to_owned()));
        };
        let ran = self.session.snapshots.is_some_and(|snapshots| snapshots.due == SnapshotDue::AtRest);
        let told = match &comparison {
            Comparison::Differs(differences) if !ran && self.session.has_agent() => Some(differences.to_string()),
            _ => None,
        };
        self.emit(Event::WorkspaceCompared(WorkspaceCompared { manifest, since: last.at, ran, comparison }));
        if let Some(told) = told {
            let content = format!("The workspace is not as it was left: {told}.");
            let message = Action::Message(Message { content, ..Message::default() });
            self.emit(Event::Item(Box::new(Entry::new(Item::from(message)))));
        }
        Ok(())
    }
}
