//! Packing: whoever reads a packed session sees no difference, and what is taken out of it is gone.

use super::*;
use crate::session::{Body, Digest};
use crate::store::{Base, Directory, FeedCursor, MemoryStore, copy, verify_session};

/// Bodies of all kinds: short and odd ones, some that fill a segment, and one that has content of its own.
fn bodies() -> Vec<NewEvent> {
    let mut bodies = vec!["{}".to_owned(), r#"{"odd":"\u0000 \ud83d\ude00 é\\"}"#.to_owned(), "[1,2.50,null]".to_owned()];
    bodies.extend(
        (0..40).map(|number| format!(r#"{{"number":{number},"text":"{}"}}"#, "what an agent sees again and again ".repeat(130))),
    );
    bodies.push(format!(r#"{{"long":"{}"}}"#, "l".repeat(200_000)));
    bodies.extend((0..9).map(|number| format!(r#"{{"after":{number}}}"#)));
    bodies.into_iter().map(event_of).collect()
}

/// Ends a session.
async fn end(store: &SharedStore, session: SessionId) {
    let directory = Directory { phase: "closed".to_owned(), origin: "fresh".to_owned(), ..Directory::default() };
    let last = Append { directory: Some(directory), ..append(session, Expected::Any, vec![event("the end")]) };
    store.append(last).await.unwrap();
}

async fn ended(store: &SharedStore) -> SessionId {
    let session = new_session();
    store.append(append(session, Expected::NoSession, bodies())).await.unwrap();
    end(store, session).await;
    session
}

async fn fed(store: &SharedStore, session: SessionId) -> Vec<Row> {
    let (mut rows, mut cursor) = (Vec::new(), FeedCursor::default());
    loop {
        let page = store.feed(cursor.clone(), 16).await.unwrap();
        assert_eq!(page.damaged, []);
        rows.extend(
            page.rows.into_iter().map(|row| row.row).filter(|row| row.event().is_some_and(|event| event.session == session)),
        );
        if page.next == cursor {
            return rows;
        }
        cursor = page.next;
    }
}

/// All of it, in every order and by every way; packing it again changes nothing.
pub async fn a_packed_session_reads_as_before(store: &SharedStore) {
    let (session, other) = (ended(store).await, ended(store).await);
    store.redact(session, Seq(5)).await.unwrap();
    let (before, rows_of_other) = (all_rows(store, session, 512).await, all_rows(store, other, 512).await);
    let row = store.session(session).await.unwrap();
    for _ in 0..2 {
        store.pack(session).await.unwrap();
        assert_eq!(all_rows(store, session, 512).await, before);
        assert_eq!(all_rows(store, session, 7).await, before);
        assert_eq!(fed(store, session).await, before);
        let last = store.read(Read::last(session, 512)).await.unwrap().rows;
        assert!(last.iter().eq(before.iter().rev()));
        for seq in [1, 2, 20, 44, 54] {
            assert_eq!(store.read(Read::one(session, Seq(seq))).await.unwrap().rows, before[seq as usize - 1..seq as usize]);
        }
        assert_eq!(verify_session(store.as_ref(), session).await.unwrap().head, Seq(54));
        assert_eq!(store.session(session).await.unwrap(), row);
        assert_eq!(all_rows(store, other, 512).await, rows_of_other);
    }
}

/// A segment after the other.
pub async fn a_packed_session_is_read_in_pieces_as_before(store: &SharedStore) {
    let session = new_session();
    for _ in 0..4 {
        store.append(append(session, Expected::Any, bodies())).await.unwrap();
    }
    end(store, session).await;
    store.redact(session, Seq(60)).await.unwrap();
    let before = all_rows(store, session, 512).await;
    store.pack(session).await.unwrap();
    for (after, limit) in [(0, 512), (0, 100), (40, 64), (50, 130), (200, 512)] {
        in_pieces(store, Read { limit, ..Read::forward(session, Seq(after)) }).await;
    }
    assert_eq!(all_rows(store, session, 512).await, before);
}

/// From where it lay with others as well, which stay.
pub async fn what_is_redacted_in_a_packed_session_is_gone(store: &SharedStore) {
    let session = ended(store).await;
    let before = all_rows(store, session, 512).await;
    store.pack(session).await.unwrap();
    for seq in [2, 44, 10, 11, 2] {
        store.redact(session, Seq(seq)).await.unwrap();
    }
    let after = all_rows(store, session, 512).await;
    for (was, is) in before.iter().zip(&after) {
        if [2, 10, 11, 44].contains(&is.seq().0) {
            assert!(
                matches!(is, Row::Event { event, salt: None, digest: Some(_), .. } if event.body == Body::Redacted),
                "{is:?}"
            );
        } else {
            assert_eq!(was, is);
        }
    }
    verify_session(store.as_ref(), session).await.unwrap();
    assert_eq!(store.blob(session, Digest::of(bodies()[43].body.as_bytes())).await.unwrap(), None);
    for seq in 1..=54 {
        store.redact(session, Seq(seq)).await.unwrap();
    }
    assert!(all_events(store, session).await.iter().all(|event| event.body == Body::Redacted));
    verify_session(store.as_ref(), session).await.unwrap();
}

/// What came behind what was packed is readable before and after it is packed, too; a repeated append is known in each.
pub async fn a_packed_session_that_goes_on_is_packed_on(store: &SharedStore) {
    let session = new_session();
    let first = append(session, Expected::NoSession, bodies());
    store.append(first.clone()).await.unwrap();
    end(store, session).await;
    store.pack(session).await.unwrap();
    assert!(store.append(first.clone()).await.unwrap().repeated);
    store.append(append(session, Expected::Any, bodies())).await.unwrap();
    end(store, session).await;
    let before = all_rows(store, session, 512).await;
    assert_eq!(before.len(), 108);
    store.pack(session).await.unwrap();
    assert_eq!(all_rows(store, session, 512).await, before);
    assert!(store.append(first).await.unwrap().repeated);
    verify_session(store.as_ref(), session).await.unwrap();
}

/// Whichever of the two was packed.
pub async fn forks_of_packed_sessions_read_as_before(store: &SharedStore) {
    let parent = ended(store).await;
    let fork = forked(store, parent, 30, 12).await;
    end(store, fork).await;
    let before = all_rows(store, fork, 512).await;
    for session in [parent, fork] {
        store.pack(session).await.unwrap();
        assert_eq!(all_rows(store, fork, 512).await, before);
        verify_session(store.as_ref(), fork).await.unwrap();
    }
    let Some(Row::Event { hash, .. }) = before.get(19) else { panic!("no event 20") };
    let base = Base { session: fork, seq: Seq(20) };
    let second = new_session();
    store.append(append(second, Expected::Fork { base, hash: *hash }, events(1))).await.unwrap();
    assert_eq!(all_rows(store, second, 512).await[..20], before[..20]);
}

/// Nothing of it stays, and of others everything.
pub async fn a_packed_session_can_be_purged(store: &SharedStore) {
    let (session, other) = (ended(store).await, ended(store).await);
    let before = all_rows(store, other, 512).await;
    for session in [session, other] {
        store.pack(session).await.unwrap();
    }
    store.purge(session, Timestamp(1)).await.unwrap();
    assert_eq!(all_rows(store, session, 512).await, []);
    assert_eq!(all_rows(store, other, 512).await, before);
    assert!(store.pack(session).await.is_err());
}

/// Into a store of another kind: the same ids, salts and hashes.
pub async fn a_packed_session_is_copied_as_it_was(store: &SharedStore) {
    let session = ended(store).await;
    let before = all_rows(store, session, 512).await;
    store.pack(session).await.unwrap();
    let to: SharedStore = std::sync::Arc::new(MemoryStore::new());
    let copied = copy(store.as_ref(), to.as_ref(), |_| {}).await.unwrap();
    assert_eq!(copied.broken, []);
    assert_eq!(all_rows(&to, session, 512).await, before);
}

/// Byte for byte.
pub async fn content_of_a_packed_session_comes_back(store: &SharedStore) {
    let session = ended(store).await;
    let contents = [vec![], vec![7; 100_000], (0..=255).collect::<Vec<u8>>()];
    store.put_blobs(session, contents.to_vec()).await.unwrap();
    store.pack(session).await.unwrap();
    for content in contents {
        let digest = Digest::of(&content);
        assert_eq!(store.blob(session, digest).await.unwrap(), Some(content.clone()));
        assert_eq!(store.put_blob(session, content.clone()).await.unwrap(), digest);
        assert_eq!(store.blob(session, digest).await.unwrap(), Some(content));
    }
}

/// Nor what is not there.
pub async fn what_goes_on_is_not_packed(store: &SharedStore) {
    let session = new_session();
    given(store, session, 3).await;
    for session in [session, new_session()] {
        assert!(matches!(store.pack(session).await, Err(StoreError::Invalid(_))));
    }
    assert!(!store.packable(Timestamp(i64::MAX), 100).await.unwrap().contains(&session));
}
