//! Forks: one log with what they share, and the other session as it was.

use super::storage::a_snapshot;
use super::*;
use crate::session::Digest;
use crate::store::{Base, FeedCursor, SessionFilter, verify_session};

/// The chain hash at an event, as any reader of `session` sees it.
async fn hash_at(store: &SharedStore, session: SessionId, seq: u64) -> Digest {
    let rows = store.read(range(session, seq - 1, seq, Order::OldestFirst, 1)).await.unwrap().rows;
    match rows.first() {
        Some(Row::Event { hash, .. }) => *hash,
        other => panic!("event {seq} of {session}: {other:?}"),
    }
}

/// The append that begins a fork of `parent` behind `seq`.
pub async fn a_fork_of(store: &SharedStore, parent: SessionId, seq: u64, fork: SessionId, count: usize) -> Append {
    let hash = hash_at(store, parent, seq).await;
    append(fork, Expected::Fork { base: Base { session: parent, seq: Seq(seq) }, hash }, events(count))
}

/// Begins a fork of `parent` behind `seq`.
pub async fn forked(store: &SharedStore, parent: SessionId, seq: u64, count: usize) -> SessionId {
    let fork = new_session();
    store.append(a_fork_of(store, parent, seq, fork, count).await).await.unwrap();
    fork
}

/// It goes on behind the event that it has last in common, and its row says so.
pub async fn a_fork_goes_on_where_the_other_log_was_left(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 9).await;
    let fork = new_session();
    let begun = store.append(a_fork_of(store, parent, 6, fork, 2).await).await.unwrap();
    assert_eq!((begun.first, begun.last, begun.repeated), (Seq(7), Seq(8), false));
    let row = store.session(fork).await.unwrap().unwrap();
    assert_eq!((row.head, row.hash, row.base), (Seq(8), begun.hash, Some(Base { session: parent, seq: Seq(6) })));
    assert_eq!((row.epoch.0, row.owner), (0, None));
    let further = store.append(append(fork, Expected::Exact(Seq(8)), events(3))).await.unwrap();
    assert_eq!((further.first, further.last), (Seq(9), Seq(11)));
    assert!(is_conflict(&store.append(append(fork, Expected::Exact(Seq(8)), events(1))).await, 11));
    assert_eq!(seqs(&all_rows(store, fork, 512).await), (1..=11).collect::<Vec<_>>());
    assert_eq!(verify_session(store.as_ref(), fork).await.unwrap().events, 11);
    assert_eq!(store.session(parent).await.unwrap().unwrap().base, None);
}

/// Whatever happens to the fork, and also while both go on.
pub async fn a_fork_leaves_the_other_session_as_it_was(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 5).await;
    let (before, row) = (all_rows(store, parent, 512).await, store.session(parent).await.unwrap());
    let fork = forked(store, parent, 3, 2).await;
    given(store, fork, 4).await;
    assert_eq!(all_rows(store, parent, 512).await, before);
    assert_eq!(store.session(parent).await.unwrap(), row);
    given(store, parent, 2).await;
    let shared = &all_rows(store, fork, 512).await[..3];
    assert_eq!(shared, &before[..3], "the same events, byte for byte, and under the session that holds them");
    assert_eq!(verify_session(store.as_ref(), parent).await.unwrap().events, 7);
    assert_eq!(verify_session(store.as_ref(), fork).await.unwrap().events, 9);
}

/// In both orders, from every place, in pages of every size.
pub async fn pages_of_a_fork_cross_into_what_it_shares(store: &SharedStore) {
    let root = new_session();
    given(store, root, 6).await;
    let middle = forked(store, root, 4, 3).await;
    let fork = forked(store, middle, 6, 2).await;
    let whole = seqs(&all_rows(store, fork, 512).await);
    assert_eq!(whole, (1..=8).collect::<Vec<_>>());
    for limit in 1..=9 {
        assert_eq!(seqs(&all_rows(store, fork, limit).await), whole, "in pages of {limit}");
    }
    for (after, upto) in (0..=9).flat_map(|after| (0..=9).map(move |upto| (after, upto))) {
        let wanted: Vec<u64> = whole.iter().copied().filter(|seq| *seq > after && *seq <= upto).collect();
        for limit in [1, 2, 3, 5, 8] {
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let page = store.read(range(fork, after, upto, order, limit)).await.unwrap();
                let mut in_order = wanted.clone();
                if order == Order::NewestFirst {
                    in_order.reverse();
                }
                let length = in_order.len().min(limit as usize);
                assert_eq!(seqs(&page.rows), in_order[..length], "after {after} up to {upto}, {limit} at most, {order:?}");
                assert_eq!(page.more, length < in_order.len(), "after {after} up to {upto}, {limit} at most, {order:?}");
            }
        }
    }
}

/// It lies on the session that really holds the event, however often that was forked in between.
pub async fn a_fork_of_a_fork_lies_on_the_session_that_holds_the_event(store: &SharedStore) {
    let root = new_session();
    given(store, root, 5).await;
    let middle = forked(store, root, 4, 3).await;
    let low = forked(store, middle, 2, 1).await;
    let at_the_cut = forked(store, middle, 4, 1).await;
    let high = forked(store, middle, 6, 1).await;
    for (fork, session, seq) in [(low, root, 2), (at_the_cut, root, 4), (high, middle, 6)] {
        let base = store.session(fork).await.unwrap().unwrap().base;
        assert_eq!(base, Some(Base { session, seq: Seq(seq) }));
        assert_eq!(verify_session(store.as_ref(), fork).await.unwrap().events, seq + 1);
    }
    let mut deepest = root;
    for depth in 0..20 {
        deepest = forked(store, deepest, 5 + depth, 1).await;
    }
    assert_eq!(seqs(&all_rows(store, deepest, 7).await), (1..=25).collect::<Vec<_>>());
    assert_eq!(verify_session(store.as_ref(), deepest).await.unwrap().events, 25);
}

/// What is not there, or is another event, cannot be gone on from.
pub async fn a_fork_needs_the_event_that_it_names(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 3).await;
    let hash = hash_at(store, parent, 2).await;
    let at = |session, seq, hash| Expected::Fork { base: Base { session, seq: Seq(seq) }, hash };
    for expected in [
        at(parent, 2, Digest::ZERO),
        at(parent, 3, hash),
        at(parent, 4, hash),
        at(parent, 0, Digest::ZERO),
        at(new_session(), 2, hash),
    ] {
        let fork = new_session();
        let refused = store.append(append(fork, expected, events(1))).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{expected:?}: {refused:?}");
        assert_eq!(store.session(fork).await.unwrap(), None);
    }
}

/// Only a new session can be a fork.
pub async fn a_fork_is_refused_where_there_is_a_session(store: &SharedStore) {
    let (parent, other) = (new_session(), new_session());
    given(store, parent, 3).await;
    given(store, other, 2).await;
    let begin = a_fork_of(store, parent, 2, other, 1).await;
    assert!(is_conflict(&store.append(begin).await, 2));
    let fork = forked(store, parent, 2, 1).await;
    let again = a_fork_of(store, parent, 2, fork, 1).await;
    assert!(is_conflict(&store.append(again).await, 3));
}

/// As with every append whose answer was lost.
pub async fn a_fork_that_is_begun_again_is_the_same(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 3).await;
    let fork = new_session();
    let begin = a_fork_of(store, parent, 2, fork, 2).await;
    let first = store.append(begin.clone()).await.unwrap();
    let again = store.append(begin.clone()).await.unwrap();
    assert_eq!((again.first, again.last, again.hash, again.repeated), (first.first, first.last, first.hash, true));
    given(store, fork, 2).await;
    assert!(store.append(begin).await.unwrap().repeated);
    assert_eq!(store.session(fork).await.unwrap().unwrap().head, Seq(6));
}

/// Shared history stands there once.
pub async fn the_feed_holds_what_a_fork_wrote_itself(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 4).await;
    let fork = forked(store, parent, 3, 2).await;
    let mut seen = Vec::new();
    let mut cursor = FeedCursor::default();
    loop {
        let page = store.feed(cursor.clone(), 100).await.unwrap();
        if page.next == cursor {
            break;
        }
        seen.extend(page.rows.iter().filter_map(|row| row.event().map(|event| (event.session, event.seq.0))));
        cursor = page.next;
    }
    seen.sort_unstable();
    let mut wanted: Vec<_> = (1..=4).map(|seq| (parent, seq)).chain([(fork, 4), (fork, 5)]).collect();
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    assert_eq!(store.sessions(SessionFilter::All, 10).await.unwrap().len(), 2);
}

/// Content and snapshots that the shared history has.
pub async fn a_fork_finds_what_its_history_was_given(store: &SharedStore) {
    let parent = new_session();
    let kept = store.put_blob(parent, b"a recording".to_vec()).await.unwrap();
    given(store, parent, 9).await;
    let long = format!("\"{}\"", "x".repeat(200_000));
    store.append(append(parent, Expected::Any, vec![event_of(long.clone())])).await.unwrap();
    store.put_snapshot(a_snapshot(parent, 4, "r1")).await.unwrap();
    store.put_snapshot(a_snapshot(parent, 8, "r1")).await.unwrap();
    let low = forked(store, parent, 6, 3).await;
    let fork = forked(store, parent, 10, 3).await;
    assert_eq!(store.blob(low, kept).await.unwrap().as_deref(), Some(b"a recording".as_slice()));
    assert_eq!(all_events(store, fork).await[9].body.as_json(), long);
    let newest = async |session, upto| store.snapshot(session, "r1", Seq(upto)).await.unwrap().map(|found| found.seq.0);
    assert_eq!(newest(low, 100).await, Some(4), "a snapshot behind the base is of another history");
    assert_eq!((newest(fork, 100).await, newest(fork, 6).await, newest(low, 3).await), (Some(8), Some(4), None));
    store.put_snapshot(a_snapshot(fork, 12, "r1")).await.unwrap();
    assert_eq!((newest(fork, 100).await, newest(fork, 11).await), (Some(12), Some(8)));
}

/// A state of the fork may hold what the body said.
pub async fn redacting_drops_the_snapshots_of_forks(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 5).await;
    let fork = forked(store, parent, 4, 2).await;
    let below = forked(store, fork, 5, 2).await;
    let apart = forked(store, parent, 1, 2).await;
    for session in [fork, below, apart] {
        store.put_snapshot(a_snapshot(session, 3, "r1")).await.unwrap();
    }
    store.redact(parent, Seq(2)).await.unwrap();
    for (session, left) in [(fork, false), (below, false), (apart, true)] {
        assert_eq!(store.snapshot(session, "r1", Seq(10)).await.unwrap().is_some(), left, "{session}");
        verify_session(store.as_ref(), session).await.unwrap();
    }
}

/// A fork would lose its history.
pub async fn what_a_fork_reads_is_not_purged(store: &SharedStore) {
    let parent = new_session();
    given(store, parent, 5).await;
    let fork = forked(store, parent, 4, 2).await;
    let refused = store.purge(parent, Timestamp(1)).await;
    assert!(matches!(&refused, Err(StoreError::Invalid(why)) if why.contains(&fork.to_string())), "{refused:?}");
    assert_eq!(all_rows(store, fork, 512).await.len(), 6);
    store.hold(fork, Some("evidence")).await.unwrap();
    assert!(store.purge(fork, Timestamp(1)).await.is_err());
    store.hold(fork, None).await.unwrap();
    store.purge(fork, Timestamp(1)).await.unwrap();
    assert_eq!(store.read(range(fork, 0, 10, Order::OldestFirst, 10)).await.unwrap().rows, [], "a purged fork reads nothing");
    store.purge(parent, Timestamp(1)).await.unwrap();
    assert!(
        store
            .append(append(
                new_session(),
                Expected::Fork { base: Base { session: parent, seq: Seq(4) }, hash: Digest::ZERO },
                events(1)
            ))
            .await
            .is_err()
    );
}
