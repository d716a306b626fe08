//! What the store says about itself.

use super::text::{bytes, count};
use super::{Finding, State};
use crate::cli::Context;
use crate::store::{FORMAT, StoreInfo};

/// Where it is, what it is, how large, and what changed last.
pub(super) fn of_database(context: &Context, info: &StoreInfo) -> Vec<Finding> {
    let size = format!("{}, {}, {}", count(info.sessions, "session"), count(info.events, "event"), bytes(info.bytes));
    let format = match info.format {
        format if format == FORMAT => Finding::new("format", State::Well, format.to_string()),
        format => {
            let advice = context.command("store migrate");
            Finding::new("format", State::Warn, format!("{format}, this version writes {FORMAT}"))
                .advice(format!("`{advice}` brings an older one there; for a newer one upgrade Rekindle"))
        }
    };
    let newest = info.newest.as_ref().map(|row| {
        let show = context.command(format_args!("show {}", row.id));
        Finding::new("newest", State::Well, format!("{} changed at {}; `{show}`", row.id, row.updated_at))
    });
    let mut findings = vec![
        Finding::new("store", State::Well, format!("{}, made at {}", info.address, info.created_at)),
        format,
        Finding::new("database", State::Well, info.engine.clone()),
        Finding::new("size", State::Well, size),
    ];
    findings.extend(newest);
    findings
}
