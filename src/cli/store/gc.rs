//! `rekindle store gc`: purge sessions that are kept no longer, and give their room back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::output::{Cell, Side, table};
use super::super::run::talk::who;
use super::super::text::{ago, count};
use super::room::{self, Room};
use crate::audit::{AuditError, Eraser, Retention};
use crate::engine::clock::{Clock, SystemClock};
use crate::session::{SessionId, Timestamp};
use crate::store::{PURGED, SessionFilter, SessionRow, SharedStore, Store};

/// Purge sessions whose last event is older than an age, and give room back
///
/// Their events are removed for ever; what stays is that they were, with the hash of their last event. Sessions that are held, or that
/// have something left to do, or that a fork which is kept reads, are kept.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["older_than", "compact"]))]
pub struct Args {
    /// The age: a number of days, hours or minutes, as 90d, 12h, 30m
    #[arg(long, value_name = "AGE", value_parser = super::age)]
    older_than: Option<Duration>,
    /// Keep this many of those that changed last, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0, requires = "older_than")]
    keep_last: usize,
    /// Then give the room of all that was removed back: a file is written anew, which needs as much room again and that no other
    /// process uses it; a server's tables are vacuumed
    #[arg(long, conflicts_with = "dry_run")]
    compact: bool,
    /// Say what would be purged, and purge nothing
    #[arg(long, requires = "older_than")]
    dry_run: bool,
}

/// The shape of `gc --compact -o json`; without `--compact` it is the list of what was purged.
#[derive(Debug, Serialize)]
struct View<'a> {
    sessions: &'a [Line],
    compacted: Room,
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
    /// A fork reads its events.
    Shared,
    /// It is younger than the store keeps sessions.
    Retained,
}

/// Purges, and compacts.
///
/// # Errors
/// When the store cannot be read or written, or is to be compacted while another process uses it.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = if args.dry_run {
        context.open_off_the_record(Access::Read).await?
    } else {
        context.open_off_the_record(Access::Write).await?
    };
    if args.compact {
        // Before anything is purged, so that a refusal leaves everything as it is.
        room::alone(store.as_ref()).await?;
    }
    let now = SystemClock.now();
    let mut lines = Vec::new();
    if let Some(age) = args.older_than {
        let reason = format!("its last event was more than {} old", count(age.as_secs() / 3600, "hour"));
        let eraser = match args.dry_run {
            true => None,
            false => Some(Eraser::begin(SharedStore::clone(&store), Arc::new(SystemClock), who()).await?),
        };
        let retention = match &eraser {
            Some(eraser) => eraser.retention(),
            None => Retention::of(store.as_ref()).await?,
        };
        let keeper = Keeper { store: store.as_ref(), eraser, retention, reason };
        let mut rows = store.sessions(SessionFilter::All, u32::MAX).await?;
        // Without the audit log nothing could be proven of what is kept.
        rows.retain(|row| row.directory.phase != PURGED && !row.id.is_audit_log());
        let mut readers = BTreeMap::<SessionId, u64>::new();
        for base in rows.iter().filter_map(|row| row.base) {
            *readers.entry(base.session).or_default() += 1;
        }
        let mut old: Vec<SessionRow> = rows.into_iter().skip(args.keep_last).collect();
        old.retain(|row| now.since(row.updated_at) > age);
        // Forks before what they read.
        old.sort_by_key(|row| Reverse(row.base.map(|base| base.seq)));
        for row in old {
            let shared = readers.get(&row.id).is_some_and(|readers| *readers > 0);
            let line = keeper.one(&row, now, shared).await?;
            if matches!(line.outcome, Outcome::Purged | Outcome::WouldBePurged)
                && let Some(readers) = row.base.and_then(|base| readers.get_mut(&base.session))
            {
                *readers = readers.saturating_sub(1);
            }
            lines.push(line);
        }
    }
    let compacted = if args.compact { Some(room::compact(store.as_ref()).await?) } else { None };
    store.close().await;
    if !context.out.is_table() {
        match compacted {
            Some(compacted) => context.out.json(&View { sessions: &lines, compacted })?,
            None => context.out.json_list(&lines)?,
        }
        return Ok(Exit::Done);
    }
    print(context, &lines, now)?;
    if args.older_than.is_some() {
        let gone = lines.iter().filter(|line| matches!(line.outcome, Outcome::Purged | Outcome::WouldBePurged)).count();
        let verb = if args.dry_run { "would be purged" } else { "purged" };
        context.note(format_args!("{} {verb}", count(gone as u64, "session")));
    }
    if let Some(room) = compacted {
        room.tell(context)?;
    }
    Ok(Exit::Done)
}

fn print(context: &mut Context, lines: &[Line], now: Timestamp) -> Result<(), CliError> {
    let cells: Vec<Vec<Cell>> = lines
        .iter()
        .map(|line| {
            let outcome = match (line.outcome, &line.hold) {
                (Outcome::Purged, _) => "purged".to_owned(),
                (Outcome::WouldBePurged, _) => "would be purged".to_owned(),
                (Outcome::Held, hold) => format!("held: {}", hold.as_deref().unwrap_or_default()),
                (Outcome::Unfinished, _) => "has something left to do".to_owned(),
                (Outcome::Shared, _) => "is read by a fork that is kept".to_owned(),
                (Outcome::Retained, _) => "is younger than this store keeps sessions".to_owned(),
            };
            let session = Cell::new(line.session.to_string());
            vec![session, Cell::new(line.events.to_string()), Cell::new(ago(line.updated_at, now)), Cell::new(outcome)]
        })
        .collect();
    let columns = [("ID", Side::Left), ("EVENTS", Side::Right), ("CHANGED", Side::Right), ("OUTCOME", Side::Left)];
    if !cells.is_empty() {
        table(&mut context.out, &columns, &cells)?;
    }
    Ok(())
}

/// What decides about each session, and purges it.
struct Keeper<'a> {
    store: &'a dyn Store,
    /// `None` when it is only to be said what would be purged.
    eraser: Option<Eraser>,
    retention: Retention,
    reason: String,
}

impl Keeper<'_> {
    async fn one(&self, row: &SessionRow, now: Timestamp, shared: bool) -> Result<Line, CliError> {
        let hold = self.store.keeping(row.id).await?.and_then(|keeping| keeping.hold);
        let outcome = match (&hold, &self.eraser) {
            (Some(_), _) => Outcome::Held,
            _ if row.directory.due => Outcome::Unfinished,
            _ if shared => Outcome::Shared,
            _ if self.retention.keeps_until(row.updated_at, now).is_some() => Outcome::Retained,
            (None, None) => Outcome::WouldBePurged,
            (None, Some(eraser)) => match eraser.purge(row.id, &self.reason).await {
                Ok(_) => Outcome::Purged,
                // It is in use again since it was listed.
                Err(AuditError::Kept { .. }) => Outcome::Unfinished,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Line { session: row.id, updated_at: row.updated_at, events: row.head.0, outcome, hold })
    }
}
