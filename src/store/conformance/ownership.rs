//! Ownership: epochs rise one by one, and whoever was taken over from cannot write.

use std::sync::Arc;

use super::repeat::take_over;
use super::*;
use crate::session::Epoch;

fn owned(session: SessionId, epoch: u64) -> Append {
    Append { writer: Writer::Owner(Epoch(epoch)), ..append(session, Expected::Any, events(1)) }
}

/// A takeover is an append that changes hands.
pub async fn a_takeover_raises_the_epoch(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    let node = new_node();
    let writer = Writer::Takeover { epoch: Epoch(1), node };
    store.append(Append { writer, ..append(session, Expected::Any, events(1)) }).await.unwrap();
    let row = store.session(session).await.unwrap().unwrap();
    assert_eq!((row.epoch, row.owner, row.head), (Epoch(1), Some(node), Seq(2)));
}

/// Epochs have no gaps and do not go back.
pub async fn a_takeover_must_be_of_the_next_epoch(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    take_over(store, session, 1).await.unwrap();
    for wrong in [0, 1, 3] {
        assert!(is_fenced(&take_over(store, session, wrong).await, 1), "epoch {wrong}");
    }
    take_over(store, session, 2).await.unwrap();
}

/// A session may be born owned.
pub async fn a_takeover_may_begin_a_session(store: &SharedStore) {
    let session = new_session();
    assert!(is_fenced(&take_over(store, session, 2).await, 0));
    assert_eq!(take_over(store, session, 1).await.unwrap().last, Seq(1));
    assert_eq!(store.session(session).await.unwrap().unwrap().epoch, Epoch(1));
}

/// The owner of the present epoch.
pub async fn the_owner_may_append(store: &SharedStore) {
    let session = new_session();
    store.append(owned(session, 0)).await.unwrap();
    take_over(store, session, 1).await.unwrap();
    assert_eq!(store.append(owned(session, 1)).await.unwrap().last, Seq(3));
}

/// The owner of an epoch that has passed, and of one that has not begun.
pub async fn a_former_owner_is_fenced(store: &SharedStore) {
    let session = new_session();
    take_over(store, session, 1).await.unwrap();
    take_over(store, session, 2).await.unwrap();
    for other in [0, 1, 3] {
        assert!(is_fenced(&store.append(owned(session, other)).await, 2), "epoch {other}");
    }
    assert_eq!(all_events(store, session).await.len(), 2);
}

/// Whoever is fenced learns that, not that it lost a race.
pub async fn fenced_comes_before_conflict(store: &SharedStore) {
    let session = new_session();
    take_over(store, session, 1).await.unwrap();
    let stale = Append { expected: Expected::Exact(Seq(17)), ..owned(session, 0) };
    assert!(is_fenced(&store.append(stale).await, 1));
}

/// A note needs no owner.
pub async fn anyone_may_append_without_touching_ownership(store: &SharedStore) {
    let session = new_session();
    take_over(store, session, 1).await.unwrap();
    let before = store.session(session).await.unwrap().unwrap();
    given(store, session, 1).await;
    let after = store.session(session).await.unwrap().unwrap();
    assert_eq!((after.epoch, after.owner), (before.epoch, before.owner));
}

/// Two nodes that want the same session.
pub async fn of_racing_takeovers_one_wins(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { take_over(&store, session, 1).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            result => assert!(is_fenced(&result, 1), "{result:?}"),
        }
    }
    assert_eq!(won, 1);
}
