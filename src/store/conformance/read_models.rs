//! What projections that follow the feed keep: checkpoints, documents, sessions in quarantine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::store::{Change, Document, DocumentWrite, Projected, ProjectionId, Quarantined, Shard};

fn projection() -> ProjectionId {
    ProjectionId::new("counts", 1)
}

/// A step of a checkpoint that writes one document.
fn step(from: u64, to: u64, key: &str, value: &str) -> Projected {
    Projected {
        projection: projection(),
        shard: 0,
        from,
        to,
        held: BTreeMap::new(),
        writes: vec![DocumentWrite { key: key.to_owned(), change: Change::Put(value.to_owned()) }],
        quarantine: Vec::new(),
        release: Vec::new(),
    }
}

fn is_moved(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Moved { .. }))
}

async fn documents(store: &SharedStore, projection: &ProjectionId, prefix: &str) -> Vec<(String, Shard, String)> {
    let found = store.documents(projection, prefix).await.unwrap();
    found.into_iter().map(|Document { key, shard, value }| (key, shard, value)).collect()
}

/// One transaction.
pub async fn a_checkpoint_and_its_documents_move_together(store: &SharedStore) {
    let id = projection();
    assert_eq!(store.checkpoint(&id).await.unwrap().position(0), 0);
    assert_eq!(store.document(&id, 0, "a").await.unwrap(), None);
    store.project(step(0, 5, "a", "1")).await.unwrap();
    store.project(step(5, 7, "a", r#"{"n":2}"#)).await.unwrap();
    assert_eq!(store.checkpoint(&id).await.unwrap().position(0), 7);
    assert_eq!(store.document(&id, 0, "a").await.unwrap().as_deref(), Some(r#"{"n":2}"#));
    let delete = DocumentWrite { key: "a".to_owned(), change: Change::Delete };
    store.project(Projected { writes: vec![delete], ..step(7, 7, "", "") }).await.unwrap();
    assert_eq!(store.document(&id, 0, "a").await.unwrap(), None);
    assert_eq!(store.checkpoint(&id).await.unwrap().position(0), 7);
}

/// A loser stores nothing at all.
pub async fn a_checkpoint_that_somebody_moved_is_not_moved_again(store: &SharedStore) {
    assert!(is_moved(&store.project(step(3, 9, "a", "0")).await), "it has not begun");
    store.project(step(0, 5, "a", "1")).await.unwrap();
    for (from, to) in [(0, 5), (0, 9), (4, 5), (6, 7)] {
        assert!(is_moved(&store.project(step(from, to, "a", "2")).await), "{from} to {to}");
    }
    let backwards = store.project(step(5, 4, "a", "2")).await;
    assert!(matches!(backwards, Err(StoreError::Invalid(_))), "{backwards:?}");
    assert_eq!(store.document(&projection(), 0, "a").await.unwrap().as_deref(), Some("1"));
    assert_eq!(store.checkpoint(&projection()).await.unwrap().position(0), 5);
}

/// However many there are.
pub async fn of_racing_runners_one_moves_the_checkpoint(store: &SharedStore) {
    for round in 0..5 {
        let runners: Vec<_> = (0..8)
            .map(|runner| {
                let store = Arc::clone(store);
                tokio::spawn(async move { store.project(step(round, round + 1, "winner", &runner.to_string())).await })
            })
            .collect();
        let mut winners = Vec::new();
        for (runner, task) in runners.into_iter().enumerate() {
            let result = task.await.unwrap();
            assert!(result.is_ok() || is_moved(&result), "{result:?}");
            winners.extend(result.is_ok().then_some(runner.to_string()));
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(store.document(&projection(), 0, "winner").await.unwrap(), winners.pop());
    }
}

/// Each in a place of its own.
pub async fn documents_of_shards_and_versions_stand_beside_each_other(store: &SharedStore) {
    let newer = ProjectionId::new("counts", 2);
    store.project(step(0, 1, "a", "1")).await.unwrap();
    store.project(Projected { shard: 3, ..step(0, 4, "a", "2") }).await.unwrap();
    store.project(Projected { projection: newer.clone(), ..step(0, 2, "a", "3") }).await.unwrap();
    assert_eq!(documents(store, &projection(), "").await, [("a".into(), 0, "1".into()), ("a".into(), 3, "2".into())]);
    assert_eq!(documents(store, &newer, "").await, [("a".into(), 0, "3".into())]);
    let checkpoint = store.checkpoint(&projection()).await.unwrap();
    assert_eq!((checkpoint.position(0), checkpoint.position(3)), (1, 4));
    assert_eq!(store.projections().await.unwrap(), [projection(), newer]);
}

/// Letter for letter.
pub async fn documents_are_found_by_the_beginning_of_their_keys(store: &SharedStore) {
    let keys = ["day/2026-01-01", "day/2026-01-02", "Day/x", "day", "session/1", "d%", "d_y", "ähre/1"];
    for (key, from) in keys.iter().zip(0..) {
        store.project(step(from, from + 1, key, "0")).await.unwrap();
    }
    for (prefix, count) in [("day/", 2), ("day", 3), ("d%", 1), ("d_", 1), ("ähre/", 1), ("x", 0), ("", keys.len())] {
        let found = documents(store, &projection(), prefix).await;
        assert_eq!(found.len(), count, "{prefix:?}: {found:?}");
        assert!(found.is_sorted(), "{found:?}");
    }
}

/// With what it could not read, and why.
pub async fn a_quarantined_session_is_known_until_it_is_released(store: &SharedStore) {
    let id = projection();
    let bad = |seq| Quarantined { shard: 0, session: SessionId::from_uuid(Uuid::nil()), seq: Seq(seq), what: "bad\0".into() };
    store.project(Projected { quarantine: vec![bad(3)], ..step(0, 5, "a", "1") }).await.unwrap();
    let known = store.quarantined(&id).await.unwrap();
    assert_eq!(known.iter().map(|known| (known.session, known.seq)).collect::<Vec<_>>(), [(bad(3).session, Seq(3))]);
    assert!(known[0].what.starts_with("bad"));
    let held: BTreeMap<_, _> = [(bad(3).session, Seq(3))].into();
    let further = Projected { quarantine: vec![bad(4)], held, ..step(5, 5, "a", "2") };
    store.project(further).await.unwrap();
    assert_eq!(store.quarantined(&id).await.unwrap()[0].seq, Seq(4));
    let held: BTreeMap<_, _> = [(bad(4).session, Seq(4))].into();
    store.project(Projected { release: vec![bad(4).session], held, ..step(5, 5, "a", "3") }).await.unwrap();
    assert_eq!(store.quarantined(&id).await.unwrap(), []);
    let elsewhere = Projected { quarantine: vec![Quarantined { shard: 1, ..bad(1) }], ..step(5, 6, "a", "4") };
    assert!(matches!(store.project(elsewhere).await, Err(StoreError::Invalid(_))));
}

/// A release moves no checkpoint, so the quarantine is compared as well.
pub async fn who_does_not_know_the_quarantine_stores_nothing(store: &SharedStore) {
    let session = new_session();
    let bad = Quarantined { shard: 0, session, seq: Seq(3), what: "bad".into() };
    store.project(Projected { quarantine: vec![bad], ..step(0, 5, "a", "1") }).await.unwrap();
    assert!(is_moved(&store.project(step(5, 6, "a", "2")).await));
    let other = [(session, Seq(2))].into();
    assert!(is_moved(&store.project(Projected { held: other, ..step(5, 6, "a", "2") }).await));
    let held: BTreeMap<_, _> = [(session, Seq(3))].into();
    store.project(Projected { held: held.clone(), release: vec![session], ..step(5, 5, "a", "3") }).await.unwrap();
    assert!(is_moved(&store.project(Projected { held, ..step(5, 6, "a", "4") }).await));
    assert_eq!(store.document(&projection(), 0, "a").await.unwrap().as_deref(), Some("3"));
}

/// And it may begin again.
pub async fn a_dropped_projection_leaves_nothing(store: &SharedStore) {
    let newer = ProjectionId::new("counts", 2);
    let bad = Quarantined { shard: 0, session: new_session(), seq: Seq(1), what: "bad".into() };
    store.project(Projected { quarantine: vec![bad], ..step(0, 5, "a", "1") }).await.unwrap();
    store.project(Projected { projection: newer.clone(), ..step(0, 5, "a", "2") }).await.unwrap();
    store.drop_projection(&projection()).await.unwrap();
    assert_eq!(documents(store, &projection(), "").await, []);
    assert_eq!(store.quarantined(&projection()).await.unwrap(), []);
    assert_eq!(store.projections().await.unwrap(), std::slice::from_ref(&newer));
    assert_eq!(documents(store, &newer, "").await.len(), 1);
    store.project(step(0, 1, "a", "3")).await.unwrap();
    store.drop_projection(&ProjectionId::new("nobody", 9)).await.unwrap();
}
