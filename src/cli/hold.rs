//! `rekindle pause` and `rekindle stop`: hold a session's agent, wherever it runs.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::location::Access;
use super::span::LeaseArgs;
use super::summary::field;
use crate::projection::directory::shown;
use crate::session::{Command, SessionId};

/// Hold a session's agent: what it is at is finished, and nothing new is begun; `rekindle resume` goes on
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// The session
    #[arg(value_name = "S", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Stop a session's agent at once: what it is at is ended; `rekindle resume` goes on, `rekindle close` ends the session
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// The session
    #[arg(value_name = "S", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, as it will stand in the log
    #[arg(long, value_name = "TEXT", default_value = "stopped from the command line")]
    reason: String,
    #[command(flatten)]
    lease: LeaseArgs,
}

#[derive(Debug, Serialize)]
struct Held {
    session: SessionId,
    state: &'static str,
}

/// Pauses.
///
/// # Errors
/// When the session has no agent at work.
pub async fn pause(context: &mut Context, args: Pause) -> Result<Exit, CliError> {
    held(context, &args.address, Command::Pause, args.lease).await
}

/// Stops.
///
/// # Errors
/// When the session has not started, or is closed.
pub async fn stop(context: &mut Context, args: Stop) -> Result<Exit, CliError> {
    held(context, &args.address, Command::Stop { reason: args.reason }, args.lease).await
}

async fn held(context: &mut Context, address: &Address, command: Command, lease: LeaseArgs) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Write).await?;
    let row = find(context, store.as_ref(), address.whole()?).await?;
    let engine = engine(store, lease);
    let asked = engine.submit(row.id, command).await;
    // What was taken over here to be held is let go again; it stays as it is.
    engine.shutdown().await;
    asked?;
    let state = shown(&engine.restore(row.id).await?.session);
    if !context.out.is_table() {
        context.out.json(&Held { session: row.id, state })?;
        return Ok(Exit::Done);
    }
    field(&mut context.out, "session", &row.id.to_string())?;
    field(&mut context.out, "state", state)?;
    Ok(Exit::Done)
}
