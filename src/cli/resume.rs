//! `rekindle resume`: restore a session from its log, say what that stood on, and go on.

use std::io;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::output::{Format, JsonList};
use super::paint::Tone;
use super::replay::to_rest;
use super::run::spec::limits;
use super::run::talk::{self, Talk};
use super::span::LeaseArgs;
use super::summary::{Summary, field};
use super::text::{count, one_line};
use crate::engine::{Engine, Restored};
use crate::projection::{directory::shown, moment};
use crate::session::workspace::SnapshotDue;
use crate::session::{AgentState, Command, Digest, Limits, Phase, Recovery, Seq, Session, SessionId, Timestamp};
use crate::store::{Read, Row, SessionFilter, SessionRow};

/// Restore a session from its log, and go on where it stands
///
/// Says what the restored state stands on. No action that may have run is run again. Ends with 7 when the log does not
/// prove the state; nothing is run then.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session
    #[arg(value_name = "S", default_value = "@last", conflicts_with = "all", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// All that have something left to do
    #[arg(short, long)]
    all: bool,
    /// The most calls of the model from now on, all before among them
    #[arg(long, value_name = "N", conflicts_with = "all")]
    iterations: Option<u64>,
    /// The most US dollars from now on, what was used before among it
    #[arg(long, value_name = "USD", conflicts_with = "all")]
    budget: Option<f64>,
    /// The way out for an agent that was stopped in a loop: before-loop goes on from before it, last-prompt begins anew with what
    /// you said last, stop leaves it
    #[arg(long, value_name = "HOW", conflicts_with = "all")]
    recover: Option<WayOut>,
    #[command(flatten)]
    lease: LeaseArgs,
}

/// A way out of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WayOut {
    BeforeLoop,
    LastPrompt,
    Stop,
}

impl From<WayOut> for Recovery {
    fn from(way: WayOut) -> Self {
        match way {
            WayOut::BeforeLoop => Self::BeforeLoop,
            WayOut::LastPrompt => Self::LastPrompt,
            WayOut::Stop => Self::Stop,
        }
    }
}

/// The shape of `resume -o json`. With `-o ndjson` it comes before the run, without `run`, and the summary of the run after it as a
/// line of its own.
#[derive(Debug, Serialize)]
struct Proven {
    session: SessionId,
    events: u64,
    snapshot: Option<Seq>,
    last: Option<Last>,
    state: &'static str,
    digest: Digest,
    hash: Digest,
    /// Whether there was something left to do.
    running: bool,
    /// What came of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Summary>,
}

#[derive(Debug, Serialize)]
struct Last {
    seq: Seq,
    kind: String,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
}

/// What an agent may use up from now on, as far as it was said; and the way out of a loop.
#[derive(Debug, Clone, Copy)]
struct Raised {
    iterations: Option<u64>,
    budget: Option<f64>,
}

/// How an agent is to go on.
#[derive(Debug, Clone, Copy, Default)]
struct Onward {
    raised: Option<Raised>,
    recover: Option<Recovery>,
}

impl Raised {
    fn over(self, now: Limits) -> Result<Limits, CliError> {
        let said = limits(self.iterations, self.budget)?;
        let iterations = self.iterations.map_or(now.iterations, |_| said.iterations);
        Ok(Limits { iterations, budget_micro_usd: said.budget_micro_usd.or(now.budget_micro_usd) })
    }
}

impl Args {
    fn onward(&self) -> Onward {
        let Self { iterations, budget, .. } = *self;
        let raised = (iterations.is_some() || budget.is_some()).then_some(Raised { iterations, budget });
        Onward { raised, recover: self.recover.map(Recovery::from) }
    }
}

/// Whether an agent was held, or stopped at something that a person can have mended.
fn is_held(session: &Session) -> bool {
    use AgentState::{Error, Paused, RateLimited, Stopped};
    session.has_agent() && session.phase == Phase::Ready && matches!(session.agent, Error | Paused | RateLimited | Stopped)
}

/// Restores sessions and goes on with them.
///
/// # Errors
/// When there is no such session, its log does not prove its state, or another process runs it.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store_for_writing().await?;
    if !args.all {
        let row = find(context, store.as_ref(), args.address.whole()?).await?;
        let (document, ended) = Box::pin(one(context, &engine(store, args.lease), &row, args.onward())).await;
        if let Some(document) = document {
            context.out.json(&document)?;
        }
        return ended;
    }
    let rows = store.sessions(SessionFilter::Due, u32::MAX).await?;
    if rows.is_empty() {
        context.note("no session has anything left to do");
    }
    let mut list = if context.out.is_table() { None } else { Some(JsonList::begin(&mut context.out)?) };
    let mut worst = Exit::Done;
    for row in &rows {
        // An engine is shut down after each, so that the next one does not wait for a lease.
        let (document, ended) = Box::pin(one(context, &engine(store.clone(), args.lease), row, Onward::default())).await;
        if let (Some(list), Some(document)) = (&mut list, document) {
            list.push(&mut context.out, &document)?;
        }
        let exit = match ended {
            Ok(exit) => exit,
            Err(error) => {
                context.note(context.paint.tone(Tone::Bad, format!("error: {}", super::exit::told(&error))));
                error.exit()
            }
        };
        if worst == Exit::Done || exit == Exit::Interrupted {
            worst = exit;
        }
        if exit == Exit::Interrupted {
            break;
        }
    }
    if let Some(list) = list {
        list.end(&mut context.out)?;
    }
    Ok(worst)
}

/// Restores one session, says what that stood on, and runs it to rest when something is left to do. What `-o json` says is
/// returned whatever the end, since it is part of one document; everything else is said as it comes.
async fn one(
    context: &mut Context,
    engine: &Engine,
    row: &SessionRow,
    onward: Onward,
) -> (Option<Proven>, Result<Exit, CliError>) {
    let mut document = None;
    let ended = Box::pin(restored(context, engine, row, onward, &mut document)).await;
    (document, ended)
}

async fn restored(
    context: &mut Context,
    engine: &Engine,
    row: &SessionRow,
    Onward { raised, recover }: Onward,
    document: &mut Option<Proven>,
) -> Result<Exit, CliError> {
    compare(context, engine, row.id).await?;
    let mut resumed = engine.resume(row.id).await?;
    let session = &resumed.restored.session;
    let held = !resumed.running && is_held(session);
    if let Some(how) = recover {
        engine.lead_out(row.id, how).await?;
        resumed.running = true;
    } else if held || raised.is_some() {
        let limits = raised.map(|raised| raised.over(session.limits())).transpose()?;
        engine.submit(row.id, Command::Continue { limits }).await?;
        resumed.running = true;
    }
    let proven = Proven::of(engine, row, &resumed.restored, resumed.running).await?;
    match context.out.format {
        Format::Table => print(context, row, &proven)?,
        Format::Ndjson => context.out.json(&proven)?,
        Format::Json => *document = Some(proven),
    }
    if !resumed.running {
        context.note(format_args!("nothing is left to do: the session is {}", shown(&resumed.restored.session)));
        engine.shutdown().await;
        return Ok(Exit::Done);
    }
    context.out.flush()?;
    if resumed.restored.session.has_agent() && context.out.is_table() {
        return talk::to_the_end(context, engine, row.id, &resumed.restored.session, Talk::of_terminal()).await;
    }
    let (summary, exit) = to_rest(context, engine, row.id, &resumed.restored.session).await?;
    match (document, summary) {
        (Some(document), summary) => document.run = summary,
        (None, Some(summary)) => summary.tell(context)?,
        (None, None) => {}
    }
    Ok(exit)
}

/// Says where the workspace is not as it was left; the owner's own look is in the log.
async fn compare(context: &Context, engine: &Engine, id: SessionId) -> Result<(), CliError> {
    let session = engine.restore(id).await?.session;
    if engine.is_live(id) || matches!(session.phase, Phase::Closed { .. }) {
        return Ok(());
    }
    let said = match engine.compare_files(id, &session).await {
        Ok(None) => return Ok(()),
        Ok(Some(differences)) if differences.count == 0 => return Ok(()),
        Ok(Some(differences)) => {
            let ran = session.snapshots.is_some_and(|snapshots| snapshots.due == SnapshotDue::AtRest);
            format!("{differences}{}", if ran { "; something ran after that" } else { "" })
        }
        Err(error) => format!("the workspace was not compared with the log: {error}"),
    };
    context.note(context.paint.tone(Tone::Warn, one_line(&said)));
    Ok(())
}

/// Says what a restored state stands on, for people.
///
/// # Errors
/// When the last event cannot be read.
pub async fn proof(
    context: &mut Context,
    engine: &Engine,
    row: &SessionRow,
    restored: &Restored,
    running: bool,
) -> Result<(), CliError> {
    let proven = Proven::of(engine, row, restored, running).await?;
    Ok(print(context, row, &proven)?)
}

impl Proven {
    async fn of(engine: &Engine, row: &SessionRow, restored: &Restored, running: bool) -> Result<Self, CliError> {
        let session = &restored.session;
        let last = Read { upto: session.version, ..Read::last(row.id, 1) };
        let page = engine.store().read(last).await?;
        let last = page.rows.iter().find_map(|row| match row {
            Row::Event { event, .. } => Some(Last { seq: event.seq, kind: event.kind.to_string(), at: event.at }),
            Row::Damaged { .. } => None,
        });
        Ok(Self {
            session: row.id,
            events: restored.proof.events,
            snapshot: restored.proof.snapshot,
            last,
            state: shown(session),
            digest: restored.proof.digest,
            hash: restored.hash,
            running,
            run: None,
        })
    }
}

fn print(context: &mut Context, row: &SessionRow, proven: &Proven) -> io::Result<()> {
    let from = match proven.snapshot {
        Some(seq) => format!("{}: the snapshot at {seq}, and {} behind it", count(proven.events, "event"), proven.events - seq.0),
        None => format!("{}, all folded", count(proven.events, "event")),
    };
    let name = row.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let out = &mut context.out;
    field(out, "restored", &format!("{}{name}", row.id))?;
    field(out, "from", &from)?;
    if let Some(last) = &proven.last {
        field(out, "last", &format!("event {}, {}, at {}", last.seq, one_line(&last.kind), last.at))?;
    }
    field(out, "digest", &proven.digest.to_string())?;
    field(out, "chain", &proven.hash.to_string())
}
