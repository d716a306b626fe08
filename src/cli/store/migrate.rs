//! `rekindle store migrate`: bring a store's tables to this version's format.

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{Access, usual_options};
use crate::store::{FORMAT, OpenOptions};

/// Bring the store's tables to the format of this version
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct Migrated {
    address: String,
    format: i64,
}

/// Migrates.
///
/// # Errors
/// When there is no store, or it cannot be changed.
pub async fn run(context: &mut Context, _args: Args) -> Result<Exit, CliError> {
    let options = OpenOptions { migrate: true, ..usual_options() };
    let store = context.location.open_with(Access::Write, options).await?;
    let store = store.ok_or_else(|| CliError::NotFound(context.none_yet()))?;
    let info = store.info().await?;
    store.close().await;
    let migrated = Migrated { address: info.address, format: info.format };
    if context.out.is_table() {
        context.out.line(format_args!("{} has format {FORMAT}, that of this version", migrated.address))?;
    } else {
        context.out.json(&migrated)?;
    }
    Ok(Exit::Done)
}
