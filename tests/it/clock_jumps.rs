//! The wall clock of one of two nodes jumps by an hour and back: no session changes hands, and nothing is done twice.
//!
//! The clock that nobody can set does not jump with it, neither here nor on a real machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rekindle::session::{Epoch, NodeId, SessionId};
use rekindle::store::{OpenOptions, SessionFilter, SharedStore, connect};

use crate::node_support::{Node, assert_ended, due, journal, prepare, sqlite_url};

const SESSIONS: usize = 4;
const ACTIONS: usize = 3;
const LEASE: &str = "2s";
/// How often each node has renewed its lease before a jump counts as survived: more than two leases.
const RENEWALS: u64 = 8;
/// Until the file is there, an action runs.
const UNTIL_TOLD: &str = "0; while [ ! -e go ]; do sleep 0.05; done";

/// The library that tells a program another time.
fn libfaketime() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let places = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    places.into_iter().find(|path| path.exists()).expect("the tests need libfaketime: apt-get install faketime")
}

/// Who owns which session.
async fn owners(store: &SharedStore) -> BTreeMap<SessionId, (Option<NodeId>, Epoch)> {
    let rows = store.sessions(SessionFilter::All, 1000).await.unwrap();
    rows.into_iter().map(|row| (row.id, (row.owner, row.epoch))).collect()
}

/// Waits for something that is read from the store.
async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..6000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

/// How often the nodes have renewed their leases, the one that did least.
trait Renewals {
    async fn least(&self) -> u64;
}

async fn jumps(url: &str, folder: &Path, renewals: &impl Renewals) {
    let mut sessions = prepare(url, &folder.join("first"), SESSIONS, ACTIONS, UNTIL_TOLD).await;
    let time = folder.join("time");
    let jump = |by: &str| {
        std::fs::write(folder.join("time.new"), by).unwrap();
        std::fs::rename(folder.join("time.new"), &time).unwrap();
    };
    jump("+0");
    let library = libfaketime();
    let faked = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", time.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let at_work = |sessions: &[(SessionId, PathBuf)]| sessions.iter().all(|(_, workspace)| journal(workspace).len() == 1);
    // Each has its share: the one what there is before the other comes, that one some of what comes then.
    let jumping = Node::start_in(url, LEASE, &faked);
    until("every session is run", || async { at_work(&sessions) }).await;
    let steady = Node::start(url, LEASE);
    until("both serve", || async { renewals.least().await > 0 }).await;
    for more in 0.. {
        sessions.extend(prepare(url, &folder.join(format!("more-{more}")), SESSIONS, ACTIONS, UNTIL_TOLD).await);
        until("every session is run", || async { at_work(&sessions) }).await;
        if steady.said().contains("took over") {
            break;
        }
    }
    let store = connect(url, OpenOptions::default()).await.unwrap();
    let before = owners(&store).await;
    for by in ["+1h", "-1h", "+0", "+1h"] {
        jump(by);
        let since = renewals.least().await;
        until("the leases go on", || async { renewals.least().await >= since + RENEWALS }).await;
        assert_eq!(owners(&store).await, before, "{by}\n{}\n{}", jumping.said(), steady.said());
    }
    for (_, workspace) in &sessions {
        std::fs::write(workspace.join("go"), "").unwrap();
    }
    until("all end", || async { due(&store).await == 0 }).await;
    assert_eq!(owners(&store).await, before, "{}\n{}", jumping.said(), steady.said());
    for (id, workspace) in &sessions {
        assert_eq!(assert_ended(&store, *id, workspace, ACTIONS).await, 0, "every outcome is known");
    }
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_mins(30);
    let rows = store.sessions(SessionFilter::All, 1000).await.unwrap();
    let ahead = rows.iter().filter(|row| u128::try_from(row.updated_at.0).unwrap() > soon.as_micros()).count();
    assert!((SESSIONS..sessions.len()).contains(&ahead), "the clock of one node jumped: {ahead} sessions ended in an hour");
    store.close().await;
    assert_eq!((jumping.stop(), steady.stop()), (Some(130), Some(130)));
}

/// Asked by another process, since nothing else in this one may open the file.
struct InFile(PathBuf);

impl Renewals for InFile {
    async fn least(&self) -> u64 {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1])\n\
            print(c.execute(\"select min(epoch), count(*) from node where address like '%role=serves%'\").fetchone())";
        let mut command = std::process::Command::new("python3");
        let output = command.args(["-c", script]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (least, count) = text.trim().trim_matches(['(', ')']).split_once(", ").unwrap();
        if count == "2" { least.parse().unwrap() } else { 0 }
    }
}

#[tokio::test]
async fn nothing_changes_hands_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    jumps(&sqlite_url(folder.path()), folder.path(), &InFile(folder.path().join("log.db"))).await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{Connection as _, PgConnection};

    use super::*;

    struct OnServer(String);

    impl Renewals for OnServer {
        async fn least(&self) -> u64 {
            let mut connection = PgConnection::connect(&self.0).await.unwrap();
            let ask = "select coalesce(min(epoch), 0), count(*) from node where address like '%role=serves%'";
            let (least, count): (i64, i64) = sqlx::query_as(ask).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            if count == 2 { u64::try_from(least).unwrap() } else { 0 }
        }
    }

    #[tokio::test]
    async fn nothing_changes_hands_on_a_server() {
        let folder = tempfile::tempdir().unwrap();
        let url = crate::postgres_server::shared().fresh_database().await;
        jumps(&url, folder.path(), &OnServer(url.clone())).await;
    }
}
