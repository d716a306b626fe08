//! `rekindle store restore`: a backup back into a store that holds nothing.

use std::path::PathBuf;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::absolute;
use super::copy::copy;
use crate::store::{OpenOptions, connect};

/// Bring a backup back into a store that is empty or not there yet
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that `store backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Restores a backup.
///
/// # Errors
/// When the store holds sessions already, or the file is no backup.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let file = absolute(&args.file)?;
    let reading = OpenOptions { create: false, read_only: true, ..OpenOptions::DEFAULT };
    let from = connect(&format!("sqlite://{}", file.display()), reading).await?;
    let to = context.store_or_new().await?;
    let held = to.info().await?.sessions;
    if held > 0 {
        let what =
            format!("the store holds {held} sessions already; restore into an empty one, or use `store copy` to add to it");
        return Err(CliError::Conflict(what));
    }
    let exit = copy(context, from.as_ref(), to.as_ref()).await;
    to.close().await;
    from.close().await;
    exit
}
