//! `rekindle verify`: whether a log is what was written, all of it, and leads where it says; in the store, or in a bundle.

mod file;

use std::path::{Path, PathBuf};

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use crate::audit::{Verdicts, verify_session};
use crate::cli::Context;
use crate::cli::address::{Address, chosen};
use crate::cli::audit;
use crate::cli::complete::sessions;
use crate::cli::exit::{CliError, Exit};
use crate::cli::location::Access;
use crate::cli::paint::Tone;
use crate::cli::text::{count, one_line};
use crate::engine::EngineError;
use crate::session::{Digest, Seq, SessionId};
use crate::store::{PURGED, SessionRow, Store};

/// Check that a session's log is what was written, in the store or in a bundle
///
/// Every event is read, for three verdicts: integrity (each is what was appended, chained by its hash to the one before, up to the
/// head), completeness (none is missing, nothing is cut off, every action has an outcome, or its session is not closed yet), and
/// determinism (they fold to each state whose digest is recorded on the way). Ends with 5 when one fails, naming the first bad event.
///
/// A path (with a /, or of a file that is there) is a bundle that `rekindle export --to bundle` wrote, - one on standard input; no
/// store is opened for it. Where a session has the name of a file that is there, say its id, or NAME@-0.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session, S@N for its events up to N; or the file of a bundle, - for standard input
    #[arg(
        value_name = "S[@N]|FILE",
        default_value = "@last",
        conflicts_with = "all",
        value_parser = target,
        add = ArgValueCompleter::new(sessions)
    )]
    target: Target,
    /// All of them
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    against: audit::AgainstArgs,
}

/// What is verified.
#[derive(Debug, Clone)]
enum Target {
    Session(Address),
    File(PathBuf),
    StandardInput,
}

/// No session has a / in its name, and no file is meant by @last.
fn target(text: &str) -> Result<Target, String> {
    match text {
        "-" => Ok(Target::StandardInput),
        address if address.starts_with('@') => address.parse().map(Target::Session),
        path if path.contains('/') || Path::new(path).is_file() => Ok(Target::File(path.into())),
        address => address.parse().map(Target::Session),
    }
}

/// What was found of one session.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The session.
    pub session: SessionId,
    /// Whether everything holds.
    pub ok: bool,
    /// How many events there should be.
    pub events: Seq,
    /// The chain hash of the last one.
    pub hash: Digest,
    /// The digest of the state, when everything holds.
    pub digest: Option<Digest>,
    /// The first event that is bad.
    pub bad: Option<Seq>,
    /// What is wrong with it.
    pub what: Option<String>,
    /// What holds, and what does not.
    #[serde(flatten)]
    pub verdicts: Verdicts,
}

/// Checks sessions.
///
/// # Errors
/// When there is no such session, or the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if let Some(file) = &args.against.against {
        return audit::against(context, file, args.against.key).await;
    }
    let address = match args.target {
        Target::Session(_) if !args.against.key.is_empty() => {
            return Err(CliError::Usage("--key is for bundles and --against; name a file".to_owned()));
        }
        Target::Session(address) => address,
        Target::File(path) => return file::verify(context, &path, args.against.key),
        Target::StandardInput => return file::verify_input(context, args.against.key),
    };
    let store = context.open_off_the_record(Access::Read).await?;
    let (rows, upto) = chosen(context, store.as_ref(), (!args.all).then_some(&address)).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        if args.all {
            context.progress(format_args!("checking {} ({})", row.id, count(row.head.0, "event")));
        }
        let one = match upto.filter(|upto| *upto < row.head) {
            None => check(store.as_ref(), row).await?,
            Some(upto) => check_upto(store.as_ref(), row, upto).await?,
        };
        if context.out.is_table() {
            print(context, &one)?;
        }
        found.push(one);
    }
    if !context.out.is_table() {
        match found.as_slice() {
            [one] if !args.all => context.out.json(one)?,
            all => context.out.json_list(all)?,
        }
    }
    let bad = found.iter().filter(|one| !one.ok).count();
    if args.all && context.out.is_table() {
        context.note(format_args!("{} checked, {bad} damaged", count(found.len() as u64, "session")));
    }
    Ok(if bad > 0 { Exit::Unverified } else { Exit::Done })
}

/// Checks one session.
///
/// # Errors
/// When the store cannot be read at all; damage is in what is found.
pub async fn check(store: &dyn Store, row: &SessionRow) -> Result<Found, CliError> {
    let judged = verify_session(store, row, None).await?;
    let mut found = Found::of(row.id, row.head, row.hash, judged.verdicts, judged.state);
    if row.directory.phase == PURGED {
        found.what = Some("its events were purged; only its head is left".to_owned());
    }
    Ok(found)
}

/// Checks the beginning of a session, up to and with one event; what comes behind it is not looked at.
///
/// # Errors
/// When the store cannot be read at all; damage is in what is found. [`CliError::Engine`] when its events were purged.
pub async fn check_upto(store: &dyn Store, row: &SessionRow, upto: Seq) -> Result<Found, CliError> {
    if row.directory.phase == PURGED {
        return Err(EngineError::Purged(row.id).into());
    }
    let judged = verify_session(store, row, Some(upto)).await?;
    let hash = if judged.verdicts.hold() { judged.hash } else { Digest::ZERO };
    Ok(Found::of(row.id, upto, hash, judged.verdicts, judged.state))
}

impl Found {
    fn of(session: SessionId, events: Seq, hash: Digest, verdicts: Verdicts, digest: Option<Digest>) -> Self {
        let (ok, failure) = (verdicts.hold(), verdicts.first_failure());
        let (bad, what) = (failure.and_then(|(bad, _)| bad), failure.map(|(_, what)| what.clone()));
        Self { session, ok, events, hash, digest, bad, what, verdicts }
    }
}

/// Prints what was found for people.
///
/// # Errors
/// When nobody reads any more.
pub fn print(context: &mut Context, found: &Found) -> Result<(), CliError> {
    let way_out = found.bad.map(|bad| match bad.0.saturating_sub(1) {
        0 => "no event can be trusted; restore the store from a copy".to_owned(),
        trusted => {
            let show = context.command(format_args!("show {}@{trusted}", found.session));
            format!("events 1 to {trusted} hold; read them with `{show}`")
        }
    });
    print_found(context, found, way_out)
}

fn print_found(context: &mut Context, found: &Found, way_out: Option<String>) -> Result<(), CliError> {
    let paint = context.out.paint;
    if found.ok {
        let (intact, events) = (paint.tone(Tone::Good, "intact "), count(found.events.0, "event"));
        context.out.line(format_args!("{intact}  {}  {events}", found.session))?;
        context.out.line(format_args!("         {} {}", paint.dim("chain"), found.hash))?;
        let digest = found.digest.map(|digest| digest.to_string()).unwrap_or_default();
        context.out.line(format_args!("         {} {digest}", paint.dim("state")))?;
    } else {
        let what = found.what.as_deref().map(one_line).unwrap_or_default();
        context.out.line(format_args!("{}  {}: {what}", paint.tone(Tone::Bad, "damaged"), found.session))?;
    }
    for (name, verdict) in found.verdicts.each() {
        context.out.line(format_args!("         {} {}", paint.dim(name), one_line(&verdict.to_string())))?;
    }
    if let Some(way_out) = way_out {
        context.out.line(format_args!("         {way_out}"))?;
    }
    Ok(())
}
