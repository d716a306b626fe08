//! `rekindle store info`: what a store says about itself.

use serde::Serialize;

use super::super::Context;
use super::super::exit::{CliError, Exit};
use super::super::location::Access;
use super::super::summary::field;
use super::super::text::{bytes, count};
use crate::session::Timestamp;
use crate::store::{FORMAT, PURGED, SessionFilter, Store};

/// Tell what the store is and what it holds
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Debug, Serialize)]
struct View {
    address: String,
    format: i64,
    newest_format: i64,
    database: String,
    sessions: u64,
    events: u64,
    held: u64,
    purged: u64,
    bytes: u64,
    encrypted: bool,
    created_at: Timestamp,
}

/// Tells about the store.
///
/// # Errors
/// When it cannot be read.
pub async fn run(context: &mut Context, _args: Args) -> Result<Exit, CliError> {
    let store = context.open_off_the_record(Access::Read).await?;
    tell(context, store.as_ref()).await?;
    Ok(Exit::Done)
}

/// Writes what a store says about itself.
///
/// # Errors
/// When it cannot be read.
pub async fn tell(context: &mut Context, store: &dyn Store) -> Result<(), CliError> {
    let info = store.info().await?;
    let (mut held, mut purged) = (0, 0);
    for row in store.sessions(SessionFilter::All, u32::MAX).await? {
        purged += u64::from(row.directory.phase == PURGED);
        held += u64::from(store.keeping(row.id).await?.is_some_and(|keeping| keeping.hold.is_some()));
    }
    let view = View {
        address: info.address,
        format: info.format,
        newest_format: FORMAT,
        database: info.engine,
        sessions: info.sessions,
        events: info.events,
        held,
        purged,
        bytes: info.bytes,
        encrypted: info.encrypted,
        created_at: info.created_at,
    };
    if !context.out.is_table() {
        context.out.json(&view)?;
        return Ok(());
    }
    let out = &mut context.out;
    field(out, "store", &view.address)?;
    field(out, "database", &view.database)?;
    field(out, "format", &view.format.to_string())?;
    field(out, "made at", &view.created_at.to_string())?;
    field(out, "sessions", &format!("{} ({held} held, {purged} purged)", view.sessions))?;
    field(out, "events", &count(view.events, "event"))?;
    field(out, "size", &bytes(view.bytes))?;
    if view.encrypted {
        field(out, "encrypted", "what sessions say, each with a key of its own")?;
    }
    Ok(())
}
