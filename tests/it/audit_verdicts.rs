//! Three verdicts on a log, each about something of its own: what fails one leaves the others as they are.

use rekindle::audit::{Judged, Verdict, verify_session};
use rekindle::session::{Digest, Kind, NewEvent, REDUCER, Seq, Session, SessionId, Timestamp};
use rekindle::store::conformance::{append, event, event_of, events, new_session};
use rekindle::store::{Append, Base, Expected, SharedStore};

use crate::store_fixture::Place;

fn of_kind(kind: &'static str, body: &str) -> NewEvent {
    NewEvent { kind: Kind::known(kind), ..event_of(body.to_owned()) }
}

fn answer(cause: u64) -> NewEvent {
    NewEvent { cause: Some(Seq(cause)), ..of_kind("observation.run", r#"{"content":"done"}"#) }
}

fn run() -> NewEvent {
    of_kind("action.run", r#"{"args":{"command":"make"}}"#)
}

async fn write(store: &SharedStore, session: SessionId, events: Vec<NewEvent>) {
    store.append(append(session, Expected::Any, events)).await.unwrap();
}

async fn judged(store: &SharedStore, session: SessionId, upto: Option<u64>) -> Judged {
    let row = store.session(session).await.unwrap().unwrap();
    verify_session(store.as_ref(), &row, upto.map(Seq)).await.unwrap()
}

/// The three words, and the first bad event.
async fn words(store: &SharedStore, session: SessionId) -> ([&'static str; 3], Option<u64>) {
    let judged = judged(store, session, None).await;
    let bad = judged.verdicts.first_failure().and_then(|(bad, _)| bad).map(|bad| bad.0);
    assert_eq!(judged.state.is_some(), judged.verdicts.hold(), "only what holds has a state");
    (judged.verdicts.each().map(|(_, verdict)| verdict.as_str()), bad)
}

#[tokio::test]
async fn an_action_without_an_outcome_is_open_in_a_live_session_and_missing_in_a_closed_one() {
    let place = Place::new();
    let (store, session) = (place.open().await, new_session());
    write(&store, session, vec![event("begin"), run(), run(), answer(2)]).await;
    assert_eq!(judged(&store, session, None).await.verdicts.completeness, Verdict::Open { actions: vec![Seq(3)] });
    assert_eq!(judged(&store, session, Some(3)).await.verdicts.completeness, Verdict::Open { actions: vec![Seq(2), Seq(3)] });
    write(&store, session, vec![of_kind("session.closed", r#"{"reason":"over"}"#)]).await;
    assert_eq!(words(&store, session).await, (["holds", "fails", "unjudged"], Some(3)));
    assert_eq!(judged(&store, session, Some(4)).await.verdicts.completeness, Verdict::Open { actions: vec![Seq(3)] });

    let answered = new_session();
    write(&store, answered, vec![run(), answer(1), of_kind("session.closed", r#"{"reason":"over"}"#)]).await;
    assert_eq!(words(&store, answered).await, (["holds", "holds", "unjudged"], None));
    store.close().await;
}

#[tokio::test]
async fn what_is_only_recorded_needs_no_outcome() {
    let place = Place::new();
    let store = place.open().await;
    for (body, open) in [
        (r#"{"spec":{"origin":{"type":"import"}}}"#, &[][..]),
        (r#"{"spec":{"origin":{"type":"fresh"}}}"#, &[2]),
        (r#"{"spec":{"origin":{"type":"fresh"},"agent":{}}}"#, &[2, 3, 4]),
    ] {
        let session = new_session();
        let actions = ["action.run", "action.recall", "action.delegate", "action.message", "action.judged"];
        let mut all = vec![of_kind("session.created", body)];
        all.extend(actions.map(|kind| of_kind(kind, "{}")));
        write(&store, session, all).await;
        let completeness = judged(&store, session, None).await.verdicts.completeness;
        let found = if let Verdict::Open { actions } = completeness { actions } else { Vec::new() };
        assert_eq!(found, open.iter().copied().map(Seq).collect::<Vec<_>>(), "{body}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_state_that_the_log_does_not_lead_to_fails_determinism_alone() {
    let place = Place::new();
    let store = place.open().await;
    for (reducer, lies, word) in [(REDUCER, false, "holds"), (REDUCER, true, "fails"), ("session/0", true, "unjudged")] {
        let session = new_session();
        let first = event("begin");
        let mut state = Session::default();
        state.apply(&first.clone().recorded(session, Seq(1)));
        let digest = if lies { Digest::ZERO } else { state.digest() };
        let ended = of_kind("turn.ended", &format!(r#"{{"digest":"{digest}","reducer":"{reducer}"}}"#));
        write(&store, session, vec![first, ended]).await;
        let bad = (word == "fails").then_some(2);
        assert_eq!(words(&store, session).await, (["holds", "holds", word], bad), "{reducer}");
        // What was taken out of the log leads elsewhere, which is nobody's fault.
        store.redact(session, Seq(1)).await.unwrap();
        assert_eq!(words(&store, session).await, (["holds", "holds", "unjudged"], None), "{reducer}");
    }
    store.close().await;
}

#[tokio::test]
async fn what_is_changed_fails_integrity_and_what_is_missing_completeness() {
    for (statement, integrity, completeness, bad) in [
        ("update event set body = '{}' where session_id = ?1 and seq = 3", "fails", "holds", 3),
        ("update event set seq = case seq when 3 then 9 else seq end where session_id = ?1", "fails", "fails", 3),
        ("update session set head_hash = randomblob(32) where session_id = ?1", "fails", "holds", 8),
        ("delete from event where session_id = ?1 and seq = 3", "fails", "fails", 3),
        ("delete from event where session_id = ?1 and seq > 5", "holds", "fails", 6),
        ("delete from event where session_id = ?1", "holds", "fails", 1),
        ("update session set head_seq = 10 where session_id = ?1", "holds", "fails", 9),
    ] {
        let place = Place::new();
        let (store, session, whole) = (place.open().await, new_session(), new_session());
        for session in [session, whole] {
            write(&store, session, events(8)).await;
        }
        store.close().await;
        assert!(place.sql().execute(statement, [session.as_bytes()]).unwrap() > 0, "{statement}");
        let store = place.open().await;
        assert_eq!(words(&store, session).await, ([integrity, completeness, "unjudged"], Some(bad)), "{statement}");
        assert_eq!(words(&store, whole).await, (["holds", "holds", "unjudged"], None), "the other one suffers from {statement}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_fork_is_judged_with_what_it_shares_and_its_parent_without_it() {
    let place = Place::new();
    let (store, parent, fork) = (place.open().await, new_session(), new_session());
    write(&store, parent, vec![run(), event("more"), answer(1)]).await;
    let hash = judged(&store, parent, Some(2)).await.hash;
    let expected = Expected::Fork { base: Base { session: parent, seq: Seq(2) }, hash };
    store.append(Append { expected, ..append(fork, Expected::Any, events(2)) }).await.unwrap();
    assert_eq!(judged(&store, fork, None).await.verdicts.completeness, Verdict::Open { actions: vec![Seq(1)] });
    assert_eq!(judged(&store, parent, None).await.verdicts.completeness, Verdict::Holds);
    write(&store, fork, vec![answer(1)]).await;
    assert_eq!(words(&store, fork).await, (["holds", "holds", "unjudged"], None));
    store.close().await;
    place.sql().execute("update event set at = at + 1 where session_id = ?1 and seq = 2", [parent.as_bytes()]).unwrap();
    let store = place.open().await;
    for session in [parent, fork] {
        assert_eq!(words(&store, session).await, (["fails", "holds", "unjudged"], Some(2)));
    }
    store.close().await;
}

#[tokio::test]
async fn nothing_is_said_of_events_that_were_purged() {
    let place = Place::new();
    let (store, session) = (place.open().await, new_session());
    write(&store, session, events(2)).await;
    store.purge(session, Timestamp(7)).await.unwrap();
    let judged = judged(&store, session, None).await;
    assert!(judged.verdicts.hold() && judged.state.is_none());
    assert!(judged.verdicts.each().iter().all(|(_, verdict)| verdict.as_str() == "unjudged"));
    store.close().await;
}
