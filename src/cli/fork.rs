//! `rekindle fork` and `rekindle rewind`: a session goes on from any place of another one.

use std::path::{Path, PathBuf};

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::address::{Address, find, within};
use super::close::{Ending, end};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::paint::Tone;
use super::replay::{free, to_rest};
use super::run::spec::limits;
use super::run::talk::{self, Talk};
use super::span::LeaseArgs;
use super::summary::{Summary, field};
use super::text::{bytes, count, one_line};
use super::{Context, location};
use crate::engine::restore::restore_at;
use crate::engine::{Brought, Engine, Files, ForkOptions, ForkedAt, Trust};
use crate::session::decide::Instead;
use crate::session::{Digest, ModelApi, Seq, SessionId, SessionName};
use crate::store::{SessionRow, SharedStore};

/// Begin a session that goes on from any event of another one
///
/// The fork shares the log of the other session up to event N, without copying it, and goes on by itself from there, in a workspace of
/// its own with the files as they were: those of the newest snapshot at or before event N. The other session is only read, and goes on
/// as if nothing had happened. What it was just doing at event N is told to the agent of the fork as of unknown outcome.
///
/// What would have come of something else: --message, --result, --model, --iterations and --budget put it in place, and the fork goes on
/// at once. Without any of these it waits for `rekindle resume` or `rekindle send`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The session, and the event behind which it is left; its last one when none is named
    #[arg(value_name = "S[@N]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// What you say instead of your message that event N is; said after event N when that is none
    #[arg(long, value_name = "TEXT", conflicts_with = "result")]
    message: Option<String>,
    /// What came of the action that event N is the outcome of, instead of what did
    #[arg(long, value_name = "TEXT")]
    result: Option<String>,
    /// Another model at the same endpoint
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,
    /// The most calls of the model, those before the fork among them
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,
    /// The most US dollars, what was used before the fork among it
    #[arg(long, value_name = "USD")]
    budget: Option<f64>,
    /// Go on at once, also when nothing is other than it was
    #[arg(long, conflicts_with = "no_run")]
    run: bool,
    /// Only begin it
    #[arg(long)]
    no_run: bool,
    #[command(flatten)]
    place: Place,
}

/// Go back to an event of a session, and go on from there
///
/// The session is closed as it is; nothing of its log is taken away, and it stays to be read, or forked. A new one takes its place that
/// shares its log up to event N, and works in a workspace of its own with the files as they were: those of the newest snapshot at or
/// before event N. The old workspace stays as it is, too.
#[derive(Debug, clap::Args)]
#[command(after_help = BACK_EXAMPLES)]
pub struct Back {
    /// The session, and the event to go back to
    #[arg(value_name = "S@N", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// What you say instead of your message that event N is; said after event N when that is none. The session goes on at once then
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Where a fork works, and how it is known.
#[derive(Debug, clap::Args)]
struct Place {
    /// Where it works, new or empty; a directory of the session's own by default
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Bring no files there: what is in the directory is what it works with
    #[arg(long)]
    no_files: bool,
    /// A name for the session
    #[arg(long, value_name = "NAME")]
    name: Option<SessionName>,
    /// Why, as it will stand in the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// Some that work as they stand.
const EXAMPLES: &str = "Examples:
  rekindle fork @last@120                            go on from event 120, when you say so
  rekindle fork @last@7 --message \"Only the tests.\"  what if you had said this?
  rekindle fork @last@31 --result \"exit code 1\"      what if the command had failed?
  rekindle fork @last@-5 --model qwen3 --name try    what would another model do?";

const BACK_EXAMPLES: &str = "Examples:
  rekindle rewind @last@120
  rekindle rewind @last@7 --message \"Only the tests.\"";

/// The shape of `fork -o json` and `rewind -o json`.
#[derive(Debug, Serialize)]
struct View<'a> {
    session: SessionId,
    name: Option<&'a SessionName>,
    /// The session that it was forked from, and its last event that both have.
    parent: SessionId,
    at: Seq,
    /// Whether that one was closed and this one takes its place.
    rewinds: bool,
    events: Seq,
    hash: Digest,
    workspace: &'a Path,
    /// What was brought there; null when nothing was, for the reason in `no_files`.
    files: Option<FilesView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_files: Option<&'static str>,
    /// What came of it; unset when it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Summary>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct FilesView {
    /// The event that recorded the snapshot.
    at: Seq,
    files: u64,
    bytes: u64,
}

impl Args {
    /// A fork that is only begun.
    pub const fn plain(address: Address, workspace: Option<PathBuf>, name: Option<SessionName>, lease: LeaseArgs) -> Self {
        let place = Place { workspace, no_files: false, name, reason: None, lease };
        Self {
            address,
            message: None,
            result: None,
            model: None,
            iterations: None,
            budget: None,
            run: false,
            no_run: false,
            place,
        }
    }
}

/// Forks, and goes on where something is other than it was.
///
/// # Errors
/// When there is no such session or event, nothing can stand for it, or the store cannot be written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let Args { address, message, result, model, iterations, budget, run, no_run, place } = args;
    let store = context.store_for_writing().await?;
    let (row, at) = found(context, &store, &address).await?;
    let instead = message.map(Instead::Message).or_else(|| result.map(Instead::Result));
    let other = instead.is_some() || model.is_some() || iterations.is_some() || budget.is_some();
    let model = match model {
        Some(named) => Some(same_endpoint(&store, &row, at, &named).await?),
        None => None,
    };
    let budget_micro_usd = limits(None, budget)?.budget_micro_usd;
    let forking =
        Forking { row, at, instead, model, iterations, budget_micro_usd, rewinds: false, goes_on: (other && !no_run) || run };
    Box::pin(begin(context, store, forking, place)).await
}

/// Closes a session, and begins the one that takes its place.
///
/// # Errors
/// When there is no such session or event, it cannot be closed, or the store cannot be written.
pub async fn rewind(context: &mut Context, args: Back) -> Result<Exit, CliError> {
    let Back { address, message, place } = args;
    let store = context.store_for_writing().await?;
    let (row, at) = found(context, &store, &address).await?;
    if let Some(directory) = place.workspace.as_deref().filter(|_| !place.no_files) {
        is_free(directory)?;
    }
    if row.directory.origin == "import" {
        let what = format!("session {} was imported, so nobody goes on with it; there is nothing to rewind", row.id);
        return Err(CliError::Usage(what));
    }
    if let Some(name) = &place.name {
        free(store.as_ref(), name).await?;
    }
    // Before the fork: whoever is killed in between rewinds again, and two never go on.
    let closing = engine(SharedStore::clone(&store), place.lease);
    if Box::pin(end(context, &closing, row.id, format!("rewound to event {at}"))).await? == Ending::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let goes_on = message.is_some();
    let instead = message.map(Instead::Message);
    let forking = Forking { row, at, instead, model: None, iterations: None, budget_micro_usd: None, rewinds: true, goes_on };
    Box::pin(begin(context, store, forking, place)).await
}

/// What is forked, and how the fork goes on.
struct Forking {
    row: SessionRow,
    at: Seq,
    instead: Option<Instead>,
    model: Option<String>,
    iterations: Option<u64>,
    budget_micro_usd: Option<u64>,
    rewinds: bool,
    goes_on: bool,
}

async fn found(context: &Context, store: &SharedStore, address: &Address) -> Result<(SessionRow, Seq), CliError> {
    let row = find(context, store.as_ref(), &address.session).await?;
    let at = address.at(&row)?;
    within(&row, at).map(|at| (row, at))
}

async fn begin(context: &mut Context, store: SharedStore, forking: Forking, place: Place) -> Result<Exit, CliError> {
    let Forking { row, at, instead, model, iterations, budget_micro_usd, rewinds, goes_on } = forking;
    if let Some(name) = &place.name {
        free(store.as_ref(), name).await?;
    }
    let engine = engine(store, place.lease);
    let id = place.name.as_ref().map_or_else(|| engine.new_session_id(), SessionId::named);
    let workspace = match &place.workspace {
        Some(directory) => location::absolute(directory)?,
        None => location::free_workspace(id)?,
    };
    let options = ForkOptions {
        files: if place.no_files { Files::Leave } else { Files::Restore },
        name: place.name.clone(),
        reason: place.reason,
        rewinds,
        instead,
        model,
        iterations,
        budget_micro_usd,
        ..ForkOptions::new(workspace.clone())
    };
    let forked = Box::pin(engine.fork(id, row.id, at, options)).await?;
    let (files, no_files) = match forked.brought {
        Brought::Snapshot { at, files, bytes } => (Some(FilesView { at, files, bytes }), None),
        Brought::Nothing(why) => (None, Some(why)),
    };
    let mut view = View {
        session: id,
        name: place.name.as_ref(),
        parent: row.id,
        at: forked.base.seq,
        rewinds,
        events: forked.head,
        hash: forked.hash,
        workspace: &workspace,
        files,
        no_files,
        run: None,
    };
    if context.out.is_table() {
        tell(context, &view, forked)?;
        context.out.flush()?;
    }
    if !goes_on {
        if context.out.is_table() {
            for (index, rest) in [format!("send {id} …"), format!("resume {id}"), format!("show {id}")].iter().enumerate() {
                let command = context.command(rest);
                field(&mut context.out, if index == 0 { "next" } else { "" }, &command)?;
            }
        } else {
            context.out.json(&view)?;
        }
        return Ok(Exit::Done);
    }
    let (summary, ended) = Box::pin(go_on(context, &engine, id)).await;
    view.run = summary;
    if !context.out.is_table() {
        context.out.json(&view)?;
    }
    ended
}

/// Goes on with the fork until it rests. What `-o json` says of that is returned whatever the end, since it is part of one document.
async fn go_on(context: &mut Context, engine: &Engine, id: SessionId) -> (Option<Summary>, Result<Exit, CliError>) {
    let state = match engine.resume(id).await {
        Ok(resumed) => resumed.restored.session,
        Err(error) => return (None, Err(error.into())),
    };
    if context.out.is_table() {
        if state.has_agent() {
            return (None, talk::to_the_end(context, engine, id, &state, Talk::of_terminal()).await);
        }
        return match to_rest(context, engine, id, &state).await {
            Ok((Some(summary), exit)) => (None, summary.tell(context).map(|()| exit).map_err(CliError::from)),
            Ok((None, exit)) => (None, Ok(exit)),
            Err(error) => (None, Err(error)),
        };
    }
    match to_rest(context, engine, id, &state).await {
        Ok((summary, exit)) => (summary, Ok(exit)),
        Err(error) => (None, Err(error)),
    }
}

fn tell(context: &mut Context, view: &View<'_>, forked: ForkedAt) -> std::io::Result<()> {
    let name = view.name.map(|name| format!(" ({name})")).unwrap_or_default();
    let out = &mut context.out;
    field(out, if view.rewinds { "rewound" } else { "forked" }, &format!("{}{name}", view.session))?;
    let below = if forked.base.session == view.parent { String::new() } else { format!(", which is of {}", forked.base.session) };
    let closed = if view.rewinds { "; that is closed" } else { "" };
    field(out, "from", &format!("event {} of {}{below}{closed}", view.at, view.parent))?;
    field(out, "works in", &one_line(&view.workspace.display().to_string()))?;
    match (view.files, view.no_files) {
        (Some(FilesView { at, files, bytes: size }), _) => {
            field(out, "files", &format!("{} as at event {at} ({})", count(files, "file"), bytes(size)))
        }
        (None, why) => {
            let why = format!("none were brought: {}", why.unwrap_or_default());
            let why = out.paint.tone(Tone::Warn, why).to_string();
            field(out, "files", &why)
        }
    }
}

/// The name of another model, as its endpoint knows it.
async fn same_endpoint(store: &SharedStore, row: &SessionRow, at: Seq, named: &str) -> Result<String, CliError> {
    let (provider, name) = match named.split_once('/') {
        Some(("openai", name)) => (ModelApi::OpenAi, name),
        Some(("anthropic", name)) => (ModelApi::Anthropic, name),
        _ => return Ok(named.to_owned()),
    };
    let session = restore_at(store.as_ref(), row.id, at, Trust::Snapshot).await?.session;
    match session.spec.and_then(|spec| spec.agent).map(|agent| agent.config.model.api) {
        Some(api) if api != provider => {
            let what = format!("{named} is at another provider; a fork asks the endpoint that session {} asked", row.id);
            Err(CliError::Usage(what))
        }
        _ => Ok(name.to_owned()),
    }
}

/// Says whether files can be written out there.
fn is_free(directory: &Path) -> Result<(), CliError> {
    let taken = std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if taken {
        let what = format!("{} is not empty; name a directory that is not there yet, or say --no-files", directory.display());
        return Err(CliError::Conflict(what));
    }
    Ok(())
}
