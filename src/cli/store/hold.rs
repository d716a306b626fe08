//! `rekindle store hold` and `release`: what must not be purged.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::super::Context;
use super::super::address::{Address, find};
use super::super::complete::sessions;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use crate::session::SessionId;

/// Hold a session, so that nothing purges it
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// The session
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, for whoever wants to purge it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Let a held session go
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The session
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Address,
}

#[derive(Debug, Serialize)]
struct Held {
    session: SessionId,
    hold: Option<String>,
}

/// Holds a session.
///
/// # Errors
/// When there is no such session, or the store cannot be written.
pub async fn hold(context: &mut Context, args: HoldArgs) -> Result<Exit, CliError> {
    if args.reason.trim().is_empty() {
        return Err(CliError::Usage("a hold needs a reason: --reason TEXT".to_owned()));
    }
    set(context, args.address, Some(args.reason)).await
}

/// Lets a session go.
///
/// # Errors
/// As [`hold`].
pub async fn release(context: &mut Context, args: ReleaseArgs) -> Result<Exit, CliError> {
    set(context, args.address, None).await
}

async fn set(context: &mut Context, address: Address, hold: Option<String>) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Write).await?;
    let row = find(context, store.as_ref(), address.whole()?).await?;
    store.hold(row.id, hold.as_deref()).await?;
    store.close().await;
    if context.out.is_table() {
        match &hold {
            Some(reason) => context.out.line(format_args!("session {} is held: {reason}", row.id))?,
            None => context.out.line(format_args!("session {} is held no longer", row.id))?,
        }
    } else {
        context.out.json(&Held { session: row.id, hold })?;
    }
    Ok(Exit::Done)
}
