//! `rekindle audit retain`: how long sessions are kept at least.

use std::sync::Arc;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::run::talk::who;
use super::super::text::count;
use crate::audit::{Eraser, Retention};
use crate::engine::clock::SystemClock;

/// Say for how long sessions are kept at least, or show it
///
/// `rekindle purge` and `rekindle store gc` then refuse sessions whose last event is younger. That it was said, by whom and when, stands
/// in the audit log. A redaction is no purge: the event stays.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Days after the last event, as 180d; `none` for no time in particular; shown when left out
    #[arg(value_name = "DAYS", value_parser = days)]
    days: Option<u64>,
}

#[derive(Debug, Serialize)]
struct View {
    days: u64,
}

/// The longest that can be said, in days: a thousand years.
const DAYS_MAX: u64 = 365_000;

fn days(text: &str) -> Result<u64, String> {
    if text == "none" {
        return Ok(0);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok()).filter(|days| (1..=DAYS_MAX).contains(days));
    days.ok_or_else(|| format!("{text:?} is no number of days from 1d to {DAYS_MAX}d, and not none"))
}

/// Sets it, or shows it.
///
/// # Errors
/// When the audit log cannot be read or written.
pub async fn run(context: &mut Context, args: &Args) -> Result<Exit, CliError> {
    let days = match args.days {
        Some(days) => {
            let store = context.open_off_the_record(Access::Write).await?;
            Eraser::begin(store, Arc::new(SystemClock), who()).await?.retain(days).await?;
            days
        }
        None => Retention::of(context.open_off_the_record(Access::Read).await?.as_ref()).await?.days,
    };
    if !context.out.is_table() {
        context.out.json(&View { days })?;
        return Ok(Exit::Done);
    }
    context.out.line(match days {
        0 => "sessions are kept for no time in particular".to_owned(),
        days => format!("sessions are kept for at least {} after their last event", count(days, "day")),
    })?;
    Ok(Exit::Done)
}
