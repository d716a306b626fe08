//! Sessions that somebody must run, and whether anybody does.

use super::{Finding, State};
use crate::cli::Context;
use crate::cli::exit::CliError;
use crate::store::{SessionFilter, Store};

/// Who runs what has something left to do.
pub(super) async fn of_sessions(context: &Context, store: &dyn Store) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    let mut left = 0;
    for row in store.sessions(SessionFilter::Due, u32::MAX).await? {
        let owner = match row.owner {
            Some(owner) => store.node(owner).await?,
            None => None,
        };
        match owner {
            Some(node) if !node.expired => {
                let found = format!("{} is run by {}", row.id, node.address);
                findings.push(Finding::new("running", State::Well, found));
            }
            _ => {
                left += 1;
                let advice = context.command(format_args!("resume {}", row.id));
                let found = format!("{} ({}) has something left to do and nobody runs it", row.id, row.directory.phase);
                findings.push(Finding::new("left", State::Warn, found).advice(format!("`{advice}`, or `close` it")));
            }
        }
    }
    if left == 0 {
        findings.push(Finding::new("left", State::Well, "no session waits for somebody to run it"));
    }
    Ok(findings)
}
