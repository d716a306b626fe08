//! `rekindle resume`: restore a session from its log, say what that stood on, and go on.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::host::engine;
use super::paint::Tone;
use super::replay::to_rest;
use super::summary::field;
use super::text::{count, one_line};
use super::view::Moment;
use crate::engine::{Engine, Restored};
use crate::projection::directory::shown;
use crate::session::{Digest, Seq, SessionId};
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
}

/// The shape of the first document of `resume -o json`; the summary of the run follows when there was something left to do.
#[derive(Debug, Serialize)]
struct Proven {
    session: SessionId,
    events: u64,
    snapshot: Option<Seq>,
    last: Option<Last>,
    state: &'static str,
    digest: Digest,
    hash: Digest,
    running: bool,
}

#[derive(Debug, Serialize)]
struct Last {
    seq: Seq,
    kind: String,
    at: Moment,
}

/// Restores sessions and goes on with them.
///
/// # Errors
/// When there is no such session, its log does not prove its state, or another process runs it.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store_for_writing().await?;
    if !args.all {
        let row = find(store.as_ref(), args.address.whole()?).await?;
        return one(context, &engine(store), &row).await;
    }
    let rows = store.sessions(SessionFilter::Due, u32::MAX).await?;
    if rows.is_empty() {
        context.note("no session has anything left to do");
        return Ok(Exit::Done);
    }
    let mut worst = Exit::Done;
    for row in &rows {
        // An engine is shut down after each, so that the next one does not wait for a lease.
        let ended = one(context, &engine(store.clone()), row).await;
        let exit = match ended {
            Ok(exit) => exit,
            Err(error) => {
                context.note(context.paint.tone(Tone::Bad, format!("error: {}", super::exit::told(&error))));
                error.exit()
            }
        };
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        if exit != Exit::Done && worst == Exit::Done {
            worst = exit;
        }
    }
    Ok(worst)
}

/// Restores one session, says what that stood on, and runs it to rest when something is left to do.
///
/// # Errors
/// As [`run`].
pub async fn one(context: &mut Context, engine: &Engine, row: &SessionRow) -> Result<Exit, CliError> {
    let resumed = engine.resume(row.id).await?;
    proof(context, engine, row, &resumed.restored, resumed.running).await?;
    if resumed.running {
        context.out.flush()?;
        return to_rest(context, engine, row.id, &resumed.restored.session).await;
    }
    let state = shown(&resumed.restored.session);
    context.note(format_args!("nothing is left to do: the session is {state}"));
    engine.shutdown().await;
    Ok(Exit::Done)
}

/// Says what a restored state stands on.
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
    let session = &restored.session;
    let last = Read { upto: session.version, ..Read::last(row.id, 1) };
    let page = engine.store().read(last).await?;
    let last = page.rows.iter().find_map(|row| match row {
        Row::Event { event, .. } => Some(Last { seq: event.seq, kind: event.kind.to_string(), at: Moment(event.at) }),
        Row::Damaged { .. } => None,
    });
    let proof = &restored.proof;
    if !context.out.is_table() {
        context.out.json(&Proven {
            session: row.id,
            events: proof.events,
            snapshot: proof.snapshot,
            last,
            state: shown(session),
            digest: proof.digest,
            hash: restored.hash,
            running,
        })?;
        return Ok(());
    }
    let from = match proof.snapshot {
        Some(seq) => format!("{}: the snapshot at {seq}, and {} behind it", count(proof.events, "event"), proof.events - seq.0),
        None => format!("{}, all folded", count(proof.events, "event")),
    };
    let name = row.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let out = &mut context.out;
    field(out, "restored", &format!("{}{name}", row.id))?;
    field(out, "from", &from)?;
    if let Some(last) = last {
        field(out, "last", &format!("event {}, {}, at {}", last.seq, one_line(&last.kind), last.at.0))?;
    }
    field(out, "digest", &proof.digest.to_string())?;
    field(out, "chain", &restored.hash.to_string())?;
    Ok(())
}
