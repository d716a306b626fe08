//! What is about to be forgotten is known whole, or is looked at anew.
#![allow(clippy::unwrap_used, reason = "clippy spares only the tests themselves, not what they share")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::super::work::Work;
use super::*;
use crate::store::conformance::{append, event_of, new_session};
use crate::store::content::Secrecy;
use crate::store::sqlite::Sqlite;
use crate::store::{Care as _, Expected, FeedCursor, OpenOptions, Store as _};

async fn open() -> (SqlStore<Sqlite>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    (SqlStore::new(Sqlite::open(path.to_str().unwrap(), OpenOptions::default()).await.unwrap()), directory)
}

async fn say(store: &SqlStore<Sqlite>, session: SessionId, text: &str) {
    let event = event_of(serde_json::json!({ "text": text }).to_string());
    store.append(append(session, Expected::Any, vec![event])).await.unwrap();
}

async fn index(store: &SqlStore<Sqlite>) {
    let cursor = store.indexed().await.unwrap();
    let page = store.feed(cursor.clone(), 100).await.unwrap();
    let entries = page.rows.iter().map(|row| {
        let event = row.event().unwrap();
        IndexEntry { pos: row.pos, at: event.at, words: searchable::terms(event).unwrap() }
    });
    let indexed = Indexed { shard: 0, from: cursor.position(0), to: page.next.position(0), entries: entries.collect() };
    store.index(indexed).await.unwrap();
}

async fn purge(store: &SqlStore<Sqlite>, session: SessionId, traces: Traces) -> Result<(), StoreError> {
    store
        .write(move |transaction| {
            Box::pin(
                async move { Work::<Sqlite>::new(transaction, 0, Secrecy::Readable).purge(session, Timestamp(1), traces).await },
            )
        })
        .await
}

#[tokio::test]
async fn a_purge_that_does_not_know_of_all_events_leaves_everything_as_it_is() {
    let (store, _directory) = open().await;
    let session = new_session();
    say(&store, session, "first").await;
    let traces = async || store.traces(session, Seq::ZERO, Seq(u64::MAX)).await.unwrap();
    // Somebody begins to index in between.
    let known = traces().await;
    assert!(matches!(known, Traces::None));
    index(&store).await;
    assert!(matches!(purge(&store, session, known).await, Err(StoreError::Moved { .. })));
    // Somebody appends in between.
    let known = traces().await;
    assert!(matches!(&known, Traces::Words(words) if words.len() == 1));
    say(&store, session, "second").await;
    index(&store).await;
    assert!(matches!(purge(&store, session, known).await, Err(StoreError::Moved { .. })));
    assert_eq!(store.keeping(session).await.unwrap().unwrap().purged_at, None);
    purge(&store, session, traces().await).await.unwrap();
    assert_ne!(store.indexed().await.unwrap(), FeedCursor::default(), "only the words of the session went");
    store.close().await;
}

#[tokio::test]
async fn whoever_is_always_too_late_lets_the_whole_index_go() {
    let (store, _directory) = open().await;
    let session = new_session();
    say(&store, session, "first").await;
    index(&store).await;
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let forgotten = store.forgetting(session, Seq::ZERO, Seq(u64::MAX), move |transaction, traces| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match traces {
                Traces::All => forget::<Sqlite>(transaction, 0, session, Traces::All, &[]).await,
                _ => Err(StoreError::Moved { projection: search_projection(), shard: 0 }.into()),
            }
        })
    });
    forgotten.await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), READ_AGAIN_MAX + 1);
    assert_eq!(store.indexed().await.unwrap(), FeedCursor::default());
    store.close().await;
}
