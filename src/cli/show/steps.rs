//! A session's life as steps: start, replay and close, each with its tries, its outcome and how long it took.

use std::io;

use crate::cli::Context;
use crate::cli::describe::{captured, compared};
use crate::cli::exit::CliError;
use crate::cli::output::{Cell, Side, table};
use crate::cli::paint::Tone;
use crate::cli::rows::Rows;
use crate::cli::sandbox;
use crate::cli::text::{count, duration, one_line};
use crate::projection::Projection;
use crate::projection::lifecycle::{Lifecycle, Look, ReplayView, StepEnd, StepView, WorkspaceView};
use crate::session::replay::ReplayOutcome;
use crate::session::workspace::Comparison;
use crate::session::{Report, Seq};
use crate::store::{Row, SessionRow, SharedStore};

/// Prints the steps up to event `last`.
///
/// # Errors
/// When the store cannot be read.
pub async fn print(context: &mut Context, store: &SharedStore, row: &SessionRow, last: Seq) -> Result<(), CliError> {
    let mut life = Lifecycle::default();
    let mut rows = Rows::new(store, row.id, Seq(1), last);
    while let Some(place) = rows.next().await? {
        match place {
            Row::Event { event, .. } => life.apply(&event),
            Row::Damaged { seq, what } => context.note(format_args!("event {seq} is damaged and passed over: {what}")),
        }
    }
    if !context.out.is_table() {
        return Ok(context.out.json(&life)?);
    }
    let mut cells = Vec::new();
    for owner in &life.owners {
        let what = format!("owner {}: {}", owner.epoch, owner.reason);
        cells.push(line("owner", &owner.epoch.to_string(), "", Cell::new(what), String::new()));
    }
    life.start.iter().for_each(|step| cells.push(step_line("start", step)));
    cells.extend(life.replay.as_ref().map(replay_line));
    life.workspace.iter().for_each(|look| cells.push(look_line(look)));
    life.close.iter().for_each(|step| cells.push(step_line("close", step)));
    let columns =
        [("PART", Side::Left), ("STEP", Side::Left), ("TRIES", Side::Right), ("TOOK", Side::Right), ("OUTCOME", Side::Left)];
    table(&mut context.out, &columns, &cells)?;
    end(context, &life)?;
    Ok(())
}

fn line(part: &str, step: &str, tries: &str, outcome: Cell, took: String) -> Vec<Cell> {
    vec![Cell::new(part).tone(Tone::Dim), Cell::new(step), Cell::new(tries), Cell::new(took), outcome]
}

fn step_line(part: &str, step: &StepView) -> Vec<Cell> {
    let outcome = match &step.outcome {
        StepEnd::UnderWay => Cell::new("under way").tone(Tone::Warn),
        StepEnd::Done { report } if report.0.is_null() => Cell::new("done").tone(Tone::Good),
        StepEnd::Done { report } => Cell::new(format!("done: {}", done(report))).tone(Tone::Good),
        StepEnd::Skipped { reason } => Cell::new(format!("skipped: {reason}")).tone(Tone::Dim),
        StepEnd::Failed { error } => Cell::new(format!("failed: {error}")).tone(Tone::Bad),
    };
    let took = step.micros.map(duration).unwrap_or_default();
    line(part, step.step.as_str(), &step.attempts.to_string(), outcome, took)
}

fn look_line(look: &WorkspaceView) -> Vec<Cell> {
    let at = look.seq.to_string();
    match &look.look {
        Look::Kept(body) => line("snapshot", &at, "", Cell::new(captured(body)).tone(Tone::Good), String::new()),
        Look::Missed(body) => line("snapshot", &at, "", Cell::new(&body.error).tone(Tone::Warn), String::new()),
        Look::Compared(body) => {
            let tone = if body.comparison == Comparison::Same { Tone::Good } else { Tone::Warn };
            line("compared", &at, "", Cell::new(one_line(&compared(body))).tone(tone), String::new())
        }
    }
}

/// What a step has reported: a runtime in words, all else as it stands.
fn done(report: &Report) -> String {
    let Some(sandbox) = sandbox::of_report(report) else { return report.0.to_string() };
    let text = |key: &str| report.0.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let (runtime, workspace, mount) = (text("runtime"), text("workspace"), text("mount").replace('_', " "));
    format!("{runtime} runtime in {workspace}, found at /workspace by {mount}; {}", sandbox::words(&sandbox))
}

fn replay_line(replay: &ReplayView) -> Vec<Cell> {
    let counts = replay.verdicts;
    let compared = format!(
        "{} same, {} same but for what always differs, {} diverged, {} unrecorded, {} unknown",
        counts.same, counts.normalised, counts.diverged, counts.unrecorded, counts.unknown
    );
    let outcome = match &replay.outcome {
        None => Cell::new(format!("under way: {compared}")).tone(Tone::Warn),
        Some(ReplayOutcome::Completed) if counts.diverged == 0 => Cell::new(format!("completed: {compared}")).tone(Tone::Good),
        Some(ReplayOutcome::Completed) => Cell::new(format!("completed: {compared}")).tone(Tone::Bad),
        Some(ReplayOutcome::Stopped { index, reason }) => {
            Cell::new(format!("stopped at entry {index}, {reason}: {compared}")).tone(Tone::Bad)
        }
    };
    line(
        "replay",
        &count(replay.plan.entries, "entry").replace("entrys", "entries"),
        "",
        outcome,
        replay.micros.map(duration).unwrap_or_default(),
    )
}

fn end(context: &mut Context, life: &Lifecycle) -> io::Result<()> {
    match (life.closed_at, &life.close_reason) {
        (Some(at), reason) => {
            let reason = reason.as_deref().map(one_line).unwrap_or_default();
            context.out.line(format_args!("closed at {at}: {reason}"))
        }
        (None, Some(_)) => context.out.line("being closed"),
        (None, None) => Ok(()),
    }
}
