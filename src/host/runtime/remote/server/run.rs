//! What was handed over, performed.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::engine::ports::{Prepared, Runtime, RuntimeError, Timeout};
use crate::host::runtime::remote::wire::{ANSWER_MAX, Answer, Task};
use crate::session::{Action, Content, Item, Observation};

/// How much of what is said remains of an answer that is too long, in bytes.
const CONTENT_MAX: usize = 64 * 1024;

/// What came of a task.
pub(super) struct Outcome {
    /// An [`Answer`] as JSON.
    pub(super) answer: String,
    /// Whether the runtime is good for nothing any more.
    pub(super) runtime_is_lost: bool,
}

impl Outcome {
    pub(super) fn lost(why: String) -> Self {
        Self::of(&Answer::Lost(why))
    }

    fn of(answer: &Answer) -> Self {
        let answer = serde_json::to_string(answer).unwrap_or_default();
        Self { answer, runtime_is_lost: false }
    }

    fn failed(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Unavailable(error) => Self::of(&Answer::Unavailable(error)),
            RuntimeError::Failed(error) => Self::of(&Answer::Failed(error)),
            RuntimeError::Lost(error) => Self { runtime_is_lost: true, ..Self::lost(error) },
        }
    }
}

/// Performs a task.
pub(super) async fn perform(runtime: &dyn Runtime, task: Task) -> Outcome {
    let (action, hard_ms, quiet_ms) = match task {
        Task::Action { action, hard_ms, quiet_ms } => (action, hard_ms, quiet_ms),
        Task::Prepare(preparation) => return prepared(runtime.prepare(preparation.into()).await),
    };
    let timeout = Timeout { hard: Duration::from_millis(hard_ms), quiet: Duration::from_millis(quiet_ms) };
    match decoded(action.get()) {
        Ok(action) => match runtime.execute(&action, timeout).await {
            Ok(observation) => Outcome::of(&observed(observation)),
            Err(error) => Outcome::failed(error),
        },
        Err(why) => Outcome::of(&Answer::Failed(why)),
    }
}

fn prepared(prepared: Result<Prepared, RuntimeError>) -> Outcome {
    match prepared {
        Ok(Prepared::Done(report)) => Outcome::of(&Answer::Done(report)),
        Ok(Prepared::Skipped(reason)) => Outcome::of(&Answer::Skipped(reason)),
        Err(error) => Outcome::failed(error),
    }
}

/// The action that a text says.
fn decoded(text: &str) -> Result<Action, String> {
    match Item::decode(text).map(|item| item.content) {
        Ok(Content::Action(action)) => Ok(action),
        Ok(Content::Observation(_)) => Err("this is an observation, and an action is wanted".to_owned()),
        Err(error) => Err(format!("the action cannot be read: {error}")),
    }
}

fn observed(observation: Observation) -> Answer {
    let text = Item::from(observation.clone()).encode_body();
    let text = if text.len() > ANSWER_MAX / 2 { Item::from(shortened(observation)).encode_body() } else { text };
    match RawValue::from_string(text) {
        Ok(raw) => Answer::Observed(raw),
        Err(error) => Answer::Failed(format!("the observation cannot be written: {error}")),
    }
}

/// What is said of an observation that is too long to be sent.
fn shortened(observation: Observation) -> Observation {
    let end = observation.content.floor_char_boundary(CONTENT_MAX);
    let head = observation.content.get(..end).unwrap_or_default();
    Observation::error(format!("{head}\n[The rest was too long to be sent and was left out.]"), "")
}
