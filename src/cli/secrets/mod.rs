//! `rekindle secrets`: values that sessions use and the log never holds.

mod ls;
mod rm;
mod scan;
mod set;

use super::Context;
use super::exit::{CliError, Exit};
use crate::host::secrets::KeyringError;

/// Keep values that sessions use and the log never holds
///
/// They are kept in a file that only you can read, ~/.config/rekindle/secrets.json or what REKINDLE_SECRETS names; or in the
/// environment. The log has their names and fingerprints. Whatever would show a value shows <secret_hidden> instead, also where
/// it is escaped, quoted or encoded.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Set(set::Args),
    Ls(ls::Args),
    Rm(rm::Args),
    Scan(scan::Args),
}

/// Does what was asked for.
///
/// # Errors
/// As each of them.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    match args.what {
        What::Set(args) => set::run(context, args).await,
        What::Ls(args) => ls::run(context, &args),
        What::Rm(args) => rm::run(context, &args),
        What::Scan(args) => Box::pin(scan::run(context, args)).await,
    }
}

impl From<KeyringError> for CliError {
    fn from(error: KeyringError) -> Self {
        Self::Failed(error.to_string())
    }
}
