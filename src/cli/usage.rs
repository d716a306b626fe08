//! `rekindle usage`: what went on day by day, in all sessions together.

use chrono::NaiveDate;
use serde::Serialize;

use super::Context;
use super::exit::{CliError, Exit};
use super::location::Access;
use super::output::{Cell, Side, table};
use super::paint::Tone;
use super::text::{count, one_line};
use crate::engine::clock::{Clock, SystemClock};
use crate::projection::activity::{Activity, ActivityByDay, days};
use crate::projection::catch_up::CatchUp;
use crate::projection::lag::lag;
use crate::store::{SharedStore, StoreError};

/// Show what all sessions did and used, day by day
#[derive(Debug, clap::Args)]
pub struct Args {
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
