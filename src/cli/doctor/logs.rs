//! The whole log: every chain from its first event to its head, and every position of the feed.

use super::text::count;
use super::{Finding, State};
use crate::cli::exit::CliError;
use crate::cli::{Context, verify};
use crate::session::SessionId;
use crate::store::{FeedFlaw, PURGED, SessionRow, Store};

/// Reads all sessions.
pub(super) async fn of_logs(context: &Context, store: &dyn Store, rows: &[SessionRow]) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for row in rows.iter().filter(|row| row.directory.phase != PURGED) {
        context.progress(format_args!("reading {} ({})", row.id, count(row.head.0, "event")));
        let found = verify::check(store, row).await?;
        if let (Some(seq), what) = (found.bad, found.what) {
            findings.push(bad_log(context, row.id, seq.0, &what.unwrap_or_default()));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::new("logs", State::Well, format!("{} read, all intact", count(rows.len() as u64, "session"))));
    }
    Ok(findings)
}

fn bad_log(context: &Context, id: SessionId, seq: u64, what: &str) -> Finding {
    let found = format!("{id} is damaged at event {seq}: {what}");
    let show = context.command(format_args!("show {id}"));
    Finding::new("logs", State::Bad, found).advice(format!("restore the store from a copy; what holds can be read with `{show}`"))
}

/// Looks at every position of the feed.
pub(super) async fn of_feed(store: &dyn Store) -> Result<Vec<Finding>, CliError> {
    let flaws = store.feed_flaws().await?;
    if flaws.is_empty() {
        return Ok(vec![Finding::new("feed", State::Well, "every position has its event, or was purged")]);
    }
    let finding = |flaw: FeedFlaw| {
        let found = match flaw {
            FeedFlaw::Missing { shard, first, last } if first == last => {
                format!("position {first} of shard {shard} has no event, and none was purged there")
            }
            FeedFlaw::Missing { shard, first, last } => {
                format!("positions {first} to {last} of shard {shard} have no events, and none were purged there")
            }
            FeedFlaw::Overlap { shard, position } => {
                format!("position {position} of shard {shard} is taken twice, or lies behind the end of the feed")
            }
        };
        let advice = "whoever follows the feed has missed or will miss something there; restore the store from a copy";
        Finding::new("feed", State::Bad, found).advice(advice)
    };
    Ok(flaws.into_iter().map(finding).collect())
}
