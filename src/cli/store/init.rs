//! `rekindle store init`: make a store.

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{Access, usual_options};
use super::info;
use crate::store::{Bodies, OpenOptions, Placement};

/// Make the store, where there is none
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Distribute its tables over the workers of a Citus cluster
    #[arg(long)]
    distributed: bool,
    /// Encrypt what sessions say, each with a key of its own in the directory ~/.config/rekindle/session-keys, or in the one that
    /// REKINDLE_SESSION_KEYS names; a purge destroys the key, so that backups cannot be read either. Nothing can be searched then
    #[arg(long)]
    encrypt: bool,
}

/// Makes a store, and tells about it.
///
/// # Errors
/// When it cannot be made there.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if args.distributed && !context.location.is_served() {
        return Err(CliError::Usage("only a store on PostgreSQL can be distributed; leave --distributed away".to_owned()));
    }
    let placement = if args.distributed { Placement::Distributed } else { Placement::OneServer };
    let bodies = if args.encrypt { Bodies::Encrypted } else { Bodies::Readable };
    let options = OpenOptions { placement, bodies, ..usual_options() };
    if let Some(store) = context.location.open_with(Access::Create, options).await? {
        info::tell(context, store.as_ref()).await?;
        store.close().await;
    }
    Ok(Exit::Done)
}
