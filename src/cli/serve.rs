//! `rekindle serve`: run this machine as a node: take over what nobody runs, until told to stop.

use std::net::SocketAddr;
use std::time::Duration;

use super::Context;
use super::audit::{Cadence, CadenceArgs};
use super::exit::{CliError, Exit};
use super::host::{engine_with, interrupted};
use super::location::Access;
use super::metrics;
use super::paint::Tone;
use super::span::{LeaseArgs, span};
use crate::engine::{EngineError, EngineOptions, FailedBy, Served, Status};
use crate::projection::search::Indexer;
use crate::store::{SharedStore, StoreError};

/// Run this machine as a node: take over every session that has something left to do and that nobody runs
///
/// Any number of nodes may serve one store; they share the work. With Ctrl-C or SIGTERM a node hands over what it runs to the
/// others and ends.
#[derive(Debug, clap::Args)]
#[command(after_long_help = metrics::table())]
pub struct Args {
    #[command(flatten)]
    lease: LeaseArgs,
    /// How long a session that waits for a command stays in memory, with its shell
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = span)]
    idle: Duration,
    /// Where what is measured is served for Prometheus, at /metrics: PORT for this machine alone, or IP:PORT
    #[arg(long, value_name = "ADDR", env = "REKINDLE_METRICS", value_parser = metrics::address)]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    cadence: CadenceArgs,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the store cannot be opened.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Create).await?;
    // Before anything is there to be measured; kept until all is handed over.
    let page = match args.metrics {
        Some(address) => Some(metrics::serve(address).await?),
        None => None,
    };
    let cadence = Cadence::of(context, &store, args.cadence).await?;
    let indexing = tokio::spawn(index(SharedStore::clone(&store)));
    let engine = engine_with(store, EngineOptions { lease: args.lease.lease, idle: args.idle });
    let stop = interrupted();
    context.note(format_args!("serving as node {} (pid {})", engine.node(), std::process::id()));
    if let Some(page) = &page {
        context.note(format_args!("metrics at {}", page.url));
    }
    let serve = engine.serve(|served| tell(context, &served));
    let seals = async {
        match cadence {
            Some(cadence) => cadence.run(|line| context.note(context.paint.tone(Tone::Bad, line))).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop => {}
        () = serve => {}
        _ = seals => {}
    }
    context.note("handing over");
    indexing.abort();
    engine.drain().await;
    Ok(Exit::Interrupted)
}

/// How long a node waits after its index could not be kept up.
const INDEX_AGAIN: Duration = Duration::from_secs(10);

/// Keeps the search index up with the log, in the background.
async fn index(store: SharedStore) {
    let mut indexer = Indexer::new(store);
    loop {
        let Err(error) = indexer.follow().await;
        if matches!(error, StoreError::Unsearchable) {
            return;
        }
        tracing::warn!(%error, "the search index is not kept up, and is tried again");
        tokio::time::sleep(INDEX_AGAIN).await;
    }
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
