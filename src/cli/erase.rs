//! `rekindle redact` and `rekindle purge`: take something out of the log for ever, and leave written down that it was done.

use std::sync::Arc;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, Place, find, within};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::location::Access;
use super::run::talk::who;
use super::text::count;
use crate::audit::Eraser;
use crate::engine::clock::SystemClock;
use crate::session::{Seq, SessionId};

/// Blank what an event says, for ever
///
/// Its place, time and kind stay, and a digest that the content cannot be guessed from, so that the log still verifies. Snapshots, the
/// words of the search and long content go with it. Who did it and why stands in the audit log of the store (`rekindle show
/// rekindle.audit`). A session that a node runs, or that is held, is refused.
#[derive(Debug, clap::Args)]
pub struct Redact {
    /// The event, or several: S:N or S:N..M
    #[arg(value_name = "S:N[..M]", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, as it will stand in the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
}

/// Remove all events of a session, for ever
///
/// What stays is that it was, with the hash of its last event. Snapshots, the words of the search, long content and what was kept of its
/// workspace go, too. Who did it and why stands in the audit log of the store (`rekindle show rekindle.audit`). A session that is held,
/// has something left to do, is younger than the store keeps sessions, or is read by a fork, is refused.
#[derive(Debug, clap::Args)]
pub struct Purge {
    /// The session
    #[arg(value_name = "S", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// Why, as it will stand in the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
}

#[derive(Debug, Serialize)]
struct Redacted {
    session: SessionId,
    first: Seq,
    last: Seq,
    /// How many of them still had a body.
    redacted: u64,
}

#[derive(Debug, Serialize)]
struct Purged {
    session: SessionId,
    events: Seq,
    /// Whether it had been purged before.
    already: bool,
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why; it is for whoever asks later".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// Blanks bodies.
///
/// # Errors
/// When there is no such event, or its session must stay as it is.
pub async fn redact(context: &mut Context, args: Redact) -> Result<Exit, CliError> {
    let (first, last) = match args.address.place {
        Place::Event(seq) => (seq, Some(seq)),
        Place::Events(first, last) => (first, last),
        Place::Whole | Place::At(_) | Place::Before(_) => {
            return Err(CliError::Usage(
                "name the event: S:N, or S:N..M for several; `rekindle purge` takes a whole session".to_owned(),
            ));
        }
    };
    let store = context.open_off_the_record(Access::Write).await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let (first, last) = (within(&row, first)?, within(&row, last.unwrap_or(row.head))?);
    let redacted = Eraser::begin(store, Arc::new(SystemClock), who()).await?.redact(row.id, first, last, &args.reason).await?;
    if !context.out.is_table() {
        context.out.json(&Redacted { session: row.id, first, last, redacted })?;
        return Ok(Exit::Done);
    }
    context.out.line(format_args!("{} of session {} redacted", count(redacted, "event"), row.id))?;
    if redacted < last.0 - first.0 + 1 {
        context.note("the others had been redacted before");
    }
    Ok(Exit::Done)
}

/// Removes a session.
///
/// # Errors
/// When there is no such session, or it must be kept.
pub async fn purge(context: &mut Context, args: Purge) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Write).await?;
    let row = find(context, store.as_ref(), args.address.whole()?).await?;
    let purged = Eraser::begin(store, Arc::new(SystemClock), who()).await?.purge(row.id, &args.reason).await?;
    if !context.out.is_table() {
        context.out.json(&Purged { session: row.id, events: row.head, already: !purged })?;
        return Ok(Exit::Done);
    }
    let events = count(row.head.0, "event");
    let said =
        if purged { format!("{events} of session {} purged", row.id) } else { format!("session {} was purged before", row.id) };
    context.out.line(said)?;
    Ok(Exit::Done)
}
