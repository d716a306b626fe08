//! `rekindle replay`: perform a recording again, or fold a session's log, or decide it, again; one file per mode.

mod execute;
mod fold;
mod report;
mod source;
mod stepping;
mod verify;

use super::Context;
use super::address::Address;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::fork;
use super::sandbox::SandboxArgs;
use super::span::LeaseArgs;
use crate::session::SessionName;
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

pub use execute::{free, to_rest, unreadable};

/// Perform a recording again, or fold or decide a session's log again, and compare with what was recorded
///
/// In mode `execute` WHAT is a V0 trajectory, the directory of a stored V0 session, or a session. Its actions are really performed,
/// in a workspace, and each outcome is compared with the recorded one. The recording is kept in the store, so that `rekindle
/// resume` goes on from any point without the file.
///
/// In mode `fold` WHAT is a session. Its log is folded from the first event by this version, no model and no tool is asked, and
/// each state whose digest is recorded on the way must be the one folded. It needs nothing but the log.
///
/// In mode `verify` WHAT is a session. What was brought to it is read from its log, today's code decides on it again, with no model
/// and no tool, and each decision must be the one that stands there; of S@N those up to event N. With --all any store is a test of a
/// new version.
///
/// Ends with 6 when something is not as recorded.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to replay: a file or a session, S@N for its first N events; with --mode fold or verify a session
    #[arg(value_name = "WHAT", required_unless_present = "all", add = ArgValueCompleter::new(sessions))]
    what: Option<String>,
    /// How
    #[arg(long, value_enum, default_value = "execute", value_name = "MODE")]
    mode: Mode,
    /// All sessions of the store
    #[arg(short, long, conflicts_with = "what")]
    all: bool,
    /// With --mode verify: tell all divergences of a session, not the first only
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    performing: Performing,
}

/// How something is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Perform the actions of a recording, and compare what comes of them
    Execute,
    /// Fold the log of a session, and compare the states that it records
    Fold,
    /// Decide again what a session decided, and compare
    Verify,
    /// Begin a session that goes on from the recorded events: `rekindle fork`, which can do more
    Fork,
}

/// How a recording is performed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of --mode execute")]
struct Performing {
    /// Where to work; a directory of the session's own by default
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// A name for the session
    #[arg(long, value_name = "NAME")]
    name: Option<SessionName>,
    /// Perform only the beginning: up to this entry of a file, counted from 0, or to this event of a session
    #[arg(long, value_name = "N")]
    upto: Option<u64>,
    /// Ask before each action, on standard input: next, continue, skip, quit
    #[arg(long)]
    step: bool,
    /// Ask before actions of this kind, such as `run`; can be given more than once
    #[arg(long = "break", value_name = "KIND", value_parser = stepping::kind)]
    breaks: Vec<String>,
    /// Let the recording have effects outside its sandbox: by --network, --unsafe-local, and the servers of a session's tools
    ///
    /// Else what a server did is taken from the recording, and told as not run.
    #[arg(long)]
    allow_effects: bool,
    /// Write what became of each action to this file, whose name ends in .json or .html
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What to do when an outcome is not the recorded one
    #[arg(long, value_enum, default_value = "continue", value_name = "WHAT")]
    on_divergence: Divergence,
    /// What to do at an entry that this version cannot read
    #[arg(long, value_enum, default_value = "step-over", value_name = "WHAT")]
    on_unknown: Unknown,
    /// Seconds that an action may take at most, whatever time it was recorded with
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    action_timeout: Option<u64>,
    /// Seconds that a command may be quiet before it is left running
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    quiet_timeout: Option<u64>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// What to do when an outcome is not the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Divergence {
    /// End there
    Stop,
    /// Note it and go on
    Continue,
}

/// What to do at an entry that this version cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Unknown {
    /// Name it and go on behind it
    StepOver,
    /// End there
    Stop,
}

/// Replays something.
///
/// # Errors
/// When it is not there or cannot be read, or the store cannot be read or written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let Args { what, mode, all, keep_going, performing } = args;
    match (mode, what) {
        (Mode::Execute, Some(what)) => execute::run(context, what, performing).await,
        (Mode::Execute, None) => {
            let all_of_them = context.command("replay --all --mode");
            debug_assert!(all, "clap asks for one or the other");
            let way =
                format!("all sessions are folded again with `{all_of_them} fold`, decided again with `{all_of_them} verify`");
            Err(CliError::Usage(format!("recordings are performed one by one; {way}")))
        }
        (Mode::Fold, Some(what)) => {
            let address: Address = what.parse().map_err(CliError::Usage)?;
            fold::run(context, Some(address)).await
        }
        (Mode::Fold, None) => fold::run(context, None).await,
        (Mode::Verify, Some(what)) => {
            let address: Address = what.parse().map_err(CliError::Usage)?;
            verify::run(context, Some(address), keep_going).await
        }
        (Mode::Verify, None) => verify::run(context, None, keep_going).await,
        (Mode::Fork, Some(what)) => {
            let Performing { workspace, name, lease, .. } = performing;
            Box::pin(fork::run(context, fork::Args::plain(what.parse().map_err(CliError::Usage)?, workspace, name, lease))).await
        }
        (Mode::Fork, None) => Err(CliError::Usage("sessions are forked one by one".to_owned())),
    }
}
