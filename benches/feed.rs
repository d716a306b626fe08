//! How soon a follower of the feed sees an event while the store appends as fast as it can, and how fast a projection catches up.
//!
//! `cargo bench --bench feed`; `REKINDLE_BENCH_STORE` names another store than a new SQLite file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rekindle::engine::{Fed, FeedSubscription};
use rekindle::projection::activity::ActivityByDay;
use rekindle::projection::catch_up::CatchUp;
use rekindle::session::EventId;
use rekindle::store::{Append, Expected, FeedCursor, OpenOptions, SharedStore, Writer, connect};
use support::{Stream, Watch, directory, events, new_session, open};

/// Appends this many events by `appenders` at once and follows them.
async fn lag(store: &SharedStore, appenders: usize, total: usize) {
    let sent: Arc<Mutex<HashMap<EventId, Instant>>> = Arc::default();
    let mut feed = FeedSubscription::new(Arc::clone(store), store.feed_head().await.expect("the head"));
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

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = directory();
        let store = match std::env::var("REKINDLE_BENCH_STORE") {
            Ok(url) => connect(&url, OpenOptions::default()).await.expect("the store opens"),
            Err(_) => open(&directory).await,
        };
        println!("| appenders | events/s | µs from acknowledged to seen, p50 | p99 | most |\n|---|---|---|---|---|");
        lag(&store, 1, 2_000).await;
        lag(&store, 64, 20_000).await;
        lag(&store, 256, 20_000).await;
        catch_up(&store).await;
        store.close().await;
    });
}
