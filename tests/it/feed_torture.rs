//! The feed misses nothing however slowly and in whatever order transactions commit; a sequence would.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rekindle::session::EventId;
use rekindle::store::conformance::{append, events, new_session};
use rekindle::store::{Expected, FeedCursor, OpenOptions, SharedStore, connect};
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::postgres_load::{FeedReader, Random};
use crate::postgres_server::{open, shared};

/// How many sessions append through stores, and how many slow transactions are under way beside them.
const WRITERS: u64 = 12;
const SLOW_WRITERS: u64 = 6;
const READERS: u64 = 4;
/// How much each of them does.
const APPENDS: u64 = 25;
const SLOW_APPENDS: u64 = 12;

/// Appends through a store; the ids of what was appended.
async fn write(store: SharedStore, mut random: Random) -> Vec<EventId> {
    let (session, mut ids) = (new_session(), vec![]);
    for _ in 0..APPENDS {
        let batch = events(1 + random.below(3) as usize);
        ids.extend(batch.iter().map(|event| event.id));
        store.append(append(session, Expected::Any, batch)).await.unwrap();
        tokio::time::sleep(random.between(0, 10)).await;
    }
    ids
}

/// Copies a session's last event again and again the way a store writes, but dawdles before each commit, and rolls back one in four.
///
/// The copies keep the content of the original and its chain hash: what is tested here is only that they are delivered.
async fn write_slowly(url: String, store: SharedStore, mut random: Random) -> Vec<EventId> {
    let session = new_session();
    let first = events(1);
    let mut ids = vec![first[0].id];
    store.append(append(session, Expected::NoSession, first)).await.unwrap();
    let mut connection = open(&url).await.unwrap();
    let shard = sqlx::query_scalar("select shard from session where session_id = $1").bind(session.as_uuid());
    let shard: i32 = shard.fetch_one(&mut connection).await.unwrap();
    for _ in 0..SLOW_APPENDS {
        let (id, rolled_back) = (Uuid::now_v7(), random.below(4) == 0);
        let mut transaction = connection.begin().await.unwrap();
        let moved = "update session set head_seq = head_seq + 1 where shard = $1 and session_id = $2 returning head_seq";
        let moved = sqlx::query(moved).bind(shard).bind(session.as_uuid());
        let seq: i64 = moved.fetch_one(&mut *transaction).await.unwrap().get(0);
        tokio::time::sleep(random.between(0, 10)).await;
        let taken = sqlx::query("update shard set head_pos = head_pos + 1 where shard = $1 returning head_pos");
        let pos: i64 = taken.bind(shard).fetch_one(&mut *transaction).await.unwrap().get(0);
        let insert = "insert into event (shard, session_id, seq, pos, event_id, kind, v, at, source, cause, must_understand, \
             body, blob, salt, hash) select shard, session_id, $3, $4, $5, kind, v, at, source, cause, must_understand, body, \
             blob, salt, hash from event where shard = $1 and session_id = $2 and seq = 1";
        let insert = sqlx::query(insert).bind(shard).bind(session.as_uuid()).bind(seq).bind(pos).bind(id);
        assert_eq!(insert.execute(&mut *transaction).await.unwrap().rows_affected(), 1);
        tokio::time::sleep(random.between(0, 30)).await;
        if rolled_back {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            ids.push(EventId::from_uuid(id));
        }
    }
    ids
}

/// Reads the feed while it grows, in pages of any size, until it has `expected` events and no more come.
async fn read(store: SharedStore, mut random: Random, expected: Arc<AtomicU64>, written: Arc<AtomicBool>) -> BTreeSet<EventId> {
    let mut reader = FeedReader::default();
    loop {
        let all_written = written.load(Ordering::SeqCst);
        if reader.read(&store, 1 + random.below(20) as u32).await.unwrap() == 0 {
            if all_written {
                break;
            }
            tokio::time::sleep(random.between(0, 5)).await;
        }
    }
    let ids: BTreeSet<EventId> = reader.events.iter().map(|(_, _, id)| *id).collect();
    assert_eq!(ids.len(), reader.events.len(), "the feed delivers an event twice");
    assert_eq!(ids.len() as u64, expected.load(Ordering::SeqCst), "the feed misses events");
    let mut heads = std::collections::HashMap::new();
    for (session, seq, _) in reader.events {
        let head = heads.entry(session).or_insert(0);
        assert_eq!(seq.0, *head + 1, "the feed is out of order");
        *head = seq.0;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_delivers_all_in_order_however_transactions_overlap() {
    all_is_delivered_in_order(shared().fresh_database().await).await;
}

pub async fn all_is_delivered_in_order(url: String) {
    let stores = [connect(&url, OpenOptions::default()).await.unwrap(), connect(&url, OpenOptions::default()).await.unwrap()];
    let store = |index: u64| Arc::clone(&stores[index as usize % 2]);
    let (expected, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = (0..READERS)
        .map(|index| tokio::spawn(read(store(index), Random(11 + index), Arc::clone(&expected), Arc::clone(&written))))
        .collect();
    let mut writers: Vec<_> = (0..WRITERS).map(|index| tokio::spawn(write(store(index), Random(101 + index)))).collect();
    writers.extend((0..SLOW_WRITERS).map(|index| tokio::spawn(write_slowly(url.clone(), store(index), Random(201 + index)))));
    let mut ids = BTreeSet::new();
    for writer in writers {
        ids.extend(writer.await.unwrap());
    }
    expected.store(ids.len() as u64, Ordering::SeqCst);
    written.store(true, Ordering::SeqCst);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), ids);
    }
    for store in stores {
        store.close().await;
    }
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_missed_with_a_sequence_and_not_by_the_feed() {
    let url = shared().fresh_database().await;
    let mut reader = PgConnection::connect(&url).await.unwrap();
    let mut late = PgConnection::connect(&url).await.unwrap();
    let mut early = PgConnection::connect(&url).await.unwrap();

    // What a reader of `pos > last` sees when the first to take a number is the last to commit.
    sqlx::raw_sql("create table naive (pos bigserial primary key)").execute(&mut reader).await.unwrap();
    let mut transaction = late.begin().await.unwrap();
    sqlx::raw_sql("insert into naive default values").execute(&mut *transaction).await.unwrap();
    sqlx::raw_sql("insert into naive default values").execute(&mut early).await.unwrap();
    let next = "select pos from naive where pos > $1 order by pos";
    let mut seen: Vec<i64> = sqlx::query_scalar(next).bind(0_i64).fetch_all(&mut reader).await.unwrap();
    transaction.commit().await.unwrap();
    let more: Vec<i64> = sqlx::query_scalar(next).bind(seen.last().copied()).fetch_all(&mut reader).await.unwrap();
    seen.extend(more);
    let stored: i64 = sqlx::query_scalar("select count(*) from naive").fetch_one(&mut reader).await.unwrap();
    assert!((seen.len() as i64) < stored, "a sequence misses no event any more: {seen:?}");

    // The same with the store's positions: the second transaction waits for the first, so that a reader passes neither.
    let store = connect(&url, OpenOptions::default()).await.unwrap();
    let session = new_session();
    store.append(append(session, Expected::NoSession, events(1))).await.unwrap();
    let mut transaction = late.begin().await.unwrap();
    let take = "update shard set head_pos = head_pos where shard = (select shard from session where session_id = $1)";
    sqlx::query(take).bind(session.as_uuid()).execute(&mut *transaction).await.unwrap();
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(append(session, Expected::Any, events(1))).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "a position was taken past one that is not committed");
    assert_eq!(store.feed(FeedCursor::default(), 10).await.unwrap().rows.len(), 1);
    transaction.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(store.feed(FeedCursor::default(), 10).await.unwrap().rows.len(), 2);
    store.close().await;
}
