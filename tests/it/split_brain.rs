//! A node that was stopped past its lease and wakes up beside its successor: it runs nothing more, and no action runs twice.

use std::time::Duration;

use nix::sys::signal::Signal;
use rekindle::store::conformance::new_node;
use rekindle::store::{OpenOptions, connect};

use crate::cli_support::wait_until;
use crate::node_support::{Node, assert_ended, due, journal, prepare, sqlite_url};

/// Of each of the four tests on each kind of store, which can run at once.
const ROUNDS: usize = 5;
const ACTIONS: usize = 24;
const LEASE: &str = "1s";

async fn can_be_written(url: &str) -> bool {
    let options = OpenOptions { busy_wait: Duration::from_millis(200), ..OpenOptions::default() };
    let Ok(store) = connect(url, options).await else { return false };
    let written = store.renew_lease(new_node(), "a test", Duration::ZERO).await.is_ok();
    store.close().await;
    written
}

async fn stopped_and_woken(url: impl Fn(&std::path::Path) -> String) {
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let url = url(folder.path());
        let sessions = prepare(&url, folder.path(), 1, ACTIONS, "0.05").await;
        let (id, workspace) = &sessions[0];
        let first = Node::start(&url, LEASE);
        let before = 2 + round * 2;
        wait_until("the first node works", || journal(workspace).len() >= before);
        first.signal(Signal::SIGSTOP);
        while !can_be_written(&url).await {
            // It was stopped inside a write to a file that only one can write to: nobody could take over before it wakes up.
            first.signal(Signal::SIGCONT);
            tokio::time::sleep(Duration::from_millis(5)).await;
            first.signal(Signal::SIGSTOP);
        }
        let second = Node::start(&url, LEASE);
        wait_until("the second node takes over", || second.said().contains("took over"));
        let taken = journal(workspace).len();
        if round % 2 == 0 {
            wait_until("the second node goes on", || journal(workspace).len() > taken + 2);
        }
        first.signal(Signal::SIGCONT);
        wait_until("the first node notices", || first.said().contains("let go of"));
        let store = connect(&url, OpenOptions::default()).await.unwrap();
        for _ in 0..600 {
            if due(&store).await == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let unknown = assert_ended(&store, *id, workspace, ACTIONS).await;
        assert!(unknown <= 1, "only what was under way at the stop is unknown: {unknown}\n{}\n{}", first.said(), second.said());
        store.close().await;
        assert_eq!((first.stop(), second.stop()), (Some(130), Some(130)));
    }
}

#[tokio::test]
async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_1() {
    stopped_and_woken(sqlite_url).await;
}

#[tokio::test]
async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_2() {
    stopped_and_woken(sqlite_url).await;
}

#[tokio::test]
async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_3() {
    stopped_and_woken(sqlite_url).await;
}

#[tokio::test]
async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_4() {
    stopped_and_woken(sqlite_url).await;
}

/// The same with the log on a server: each round has a database of its own.
#[cfg(feature = "postgres")]
mod on_a_server {
    async fn rounds() {
        let mut urls = Vec::new();
        for _ in 0..super::ROUNDS {
            urls.push(crate::postgres_server::shared().fresh_database().await);
        }
        let urls = std::sync::Mutex::new(urls);
        super::stopped_and_woken(|_| urls.lock().unwrap().pop().unwrap()).await;
    }

    #[tokio::test]
    async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_1() {
        rounds().await;
    }

    #[tokio::test]
    async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_2() {
        rounds().await;
    }

    #[tokio::test]
    async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_3() {
        rounds().await;
    }

    #[tokio::test]
    async fn a_node_that_wakes_up_beside_its_successor_runs_nothing_more_4() {
        rounds().await;
    }
}
