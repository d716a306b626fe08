//! Layer 7 · the `rekindle` program: one file per subcommand. Standard output carries data, standard error everything else.

mod audit;
mod bisect;
mod blame;
mod close;
mod completions;
mod consent;
mod demo;
mod diff;
mod doctor;
mod export;
mod files;
mod fork;
mod hold;
mod import;
mod ls;
mod man;
mod replay;
mod report;
mod resume;
mod run;
mod runtime_server;
mod search;
mod secrets;
mod send;
mod serve;
mod show;
mod state;
mod store;
mod tail;
mod tail_all;
mod usage;
mod verify;

mod address;
mod complete;
mod describe;
mod erase;
pub mod exit;
mod expression;
mod host;
mod location;
mod metrics;
mod new_file;
mod output;
mod page;
mod paint;
mod program;
mod progress;
mod rows;
mod sandbox;
mod span;
mod summary;
mod text;
mod traces;
mod view;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::{CommandFactory as _, Parser};

use crate::audit::{AccessLedger, Recorder, is_access_recorded};
use crate::engine::clock::SystemClock;
use crate::store::{OpenOptions, RUNG, SessionRow, SharedStore};
use address::Named;
use exit::{CliError, Exit};
use location::{Access, Location, usual_options};
use output::{Format, Out};
use paint::{ColorWhen, Paint};
use run::talk::who;
pub use traces::Traces;

/// An event-sourced session engine for AI agents: replay what an agent did, kill it anywhere, restore it, read it
#[derive(Debug, Parser)]
#[command(name = "rekindle", version, after_long_help = long_help(), disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Globals {
    /// The store; the user's own by default
    #[arg(
        long,
        global = true,
        env = "REKINDLE_STORE",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    store: Option<String>,
    /// How data is written
    #[arg(short = 'o', long, global = true, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Global options")]
    format: Format,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Global options")]
    color: ColorWhen,
    /// Say more on standard error; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet", help_heading = "Global options")]
    verbose: u8,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Demo(demo::Args),
    Run(Box<run::Args>),
    Secrets(secrets::Args),
    Send(send::Args),
    Approve(consent::Approve),
    Reject(consent::Reject),
    Pause(hold::Pause),
    Stop(hold::Stop),
    Replay(replay::Args),
    Resume(resume::Args),
    Fork(Box<fork::Args>),
    Rewind(Box<fork::Back>),
    Serve(serve::Args),
    RuntimeServer(runtime_server::Args),
    Ls(ls::Args),
    Show(show::Args),
    State(state::Args),
    Blame(blame::Args),
    Bisect(bisect::Args),
    Diff(diff::Args),
    Files(files::Args),
    Tail(tail::Args),
    Search(search::Args),
    Usage(usage::Args),
    Report(report::Args),
    Verify(verify::Args),
    Audit(audit::Args),
    Close(close::Args),
    Redact(erase::Redact),
    Purge(erase::Purge),
    Import(import::Args),
    Export(export::Args),
    Store(store::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// What the commands share.
pub struct Context {
    location: Location,
    /// What of the store was written down as read.
    ledger: Arc<AccessLedger>,
    out: Out,
    /// The colours of standard error.
    paint: Paint,
    /// How much is said on standard error.
    voice: Voice,
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// Errors.
    Quiet,
    /// What a person must know.
    Piped,
    /// Progress too: somebody looks, or asked for it.
    Watched,
}

impl Cli {
    /// The filter for traces: errors of what runs below, more when asked.
    pub const fn trace_filter(&self) -> &'static str {
        match (self.globals.quiet, self.globals.verbose) {
            (true, _) => "off",
            // What ends a command is told by the command itself.
            (false, 0) => "error,rekindle::engine::worker=off,rmcp=off",
            (false, 1) => "warn,rekindle=info,rmcp=off",
            (false, 2) => "info,rekindle=debug",
            (false, _) => "debug,rekindle=trace",
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// [`CliError`], whose [`exit`](CliError::exit) is the exit code.
pub async fn run(cli: Cli) -> Result<Exit, CliError> {
    let Globals { store, format, color, verbose, quiet } = cli.globals;
    let stderr = io::stderr();
    let voice = match (quiet, verbose > 0 || stderr.is_terminal()) {
        (true, _) => Voice::Quiet,
        (false, true) => Voice::Watched,
        (false, false) => Voice::Piped,
    };
    let location = Location::find(store.as_deref())?;
    let ledger = Arc::new(AccessLedger::new(Arc::new(SystemClock), who(), asked()));
    let mut context = Context { location, ledger, out: Out::new(format, color), paint: Paint::on(color, &stderr), voice };
    let context = &mut context;
    let done = match cli.command {
        Command::Demo(args) => Box::pin(demo::run(context, args)).await,
        Command::Run(args) => Box::pin(run::run(context, *args)).await,
        Command::Secrets(args) => Box::pin(secrets::run(context, args)).await,
        Command::Send(args) => Box::pin(send::run(context, args)).await,
        Command::Approve(args) => Box::pin(consent::approve(context, args)).await,
        Command::Reject(args) => Box::pin(consent::reject(context, args)).await,
        Command::Pause(args) => Box::pin(hold::pause(context, args)).await,
        Command::Stop(args) => Box::pin(hold::stop(context, args)).await,
        Command::Replay(args) => Box::pin(replay::run(context, args)).await,
        Command::Resume(args) => Box::pin(resume::run(context, args)).await,
        Command::Fork(args) => Box::pin(fork::run(context, *args)).await,
        Command::Rewind(args) => Box::pin(fork::rewind(context, *args)).await,
        Command::Serve(args) => Box::pin(serve::run(context, args)).await,
        Command::RuntimeServer(args) => Box::pin(runtime_server::run(context, args)).await,
        Command::Ls(args) => ls::run(context, args).await,
        Command::Show(args) => Box::pin(show::run(context, args)).await,
        Command::State(args) => Box::pin(state::run(context, args)).await,
        Command::Blame(args) => Box::pin(blame::run(context, args)).await,
        Command::Bisect(args) => Box::pin(bisect::run(context, args)).await,
        Command::Diff(args) => Box::pin(diff::run(context, args)).await,
        Command::Files(args) => Box::pin(files::run(context, args)).await,
        Command::Tail(args) => Box::pin(tail::run(context, args)).await,
        Command::Search(args) => Box::pin(search::run(context, args)).await,
        Command::Usage(args) => Box::pin(usage::run(context, args)).await,
        Command::Report(args) => Box::pin(report::run(context, args)).await,
        Command::Verify(args) => Box::pin(verify::run(context, args)).await,
        Command::Audit(args) => Box::pin(audit::run(context, args)).await,
        Command::Close(args) => Box::pin(close::run(context, args)).await,
        Command::Redact(args) => Box::pin(erase::redact(context, args)).await,
        Command::Purge(args) => Box::pin(erase::purge(context, args)).await,
        Command::Import(args) => Box::pin(import::run(context, args)).await,
        Command::Export(args) => Box::pin(export::run(context, args)).await,
        Command::Store(args) => Box::pin(store::run(context, args)).await,
        Command::Doctor(args) => Box::pin(doctor::run(context, args)).await,
        Command::Completions(args) => completions::run(context, &args),
        Command::Man(args) => man::run(context, args),
    };
    let flushed = context.out.flush();
    let exit = done?;
    flushed?;
    Ok(exit)
}

/// The words that name the command which this process was started with, without any argument.
fn asked() -> String {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(std::env::args_os()).ok();
    let words =
        std::iter::successors(matches.as_ref().and_then(|matches| matches.subcommand()), |(_, matches)| matches.subcommand());
    words.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

impl Context {
    /// Something that a person must know, beside the data.
    fn note(&self, line: impl fmt::Display) {
        if self.voice > Voice::Quiet {
            eprintln!("{line}");
        }
    }

    /// Something that a person who watches wants to know.
    fn progress(&self, line: impl fmt::Display) {
        if self.is_watched() {
            eprintln!("{line}");
        }
    }

    /// Whether somebody watches what happens.
    fn is_watched(&self) -> bool {
        self.voice >= Voice::Watched
    }

    /// What to say when there is nothing at all.
    fn none_yet(&self) -> String {
        let [replay, import] = ["replay FILE", "import PATH"].map(|rest| self.command(rest));
        format!("there are no sessions yet; make one with `{replay}` or `{import}`, or see `{} demo`", program::program())
    }

    /// The store, to read sessions that must be there.
    async fn store(&self) -> Result<SharedStore, CliError> {
        self.open(Access::Read).await
    }

    /// The store, to write to a session that must be there.
    async fn store_for_writing(&self) -> Result<SharedStore, CliError> {
        self.open(Access::Write).await
    }

    /// The store, made when it is missing.
    async fn store_or_new(&self) -> Result<SharedStore, CliError> {
        self.open(Access::Create).await
    }

    async fn open(&self, access: Access) -> Result<SharedStore, CliError> {
        self.open_if_there(access).await?.ok_or_else(|| self.nothing_there())
    }

    /// The store; `None` when a command only reads and the user's own store is not there yet. What is read of it is written down where
    /// the store says so.
    async fn open_if_there(&self, access: Access) -> Result<Option<SharedStore>, CliError> {
        let Some(store) = self.location.open(access).await? else { return Ok(None) };
        if !is_access_recorded(store.as_ref()).await? {
            return Ok(Some(store));
        }
        let store = if access == Access::Read { self.open_off_the_record(Access::Write).await? } else { store };
        Ok(Some(self.recorded(store)))
    }

    /// The store, of which all sessions are about to be read: that is written down as one.
    async fn store_of_all(&self) -> Result<SharedStore, CliError> {
        let store = self.open_off_the_record(Access::Read).await?;
        if !is_access_recorded(store.as_ref()).await? {
            return Ok(store);
        }
        let store = self.open_off_the_record(Access::Write).await?;
        self.ledger.all(store.as_ref()).await?;
        Ok(self.recorded(store))
    }

    /// A store that may be written, read on the record where it says so.
    async fn on_the_record(&self, store: SharedStore) -> Result<SharedStore, CliError> {
        Ok(if is_access_recorded(store.as_ref()).await? { self.recorded(store) } else { store })
    }

    fn recorded(&self, store: SharedStore) -> SharedStore {
        Arc::new(Recorder::new(store, Arc::clone(&self.ledger)))
    }

    /// The store, for commands that show nobody what sessions hold: nothing is written down of what they read.
    async fn open_off_the_record(&self, access: Access) -> Result<SharedStore, CliError> {
        self.open_off_the_record_with(access, usual_options()).await
    }

    /// The same, with options of the store's own.
    async fn open_off_the_record_with(&self, access: Access, options: OpenOptions) -> Result<SharedStore, CliError> {
        self.location.open_with(access, options).await?.ok_or_else(|| self.nothing_there())
    }

    fn nothing_there(&self) -> CliError {
        CliError::NotFound(self.none_yet())
    }

    /// The store and the session that is meant, to look at its states. The store of a long session is opened so that the snapshots
    /// that are made on the way can be kept, where that is possible.
    async fn states(&self, named: &Named) -> Result<(SharedStore, SessionRow), CliError> {
        let (store, row) = self.session(named).await?;
        if row.head.0 < RUNG {
            return Ok((store, row));
        }
        match self.store_for_writing().await {
            Ok(writable) => Ok((writable, row)),
            Err(_) => Ok((store, row)),
        }
    }

    /// The store and the session that is meant.
    async fn session(&self, named: &Named) -> Result<(SharedStore, SessionRow), CliError> {
        let store = self.store().await?;
        let row = address::find(self, store.as_ref(), named).await?;
        Ok((store, row))
    }

    /// The command that does `rest` on this store, to be pasted.
    fn command(&self, rest: impl fmt::Display) -> String {
        format!("{} {rest}{}", program::program(), self.location.flag())
    }
}

/// What the long help and the manual say beside the options: titles and texts.
const SECTIONS: [(&str, &str); 3] = [("Addresses", address::GRAMMAR), ("Exit codes", exit::TABLE), ("Output", output::RULES)];

fn long_help() -> String {
    SECTIONS.map(|(title, text)| format!("{title}:\n{text}")).join("\n\n")
}
