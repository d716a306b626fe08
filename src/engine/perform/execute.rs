//! Actions: handed to the runtime, to memory or to a server, each with the time that it may take.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::Performing;
use crate::engine::error::EngineError;
use crate::engine::ports::{ActionKey, Runtime, RuntimeError, Timeout};
use crate::session::action::{CallToolMcp, Recall};
use crate::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN};
use crate::session::mask::HIDDEN;
use crate::session::{Action, Command, Content, Event, Observation, Seq};
use crate::store::{Read, Row};

/// How long a runtime may take beyond an action's own timeout before it counts as lost.
const EXECUTE_GRACE: Duration = Duration::from_secs(20);

impl Performing {
    pub(super) async fn execute(&mut self, seq: Seq, attempt: u32) -> Result<Command, EngineError> {
        let Some((action, timeout)) = self.action(seq).await else {
            let text = "The action cannot be read from the log, so it was not executed.";
            let observation = Box::new(Observation::error(text, NOT_EXECUTED));
            return Ok(Command::Observe { action: seq, observation, recorded: None });
        };
        if let Some(why) = self.not_run(seq, &action) {
            let recorded = self.recorded_outcome(seq).await;
            return Ok(Command::TakeRecorded { action: seq, recorded, why });
        }
        let beside = match &action {
            Action::Recall(recall) => Some(self.recall(recall, timeout).await),
            Action::CallToolMcp(call) => Some(self.call_tool(call, timeout).await?),
            action => self.would_lose_a_value(seq, action),
        };
        if let Some(observation) = beside {
            let recorded = self.recorded_outcome(seq).await;
            return Ok(Command::Observe { action: seq, observation: Box::new(observation), recorded });
        }
        let Some(runtime) = self.holding.runtime.clone() else {
            return Ok(Command::LoseRuntime { error: "it is not there".to_owned() });
        };
        let recorded = self.recorded_outcome(seq).await;
        // Once more, since reading took time: nothing may lie between this and the dispatch.
        self.own().await?;
        let key = ActionKey { action: seq, attempt };
        Ok(match tokio::time::timeout(timeout.hard + EXECUTE_GRACE, runtime.execute_keyed(key, &action, timeout)).await {
            Ok(Ok(observation)) => Command::Observe { action: seq, observation: Box::new(observation), recorded },
            Ok(Err(RuntimeError::Lost(error) | RuntimeError::Unavailable(error) | RuntimeError::Failed(error))) => {
                self.lose(&runtime, error).await
            }
            Err(_) => self.lose(&runtime, "it did not answer in time".to_owned()).await,
        })
    }

    /// What memory says; that it cannot be had is told to the agent, and ends nothing.
    async fn recall(&mut self, recall: &Recall, timeout: Timeout) -> Observation {
        let remembered = tokio::time::timeout(timeout.hard, self.memory()).await;
        match remembered.unwrap_or_else(|_| Err(format!("there was no answer within {} s", timeout.hard.as_secs()))) {
            Ok(remembered) => remembered.memory.recall(recall, &self.session.told, self.shared.clock.now()),
            Err(error) => Observation::error(format!("Nothing could be recalled: {error}"), NOT_EXECUTED),
        }
    }

    /// Calls a tool of a server. An engine that reaches none says so.
    async fn call_tool(&mut self, call: &CallToolMcp, timeout: Timeout) -> Result<Observation, EngineError> {
        let Some(joined) = self.holding.tools.clone() else {
            let text = format!("No server brings the tool {}.", call.name);
            return Ok(Observation::error(text, NOT_EXECUTED));
        };
        self.own().await?;
        let span = tracing::info_span!("tool.call", tool = call.name);
        let calling = joined.tools.call(call, timeout.hard).instrument(span);
        let called = tokio::time::timeout(timeout.hard + EXECUTE_GRACE, calling).await;
        Ok(called.unwrap_or_else(|_| {
            let text =
                format!("{} did not answer within {} s; whether it did anything is unknown.", call.name, timeout.hard.as_secs());
            Observation::error(text, OUTCOME_UNKNOWN)
        }))
    }

    /// Refuses to write into a file what stands in the log for a value: the value that the file had would be gone. What a recording did
    /// is done as it was.
    fn would_lose_a_value(&self, seq: Seq, action: &Action) -> Option<Observation> {
        let written = match action {
            Action::Write(write) => [Some(&write.content), None, None],
            Action::Edit(edit) => [edit.file_text.as_ref(), edit.new_str.as_ref(), Some(&edit.content)],
            _ => return None,
        };
        let is_recorded = self.session.open.iter().any(|open| open.seq == seq && open.recorded.is_some());
        let marked = written.into_iter().flatten().any(|text| text.contains(HIDDEN));
        (marked && !is_recorded && self.mask.masker().is_some()).then(|| {
            let text = format!(
                "Nothing was written: the text holds {HIDDEN}, which stands for a secret's value that you are not shown. Change other \
                 parts of the file only, or let a command write the value from its environment variable."
            );
            Observation::error(text, NOT_EXECUTED)
        })
    }

    /// A runtime that cannot be trusted any more is ended before another one is made.
    async fn lose(&mut self, runtime: &Arc<dyn Runtime>, error: String) -> Command {
        if tokio::time::timeout(EXECUTE_GRACE, runtime.release()).await.is_err() {
            tracing::warn!(session.id = %self.id, "a lost runtime could not be ended in time");
        }
        self.holding.runtime = None;
        Command::LoseRuntime { error }
    }

    /// The action at `seq`, and how long it may take.
    pub(super) async fn action(&self, seq: Seq) -> Option<(Action, Timeout)> {
        let read = Read::one(self.id, seq);
        let page = self.shared.store.read(read).await.ok()?;
        let Some(Row::Event { event, .. }) = page.rows.first() else {
            return None;
        };
        let Event::Item(entry) = Event::read(event) else {
            return None;
        };
        let deadlines = self.session.spec.as_ref().map(|spec| spec.deadlines).unwrap_or_default();
        let asked = entry.item.timeout.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let hard =
            asked.map_or_else(|| Duration::from_millis(deadlines.action_ms), |seconds| Duration::from_secs_f64(seconds.min(1e6)));
        let hard = hard.min(Duration::from_millis(deadlines.action_max_ms));
        let quiet = Duration::from_millis(deadlines.quiet_ms);
        match entry.item.content {
            Content::Action(action) => Some((action, Timeout { hard, quiet })),
            Content::Observation(_) => None,
        }
    }
}
