//! `rekindle state`: the folded state of a session, at its end or after any event.

use clap_complete::ArgValueCompleter;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Context;
use super::address::Address;
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::ls::state_tone;
use super::text::{count, one_line};
use crate::engine::travel::state_at;
use crate::projection::{directory::shown, moment};
use crate::session::{Digest, REDUCER, Seq, Session, SessionId, Timestamp};

/// Show a session's state, as folded from its log and proven by it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for its state after event N
    #[arg(value_name = "S[@N]", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
}

/// The shape of `state -o json`. `digest` is the SHA-256 of the bytes of `state`.
#[derive(Serialize)]
struct StateView<'a> {
    session: SessionId,
    seq: Seq,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    reducer: &'a str,
    digest: Digest,
    hash: Digest,
    state: Box<RawValue>,
}

/// Shows a state.
///
/// # Errors
/// When there is no such session or event, or the log does not prove its state.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let (store, row) = context.states(&args.address.session).await?;
    let at = args.address.at(&row)?;
    let restored = state_at(store.as_ref(), row.id, at).await?;
    let session = &restored.session;
    if !context.out.is_table() {
        let state = RawValue::from_string(session.to_json()).map_err(std::io::Error::from)?;
        context.out.json(&StateView {
            session: row.id,
            seq: session.version,
            at: session.at,
            reducer: REDUCER,
            digest: restored.proof.digest,
            hash: restored.hash,
            state,
        })?;
        return Ok(Exit::Done);
    }
    let paint = context.out.paint;
    for (name, value) in lines(session) {
        context.out.line(format_args!("{}  {}", paint.dim(format!("{name:<10}")), one_line(&value)))?;
    }
    let state = shown(session);
    let stood_on = restored.proof.snapshot.map_or_else(String::new, |seq| format!(", from the snapshot at {seq}"));
    let fold = format!("{} folded{stood_on}", count(restored.proof.events, "event"));
    for (name, value) in [
        ("state", paint.tone(state_tone(state), state).to_string()),
        ("proof", fold),
        ("digest", restored.proof.digest.to_string()),
        ("chain", restored.hash.to_string()),
    ] {
        context.out.line(format_args!("{}  {value}", paint.dim(format!("{name:<10}"))))?;
    }
    Ok(Exit::Done)
}

fn lines(session: &Session) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("after", format!("event {} at {}", session.version, session.at)),
        ("title", session.title.clone().unwrap_or_default()),
        ("phase", session.phase.as_str().to_owned()),
        ("agent", format!("{} {}", session.agent, session.agent_reason)),
        ("epoch", session.epoch.to_string()),
    ];
    let counts = session.counts;
    lines.push((
        "counts",
        format!(
            "{}, {}, {}, {}",
            count(counts.actions, "action"),
            count(counts.observations, "observation"),
            count(counts.messages, "message"),
            count(counts.errors, "error")
        ),
    ));
    if let Some(replay) = &session.replay {
        let end = if replay.outcome.is_some() { "ended" } else { "under way" };
        lines.push(("replay", format!("{end}, {} of {} performed", replay.performed, replay.lines)));
    }
    for open in &session.open {
        lines.push(("open", format!("{} at event {}: {:?}", open.tag, open.seq, open.dispatch)));
    }
    if let Some(spec) = &session.spec {
        lines.push(("workspace", spec.workspace.display().to_string()));
    }
    lines.retain(|(_, value)| !value.trim().is_empty());
    lines
}
