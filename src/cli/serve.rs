//! `rekindle serve`: run this machine as a node: take over what nobody runs, until told to stop.

use std::time::Duration;

use super::Context;
use super::exit::{CliError, Exit};
use super::host::{engine_with, interrupted};
use super::paint::Tone;
use crate::engine::{EngineError, EngineOptions, FailedBy, Served, Status};

/// Run this machine as a node: take over every session that has something left to do and that nobody runs
///
/// Any number of nodes may serve one store; they share the work. With Ctrl-C or SIGTERM a node hands over what it runs to the
/// others and ends.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long this node counts as living after it was last heard of: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    lease: Duration,
    /// How long a session that waits for a command stays in memory, with its shell
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span)]
    idle: Duration,
}

/// Reads a span of time such as `500ms`, `10s`, `2m` or `1h`.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("say a number and ms, s, m or h: 10s".to_owned()),
    };
    let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    let span = span.filter(|span| *span >= Duration::from_millis(100) && *span <= Duration::from_hours(24));
    span.ok_or_else(|| "say a time between 100ms and 24h".to_owned())
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the store cannot be opened.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store_or_new().await?;
    let engine = engine_with(store, EngineOptions { lease: args.lease, idle: args.idle });
    let stop = interrupted();
    context.note(format_args!("serving as node {} (pid {})", engine.node(), std::process::id()));
    let serve = engine.serve(|served| tell(context, &served));
    tokio::select! {
        () = stop => {}
        () = serve => {}
    }
    context.note("handing over");
    engine.drain().await;
    Ok(Exit::Interrupted)
}

/// One line for each thing that a person wants to know.
fn tell(context: &Context, served: &Served) {
    let bad = |line: String| context.note(context.paint.tone(Tone::Bad, line));
    match served {
        Served::Took(session) => context.note(format_args!("took over {session}")),
        Served::Rested(session, Status::Failed(failure)) if failure.by == FailedBy::Owner => {
            context.note(format_args!("let go of {session}: {}", failure.why));
        }
        Served::Rested(session, Status::Failed(failure)) => bad(format!("gave up {session}: {}", failure.why)),
        Served::Rested(session, Status::Busy | Status::Resting) => context.note(format_args!("rests {session}")),
        Served::NotTaken(_, EngineError::ShutDown) => {}
        Served::NotTaken(session, error) => bad(format!("cannot take over {session}: {error}")),
        Served::Troubled(error) => bad(format!("the store cannot be asked, and is asked again: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_has_a_unit_and_bounds() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(span("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "10", "s", "-1s", "1d", "0s", "25h", "99999999999999999999h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
