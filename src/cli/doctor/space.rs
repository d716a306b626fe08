//! Room: what the database takes, what it could give back, and what is left on its disk.

use std::path::Path;

use super::text::{bytes, count};
use super::{Finding, State};
use crate::cli::Context;
use crate::store::{Condition, FileCondition, ServerCondition, TableCondition};

/// Less room than this on the store's disk is worth a word.
const ROOM_MIN: u64 = 256 * 1024 * 1024;
/// Free room inside the file is worth a word from this many bytes on, when it is a quarter of the file as well.
const FREE_MIN: u64 = 1024 * 1024;
/// A write-ahead log is emptied every few MiB; one of this length is not.
const LOG_MAX: u64 = 128 * 1024 * 1024;
/// Fewer dead rows in a table than this are nobody's trouble.
const DEAD_MIN: u64 = 10_000;

/// How much room there is.
pub(super) fn of_space(context: &Context, condition: &Condition) -> Vec<Finding> {
    match condition {
        Condition::Memory => Vec::new(),
        Condition::File(file) => {
            let disk = free_bytes(&file.path).map(of_disk);
            disk.into_iter().chain([of_free_pages(context, file), of_log(file)]).collect()
        }
        Condition::Server(server) => of_server(context, server),
    }
}

fn of_disk(free: u64) -> Finding {
    let found = format!("{} free on the disk of the store", bytes(free));
    if free < ROOM_MIN {
        Finding::new("disk", State::Warn, found).advice("make room: nothing can be appended to a store on a full disk")
    } else {
        Finding::new("disk", State::Well, found)
    }
}

fn of_free_pages(context: &Context, file: &FileCondition) -> Finding {
    let found = format!("{} of the file's {} hold nothing and are used again", bytes(file.free_bytes), bytes(file.bytes));
    if file.free_bytes >= FREE_MIN && file.free_bytes >= file.bytes / 4 {
        let compact = context.command("store gc --compact");
        Finding::new("free", State::Note, found).advice(format!("`{compact}` gives them back to the disk"))
    } else {
        Finding::new("free", State::Well, found)
    }
}

fn of_log(file: &FileCondition) -> Finding {
    let found = format!("the write-ahead log beside the file has {}", bytes(file.log_bytes));
    if file.log_bytes >= LOG_MAX {
        let advice = "it is emptied once nobody reads in one long transaction; see `transaction` for who does";
        Finding::new("log", State::Warn, found).advice(advice)
    } else {
        Finding::new("log", State::Well, found)
    }
}

fn of_server(context: &Context, server: &ServerCondition) -> Vec<Finding> {
    let own = server.tables.iter().map(|table| table.bytes).sum();
    let found = format!("the database takes {}, the store's tables {} of them", bytes(server.database_bytes), bytes(own));
    let mut findings = vec![Finding::new("room", State::Well, found)];
    let crowded: Vec<&TableCondition> = server.tables.iter().filter(|table| is_crowded(table)).collect();
    let dead: u64 = server.tables.iter().map(|table| table.dead_rows).sum();
    if crowded.is_empty() {
        let found = format!("{} in all tables, as far as the statistics know", count(dead, "dead row"));
        findings.push(Finding::new("dead-rows", State::Well, found));
    }
    for table in crowded {
        let found =
            format!("table {} has {} beside {} that live", table.name, count(table.dead_rows, "dead row"), table.live_rows);
        let compact = context.command("store gc --compact");
        let advice = format!("`{compact}` makes their room free; if they come again, look at autovacuum, and at `transaction`");
        findings.push(Finding::new("dead-rows", State::Warn, found).advice(advice));
    }
    findings
}

/// Whether autovacuum does not keep up: by default it comes when a fifth of the rows are dead.
const fn is_crowded(table: &TableCondition) -> bool {
    table.dead_rows >= DEAD_MIN && table.dead_rows > table.live_rows / 5 * 2
}

fn free_bytes(path: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    stat.blocks_available().checked_mul(stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_log_that_is_not_emptied_are_worth_a_warning() {
        assert_eq!(of_disk(ROOM_MIN - 1).state, State::Warn);
        assert_eq!(of_disk(ROOM_MIN).state, State::Well);
        let file = |log_bytes| FileCondition {
            path: "store.db".into(),
            bytes: 0,
            free_bytes: 0,
            log_bytes,
            readers: Vec::new(),
            writer: None,
        };
        assert_eq!(of_log(&file(LOG_MAX)).state, State::Warn);
        assert_eq!(of_log(&file(LOG_MAX - 1)).state, State::Well);
    }
}
