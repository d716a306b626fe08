//! Projections that follow the feed: how far behind they are, and what they could not read.

use super::{Finding, State};
use crate::cli::exit::CliError;
use crate::cli::text::count;
use crate::engine::clock::{Clock, SystemClock};
use crate::projection::lag::lag;
use crate::store::Store;

/// How each version of each projection is.
pub(super) async fn of_projections(store: &dyn Store) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for id in store.projections().await? {
        let lag = lag(store, &id).await?;
        let (state, found) = match lag.events {
            0 => (State::Well, format!("{id} has read all")),
            events => {
                let age = lag.age(SystemClock.now()).as_secs();
                (State::Note, format!("{id} is {} behind, the first of them {age} s old", count(events, "event")))
            }
        };
        // Nothing is lost: whoever asks for it catches up first.
        findings.push(Finding::new("projection", state, found));
        for held in store.quarantined(&id).await? {
            let found = format!("{id} could not read event {} of session {}: {}", held.seq, held.session, held.what);
            let advice =
                format!("its figures are without that session from there on; `rekindle verify {}` reads its log", held.session);
            findings.push(Finding::new("quarantine", State::Warn, found).advice(advice));
        }
    }
    Ok(findings)
}
