//! How soon a follower of the feed sees an event while the store appends as fast as it can, and how fast a projection catches up.
//!
//! `cargo bench --bench feed` does it in a new SQLite file, and on a throw-away PostgreSQL server where the follower is another node;
//! `-- sqlite` or `-- postgres` does that part alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

#[cfg(feature = "postgres")]
#[path = "../tests/it/postgres_server.rs"]
mod postgres_server;
mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rekindle::engine::{Fed, FeedSubscription};
use rekindle::projection::activity::ActivityByDay;
use rekindle::projection::catch_up::CatchUp;
use rekindle::session::EventId;
use rekindle::store::{Append, Expected, FeedCursor, SharedStore, Writer};
#[cfg(feature = "postgres")]
use rekindle::store::{OpenOptions, connect};
use support::{Stream, Watch, directory, events, new_session, open};

/// Appends this many events by `appenders` at once and follows them through `follower`.
async fn lag(store: &SharedStore, follower: &SharedStore, appenders: usize, total: usize) {
    let sent: Arc<Mutex<HashMap<EventId, Instant>>> = Arc::default();
    let mut feed = FeedSubscription::new(Arc::clone(follower), store.feed_head().await.expect("the head"));
    // A follower that has just come is heard of a moment later.
    assert!(feed.next_recorded().await.expect("the feed").is_none());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let tasks: Vec<_> = (0..appenders)
        .map(|seed| {
            let (store, sent) = (Arc::clone(store), Arc::clone(&sent));
            let work = events(&mut Stream::new(seed as u64), total / appenders);
            tokio::spawn(async move {
                let session = new_session();
                for event in work {
                    let id = event.id;
                    let append =
                        Append { session, expected: Expected::Any, writer: Writer::Anyone, events: vec![event], directory: None };
                    store.append(append).await.expect("an append");
                    // From the acknowledgement on: what the disk takes is the append's.
                    sent.lock().unwrap().insert(id, Instant::now());
                }
            })
        })
        .collect();
    let watch = Watch::start();
    let mut seen = Vec::with_capacity(total);
    for _ in 0..total / appenders * appenders {
        if let Fed::Event(row) = feed.next().await.expect("the feed") {
            seen.push((row.event().expect("an event").id, Instant::now()));
        }
    }
    let took = watch.stop();
    for task in tasks {
        task.await.expect("an appender");
    }
    let sent = sent.lock().unwrap();
    let mut micros: Vec<u128> = seen.iter().map(|(id, at)| at.saturating_duration_since(sent[id]).as_micros()).collect();
    micros.sort_unstable();
    let rank = |percent: usize| micros[(micros.len() - 1) * percent / 100];
    let rate = micros.len() as f64 / took.wall.as_secs_f64();
    println!("| {appenders} | {rate:.0} | {} | {} | {} |", rank(50), rank(99), rank(100));
}

async fn catch_up(store: &SharedStore) {
    let from = FeedCursor::default();
    let head = store.feed_head().await.expect("the head");
    let watch = Watch::start();
    CatchUp::new(Arc::clone(store), ActivityByDay).run_once().await.expect("it catches up");
    let took = watch.stop();
    let count = from.behind(&head);
    println!("\ncaught up with {count} events at {:.0} events/s", count as f64 / took.wall.as_secs_f64());
}

async fn measure(name: &str, store: &SharedStore, follower: &SharedStore) {
    println!("\n{name}\n\n| appenders | events/s | µs from acknowledged to seen, p50 | p99 | most |\n|---|---|---|---|---|");
    lag(store, follower, 1, 2_000).await;
    lag(store, follower, 64, 20_000).await;
    lag(store, follower, 256, 20_000).await;
    catch_up(store).await;
}

#[cfg(feature = "postgres")]
async fn on_postgres() {
    let server = postgres_server::Server::start_with(&["shared_buffers=256MB", "max_wal_size=4GB"]);
    let url = server.fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.expect("the store opens");
    let follower = connect(&url, OpenOptions::default()).await.expect("another node's store opens");
    measure("PostgreSQL, followed on another node", &store, &follower).await;
    store.close().await;
    follower.close().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    runtime.block_on(async {
        if wants("sqlite") {
            let directory = directory();
            let store = open(&directory).await;
            measure("SQLite", &store, &store).await;
            store.close().await;
        }
        #[cfg(feature = "postgres")]
        if wants("postgres") {
            on_postgres().await;
        }
    });
}
