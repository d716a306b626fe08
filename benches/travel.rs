//! Time travel in a long session: states at random events, bisecting, blaming, with snapshots on the way and without.
//!
//! `cargo bench --bench travel [-- EVENTS]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::time::Instant;

use rekindle::engine::travel::{bisect, blame, refold, state_at};
use rekindle::session::{REDUCER, Seq, SessionId};
use rekindle::store::SharedStore;
use support::filled::fill;
use support::{directory, ms, new_session, open, scattered, shown};

/// How many states are looked at.
const STATES: u64 = 100;
const ROUNDS: u64 = 7;

/// A session that nobody has looked at yet.
async fn fresh(store: &SharedStore, size: usize) -> SessionId {
    let session = new_session();
    fill(store, session, size).await;
    session
}

fn main() {
    let size: usize = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let directory = directory();
    tokio.block_on(async {
        let store = open(&directory).await;
        let session = fresh(&store, size).await;
        let head = Seq(size as u64);
        let places: Vec<Seq> = scattered(STATES, head.0).collect();

        let begun = Instant::now();
        state_at(store.as_ref(), session, head).await.expect("the state is proven");
        let ladder = ms(begun);
        let (mut rungs, mut bytes, mut upto) = (0, 0, head);
        while let Some(snapshot) = store.snapshot(session, REDUCER, upto).await.expect("it is read") {
            (rungs, bytes, upto) = (rungs + 1, bytes + snapshot.bytes.len(), Seq(snapshot.seq.0 - 1));
        }
        println!(
            "{size} events: {ladder:.0} ms for the first state at the end, which leaves {rungs} snapshots of {} bytes\n",
            bytes / rungs.max(1)
        );

        let mut states = Vec::new();
        for at in &places {
            let begun = Instant::now();
            let found = state_at(store.as_ref(), session, *at).await.expect("the state is proven");
            states.push(ms(begun));
            assert_eq!(found.session.version, *at);
        }
        let mut bare = Vec::new();
        for round in 0..ROUNDS {
            let bare_session = fresh(&store, size).await;
            let begun = Instant::now();
            state_at(store.as_ref(), bare_session, places[(round * 13) as usize]).await.expect("the state is proven");
            bare.push(ms(begun));
        }
        let messages = state_at(store.as_ref(), session, head).await.expect("the state is proven").session.counts.messages;
        let mut bisects = Vec::new();
        for round in 0..ROUNDS {
            let wanted = messages * (round + 1) / (ROUNDS + 1);
            let begun = Instant::now();
            bisect(store.as_ref(), session, Seq::ZERO, None, |state| Ok(state.counts.messages > wanted))
                .await
                .expect("it is found");
            bisects.push(ms(begun));
        }
        let (mut recent, mut oldest) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            blame(store.as_ref(), session, head, &"/counts/actions".parse().expect("a path")).await.expect("it is found");
            recent.push(ms(begun));
            let begun = Instant::now();
            blame(store.as_ref(), session, head, &"/spec".parse().expect("a path")).await.expect("it is found");
            oldest.push(ms(begun));
        }
        let mut refolds = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            refold(store.as_ref(), session, None).await.expect("the log is whole");
            refolds.push(ms(begun));
        }
        println!("| ms, median (min–max) | with snapshots | without |\n|---|---|---|");
        println!("| state at any event | {} | {} |", shown(&states, 1), shown(&bare, 0));
        println!("| bisect | {} | |", shown(&bisects, 1));
        println!("| blame, set lately | {} | |", shown(&recent, 1));
        println!("| blame, set at the start | {} | |", shown(&oldest, 0));
        println!("| replay in mode fold | | {} |", shown(&refolds, 0));
        store.close().await;
    });
}
