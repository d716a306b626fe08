//! Checking a session: its chain, and all three verdicts, beside the raw scan of the same rows and SHA-256 of the same bytes.
//!
//! `cargo bench --bench verify [-- EVENTS]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::time::Instant;

use rekindle::audit;
use rekindle::session::SessionId;
use rekindle::store::statements::sqlite as sql;
use rekindle::store::verify_session;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use support::filled::fill;
use support::{directory, ms, new_session, open, shown};

const ROUNDS: usize = 9;

/// Reads every column of every event in order, and digests what it reads, event by event as the chain does.
fn raw(connection: &Connection, session: SessionId) -> (usize, f64) {
    let begin = Instant::now();
    let mut statement = connection.prepare_cached(sql::EVENTS_FORWARD).expect("a statement");
    let columns = statement.column_count();
    let mut rows = statement.query(params![0, session.as_bytes(), 0, i64::MAX, i64::MAX]).expect("rows");
    let (mut count, mut last) = (0, Default::default());
    while let Some(row) = rows.next().expect("a row") {
        let mut hasher = Sha256::new();
        for column in 0..columns {
            match row.get_ref(column).expect("a value") {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => hasher.update(bytes),
                ValueRef::Integer(number) => hasher.update(number.to_be_bytes()),
                ValueRef::Null | ValueRef::Real(_) => {}
            }
        }
        last = hasher.finalize();
        count += 1;
    }
    std::hint::black_box(last);
    (count, ms(begin))
}

fn ratio(raw: &[f64], ours: &[f64]) -> String {
    let ratios: Vec<f64> = raw.iter().zip(ours).map(|(raw, ours)| raw / ours).collect();
    shown(&ratios, 2)
}

async fn bench(size: usize) {
    let directory = directory();
    let store = open(&directory).await;
    let session = new_session();
    fill(&store, session, size).await;
    let connection = Connection::open(directory.path().join("store.db")).expect("the file opens");
    let row = store.session(session).await.expect("the store is read").expect("the session is there");
    let (mut raws, mut chains, mut verdicts) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let (count, took) = raw(&connection, session);
        assert_eq!(count as u64, row.head.0);
        raws.push(took);
        let begin = Instant::now();
        verify_session(store.as_ref(), session).await.expect("the chain holds");
        chains.push(ms(begin));
        let begin = Instant::now();
        let judged = audit::verify_session(store.as_ref(), &row, None).await.expect("the store is read");
        assert!(judged.verdicts.hold(), "{:?}", judged.verdicts);
        verdicts.push(ms(begin));
    }
    println!("| verify {size} events | ms | of the raw speed |\n|---|---|---|");
    println!("| raw scan and SHA-256 | {} | 1 |", shown(&raws, 0));
    println!("| chain | {} | {} |", shown(&chains, 0), ratio(&raws, &chains));
    println!("| all three verdicts | {} | {} |", shown(&verdicts, 0), ratio(&raws, &verdicts));
    drop(connection);
    store.close().await;
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(bench(asked.unwrap_or(100_000)));
}
