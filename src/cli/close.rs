//! `rekindle close`: end a session, whoever ran it, and release what it holds.

use std::time::Duration;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::{Ended, drive, engine, interrupted, told};
use super::location::Access;
use super::span::LeaseArgs;
use super::summary::field;
use super::text::one_line;
use crate::engine::Engine;
use crate::session::{Command, Phase, Seq, SessionId};
use crate::store::Row;

/// Close a session, and release what it holds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, as it will stand in the log
    #[arg(long, value_name = "TEXT", default_value = "closed from the command line")]
    reason: String,
    #[command(flatten)]
    lease: LeaseArgs,
}

#[derive(Debug, Serialize)]
struct Closed {
    session: SessionId,
    closed: bool,
    already: bool,
    reason: String,
}

/// Waits until the node that runs the session has closed it, at most as long as a close may take.
async fn closed_elsewhere(engine: &Engine, id: SessionId, after: Seq) -> Result<Ended, CliError> {
    let closed = async {
        let mut events = engine.subscribe(id, after);
        loop {
            if matches!(events.next().await?, Row::Event { event, .. } if event.kind.as_str() == "session.closed") {
                return Ok(Ended::Rested);
            }
        }
    };
    let spec = engine.restore(id).await?.session.spec;
    let wait = Duration::from_millis(spec.map_or(0, |spec| spec.deadlines.close_ms));
    tokio::select! {
        () = interrupted() => Ok(Ended::Interrupted),
        closed = closed => closed,
        () = tokio::time::sleep(wait) => Ok(Ended::Rested),
    }
}

/// How a session was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is closed.
    Closed {
        /// Whether it was before.
        already: bool,
        /// Why.
        reason: String,
    },
    /// A person would not wait for it.
    Interrupted,
}

/// Closes a session, whoever runs it, waits until it is, and shuts `engine` down.
///
/// # Errors
/// When it does not end, or the store cannot be read or written.
pub async fn end(context: &mut Context, engine: &Engine, id: SessionId, reason: String) -> Result<Ending, CliError> {
    let before = engine.restore(id).await?;
    let already = matches!(before.session.phase, Phase::Closed { .. });
    if !already {
        engine.submit(id, Command::Close { reason }).await?;
    }
    // The node that runs it closes it, too.
    let elsewhere = !already && !engine.is_live(id);
    let ended = drive(engine, id, before.session.version, told(context, &before.session)).await;
    engine.shutdown().await;
    let ended = match ended? {
        Ended::Rested if elsewhere => closed_elsewhere(engine, id, before.session.version).await?,
        ended => ended,
    };
    match ended {
        Ended::Interrupted => return Ok(Ending::Interrupted),
        Ended::Failed(failure) => {
            return Err(CliError::Stopped { failure, resume: context.command(format_args!("close {id}")) });
        }
        Ended::Rested => {}
    }
    match engine.restore(id).await?.session.phase {
        Phase::Closed { reason } => Ok(Ending::Closed { already, reason }),
        _ => Err(CliError::Failed(format!("session {id} is still being closed; close it again to go on"))),
    }
}

/// Closes a session.
///
/// # Errors
/// When there is no such session, or a living process runs it.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Write).await?;
    let row = find(context, store.as_ref(), args.address.whole()?).await?;
    let engine = engine(store, args.lease);
    let (already, reason) = match Box::pin(end(context, &engine, row.id, args.reason)).await? {
        Ending::Closed { already, reason } => (already, reason),
        Ending::Interrupted => return Ok(Exit::Interrupted),
    };
    if !context.out.is_table() {
        context.out.json(&Closed { session: row.id, closed: true, already, reason })?;
        return Ok(Exit::Done);
    }
    let word = if already { "closed before" } else { "closed" };
    field(&mut context.out, "session", &row.id.to_string())?;
    field(&mut context.out, "state", &format!("{word}: {}", one_line(&reason)))?;
    Ok(Exit::Done)
}
