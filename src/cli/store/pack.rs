//! `rekindle store pack`: compress what sessions have said that nothing more is expected of.

use std::time::Duration;

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::text::{bytes, count};
use super::room::{self, Room};
use crate::engine::clock::{Clock, SystemClock};
use crate::session::{Seq, SessionId, Timestamp};
use crate::store::{Packed, StoreError};

/// How many sessions are asked for at once.
const SESSIONS_AT_ONCE: u32 = 256;

/// Compress the events of sessions that are closed, could not be started, or were imported
///
/// They are read, searched, verified, exported and forked as before, and take a seventh to a third of the room. Packing may be cut off at any
/// time and repeated.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only sessions whose last event is older: a number of days, hours or minutes, as 90d, 12h, 30m
    #[arg(long, value_name = "AGE", value_parser = super::age, default_value = "7d")]
    older_than: Duration,
    /// Then give the room back: a file is written anew, which needs as much room again and that no other process uses it; a server's
    /// tables are vacuumed
    #[arg(long, conflicts_with = "dry_run")]
    compact: bool,
    /// Say which sessions would be packed, and pack none
    #[arg(long)]
    dry_run: bool,
}

/// The shape of `-o json`.
#[derive(Debug, Default, Serialize)]
struct View {
    sessions: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compacted: Option<Room>,
}

#[derive(Debug, Serialize)]
struct Line {
    session: SessionId,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    WouldBePacked,
    Packed {
        events: u64,
        bytes_before: u64,
        bytes_after: u64,
    },
    /// It is left as it is.
    Damaged {
        seq: Seq,
        what: String,
    },
    /// It goes on again, or was purged, since it was listed.
    Moved,
}

/// Packs.
///
/// # Errors
/// When the store cannot be read or written, or is to be compacted while another process uses it.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = if args.dry_run { context.store().await? } else { context.store_for_writing().await? };
    if args.compact {
        // Before anything is packed, so that a refusal leaves everything as it is.
        room::alone(store.as_ref()).await?;
    }
    let before = Timestamp(SystemClock.now().0.saturating_sub(Timestamp(0).plus(args.older_than).0));
    let (mut view, mut total) = (View::default(), Packed::default());
    loop {
        // What cannot be packed is listed again each time.
        let left = u32::try_from(view.sessions.len()).unwrap_or(u32::MAX).saturating_add(SESSIONS_AT_ONCE);
        let mut ids = store.packable(before, left).await?;
        ids.retain(|id| view.sessions.iter().all(|line| line.session != *id));
        if ids.is_empty() {
            break;
        }
        for session in ids {
            let outcome = match args.dry_run {
                true => Outcome::WouldBePacked,
                false => match store.pack(session).await {
                    Ok(packed) => {
                        total.add(packed);
                        let Packed { events, bytes_before, bytes_after } = packed;
                        Outcome::Packed { events, bytes_before, bytes_after }
                    }
                    Err(StoreError::Damaged { seq, what, .. }) => {
                        context.note(format_args!("session {session} is damaged at event {seq} and stays as it is: {what}"));
                        Outcome::Damaged { seq, what }
                    }
                    Err(StoreError::Invalid(_) | StoreError::Busy(_)) => Outcome::Moved,
                    Err(error) => return Err(error.into()),
                },
            };
            view.sessions.push(Line { session, outcome });
        }
    }
    if args.compact {
        view.compacted = Some(room::compact(store.as_ref()).await?);
    }
    if view.sessions.is_empty() {
        let young = store.packable(SystemClock.now(), SESSIONS_AT_ONCE).await?.len();
        if young > 0 {
            let some = if young < SESSIONS_AT_ONCE as usize { "" } else { "at least " };
            let sessions = count(young as u64, "session");
            context.note(format_args!("{some}{sessions} ended too short a time ago; --older-than says how long, 0m takes all"));
        }
    }
    store.close().await;
    tell(context, &args, &view, total)?;
    let damaged = view.sessions.iter().any(|line| matches!(line.outcome, Outcome::Damaged { .. }));
    Ok(if damaged { Exit::Unverified } else { Exit::Done })
}

fn tell(context: &mut Context, args: &Args, view: &View, total: Packed) -> Result<(), CliError> {
    if !context.out.is_table() {
        return Ok(context.out.json(view)?);
    }
    if args.dry_run {
        for line in &view.sessions {
            context.out.line(line.session)?;
        }
        context.note(format_args!("{} would be packed", count(view.sessions.len() as u64, "session")));
        return Ok(());
    }
    let sessions = view.sessions.iter().filter(|line| matches!(line.outcome, Outcome::Packed { .. })).count() as u64;
    let Packed { events, bytes_before, bytes_after } = total;
    let what = match events {
        0 => "nothing is left to be packed".to_owned(),
        _ => format!(
            "packed {} of {}: {} are {} now",
            count(events, "event"),
            count(sessions, "session"),
            bytes(bytes_before),
            bytes(bytes_after)
        ),
    };
    context.out.line(what)?;
    if let Some(room) = view.compacted {
        room.tell(context)?;
    }
    Ok(())
}
