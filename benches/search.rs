//! Search over many events: how soon queries are answered, and what keeping the index up costs those who append.
//!
//! `cargo bench --bench search [-- EVENTS] [queries] [appends] [postgres]`: a million events in a new SQLite file, both parts, unless
//! said otherwise; `postgres` does the queries on a throw-away server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

#[cfg(feature = "postgres")]
#[path = "../tests/it/postgres_server.rs"]
mod postgres_server;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::projection::search::{Indexer, parse, search};
use rekindle::session::{SessionId, Timestamp};
use rekindle::store::{Append, Directory, Expected, SharedStore, Writer};
use support::told::{ERROR, MODELS, Told, word};
use support::{directory, new_session, open, shown};

/// How many events a session has.
const LENGTH: usize = 200;
/// How many queries of each class.
const QUERIES: u64 = 60;
/// How many hits are asked for, as the program does.
const HITS: u32 = 20;
/// How long each half of a round appends.
const HALF: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
const APPENDERS: [u64; 2] = [1, 64];
const FOREVER: Duration = Duration::from_secs(3600);

/// Fills a store with sessions; some of them are named.
async fn fill(store: &SharedStore, events: usize) -> Vec<SessionId> {
    let mut told = Told::new(7);
    let mut sessions = Vec::new();
    let mut waiting = tokio::task::JoinSet::new();
    while sessions.len() * LENGTH < events {
        let session = new_session();
        sessions.push(session);
        let mut batch = vec![told.briefed()];
        batch.extend((1..LENGTH).map(|_| told.next_event()));
        let directory = Directory {
            phase: ["finished", "paused", "failed"][told.below(30).min(2) as usize].to_owned(),
            cost_micro_usd: Some(told.below(3_000_000)),
            ..Directory::default()
        };
        let append =
            Append { session, expected: Expected::Any, writer: Writer::Anyone, events: batch, directory: Some(directory) };
        let store = Arc::clone(store);
        waiting.spawn(async move { store.append(append).await.expect("an append") });
        if waiting.len() >= 8 {
            waiting.join_next().await;
        }
    }
    waiting.join_all().await;
    sessions
}

/// What people type, each class with words of its own.
fn queries(sessions: &[SessionId]) -> Vec<(&'static str, Vec<String>)> {
    let mut told = Told::new(99);
    let mut rank = move |from: u64, to: u64| word((from + told.below(to - from)) as usize);
    let class = |make: &mut dyn FnMut(u64) -> String| (0..QUERIES).map(make).collect::<Vec<_>>();
    let session = |index: u64| sessions[(index as usize * 7919) % sessions.len()];
    vec![
        ("a rare word", class(&mut |_| rank(20_000, 60_000))),
        ("a common word", class(&mut |_| rank(0, 50))),
        ("a word that is nowhere", class(&mut |n| format!("nowhere{n}"))),
        ("two common words", class(&mut |_| format!("{} {}", rank(0, 50), rank(0, 50)))),
        ("a common and a rare word", class(&mut |_| format!("{} {}", rank(0, 50), rank(5_000, 60_000)))),
        ("a phrase of common words", class(&mut |_| format!("\"{} {}\"", rank(0, 30), rank(0, 30)))),
        ("a phrase of middling words", class(&mut |_| format!("\"{} {}\"", rank(50, 500), rank(50, 500)))),
        ("a message of a compiler", class(&mut |n| format!("\"{}\"", &ERROR[..30 + n as usize % 50]))),
        ("the beginning of a word", class(&mut |_| format!("{}*", rank(600, 5_000)))),
        ("either, without a third", class(&mut |_| format!("{} OR {} -{}", rank(50, 500), rank(500, 5_000), rank(0, 50)))),
        ("tool: and kind:", class(&mut |_| format!("tool:bash kind:action {}", rank(20, 2_000)))),
        ("session:", class(&mut |n| format!("session:{} {}", session(n), rank(0, 200)))),
        (
            "since: and until:",
            class(&mut |n| format!("since:2025-{:02}-01 until:2025-{:02}-20 {}", 1 + n % 12, 1 + n % 12, rank(0, 500))),
        ),
        ("model:", class(&mut |n| format!("model:{} {}", &MODELS[n as usize % 3][..6], rank(50, 2_000)))),
        ("state:", class(&mut |n| format!("state:{} {}", ["paused", "finished"][n as usize % 2], rank(50, 2_000)))),
        ("cost:>", class(&mut |n| format!("cost:>{}.5 {}", n % 3, rank(50, 2_000)))),
    ]
}

/// The p-th percentile.
fn rank(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

async fn measure_queries(store: &SharedStore, sessions: &[SessionId]) {
    println!("\n| queries, ms | hits | p50 | p95 | most |\n|---|---|---|---|---|");
    let mut all = Vec::new();
    for (class, queries) in queries(sessions) {
        let (mut times, mut hits) = (Vec::new(), 0);
        for query in &queries {
            let query = parse(query, Timestamp(1_800_000_000_000_000)).expect("a query");
            let begin = Instant::now();
            hits += search(store.as_ref(), &query, HITS, None).await.expect("a search").hits.len();
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let hits = hits as f64 / times.len() as f64;
        println!("| {class} | {hits:.1} | {:.2} | {:.2} | {:.1} |", rank(&times, 50), rank(&times, 95), rank(&times, 100));
        all.extend(times);
    }
    all.sort_by(f64::total_cmp);
    println!("| all | | {:.2} | {:.2} | {:.1} |", rank(&all, 50), rank(&all, 95), rank(&all, 100));
}

/// Appends single events by `appenders` at once for a while: how many a second.
async fn append(store: &SharedStore, appenders: u64, seed: u64) -> f64 {
    let tasks: Vec<_> = (0..appenders)
        .map(|appender| {
            let store = Arc::clone(store);
            // Made before, so that only appending is measured.
            let mut told = Told::new(seed * 1000 + appender);
            let events: Vec<_> = (0..500).map(|_| told.next_event()).collect();
            tokio::spawn(async move {
                let session = new_session();
                let mut count = 0_u64;
                let begin = Instant::now();
                while begin.elapsed() < HALF {
                    let mut event = events[count as usize % events.len()].clone();
                    event.id = rekindle::session::EventId::from_uuid(uuid::Uuid::now_v7());
                    let append =
                        Append { session, expected: Expected::Any, writer: Writer::Anyone, events: vec![event], directory: None };
                    store.append(append).await.expect("an append");
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await.expect("an appender");
    }
    count as f64 / HALF.as_secs_f64()
}

/// How long after an append the index has it, at most: looks again and again where the feed and the index are.
async fn watch(store: SharedStore) -> f64 {
    let (mut heads, mut most) = (Vec::<(rekindle::store::FeedCursor, Instant)>::new(), 0_f64);
    loop {
        heads.push((store.feed_head().await.expect("the head"), Instant::now()));
        let indexed = store.indexed().await.expect("the index");
        heads.retain(|(head, _)| !indexed.covers(head));
        if let Some((_, since)) = heads.first() {
            most = most.max(since.elapsed().as_secs_f64());
            LAG.store((most * 1e6) as u64, std::sync::atomic::Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The longest lag of the present round, in microseconds.
static LAG: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

async fn measure_appends(store: &SharedStore) {
    println!(
        "\n| appenders | events/s without | with the index | ratio | longest lag, s | indexed after the end, s |\n|---|---|---|---|---|---|"
    );
    for appenders in APPENDERS {
        let (mut without, mut with, mut ratios, mut lags, mut ends) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS as u64 {
            let bare = append(store, appenders, round * 2).await;
            Indexer::new(Arc::clone(store)).catch_up(FOREVER).await.expect("it catches up");
            LAG.store(0, std::sync::atomic::Ordering::Relaxed);
            let mut indexer = Indexer::new(Arc::clone(store));
            let following = tokio::spawn(async move { indexer.follow().await.map(|_| ()) });
            let watching = tokio::spawn(watch(Arc::clone(store)));
            let beside = append(store, appenders, round * 2 + 1).await;
            let (begin, head) = (Instant::now(), store.feed_head().await.expect("the head"));
            while !store.indexed().await.expect("the index").covers(&head) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            ends.push(begin.elapsed().as_secs_f64());
            following.abort();
            watching.abort();
            lags.push(LAG.load(std::sync::atomic::Ordering::Relaxed) as f64 / 1e6);
            without.push(bare);
            with.push(beside);
            ratios.push(beside / bare);
        }
        println!(
            "| {appenders} | {} | {} | {} | {} | {} |",
            shown(&without, 0),
            shown(&with, 0),
            shown(&ratios, 2),
            shown(&lags, 2),
            shown(&ends, 2)
        );
    }
}

async fn prepare(store: &SharedStore, events: usize) -> Vec<SessionId> {
    let begin = Instant::now();
    let sessions = fill(store, events).await;
    let filled = begin.elapsed().as_secs_f64();
    let before = store.info().await.expect("the store").bytes;
    let begin = Instant::now();
    Indexer::new(Arc::clone(store)).catch_up(FOREVER).await.expect("it catches up");
    let took = begin.elapsed().as_secs_f64();
    let info = store.info().await.expect("the store");
    println!(
        "{} events of {} sessions, {:.0} bytes each stored: filled in {filled:.0} s, indexed in {took:.0} s ({:.0} events/s), the index takes {:.2} of the log",
        info.events,
        info.sessions,
        before as f64 / info.events as f64,
        info.events as f64 / took,
        (info.bytes - before) as f64 / before as f64,
    );
    sessions
}

#[cfg(feature = "postgres")]
async fn on_postgres(events: usize) {
    use rekindle::store::{OpenOptions, connect};
    let server = postgres_server::Server::start_with(&["shared_buffers=256MB", "max_wal_size=4GB"]);
    let store = connect(&server.fresh_database().await, OpenOptions::default()).await.expect("the store opens");
    println!("\nPostgreSQL");
    let sessions = prepare(&store, events).await;
    measure_queries(&store, &sessions).await;
    store.close().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let events = arguments.iter().find_map(|argument| argument.parse().ok());
    let wants = |part: &str| arguments.iter().any(|argument| argument == part);
    let (of_queries, of_appends) = (wants("queries"), wants("appends"));
    runtime.block_on(async {
        #[cfg(feature = "postgres")]
        if wants("postgres") {
            on_postgres(events.unwrap_or(100_000)).await;
            return;
        }
        let directory = directory();
        let store = open(&directory).await;
        let sessions = prepare(&store, events.unwrap_or(1_000_000)).await;
        if of_queries || !of_appends {
            measure_queries(&store, &sessions).await;
        }
        if of_appends || !of_queries {
            measure_appends(&store).await;
        }
        store.close().await;
    });
}
