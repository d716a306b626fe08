//! The feed of all sessions, and the rings that say when to look at it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::store::FeedCursor;

async fn drain(store: &SharedStore, cursor: &mut FeedCursor, limit: u32) -> Vec<Recorded> {
    let mut events = Vec::new();
    loop {
        let page = store.feed(cursor.clone(), limit).await.unwrap();
        assert!(page.damaged.is_empty(), "{:?}", page.damaged);
        assert!(page.rows.len() <= limit as usize);
        if page.rows.is_empty() {
            assert_eq!(page.next, *cursor);
            return events;
        }
        events.extend(page.rows.into_iter().map(|row| into_event(row.row)));
        *cursor = page.next;
    }
}

/// All of them.
pub async fn the_feed_has_all_events_in_commit_order(store: &SharedStore) {
    let (one, other) = (new_session(), new_session());
    for session in [one, other, one, one, other] {
        given(store, session, 2).await;
    }
    let fed = drain(store, &mut FeedCursor::default(), 3).await;
    for session in [one, other] {
        let of_session: Vec<_> = fed.iter().filter(|event| event.session == session).cloned().collect();
        assert_eq!(of_session, all_events(store, session).await);
    }
    assert_eq!(fed.len(), 10);
    // The order of a shard is that of its commits, which is known here where both are in one.
    let page = store.feed(FeedCursor::default(), 100).await.unwrap();
    if page.rows.iter().all(|row| row.shard == page.rows[0].shard) {
        let places: Vec<_> = page.rows.iter().filter_map(|row| row.event()).map(|event| (event.session, event.seq.0)).collect();
        let expected =
            [(one, 1), (one, 2), (other, 1), (other, 2), (one, 3), (one, 4), (one, 5), (one, 6), (other, 3), (other, 4)];
        assert_eq!(places, expected);
    }
    for shard in page.rows.iter().map(|row| row.shard) {
        let positions: Vec<_> = page.rows.iter().filter(|row| row.shard == shard).map(|row| row.pos).collect();
        assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
    }
}

/// A cursor is a place to go on from.
pub async fn the_feed_goes_on_from_its_cursor(store: &SharedStore) {
    let session = new_session();
    let mut cursor = FeedCursor::default();
    assert_eq!(drain(store, &mut cursor, 10).await, []);
    given(store, session, 3).await;
    assert_eq!(drain(store, &mut cursor, 10).await.len(), 3);
    assert_eq!(drain(store, &mut cursor, 10).await, []);
    given(store, session, 1).await;
    assert_eq!(drain(store, &mut cursor, 10).await[0].seq, Seq(4));
}

/// A reader that keeps up while many write sees every event once, and each session in order.
pub async fn the_feed_misses_nothing_while_many_write(store: &SharedStore) {
    let sessions: Vec<_> = (0..8).map(|_| new_session()).collect();
    let writers: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (store, session) = (Arc::clone(store), *session);
            tokio::spawn(async move {
                for count in 0..40 {
                    given(&store, session, 1 + count % 3).await;
                }
            })
        })
        .collect();
    let mut cursor = FeedCursor::default();
    let mut last: BTreeMap<SessionId, Seq> = BTreeMap::new();
    loop {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        for event in drain(store, &mut cursor, 50).await {
            let seq = last.entry(event.session).or_default();
            assert_eq!(event.seq, seq.next(), "session {}", event.session);
            *seq = event.seq;
        }
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    for session in sessions {
        let head = store.session(session).await.unwrap().unwrap().head;
        assert_eq!(last.get(&session), Some(&head));
    }
}

/// Whoever listens hears.
pub async fn a_commit_rings(store: &SharedStore) {
    let session = new_session();
    let mut listener = store.wake_ups();
    given(store, session, 1).await;
    listener.rung_for(session).await;
    let waiting = tokio::spawn(async move { listener.rung_for(session).await });
    given(store, session, 1).await;
    waiting.await.unwrap();
}

/// A listener looks by itself now and then, since rings may be lost.
pub async fn a_wait_without_commits_ends(store: &SharedStore) {
    let mut listener = store.wake_ups();
    let waited = tokio::time::timeout(Duration::from_secs(60), listener.rung_for(new_session())).await;
    assert!(waited.is_ok());
}

/// Also those who listen to no session in particular.
pub async fn a_commit_rings_for_whoever_follows_all(store: &SharedStore) {
    let mut listener = store.wake_ups();
    given(store, new_session(), 1).await;
    listener.rung().await;
    let waiting = tokio::spawn(async move { listener.rung().await });
    given(store, new_session(), 1).await;
    waiting.await.unwrap();
}

/// Whoever has read all is there.
pub async fn the_head_of_the_feed_is_where_it_ends(store: &SharedStore) {
    let mut cursor = FeedCursor::default();
    assert_eq!(store.feed_head().await.unwrap(), cursor);
    given(store, new_session(), 3).await;
    given(store, new_session(), 2).await;
    let head = store.feed_head().await.unwrap();
    assert_eq!(cursor.behind(&head), 5);
    drain(store, &mut cursor, 2).await;
    assert_eq!(cursor, head);
}

/// A cursor of another store, or of a later state of this one, must not wait in silence for the feed to come by.
pub async fn a_cursor_ahead_of_the_feed_is_refused(store: &SharedStore) {
    let mut far = FeedCursor::default();
    far.advance(0, u64::from(u32::MAX));
    given(store, new_session(), 3).await;
    let refused = store.feed(far, 10).await;
    assert!(matches!(refused, Err(StoreError::Ahead { shard: 0, .. })), "{refused:?}");
}
