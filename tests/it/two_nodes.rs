//! Two nodes share the work of one store; when one is killed the other ends every session as it would have ended, and repeats nothing.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use rekindle::store::{OpenOptions, connect};

use crate::cli_support::wait_until;
use crate::node_support::{Node, assert_ended, due, journal, prepare, sqlite_url};

const SESSIONS: usize = 200;
const ACTIONS: usize = 3;

pub async fn one_of_two_is_killed(count: usize, url: impl Fn(&Path) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let sessions = prepare(&url, folder.path(), count, ACTIONS, "0").await;
    // A lease that a busy machine can keep; a death on the same machine is noticed sooner.
    let (killed, living) = (Node::start(&url, "10s"), Node::start(&url, "10s"));
    let lines = || sessions.iter().map(|(_, workspace)| journal(workspace).len()).sum::<usize>();
    wait_until("the nodes are at work", || lines() >= count / 4 && killed.said().contains("rests"));
    killed.signal(Signal::SIGKILL);
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    for _ in 0..2400 {
        if due(&store).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (id, workspace) in &sessions {
        assert_ended(&store, *id, workspace, ACTIONS).await;
    }
    store.close().await;
    assert_eq!(living.stop(), Some(130));
}

#[tokio::test]
async fn every_session_of_a_killed_node_ends_in_the_other_and_no_action_runs_twice() {
    one_of_two_is_killed(SESSIONS, sqlite_url).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn every_session_of_a_killed_node_ends_in_the_other_and_no_action_runs_twice_on_a_server() {
    let url = crate::postgres_server::shared().fresh_database().await;
    one_of_two_is_killed(SESSIONS, |_| url.clone()).await;
}
