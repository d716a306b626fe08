//! `rekindle approve` and `rekindle reject`: what a person says of an action that waits for them, also after a restart.

use clap_complete::ArgValueCompleter;

use super::Context;
use super::address::{Address, Place, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::run::talk::{self, Talk, who};
use super::span::LeaseArgs;
use crate::session::{Command, Seq};

/// Agree to what a session's agent wants to do, and let it go on
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The session, or one action of it: S or S:N
    #[arg(value_name = "S", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Refuse what a session's agent wants to do
///
/// With a reason the agent goes on by it; without one it waits for `rekindle send`.
#[derive(Debug, clap::Args)]
pub struct Reject {
    /// The session, or one action of it: S or S:N
    #[arg(value_name = "S", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, for the agent to go by
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Agrees.
///
/// # Errors
/// When nothing waits for anybody.
pub async fn approve(context: &mut Context, args: Approve) -> Result<Exit, CliError> {
    let action = action(&args.address)?;
    Box::pin(consent(context, &args.address, Command::Confirm { action, by: who() }, args.lease)).await
}

/// Refuses.
///
/// # Errors
/// When nothing waits for anybody.
pub async fn reject(context: &mut Context, args: Reject) -> Result<Exit, CliError> {
    let action = action(&args.address)?;
    Box::pin(consent(context, &args.address, Command::Refuse { action, by: who(), reason: args.reason }, args.lease)).await
}

fn action(address: &Address) -> Result<Option<Seq>, CliError> {
    match address.place {
        Place::Whole => Ok(None),
        Place::Event(seq) => Ok(Some(seq)),
        _ => Err(CliError::Usage("name the session, or one action of it: S or S:N".to_owned())),
    }
}

async fn consent(context: &mut Context, address: &Address, command: Command, lease: LeaseArgs) -> Result<Exit, CliError> {
    let store = context.store_for_writing().await?;
    let row = find(context, store.as_ref(), &address.session).await?;
    let engine = engine(store, lease);
    // What waits may be a delegate's, also where its parent is named.
    let whole = matches!(address.place, Place::Whole);
    let id = if whole { engine.consenting(row.id).await? } else { row.id };
    talk::tell(context, &engine, id, command, Talk::of_terminal()).await
}
