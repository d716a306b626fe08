//! What local runtimes have left on this machine, and the way to be rid of it.

use super::text::count;
use super::{Finding, State};
use crate::cli::Context;
use crate::cli::exit::CliError;
use crate::host::runtime::local::{Leftover, leftovers};
use crate::session::Seq;
use crate::store::{ENDED, Read, Row, Store};

/// Processes that run on without their engine, and fences that nobody needs; with `sweep` they go.
pub(super) async fn of_leftovers(context: &Context, store: Option<&dyn Store>, sweep: bool) -> Result<Vec<Finding>, CliError> {
    let found = match tokio::task::spawn_blocking(leftovers).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Ok(vec![unreadable(&error.to_string())]),
        Err(error) => return Ok(vec![unreadable(&error.to_string())]),
    };
    let mut findings = Vec::new();
    let (mut running, mut stale) = (0, Vec::new());
    for left in found {
        if left.is_leaked() {
            findings.push(leaked(context, left, sweep).await);
        } else if left.is_stale() {
            stale.push(left);
        } else if left.is_running && has_ended(store, &left).await? {
            let what = format!("the runtime of {} still runs though the session has ended", left.session);
            let advice = "its engine should have released it: end that process, and `doctor --sweep` removes the rest";
            findings.push(Finding::new("runtimes", State::Warn, what).advice(advice));
        } else {
            running += u64::from(left.is_running);
        }
    }
    findings.push(match (stale.is_empty(), sweep) {
        (true, _) => Finding::new("runtimes", State::Well, format!("{} here, nothing is left behind", count(running, "runtime"))),
        (false, false) => {
            let what = format!("{} of sessions that no engine holds any more", count(stale.len() as u64, "fence file"));
            let sweep = context.command("doctor --sweep");
            Finding::new("runtimes", State::Note, what).advice(format!("they do no harm; `{sweep}` removes them"))
        }
        (false, true) => {
            let mut gone = 0;
            for left in stale {
                gone += u64::from(swept(left).await == Ok(true));
            }
            Finding::new("runtimes", State::Well, format!("{} removed", count(gone, "fence file")))
        }
    });
    Ok(findings)
}

fn unreadable(why: &str) -> Finding {
    Finding::new("runtimes", State::Warn, format!("what sessions have left here cannot be told: {why}"))
        .advice("see who may read the directory, or name another one in XDG_RUNTIME_DIR")
}

async fn leaked(context: &Context, left: Leftover, sweep: bool) -> Finding {
    let session = left.session;
    if !sweep {
        let what = format!("processes of {session} run on though their engine is gone");
        let sweep = context.command("doctor --sweep");
        return Finding::new("runtimes", State::Warn, what).advice(format!("`{sweep}` ends them"));
    }
    match swept(left).await {
        Ok(true) => Finding::new("runtimes", State::Well, format!("the processes that {session} had left were ended")),
        Ok(false) => Finding::new("runtimes", State::Well, format!("{session} has an engine again")),
        Err(error) => Finding::new("runtimes", State::Warn, format!("the processes of {session} cannot be ended: {error}"))
            .advice("they may be another user's, or wait for a disk"),
    }
}

async fn swept(left: Leftover) -> Result<bool, String> {
    match tokio::task::spawn_blocking(move || left.sweep()).await {
        Ok(swept) => swept.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether it belongs to a session of this store that needs no runtime any more.
async fn has_ended(store: Option<&dyn Store>, left: &Leftover) -> Result<bool, CliError> {
    let Some(store) = store else { return Ok(false) };
    let Some(row) = store.session(left.session).await? else { return Ok(false) };
    if row.directory.due || !ENDED.contains(&row.directory.phase.as_str()) {
        return Ok(false);
    }
    let first = Read::one(row.id, Seq(1));
    let page = store.read(first).await?;
    // A session of the same id may be in another store.
    Ok(matches!(page.rows.first(), Some(Row::Event { hash, .. }) if hash.short() == left.birth))
}
