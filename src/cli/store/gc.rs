//! `rekindle store gc`: purge sessions that are kept no longer.

use std::time::Duration;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::output::{Cell, Side, table};
use super::super::text::{ago, count};
use crate::engine::clock::{Clock, SystemClock};
use crate::session::{SessionId, Timestamp};
use crate::store::{PURGED, SessionFilter, SessionRow, Store};

/// Purge sessions whose last event is older than an age
///
/// Their events are removed for ever; what stays is that they were, with the hash of their last event. Sessions that are held, or that
/// have something left to do, are kept.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The age: a number of days, hours or minutes, as 90d, 12h, 30m
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Keep this many of those that changed last, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0)]
    keep_last: usize,
    /// Say what would be purged, and purge nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    session: SessionId,
    updated_at: Timestamp,
    events: u64,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Purged,
    WouldBePurged,
    Held,
    Unfinished,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no age; write 90d, 12h or 30m");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Purges.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = if args.dry_run { context.store().await? } else { context.store_for_writing().await? };
    let now = SystemClock.now();
    let mut lines = Vec::new();
    for row in store.sessions(SessionFilter::All, u32::MAX).await?.into_iter().skip(args.keep_last) {
        if row.directory.phase != PURGED && now.since(row.updated_at) > args.older_than {
            lines.push(one(store.as_ref(), &row, now, args.dry_run).await?);
        }
    }
    store.close().await;
    if !context.out.is_table() {
        context.out.json_list(&lines)?;
        return Ok(Exit::Done);
    }
    let cells: Vec<Vec<Cell>> = lines
        .iter()
        .map(|line| {
            let outcome = match (line.outcome, &line.hold) {
                (Outcome::Purged, _) => "purged".to_owned(),
                (Outcome::WouldBePurged, _) => "would be purged".to_owned(),
                (Outcome::Held, hold) => format!("held: {}", hold.as_deref().unwrap_or_default()),
                (Outcome::Unfinished, _) => "has something left to do".to_owned(),
            };
            let session = Cell::new(line.session.to_string());
            vec![session, Cell::new(line.events.to_string()), Cell::new(ago(line.updated_at, now)), Cell::new(outcome)]
        })
        .collect();
    let columns = [("ID", Side::Left), ("EVENTS", Side::Right), ("CHANGED", Side::Right), ("OUTCOME", Side::Left)];
    if !cells.is_empty() {
        table(&mut context.out, &columns, &cells)?;
    }
    let gone = lines.iter().filter(|line| matches!(line.outcome, Outcome::Purged | Outcome::WouldBePurged)).count();
    let verb = if args.dry_run { "would be purged" } else { "purged" };
    context.note(format_args!("{} {verb}", count(gone as u64, "session")));
    Ok(Exit::Done)
}

async fn one(store: &dyn Store, row: &SessionRow, now: Timestamp, dry_run: bool) -> Result<Line, CliError> {
    let hold = store.keeping(row.id).await?.and_then(|keeping| keeping.hold);
    let outcome = match (&hold, row.directory.due, dry_run) {
        (Some(_), ..) => Outcome::Held,
        (None, true, _) => Outcome::Unfinished,
        (None, false, true) => Outcome::WouldBePurged,
        (None, false, false) => {
            store.purge(row.id, now).await?;
            Outcome::Purged
        }
    };
    Ok(Line { session: row.id, updated_at: row.updated_at, events: row.head.0, outcome, hold })
}
