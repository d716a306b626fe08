//! Projections that follow the feed: how far behind they are, and what they could not read.

use super::text::count;
use super::{Finding, State};
use crate::cli::Context;
use crate::cli::exit::CliError;
use crate::engine::clock::{Clock, SystemClock};
use crate::projection::lag::lag;
use crate::store::Store;

/// How each version of each projection is.
pub(super) async fn of_projections(context: &Context, store: &dyn Store) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for id in store.projections().await? {
        let lag = lag(store, &id).await?;
        findings.push(match lag.events {
            0 => Finding::new("projection", State::Well, format!("{id} has read all")),
            events => {
                let age = lag.age(SystemClock.now()).as_secs();
                let found = format!("{id} is {} behind, the first of them {age} s old", count(events, "event"));
                let advice =
                    format!("nothing is lost: whoever asks for it catches up first, as `{}` does", context.command("usage"));
                Finding::new("projection", State::Note, found).advice(advice)
            }
        });
        for held in store.quarantined(&id).await? {
            let found = format!("{id} could not read event {} of session {}: {}", held.seq, held.session, held.what);
            let verify = context.command(format_args!("verify {}", held.session));
            let advice = format!("its figures are without that session from there on; `{verify}` reads its log");
            findings.push(Finding::new("quarantine", State::Warn, found).advice(advice));
        }
    }
    Ok(findings)
}
