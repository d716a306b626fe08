//! What a store holds can be taken elsewhere and back, held, and purged, and stays what it was.

use std::sync::Arc;
use std::time::Duration;

use rekindle::session::{Digest, Seq, SessionId, Timestamp};
use rekindle::store::conformance::{all_rows, append, event, event_of, events, given, new_session};
use rekindle::store::{
    Backup, Change, DocumentWrite, Expected, FeedCursor, MemoryStore, OpenOptions, Order, PURGED, Projected, ProjectionId, Read,
    SessionFilter, SharedStore, StoreError, connect, copy, session_key, verify_session,
};

use crate::store_fixture::Place;

/// Sessions of all kinds, one after another in the feed.
async fn given_all_kinds(store: &SharedStore) -> Vec<SessionId> {
    let name = "a-name".parse().unwrap();
    let sessions = vec![new_session(), SessionId::named(&name), new_session()];
    for round in 0..4 {
        for session in &sessions {
            given(store, *session, 1 + round).await;
        }
    }
    store.name(sessions[1], &name).await.unwrap();
    // A long body, one that refers to content, one that is redacted.
    let long = format!(r#"{{"long":"{}"}}"#, "x".repeat(100_000));
    store.append(append(sessions[0], Expected::Any, vec![event_of(long)])).await.unwrap();
    let content = store.put_blob(sessions[2], b"a recording".to_vec()).await.unwrap();
    let refers = event_of(format!(r#"{{"trajectory":"{content}"}}"#));
    store.append(append(sessions[2], Expected::Any, vec![refers])).await.unwrap();
    store.redact(sessions[1], Seq(2)).await.unwrap();
    store.hold(sessions[0], Some("a lawsuit")).await.unwrap();
    sessions
}

/// Everything that the one says of its sessions, the other says too, to the byte.
async fn assert_same(one: &SharedStore, other: &SharedStore) {
    let rows = one.sessions(SessionFilter::All, 1000).await.unwrap();
    assert_eq!(other.sessions(SessionFilter::All, 1000).await.unwrap(), rows);
    for row in rows {
        assert_eq!(all_rows(one, row.id, 100).await, all_rows(other, row.id, 100).await);
        assert_eq!(one.keeping(row.id).await.unwrap(), other.keeping(row.id).await.unwrap());
        if row.directory.phase != PURGED {
            verify_session(other.as_ref(), row.id).await.unwrap();
        }
    }
}

/// The events of a store in the order of its feed, as far as it is told.
async fn fed(store: &SharedStore) -> Vec<(SessionId, Seq)> {
    let page = store.feed(FeedCursor::default(), 10_000).await.unwrap();
    page.rows.iter().filter_map(|row| row.event()).map(|event| (event.session, event.seq)).collect()
}

pub async fn a_copy_is_the_same_and_goes_on(from: &SharedStore, to: &SharedStore) {
    let sessions = given_all_kinds(from).await;
    let copied = copy(from.as_ref(), to.as_ref(), |_| {}).await.unwrap();
    assert_eq!((copied.sessions, copied.broken.len(), copied.moving.len()), (3, 0, 0), "{copied:?}");
    assert_same(from, to).await;
    assert_eq!(to.blob(sessions[2], Digest::of(b"a recording")).await.unwrap().as_deref(), Some(b"a recording".as_slice()));
    // Again, with what came since; and what was copied can be written to.
    given(from, sessions[1], 2).await;
    copy(from.as_ref(), to.as_ref(), |_| {}).await.unwrap();
    assert_same(from, to).await;
    given(to, sessions[1], 1).await;
    verify_session(to.as_ref(), sessions[1]).await.unwrap();
}

pub async fn a_session_that_went_on_differently_is_named_and_the_others_are_copied(from: &SharedStore, to: &SharedStore) {
    let (same, differs) = (new_session(), new_session());
    given(from, same, 3).await;
    given(from, differs, 3).await;
    given(to, differs, 5).await;
    let copied = copy(from.as_ref(), to.as_ref(), |_| {}).await.unwrap();
    assert_eq!(copied.broken.len(), 1, "{copied:?}");
    assert_eq!(copied.broken[0].0, differs);
    assert_eq!(all_rows(from, same, 10).await, all_rows(to, same, 10).await);
    assert_eq!(all_rows(to, differs, 10).await.len(), 5);
}

pub async fn a_purged_session_leaves_its_head_and_nothing_else(store: &SharedStore) {
    let (gone, stays) = (new_session(), new_session());
    let before = given(store, gone, 3).await;
    given(store, stays, 2).await;
    let long = format!(r#"{{"long":"{}"}}"#, "y".repeat(100_000));
    let content = Digest::of(long.as_bytes());
    store.append(append(gone, Expected::Any, vec![event_of(long)])).await.unwrap();
    store.hold(gone, Some("a lawsuit")).await.unwrap();
    let held = store.purge(gone, Timestamp(7)).await;
    assert!(matches!(&held, Err(StoreError::Invalid(why)) if why.contains("a lawsuit")), "{held:?}");
    assert_eq!(all_rows(store, gone, 10).await.len(), 4);
    store.hold(gone, None).await.unwrap();
    store.purge(gone, Timestamp(7)).await.unwrap();
    store.purge(gone, Timestamp(8)).await.unwrap();
    let read = Read { session: gone, after: Seq::ZERO, upto: Seq(9), order: Order::OldestFirst, limit: 10 };
    assert_eq!(store.read(read).await.unwrap().rows, []);
    assert_eq!(store.blob(gone, content).await.unwrap(), None);
    let row = store.session(gone).await.unwrap().unwrap();
    assert_eq!((row.head, row.directory.phase.as_str()), (Seq(4), PURGED));
    assert_eq!(store.keeping(gone).await.unwrap().unwrap().purged_at, Some(Timestamp(7)));
    assert!(before.last < row.head);
    for expected in [Expected::Any, Expected::NoSession, Expected::Exact(Seq(4))] {
        let refused = store.append(append(gone, expected, vec![event("again")])).await;
        assert!(matches!(&refused, Err(StoreError::Invalid(why)) if why.contains("purged")), "{refused:?}");
    }
    given(store, stays, 1).await;
    let page = store.feed(FeedCursor::default(), 100).await.unwrap();
    assert_eq!((page.rows.len(), page.damaged.len()), (3, 0));
    assert!(page.rows.iter().filter_map(|row| row.event()).all(|event| event.session == stays));
    let unknown = store.purge(new_session(), Timestamp(7)).await;
    assert!(matches!(unknown, Err(StoreError::Invalid(_))), "{unknown:?}");
}

/// A session whose content lies beside that of `session`.
async fn neighbour(store: &SharedStore, session: SessionId, content: Digest) -> SessionId {
    assert!(store.blob(session, content).await.unwrap().is_some());
    for _ in 0..10_000 {
        let other = new_session();
        if store.blob(other, content).await.unwrap().is_some() {
            return other;
        }
    }
    panic!("no session shares a shard with {session}");
}

/// An event that refers to content in its body.
fn refers_to(content: Digest) -> rekindle::session::NewEvent {
    event_of(format!(r#"{{"trajectory":"{content}"}}"#))
}

pub async fn content_goes_with_the_last_session_that_was_given_it(store: &SharedStore) {
    let first = new_session();
    let (own, shared) = (b"its own".to_vec(), b"a recording of both".to_vec());
    let alone = store.put_blob(first, own).await.unwrap();
    let content = store.put_blob(first, shared.clone()).await.unwrap();
    let second = neighbour(store, first, content).await;
    assert_eq!(store.put_blob(second, shared.clone()).await.unwrap(), content);
    for session in [first, second] {
        store.append(append(session, Expected::NoSession, vec![refers_to(content)])).await.unwrap();
    }
    store.append(append(first, Expected::Any, vec![refers_to(alone)])).await.unwrap();
    store.purge(first, Timestamp(7)).await.unwrap();
    assert_eq!(store.blob(first, alone).await.unwrap(), None, "nobody else refers to it");
    assert_eq!(store.blob(second, content).await.unwrap(), Some(shared));
    verify_session(store.as_ref(), second).await.unwrap();
    store.purge(second, Timestamp(8)).await.unwrap();
    assert_eq!(store.blob(second, content).await.unwrap(), None);
}

pub async fn what_projections_keep_of_a_purged_session_is_gone_and_stays_so(store: &SharedStore) {
    let (gone, stays) = (new_session(), new_session());
    given(store, gone, 2).await;
    given(store, stays, 2).await;
    let projection = ProjectionId::new("test", 1);
    let page = store.feed(FeedCursor::default(), 100).await.unwrap();
    let shard_of = |session: SessionId| {
        page.rows.iter().find(|row| row.event().is_some_and(|event| event.session == session)).unwrap().shard
    };
    let keep = |session: SessionId, from: u64, to: u64| Projected {
        projection: projection.clone(),
        shard: shard_of(session),
        from,
        to,
        held: std::collections::BTreeMap::new(),
        writes: vec![DocumentWrite { key: session_key(session), change: Change::Put("1".to_owned()) }],
        quarantine: Vec::new(),
        release: Vec::new(),
    };
    let next = u64::from(shard_of(gone) == shard_of(stays));
    store.project(keep(gone, 0, 1)).await.unwrap();
    store.project(keep(stays, next, next + 1)).await.unwrap();
    store.purge(gone, Timestamp(7)).await.unwrap();
    let kept = async || {
        let documents = store.documents(&projection, "session/").await.unwrap();
        documents.into_iter().map(|document| document.key).collect::<Vec<_>>()
    };
    assert_eq!(kept().await, [session_key(stays)]);
    // A projection that read the session's events before the purge, and writes after it.
    let at = store.checkpoint(&projection).await.unwrap();
    let late = if next == 1 { 2 } else { 1 };
    assert!(!at.covers(&store.feed_head().await.unwrap()));
    store.project(keep(gone, late, late + 1)).await.unwrap();
    assert_eq!(kept().await, [session_key(stays)]);
}

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn memory_to_file_and_back() {
    let place = Place::new();
    let file = place.open().await;
    a_copy_is_the_same_and_goes_on(&memory(), &file).await;
    file.close().await;
    let file = place.open().await;
    let back = memory();
    copy(file.as_ref(), back.as_ref(), |_| {}).await.unwrap();
    assert_same(&file, &back).await;
    assert_eq!(fed(&file).await, fed(&back).await);
    file.close().await;
}

#[tokio::test]
async fn what_went_on_differently_is_named() {
    let place = Place::new();
    let file = place.open().await;
    a_session_that_went_on_differently_is_named_and_the_others_are_copied(&memory(), &file).await;
    file.close().await;
}

#[tokio::test]
async fn purging_in_memory_and_in_a_file() {
    a_purged_session_leaves_its_head_and_nothing_else(&memory()).await;
    let place = Place::new();
    let file = place.open().await;
    a_purged_session_leaves_its_head_and_nothing_else(&file).await;
    content_goes_with_the_last_session_that_was_given_it(&memory()).await;
    content_goes_with_the_last_session_that_was_given_it(&file).await;
    for store in [memory(), Place::new().open().await] {
        what_projections_keep_of_a_purged_session_is_gone_and_stays_so(&store).await;
        store.close().await;
    }
    // What was purged is copied as what it is now.
    let other = memory();
    copy(file.as_ref(), other.as_ref(), |_| {}).await.unwrap();
    file.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_store_in_use_is_whole() {
    let place = Place::new();
    let store = place.open().await;
    let sessions: Vec<_> = (0..8).map(|_| new_session()).collect();
    for session in &sessions {
        given(&store, *session, 20).await;
    }
    let writers: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (store, session) = (Arc::clone(&store), *session);
            tokio::spawn(async move {
                for _ in 0..200 {
                    store.append(append(session, Expected::Any, events(2))).await.unwrap();
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let to = place.directory.path().join("backup.db");
    assert_eq!(store.backup(&to).await.unwrap(), Backup::Made);
    let again = store.backup(&to).await;
    assert!(matches!(again, Err(StoreError::Invalid(_))), "{again:?}");
    for writer in writers {
        writer.await.unwrap();
    }
    store.close().await;
    let backup = connect(&format!("sqlite://{}", to.display()), OpenOptions::default()).await.unwrap();
    for session in sessions {
        let verified = verify_session(backup.as_ref(), session).await.unwrap();
        assert!(verified.head >= Seq(20));
    }
    backup.close().await;
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::postgres_server::shared;

    async fn served() -> SharedStore {
        let url = shared().fresh_database().await;
        connect(&url, OpenOptions::default()).await.unwrap()
    }

    #[tokio::test]
    async fn file_to_server_and_back() {
        let (place, server) = (Place::new(), served().await);
        let file = place.open().await;
        a_copy_is_the_same_and_goes_on(&file, &server).await;
        let back = memory();
        copy(server.as_ref(), back.as_ref(), |_| {}).await.unwrap();
        assert_same(&server, &back).await;
        server.close().await;
        file.close().await;
    }

    /// The source gets ahead, and at the same moment the copy is written to and brought up to date.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_into_a_store_in_use_never_stands_in_the_way_of_appends() {
        const SESSIONS: usize = 60;
        let server = crate::postgres_server::Server::start();
        let to = connect(&server.fresh_database().await, OpenOptions::default()).await.unwrap();
        let from = memory();
        let sessions: Vec<SessionId> = (0..SESSIONS).map(|_| new_session()).collect();
        for round in 0..8 {
            for session in &sessions {
                from.append(append(*session, Expected::Any, events(4))).await.unwrap();
            }
            let writer = tokio::spawn({
                let (to, sessions) = (Arc::clone(&to), sessions.clone());
                async move {
                    // Only those of this round's share go on differently; a store that knows no such session begins it.
                    for session in sessions.iter().skip(round).step_by(8) {
                        to.append(append(*session, Expected::Any, events(1))).await.unwrap();
                    }
                }
            });
            let copied = copy(from.as_ref(), to.as_ref(), |_| {}).await.unwrap();
            writer.await.unwrap();
            assert!(copied.broken.len() <= SESSIONS, "{copied:?}");
        }
        to.close().await;
        assert!(!server.log().contains("deadlock"), "{}", server.log());
    }

    #[tokio::test]
    async fn what_went_on_differently_is_named() {
        let server = served().await;
        a_session_that_went_on_differently_is_named_and_the_others_are_copied(&memory(), &server).await;
        server.close().await;
    }

    #[tokio::test]
    async fn purging_on_a_server() {
        let server = served().await;
        a_purged_session_leaves_its_head_and_nothing_else(&server).await;
        content_goes_with_the_last_session_that_was_given_it(&server).await;
        what_projections_keep_of_a_purged_session_is_gone_and_stays_so(&server).await;
        server.close().await;
    }
}
