//! Durable appends through the store, against a bare thread that commits the same rows to the same tables in the same way.
//!
//! `cargo bench --bench append`; `REKINDLE_BENCH_FULL=1` lets the log grow to a million events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::sync::Arc;

use rekindle::session::{Digest, NewEvent, Seq, SessionId};
use rekindle::store::chain::{Envelope, digest};
use rekindle::store::statements::sqlite as sql;
use rekindle::store::{Append, Expected, SharedStore, Writer};
use rusqlite::{Connection, params};
use support::{Stream, Took, Watch, directory, events, new_session, next_event, open, shown, spread};
use tokio::sync::{mpsc, oneshot};

const ROUNDS: usize = 5;

/// Events of one appender, made before the clock starts.
type Work = Vec<(SessionId, Vec<NewEvent>)>;

fn work(appenders: usize, total: usize, seed: u64) -> Work {
    let mut stream = Stream::new(seed);
    (0..appenders).map(|_| (new_session(), events(&mut stream, 1 + total / appenders))).collect()
}

fn one(session: SessionId, expected: Seq, event: NewEvent) -> Append {
    Append { session, expected: Expected::Exact(expected), writer: Writer::Anyone, events: vec![event], directory: None }
}

async fn through_the_store(store: &SharedStore, work: Work) -> Took {
    let mut ready = Vec::new();
    for (session, mut events) in work {
        // The first append makes the session, outside the measurement.
        store.append(one(session, Seq::ZERO, events.remove(0))).await.expect("an append");
        ready.push((session, events));
    }
    let watch = Watch::start();
    let tasks: Vec<_> = ready
        .into_iter()
        .map(|(session, events)| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for (event, seq) in events.into_iter().zip(1..) {
                    store.append(one(session, Seq(seq), event)).await.expect("an append");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender");
    }
    watch.stop()
}

/// One row for the bare thread.
struct Ask {
    session: SessionId,
    seq: Seq,
    event: NewEvent,
    salt: [u8; 16],
    hash: Digest,
    answer: oneshot::Sender<()>,
}

fn commit(connection: &Connection, batch: &[Ask]) -> rusqlite::Result<()> {
    let run = |statement: &str| connection.prepare_cached(statement)?.execute([]).map(|_| ());
    run(sql::BEGIN)?;
    let mut position: i64 = connection.prepare_cached(sql::HEAD_POS)?.query_row([0], |row| row.get(0))?;
    {
        let mut compare_and_set = connection.prepare_cached(
            "update session set head_seq = ?3, head_hash = ?4, updated_at = ?5 where shard = ?1 and session_id = ?2 and head_seq = ?6 and epoch = ?7",
        )?;
        let mut insert = connection.prepare_cached(sql::INSERT_EVENT)?;
        for Ask { session, seq, event, salt, hash, .. } in batch {
            let seq = seq.0 as i64;
            let changed = compare_and_set.execute(params![0, session.as_bytes(), seq, hash.0, event.at.0, seq - 1, 0])?;
            assert_eq!(changed, 1);
            position += 1;
            insert.execute(params![
                position,
                0,
                session.as_bytes(),
                seq,
                event.id.as_bytes(),
                event.kind.as_str(),
                event.v,
                event.at.0,
                event.source.as_str(),
                None::<i64>,
                event.must_understand,
                event.body.as_str(),
                None::<Vec<u8>>,
                salt,
                hash.0,
            ])?;
        }
        connection.prepare_cached(sql::MOVE_POS)?.execute([0, position])?;
    }
    run(sql::COMMIT)
}

/// The same through a thread that knows nothing but these rows: no contract, no conflicts, no answers but "done".
async fn bare(directory: &tempfile::TempDir, work: Work) -> Took {
    let connection = Connection::open(directory.path().join("store.db")).expect("the file opens");
    connection.execute_batch("pragma synchronous = full; pragma wal_autocheckpoint = 1000").expect("pragmas");
    let insert = "insert into session (shard, session_id, head_seq, head_hash, epoch, phase, due, origin, actions, messages, errors, \
                  tokens, created_at, updated_at) values (0, ?1, 0, zeroblob(32), 0, '', 0, '', 0, 0, 0, 0, 0, 0)";
    connection.execute_batch("begin").expect("begin");
    for (session, _) in &work {
        connection.execute(insert, [session.as_bytes()]).expect("a session");
    }
    connection.execute_batch("commit").expect("commit");
    let (asks, mut queue) = mpsc::channel::<Ask>(1024);
    let thread = std::thread::spawn(move || {
        let mut batch = Vec::with_capacity(512);
        while queue.blocking_recv_many(&mut batch, 512) > 0 {
            commit(&connection, &batch).expect("a commit");
            for ask in batch.drain(..) {
                let _ = ask.answer.send(());
            }
        }
    });
    let watch = Watch::start();
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(session, mut events)| {
            events.remove(0);
            let asks = asks.clone();
            tokio::spawn(async move {
                let mut hash = Digest::ZERO;
                for (event, seq) in events.into_iter().zip(1..) {
                    let seq = Seq(seq);
                    let mut salt = [0; 16];
                    getrandom::fill(&mut salt).expect("randomness");
                    hash = Envelope::of_new(session, seq, &event).hash(&hash, &digest(&salt, &event.body));
                    let (answer, answered) = oneshot::channel();
                    assert!(asks.send(Ask { session, seq, event, salt, hash, answer }).await.is_ok());
                    answered.await.expect("an answer");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("an appender");
    }
    let took = watch.stop();
    drop(asks);
    thread.join().expect("the thread");
    took
}

async fn compare(appenders: usize, total: usize) {
    let (mut ours, mut theirs, mut ours_cpu, mut theirs_cpu) = (vec![], vec![], vec![], vec![]);
    let per_second = |took: Took| total as f64 / took.wall.as_secs_f64();
    let cpu_of = |took: Took| took.cpu.as_secs_f64() * 1e6 / total as f64;
    for round in 0..ROUNDS {
        for turn in 0..2 {
            let directory = directory();
            let store = open(&directory).await;
            let work = work(appenders, total, round as u64);
            // Whoever goes first in one round goes second in the next.
            if (round + turn) % 2 == 0 {
                let took = through_the_store(&store, work).await;
                ours.push(per_second(took));
                ours_cpu.push(cpu_of(took));
                store.close().await;
            } else {
                store.close().await;
                let took = bare(&directory, work).await;
                theirs.push(per_second(took));
                theirs_cpu.push(cpu_of(took));
            }
        }
    }
    let ratio = spread(&ours).0 / spread(&theirs).0;
    println!(
        "| {appenders} | {} | {} | {} | {} | {ratio:.2} |",
        shown(&ours, 0),
        shown(&theirs, 0),
        shown(&ours_cpu, 0),
        shown(&theirs_cpu, 0)
    );
}

/// Appends to a log that grows: the cost must not.
async fn growth(upto: usize) {
    let directory = directory();
    let store = open(&directory).await;
    let mut stream = Stream::new(7);
    let sessions: Vec<_> = (0..64).map(|_| new_session()).collect();
    let (mut written, mut json) = (0, 0);
    println!("\n| events in the log | events/s from there on | CPU µs/event |\n|---|---|---|");
    let mut size = 1000;
    while size <= upto {
        // Fill quickly, then measure one event per append.
        while written < size {
            let batch = events(&mut stream, 250.min(size - written));
            json += batch.iter().map(|event| event.body.len()).sum::<usize>();
            written += batch.len();
            let session = sessions[(written / 250) % sessions.len()];
            let fill = Append { session, expected: Expected::Any, writer: Writer::Anyone, events: batch, directory: None };
            store.append(fill).await.expect("an append");
        }
        let measured = 10_000;
        let work: Work = (0..64).map(|_| (new_session(), events(&mut stream, 1 + measured / 64))).collect();
        json += work.iter().flat_map(|(_, events)| events).map(|event| event.body.len()).sum::<usize>();
        let count: usize = work.iter().map(|(_, events)| events.len()).sum();
        let took = through_the_store(&store, work).await;
        written += count;
        let measured = (count - 64) as f64;
        println!("| {size} | {:.0} | {:.0} |", measured / took.wall.as_secs_f64(), took.cpu.as_secs_f64() * 1e6 / measured);
        size *= 10;
    }
    let info = store.info().await.expect("the store tells about itself");
    store.close().await;
    let ratio = info.bytes as f64 / json as f64;
    println!("\nstored {} bytes for {json} bytes of JSON in {} events: {ratio:.2}×", info.bytes, info.events);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let body = next_event(&mut Stream::new(42)).body;
    println!("first event: {} bytes\n", body.len());
    runtime.block_on(async {
        println!("| appenders | events/s | bare thread | CPU µs/event | bare thread | ratio |\n|---|---|---|---|---|---|");
        compare(1, 3_000).await;
        compare(64, 40_000).await;
        compare(256, 40_000).await;
        growth(if std::env::var_os("REKINDLE_BENCH_FULL").is_some() { 1_000_000 } else { 100_000 }).await;
    });
}
