//! `rekindle store init`: make a store.

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::info;
use crate::store::{OpenOptions, Placement};

/// Make the store, where there is none
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Distribute its tables over the workers of a Citus cluster
    #[arg(long)]
    distributed: bool,
}

/// Makes a store, and tells about it.
///
/// # Errors
/// When it cannot be made there.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let url = context.location.url();
    let served = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if args.distributed && !served {
        return Err(CliError::Usage("only a store on PostgreSQL can be distributed; leave --distributed away".to_owned()));
    }
    let placement = if args.distributed { Placement::Distributed } else { Placement::OneServer };
    let options = OpenOptions { placement, ..OpenOptions::DEFAULT };
    if let Some(store) = context.location.open_with(Access::Create, options).await? {
        info::tell(context, store.as_ref()).await?;
        store.close().await;
    }
    Ok(Exit::Done)
}
