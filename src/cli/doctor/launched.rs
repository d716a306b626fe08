//! What launchers have left on this machine, and the way to be rid of it.

use super::text::count;
use super::{Finding, State};
use crate::cli::Context;
use crate::host::runtime::command::{Launched, launched};

/// Launched runtimes that run on without their engine; with `sweep` they go.
pub(super) async fn of_launched(context: &Context, sweep: bool) -> Vec<Finding> {
    let found = match tokio::task::spawn_blocking(launched).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return vec![unreadable(&error.to_string())],
        Err(error) => return vec![unreadable(&error.to_string())],
    };
    let kept = found.iter().filter(|launched| launched.is_kept).count() as u64;
    let mut findings = Vec::new();
    for left in found.into_iter().filter(|launched| !launched.is_kept) {
        findings.push(of_one(context, left, sweep).await);
    }
    if findings.is_empty() && kept > 0 {
        findings.push(Finding::new("launched", State::Well, format!("{} launched", count(kept, "runtime"))));
    }
    findings
}

fn unreadable(why: &str) -> Finding {
    Finding::new("launched", State::Warn, format!("what was launched here cannot be told: {why}"))
        .advice("see who may read the directory, or name another one in XDG_RUNTIME_DIR")
}

async fn of_one(context: &Context, left: Launched, sweep: bool) -> Finding {
    let session = left.session;
    if !sweep {
        let (state, what) = if left.is_leaked() {
            (State::Warn, format!("the runtime that was launched for {session} may run on though its engine is gone"))
        } else {
            (State::Note, format!("the runtime that was launched for {session} is gone, and still on record"))
        };
        let [resume, sweep] = [format!("resume {session}"), "doctor --sweep".to_owned()].map(|rest| context.command(rest));
        return Finding::new("launched", state, what).advice(format!("`{resume}` goes on with it; `{sweep}` ends it"));
    }
    let swept = tokio::task::spawn_blocking(move || left.sweep()).await;
    match swept.map_err(std::io::Error::other).and_then(|swept| swept) {
        Ok(true) => Finding::new("launched", State::Well, format!("the runtime that was launched for {session} was ended")),
        Ok(false) => Finding::new("launched", State::Well, format!("{session} has an engine again")),
        Err(error) => {
            Finding::new("launched", State::Warn, format!("the runtime that was launched for {session} cannot be ended: {error}"))
                .advice("end it by hand")
        }
    }
}
