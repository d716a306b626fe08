//! Who runs a session: one lease per process, one epoch per session.
//!
//! A lease only says whether anybody should try to take over; that a former owner writes nothing any more is what the epoch in every
//! append is for.

use std::fs;
use std::time::Duration;

use super::error::EngineError;
use crate::session::NodeId;
use crate::store::{NodeRow, SessionRow, Store};

/// How long a lease lasts without being renewed.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often it is renewed.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(3);

/// Why a session may be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// This process runs it already.
    Ours,
    /// Nobody does, for this reason.
    Free(String),
}

/// Says whether `node` may run the session that `row` describes.
pub(super) async fn standing(store: &dyn Store, row: &SessionRow, node: NodeId) -> Result<Standing, EngineError> {
    let Some(owner) = row.owner else {
        return Ok(Standing::Free("nobody ran it".to_owned()));
    };
    if owner == node {
        return Ok(Standing::Ours);
    }
    let Some(known) = store.node(owner).await? else {
        return Ok(Standing::Free("the process that ran it has left".to_owned()));
    };
    if is_gone(&known.address) {
        return Ok(Standing::Free("the process that ran it is gone".to_owned()));
    }
    if known.expired {
        return Ok(Standing::Free("the lease of the process that ran it has passed".to_owned()));
    }
    let NodeRow { id, address, .. } = known;
    Err(EngineError::OwnedElsewhere { session: row.id, node: id, address })
}

/// Where this process is: enough for another one on the same machine to see whether it still lives.
pub(super) fn address() -> String {
    let pid = std::process::id();
    let parts = [("pid", Some(pid.to_string())), ("started", started(pid)), ("boot", boot()), ("pidns", namespace())];
    let known = parts.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
    known.collect::<Vec<_>>().join(" ")
}

/// Who lives at `address`, for people.
pub(super) fn describe(address: &str) -> String {
    match part(address, "pid") {
        Some(pid) => format!("another process (pid {pid})"),
        None => format!("another process ({address})"),
    }
}

fn part<'a>(address: &'a str, name: &str) -> Option<&'a str> {
    address.split(' ').find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Whether the process at `address` is known to be gone: same boot, same PID namespace, and no such process or a younger one.
fn is_gone(address: &str) -> bool {
    let part = |name: &str| part(address, name);
    let here = |name: &str, value: Option<String>| matches!((part(name), value), (Some(theirs), Some(ours)) if theirs == ours);
    if !here("boot", boot()) || !here("pidns", namespace()) {
        return false;
    }
    match (part("pid").and_then(|pid| pid.parse().ok()), part("started")) {
        (Some(pid), Some(then)) => started(pid).is_none_or(|now| now != then),
        _ => false,
    }
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`; `None` when it is gone or dead but unreaped.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn namespace() -> Option<String> {
    fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_gone_and_a_dead_one_is() {
        assert!(!is_gone(&address()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let theirs = address().replace(&format!("pid={} ", std::process::id()), &format!("pid={} ", child.id()));
        child.wait().unwrap();
        assert!(is_gone(&theirs));
    }

    #[test]
    fn a_process_of_another_machine_is_never_taken_for_gone() {
        assert!(!is_gone("pid=1 started=1 boot=elsewhere pidns=pid:[1]"));
        assert!(!is_gone("nonsense"));
    }
}
