//! What an engine counts and times, for whoever installs a recorder of the `metrics` facade. Nearly all of it is counted from the
//! events that were appended, so that it says what the log says. Nothing is done here until [`begin`] was called.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use serde::Deserialize;

use super::ports::ToolsReport;
use crate::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN};
use crate::session::event::{ModelFailed, OwnerAcquired, Restored, StepFailed, StepFinished};
use crate::session::model::{CallReport, CallUsage};
use crate::session::start::StepOutcome;
use crate::session::{Content, Epoch, Event, Extras, NewEvent, Observation, Phase, Recorded, Seq, Session, SessionId, StartStep};
use crate::store::StoreError;

/// What is counted as a secret that was hidden.
const HIDDEN: &str = "<secret_hidden>";

/// One thing that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name, which ends in its unit.
    pub name: &'static str,
    /// What it is, with its labels.
    pub help: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Count,
    Level,
    Time,
}

const fn count(name: &'static str, help: &'static str) -> Measure {
    Measure { name, help, kind: Kind::Count }
}

const fn time(name: &'static str, help: &'static str) -> Measure {
    Measure { name, help, kind: Kind::Time }
}

/// Everything that is measured.
pub const ALL: [Measure; 19] = [
    Measure { name: "rekindle_sessions_live", help: "sessions that this process runs now", kind: Kind::Level },
    count("rekindle_sessions_started_total", "starts that came to their end"),
    count("rekindle_session_start_failures_total", "starts that failed, by step"),
    time("rekindle_session_start_seconds", "from the plan of a start to its end, crashes between them among it; by outcome"),
    count("rekindle_sessions_closed_total", "sessions that were closed"),
    count("rekindle_restores_total", "states that were restored from the log and proven; by whether a snapshot helped"),
    count("rekindle_restores_unproven_total", "states that the log does not prove"),
    count("rekindle_takeovers_total", "sessions that were taken over from another owner"),
    count("rekindle_appends_total", "appends, by outcome: ok, conflict, fenced, failed"),
    time("rekindle_append_seconds", "an append until it is durable, its repetitions among it"),
    count("rekindle_events_appended_total", "events, by family"),
    count("rekindle_model_calls_total", "calls of models, by outcome: ok, or the class of the error"),
    time("rekindle_model_call_seconds", "a call of a model that was answered"),
    count("rekindle_model_tokens_total", "tokens, by kind: prompt, cached among them, completion"),
    count("rekindle_model_cost_micro_usd_total", "millionths of a US dollar, as far as prices are known"),
    count(
        "rekindle_actions_total",
        "actions with an outcome, by kind and outcome; call_tool_mcp are the calls of servers' tools",
    ),
    time("rekindle_effect_seconds", "what was done for a session, by kind: step, execute, model, recording, release"),
    count("rekindle_servers_joined_total", "MCP servers that were asked to join, by outcome"),
    count("rekindle_secrets_hidden_total", "places in events where the value of a secret was hidden"),
];

static MEASURES: AtomicBool = AtomicBool::new(false);

/// Describes everything to the recorder that is installed, and measures from now on.
pub fn begin() {
    for Measure { name, help, kind } in ALL {
        match kind {
            Kind::Count => describe_counter!(name, Unit::Count, help),
            Kind::Level => describe_gauge!(name, Unit::Count, help),
            Kind::Time => describe_histogram!(name, Unit::Seconds, help),
        }
    }
    MEASURES.store(true, Ordering::Relaxed);
}

/// Whether anybody wants to know.
pub(super) fn is_wanted() -> bool {
    MEASURES.load(Ordering::Relaxed)
}

/// A session that this process runs, for as long as this is kept.
pub(super) struct Live {
    counted: bool,
}

impl Live {
    pub(super) fn begin() -> Self {
        let counted = is_wanted();
        if counted {
            gauge!("rekindle_sessions_live").increment(1);
        }
        Self { counted }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.counted {
            gauge!("rekindle_sessions_live").decrement(1);
        }
    }
}

/// An append came to an end.
pub(super) fn append(error: Option<&StoreError>, took: Duration) {
    if is_wanted() {
        let outcome = match error {
            None => "ok",
            Some(StoreError::Conflict { .. }) => "conflict",
            Some(StoreError::Fenced { .. }) => "fenced",
            Some(_) => "failed",
        };
        counter!("rekindle_appends_total", "outcome" => outcome).increment(1);
        histogram!("rekindle_append_seconds").record(took);
    }
}

/// An effect was performed.
pub(super) fn effect(kind: &'static str, took: Duration) {
    if is_wanted() {
        histogram!("rekindle_effect_seconds", "kind" => kind).record(took);
    }
}

/// A start came to an end.
pub(super) fn start(outcome: &'static str, took: Duration) {
    if is_wanted() {
        histogram!("rekindle_session_start_seconds", "outcome" => outcome).record(took);
    }
}

/// The log does not prove the state of a session.
pub(super) fn unproven() {
    if is_wanted() {
        counter!("rekindle_restores_unproven_total").increment(1);
    }
}

/// These events were appended to a session that stood at `before`.
pub(super) fn appended(id: SessionId, before: &Session, events: &[NewEvent]) {
    let mut session = before.clone();
    for event in events {
        let recorded = event.clone().recorded(id, session.version.next());
        of_event(&session, &recorded);
        session.apply(&recorded);
    }
}

fn of_event(before: &Session, event: &Recorded) {
    counter!("rekindle_events_appended_total", "family" => event.kind.family().to_owned()).increment(1);
    let hidden = event.body.as_json().matches(HIDDEN).count();
    if hidden > 0 {
        counter!("rekindle_secrets_hidden_total").increment(hidden as u64);
    }
    match Event::read(event) {
        Event::OwnerAcquired(OwnerAcquired { epoch, .. }) if epoch > Epoch(1) => {
            counter!("rekindle_takeovers_total").increment(1)
        }
        Event::Restored(Restored { snapshot, .. }) => {
            let snapshot = if snapshot.is_some() { "yes" } else { "no" };
            counter!("rekindle_restores_total", "snapshot" => snapshot).increment(1);
        }
        Event::Started(_) => counter!("rekindle_sessions_started_total").increment(1),
        Event::StepFailed(StepFailed { step, .. }) if matches!(before.phase, Phase::Starting(_)) => {
            counter!("rekindle_session_start_failures_total", "step" => step.as_str()).increment(1);
        }
        Event::StepFinished(StepFinished { step: StartStep::McpTools, outcome: StepOutcome::Done { report }, .. }) => {
            servers(report.0);
        }
        Event::Closed(_) => counter!("rekindle_sessions_closed_total").increment(1),
        Event::ModelResponded(CallReport { usage, latency_us, .. }) => {
            histogram!("rekindle_model_call_seconds").record(Duration::from_micros(latency_us));
            model_call("ok".to_owned(), &usage);
        }
        Event::ModelFailed(ModelFailed { class, usage, .. }) => {
            let class = serde_json::to_value(class).ok().and_then(|class| class.as_str().map(str::to_owned));
            model_call(class.unwrap_or_default(), &usage);
        }
        Event::Item(entry) => {
            if let (Content::Observation(observation), Some(cause)) = (&entry.item.content, event.cause) {
                action(before, cause, observation);
            }
        }
        _ => {}
    }
}

fn model_call(outcome: String, usage: &CallUsage) {
    counter!("rekindle_model_calls_total", "outcome" => outcome).increment(1);
    for (kind, tokens) in
        [("prompt", usage.prompt_tokens), ("cached", usage.cached_tokens), ("completion", usage.completion_tokens)]
    {
        counter!("rekindle_model_tokens_total", "kind" => kind).increment(tokens);
    }
    counter!("rekindle_model_cost_micro_usd_total").increment(usage.cost_micro_usd.unwrap_or(0));
}

fn action(before: &Session, cause: Seq, observation: &Observation) {
    let Some(open) = before.open.iter().find(|open| open.seq == cause) else { return };
    let outcome = match &observation.extras {
        Extras::Error(failure) if failure.error_id == OUTCOME_UNKNOWN => "unknown",
        Extras::Error(failure) if failure.error_id == NOT_EXECUTED => "not_executed",
        Extras::Error(_) => "error",
        Extras::UserRejected => "refused",
        Extras::Run(run) if run.metadata.exit_code > 0 => "failed",
        Extras::Mcp(_) if is_error(&observation.content) => "failed",
        _ => "ok",
    };
    counter!("rekindle_actions_total", "kind" => open.tag.clone(), "outcome" => outcome).increment(1);
}

fn is_error(answer: &str) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str(answer).is_ok_and(|Answer { is_error }| is_error)
}

fn servers(report: serde_json::Value) {
    #[derive(Deserialize)]
    struct Servers {
        servers: Vec<ToolsReport>,
    }
    for server in serde_json::from_value(report).map(|Servers { servers }| servers).unwrap_or_default() {
        let outcome = if server.error.is_none() { "joined" } else { "failed" };
        counter!("rekindle_servers_joined_total", "outcome" => outcome).increment(1);
    }
}
