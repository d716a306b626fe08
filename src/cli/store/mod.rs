//! `rekindle store`: the care of a store.

mod backup;
mod copy;
mod gc;
mod hold;
mod info;
mod init;
mod migrate;
mod restore;

use super::Context;
use super::exit::{CliError, Exit};

/// Make, move, back up and clean a store
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Init(init::Args),
    Info(info::Args),
    Migrate(migrate::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Copy(copy::Args),
    Gc(gc::Args),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
}

/// Does what was asked for.
///
/// # Errors
/// As each of them.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Init(args) => init::run(context, args).await,
        What::Info(args) => info::run(context, args).await,
        What::Migrate(args) => migrate::run(context, args).await,
        What::Backup(args) => Box::pin(backup::run(context, args)).await,
        What::Restore(args) => Box::pin(restore::run(context, args)).await,
        What::Copy(args) => Box::pin(copy::run(context, args)).await,
        What::Gc(args) => gc::run(context, args).await,
        What::Hold(args) => hold::hold(context, args).await,
        What::Release(args) => hold::release(context, args).await,
    }
}
