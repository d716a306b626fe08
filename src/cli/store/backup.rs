//! `rekindle store backup`: one file with all that the store holds, while it is in use.

use std::path::PathBuf;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{absolute, bodies_of_copy, usual_options};
use super::copy::copy;
use crate::store::{Backup, OpenOptions, connect};

/// Write a copy of the store, as it is now, to one file
///
/// The store may be in use meanwhile. The file is a store itself: `--store sqlite://FILE` reads it, `store restore` brings it back.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file that is not there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Backs the store up.
///
/// # Errors
/// When the file exists or cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let file = absolute(&args.file)?;
    if file.exists() {
        return Err(CliError::Conflict(format!("{} exists; name a new file for the backup", file.display())));
    }
    match store.backup(&file).await? {
        Backup::Made => {
            context.note(format_args!("{} holds the store as it was just now", file.display()));
            Ok(Exit::Done)
        }
        Backup::ByCopy => {
            let bodies = bodies_of_copy(store.info().await?.encrypted, false);
            let options = OpenOptions { bodies, ..usual_options() };
            let to = connect(&format!("sqlite://{}", file.display()), options).await?;
            let exit = copy(context, store.as_ref(), to.as_ref()).await;
            to.close().await;
            exit
        }
    }
}
