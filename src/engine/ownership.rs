//! Who runs a session: one lease per process, one epoch per session.
//!
//! A lease only says whether anybody should try to take over; that a former owner writes nothing any more is what the epoch in every
//! append is for.

use std::fs;

use super::error::EngineError;
use crate::session::{Digest, NodeId, SessionId};
use crate::store::{NodeRow, SessionRow, Store, StoreError};

/// What a process does for sessions that are not its own yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs what it was asked to run.
    Runs,
    /// It takes over what nobody runs, too.
    Serves,
}

/// The nodes that live.
pub(super) struct Nodes(Vec<NodeRow>);

impl Nodes {
    pub(super) async fn living(store: &dyn Store) -> Result<Self, StoreError> {
        let nodes = store.nodes().await?.into_iter();
        Ok(Self(nodes.filter(|row| !row.expired && !is_gone(&row.address)).collect()))
    }

    pub(super) fn has(&self, node: NodeId) -> bool {
        self.0.iter().any(|row| row.id == node)
    }

    /// Those that take over what nobody runs, `this` one among them.
    pub(super) fn serving(&self, this: NodeId) -> Vec<NodeId> {
        let others = self.0.iter().filter(|row| row.id != this && part(&row.address, "role") == Some(SERVES));
        others.map(|row| row.id).chain([this]).collect()
    }
}

/// The nodes that may run sessions of a store just now: their lease holds, and their process is not known to be gone.
///
/// # Errors
/// When the store cannot be asked.
pub async fn living(store: &dyn Store) -> Result<Vec<NodeRow>, StoreError> {
    Nodes::living(store).await.map(|nodes| nodes.0)
}

/// Which of `nodes` a session falls to: the same for everyone who asks, and evenly spread. When a node goes, only what fell to it
/// moves (rendezvous hashing).
pub(super) fn rendezvous(session: SessionId, nodes: &[NodeId]) -> Option<NodeId> {
    let weight = |node: &NodeId| Digest::of(&[session.as_uuid().into_bytes(), node.as_uuid().into_bytes()].concat()).0;
    nodes.iter().copied().max_by_key(weight)
}

/// Whether `node` may still run sessions.
pub(super) async fn lives(store: &dyn Store, node: NodeId) -> Result<bool, StoreError> {
    Ok(store.node(node).await?.is_some_and(|row| !row.expired && !is_gone(&row.address)))
}

/// How a node that serves says so.
const SERVES: &str = "serves";

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
pub(super) fn address(role: Role) -> String {
    let pid = std::process::id();
    let parts = [
        ("pid", Some(pid.to_string())),
        ("started", started(pid)),
        ("boot", boot()),
        ("pidns", namespace()),
        ("host", host()),
        ("role", (role == Role::Serves).then(|| SERVES.to_owned())),
    ];
    let known = parts.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
    known.collect::<Vec<_>>().join(" ")
}

/// Who lives at `address`, for people.
pub fn describe(address: &str) -> String {
    let elsewhere = part(address, "host").filter(|name| host().is_some_and(|here| here != *name));
    match (part(address, "pid"), elsewhere) {
        (Some(pid), None) => format!("another process (pid {pid})"),
        (Some(pid), Some(host)) => format!("another process (pid {pid} on {host})"),
        (None, _) => format!("another process ({address})"),
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

fn host() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().replace(' ', "-")).filter(|name| !name.is_empty())
}

fn namespace() -> Option<String> {
    fs::read_link("/proc/self/ns/pid").ok().map(|link| link.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_is_not_gone_and_a_dead_one_is() {
        assert!(!is_gone(&address(Role::Runs)));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let theirs = address(Role::Serves).replace(&format!("pid={} ", std::process::id()), &format!("pid={} ", child.id()));
        child.wait().unwrap();
        assert!(is_gone(&theirs));
    }

    #[test]
    fn a_process_of_another_machine_is_never_taken_for_gone() {
        assert!(!is_gone("pid=1 started=1 boot=elsewhere pidns=pid:[1]"));
        assert!(!is_gone("nonsense"));
    }

    #[test]
    fn sessions_are_spread_evenly_and_move_only_when_their_node_goes() {
        let ids = |count: u128, salt: u128| (1..=count).map(move |n| uuid::Uuid::from_u128(n * 0x9E37_79B9_7F4A_7C15 + salt));
        let nodes: Vec<_> = ids(3, 1).map(NodeId::from_uuid).collect();
        let mut counts = [0; 3];
        for session in ids(3000, 2).map(SessionId::from_uuid) {
            let chosen = rendezvous(session, &nodes).unwrap();
            let at = nodes.iter().position(|node| *node == chosen).unwrap();
            counts[at] += 1;
            let without_another: Vec<_> = nodes.iter().copied().filter(|node| *node != nodes[(at + 1) % 3]).collect();
            assert_eq!(rendezvous(session, &without_another), Some(chosen));
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
