//! The report for a terminal.

use std::io;

use super::words;
use crate::audit::report::{Flag, Outcome, Report, SessionReport};
use crate::cli::describe;
use crate::cli::output::{Cell, Out, Side, table};
use crate::cli::paint::Tone;
use crate::cli::text::{one_line, shorten};

/// How much of what an action asks for is shown, in columns.
const WHAT_MAX: usize = 60;

/// Prints it.
///
/// # Errors
/// When nobody reads any more.
pub(super) fn print(out: &mut Out, report: &Report) -> io::Result<()> {
    fields(out, &[("audit report", words::title(report)), ("made", format!("{} by {}", report.made_at, report.made_by))])?;
    heading(out, "Sessions")?;
    if report.sessions.is_empty() {
        out.line("no session has events in the period")?;
    }
    for session in &report.sessions {
        self::session(out, session)?;
    }
    heading(out, "No gaps")?;
    fields(out, &words::seals(&report.proof))?;
    heading(out, "Taken out")?;
    erasures(out, report)?;
    heading(out, "Kept")?;
    fields(out, &words::retention(&report.retention))?;
    let holds: Vec<_> =
        report.legal_holds.iter().map(|hold| ("held", format!("session {}: {}", hold.session, hold.reason))).collect();
    fields(out, &holds)?;
    heading(out, "Access to the log")?;
    fields(out, &words::recording(&report.access))?;
    reads(out, report)
}

fn heading(out: &mut Out, text: &str) -> io::Result<()> {
    let text = out.paint.tone(Tone::Strong, text).to_string();
    out.line("")?;
    out.line(text)
}

fn fields(out: &mut Out, fields: &[(&str, String)]) -> io::Result<()> {
    let wide = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(13);
    for (name, value) in fields {
        let name = out.paint.dim(format!("{name:<wide$}")).to_string();
        out.line(format_args!("{name}  {}", one_line(value)))?;
    }
    Ok(())
}

fn session(out: &mut Out, session: &SessionReport) -> io::Result<()> {
    let name = one_line(&words::name(session)).into_owned();
    let title = out.paint.tone(if session.damage.is_some() { Tone::Bad } else { Tone::Strong }, session.session).to_string();
    out.line("")?;
    out.line(format_args!("{title}  {name}"))?;
    fields(out, &words::about(session))?;
    if session.actions.is_empty() {
        return Ok(());
    }
    let columns = [
        ("EVENT", Side::Right),
        ("WANTED", Side::Left),
        ("ACTION", Side::Left),
        ("RISK", Side::Left),
        ("CONSENT", Side::Left),
        ("HANDED OUT", Side::Left),
        ("OUTCOME", Side::Left),
        ("FLAGS", Side::Left),
        ("WHAT", Side::Left),
    ];
    let rows: Vec<Vec<Cell>> = session
        .actions
        .iter()
        .map(|action| {
            let what = action.what.as_deref().unwrap_or("(redacted)");
            let tone = match action.outcome.state {
                Outcome::Done | Outcome::Elsewhere => Tone::Plain,
                Outcome::Failed | Outcome::Unknown | Outcome::Unreadable => Tone::Bad,
                Outcome::Open | Outcome::Rejected | Outcome::NotExecuted => Tone::Warn,
            };
            vec![
                Cell::new(action.seq.to_string()),
                Cell::new(action.at.to_string()),
                Cell::new(&action.kind),
                Cell::new(words::risk(action)),
                Cell::new(words::consent(action.consent.as_ref(), words::had_to(action))),
                Cell::new(words::dispatched(action)),
                Cell::new(words::outcome(action)).tone(tone),
                Cell::new(words::flags(action)).tone(flag_tone(&action.flags)),
                Cell::new(shorten(&one_line(what), WHAT_MAX)),
            ]
        })
        .collect();
    table(out, &columns, &rows)
}

fn flag_tone(flags: &[Flag]) -> Tone {
    if flags.iter().all(|flag| matches!(flag, Flag::NoOutcome | Flag::UnknownOutcome)) { Tone::Warn } else { Tone::Bad }
}

fn erasures(out: &mut Out, report: &Report) -> io::Result<()> {
    if report.erasures.is_empty() {
        return out.line("nothing in the period");
    }
    let columns =
        [("AT", Side::Left), ("", Side::Left), ("WHAT", Side::Left), ("BY", Side::Left), ("WHY", Side::Left), ("", Side::Left)];
    let rows: Vec<Vec<Cell>> = report
        .erasures
        .iter()
        .map(|erasure| {
            let (how, what) = words::erasure(&erasure.erasure);
            let cells = [erasure.at.to_string(), how.to_owned(), what, erasure.by.clone(), erasure.reason.clone()];
            cells.into_iter().chain([words::erased(&erasure.outcome)]).map(Cell::new).collect()
        })
        .collect();
    table(out, &columns, &rows)
}

fn reads(out: &mut Out, report: &Report) -> io::Result<()> {
    if report.access.reads.is_empty() {
        return Ok(());
    }
    let columns = [("AT", Side::Left), ("WHO", Side::Left), ("COMMAND", Side::Left), ("WHAT", Side::Left)];
    let rows: Vec<Vec<Cell>> = report
        .access
        .reads
        .iter()
        .map(|read| {
            [read.at.to_string(), read.by.clone(), read.how.clone(), describe::access(&read.access)].map(Cell::new).into()
        })
        .collect();
    table(out, &columns, &rows)
}
