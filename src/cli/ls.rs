//! `rekindle ls`: the sessions, the one that changed last first.

use std::collections::{HashMap, HashSet};

use super::exit::{CliError, Exit};
use super::location::Access;
use super::output::{Cell, Side, table};
use super::paint::Tone;
use super::view::SessionView;
use super::{Context, text};
use crate::engine::clock::{Clock, SystemClock};
use crate::session::{SessionId, Timestamp};
use crate::store::{SessionFilter, SessionRow};

/// How many characters of an id are shown at least: its milliseconds.
const ID_MIN: usize = 13;
/// How deep forks are shown below what they were forked from.
const DEPTH_MAX: usize = 12;
/// How much of a title is shown.
const TITLE_MAX: usize = 48;

/// List sessions, the one that changed last first, each with its forks below it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// At most this many
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N", conflicts_with = "all")]
    limit: u32,
    /// All of them
    #[arg(short, long)]
    all: bool,
}

/// Lists sessions.
///
/// # Errors
/// When the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let limit = if args.all { u32::MAX } else { args.limit };
    let rows = match context.open_if_there(Access::Read).await? {
        // One more than shown tells whether there are more, and the audit log is no session of an agent's.
        Some(store) => {
            let mut rows = store.sessions(SessionFilter::All, limit.saturating_add(2)).await?;
            rows.retain(|row| !row.id.is_audit_log());
            rows
        }
        None => Vec::new(),
    };
    let shown = rows.get(..rows.len().min(usize::try_from(limit).unwrap_or(usize::MAX))).unwrap_or_default();
    if !context.out.is_table() {
        context.out.json_list(shown.iter().map(SessionView::of))?;
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        context.note(context.none_yet());
        return Ok(Exit::Done);
    }
    let wide = id_width(shown);
    let now = SystemClock.now();
    let cells: Vec<Vec<Cell>> = nested(shown).into_iter().map(|(depth, row)| cells(row, depth, wide, now)).collect();
    let columns = [
        ("ID", Side::Left),
        ("NAME", Side::Left),
        ("STATE", Side::Left),
        ("FROM", Side::Left),
        ("EVENTS", Side::Right),
        ("ACTIONS", Side::Right),
        ("CHANGED", Side::Right),
        ("TITLE", Side::Left),
    ];
    table(&mut context.out, &columns, &cells)?;
    if rows.len() > shown.len() {
        context.note(format_args!("there are more; `{}` lists all of them", context.command("ls --all")));
    }
    Ok(Exit::Done)
}

/// Each session with its forks below it, and how deep it stands; the one that changed last, or a fork of which did, first.
fn nested(rows: &[SessionRow]) -> Vec<(usize, &SessionRow)> {
    let by_id: HashMap<SessionId, &SessionRow> = rows.iter().map(|row| (row.id, row)).collect();
    let above = |row: &SessionRow| row.base.and_then(|base| by_id.get(&base.session).copied());
    let mut below = HashMap::<SessionId, Vec<&SessionRow>>::new();
    for row in rows {
        if let Some(above) = above(row) {
            below.entry(above.id).or_default().push(row);
        }
    }
    let mut nested = Vec::with_capacity(rows.len());
    let mut begun = HashSet::new();
    for row in rows {
        let mut top = row;
        while let Some(above) = above(top) {
            top = above;
        }
        let mut ahead = if begun.insert(top.id) { vec![(0, top)] } else { Vec::new() };
        while let Some((depth, row)) = ahead.pop() {
            nested.push((depth, row));
            ahead.extend(below.get(&row.id).into_iter().flatten().rev().map(|fork| (depth + 1, *fork)));
        }
    }
    nested
}

fn cells(row: &SessionRow, depth: usize, wide: usize, now: Timestamp) -> Vec<Cell> {
    let id: String = row.id.to_string().chars().take(wide).collect();
    let id = match depth {
        0 => id,
        _ => format!("{}└ {id}", "  ".repeat(depth.min(DEPTH_MAX) - 1)),
    };
    let directory = &row.directory;
    let from = match row.base {
        Some(base) => format!("{}@{}", directory.origin, base.seq),
        None => directory.origin.clone(),
    };
    vec![
        Cell::new(id).tone(Tone::Strong),
        Cell::new(row.name.as_ref().map_or("-", |name| name.as_str())),
        Cell::new(&directory.phase).tone(state_tone(&directory.phase)),
        Cell::new(from),
        Cell::new(row.head.to_string()),
        Cell::new(directory.actions.to_string()),
        Cell::new(text::ago(row.updated_at, now)),
        Cell::new(text::shorten(directory.title.as_deref().unwrap_or_default(), TITLE_MAX)),
    ]
}

/// What a person should make of a state.
pub fn state_tone(state: &str) -> Tone {
    match state {
        "finished" | "imported" => Tone::Good,
        "error" | "start_failed" | "rejected" => Tone::Bad,
        "running" | "starting" | "closing" | "importing" | "loading" => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// The shortest beginning that tells all of these apart.
fn id_width(rows: &[SessionRow]) -> usize {
    let mut ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    ids.sort_unstable();
    let common = |(a, b): (&String, &String)| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count() + 1;
    ids.iter().zip(ids.iter().skip(1)).map(common).max().unwrap_or(0).max(ID_MIN)
}
