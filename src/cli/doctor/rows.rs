//! Rows that are not what was written, as far as a glance tells: each session's own row, and the event at its head.

use std::collections::BTreeSet;

use super::text::count;
use super::{Finding, State};
use crate::cli::Context;
use crate::cli::exit::CliError;
use crate::session::SessionId;
use crate::store::{PURGED, Read, Row, SessionRow, Store};

/// How many sessions are looked at, those that changed last. `--deep` looks at all.
const SESSIONS_MAX: usize = 1000;

/// Rows that cannot be read, and heads that are not what the directory says. Those of sessions without a key are nothing to tell by.
/// `counted` is how many sessions there were before they were listed as `rows`.
pub(super) async fn of_rows(
    context: &Context,
    store: &dyn Store,
    rows: &[SessionRow],
    keyless: &BTreeSet<SessionId>,
    counted: u64,
) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    let unreadable = counted.saturating_sub(rows.len() as u64);
    if unreadable > 0 {
        let found = format!("the rows of {} cannot be read, so no list shows them", count(unreadable, "session"));
        findings.push(Finding::new("rows", State::Bad, found).advice("bring them back from a copy of the store"));
    }
    let can_be_read = |row: &&SessionRow| row.directory.phase != PURGED && !keyless.contains(&row.id);
    let looked_at = rows.iter().filter(can_be_read).take(SESSIONS_MAX);
    let mut whole = 0;
    for row in looked_at {
        match head(store, row).await? {
            None => whole += 1,
            Some(what) => {
                let verify = context.command(format_args!("verify {}", row.id));
                let found = format!("{}: {what}", row.id);
                findings.push(Finding::new("rows", State::Bad, found).advice(format!("`{verify}` names the first bad event")));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::new("rows", State::Well, format!("the heads of {} are there", count(whole, "session"))));
    }
    Ok(findings)
}

/// What is wrong with the last event of a session.
async fn head(store: &dyn Store, row: &SessionRow) -> Result<Option<String>, CliError> {
    // Not beyond the head that was listed: the session may go on meanwhile.
    let page = store.read(Read { upto: row.head, ..Read::last(row.id, 1) }).await?;
    Ok(match page.rows.first() {
        Some(Row::Event { event, hash, .. }) if (event.seq, *hash) == (row.head, row.hash) => None,
        Some(Row::Damaged { what, .. }) => Some(format!("its last event is damaged: {what}")),
        Some(Row::Event { .. }) | None => Some(format!("its last event is not event {} as the directory has it", row.head)),
    })
}
