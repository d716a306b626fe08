//! `rekindle store copy`: all sessions of one store into another, of any kind.

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::{bodies_of_copy, usual_options};
use super::super::text::count;
use crate::session::SessionId;
use crate::store::{self, Copied, OpenOptions, Store, connect, verify_session};

/// Copy all sessions into another store: the same ids, order and hashes
///
/// What is there already is passed over, so that copying again brings only what is new.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The store to copy into; made when it is missing
    #[arg(long, value_name = "URL")]
    to: String,
    /// Let whoever can read the other store read what sessions say, though it is encrypted in this one
    #[arg(long)]
    decrypt: bool,
}

#[derive(Debug, Serialize)]
struct View<'a> {
    sessions: u64,
    events: u64,
    blobs: u64,
    verified: u64,
    broken: Vec<Broken<'a>>,
    moving: &'a [SessionId],
}

#[derive(Debug, Serialize)]
struct Broken<'a> {
    session: SessionId,
    what: &'a str,
}

/// Copies.
///
/// # Errors
/// When a store cannot be opened, read or written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let from = context.store().await?;
    let bodies = bodies_of_copy(from.info().await?.encrypted, args.decrypt);
    let to = connect(&args.to, OpenOptions { bodies, ..usual_options() }).await?;
    let exit = copy(context, from.as_ref(), to.as_ref()).await;
    to.close().await;
    exit
}

/// Copies, checks every chain of the copy, and tells what was done.
///
/// # Errors
/// When a store cannot be read or written.
pub async fn copy(context: &mut Context, from: &dyn Store, to: &dyn Store) -> Result<Exit, CliError> {
    let watched = context.is_watched();
    let copied = store::copy(from, to, |so_far| {
        if watched {
            eprintln!("{} copied", count(so_far.events, "event"));
        }
    })
    .await?;
    let mut verified = 0;
    for row in to.sessions(store::SessionFilter::All, u32::MAX).await? {
        if row.directory.phase != store::PURGED {
            verify_session(to, row.id).await?;
            verified += 1;
        }
    }
    tell(context, &copied, verified)?;
    Ok(if copied.broken.is_empty() { Exit::Done } else { Exit::Unverified })
}

fn tell(context: &mut Context, copied: &Copied, verified: u64) -> Result<(), CliError> {
    if !context.out.is_table() {
        let broken = copied.broken.iter().map(|(session, what)| Broken { session: *session, what }).collect();
        let Copied { sessions, events, blobs, moving, .. } = copied;
        let view = View { sessions: *sessions, events: *events, blobs: *blobs, verified, broken, moving };
        context.out.json(&view)?;
        return Ok(());
    }
    let done = format!("{} and {} copied", count(copied.sessions, "session"), count(copied.events, "event"));
    context.out.line(format_args!("{done}; the chains of {} hold", count(verified, "session")))?;
    for (session, what) in &copied.broken {
        context.note(format_args!("session {session} could not be copied whole: {what}"));
    }
    for session in &copied.moving {
        context.note(format_args!("session {session} went on meanwhile; copy again to bring the rest"));
    }
    Ok(())
}
