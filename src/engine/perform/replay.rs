//! The recording that a session performs again.

use std::sync::Arc;

use super::Performing;
use crate::engine::ports::Pass;
use crate::session::replay::{Script, Step};
use crate::session::{Action, Command, Content, Observation, OnUnknown, Origin, Seq, StepDone};

impl Performing {
    pub(super) async fn read_recording(&mut self) -> Result<StepDone, String> {
        let script = self.script().await?;
        if script.is_empty() {
            return Err("the recording holds no message and no action to perform".to_owned());
        }
        Ok(StepDone::Recording(script.plan().clone()))
    }

    /// The recording as a script, read from the blob that the session names.
    pub(super) async fn script(&mut self) -> Result<Arc<Script>, String> {
        if let Some(script) = &self.holding.script {
            return Ok(Arc::clone(script));
        }
        let digest = match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { trajectory, .. }) => *trajectory,
            _ => return Err("the session performs no recording".to_owned()),
        };
        let bytes = self.shared.store.blob(self.id, digest).await.map_err(|error| error.to_string())?;
        let bytes = bytes.ok_or_else(|| format!("the recording {digest} is not in the store"))?;
        let read = self.shared.ports.recordings;
        let script = tokio::task::spawn_blocking(move || read(&bytes).map(Script::read)).await;
        let script = Arc::new(script.map_err(|error| error.to_string())??);
        self.holding.script = Some(Arc::clone(&script));
        Ok(script)
    }

    pub(super) async fn read_line(&mut self, from: u64) -> Command {
        let script = match self.script().await {
            Ok(script) => script,
            Err(reason) => return Command::StopReplay { index: from, reason },
        };
        let step_over = matches!(
            self.session.spec.as_ref().map(|spec| &spec.origin),
            Some(Origin::Replay { on_unknown: OnUnknown::StepOver, .. })
        );
        match script.line_to_perform(from, step_over) {
            Some(line) => {
                self.holding.not_run = match self.shared.ports.gate.pass(self.id, line).await {
                    Pass::Perform => None,
                    Pass::NotRun(why) => Some((line.index, why)),
                };
                Command::Perform { line: Box::new(line.clone()) }
            }
            None => Command::EndRecording,
        }
    }

    /// Why an action of a recording is not run; `None` when it is.
    pub(super) fn not_run(&self, seq: Seq, action: &Action) -> Option<String> {
        let index = self.session.open.iter().find(|open| open.seq == seq)?.recorded?;
        let told = self.holding.not_run.as_ref().filter(|(of, _)| *of == index).map(|(_, why)| why.clone());
        // A server is no part of what is made again, and what it did once it would do twice.
        let server = || match action {
            Action::CallToolMcp(_) if self.holding.tools.is_none() => Some("no server of its own brings this tool".to_owned()),
            _ => None,
        };
        told.or_else(server)
    }

    /// What the recording says came of the action at `seq`.
    pub(super) async fn recorded_outcome(&mut self, seq: Seq) -> Option<Box<Observation>> {
        let index = self.session.open.iter().find(|open| open.seq == seq)?.recorded?;
        let script = self.script().await.ok()?;
        match &script.line_from(index)?.step {
            Step::Perform { expected: Some(item), .. } => match &item.content {
                Content::Observation(observation) => Some(Box::new(observation.clone())),
                Content::Action(_) => None,
            },
            _ => None,
        }
    }
}
