//! `rekindle audit report`: what auditors ask, over a period, as a table, as JSON, and as a page to print.

mod page;
mod table;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use clap_complete::ArgValueCompleter;

use crate::audit::report::{Asked, Period, Report, report};
use crate::cli::Context;
use crate::cli::address::{Address, find};
use crate::cli::complete::sessions;
use crate::cli::exit::{CliError, Exit};
use crate::cli::new_file::NewFile;
use crate::cli::run::talk::who;
use crate::cli::span::span;
use crate::cli::text::{count, one_line};
use crate::engine::clock::{Clock as _, SystemClock};
use crate::session::Timestamp;

/// Answer what auditors ask, over a period
///
/// Of each session with events in it: who and which agent, which models, a digest of what was in force, every action with what was judged
/// and agreed to before it ran, and what came of it. Then what proves that nothing is missing: the seals and the times between them, and
/// what none of them is about; what was taken out, by whom and why; what is held and for how long sessions are kept; and who has read.
/// Ends with 5 when something is not what was written, which the report says, too; the rest is told all the same.
///
/// -o json is complete: the fields are those of `audit::report::Report` in the documentation of the library.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// When it begins: a day, 2026-11-01, or a moment, 2026-11-01T12:00:00Z; days begin at midnight in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Timestamp,
    /// The first moment that it does not hold; now by default
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// One session alone
    #[arg(long, value_name = "S", add = ArgValueCompleter::new(sessions))]
    session: Option<Address>,
    /// How long it may be from one seal to the next, as 1h or 7d
    #[arg(long, value_name = "TIME", value_parser = cadence)]
    cadence: Option<Duration>,
    /// Write a page to print to this file, in place of the table
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0)).map(|day| day.and_utc());
    let at = day.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()));
    let at = at.map(|at| Timestamp(at.timestamp_micros()));
    at.ok_or_else(|| format!("{text:?} is no time; say a day, 2026-11-01, or a moment, 2026-11-01T12:00:00Z"))
}

/// The longest cadence, in days.
const CADENCE_DAYS_MAX: u64 = 366;

fn cadence(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else { return span(text) };
    let days = days.parse().ok().filter(|days| (1..=CADENCE_DAYS_MAX).contains(days));
    days.map(|days: u64| Duration::from_hours(24 * days))
        .ok_or_else(|| format!("say a time between 100ms and {CADENCE_DAYS_MAX}d"))
}

/// Makes a report.
///
/// # Errors
/// When there is no such session, the period is none, the store cannot be read, or the page not be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let now = SystemClock.now();
    let period = Period { from: args.from, to: args.to.unwrap_or(now) };
    if period.from >= period.to {
        return Err(CliError::Usage(format!(
            "the period ends at {}, which is not after its begin at {}",
            period.to, period.from
        )));
    }
    let store = match &args.session {
        Some(_) => context.store().await?,
        None => context.store_of_all().await?,
    };
    let session = match &args.session {
        Some(address) => Some(find(context, store.as_ref(), address.whole()?).await?.id),
        None => None,
    };
    let asked = Asked { period, session, cadence: args.cadence, now, by: who() };
    let told = context.is_watched();
    let report = report(store.as_ref(), &asked, |row| {
        if told {
            eprintln!("reading {} ({})", row.id, count(row.head.0, "event"));
        }
    })
    .await?;
    if let Some(path) = &args.html {
        let file = NewFile::create(path)?;
        let file = page::write(file, &report).map_err(|source| CliError::File { verb: "write", path: path.clone(), source })?;
        file.keep()?;
        context.note(format_args!("wrote {}", path.display()));
    }
    if !context.out.is_table() {
        context.out.json(&report)?;
    } else if args.html.is_none() {
        table::print(&mut context.out, &report)?;
    }
    Ok(told_damage(context, &report))
}

/// Names what is damaged, and says how that ends.
fn told_damage(context: &Context, report: &Report) -> Exit {
    if let Some((_, what)) = report.proof.audit_log.failure() {
        context.note(format_args!("the audit log is damaged: {}", one_line(what)));
    }
    for session in &report.sessions {
        if let Some(damage) = &session.damage {
            context.note(format_args!("session {} is damaged: {}", session.session, one_line(&damage.what)));
        }
    }
    if report.damaged { Exit::Unverified } else { Exit::Done }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_or_a_moment_in_utc() {
        assert_eq!(moment("1970-01-02"), Ok(Timestamp(86_400_000_000)));
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Ok(Timestamp(0)));
        for wrong in ["", "yesterday", "2026-13-01", "2026-11-01T12:00:00", "12:00"] {
            assert!(moment(wrong).unwrap_err().contains("2026-11-01"), "{wrong}");
        }
        assert_eq!(cadence("7d"), Ok(Duration::from_hours(168)));
        assert_eq!(cadence("1h"), Ok(Duration::from_hours(1)));
        assert!(cadence("0d").is_err() && cadence("999d").is_err() && cadence("soon").is_err());
    }
}
