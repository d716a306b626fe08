//! `rekindle usage`: what went on day by day, in all sessions together.

use chrono::NaiveDate;
use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::Address;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::location::Access;
use super::output::{Cell, Side, table};
use super::paint::Tone;
use super::text::{count, one_line};
use crate::engine::clock::{Clock, SystemClock};
use crate::engine::travel::state_at;
use crate::projection::activity::{Activity, ActivityByDay, days};
use crate::projection::catch_up::CatchUp;
use crate::projection::lag::lag;
use crate::projection::moment;
use crate::session::{Seq, SessionId, Timestamp};
use crate::store::{SharedStore, StoreError};

/// Show what all sessions did and used, day by day; or what one did and used so far
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One session; S@N for what it had used after event N
    #[arg(value_name = "S[@N]", conflicts_with = "since", add = ArgValueCompleter::new(sessions))]
    address: Option<Address>,
    /// Only from this day on, as 2026-01-31, in UTC
    #[arg(long, value_name = "DAY")]
    since: Option<NaiveDate>,
}

/// One line. The shape of each document of `usage -o json`; the last one is the total.
#[derive(Serialize)]
struct Line<'a> {
    day: &'a str,
    #[serde(flatten)]
    activity: Activity,
}

/// Catches up, and shows.
///
/// # Errors
/// When the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if let Some(address) = &args.address {
        return of_session(context, address).await;
    }
    let Some(store) = context.location.open(Access::Write).await? else {
        context.note(context.none_yet());
        if !context.out.is_table() {
            context.out.json_list([Line { day: "total", activity: Activity::default() }])?;
        }
        return Ok(Exit::Done);
    };
    let mut runner = CatchUp::new(SharedStore::clone(&store), ActivityByDay);
    match runner.run_once().await {
        Ok(_) => {}
        // What is known is worth showing.
        Err(error @ (StoreError::ReadOnly(_) | StoreError::Busy(_) | StoreError::Full(_))) => {
            context.note(format_args!("not caught up: {error}"));
        }
        Err(error) => return Err(error.into()),
    }
    // What this has read is counted, and shown by the day.
    let store = context.on_the_record(store).await?;
    let mut days = days(store.as_ref(), runner.id()).await?;
    if let Some(since) = args.since {
        let since = since.to_string();
        days.retain(|day, _| *day >= since && day.starts_with(|first: char| first.is_ascii_digit()));
    }
    let mut total = Activity::default();
    days.values().for_each(|day| total += *day);
    let lines: Vec<_> = days.iter().map(|(day, activity)| Line { day: day.as_str(), activity: *activity }).collect();
    let total = Line { day: "total", activity: total };
    if context.out.is_table() {
        print(context, &lines, &total)?;
    } else {
        context.out.json_list(lines.iter().chain([&total]))?;
    }
    let lag = lag(store.as_ref(), runner.id()).await?;
    if lag.events > 0 {
        let age = lag.age(SystemClock.now()).as_secs();
        context.note(format_args!("{} came meanwhile and are not in here, the first {age} s ago", count(lag.events, "event")));
    }
    for held in store.quarantined(runner.id()).await? {
        let what = one_line(&held.what).into_owned();
        context.note(format_args!("session {} is in here only up to event {}: {what}", held.session, held.seq));
    }
    store.close().await;
    Ok(Exit::Done)
}

/// What one session used. The shape of `usage S -o json`.
#[derive(Serialize)]
struct SessionUsage {
    session: SessionId,
    events: Seq,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    iterations: u64,
    actions: u64,
    observations: u64,
    messages: u64,
    errors: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost_micro_usd: Option<u64>,
}

/// Shows what one session used, up to its end or to an event.
async fn of_session(context: &mut Context, address: &Address) -> Result<Exit, CliError> {
    let (store, row) = context.states(&address.session).await?;
    let at = address.at(&row)?;
    let state = state_at(store.as_ref(), row.id, at).await?.session;
    let (counts, used) = (state.counts, state.usage);
    if !context.out.is_table() {
        context.out.json(&SessionUsage {
            session: row.id,
            events: state.version,
            at: state.at,
            iterations: state.iterations,
            actions: counts.actions,
            observations: counts.observations,
            messages: counts.messages,
            errors: counts.errors,
            prompt_tokens: used.prompt_tokens,
            completion_tokens: used.completion_tokens,
            cost_micro_usd: used.cost_micro_usd,
        })?;
        return Ok(Exit::Done);
    }
    let columns = ["EVENTS", "ITERATIONS", "ACTIONS", "MESSAGES", "ERRORS", "TOKENS", "COST"].map(|title| (title, Side::Right));
    let cost = used.cost_micro_usd.map_or_else(|| "-".to_owned(), dollars);
    let tokens = used.prompt_tokens.saturating_add(used.completion_tokens);
    let figures = [state.version.0, state.iterations, counts.actions, counts.messages, counts.errors, tokens];
    let mut cells: Vec<_> = figures.iter().map(|figure| Cell::new(figure.to_string())).collect();
    cells.push(Cell::new(cost));
    table(&mut context.out, &columns, &[cells])?;
    Ok(Exit::Done)
}

fn print(context: &mut Context, lines: &[Line<'_>], total: &Line<'_>) -> Result<(), CliError> {
    let columns = [
        ("DAY", Side::Left),
        ("SESSIONS", Side::Right),
        ("ACTIONS", Side::Right),
        ("MESSAGES", Side::Right),
        ("ERRORS", Side::Right),
        ("TOKENS", Side::Right),
        ("COST", Side::Right),
    ];
    let cells = |line: &Line<'_>, tone| {
        let Activity { sessions, actions, messages, errors, tokens, cost_micro_usd } = line.activity;
        let cost = cost_micro_usd.map_or_else(|| "-".to_owned(), dollars);
        let figures = [sessions, actions, messages, errors, tokens].map(|figure| Cell::new(figure.to_string()).tone(tone));
        let mut cells = vec![Cell::new(line.day).tone(tone)];
        cells.extend(figures);
        cells.push(Cell::new(cost).tone(tone));
        cells
    };
    let mut rows: Vec<_> = lines.iter().map(|line| cells(line, Tone::Plain)).collect();
    rows.push(cells(total, Tone::Strong));
    Ok(table(&mut context.out, &columns, &rows)?)
}

/// Four decimals, as prices of single calls need them.
fn dollars(micro: u64) -> String {
    format!("${}.{:04}", micro / 1_000_000, micro % 1_000_000 / 100)
}
