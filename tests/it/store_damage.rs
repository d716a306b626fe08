//! Damage is found, named by session and seq, and makes nothing else unreadable.

use rekindle::session::{Seq, SessionId};
use rekindle::store::conformance::{all_events, all_rows, append, event_of, events, new_session};
use rekindle::store::{Expected, FeedCursor, OpenOptions, Row, SessionFilter, SharedStore, StoreError, verify_session};

use crate::store_fixture::Place;

/// A store with two sessions of eight events, closed.
async fn given_two_sessions() -> (Place, SessionId, SessionId) {
    let place = Place::new();
    let store = place.open().await;
    let (hurt, whole) = (new_session(), new_session());
    for session in [hurt, whole] {
        for _ in 0..4 {
            store.append(append(session, Expected::Any, events(2))).await.unwrap();
        }
    }
    store.close().await;
    (place, hurt, whole)
}

/// Changes the file with `statement`, in which `?1` is the session, and says what verification finds.
async fn after(statement: &str) -> (Place, SharedStore, SessionId, Result<u64, (Seq, String)>) {
    let (place, hurt, whole) = given_two_sessions().await;
    let changed = place.sql().execute(statement, [hurt.as_bytes()]).unwrap();
    assert!(changed > 0, "nothing was damaged by {statement}");
    let store = place.open().await;
    assert_eq!(verify_session(store.as_ref(), whole).await.unwrap().events, 8, "the other session suffers");
    assert_eq!(all_events(&store, whole).await.len(), 8);
    let verdict = match verify_session(store.as_ref(), hurt).await {
        Ok(verified) => Ok(verified.events),
        Err(StoreError::Damaged { session, seq, what }) if session == hurt => Err((seq, what)),
        Err(error) => panic!("{error:?}"),
    };
    (place, store, hurt, verdict)
}

#[tokio::test]
async fn a_changed_event_is_named() {
    let changes = [
        "update event set body = replace(body, 'what', 'That') where session_id = ?1 and seq = 3",
        "update event set body = body || ' ' where session_id = ?1 and seq = 3",
        "update event set kind = 'note.Added' where session_id = ?1 and seq = 3",
        "update event set v = 2 where session_id = ?1 and seq = 3",
        "update event set at = at + 1 where session_id = ?1 and seq = 3",
        "update event set source = 'user' where session_id = ?1 and seq = 3",
        "update event set cause = 1 where session_id = ?1 and seq = 3",
        "update event set must_understand = 1 where session_id = ?1 and seq = 3",
        "update event set event_id = randomblob(16) where session_id = ?1 and seq = 3",
        "update event set salt = randomblob(16) where session_id = ?1 and seq = 3",
        "update event set hash = randomblob(32) where session_id = ?1 and seq = 3",
        "update event set body = null, salt = null, digest = randomblob(32) where session_id = ?1 and seq = 3",
        // The same body, but with its digest, so that the salt could go: only a redaction may do that, and it blanks the body.
        "update event set salt = null where session_id = ?1 and seq = 3",
    ];
    for change in changes {
        let (_place, store, _, verdict) = after(change).await;
        assert!(matches!(verdict, Err((Seq(3), _))), "{change}: {verdict:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_row_that_is_no_event_is_named_and_the_rest_of_the_page_is_read() {
    let changes = [
        "update event set body = cast(x'7bff7d' as text) where session_id = ?1 and seq = 3",
        "update event set body = null where session_id = ?1 and seq = 3",
        "update event set kind = cast(x'ff' as text) where session_id = ?1 and seq = 3",
        "update event set v = 70000 where session_id = ?1 and seq = 3",
        "update event set source = 'nobody' where session_id = ?1 and seq = 3",
        "update event set cause = -1 where session_id = ?1 and seq = 3",
        "update event set must_understand = 2 where session_id = ?1 and seq = 3",
        "update event set event_id = x'00' where session_id = ?1 and seq = 3",
        "update event set salt = x'00' where session_id = ?1 and seq = 3",
        "update event set hash = x'00' where session_id = ?1 and seq = 3",
        "update event set body = null, blob = randomblob(32) where session_id = ?1 and seq = 3",
    ];
    for change in changes {
        let (_place, store, hurt, verdict) = after(change).await;
        assert!(matches!(verdict, Err((Seq(3), _))), "{change}: {verdict:?}");
        let rows = all_rows(&store, hurt, 100).await;
        assert_eq!(rows.len(), 8, "{change}");
        assert!(matches!(&rows[2], Row::Damaged { seq: Seq(3), .. }), "{change}: {:?}", rows[2]);
        assert!(rows.iter().filter(|row| matches!(row, Row::Event { .. })).count() == 7);
        let fed = store.feed(FeedCursor::default(), 100).await.unwrap();
        assert_eq!((fed.rows.len(), fed.damaged.len()), (15, 1), "{change}");
        assert_eq!((fed.damaged[0].event.session, fed.damaged[0].event.seq), (Some(hurt), Seq(3)), "{change}");
        store.close().await;
    }
}

#[tokio::test]
async fn missing_and_moved_events_are_named() {
    let swap = "update event set seq = case seq when 3 then -1 when 5 then -2 else seq end where session_id = ?1";
    let changes = [
        ("delete from event where session_id = ?1 and seq = 1", Seq(1)),
        ("delete from event where session_id = ?1 and seq = 3", Seq(3)),
        ("delete from event where session_id = ?1 and seq in (7, 8)", Seq(7)),
        ("delete from event where session_id = ?1", Seq(1)),
        (swap, Seq(3)),
        ("update event set seq = 9 where session_id = ?1 and seq = 8", Seq(8)),
    ];
    for (change, first_bad) in changes {
        let (_place, store, _, verdict) = after(change).await;
        let Err((seq, what)) = verdict else { panic!("{change}: {verdict:?}") };
        assert_eq!(seq, first_bad, "{change}: {what}");
        store.close().await;
    }
}

#[tokio::test]
async fn swapped_events_are_named() {
    let (place, hurt, _) = given_two_sessions().await;
    let sql = place.sql();
    for (from, to) in [(3, 100), (5, 3), (100, 5)] {
        sql.execute("update event set seq = ?3 where session_id = ?1 and seq = ?2", rusqlite::params![hurt.as_bytes(), from, to])
            .unwrap();
    }
    drop(sql);
    let store = place.open().await;
    let verdict = verify_session(store.as_ref(), hurt).await;
    assert!(matches!(verdict, Err(StoreError::Damaged { seq: Seq(3), .. })), "{verdict:?}");
    store.close().await;
}

#[tokio::test]
async fn a_head_that_does_not_fit_its_log_is_named_and_cannot_be_appended_to() {
    let changes = [
        "update session set head_seq = 6 where session_id = ?1",
        "update session set head_seq = 10 where session_id = ?1",
        "update session set head_hash = randomblob(32) where session_id = ?1",
    ];
    for change in changes {
        let (_place, store, _, verdict) = after(change).await;
        assert!(verdict.is_err(), "{change}: {verdict:?}");
        store.close().await;
    }
    let (_place, store, hurt, _) = after("update session set head_seq = 6 where session_id = ?1").await;
    // In one batch with others, which do not suffer.
    let (refused, other) = tokio::join!(
        store.append(append(hurt, Expected::Any, events(1))),
        store.append(append(new_session(), Expected::Any, events(1)))
    );
    assert!(matches!(&refused, Err(StoreError::Damaged { session, .. }) if *session == hurt), "{refused:?}");
    other.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_broken_session_row_is_named_and_left_out_of_lists() {
    let (place, hurt, whole) = given_two_sessions().await;
    place.sql().execute("update session set head_hash = x'00' where session_id = ?1", [hurt.as_bytes()]).unwrap();
    let store = place.open().await;
    assert!(matches!(store.session(hurt).await, Err(StoreError::Damaged { session, .. }) if session == hurt));
    let listed: Vec<_> = store.sessions(SessionFilter::All, 10).await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(listed, [whole]);
    store.close().await;
}

#[tokio::test]
async fn a_lost_long_body_is_named() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    let long = event_of(format!("\"{}\"", "x".repeat(100_000)));
    store.append(append(session, Expected::Any, vec![long])).await.unwrap();
    store.append(append(session, Expected::Any, events(1))).await.unwrap();
    store.close().await;
    for change in ["update blob set bytes = zeroblob(100002)", "delete from blob"] {
        place.sql().execute(change, []).unwrap();
        let store = place.open().await;
        let verdict = verify_session(store.as_ref(), session).await;
        assert!(matches!(verdict, Err(StoreError::Damaged { seq: Seq(1), .. })), "{change}: {verdict:?}");
        assert_eq!(all_rows(&store, session, 10).await.len(), 2);
        store.close().await;
    }
}

/// Overwrites each page of the file in turn: whatever is still read must be what was written, or be named as damaged.
#[tokio::test]
async fn a_damaged_page_is_never_read_as_something_else() {
    const PAGE: usize = 4096;
    let (place, hurt, whole) = given_two_sessions().await;
    let store = place.open().await;
    for _ in 0..20 {
        for session in [hurt, whole] {
            store.append(append(session, Expected::Any, events(10))).await.unwrap();
        }
    }
    let written = [all_events(&store, hurt).await, all_events(&store, whole).await];
    store.close().await;
    let good = std::fs::read(&place.path).unwrap();
    let mut found = 0;
    for page in 1..good.len() / PAGE {
        for pattern in [0x00, 0xa5] {
            let mut bad = good.clone();
            bad[page * PAGE + 40..page * PAGE + 1500].fill(pattern);
            let place = Place::new();
            std::fs::write(&place.path, &bad).unwrap();
            let Ok(store) = place.try_open(OpenOptions { read_only: true, ..OpenOptions::default() }).await else {
                found += 1;
                continue;
            };
            for (session, written) in [hurt, whole].into_iter().zip(&written) {
                match verify_session(store.as_ref(), session).await {
                    Ok(_) => assert_eq!(&all_events(&store, session).await, written, "page {page}"),
                    Err(StoreError::Damaged { session: named, .. }) => {
                        assert_eq!(named, session, "page {page}");
                        found += 1;
                    }
                    // The row of the session is gone, or the schema is.
                    Err(StoreError::Invalid(_) | StoreError::Unavailable(_)) => found += 1,
                    Err(error) => panic!("page {page}: {error:?}"),
                }
            }
            store.close().await;
        }
    }
    assert!(found > 10, "only {found} damages were found");
}
