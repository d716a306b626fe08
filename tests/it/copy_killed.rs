//! A copy and a restore that are killed at any moment are finished by running them again, and nothing is there twice.

use std::process::{Child, Stdio};

use rekindle::session::SessionId;
use rekindle::store::conformance::{all_rows, append, events, new_session};
use rekindle::store::{Expected, OpenOptions, SessionFilter, SharedStore, connect};

use crate::cli_support::Rig;

const SESSIONS: usize = 12;
const EVENTS: usize = 600;

/// A store with some thousand events, so that a copy takes several transactions.
async fn source(rig: &Rig) -> String {
    let url = format!("sqlite://{}", rig.path("source.db").display());
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let sessions: Vec<SessionId> = (0..SESSIONS).map(|_| new_session()).collect();
    for _ in 0..EVENTS / 50 {
        for session in &sessions {
            store.append(append(*session, Expected::Any, events(50))).await.unwrap();
        }
    }
    store.close().await;
    url
}

async fn open(url: &str) -> SharedStore {
    connect(url, OpenOptions { create: false, read_only: true, ..OpenOptions::default() }).await.unwrap()
}

/// How many events of how many sessions are there.
async fn held(url: &str) -> (usize, u64) {
    let Ok(store) = connect(url, OpenOptions { create: false, read_only: true, ..OpenOptions::default() }).await else {
        return (0, 0);
    };
    let rows = store.sessions(SessionFilter::All, 1000).await.unwrap_or_default();
    store.close().await;
    (rows.len(), rows.iter().map(|row| row.head.0).sum())
}

/// Both hold the same, to the byte, and the feed of the target has each event once.
async fn assert_same(from: &str, to: &str) {
    let (one, other) = (open(from).await, open(to).await);
    let rows = one.sessions(SessionFilter::All, 1000).await.unwrap();
    assert_eq!(other.sessions(SessionFilter::All, 1000).await.unwrap(), rows);
    for row in rows {
        assert_eq!(all_rows(&one, row.id, 100).await, all_rows(&other, row.id, 100).await);
    }
    assert_eq!(other.feed_flaws().await.unwrap(), []);
    assert_eq!(other.info().await.unwrap().events, (SESSIONS * EVENTS) as u64);
    one.close().await;
    other.close().await;
}

/// Starts a command, kills it once the target holds `share` of all events, and says how many it holds then.
async fn killed(rig: &Rig, args: &[&str], to: &str, share: f64) -> u64 {
    let all = (SESSIONS * EVENTS) as f64;
    let mut command = rig.command(args);
    let mut child: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut stopped = 0;
    for _ in 0..6000 {
        stopped = held(to).await.1;
        if stopped as f64 >= all * share || child.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let _ = child.kill();
    child.wait().unwrap();
    held(to).await.1.max(stopped)
}

async fn killed_and_repeated(rig: &Rig, from: &str, args: impl Fn(&str) -> Vec<String>, to: impl AsyncFn(usize) -> String) {
    let mut cut_short = 0;
    for (round, share) in [0.0, 0.1, 0.4, 0.7].into_iter().enumerate() {
        let to = to(round).await;
        let words = args(&to);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let there = killed(rig, &words, &to, share).await;
        cut_short += usize::from(there < (SESSIONS * EVENTS) as u64);
        let again = rig.run(&words);
        assert_eq!(again.code, 0, "{again:?}");
        assert_same(from, &to).await;
        assert_eq!(rig.run(&words).code, 0, "and once more changes nothing");
        assert_same(from, &to).await;
    }
    assert!(cut_short > 0, "none was killed before it was done");
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[tokio::test]
async fn a_copy_into_a_file_that_is_killed_is_finished_by_the_next() {
    let rig = Rig::new();
    let from = source(&rig).await;
    let copy = |to: &str| words(&["--store", &from, "store", "copy", "--to", to]);
    killed_and_repeated(&rig, &from, copy, async |round| format!("sqlite://{}", rig.path(&format!("to-{round}.db")).display()))
        .await;
}

#[tokio::test]
async fn a_restore_that_is_killed_is_finished_by_the_next() {
    let rig = Rig::new();
    let from = source(&rig).await;
    let file = rig.path("source.db").display().to_string();
    let restore = |to: &str| words(&["--store", to, "store", "restore", &file]);
    killed_and_repeated(&rig, &from, restore, async |round| {
        format!("sqlite://{}", rig.path(&format!("to-{round}.db")).display())
    })
    .await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_copy_onto_a_server_that_is_killed_is_finished_by_the_next() {
    let rig = Rig::new();
    let from = source(&rig).await;
    let copy = |to: &str| words(&["--store", &from, "store", "copy", "--to", to]);
    killed_and_repeated(&rig, &from, copy, async |_| crate::postgres_server::shared().fresh_database().await).await;
}
