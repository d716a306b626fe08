//! Appending the same again, because an answer was lost: it is done once, and answered each time.

use std::sync::Arc;

use super::*;
use crate::session::Epoch;

/// The same append at the same place.
pub async fn a_repeated_append_answers_what_the_first_did(store: &SharedStore) {
    let session = new_session();
    let append = append(session, Expected::NoSession, events(3));
    let first = store.append(append.clone()).await.unwrap();
    let again = store.append(append).await.unwrap();
    assert_eq!(again, Appended { repeated: true, ..first });
    assert_eq!(all_events(store, session).await.len(), 3);
}

/// Its `expected` no longer holds.
pub async fn a_repeated_append_is_answered_after_others_came(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    let append = append(session, Expected::Exact(Seq(1)), events(2));
    let first = store.append(append.clone()).await.unwrap();
    given(store, session, 5).await;
    assert_eq!(store.append(append).await.unwrap(), Appended { repeated: true, ..first });
    assert_eq!(all_events(store, session).await.len(), 8);
}

/// Where the head says nothing about whether it was done.
pub async fn a_repeated_append_is_answered_under_any(store: &SharedStore) {
    let session = new_session();
    let append = append(session, Expected::Any, events(2));
    let first = store.append(append.clone()).await.unwrap();
    given(store, session, 1).await;
    assert_eq!(store.append(append).await.unwrap(), Appended { repeated: true, ..first });
    assert_eq!(all_events(store, session).await.len(), 3);
}

/// Its epoch has passed.
pub async fn a_repeated_append_is_answered_after_a_takeover(store: &SharedStore) {
    let session = new_session();
    let append = Append { writer: Writer::Owner(Epoch(0)), ..append(session, Expected::Any, events(1)) };
    let first = store.append(append.clone()).await.unwrap();
    take_over(store, session, 1).await.unwrap();
    assert_eq!(store.append(append).await.unwrap(), Appended { repeated: true, ..first });
}

/// A takeover whose answer was lost.
pub async fn a_repeated_takeover_is_answered(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    let writer = Writer::Takeover { epoch: Epoch(1), node: new_node() };
    let append = Append { writer, ..append(session, Expected::Exact(Seq(1)), events(1)) };
    let first = store.append(append.clone()).await.unwrap();
    assert_eq!(store.append(append).await.unwrap(), Appended { repeated: true, ..first });
    assert_eq!(store.session(session).await.unwrap().unwrap().epoch, Epoch(1));
}

/// A body that does not lie in its row.
pub async fn a_repeated_long_body_is_recognised(store: &SharedStore) {
    let session = new_session();
    let long = event_of(format!("\"{}\"", "x".repeat(200_000)));
    let one = append(session, Expected::Any, vec![long.clone()]);
    store.append(one.clone()).await.unwrap();
    assert!(store.append(one).await.unwrap().repeated);
    let other = NewEvent { body: format!("\"{}\"", "y".repeat(200_000)), ..long };
    let reused = store.append(append(session, Expected::Any, vec![other])).await;
    assert!(matches!(reused, Err(StoreError::Reused { .. })), "{reused:?}");
}

/// The same append in one batch.
pub async fn the_same_append_at_once_from_many_callers_is_done_once(store: &SharedStore) {
    let session = new_session();
    let append = append(session, Expected::Any, events(2));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (store, append) = (Arc::clone(store), append.clone());
            tokio::spawn(async move { store.append(append).await.unwrap() })
        })
        .collect();
    let mut firsts = 0;
    for task in tasks {
        let appended = task.await.unwrap();
        assert_eq!((appended.first, appended.last), (Seq(1), Seq(2)));
        firsts += usize::from(!appended.repeated);
    }
    assert_eq!(firsts, 1);
    assert_eq!(all_events(store, session).await.len(), 2);
}

/// Each part of the content counts.
pub async fn an_id_with_other_content_is_reused(store: &SharedStore) {
    let session = new_session();
    let original = event("original");
    store.append(append(session, Expected::Any, vec![original.clone()])).await.unwrap();
    let changes: [fn(&mut NewEvent); 7] = [
        |event| event.body = "{}".to_owned(),
        |event| event.kind = Kind::known("note.other"),
        |event| event.v = 2,
        |event| event.at = Timestamp(7),
        |event| event.source = Source::User,
        |event| event.cause = Some(Seq(1)),
        |event| event.must_understand = true,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = original.clone();
        change(&mut changed);
        let reused = store.append(append(session, Expected::Any, vec![changed])).await;
        assert!(matches!(reused, Err(StoreError::Reused { event }) if event == original.id), "change {index}: {reused:?}");
    }
    assert_eq!(all_events(store, session).await.len(), 1);
}

/// An id is looked for where its session is stored: elsewhere it is refused or a new event, never answered as a repetition.
pub async fn an_id_of_another_session_is_no_repetition(store: &SharedStore) {
    let known = event("known");
    store.append(append(new_session(), Expected::Any, vec![known.clone()])).await.unwrap();
    let session = new_session();
    match store.append(append(session, Expected::Any, vec![event("new"), known])).await {
        Ok(appended) => assert!(!appended.repeated && appended.last == Seq(2), "{appended:?}"),
        Err(StoreError::Reused { .. }) => assert_eq!(store.session(session).await.unwrap(), None),
        Err(error) => panic!("{error:?}"),
    }
}

/// Some of its events are there, others not: it is no repetition.
pub async fn a_partly_repeated_append_is_refused(store: &SharedStore) {
    let session = new_session();
    let known = events(2);
    store.append(append(session, Expected::Any, known.clone())).await.unwrap();
    let mixes = [
        vec![known[0].clone(), known[1].clone(), event("new")],
        vec![event("new"), known[0].clone()],
        vec![known[1].clone(), known[0].clone()],
    ];
    for mixed in mixes {
        let refused = store.append(append(session, Expected::Any, mixed)).await;
        assert!(matches!(refused, Err(StoreError::Reused { .. })), "{refused:?}");
    }
    assert_eq!(all_events(store, session).await.len(), 2);
}

/// The same id twice at once.
pub async fn an_id_twice_in_one_append_is_invalid(store: &SharedStore) {
    let twice = event("twice");
    let refused = store.append(append(new_session(), Expected::Any, vec![twice.clone(), twice])).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

/// Takes a session over into `epoch`.
pub(super) async fn take_over(store: &SharedStore, session: SessionId, epoch: u64) -> Result<Appended, StoreError> {
    let writer = Writer::Takeover { epoch: Epoch(epoch), node: new_node() };
    store.append(Append { writer, ..append(session, Expected::Any, events(1)) }).await
}
