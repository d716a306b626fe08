//! `rekindle doctor`: how the store and this machine are, and what to do about what is not well.

mod projections;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::exit::{CliError, Exit};
use super::location::Access;
use super::output::{Cell, Side, table};
use super::paint::Tone;
use super::program::program;
use super::text::{bytes, count};
use super::{Context, verify};
use crate::engine::ports::{Mount, Provision, Runtimes};
use crate::host::runtime::local::{LocalOptions, LocalRuntimes};
use crate::session::{Digest, Epoch, SessionId};
use crate::store::{FORMAT, SessionFilter, Store, StoreInfo};

/// How long the trial of the runtime may take.
const TRIAL_WAIT: Duration = Duration::from_secs(20);
/// Less room than this on the store's disk is worth a word.
const ROOM_MIN: u64 = 256 * 1024 * 1024;

/// Examine the store and this machine, and say what to do about what is not well
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read every event of every session, too
    #[arg(long)]
    deep: bool,
}

/// How one thing is. The shape of each document of `doctor -o json`.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at: stable.
    check: &'static str,
    /// How it is.
    state: State,
    /// What was found.
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Well,
    Note,
    Warn,
    Bad,
}

impl Finding {
    fn new(check: &'static str, state: State, found: impl Into<String>) -> Self {
        Self { check, state, found: found.into(), advice: None }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Examines.
///
/// # Errors
/// When the store cannot be opened.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let mut findings = Vec::new();
    let mut damaged = false;
    match context.location.open(Access::Read).await? {
        None => findings.push(
            Finding::new("store", State::Note, format!("{} is not there yet", context.location.url()))
                .advice(format!("the first replay or import makes it; `{} demo` needs none", program())),
        ),
        Some(store) => {
            let info = store.info().await?;
            findings.extend(of_store(context, &info));
            findings.extend(of_disk(&info));
            findings.extend(of_sessions(context, store.as_ref()).await?);
            findings.extend(projections::of_projections(store.as_ref()).await?);
            if args.deep {
                let deep = of_logs(context, store.as_ref()).await?;
                damaged = deep.iter().any(|finding| finding.state == State::Bad);
                findings.extend(deep);
            } else if info.sessions > 0 {
                let advice = context.command("doctor --deep");
                findings.push(Finding::new("logs", State::Note, "not read").advice(format!("`{advice}` reads every event")));
            }
        }
    }
    findings.push(of_runtime().await);
    if context.out.is_table() {
        print(context, &findings)?;
    } else {
        context.out.json_list(&findings)?;
    }
    Ok(match (damaged, findings.iter().any(|finding| finding.state == State::Bad)) {
        (true, _) => Exit::Unverified,
        (false, true) => Exit::Failure,
        (false, false) => Exit::Done,
    })
}

fn of_store(context: &Context, info: &StoreInfo) -> Vec<Finding> {
    let size = format!("{}, {}, {}", count(info.sessions, "session"), count(info.events, "event"), bytes(info.bytes));
    let format = match info.format {
        format if format == FORMAT => Finding::new("format", State::Well, format.to_string()),
        format => {
            Finding::new("format", State::Warn, format!("{format}, this version writes {FORMAT}")).advice("upgrade Rekindle")
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

fn of_disk(info: &StoreInfo) -> Option<Finding> {
    let path = PathBuf::from(info.address.strip_prefix("sqlite://")?);
    let free = free_bytes(&path)?;
    let found = format!("{} free on the disk of the store", bytes(free));
    Some(if free < ROOM_MIN {
        Finding::new("disk", State::Warn, found).advice("make room: nothing can be appended to a store on a full disk")
    } else {
        Finding::new("disk", State::Well, found)
    })
}

fn free_bytes(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    stat.blocks_available().checked_mul(stat.fragment_size())
}

/// Sessions that somebody must run, and whether anybody does.
async fn of_sessions(context: &Context, store: &dyn Store) -> Result<Vec<Finding>, CliError> {
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

async fn of_logs(context: &Context, store: &dyn Store) -> Result<Vec<Finding>, CliError> {
    let rows = store.sessions(SessionFilter::All, u32::MAX).await?;
    let mut findings = Vec::new();
    for row in &rows {
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

/// What a session gets on this machine, found out by making one.
async fn of_runtime() -> Finding {
    let dir = std::env::temp_dir().join(format!("rekindle-doctor-{}", std::process::id()));
    let session = SessionId::from_uuid(uuid::Uuid::nil());
    let request = Provision::new(session, Digest::ZERO, format!("doctor-{}", std::process::id()), Epoch(1), &dir);
    let runtimes = LocalRuntimes::new(LocalOptions::default());
    let trial = async {
        let provisioned = runtimes.provision(request).await?;
        provisioned.runtime.release().await?;
        Ok::<_, crate::engine::ports::RuntimeError>(provisioned.report)
    };
    let finding = match tokio::time::timeout(TRIAL_WAIT, trial).await {
        Ok(Ok(report)) => match report.mount {
            Mount::Namespace => Finding::new(
                "runtime",
                State::Well,
                "sessions get namespaces of their own: /workspace is mounted, and no process outlives its session",
            ),
            Mount::PathMapping => {
                Finding::new("runtime", State::Warn, format!("no namespaces here: {}", report.warnings.join("; ")))
                    .advice("paths are mapped and a watchdog ends processes; permit user namespaces for real mounts")
            }
        },
        Ok(Err(error)) => Finding::new("runtime", State::Bad, error.to_string())
            .advice("nothing can be replayed on this machine until that is mended"),
        Err(_) => Finding::new("runtime", State::Bad, format!("not there within {} s", TRIAL_WAIT.as_secs()))
            .advice("nothing can be replayed on this machine until that is mended"),
    };
    let _ = std::fs::remove_dir_all(&dir);
    finding
}

fn print(context: &mut Context, findings: &[Finding]) -> Result<(), CliError> {
    let mut rows = Vec::new();
    for finding in findings {
        let (word, tone) = match finding.state {
            State::Well => ("well", Tone::Good),
            State::Note => ("note", Tone::Dim),
            State::Warn => ("warn", Tone::Warn),
            State::Bad => ("BAD", Tone::Bad),
        };
        rows.push(vec![Cell::new(word).tone(tone), Cell::new(finding.check), Cell::new(&finding.found)]);
        if let Some(advice) = &finding.advice {
            rows.push(vec![Cell::new(""), Cell::new(""), Cell::new(format!("→ {advice}")).tone(Tone::Dim)]);
        }
    }
    table(&mut context.out, &[("", Side::Left), ("CHECK", Side::Left), ("FOUND", Side::Left)], &rows)?;
    Ok(())
}
