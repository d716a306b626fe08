//! `rekindle verify`: the chain, its completeness and its state digests, from the first event on.

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::audit;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::paint::Tone;
use super::text::{count, one_line};
use crate::engine::restore::{restore, restore_at};
use crate::engine::{EngineError, Trust};
use crate::session::{Digest, Seq, SessionId};
use crate::store::{PURGED, SessionFilter, SessionRow, Store, StoreError};

/// Check that a session's log is what was written
///
/// Every event is read: they must be dense, chained by their hashes up to the head, and fold to each state whose digest
/// is recorded on the way. Ends with 5 when a log is damaged, naming the first bad event.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for its events up to N
    #[arg(value_name = "S[@N]", default_value = "@last", conflicts_with = "all", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// All of them
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    against: audit::AgainstArgs,
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
}

/// Checks sessions.
///
/// # Errors
/// When there is no such session, or the store cannot be read.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    if let Some(file) = &args.against.against {
        return audit::against(context, file, args.against.key).await;
    }
    let store = context.store().await?;
    let (rows, upto) = if args.all {
        (store.sessions(SessionFilter::All, u32::MAX).await?, None)
    } else {
        let row = find(context, store.as_ref(), &args.address.session).await?;
        let upto = Some(args.address.at(&row)?).filter(|upto| *upto < row.head);
        (vec![row], upto)
    };
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        if args.all {
            context.progress(format_args!("checking {} ({})", row.id, count(row.head.0, "event")));
        }
        let one = match upto {
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
    let found = |ok, digest, bad, what| Found { session: row.id, ok, events: row.head, hash: row.hash, digest, bad, what };
    if row.directory.phase == PURGED {
        return Ok(found(true, None, None, Some("its events were purged; only its head is left".to_owned())));
    }
    // The chain first: it names what is wrong more closely than a fold can.
    let proven = match store_chain(store, row).await {
        Ok(()) => restore(store, row.id, Trust::Nothing).await,
        Err(error) => Err(error.into()),
    };
    match proven {
        Ok(restored) => Ok(found(true, Some(restored.proof.digest), None, None)),
        Err(EngineError::Unproven { seq, what, .. } | EngineError::Store(StoreError::Damaged { seq, what, .. })) => {
            Ok(found(false, None, Some(seq), Some(what)))
        }
        Err(other) => Err(other.into()),
    }
}

/// Checks the beginning of a session, up to and with one event; what comes behind it is not looked at.
///
/// # Errors
/// When the store cannot be read at all; damage is in what is found.
pub async fn check_upto(store: &dyn Store, row: &SessionRow, upto: Seq) -> Result<Found, CliError> {
    let found = |ok, hash, digest, bad, what| Found { session: row.id, ok, events: upto, hash, digest, bad, what };
    match restore_at(store, row.id, upto, Trust::Nothing).await {
        Ok(restored) => Ok(found(true, restored.hash, Some(restored.proof.digest), None, None)),
        Err(EngineError::Unproven { seq, what, .. }) => Ok(found(false, Digest::ZERO, None, Some(seq), Some(what))),
        Err(other) => Err(other.into()),
    }
}

async fn store_chain(store: &dyn Store, row: &SessionRow) -> Result<(), StoreError> {
    crate::store::verify_session(store, row.id).await.map(|_| ())
}

/// Prints what was found for people.
///
/// # Errors
/// When nobody reads any more.
pub fn print(context: &mut Context, found: &Found) -> Result<(), CliError> {
    let paint = context.out.paint;
    match (&found.bad, &found.what) {
        (Some(seq), what) => {
            let what = what.as_deref().map(one_line).unwrap_or_default();
            context.out.line(format_args!("{}  {}: {what}", paint.tone(Tone::Bad, "damaged"), found.session))?;
            let trusted = seq.0.saturating_sub(1);
            let way_out = if trusted > 0 {
                format!(
                    "events 1 to {trusted} hold; read them with `{}`",
                    context.command(format_args!("show {}@{trusted}", found.session))
                )
            } else {
                "no event can be trusted; restore the store from a copy".to_owned()
            };
            context.out.line(format_args!("         {way_out}"))?;
        }
        _ => {
            let digest = found.digest.map(|digest| digest.to_string()).unwrap_or_default();
            context.out.line(format_args!(
                "{}  {}  {}",
                paint.tone(Tone::Good, "intact "),
                found.session,
                count(found.events.0, "event")
            ))?;
            context.out.line(format_args!("         {} {}", paint.dim("chain"), found.hash))?;
            context.out.line(format_args!("         {} {digest}", paint.dim("state")))?;
        }
    }
    Ok(())
}
