//! `rekindle replay --mode verify`: today's code beside the decisions that were recorded, with no model and no tools.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::address::{Address, chosen};
use crate::cli::exit::{CliError, Exit};
use crate::cli::host::ports;
use crate::cli::output::JsonList;
use crate::cli::paint::Tone;
use crate::cli::text::{beginning, count, one_line, visible};
use crate::engine::{EngineError, redecide};
use crate::session::replay::verify::{Divergence, Redecided, Shown};
use crate::session::{Seq, SessionId};
use crate::store::{PURGED, SessionRow};

/// What was found of one session. The shape of `replay --mode verify -o json`.
#[derive(Debug, Serialize)]
struct Found {
    session: SessionId,
    /// `same`, `diverged`, `damaged`, or `purged`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Damage>,
    #[serde(flatten)]
    redecided: Redecided,
}

#[derive(Debug, Serialize)]
struct Damage {
    seq: Seq,
    what: String,
}

/// Decides one session again, or all of them.
///
/// # Errors
/// When there is no such session or event, or the store cannot be read.
pub(super) async fn run(context: &mut Context, address: Option<Address>, keep_going: bool) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let (rows, upto) = chosen(context, store.as_ref(), address.as_ref()).await?;
    let ports = ports();
    let (mut diverged, mut damaged) = (0_u64, 0_u64);
    let mut list = match (context.out.is_table(), address.is_some()) {
        (false, false) => Some(JsonList::begin(&mut context.out)?),
        _ => None,
    };
    for row in &rows {
        if address.is_none() {
            context.progress(format_args!("deciding {} again ({})", row.id, count(row.head.0, "event")));
        }
        let found = one(&store, &ports, row, upto, keep_going).await?;
        diverged += u64::from(found.verdict == "diverged");
        damaged += u64::from(found.verdict == "damaged");
        match &mut list {
            Some(list) => list.push(&mut context.out, &found)?,
            None if context.out.is_table() => print(context, &found)?,
            None => context.out.json(&found)?,
        }
    }
    if let Some(list) = list {
        list.end(&mut context.out)?;
    }
    if address.is_none() && context.out.is_table() {
        let all = count(rows.len() as u64, "session");
        context.note(format_args!("{all} decided again, {diverged} otherwise than recorded, {damaged} damaged"));
    }
    Ok(match (diverged, damaged) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Unverified,
        _ => Exit::Diverged,
    })
}

async fn one(
    store: &crate::store::SharedStore,
    ports: &crate::engine::ports::Ports,
    row: &SessionRow,
    upto: Option<Seq>,
    keep_going: bool,
) -> Result<Found, CliError> {
    let found = |verdict, damage, redecided| Found { session: row.id, verdict, damage, redecided };
    if row.directory.phase == PURGED {
        return Ok(found("purged", None, Redecided::default()));
    }
    match redecide(store, ports, row, upto.unwrap_or(row.head)).await {
        Ok(mut redecided) => {
            if !keep_going {
                redecided.divergences.truncate(1);
            }
            Ok(found(if redecided.agrees() { "same" } else { "diverged" }, None, redecided))
        }
        Err(EngineError::Unproven { seq, what, .. }) => Ok(found("damaged", Some(Damage { seq, what }), Redecided::default())),
        Err(other) => Err(other.into()),
    }
}

fn print(context: &mut Context, found: &Found) -> Result<(), CliError> {
    let paint = context.out.paint;
    let Found { session, verdict, damage, redecided } = found;
    let tone = match *verdict {
        "same" => Tone::Good,
        "purged" => Tone::Dim,
        _ => Tone::Bad,
    };
    let verdict = paint.tone(tone, format!("{verdict:<8}"));
    if let Some(Damage { seq, what }) = damage {
        context.out.line(format_args!("{verdict}  {session}  event {seq}: {}", one_line(what)))?;
        return Ok(());
    }
    let Redecided { events, commands, decided, given, divergences, unchecked } = redecided;
    let given = if *given > 0 { format!(", {given} as they were imported") } else { String::new() };
    let (events, commands) = (count(*events, "event"), count(*commands, "command"));
    context.out.line(format_args!("{verdict}  {session}  {events}, {decided} decided again for {commands}{given}"))?;
    for divergence in divergences {
        diverged(context, *session, divergence)?;
    }
    for unchecked in unchecked {
        let events = count(unchecked.events, "event");
        let line = format!("unchecked from event {} on, {events}: {}", unchecked.seq, unchecked.why);
        context.out.line(format_args!("          {}", paint.tone(Tone::Warn, line)))?;
    }
    Ok(())
}

fn diverged(context: &mut Context, session: SessionId, divergence: &Divergence) -> Result<(), CliError> {
    let paint = context.out.paint;
    let Divergence { seq, command, rule, expected, actual, differences, explanation } = divergence;
    let place = paint.tone(Tone::Bad, format!("event {seq}"));
    context.out.line(format_args!("          {place}, {rule}, after {command}: {}", one_line(explanation)))?;
    let say = |shown: &Option<Shown>| shown.as_ref().map_or_else(|| "nothing".to_owned(), |shown| shown.kind.to_string());
    let mut sides = Vec::new();
    for difference in differences {
        sides.push((difference.field.as_str(), difference.recorded.clone(), difference.actual.clone()));
    }
    if sides.is_empty() {
        sides.push(("event", say(expected), say(actual)));
    }
    for (field, recorded, today) in sides {
        for (side, text) in [("recorded", recorded), ("today", today)] {
            let (text, _) = beginning(&text, 3, 200);
            let text = visible(&text).replace('\n', "\n                                  ");
            context.out.line(format_args!("          {:<12} {} {text}", one_line(field), paint.dim(format!("{side:<8}"))))?;
        }
    }
    let command = context.command(format_args!("show {session}:{seq}"));
    if expected.is_some() {
        context.out.line(format_args!("          {}", paint.dim(command)))?;
    }
    Ok(())
}
