//! A session as a conversation: who said and did what, and what came of it.

use std::collections::VecDeque;
use std::io;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::describe::verdict;
use crate::cli::exit::CliError;
use crate::cli::ls::state_tone;
use crate::cli::output::JsonList;
use crate::cli::paint::Tone;
use crate::cli::rows::Rows;
use crate::cli::text::{beginning, one_line, visible};
use crate::projection::Projection;
use crate::projection::transcript::{OutcomeView, Said, Transcript, TranscriptEntry};
use crate::session::replay::{Difference, Verdict};
use crate::session::{Seq, Source};
use crate::store::{Row, SessionRow, SharedStore};

/// How much of a text is shown: lines, and characters.
const SHOWN_MAX: (usize, usize) = (16, 2000);
/// How much of each side of a difference is shown.
const DIFFERENCE_MAX: (usize, usize) = (3, 240);

/// What stands at one place of a conversation.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Said(&'a TranscriptEntry),
    Damaged { seq: Seq, damaged: &'a str },
}

/// Prints the conversation up to event `last`.
///
/// # Errors
/// When the store cannot be read.
pub async fn print(context: &mut Context, store: &SharedStore, row: &SessionRow, last: Seq, full: bool) -> Result<(), CliError> {
    let mut transcript = Transcript::default();
    let mut damaged = VecDeque::new();
    let mut rows = Rows::new(store, row.id, Seq(1), last);
    while let Some(place) = rows.next().await? {
        match place {
            Row::Event { event, .. } => transcript.apply(&event),
            Row::Damaged { seq, what } => damaged.push_back((seq, what)),
        }
    }
    let lines = merged(&transcript.entries, &damaged);
    if !context.out.is_table() {
        let mut list = JsonList::begin(&mut context.out)?;
        for line in &lines {
            list.push(&mut context.out, line)?;
        }
        list.end(&mut context.out)?;
        return Ok(());
    }
    head(context, row, last)?;
    for line in &lines {
        match line {
            Line::Said(entry) => said(context, row, entry, full)?,
            Line::Damaged { seq, damaged } => {
                let text = format!("event {seq} is damaged: {}; it is passed over", one_line(damaged));
                context.out.line(format_args!("\n{}", context.out.paint.tone(Tone::Bad, text)))?;
            }
        }
    }
    if !damaged.is_empty() {
        context.note(format_args!(
            "{} events are damaged; `{}` says more",
            damaged.len(),
            context.command(format_args!("verify {}", row.id))
        ));
    }
    Ok(())
}

fn merged<'a>(entries: &'a [TranscriptEntry], damaged: &'a VecDeque<(Seq, String)>) -> Vec<Line<'a>> {
    let mut lines = Vec::with_capacity(entries.len() + damaged.len());
    let mut damaged = damaged.iter().peekable();
    for entry in entries {
        while let Some((seq, what)) = damaged.next_if(|(seq, _)| *seq < entry.seq) {
            lines.push(Line::Damaged { seq: *seq, damaged: what });
        }
        lines.push(Line::Said(entry));
    }
    lines.extend(damaged.map(|(seq, what)| Line::Damaged { seq: *seq, damaged: what }));
    lines
}

fn head(context: &mut Context, row: &SessionRow, last: Seq) -> io::Result<()> {
    let paint = context.out.paint;
    let title = row.directory.title.as_deref().map(one_line).unwrap_or_default();
    if !title.is_empty() {
        context.out.line(paint.strong(title))?;
    }
    let name = row.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let upto = if last < row.head { format!("up to event {last} of {}", row.head) } else { format!("{} events", row.head) };
    let state = paint.tone(state_tone(&row.directory.phase), &row.directory.phase);
    context.out.line(format_args!("{}{name}  {state}  {upto}", row.id))
}

fn said(context: &mut Context, row: &SessionRow, entry: &TranscriptEntry, full: bool) -> io::Result<()> {
    let paint = context.out.paint;
    let seq = entry.seq;
    let who = match entry.source {
        Source::User => Tone::Voice,
        Source::Agent => Tone::Strong,
        Source::Environment => Tone::Dim,
    };
    let who = paint.tone(who, entry.source.as_str());
    let place = paint.dim(format!("{seq:>5}"));
    match &entry.said {
        Said::Message { text } => {
            context.out.line(format_args!("\n{place}  {who}"))?;
            block(context, row, seq, text, Tone::Plain, full)
        }
        Said::Action { tag, thought, what, outcome, verdict } => {
            let compared = verdict.as_ref().map(|found| format!("  {}", paint.tone(verdict_tone(found), self::verdict(found))));
            context.out.line(format_args!("\n{place}  {who}  {}{}", one_line(tag), compared.unwrap_or_default()))?;
            if !thought.is_empty() && thought != what {
                block(context, row, seq, thought, Tone::Dim, full)?;
            }
            let prompt = match tag.as_str() {
                "run" => "$ ",
                "run_ipython" => ">>> ",
                _ => "",
            };
            if !what.is_empty() {
                block(context, row, seq, &format!("{prompt}{what}"), Tone::Voice, full)?;
            }
            if let Some(outcome) = outcome {
                self::outcome(context, row, outcome, full)?;
            }
            if let Some(Verdict::Diverged { differences }) = verdict {
                self::differences(context, differences)?;
            }
            Ok(())
        }
        Said::Observation { tag, text } => {
            context.out.line(format_args!("\n{place}  {who}  {}", one_line(tag)))?;
            block(context, row, seq, text, Tone::Plain, full)
        }
        Said::State { state, reason } => {
            let reason = if reason.is_empty() { String::new() } else { format!(": {}", one_line(reason)) };
            context.out.line(format_args!("\n{place}  {}", paint.dim(format!("{state}{reason}"))))
        }
        Said::Unreadable { kind } => {
            let text = format!("{} is not known to this version; the log keeps it as it is", one_line(kind));
            context.out.line(format_args!("\n{place}  {who}  {}", paint.tone(Tone::Warn, text)))
        }
    }
}

fn outcome(context: &mut Context, row: &SessionRow, outcome: &OutcomeView, full: bool) -> io::Result<()> {
    let paint = context.out.paint;
    let tone = if outcome.tag == "error" { Tone::Bad } else { Tone::Plain };
    block(context, row, outcome.seq, &outcome.text, tone, full)?;
    match outcome.exit_code {
        Some(0) | None => Ok(()),
        Some(-1) => context.out.line(format_args!("       {}", paint.tone(Tone::Warn, "still running, or its end is unknown"))),
        Some(code) => context.out.line(format_args!("       {}", paint.tone(Tone::Bad, format!("exit {code}")))),
    }
}

/// What the recording says and what came now, field by field.
pub fn differences(context: &mut Context, differences: &[Difference]) -> io::Result<()> {
    let paint = context.out.paint;
    for difference in differences {
        for (side, text) in [("recorded", &difference.recorded), ("now", &difference.actual)] {
            let (shown, _) = beginning(text, DIFFERENCE_MAX.0, DIFFERENCE_MAX.1);
            let shown = visible(&shown).replace('\n', "\n                        ");
            let label = format!("{} {side}", one_line(&difference.field));
            context.out.line(format_args!("       {} {shown}", paint.tone(Tone::Warn, format!("{label:<16}"))))?;
        }
    }
    Ok(())
}

fn block(context: &mut Context, row: &SessionRow, seq: Seq, text: &str, tone: Tone, full: bool) -> io::Result<()> {
    let paint = context.out.paint;
    let (shown, left_out) =
        if full { (text.trim_end_matches('\n').into(), 0) } else { beginning(text, SHOWN_MAX.0, SHOWN_MAX.1) };
    for line in visible(&shown).split('\n') {
        if line.is_empty() {
            context.out.line("")?;
        } else {
            context.out.line(format_args!("       {}", paint.tone(tone, line)))?;
        }
    }
    if left_out > 0 || shown.ends_with('…') && !text.ends_with('…') {
        let what = if left_out > 0 { format!("{left_out} more lines") } else { "more".to_owned() };
        let hint = format!("… {what}: {}", context.command(format_args!("show {}:{seq} --full", row.id)));
        context.out.line(format_args!("       {}", paint.dim(hint)))?;
    }
    Ok(())
}

/// What a person should make of a verdict.
pub const fn verdict_tone(verdict: &Verdict) -> Tone {
    match verdict {
        Verdict::Same | Verdict::Normalised { .. } => Tone::Good,
        Verdict::Diverged { .. } => Tone::Bad,
        Verdict::OutcomeUnknown => Tone::Warn,
        Verdict::Unrecorded | Verdict::NotRun { .. } => Tone::Dim,
    }
}
