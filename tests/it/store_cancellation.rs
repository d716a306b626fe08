//! Callers that go away leave no transaction open and no write half done.

use std::future::Future;
use std::task::{Context, Waker};
use std::time::Duration;

use rekindle::session::{Digest, Seq, SessionId};
use rekindle::store::conformance::{append, event, given, new_node, new_session};
use rekindle::store::{Expected, OpenOptions, SharedStore, Snapshot, verify_session};
use tokio::task::yield_now;

use crate::store_fixture::Place;

/// Polls `work` about `patience` times and then drops it.
async fn abandoned<T>(work: impl Future<Output = T>, patience: usize) {
    tokio::select! {
        biased;
        _ = work => {}
        () = async { for _ in 0..patience { yield_now().await } } => {}
    }
}

async fn abandon_everything(store: &SharedStore, patience: usize) {
    let name = format!("name-{patience}").parse().unwrap();
    let session = SessionId::named(&name);
    given(store, session, 3).await;
    let bytes = patience.to_le_bytes().to_vec();
    let snapshot = Snapshot { session, seq: Seq(2), reducer: "r".into(), digest: Digest::of(&bytes), bytes: bytes.clone() };
    abandoned(store.append(append(session, Expected::Any, vec![event("more")])), patience).await;
    abandoned(store.put_blob(session, bytes), patience).await;
    abandoned(store.put_snapshot(snapshot), patience).await;
    abandoned(store.name(session, &name), patience).await;
    abandoned(store.renew_lease(new_node(), "here", Duration::from_secs(1)), patience).await;
    abandoned(store.redact(session, Seq(1)), patience).await;
    abandoned(store.read(rekindle::store::Read::forward(session, Seq::ZERO)), patience).await;
    abandoned(store.info(), patience).await;
    // Whatever was abandoned, the next caller finds the store as if nothing had happened.
    given(store, session, 1).await;
    store.put_blob(session, b"after".to_vec()).await.unwrap();
    verify_session(store.as_ref(), session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_calls_leave_no_open_transaction() {
    let place = Place::new();
    let store = place.open().await;
    for patience in 0..40 {
        abandon_everything(&store, patience).await;
    }
    // A second handle is another process as far as locks are concerned: nothing may hold the lock once all is quiet.
    let wait = OpenOptions { busy_wait: Duration::from_secs(10), ..OpenOptions::default() };
    let other = place.try_open(wait).await.unwrap();
    given(&other, new_session(), 1).await;
    other.close().await;
    store.close().await;
    let writable: i64 = place.sql().query_row("select count(*) from event", [], |row| row.get(0)).unwrap();
    assert!(writable > 0);
    assert!(!place.directory.path().join("store.db-wal").exists(), "a connection is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_over_is_done_before_the_store_closes() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let append = append(session, Expected::Any, vec![event("handed over")]);
        let mut future = Box::pin({
            let store = store.clone();
            async move { store.append(append).await }
        });
        // Polled once: it is in the queue, and nobody waits for it any more.
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        waiting.push(future);
    }
    drop(waiting);
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.session(session).await.unwrap().unwrap().head, Seq(50));
    store.close().await;
}
