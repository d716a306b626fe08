//! Who reads or writes in one long transaction, and so keeps the database from giving room back.

use std::time::Duration;

use super::text::{count, duration};
use super::{Finding, State};
use crate::store::{Condition, FileCondition, Holder, HolderKind};

/// A transaction that is open for longer than this holds up vacuum. None of ours takes as long.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// A slot that is this many transactions behind holds up vacuum.
const BEHIND_MAX: u64 = 1_000_000;

/// The oldest open transactions.
pub(super) fn of_transactions(condition: &Condition) -> Vec<Finding> {
    let findings = match condition {
        Condition::Memory => return Vec::new(),
        Condition::File(file) => of_file(file),
        Condition::Server(server) => server.holders.iter().filter_map(of_holder).collect(),
    };
    if findings.is_empty() {
        vec![Finding::new("transaction", State::Well, "none is open that holds anything up")]
    } else {
        findings
    }
}

fn of_file(file: &FileCondition) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pid in file.readers.iter().filter(|pid| Some(**pid) != file.writer) {
        let found = format!("{} is reading just now", process(*pid));
        let advice = "if it stays, what is written meanwhile stays in the write-ahead log: let it end its transaction";
        findings.push(Finding::new("transaction", State::Note, found).advice(advice));
    }
    if let Some(pid) = file.writer {
        let found = format!("{} is writing just now", process(pid));
        let advice = "if it stays, nobody else can write: let it end its transaction";
        findings.push(Finding::new("transaction", State::Note, found).advice(advice));
    }
    findings
}

fn process(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    match name {
        Ok(name) => format!("process {pid} ({})", name.trim()),
        Err(_) => format!("process {pid}"),
    }
}

/// What is worth a word about something that keeps dead rows.
fn of_holder(holder: &Holder) -> Option<Finding> {
    let open_for = holder.open_for.unwrap_or_default();
    let is_old = open_for > OPEN_MAX;
    let since = duration(u64::try_from(open_for.as_micros()).unwrap_or(u64::MAX));
    let (is_worth_a_word, is_bad, found, advice) = match &holder.what {
        HolderKind::Transaction { pid, application, state } => {
            let who = if application.is_empty() { "a client" } else { application };
            let found = format!("the transaction of {who} (server process {pid}, {state}) is open for {since}");
            let advice = format!("vacuum keeps every row that it might see: end it, or `select pg_terminate_backend({pid})`");
            // Between two of its statements a transaction waits for its client, which may have forgotten it.
            (is_old || state.starts_with("idle in transaction"), is_old, found, advice)
        }
        HolderKind::Prepared { name } => {
            let found = format!("transaction {name} was prepared {since} ago and neither committed nor rolled back");
            let advice = format!("vacuum keeps every row that it might see: `commit prepared '{name}'`, or roll it back");
            (true, is_old, found, advice)
        }
        HolderKind::Slot { name } => {
            let behind = count(holder.transactions, "transaction");
            let found = format!("replication slot {name} keeps what {behind} have left");
            let advice = format!("let its reader catch up; if it has none, `select pg_drop_replication_slot('{name}')`");
            let is_far = holder.transactions > BEHIND_MAX;
            (is_far, is_far, found, advice)
        }
    };
    let state = if is_bad { State::Warn } else { State::Note };
    is_worth_a_word.then(|| Finding::new("transaction", state, found).advice(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(what: HolderKind, open_for: Option<Duration>, transactions: u64) -> Option<State> {
        of_holder(&Holder { what, open_for, transactions }).map(|finding| finding.state)
    }

    #[test]
    fn what_holds_vacuum_up_is_told_by_how_long_it_has() {
        let client = |state: &str| HolderKind::Transaction { pid: 7, application: "psql".into(), state: state.into() };
        let prepared = || HolderKind::Prepared { name: "two-phase".into() };
        let slot = || HolderKind::Slot { name: "copy".into() };
        let (short, long) = (Some(Duration::from_secs(1)), Some(Duration::from_mins(10)));
        assert_eq!(state_of(client("active"), short, 1), None);
        assert_eq!(state_of(client("active"), long, 1), Some(State::Warn));
        assert_eq!(state_of(client("idle in transaction"), short, 1), Some(State::Note));
        assert_eq!(state_of(client("idle in transaction"), long, 1), Some(State::Warn));
        assert_eq!(state_of(prepared(), short, 1), Some(State::Note));
        assert_eq!(state_of(prepared(), long, 1), Some(State::Warn));
        assert_eq!(state_of(slot(), None, 10), None);
        assert_eq!(state_of(slot(), None, BEHIND_MAX + 1), Some(State::Warn));
    }
}
