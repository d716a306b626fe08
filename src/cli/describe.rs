//! One line for one event.

use super::text::{bytes, count, one_line, shorten};
use crate::session::audit::{Access, Erasure};
use crate::session::delegation::DelegateWait;
use crate::session::event::ReplayFinished;
use crate::session::model::CallReport;
use crate::session::replay::{ReplayOutcome, Verdict};
use crate::session::start::StepOutcome;
use crate::session::workspace::{Comparison, WorkspaceCaptured, WorkspaceCompared};
use crate::session::{Action, Content, Event, Extras, Limits, Observation, Origin, Recorded};

/// How long a description gets, in characters.
const SHOWN_MAX: usize = 96;

/// What happened, in one line that a terminal can show.
pub fn describe(event: &Recorded) -> String {
    let said = match Event::read(event) {
        Event::Created(body) => match body.spec.origin {
            Origin::Fresh { .. } => format!("in {}", body.spec.workspace.display()),
            Origin::Replay { trajectory, .. } => {
                format!("to replay {} in {}", trajectory.short(), body.spec.workspace.display())
            }
            Origin::Import { format, source } => format!("from {format} {}", source.short()),
        },
        Event::Forked(body) => {
            let with = body.substituted();
            let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
            let why = body.reason.map_or_else(String::new, |reason| format!(": {reason}"));
            format!("from event {} of {}{with}{why}", body.at, body.parent)
        }
        Event::OwnerAcquired(body) => format!("epoch {}: {}", body.epoch, body.reason),
        Event::Restored(body) => format!("from {} events, state {}", body.events, body.digest.short()),
        Event::Imported(body) => format!("{} entries", body.entries),
        Event::CloseRequested(body) => body.reason,
        Event::Closed(body) => body.reason,
        Event::StartPlanned(body) => body.steps.iter().map(|step| step.as_str()).collect::<Vec<_>>().join(" → "),
        Event::StepStarted(body) => format!("{}, attempt {}", body.step, body.attempt),
        Event::StepFinished(body) => match body.outcome {
            StepOutcome::Done { .. } => format!("{} done", body.step),
            StepOutcome::Skipped { reason } => format!("{} skipped: {reason}", body.step),
        },
        Event::StepFailed(body) => format!("{} failed: {}", body.step, body.error),
        Event::Started(_) => String::new(),
        Event::LimitsChanged(body) => format!("{}: {}", limits(&body.limits), body.reason),
        Event::Briefed(body) => format!("{} with {}: {}", body.agent, body.model, body.names.join(", ")),
        Event::ModelRequested(body) if !body.summarises.is_empty() => {
            let attempt = if body.attempt > 1 { format!(", attempt {}", body.attempt) } else { String::new() };
            format!("a summary of {} events{attempt}", body.summarises.len())
        }
        Event::ModelRequested(body) if body.attempt > 1 => format!("iteration {}, attempt {}", body.iteration, body.attempt),
        Event::ModelRequested(body) => format!("iteration {}", body.iteration),
        Event::ModelResponded(body) => call(&body),
        Event::ModelFailed(body) => format!("{}: {}", name(&body.class), body.message),
        Event::Judged(body) => {
            let confirm = if body.confirm { ", a person must agree" } else { "" };
            format!("{} risk{confirm}: {}", body.judgement.risk, body.judgement.reasons.join("; "))
        }
        Event::Confirmed(body) => format!("by {}", body.by),
        Event::Refused(body) => {
            body.reason.map_or_else(|| format!("by {}", body.by), |reason| format!("by {}: {reason}", body.by))
        }
        Event::Dispatched(body) => format!("attempt {}", body.attempt),
        Event::DelegateStarted(body) => {
            format!("{} in session {}, within {}", body.agent, body.session, limits(&body.limits))
        }
        Event::DelegateWaits(body) => match body.wait {
            DelegateWait::Consent { session } => format!("for consent in session {session}"),
            DelegateWait::Release => "to be let go on".to_owned(),
            DelegateWait::Limits => "for higher limits".to_owned(),
            DelegateWait::Model => "for its model".to_owned(),
        },
        Event::DelegateGoesOn(_) => String::new(),
        Event::DelegateFinished(body) => {
            let cost = body.used.cost_micro_usd.map_or_else(String::new, |cost| format!(", {} $", dollars(cost)));
            let closed = if body.closed { "" } else { ", not known to be closed" };
            format!("{} iterations{cost}{closed}", body.used.iterations)
        }
        Event::StateChanged(body) if body.reason.is_empty() => body.state.to_string(),
        Event::StateChanged(body) => format!("{}: {}", body.state, body.reason),
        Event::TurnEnded(body) => format!("state {}", body.digest.short()),
        Event::ReplayStarted(body) => {
            format!("{} messages and {} actions of {} entries", body.plan.messages, body.plan.actions, body.plan.entries)
        }
        Event::ReplayCompared(body) => verdict(&body.verdict),
        Event::ReplayFinished(ReplayFinished { outcome }) => match outcome {
            ReplayOutcome::Completed => "completed".to_owned(),
            ReplayOutcome::Stopped { index, reason } => format!("stopped at entry {index}: {reason}"),
        },
        Event::ReleaseStarted(body) => format!("{}, attempt {}", body.step, body.attempt),
        Event::ReleaseFinished(body) => body.step.to_string(),
        Event::ReleaseFailed(body) => format!("{}: {}", body.step, body.error),
        Event::WorkspaceCaptured(body) => captured(&body),
        Event::WorkspaceNotCaptured(body) => body.error,
        Event::WorkspaceCompared(body) => compared(&body),
        Event::HeadsListed(body) => count(body.heads.len() as u64, "head"),
        Event::Sealed(body) => format!("a tree of {}, root {}", body.size, body.root.short()),
        Event::Published(body) => format!("the tree of {}, to {}", body.size, body.to),
        Event::Erasing(body) => format!("{}, by {}: {}", erasure(&body.erasure), body.by, body.reason),
        Event::Erased(body) => erasure(&body.erasure),
        Event::NotErased(body) => format!("{}: {}", erasure(&body.erasure), body.error),
        Event::RetentionSet(body) => match body.days {
            0 => format!("for no time in particular, by {}", body.by),
            days => format!("for {} at least, by {}", count(days, "day"), body.by),
        },
        Event::AccessSet(body) => {
            format!("reading is {}, by {}", if body.recorded { "written down" } else { "not written down" }, body.by)
        }
        Event::AccessRead(body) => format!("{}, by {}, with {}", access(&body.access), body.by, body.how),
        Event::Item(entry) => match entry.item.content {
            Content::Action(action) => self::action(&action),
            Content::Observation(observation) => self::observation(&observation),
        },
        Event::Unknown(_) => shorten(event.body.as_json(), SHOWN_MAX).into_owned(),
    };
    let line = one_line(said.trim());
    shorten(&line, SHOWN_MAX).into_owned()
}

/// What a snapshot holds.
pub fn captured(body: &WorkspaceCaptured) -> String {
    let left_out = body.left_out.len() as u64 + body.left_out_more;
    let left_out = if left_out == 0 { String::new() } else { format!(", {left_out} left out") };
    format!("{}, {}{left_out}, snapshot {}", count(body.files, "file"), bytes(body.bytes), body.manifest.short())
}

/// How a workspace compares with the snapshot before.
pub fn compared(body: &WorkspaceCompared) -> String {
    let ran = if body.ran { " (something ran after that)" } else { "" };
    match &body.comparison {
        Comparison::Same => format!("the files are those of event {}", body.since),
        Comparison::Differs(differences) => format!("{differences}{ran}"),
        Comparison::Failed { error } => format!("not compared: {error}"),
    }
}

/// What an agent may use up.
pub fn limits(limits: &Limits) -> String {
    match limits.budget_micro_usd {
        Some(budget) => format!("{} iterations and {} $", limits.iterations, dollars(budget)),
        None => format!("{} iterations", limits.iterations),
    }
}

/// What a call of a model took.
fn call(report: &CallReport) -> String {
    let usage = &report.usage;
    let cost = usage.cost_micro_usd.map_or_else(String::new, |cost| format!(", {} $", dollars(cost)));
    format!("{}: {} tokens read, {} written{cost}", report.model, usage.prompt_tokens, usage.completion_tokens)
}

/// Millionths of a dollar as dollars, to a hundredth of a cent.
pub fn dollars(micro: u64) -> String {
    format!("{}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}

/// What an action does, unescaped.
pub fn action(action: &Action) -> String {
    match action {
        Action::Message(message) => message.content.clone(),
        Action::Run(run) => run.command.clone(),
        Action::RunIpython(cell) => cell.code.clone(),
        Action::Browse(browse) => browse.url.clone(),
        Action::BrowseInteractive(browse) => browse.browser_actions.clone(),
        Action::Read(read) => read.path.clone(),
        Action::Write(write) => write.path.clone(),
        Action::Edit(edit) => format!("{} {}", edit.command, edit.path),
        Action::Think(think) => think.thought.clone(),
        Action::Finish(finish) => finish.final_thought.clone(),
        Action::Reject(reject) => reject.thought.clone(),
        Action::Delegate(delegate) => delegate.agent.clone(),
        Action::CallToolMcp(call) => call.name.clone(),
        Action::TaskTracking(tasks) => tasks.command.clone(),
        Action::System(system) => system.content.clone(),
        Action::Null
        | Action::Recall(_)
        | Action::ChangeAgentState(_)
        | Action::Condensation(_)
        | Action::CondensationRequest
        | Action::LoopRecovery(_) => String::new(),
    }
}

fn observation(observation: &Observation) -> String {
    match &observation.extras {
        Extras::Run(run) => format!("exit {}  {}", run.metadata.exit_code, observation.content),
        Extras::AgentStateChanged(changed) => changed.agent_state.clone(),
        _ => observation.content.clone(),
    }
}

fn erasure(erasure: &Erasure) -> String {
    match erasure {
        Erasure::Body { session, seq, .. } => format!("the body of {session}:{seq}"),
        Erasure::Session { session, seq, .. } => format!("{} of {session}", count(seq.0, "event")),
    }
}

/// What is read.
pub fn access(access: &Access) -> String {
    match access {
        Access::Session { session, upto } => format!("{} of {session}", count(upto.0, "event")),
        Access::List => "the list of sessions".to_owned(),
        Access::All => "all sessions".to_owned(),
    }
}

/// How an outcome compares, in words.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Same => "same".to_owned(),
        Verdict::Normalised { by } => {
            let names: Vec<String> = by.iter().map(name).collect();
            format!("same but for {}", names.join(", "))
        }
        Verdict::Diverged { differences } => {
            let fields: Vec<&str> = differences.iter().map(|difference| difference.field.as_str()).collect();
            format!("diverged in {}", fields.join(", "))
        }
        Verdict::Unrecorded => "no recorded outcome".to_owned(),
        Verdict::OutcomeUnknown => "outcome unknown".to_owned(),
        Verdict::NotRun { why } => format!("recorded, not run: {}", one_line(why)),
    }
}

/// The stored word of a value that is one.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
