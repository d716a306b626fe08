//! `rekindle audit`: seal the log of the store, so that what happens to it afterwards can be proven to anybody.

mod access;
mod against;
mod key;
mod keys;
mod report;
mod retain;
mod seal;

use super::Context;
use super::exit::{CliError, Exit};

pub use against::{AgainstArgs, against};
pub use seal::{Cadence, CadenceArgs};

/// Seal the log, so that anybody can check later that nothing was cut off, put back, removed or written anew
///
/// A seal takes the newest event of every session that changed into a Merkle tree, and signs its root: a checkpoint. Kept where whoever
/// keeps the store cannot change it, `rekindle verify --against` it finds what was done to the store. The formats are those of
/// c2sp.org/tlog-checkpoint and c2sp.org/signed-note.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Seal(seal::Args),
    Key(key::Args),
    Retain(retain::Args),
    Access(access::Args),
    Report(report::Args),
}

/// Does what was asked for.
///
/// # Errors
/// As each of them.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Seal(args) => Box::pin(seal::run(context, args)).await,
        What::Key(args) => key::run(context, &args).await,
        What::Retain(args) => retain::run(context, &args).await,
        What::Report(args) => Box::pin(report::run(context, args)).await,
        What::Access(args) => access::run(context, &args).await,
    }
}
