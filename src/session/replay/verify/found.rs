//! What comes of deciding a log again.

use serde::Serialize;
use serde_json::Value;

use super::super::Difference;
use crate::session::decide::Decided;
use crate::session::envelope::{Kind, Recorded, Source};
use crate::session::id::Seq;

/// Something that today's code decides otherwise than the log says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// The first event that is not decided so today; one behind the last when today's code decides more.
    pub seq: Seq,
    /// What was asked of the session, or brought to it, when that was decided.
    pub command: &'static str,
    /// What of the code decides it.
    pub rule: &'static str,
    /// What the log holds; unset where it holds nothing.
    pub expected: Option<Shown>,
    /// What today's code decides; unset where it decides nothing.
    pub actual: Option<Shown>,
    /// In what the two differ.
    pub differences: Vec<Difference>,
    /// In words.
    pub explanation: String,
}

/// An event, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Its kind.
    pub kind: Kind,
    /// Who.
    pub source: Source,
    /// What it answers.
    pub cause: Option<Seq>,
    /// Its content.
    pub body: Value,
}

impl From<&Recorded> for Shown {
    fn from(event: &Recorded) -> Self {
        let body = serde_json::from_str(event.body.as_json()).unwrap_or_default();
        Self { kind: event.kind.clone(), source: event.source, cause: event.cause, body }
    }
}

impl From<&Decided> for Shown {
    fn from(decided: &Decided) -> Self {
        let body = serde_json::from_str(decided.body()).unwrap_or_default();
        Self { kind: decided.event.kind(), source: decided.source, cause: decided.cause, body }
    }
}

/// Events that cannot be decided again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unchecked {
    /// The first.
    pub seq: Seq,
    /// Its kind.
    pub kind: Kind,
    /// Why.
    pub why: &'static str,
    /// How many.
    pub events: u64,
}

/// How a log came out.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Redecided {
    /// How many events were read.
    pub events: u64,
    /// How many commands they were decided for, as the log tells them.
    pub commands: u64,
    /// How many events today's code decides as they stand there.
    pub decided: u64,
    /// How many are neither decided nor an answer to anything: the entries of an imported recording, and what a fork
    /// begins with.
    pub given: u64,
    /// What today's code decides otherwise.
    pub divergences: Vec<Divergence>,
    /// What was stepped over.
    pub unchecked: Vec<Unchecked>,
}

/// What of the code decides an event.
pub(super) fn rule(kind: &str, body: &Value) -> &'static str {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    match kind {
        "turn.state_changed" => match text("reason") {
            reason if reason.starts_with("AgentStuckInLoopError") => "loops of the agent",
            reason if reason.starts_with("RuntimeError: Agent reached") => "limits",
            _ if text("state") == "rate_limited" => "waiting for the model",
            _ if text("state") == "awaiting_user_confirmation" => "consent",
            _ => "the agent's state",
        },
        "turn.ended" | "session.restored" => "the fold of the state",
        "session.limits_changed" => "limits",
        "action.judged" | "action.confirmed" | "action.refused" => "consent",
        "action.dispatched" => "dispatch of actions",
        "model.requested" if body.get("summarises").is_some() => "condensing the history",
        "action.condensation" => "condensing the history",
        "model.requested" => "asking the agent",
        "model.responded" | "model.failed" => "the model's answer",
        "model.briefed" => "what the model is told",
        "replay.compared" => "comparison of outcomes",
        "replay.started" => "reading the recording",
        "replay.finished" => "performing the recording",
        kind if kind.starts_with("workspace.") => "snapshots of the workspace",
        kind if kind.starts_with("start.") => "steps of the start",
        kind if kind.starts_with("close.") => "steps of the close",
        kind if kind.starts_with("session.") => "the life of the session",
        kind if kind.starts_with("delegate.") => "delegates",
        kind if kind.starts_with("observation.") => "outcomes of actions",
        kind if kind.starts_with("action.") => "actions and messages",
        _ => "unknown",
    }
}
