//! What came of a run: how far it went, how the outcomes compare with the recorded ones, and what to do next.

use std::io;

use serde::Serialize;

use super::Context;
use super::describe::dollars;
use super::exit::{CliError, Exit};
use super::ls::state_tone;
use super::output::Out;
use super::paint::Tone;
use super::rows::Rows;
use super::text::{beginning, count, duration, one_line, visible};
use crate::engine::Trust;
use crate::engine::restore::restore;
use crate::projection::directory::shown;
use crate::session::event::ReplayCompared;
use crate::session::replay::{Difference, ReplayOutcome, Verdict, VerdictCounts};
use crate::session::{Action, AgentState, Content, Digest, Event, Phase, Seq, Session, SessionId, Source};
use crate::store::{Read, Row, SessionRow, SharedStore};

/// How many events are looked through, from the end, for what an agent said last.
const LOOKBACK: u32 = 64;

/// The shape of `run -o json` and `replay -o json`, and of `run` in `resume -o json`.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The session.
    pub session: SessionId,
    /// What it, or its agent, does now.
    pub state: &'static str,
    /// Why, where there is something to say.
    pub reason: String,
    /// How many events its log holds.
    pub events: Seq,
    /// Messages and actions to perform.
    pub planned: u64,
    /// Messages and actions performed.
    pub performed: u64,
    /// How the outcomes compare.
    pub verdicts: VerdictCounts,
    /// The first outcome that is not the recorded one.
    pub first_divergence: Option<Divergence>,
    /// How the replay ended.
    pub outcome: Option<ReplayOutcome>,
    /// What its agent did; unset when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSummary>,
    /// How long it took, from the first event to the last, in microseconds.
    pub micros: u64,
    /// SHA-256 of the state.
    pub digest: Digest,
    /// The chain hash of the last event.
    pub hash: Digest,
}

/// What an agent did.
#[derive(Debug, Serialize)]
pub struct AgentSummary {
    /// How often it was asked.
    pub iterations: u64,
    /// Tokens that its model read.
    pub prompt_tokens: u64,
    /// Tokens that its model wrote.
    pub completion_tokens: u64,
    /// Millionths of a US dollar; null when nobody can tell.
    pub cost_micro_usd: Option<u64>,
    /// Actions that wait for a person to agree.
    pub unconfirmed: Vec<Seq>,
    /// What it said last.
    pub said: Option<String>,
}

/// An outcome that is not the recorded one.
#[derive(Debug, Serialize)]
pub struct Divergence {
    /// The action.
    pub action: Option<Seq>,
    /// The recorded entry that it performs.
    pub index: u64,
    /// In what they differ.
    pub differences: Vec<Difference>,
}

/// Reads what came of a session out of its log.
///
/// # Errors
/// When the log cannot be read, or does not prove its state.
pub async fn summarise(store: &SharedStore, row: &SessionRow) -> Result<(Summary, Exit), CliError> {
    let restored = restore(store.as_ref(), row.id, Trust::Snapshot).await?;
    let session = &restored.session;
    let replay = session.replay.as_ref();
    let verdicts = replay.map(|replay| replay.verdicts).unwrap_or_default();
    let first_divergence = if verdicts.diverged > 0 { first_divergence(store, row).await? } else { None };
    let reason = match &session.phase {
        Phase::StartFailed { step, error } => format!("the step {step} failed: {error}"),
        _ => session.agent_reason.clone(),
    };
    let agent = match session.has_agent() {
        true => Some(AgentSummary {
            iterations: session.iterations,
            prompt_tokens: session.usage.prompt_tokens,
            completion_tokens: session.usage.completion_tokens,
            cost_micro_usd: session.usage.cost_micro_usd,
            unconfirmed: session.unconfirmed().map(|open| open.seq).collect(),
            said: last_words(store, row.id, session.version).await?,
        }),
        false => None,
    };
    let summary = Summary {
        session: row.id,
        state: shown(session),
        reason,
        events: session.version,
        planned: replay.map_or(0, |replay| replay.lines),
        performed: replay.map_or(0, |replay| replay.performed),
        verdicts,
        first_divergence,
        outcome: replay.and_then(|replay| replay.outcome.clone()),
        agent,
        micros: u64::try_from(session.at.since(row.created_at).as_micros()).unwrap_or(u64::MAX),
        digest: restored.proof.digest,
        hash: restored.hash,
    };
    let exit = exit_of(session);
    Ok((summary, exit))
}

fn exit_of(session: &Session) -> Exit {
    let replay = session.replay.as_ref();
    match (&session.phase, replay.and_then(|replay| replay.outcome.as_ref())) {
        (Phase::StartFailed { .. }, _) => Exit::Failure,
        (Phase::Ready, _) if session.has_agent() => match session.agent {
            AgentState::Error | AgentState::RateLimited | AgentState::Rejected | AgentState::Stopped => Exit::Failure,
            _ => Exit::Done,
        },
        _ if replay.is_some_and(|replay| replay.verdicts.diverged > 0) => Exit::Diverged,
        (_, Some(ReplayOutcome::Stopped { .. })) => Exit::Failure,
        _ => Exit::Done,
    }
}

async fn first_divergence(store: &SharedStore, row: &SessionRow) -> Result<Option<Divergence>, CliError> {
    let mut rows = Rows::new(store, row.id, Seq(1), row.head);
    while let Some(place) = rows.next().await? {
        if let Row::Event { event, .. } = &place
            && event.kind.as_str() == "replay.compared"
            && let Event::ReplayCompared(ReplayCompared { index, verdict: Verdict::Diverged { differences } }) =
                Event::read(event)
        {
            return Ok(Some(Divergence { action: event.cause, index, differences }));
        }
    }
    Ok(None)
}

/// What an agent said last: its answer, or its closing words. `None` when the last it did was something else.
///
/// # Errors
/// When the store cannot be read.
pub async fn last_words(store: &SharedStore, id: SessionId, upto: Seq) -> Result<Option<String>, CliError> {
    let page = store.read(Read { upto, ..Read::last(id, LOOKBACK) }).await?;
    Ok(page.rows.iter().find_map(|row| match row {
        Row::Event { event, .. } if event.source == Source::Agent && event.kind.family() == "action" => {
            match Event::read(event) {
                Event::Item(entry) => match entry.item.content {
                    Content::Action(Action::Message(message)) => Some(message.content),
                    Content::Action(Action::Finish(finish)) => Some(finish.final_thought).filter(|words| !words.is_empty()),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }))
}

impl Summary {
    /// Says it, as it was asked for.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn tell(&self, context: &mut Context) -> io::Result<()> {
        if context.out.is_table() { print(context, self) } else { context.out.json(self) }
    }
}

fn print(context: &mut Context, summary: &Summary) -> io::Result<()> {
    let paint = context.out.paint;
    let counts = summary.verdicts;
    let took = paint.dim(format!("in {}", duration(summary.micros)));
    field(&mut context.out, "session", &summary.session.to_string())?;
    if summary.planned > 0 {
        field(
            &mut context.out,
            "performed",
            &format!("{} of {} messages and actions {took}", summary.performed, summary.planned),
        )?;
        let tones = [Tone::Good, Tone::Good, Tone::Bad, Tone::Dim, Tone::Warn, Tone::Dim];
        let compared: Vec<String> = counts
            .named()
            .into_iter()
            .zip(tones)
            .filter(|((_, number), _)| *number > 0)
            .map(|((what, number), tone)| paint.tone(tone, format!("{number} {what}")).to_string())
            .collect();
        let compared = if compared.is_empty() { "nothing: no action has an outcome".to_owned() } else { compared.join(", ") };
        field(&mut context.out, "compared", &compared)?;
    }
    if let Some(divergence) = &summary.first_divergence {
        self::divergence(context, summary.session, divergence)?;
    }
    match &summary.outcome {
        Some(ReplayOutcome::Completed) => field(&mut context.out, "replay", "completed")?,
        Some(ReplayOutcome::Stopped { index, reason }) => {
            let text = format!("stopped at entry {index}: {}", one_line(reason));
            field(&mut context.out, "replay", &paint.tone(Tone::Bad, text).to_string())?;
        }
        None => {}
    }
    if let Some(agent) = &summary.agent {
        let cost = agent.cost_micro_usd.map_or_else(String::new, |cost| format!(", {} $", dollars(cost)));
        let asked = count(agent.iterations, "call");
        let tokens = format!("{} tokens read, {} written{cost}", agent.prompt_tokens, agent.completion_tokens);
        field(&mut context.out, "model", &format!("{asked}, {tokens} {took}"))?;
        if let Some(said) = &agent.said {
            let said = visible(said).replace('\n', "\n           ");
            field(&mut context.out, "said", &said)?;
        }
    }
    let reason = if summary.reason.is_empty() { String::new() } else { format!(": {}", one_line(&summary.reason)) };
    let state = paint.tone(state_tone(summary.state), summary.state);
    field(&mut context.out, "state", &format!("{state}{reason}, after {}", count(summary.events.0, "event")))?;
    field(&mut context.out, "digest", &summary.digest.to_string())?;
    next(context, summary)
}

fn divergence(context: &mut Context, session: SessionId, divergence: &Divergence) -> io::Result<()> {
    let place = divergence.action.map_or_else(|| format!("entry {}", divergence.index), |seq| format!("event {seq}"));
    field(
        &mut context.out,
        "diverged",
        &format!("first at {place}, which performs entry {} of the recording", divergence.index),
    )?;
    for difference in &divergence.differences {
        for (side, text) in [("recorded", &difference.recorded), ("now", &difference.actual)] {
            let (text, _) = beginning(text, 2, 160);
            let text = visible(&text).replace('\n', "\n                                ");
            let text = format!("{:<12} {side:<8} {text}", one_line(&difference.field));
            field(&mut context.out, "", &text)?;
        }
    }
    if let Some(action) = divergence.action {
        let command = context.command(format_args!("show {session}:{action}"));
        field(&mut context.out, "", &command)?;
    }
    Ok(())
}

fn next(context: &mut Context, summary: &Summary) -> io::Result<()> {
    let id = summary.session;
    let failed = summary.state == Phase::StartFailed { step: crate::session::StartStep::Replay, error: String::new() }.as_str();
    let commands = if let Some(agent) = summary.agent.as_ref().filter(|_| !failed) {
        let mut commands = Vec::new();
        match (summary.state, agent.unconfirmed.first()) {
            (_, Some(seq)) => {
                commands.extend([format!("show {id}:{seq}"), format!("approve {id}"), format!("reject {id} --reason …")])
            }
            ("awaiting_user_confirmation", None) => commands.extend([format!("approve {id}"), format!("reject {id} --reason …")]),
            ("error", None) if summary.reason.starts_with("AgentStuckInLoopError") => {
                commands.extend([format!("resume {id} --recover before-loop"), format!("resume {id} --recover last-prompt")]);
            }
            ("error" | "stopped" | "paused" | "rate_limited", None) => commands.push(format!("resume {id}")),
            _ => commands.push(format!("send {id} …")),
        }
        commands.extend([format!("show {id}"), format!("close {id}")]);
        commands
    } else if failed {
        vec![format!("resume {id}"), format!("show {id} --steps"), format!("close {id}")]
    } else {
        vec![format!("show {id}"), format!("verify {id}"), format!("close {id}")]
    };
    for (index, command) in commands.iter().enumerate() {
        let command = context.command(command);
        field(&mut context.out, if index == 0 { "next" } else { "" }, &command)?;
    }
    Ok(())
}

/// A name and what it is.
///
/// # Errors
/// When nobody reads any more.
pub fn field(out: &mut Out, name: &str, value: &str) -> io::Result<()> {
    let name = out.paint.dim(format!("{name:<9}"));
    out.line(format_args!("{name}  {value}").to_string().trim_end())
}
