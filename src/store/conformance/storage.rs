//! What is kept beside the log: blobs, snapshots, leases; and what the store says about itself.

use std::time::Duration;

use super::*;
use crate::session::Digest;
use crate::store::{RUNG, Snapshot};

/// Content by digest, once.
pub async fn blobs_are_kept_by_their_content(store: &SharedStore) {
    let session = new_session();
    for content in [vec![], vec![0, 255, 0], vec![7; 3 * 1024 * 1024]] {
        let digest = store.put_blob(session, content.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&content));
        assert_eq!(store.put_blob(session, content.clone()).await.unwrap(), digest);
        assert_eq!(store.blob(session, digest).await.unwrap(), Some(content));
    }
}

/// Nothing is not an error.
pub async fn a_blob_that_is_not_there_is_none(store: &SharedStore) {
    assert_eq!(store.blob(new_session(), Digest::of(b"nothing")).await.unwrap(), None);
}

pub(super) fn a_snapshot(session: SessionId, seq: u64, reducer: &str) -> Snapshot {
    let bytes = format!("state of {reducer} at {seq}").into_bytes();
    Snapshot { session, seq: Seq(seq), reducer: reducer.to_owned(), digest: Digest::of(&bytes), bytes }
}

/// Whole.
pub async fn a_snapshot_comes_back(store: &SharedStore) {
    let session = new_session();
    let snapshot = a_snapshot(session, 7, "r1");
    store.put_snapshot(snapshot.clone()).await.unwrap();
    assert_eq!(store.snapshot(session, "r1", Seq(7)).await.unwrap(), Some(snapshot));
    assert_eq!(store.snapshot(new_session(), "r1", Seq(7)).await.unwrap(), None);
}

/// For time travel.
pub async fn the_newest_snapshot_at_or_before_a_seq_is_found(store: &SharedStore) {
    let session = new_session();
    for seq in [10, 20] {
        store.put_snapshot(a_snapshot(session, seq, "r1")).await.unwrap();
    }
    for (upto, found) in [(9, None), (10, Some(10)), (19, Some(10)), (20, Some(20)), (u64::MAX, Some(20))] {
        let snapshot = store.snapshot(session, "r1", Seq(upto)).await.unwrap();
        assert_eq!(snapshot.map(|snapshot| snapshot.seq.0), found, "up to {upto}");
    }
}

/// Others ignore it.
pub async fn snapshots_of_other_reducers_are_not_found(store: &SharedStore) {
    let session = new_session();
    store.put_snapshot(a_snapshot(session, 10, "r1")).await.unwrap();
    assert_eq!(store.snapshot(session, "r2", Seq(100)).await.unwrap(), None);
    assert_eq!(store.snapshot(session, "r", Seq(100)).await.unwrap(), None);
}

/// The later one counts.
pub async fn a_snapshot_may_be_put_twice(store: &SharedStore) {
    let session = new_session();
    store.put_snapshot(a_snapshot(session, 10, "r1")).await.unwrap();
    let other = Snapshot { bytes: b"other".to_vec(), digest: Digest::of(b"other"), ..a_snapshot(session, 10, "r1") };
    store.put_snapshot(other.clone()).await.unwrap();
    assert_eq!(store.snapshot(session, "r1", Seq(10)).await.unwrap(), Some(other));
}

/// Snapshots do not pile up, and one reducer's do not push out another's.
pub async fn only_the_newest_snapshots_are_kept(store: &SharedStore) {
    let session = new_session();
    store.put_snapshot(a_snapshot(session, 1, "other")).await.unwrap();
    for seq in [10, 20, 30, 40] {
        store.put_snapshot(a_snapshot(session, seq, "r1")).await.unwrap();
    }
    assert_eq!(store.snapshot(session, "r1", Seq(29)).await.unwrap().unwrap().seq, Seq(10));
    assert_eq!(store.snapshot(session, "r1", Seq(30)).await.unwrap().unwrap().seq, Seq(30));
    assert_eq!(store.snapshot(session, "r1", Seq(99)).await.unwrap().unwrap().seq, Seq(40));
    assert!(store.snapshot(session, "other", Seq(99)).await.unwrap().is_some());
}

/// For time travel: however long a session is, no state of it is far from a snapshot.
pub async fn the_first_snapshot_of_each_stretch_is_kept(store: &SharedStore) {
    let session = new_session();
    let put =
        [2 * RUNG + 9, 300, 5, 4, RUNG - 1, RUNG + 700, RUNG, 2 * RUNG + 8, 5 * RUNG, 5 * RUNG + 1, 5 * RUNG + 2, 5 * RUNG + 3];
    for seq in put {
        store.put_snapshot(a_snapshot(session, seq, "r1")).await.unwrap();
        store.put_snapshot(a_snapshot(session, seq, "r2")).await.unwrap();
    }
    let mut found = Vec::new();
    let mut upto = Seq(u64::MAX);
    while let Some(snapshot) = store.snapshot(session, "r1", upto).await.unwrap() {
        assert_eq!(snapshot, a_snapshot(session, snapshot.seq.0, "r1"));
        found.push(snapshot.seq.0);
        upto = Seq(snapshot.seq.0 - 1);
    }
    assert_eq!(found, [5 * RUNG + 3, 5 * RUNG + 2, 5 * RUNG, 2 * RUNG + 8, RUNG, 4]);
}

/// Long enough that no test outlives it.
const LONG: Duration = Duration::from_secs(3600);

/// A node that lives.
pub async fn a_lease_is_known(store: &SharedStore) {
    let node = new_node();
    assert_eq!(store.node(node).await.unwrap(), None);
    store.renew_lease(node, "host:1", LONG).await.unwrap();
    let row = store.node(node).await.unwrap().unwrap();
    assert_eq!((row.id, row.address.as_str(), row.expired), (node, "host:1", false));
}

/// A lease of no length is over at once.
pub async fn a_lease_passes(store: &SharedStore) {
    let node = new_node();
    store.renew_lease(node, "host:1", Duration::ZERO).await.unwrap();
    assert!(store.node(node).await.unwrap().unwrap().expired);
}

/// Also after it has passed, and at another address.
pub async fn a_lease_can_be_renewed(store: &SharedStore) {
    let node = new_node();
    store.renew_lease(node, "host:1", Duration::ZERO).await.unwrap();
    store.renew_lease(node, "host:2", Duration::MAX).await.unwrap();
    let row = store.node(node).await.unwrap().unwrap();
    assert_eq!((row.address.as_str(), row.expired), ("host:2", false));
}

/// Nobody needs to wait for it.
pub async fn a_lease_can_be_ended(store: &SharedStore) {
    let (node, other) = (new_node(), new_node());
    store.renew_lease(node, "host:1", LONG).await.unwrap();
    store.renew_lease(other, "host:2", LONG).await.unwrap();
    store.end_lease(node).await.unwrap();
    assert!(store.node(node).await.unwrap().is_none_or(|row| row.expired));
    assert!(!store.node(other).await.unwrap().unwrap().expired);
    store.end_lease(new_node()).await.unwrap();
}

/// Who lives; who left may be missing.
pub async fn the_nodes_are_listed(store: &SharedStore) {
    let (living, passed, left) = (new_node(), new_node(), new_node());
    store.renew_lease(living, "host:1", LONG).await.unwrap();
    store.renew_lease(passed, "host:2", Duration::ZERO).await.unwrap();
    store.renew_lease(left, "host:3", LONG).await.unwrap();
    store.end_lease(left).await.unwrap();
    let nodes = store.nodes().await.unwrap();
    let known = |id| nodes.iter().find(|row| row.id == id).map(|row| (row.address.as_str(), row.expired));
    assert_eq!(known(living), Some(("host:1", false)));
    assert_eq!(known(passed), Some(("host:2", true)));
    assert!(known(left).is_none_or(|(_, expired)| expired));
}

/// For `doctor`.
pub async fn the_store_tells_about_itself(store: &SharedStore) {
    let (one, other) = (new_session(), new_session());
    given(store, one, 3).await;
    store.append(append(other, Expected::Any, vec![NewEvent { at: Timestamp(i64::MAX), ..event("last") }])).await.unwrap();
    let info = store.info().await.unwrap();
    assert_eq!((info.sessions, info.events, info.format), (2, 4, crate::store::FORMAT));
    assert_eq!(info.newest.unwrap().id, other);
    assert!(info.bytes > 0 && !info.address.is_empty() && !info.engine.is_empty());
}

/// Everything fails after `close`, and nothing hangs.
pub async fn a_closed_store_refuses(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    store.close().await;
    store.close().await;
    assert!(matches!(store.append(append(session, Expected::Any, events(1))).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.read(Read::forward(session, Seq::ZERO)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.session(session).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.put_blob(session, vec![1]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.blob(session, Digest::ZERO).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.info().await, Err(StoreError::Unavailable(_))));
}
