//! `rekindle audit access`: whether it is written down who reads sessions.

use std::sync::Arc;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::run::talk::who;
use crate::audit::{is_access_recorded, set_access_recorded};
use crate::engine::clock::SystemClock;

/// Write down who reads sessions, or show whether that is done
///
/// While it is on, whoever reads what sessions hold with this program has that written down in the audit log before anything is shown:
/// who, which session up to which event, the list or all of them, when, and with which command. Where that cannot be written, nothing is
/// read. `verify`, `doctor` and `store info` show nothing of what sessions hold, and leave no record, so that a store can be checked
/// without changing it. Whoever can read the database itself needs no program: keep its files and its server to those who may.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What holds from now on; shown when left out
    #[arg(value_name = "WHAT", value_enum)]
    set: Option<Switch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    /// Write it down
    On,
    /// Do not write it down any more
    Off,
}

#[derive(Debug, Serialize)]
struct View {
    recorded: bool,
}

/// Sets it, or shows it.
///
/// # Errors
/// When the audit log cannot be read or written.
pub async fn run(context: &mut Context, args: &Args) -> Result<Exit, CliError> {
    let recorded = match args.set {
        Some(set) => {
            let (store, recorded) = (context.open_off_the_record(Access::Write).await?, set == Switch::On);
            set_access_recorded(store.as_ref(), Arc::new(SystemClock), who(), recorded).await?;
            recorded
        }
        None => is_access_recorded(context.open_off_the_record(Access::Read).await?.as_ref()).await?,
    };
    if !context.out.is_table() {
        context.out.json(&View { recorded })?;
        return Ok(Exit::Done);
    }
    context.out.line(match recorded {
        true => "who reads sessions is written down in the audit log",
        false => "who reads sessions is not written down",
    })?;
    Ok(Exit::Done)
}
