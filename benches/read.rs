//! Reads through the store, against raw prepared statements that return the same columns.
//!
//! `cargo bench --bench read`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::time::Duration;

use rekindle::session::{Seq, SessionId};
use rekindle::store::statements::sqlite as sql;
use rekindle::store::{Append, Directory, Expected, Read, SessionFilter, SharedStore, Verifier, Writer};
use rusqlite::types::Value;
use rusqlite::{Connection, Rows, params};
use support::{Stream, Watch, directory, events, new_session, next_event, open, shown, spread};

const EVENTS: usize = 100_000;
const SESSIONS: usize = 10_000;
const ROUNDS: usize = 7;

async fn fill(store: &SharedStore) -> SessionId {
    let mut stream = Stream::new(42);
    let session = new_session();
    for _ in 0..EVENTS / 500 {
        let events = events(&mut stream, 500);
        let append = Append { session, expected: Expected::Any, writer: Writer::Anyone, events, directory: None };
        store.append(append).await.expect("an append");
    }
    let tasks: Vec<_> = (0..SESSIONS)
        .map(|index| {
            let store = store.clone();
            let title = Some(format!("Session number {index} of the bench"));
            let directory = Directory { phase: "ready".into(), origin: "fresh".into(), title, ..Directory::default() };
            let events = vec![next_event(&mut stream)];
            let append = Append {
                session: new_session(),
                expected: Expected::Any,
                writer: Writer::Anyone,
                events,
                directory: Some(directory),
            };
            tokio::spawn(async move { store.append(append).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender").expect("an append");
    }
    session
}

/// All values of all rows, owned.
fn owned(mut rows: Rows<'_>, columns: usize) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next().expect("a row") {
        all.push((0..columns).map(|column| row.get(column).expect("a value")).collect());
    }
    all
}

fn raw_last(connection: &Connection, session: SessionId) -> usize {
    let mut statement = connection.prepare_cached(sql::EVENTS_BACKWARD).expect("a statement");
    owned(statement.query(params![0, session.as_bytes(), 0, i64::MAX, 50]).expect("rows"), 14).len()
}

fn raw_list(connection: &Connection) -> usize {
    let mut statement = connection.prepare_cached(sql::SESSIONS).expect("a statement");
    owned(statement.query(params![0, 50]).expect("rows"), 17).len()
}

fn raw_scan(connection: &Connection, session: SessionId) -> usize {
    let (mut after, mut count) = (0, 0);
    loop {
        let mut statement = connection.prepare_cached(sql::EVENTS_FORWARD).expect("a statement");
        let rows = owned(statement.query(params![0, session.as_bytes(), after, i64::MAX, 512]).expect("rows"), 14);
        count += rows.len();
        after += 512;
        if rows.len() < 512 {
            return count;
        }
    }
}

fn micros(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

fn report(what: &str, ours: &[f64], raw: &[f64]) {
    let ratio = spread(raw).0 / spread(ours).0;
    println!("| {what} | {} | {} | {ratio:.2} |", shown(ours, 1), shown(raw, 1));
}

async fn small(store: &SharedStore, connection: &Connection, session: SessionId) {
    const TIMES: usize = 2000;
    let (mut last, mut last_raw, mut list, mut list_raw) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let watch = Watch::start();
        for _ in 0..TIMES {
            assert_eq!(store.read(Read::last(session, 50)).await.expect("a page").rows.len(), 50);
        }
        last.push(micros(watch.stop().wall, TIMES));
        let watch = Watch::start();
        for _ in 0..TIMES {
            assert_eq!(raw_last(connection, session), 50);
        }
        last_raw.push(micros(watch.stop().wall, TIMES));
        let watch = Watch::start();
        for _ in 0..TIMES {
            assert_eq!(store.sessions(SessionFilter::All, 50).await.expect("a list").len(), 50);
        }
        list.push(micros(watch.stop().wall, TIMES));
        let watch = Watch::start();
        for _ in 0..TIMES {
            assert_eq!(raw_list(connection), 50);
        }
        list_raw.push(micros(watch.stop().wall, TIMES));
    }
    report("last 50 of 100k events, µs", &last, &last_raw);
    report("50 of 10k sessions, µs", &list, &list_raw);
}

async fn scan(store: &SharedStore, session: SessionId, verify: bool) -> f64 {
    let watch = Watch::start();
    let mut verifier = Verifier::new(session);
    let (mut after, mut count) = (Seq::ZERO, 0);
    loop {
        let page = store.read(Read::forward(session, after)).await.expect("a page");
        if verify {
            page.rows.iter().try_for_each(|row| verifier.check(row)).expect("the chain holds");
        }
        count += page.rows.len();
        after = page.rows.last().map_or(after, |row| row.seq());
        if !page.more {
            assert_eq!(count, EVENTS);
            return micros(watch.stop().cpu, EVENTS);
        }
    }
}

async fn scans(store: &SharedStore, connection: &Connection, session: SessionId) {
    let (mut plain, mut verified, mut raw) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        plain.push(scan(store, session, false).await);
        verified.push(scan(store, session, true).await);
        let watch = Watch::start();
        assert_eq!(raw_scan(connection, session), EVENTS);
        raw.push(micros(watch.stop().cpu, EVENTS));
    }
    report("scan of 100k events, CPU µs/event", &plain, &raw);
    report("scan and chain, CPU µs/event", &verified, &raw);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let directory = directory();
        let store = open(&directory).await;
        let session = fill(&store).await;
        let connection = Connection::open(directory.path().join("store.db")).expect("the file opens");
        println!("| read | store | raw | raw / store |\n|---|---|---|---|");
        small(&store, &connection, session).await;
        scans(&store, &connection, session).await;
        drop(connection);
        store.close().await;
    });
}
