//! Packed sessions: how small they are, and how fast they are restored and read, beside the same sessions as they were.
//!
//! `cargo bench --bench pack [-- EVENTS…]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::time::Instant;

use rekindle::engine::restore::{Trust, restore};
use rekindle::session::SessionId;
use rekindle::store::{Append, Directory, Expected, Packed, Read, SharedStore, Writer};
use support::filled::fill;
use support::{Stream, directory, ms, new_session, next_event, open, shown};

const ROUNDS: usize = 9;

/// Says that nothing more is expected of a session, so that it may be packed.
async fn end(store: &SharedStore, session: SessionId) {
    let directory = Directory { phase: "closed".to_owned(), ..Directory::default() };
    let events = vec![next_event(&mut Stream::new(7))];
    let append = Append { session, expected: Expected::Any, writer: Writer::Anyone, events, directory: Some(directory) };
    store.append(append).await.expect("the append succeeds");
}

async fn restored(store: &SharedStore, session: SessionId) -> f64 {
    let begin = Instant::now();
    restore(store.as_ref(), session, Trust::Nothing).await.expect("the session restores");
    ms(begin)
}

async fn last_page(store: &SharedStore, session: SessionId) -> f64 {
    let begin = Instant::now();
    assert_eq!(store.read(Read::last(session, 50)).await.expect("the page is read").rows.len(), 50);
    ms(begin)
}

fn ratios(plain: &[f64], packed: &[f64]) -> Vec<f64> {
    plain.iter().zip(packed).map(|(plain, packed)| plain / packed).collect()
}

async fn of(count: usize) {
    let directory = directory();
    let store = open(&directory).await;
    let (plain, packed) = (new_session(), new_session());
    for session in [plain, packed] {
        fill(&store, session, count).await;
        end(&store, session).await;
    }
    let begin = Instant::now();
    let Packed { bytes_before, bytes_after, .. } = store.pack(packed).await.expect("the session is packed");
    let took = ms(begin);
    let (mut restores, mut pages) = ((vec![], vec![]), (vec![], vec![]));
    for _ in 0..ROUNDS {
        restores.0.push(restored(&store, plain).await);
        restores.1.push(restored(&store, packed).await);
        pages.0.push(last_page(&store, plain).await);
        pages.1.push(last_page(&store, packed).await);
    }
    println!(
        "| {count} | {:.3} | {:.0} | {} | {} | {} | {} | {} | {} |",
        bytes_after as f64 / bytes_before as f64,
        bytes_before as f64 / 1e6 / (took / 1e3),
        shown(&restores.0, 1),
        shown(&restores.1, 1),
        shown(&ratios(&restores.0, &restores.1), 2),
        shown(&pages.0, 2),
        shown(&pages.1, 2),
        shown(&ratios(&pages.0, &pages.1), 2),
    );
    store.close().await;
}

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000, 10_000, 100_000] } else { asked };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("one session, packed and as it was, by turns, median (min–max) of {ROUNDS} rounds\n");
    println!("| events | packed / JSON | packing, MB/s | restore, ms | packed | speed | last 50, ms | packed | speed |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for size in sizes {
        tokio.block_on(async move { tokio::spawn(of(size)).await.expect("the bench runs") });
    }
}
