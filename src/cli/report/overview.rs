//! The summary: who did what for whom, how it ended, how long it took and what it cost.

use maud::{Markup, html};

use super::facts::Facts;
use crate::cli::describe::{dollars, limits};
use crate::cli::ls::state_tone;
use crate::cli::paint::Tone;
use crate::cli::text::{count, duration};
use crate::projection::directory::shown;
use crate::session::{Origin, Phase, Session, SessionSpec};

/// A name, and what it is.
type Field = (&'static str, String);

pub(super) fn section(facts: &Facts) -> Markup {
    let state = facts.state.as_ref();
    let word: &str = match state {
        Some(state) => shown(state),
        None => &facts.row.directory.phase,
    };
    let reason = state.map(reason).unwrap_or_default();
    html! {
        section aria-labelledby="summary" {
            h2 #summary { "Summary" }
            @if let Some((seq, _)) = facts.damage() {
                p.bad role="alert" {
                    "The log is damaged at event " (seq) ". "
                    @match state {
                        Some(state) => {
                            "The figures are those after event " (state.version) ", the last one that can be trusted."
                        }
                        None => { "No event can be trusted." }
                    }
                }
            }
            dl {
                dt { "Outcome" }
                dd {
                    strong class=(class(state_tone(word))) { (word.replace('_', " ")) }
                    @if !reason.is_empty() { ": " (reason) }
                }
                @for (name, value) in fields(facts) {
                    dt { (name) }
                    dd { (value) }
                }
            }
        }
    }
}

/// The style of a tone.
pub(super) const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Warn => "warn",
        Tone::Dim => "dim",
        Tone::Plain | Tone::Strong | Tone::Voice => "",
    }
}

fn reason(state: &Session) -> String {
    match &state.phase {
        Phase::StartFailed { step, error } => format!("{step}: {error}"),
        Phase::Closing { reason, .. } | Phase::Closed { reason } => reason.clone(),
        Phase::Unborn | Phase::Forked {} | Phase::Starting(_) | Phase::Ready | Phase::Imported { .. } | Phase::Audit {} => {
            state.agent_reason.clone()
        }
    }
}

fn fields(facts: &Facts) -> Vec<Field> {
    let state = facts.state.as_ref();
    let spec = state.and_then(|state| state.spec.as_ref());
    let mut fields: Vec<Field> = Vec::new();
    let mut add = |name, value: Option<String>| fields.extend(value.filter(|value| !value.is_empty()).map(|value| (name, value)));
    add("Agent", spec.and_then(|spec| spec.agent.as_ref()).map(|agent| agent.name.clone()));
    add("Model", model(facts, spec));
    add("Origin", spec.map(origin));
    add("Parent", spec.and_then(|spec| spec.parent.as_ref()).map(|parent| format!("session {}", parent.session)));
    add("Workspace", spec.map(|spec| spec.workspace.display().to_string()));
    add("Began", Some(facts.from.to_string()));
    add("Last event", Some(facts.to.to_string()));
    let micros = u64::try_from(facts.to.since(facts.from).as_micros()).unwrap_or(u64::MAX);
    add("Duration", Some(duration(micros)));
    let Some(state) = state else { return fields };
    let (counts, used) = (state.counts, state.usage);
    let calls = facts.spending.calls();
    add(
        "Cost",
        Some(used.cost_micro_usd.map_or_else(|| "unknown: no model said".to_owned(), |cost| format!("{} $", dollars(cost)))),
    );
    add("Tokens", Some(format!("{} read, {} written", used.prompt_tokens, used.completion_tokens)));
    add("Model calls", Some(calls).filter(|calls| *calls > 0).map(|calls| count(calls, "call")));
    let done = [
        count(counts.actions, "action"),
        count(counts.observations, "observation"),
        count(counts.messages, "message"),
        count(counts.errors, "error"),
    ];
    add("Did", Some(done.join(", ")));
    let left = |spec: &SessionSpec| {
        let asked = if state.raised.is_some() { format!(" (at first {})", limits(&spec.limits)) } else { String::new() };
        format!("{}{asked}; {} used", limits(&state.limits()), count(state.iterations, "iteration"))
    };
    add("Limits", spec.filter(|spec| spec.agent.is_some()).map(left));
    add("Owners", Some(state.epoch.0).filter(|epoch| *epoch > 0).map(|epoch| count(epoch, "owner")));
    fields
}

fn model(facts: &Facts, spec: Option<&SessionSpec>) -> Option<String> {
    let asked = spec.and_then(|spec| spec.agent.as_ref()).map(|agent| agent.config.model.name.clone());
    match facts.spending.models.as_slice() {
        [] => asked,
        named => Some(named.join(", ")),
    }
}

fn origin(spec: &SessionSpec) -> String {
    match &spec.origin {
        Origin::Fresh { .. } => "a task".to_owned(),
        Origin::Replay { trajectory, .. } => format!("a replay of recording {}", trajectory.short()),
        Origin::Import { format, source } => format!("imported from {format} {}", source.short()),
    }
}
