//! `rekindle doctor`: how the store and this machine are, and what to do about what is not well.

mod database;
mod finding;
mod keys;
mod launched;
mod leftovers;
mod logs;
mod projections;
mod rows;
mod runtime;
mod sessions;
mod space;
mod transactions;

use super::exit::{CliError, Exit};
use super::location::Access;
use super::program::program;
use super::{Context, text};
use crate::session::SessionId;
use crate::store::{PURGED, SessionFilter, Store};
use finding::{Finding, State};

/// Examine the store and this machine, and say what to do about what is not well
///
/// Ends with 5 when something that was stored is damaged, and with 0 otherwise, whatever else is to be said.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read every event of every session, and every position of the feed, too
    #[arg(long)]
    deep: bool,
    /// End processes of sessions that run on without their engine, and remove what nobody needs any more
    #[arg(long)]
    sweep: bool,
}

/// Examines.
///
/// # Errors
/// When the store cannot be opened.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let mut findings = Vec::new();
    let store = context.location.open(Access::Read).await?;
    match &store {
        None => findings.push(
            Finding::new("store", State::Note, format!("{} is not there yet", context.location.url()))
                .advice(format!("the first replay or import makes it; `{} demo` needs none", program())),
        ),
        Some(store) => findings.extend(of_store(context, store.as_ref(), args.deep).await?),
    }
    findings.extend(leftovers::of_leftovers(context, store.as_deref(), args.sweep).await?);
    findings.extend(launched::of_launched(context, args.sweep).await);
    findings.push(runtime::of_runtime().await);
    if context.out.is_table() {
        finding::print(context, &findings)?;
    } else {
        context.out.json_list(&findings)?;
    }
    let damaged = findings.iter().any(|finding| finding.state == State::Bad);
    Ok(if damaged { Exit::Unverified } else { Exit::Done })
}

async fn of_store(context: &Context, store: &dyn Store, deep: bool) -> Result<Vec<Finding>, CliError> {
    // Counted before they are listed: a session that begins in between is no row that cannot be read.
    let info = store.info().await?;
    let rows = store.sessions(SessionFilter::All, u32::MAX).await?;
    let condition = store.condition().await?;
    let kept: Vec<SessionId> = rows.iter().filter(|row| row.directory.phase != PURGED).map(|row| row.id).collect();
    let (count, keyless) = (kept.len(), store.keyless(kept).await?);
    let mut findings = database::of_database(context, &info);
    findings.extend(space::of_space(context, &condition));
    findings.extend(transactions::of_transactions(&condition));
    findings.extend(sessions::of_sessions(context, store).await?);
    findings.extend(projections::of_projections(context, store).await?);
    if info.encrypted {
        findings.push(keys::of_keys(context, &keyless, count));
    }
    findings.extend(rows::of_rows(context, store, &rows, &keyless.into_iter().collect(), info.sessions).await?);
    if deep {
        findings.extend(logs::of_logs(context, store, &rows).await?);
        findings.extend(logs::of_feed(store).await?);
    } else if info.sessions > 0 {
        let advice = context.command("doctor --deep");
        findings.push(Finding::new("logs", State::Note, "not read").advice(format!("`{advice}` reads every event")));
    }
    Ok(findings)
}
