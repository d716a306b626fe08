//! The log on PostgreSQL against the raw limits of the same server: appends, their latency, restores, pages, and how soon another node
//! sees an append.
//!
//! `cargo bench --bench postgres` starts a throw-away server; `-- appends`, `latencies`, `restores` or `across` runs that part alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

#[path = "../tests/it/postgres_server.rs"]
mod postgres_server;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use postgres_server::Server;
use rekindle::engine::restore::{Trust, restore, restore_at, snapshot};
use rekindle::session::{Body, NewEvent, Recorded, Seq, Session, SessionId};
use rekindle::store::{Append, Expected, OpenOptions, Order, Read, SessionFilter, SharedStore, Writer, connect, verify_session};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use support::{Stream, events, ms, new_session, shown};
use uuid::Uuid;

const ROUNDS: usize = 9;
const RAW_TABLE: &str = "create table raw (shard integer, session_id uuid, seq bigint, pos bigint, event_id uuid, kind text, v integer, \
     at bigint, source text, cause bigint, must_understand boolean, body json, salt bytea, hash bytea, \
     primary key (shard, session_id, seq), unique (shard, pos), unique (shard, event_id))";
const RAW_INSERT: &str = "insert into raw values ($1, $2, $3, $4, $5, $6, 1, $7, 'agent', null, false, $8::text::json, $9, $10)";
const RAW_UNNEST: &str = "insert into raw select 1, s, q, p, e, k, 1, a, 'agent', null, false, b::json, x, h from \
     unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::bytea[], $9::bytea[]) \
     as t (s, q, p, e, k, a, b, x, h)";

fn one(session: SessionId, expected: Seq, event: NewEvent) -> Append {
    Append { session, expected: Expected::Exact(expected), writer: Writer::Anyone, events: vec![event], directory: None }
}

/// Events per second and the latencies of `appenders` that each append one event at a time.
async fn ours(store: &SharedStore, appenders: usize, each: usize, seed: u64) -> (f64, Vec<Duration>) {
    let mut stream = Stream::new(seed);
    let mut work = Vec::new();
    for _ in 0..appenders {
        let session = new_session();
        let mut events = events(&mut stream, each + 1);
        store.append(one(session, Seq::ZERO, events.remove(0))).await.unwrap();
        work.push((session, events));
    }
    let begin = Instant::now();
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(session, events)| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(events.len());
                for (event, seq) in events.into_iter().zip(1..) {
                    let begin = Instant::now();
                    store.append(one(session, Seq(seq), event)).await.unwrap();
                    latencies.push(begin.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort();
    (rate, latencies)
}

async fn clear(url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("drop table if exists raw").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(RAW_TABLE).execute(&mut connection).await.unwrap();
    connection
}

/// One INSERT a transaction, by `clients` connections at once.
async fn raw_inserts(url: String, clients: usize, each: usize, seed: u64) -> f64 {
    clear(&url).await;
    let mut stream = Stream::new(seed);
    let mut work = Vec::new();
    for client in 0..clients {
        work.push((client, PgConnection::connect(&url).await.unwrap(), events(&mut stream, each)));
    }
    let begin = Instant::now();
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(client, mut connection, events)| {
            tokio::spawn(async move {
                let session = new_session();
                for (event, seq) in events.into_iter().zip(1_i64..) {
                    sqlx::query(RAW_INSERT)
                        .bind(client as i32)
                        .bind(session.as_uuid())
                        .bind(seq)
                        .bind(seq)
                        .bind(event.id.as_uuid())
                        .bind(event.kind.as_str())
                        .bind(event.at.0)
                        .bind(event.body.as_str())
                        .bind([7_u8; 16].as_slice())
                        .bind([7_u8; 32].as_slice())
                        .execute(&mut connection)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (clients * each) as f64 / begin.elapsed().as_secs_f64()
}

/// 64 events a transaction through one connection: what a group commit can reach that knows nothing but rows.
async fn raw_unnest(url: String, batches: usize, seed: u64) -> f64 {
    let mut connection = clear(&url).await;
    let mut stream = Stream::new(seed);
    let sessions: Vec<_> = (0..64).map(|_| new_session().as_uuid()).collect();
    let batches: Vec<_> = (0..batches).map(|_| events(&mut stream, 64)).collect();
    let count = batches.len() * 64;
    let begin = Instant::now();
    for (events, seq) in batches.into_iter().zip(1_i64..) {
        sqlx::query(RAW_UNNEST)
            .bind(&sessions)
            .bind(vec![seq; 64])
            .bind((0..64).map(|index| seq * 64 + index).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.id.as_uuid()).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.at.0).collect::<Vec<_>>())
            .bind(events.iter().map(|event| event.body.as_str()).collect::<Vec<_>>())
            .bind(vec![vec![7_u8; 16]; 64])
            .bind(vec![vec![7_u8; 32]; 64])
            .execute(&mut connection)
            .await
            .unwrap();
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Each round is measured against the raw limit of that round: the disk and the processor have faster and slower minutes.
fn of_rounds(ours: &[f64], raw: &[f64]) -> String {
    let ratios: Vec<f64> = ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
    shown(&ratios, 2)
}

/// What a contender reaches on threads of its own. Linux places what a thread wakes by how many others that thread has woken in its life
/// (`wakee_flips` in kernel/sched/fair.c): whoever shares threads with 64 clients finds itself on one core long after they are gone.
async fn apart(contender: impl Future<Output = f64> + Send + 'static) -> f64 {
    let reached = tokio::task::spawn_blocking(|| run(contender));
    reached.await.unwrap()
}

fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // On a worker, as an engine is: from outside each wait would be a hop between threads, ours and the raw one's.
    runtime.block_on(runtime.spawn(work)).unwrap()
}

async fn appends(url: &str, store: &SharedStore) {
    let (mut alone, mut raw_alone, mut many, mut raw_many, mut raw_group) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS as u64 {
        // Long enough that what a connection does only at first (planning, growing files) is as small for all as in a server's life.
        raw_alone.push(apart(raw_inserts(url.to_owned(), 1, 2_000, round)).await);
        alone.push(ours(store, 1, 2_000, round).await.0);
        raw_many.push(apart(raw_inserts(url.to_owned(), 64, 200, round)).await);
        many.push(ours(store, 64, 1_000, round).await.0);
        raw_group.push(apart(raw_unnest(url.to_owned(), 1_000, round)).await);
    }
    println!("| what | events/s | raw events/s | ratio |\n|---|---|---|---|");
    println!(
        "| one session, against one INSERT after another | {} | {} | {} |",
        shown(&alone, 0),
        shown(&raw_alone, 0),
        of_rounds(&alone, &raw_alone)
    );
    println!(
        "| 64 sessions, against one INSERT a transaction by 64 clients | {} | {} | {} |",
        shown(&many, 0),
        shown(&raw_many, 0),
        of_rounds(&many, &raw_many)
    );
    println!(
        "| 64 sessions, against UNNEST of 64 rows through one connection | {} | {} | {} |",
        shown(&many, 0),
        shown(&raw_group, 0),
        of_rounds(&many, &raw_group)
    );
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

async fn latencies(store: &SharedStore) {
    println!("\n| sessions at once | events/s | p50 ms | p99 ms |\n|---|---|---|---|");
    for (sessions, each) in [(1, 400), (16, 200), (64, 150), (256, 60)] {
        let (rate, sorted) = ours(store, sessions, each, 9).await;
        println!("| {sessions} | {rate:.0} | {:.1} | {:.1} |", percentile(&sorted, 50), percentile(&sorted, 99));
    }
}

async fn filled(store: &SharedStore, count: usize) -> SessionId {
    let session = new_session();
    let mut stream = Stream::new(3);
    for _ in 0..count / 250 {
        let events = events(&mut stream, 250);
        let append = Append { session, expected: Expected::Any, writer: Writer::Anyone, events, directory: None };
        store.append(append).await.unwrap();
    }
    session
}

const RAW_SCAN: &str = "select seq, event_id, kind, v, at, source, cause, must_understand, body, salt, hash from event \
     where shard = $2 and session_id = $1 order by seq";

async fn shard_of(connection: &mut PgConnection, session: SessionId) -> i32 {
    let find = sqlx::query_scalar("select shard from session where session_id = $1");
    find.bind(session.as_uuid()).fetch_one(connection).await.unwrap()
}

/// The scan and the fold, with nothing around them, in milliseconds. The connection has the statement prepared after its first run.
async fn raw_fold(connection: &mut PgConnection, shard: i32, session: SessionId) -> f64 {
    let begin = Instant::now();
    let mut folded = Session::default();
    let mut rows = sqlx::query(RAW_SCAN).bind(session.as_uuid()).bind(shard).fetch(connection);
    while let Some(row) = rows.try_next().await.unwrap() {
        let body: &str = row.try_get_unchecked(8).unwrap();
        folded.apply(&Recorded {
            session,
            seq: Seq(row.get::<i64, _>(0) as u64),
            id: rekindle::session::EventId::from_uuid(row.get(1)),
            kind: rekindle::session::Kind::new(row.get::<&str, _>(2)),
            v: 1,
            at: rekindle::session::Timestamp(row.get(4)),
            source: row.get::<&str, _>(5).parse().unwrap(),
            cause: None,
            must_understand: row.get(7),
            body: Body::Json(body.to_owned()),
        });
    }
    assert!(folded.version > Seq::ZERO);
    ms(begin)
}

/// What `resume` does: the fold, and the proof that it is the one that was appended, from a snapshot or from the first event.
async fn our_restore(store: &SharedStore, session: SessionId, trust: Trust) -> f64 {
    let begin = Instant::now();
    let restored = restore(store.as_ref(), session, trust).await.unwrap();
    assert_eq!(restored.proof.snapshot.is_some(), trust == Trust::Snapshot);
    ms(begin)
}

/// The snapshot that a run has kept when it is killed at the worst moment: it keeps one after 256 events.
async fn keep_snapshot(store: &SharedStore, session: SessionId, head: u64) {
    let kept = restore_at(store.as_ref(), session, Seq(head - 255), Trust::Nothing).await.unwrap();
    store.put_snapshot(snapshot(session, &kept.session, kept.hash)).await.unwrap();
}

async fn restores(url: &str, store: &SharedStore) {
    println!("\n| what | ms | raw ms | ratio |\n|---|---|---|---|");
    let mut connection = PgConnection::connect(url).await.unwrap();
    // Without these the server may read and sort the whole table for the raw side; ours is to be as fast without them.
    let by_index = "set enable_bitmapscan = off; set enable_seqscan = off; set plan_cache_mode = force_generic_plan";
    sqlx::raw_sql(by_index).execute(&mut connection).await.unwrap();
    let mut last = None;
    for count in [1_000, 10_000, 50_000] {
        let session = filled(store, count).await;
        let shard = shard_of(&mut connection, session).await;
        // As the server does by itself within a minute of so many inserts; until then it plans each page anew.
        sqlx::raw_sql("analyze event; analyze session").execute(&mut connection).await.unwrap();
        assert_well_planned(&mut connection, &of_session(RAW_SCAN, session, shard)).await;
        keep_snapshot(store, session, count as u64).await;
        let (mut ours, mut raw, mut resumed, mut verified) = (vec![], vec![], vec![], vec![]);
        // The small ones are over before a scheduler has noticed them.
        for _ in 0..ROUNDS * (50_000 / count).min(10) {
            raw.push(raw_fold(&mut connection, shard, session).await);
            ours.push(our_restore(store, session, Trust::Nothing).await);
            resumed.push(our_restore(store, session, Trust::Snapshot).await);
            let begin = Instant::now();
            verify_session(store.as_ref(), session).await.unwrap();
            verified.push(ms(begin));
        }
        let ratio = of_rounds(&resumed, &raw);
        println!("| restore {count} events from the snapshot of a run | {} | {} | {ratio} |", shown(&resumed, 1), shown(&raw, 1));
        println!(
            "| restore {count} events from the first one | {} | {} | {} |",
            shown(&ours, 1),
            shown(&raw, 1),
            of_rounds(&ours, &raw)
        );
        println!("| check the chain of {count} | {} | | |", shown(&verified, 1));
        last = Some((session, shard));
    }
    let (session, shard) = last.unwrap();
    pages(&mut connection, store, session, shard).await;
}

/// A statement with its parameters in it.
fn of_session(statement: &str, session: SessionId, shard: i32) -> String {
    statement.replace("$1", &format!("'{}'", session.as_uuid())).replace("$2", &shard.to_string())
}

/// How a statement is done, and that it neither sorts nor reads more than it returns: else the raw side would be none.
async fn assert_well_planned(connection: &mut PgConnection, statement: &str) {
    let ask = format!("explain (costs off) {statement}");
    let plan = sqlx::raw_sql(sqlx::AssertSqlSafe(ask)).fetch_all(&mut *connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan") && !plan.contains("Sort ("), "{plan}");
    assert!(!plan.contains("Bitmap") && !plan.contains("Seq Scan"), "{plan}");
}

async fn pages(connection: &mut PgConnection, store: &SharedStore, session: SessionId, shard: i32) {
    let raw_page = format!("{RAW_SCAN} desc limit 50");
    assert_well_planned(connection, &of_session(&raw_page, session, shard)).await;
    let (mut ours, mut raw) = (vec![], vec![]);
    for _ in 0..500 {
        let begin = Instant::now();
        let read = Read { session, after: Seq::ZERO, upto: Seq(i64::MAX as u64), order: Order::NewestFirst, limit: 50 };
        assert_eq!(store.read(read).await.unwrap().rows.len(), 50);
        ours.push(ms(begin));
        let begin = Instant::now();
        let query = sqlx::query(sqlx::AssertSqlSafe(raw_page.clone())).bind(session.as_uuid()).bind(shard);
        let rows = query.fetch_all(&mut *connection).await.unwrap();
        // As whoever wants to show them: owned, like ours.
        let owned: Vec<(i64, Uuid, String, i64, String, String)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2), row.get(4), row.get(5), row.try_get_unchecked(8).unwrap()))
            .collect();
        assert_eq!(owned.len(), 50);
        raw.push(ms(begin));
    }
    println!("| the last 50 of 50k events | {} | {} | {} |", shown(&ours, 2), shown(&raw, 2), of_rounds(&ours, &raw));
    let others: Vec<_> = (0..10_000).map(|_| new_session()).collect();
    let mut stream = Stream::new(11);
    let appends = others.into_iter().map(|session| {
        let (store, event) = (Arc::clone(store), events(&mut stream, 1).remove(0));
        tokio::spawn(async move { store.append(one(session, Seq::ZERO, event)).await.unwrap() })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap();
    }
    let (mut ours, mut raw) = (vec![], vec![]);
    for _ in 0..500 {
        let begin = Instant::now();
        assert_eq!(store.sessions(SessionFilter::All, 50).await.unwrap().len(), 50);
        ours.push(ms(begin));
        let begin = Instant::now();
        let query = sqlx::query(rekindle::store::statements::postgres::SESSIONS).bind(50_i64);
        let rows = query.fetch_all(&mut *connection).await.unwrap();
        // Owned, like ours.
        let owned: Vec<RawSession> = rows.iter().map(raw_session).collect();
        assert_eq!(owned.len(), 50);
        raw.push(ms(begin));
    }
    println!("| the 50 most recent of 10k sessions | {} | {} | {} |", shown(&ours, 2), shown(&raw, 2), of_rounds(&ours, &raw));
}

type RawSession = (Uuid, Option<String>, i64, Vec<u8>, Option<Uuid>, i64, String, bool, String, Option<String>, i64, Option<i64>);

fn raw_session(row: &sqlx::postgres::PgRow) -> RawSession {
    let get = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(5), row.get(7), row.get(8), row.get(9));
    let (id, name, head, hash, owner, updated_at, phase, due) = get;
    (id, name, head, hash, owner, updated_at, phase, due, row.get(10), row.get(11), row.get(15), row.get(16))
}

/// From the append on one node to the event in the hands of a subscriber on another.
async fn across(url: &str, store: &SharedStore) {
    let other = connect(url, OpenOptions::default()).await.unwrap();
    let mut latencies = Vec::new();
    let session = new_session();
    let mut stream = Stream::new(5);
    store.append(one(session, Seq::ZERO, events(&mut stream, 1).remove(0))).await.unwrap();
    let mut subscription = rekindle::engine::Subscription::new(Arc::clone(&other), session, Seq(1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    for seq in 1..200 {
        let event = events(&mut stream, 1).remove(0);
        store.append(one(session, Seq(seq), event)).await.unwrap();
        let begin = Instant::now();
        subscription.next().await.unwrap();
        latencies.push(begin.elapsed());
    }
    latencies.sort();
    println!(
        "\nfrom an acknowledged append to a subscriber on another node: p50 {:.1} ms, p99 {:.1} ms",
        percentile(&latencies, 50),
        percentile(&latencies, 99)
    );
    other.close().await;
}

async fn all() {
    let server = Server::start_with(&["shared_buffers=256MB", "max_wal_size=4GB"]);
    let url = server.fresh_database().await;
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    if wants("appends") {
        appends(&url, &store).await;
    }
    if wants("latencies") {
        latencies(&store).await;
    }
    if wants("restores") {
        restores(&url, &store).await;
    }
    if wants("across") {
        across(&url, &store).await;
    }
    store.close().await;
}

fn main() {
    run(all());
}
