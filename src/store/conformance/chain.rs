//! The chain: what was appended verifies, and still does once a body was taken out.

use super::storage::a_snapshot;
use super::*;
use crate::session::{Body, Digest};
use crate::store::{Verified, Verifier, verify_session};

/// Nothing is wrong with what was just written.
pub async fn the_chain_of_a_session_verifies(store: &SharedStore) {
    let (session, other) = (new_session(), new_session());
    for count in [1, 5, 2] {
        given(store, session, count).await;
        given(store, other, 1).await;
    }
    let hash = store.session(session).await.unwrap().unwrap().hash;
    let verified = verify_session(store.as_ref(), session).await.unwrap();
    assert_eq!(verified, Verified { events: 8, head: Seq(8), hash });
}

/// Also where it does not fit into one page.
pub async fn the_chain_verifies_across_pages(store: &SharedStore) {
    let session = new_session();
    given(store, session, 3000).await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 3000);
}

/// As after a snapshot.
pub async fn the_chain_verifies_from_an_anchor(store: &SharedStore) {
    let session = new_session();
    let anchor = given(store, session, 4).await;
    let head = given(store, session, 3).await;
    let mut verifier = Verifier::from_anchor(session, anchor.last, anchor.hash);
    for row in store.read(Read::forward(session, anchor.last)).await.unwrap().rows {
        verifier.check(&row).unwrap();
    }
    assert_eq!(verifier.finish(head.last, head.hash).unwrap().events, 3);
    let mut elsewhere = Verifier::from_anchor(session, anchor.last, Digest::ZERO);
    let rows = store.read(Read::forward(session, anchor.last)).await.unwrap().rows;
    assert!(elsewhere.check(&rows[0]).is_err());
}

/// Its salt goes as well.
pub async fn a_redacted_body_is_gone_and_the_chain_still_holds(store: &SharedStore) {
    let session = new_session();
    let secret = append(session, Expected::Any, vec![event("before"), event("hunter2"), event("after")]);
    store.append(secret.clone()).await.unwrap();
    store.redact(session, Seq(2)).await.unwrap();
    let rows = all_rows(store, session, 10).await;
    let Row::Event { event, salt: None, digest: Some(_), .. } = &rows[1] else { panic!("{:?}", rows[1]) };
    assert_eq!(event.body, Body::Redacted);
    assert!(!format!("{rows:?}").contains("hunter2"));
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 3);
    given(store, session, 1).await;
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 4);
    assert!(store.append(secret).await.unwrap().repeated, "what is redacted still counts as appended");
}

/// Also from where long bodies are kept.
pub async fn a_redacted_long_body_is_gone(store: &SharedStore) {
    let session = new_session();
    let body = format!("\"{}\"", "s".repeat(200_000));
    store.append(append(session, Expected::Any, vec![event_of(body.clone()), event("after")])).await.unwrap();
    store.redact(session, Seq(1)).await.unwrap();
    assert_eq!(all_events(store, session).await[0].body, Body::Redacted);
    assert_eq!(store.blob(session, Digest::of(body.as_bytes())).await.unwrap(), None);
    assert_eq!(verify_session(store.as_ref(), session).await.unwrap().events, 2);
}

/// It is done already.
pub async fn redacting_twice_changes_nothing(store: &SharedStore) {
    let session = new_session();
    given(store, session, 2).await;
    store.redact(session, Seq(1)).await.unwrap();
    let once = all_rows(store, session, 10).await;
    store.redact(session, Seq(1)).await.unwrap();
    assert_eq!(all_rows(store, session, 10).await, once);
}

/// There is nothing to take out.
pub async fn redacting_what_is_not_there_is_invalid(store: &SharedStore) {
    let session = new_session();
    given(store, session, 2).await;
    for (of, seq) in [(session, 0), (session, 3), (new_session(), 1)] {
        let refused = store.redact(of, Seq(seq)).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{seq}: {refused:?}");
    }
}

/// A state may hold what the body said.
pub async fn redacting_drops_the_snapshots_that_saw_the_body(store: &SharedStore) {
    let session = new_session();
    given(store, session, 10).await;
    for seq in [4, 8] {
        store.put_snapshot(a_snapshot(session, seq, "r1")).await.unwrap();
    }
    store.redact(session, Seq(5)).await.unwrap();
    assert_eq!(store.snapshot(session, "r1", Seq(10)).await.unwrap().unwrap().seq, Seq(4));
}

/// There is nothing to say about it.
pub async fn a_session_that_is_not_there_cannot_be_verified(store: &SharedStore) {
    assert!(matches!(verify_session(store.as_ref(), new_session()).await, Err(StoreError::Invalid(_))));
}
