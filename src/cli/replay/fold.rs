//! `rekindle replay --mode fold`: today's fold of a log beside the states that were recorded in it.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::address::{Address, chosen};
use crate::cli::exit::{CliError, Exit};
use crate::cli::paint::Tone;
use crate::cli::text::{count, one_line};
use crate::engine::EngineError;
use crate::engine::travel::{Refolded, refold};
use crate::session::{Seq, SessionId};
use crate::store::{PURGED, SessionRow, Store};

/// What was found of one session. The shape of `replay --mode fold -o json`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found {
    Folded {
        ok: bool,
        #[serde(flatten)]
        refolded: Refolded,
    },
    Damaged {
        ok: bool,
        session: SessionId,
        bad: Seq,
        what: String,
    },
}

/// Folds one session, or all of them, and compares.
///
/// # Errors
/// When there is no such session or event, or the store cannot be read.
pub(super) async fn run(context: &mut Context, address: Option<Address>) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let (rows, upto) = chosen(context, store.as_ref(), address.as_ref()).await?;
    let all = address.is_none();
    let mut found = Vec::with_capacity(rows.len());
    let mut purged = 0;
    for row in &rows {
        if all && row.directory.phase == PURGED {
            purged += 1;
            continue;
        }
        if all {
            context.progress(format_args!("folding {} ({})", row.id, count(row.head.0, "event")));
        }
        let one = one(store.as_ref(), row, upto).await?;
        if context.out.is_table() {
            print(context, &one)?;
        }
        found.push(one);
    }
    if !context.out.is_table() {
        match found.as_slice() {
            [one] if !all => context.out.json(one)?,
            all => context.out.json_list(all)?,
        }
    }
    let others = found.iter().filter(|one| matches!(one, Found::Folded { ok: false, .. })).count();
    let damaged = found.iter().filter(|one| matches!(one, Found::Damaged { .. })).count();
    if all && context.out.is_table() {
        let without = if purged > 0 { format!(", {purged} purged ones left out") } else { String::new() };
        context.note(format_args!(
            "{} folded, {others} to other states than recorded, {damaged} damaged{without}",
            count(found.len() as u64, "session")
        ));
    }
    Ok(match (others, damaged) {
        (0, 0) => Exit::Done,
        (0, _) => Exit::Unverified,
        _ => Exit::Diverged,
    })
}

async fn one(store: &dyn Store, row: &SessionRow, upto: Option<Seq>) -> Result<Found, CliError> {
    match refold(store, row.id, upto).await {
        Ok(refolded) => Ok(Found::Folded { ok: refolded.mismatches == 0, refolded }),
        Err(EngineError::Unproven { session, seq, what }) => Ok(Found::Damaged { ok: false, session, bad: seq, what }),
        Err(other) => Err(other.into()),
    }
}

fn print(context: &mut Context, found: &Found) -> Result<(), CliError> {
    let paint = context.out.paint;
    match found {
        Found::Damaged { session, bad, what, .. } => {
            let what = one_line(what);
            context.out.line(format_args!("{}  {session}: event {bad}: {what}", paint.tone(Tone::Bad, "damaged")))?;
        }
        Found::Folded { refolded, .. } => {
            let verdict = match &refolded.first {
                None => paint.tone(Tone::Good, "same   "),
                Some(_) => paint.tone(Tone::Bad, "differs"),
            };
            let passed = match refolded.passed_over {
                0 => String::new(),
                others => format!(", {others} not comparable"),
            };
            let events = count(refolded.events, "event");
            let compared = count(refolded.compared, "recorded state");
            context.out.line(format_args!("{verdict}  {}  {events}, {compared} compared{passed}", refolded.session))?;
            if let Some(first) = &refolded.first {
                let more = match refolded.mismatches {
                    0 | 1 => String::new(),
                    many => format!("; {many} differ in all"),
                };
                context.out.line(format_args!(
                    "         event {} records another state after event {} than the one folded{more}",
                    first.seq, first.after
                ))?;
                context.out.line(format_args!("         {} {}", paint.dim("recorded"), first.recorded))?;
                context.out.line(format_args!("         {} {}", paint.dim("folded  "), first.folded))?;
            }
            if let Some(seq) = refolded.not_understood {
                let text = format!("event {seq} must be understood and is not: a newer version wrote it");
                context.out.line(format_args!("         {}", paint.tone(Tone::Warn, text)))?;
            }
        }
    }
    Ok(())
}
