//! Forks of a long session: what one takes to begin, in time and in bytes, and states at random events of it.
//!
//! `cargo bench --bench fork [-- EVENTS]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::sync::Arc;
use std::time::Instant;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::Ports;
use rekindle::engine::travel::state_at;
use rekindle::engine::{Engine, Files, ForkOptions};
use rekindle::session::{Observation, Seq, SessionId};
use rekindle::store::SharedStore;
use rekindle::testing::{Answer, FakeRuntimes};
use support::filled::fill;
use support::{directory, ms, new_session, open, scattered, shown};

/// How many forks are begun.
const FORKS: u64 = 500;
/// How many states are looked at.
const STATES: u64 = 100;

fn engine(store: &SharedStore) -> Engine {
    let runtimes = FakeRuntimes::new(|_| Answer::Observe(Box::new(Observation::error("nothing runs here", ""))));
    Engine::new(Arc::clone(store), Ports::new(Arc::new(runtimes), rekindle::trajectory::recording), Arc::new(SystemClock))
}

async fn fork(engine: &Engine, parent: SessionId, at: Seq) -> SessionId {
    let id = engine.new_session_id();
    let options = ForkOptions { files: Files::Leave, ..ForkOptions::new("/tmp/fork") };
    engine.fork(id, parent, at, options).await.expect("it is forked");
    id
}

async fn states(store: &SharedStore, id: SessionId, size: u64) -> Vec<f64> {
    let mut took = Vec::new();
    for at in scattered(STATES, size) {
        let begun = Instant::now();
        let found = state_at(store.as_ref(), id, at).await.expect("the state is proven");
        took.push(ms(begun));
        assert_eq!(found.session.version, at);
    }
    took
}

fn main() {
    let size: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let directory = directory();
    tokio.block_on(async {
        let store = open(&directory).await;
        let engine = engine(&store);
        let parent = new_session();
        fill(&store, parent, usize::try_from(size).expect("it fits")).await;
        let first = fork(&engine, parent, Seq(size)).await;
        let before = store.info().await.expect("it is read");
        let mut took = Vec::new();
        for at in scattered(FORKS, size) {
            let begun = Instant::now();
            fork(&engine, parent, at).await;
            took.push(ms(begun));
        }
        let after = store.info().await.expect("it is read");
        let bytes = (after.bytes - before.bytes) as f64 / FORKS as f64;
        assert_eq!(after.events - before.events, FORKS, "one event each");
        println!("{size} events, forked {FORKS} times\n");
        println!("| | median (min–max) |\n|---|---|");
        println!("| a fork, ms | {} |", shown(&took, 2));
        println!("| what it takes in the file, bytes | {bytes:.0} |");
        let begun = Instant::now();
        state_at(store.as_ref(), first, Seq(size + 1)).await.expect("the state is proven");
        println!("| the first state at its end, without any snapshot, ms | {:.0} |", ms(begun));
        println!("| state at any event of it, ms | {} |", shown(&states(&store, first, size).await, 1));
        let other = fork(&engine, parent, Seq(size)).await;
        println!(
            "| the same of another fork, which nobody has looked at, ms | {} |",
            shown(&states(&store, other, size).await, 1)
        );
        engine.shutdown().await;
        store.close().await;
    });
}
