//! `rekindle store`: the care of a store.

mod backup;
mod copy;
mod gc;
mod hold;
mod info;
mod init;
mod migrate;
mod pack;
mod restore;
mod room;

use std::time::Duration;

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
    Pack(pack::Args),
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
        What::Pack(args) => pack::run(context, args).await,
        What::Hold(args) => hold::hold(context, args).await,
        What::Release(args) => hold::release(context, args).await,
    }
}

/// An age, as a person writes it.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no age; write 90d, 12h or 30m");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}
