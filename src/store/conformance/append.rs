//! Appending: where it is admitted, that it is whole, and that writers do not disturb each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

/// The first event of a session has seq 1.
pub async fn a_first_append_begins_at_one(store: &SharedStore) {
    let session = new_session();
    let appended = store.append(append(session, Expected::Any, events(3))).await.unwrap();
    assert_eq!((appended.first, appended.last, appended.repeated), (Seq(1), Seq(3), false));
    let next = store.append(append(session, Expected::Any, events(1))).await.unwrap();
    assert_eq!((next.first, next.last), (Seq(4), Seq(4)));
}

/// `NoSession` × present.
pub async fn no_session_is_refused_when_there_is_one(store: &SharedStore) {
    let session = new_session();
    given(store, session, 2).await;
    assert!(is_conflict(&store.append(append(session, Expected::NoSession, events(1))).await, 2));
}

/// `NoSession` × missing.
pub async fn no_session_is_admitted_when_there_is_none(store: &SharedStore) {
    let appended = store.append(append(new_session(), Expected::NoSession, events(1))).await.unwrap();
    assert_eq!(appended.last, Seq(1));
}

/// `Exact` × present.
pub async fn exact_is_admitted_at_the_head(store: &SharedStore) {
    let session = new_session();
    given(store, session, 2).await;
    let appended = store.append(append(session, Expected::Exact(Seq(2)), events(2))).await.unwrap();
    assert_eq!((appended.first, appended.last), (Seq(3), Seq(4)));
}

/// `Exact` × present, elsewhere.
pub async fn exact_is_refused_elsewhere_and_names_the_head(store: &SharedStore) {
    let session = new_session();
    given(store, session, 2).await;
    for wrong in [0, 1, 3, u64::MAX] {
        assert!(is_conflict(&store.append(append(session, Expected::Exact(Seq(wrong)), events(1))).await, 2), "at {wrong}");
    }
}

/// `Exact(0)` × missing.
pub async fn exact_zero_means_that_there_is_no_session(store: &SharedStore) {
    let appended = store.append(append(new_session(), Expected::Exact(Seq::ZERO), events(1))).await.unwrap();
    assert_eq!(appended.last, Seq(1));
}

/// `Exact` × missing.
pub async fn exact_is_refused_when_there_is_no_session(store: &SharedStore) {
    let session = new_session();
    assert!(is_conflict(&store.append(append(session, Expected::Exact(Seq(1)), events(1))).await, 0));
    assert_eq!(store.session(session).await.unwrap(), None);
}

/// `Any` × present.
pub async fn any_is_admitted_when_there_is_a_session(store: &SharedStore) {
    let session = new_session();
    given(store, session, 5).await;
    assert_eq!(given(store, session, 1).await.first, Seq(6));
}

/// `Any` × missing.
pub async fn any_is_admitted_when_there_is_none(store: &SharedStore) {
    assert_eq!(given(store, new_session(), 1).await.first, Seq(1));
}

/// A conflict writes neither events nor the row nor the feed.
pub async fn a_refused_append_leaves_nothing(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    let before = (store.session(session).await.unwrap(), store.info().await.unwrap().events);
    assert!(store.append(append(session, Expected::NoSession, events(3))).await.is_err());
    assert_eq!((store.session(session).await.unwrap(), store.info().await.unwrap().events), before);
    assert_eq!(all_events(store, session).await.len(), 1);
}

/// All events of an append stand together, in order.
pub async fn an_append_is_one_whole(store: &SharedStore) {
    let session = new_session();
    let written = events(300);
    let bodies: Vec<_> = written.iter().map(|event| event.body.clone()).collect();
    store.append(append(session, Expected::Any, written)).await.unwrap();
    let read: Vec<_> = all_events(store, session).await.into_iter().map(|event| event.body.as_json().to_owned()).collect();
    assert_eq!(read, bodies);
}

/// An event that cannot be stored takes the others of its append with it.
pub async fn one_bad_event_refuses_the_whole_append(store: &SharedStore) {
    let session = new_session();
    let mut batch = events(3);
    batch[2].body = String::new();
    let refused = store.append(append(session, Expected::Any, batch)).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(store.session(session).await.unwrap(), None);
}

/// An append has a size.
pub async fn too_few_and_too_many_events_are_invalid(store: &SharedStore) {
    for count in [0, Append::EVENTS_MAX + 1] {
        let refused = store.append(append(new_session(), Expected::Any, events(count))).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{count} events: {refused:?}");
    }
    assert_eq!(given(store, new_session(), Append::EVENTS_MAX).await.last, Seq(Append::EVENTS_MAX as u64));
}

/// Foreign tags survive; what is no word does not get in.
pub async fn strange_kinds_are_kept_and_broken_ones_refused(store: &SharedStore) {
    let session = new_session();
    for good in ["x", "action.Some-Future_Tag2", "ereignis.über", &"k".repeat(128)] {
        let new = NewEvent { kind: Kind::new(good), ..event("kind") };
        store.append(append(session, Expected::Any, vec![new])).await.unwrap();
        assert_eq!(all_events(store, session).await.last().unwrap().kind.as_str(), good);
    }
    for bad in ["", "two words", "line\nbreak", "nul\0", &"k".repeat(129)] {
        let new = NewEvent { kind: Kind::new(bad), ..event("kind") };
        let refused = store.append(append(session, Expected::Any, vec![new])).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{bad:?}: {refused:?}");
    }
}

/// A cheap look keeps out what is certainly no JSON.
pub async fn a_body_must_look_like_json(store: &SharedStore) {
    let session = new_session();
    for good in ["{}", "[]", "null", "true", "-1", "\"text\"", " \n{ }"] {
        store.append(append(session, Expected::Any, vec![event_of(good.to_owned())])).await.unwrap();
    }
    for bad in ["", " ", "plain text?", "\u{feff}{}", "{\0}"] {
        let refused = store.append(append(session, Expected::Any, vec![event_of(bad.to_owned())])).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{bad:?}: {refused:?}");
    }
}

/// Many sessions, one batch.
pub async fn appends_to_many_sessions_at_once_do_not_disturb_each_other(store: &SharedStore) {
    let sessions: Vec<_> = (0..64).map(|_| new_session()).collect();
    let tasks: Vec<_> = sessions.iter().map(|session| spawn_appends(store, *session, 5)).collect();
    for task in tasks {
        task.await.unwrap();
    }
    for session in sessions {
        assert_eq!(seqs(&all_rows(store, session, 512).await), (1..=5).collect::<Vec<_>>());
    }
}

/// Many writers, one session, `Any`: seqs are dense and each append keeps its own.
pub async fn racing_appends_get_dense_seqs(store: &SharedStore) {
    let session = new_session();
    let tasks: Vec<_> = (0..8).map(|_| spawn_appends(store, session, 10)).collect();
    let mut answered = BTreeSet::new();
    for task in tasks {
        for seq in task.await.unwrap() {
            assert!(answered.insert(seq), "{seq} was given twice");
        }
    }
    assert_eq!(answered, (1..=80).map(Seq).collect());
    assert_eq!(seqs(&all_rows(store, session, 512).await), (1..=80).collect::<Vec<_>>());
}

fn spawn_appends(store: &SharedStore, session: SessionId, count: usize) -> tokio::task::JoinHandle<Vec<Seq>> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let mut seqs = Vec::new();
        for _ in 0..count {
            seqs.push(given(&store, session, 1).await.last);
        }
        seqs
    })
}

/// Many writers, one session, the same `Exact`: one wins, the others hear where the head is.
pub async fn of_racing_writers_at_one_head_one_wins(store: &SharedStore) {
    let session = new_session();
    given(store, session, 1).await;
    for round in 1..=10 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let store = Arc::clone(store);
                tokio::spawn(async move { store.append(append(session, Expected::Exact(Seq(round)), events(1))).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                result => assert!(is_conflict(&result, round + 1), "{result:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

/// Losers in a batch do not take the winners with them.
pub async fn one_conflict_among_many_appends_spoils_none_of_the_others(store: &SharedStore) {
    let taken = new_session();
    given(store, taken, 3).await;
    let known = event("known");
    store.append(append(taken, Expected::Any, vec![known.clone()])).await.unwrap();
    let tasks: Vec<_> = (0..60)
        .map(|index| {
            let store = Arc::clone(store);
            let append = match index % 6 {
                0 => append(taken, Expected::NoSession, events(1)),
                // An id that is taken is only found out when the row is written.
                1 => append(taken, Expected::Any, vec![NewEvent { id: known.id, ..event("other") }]),
                _ => append(new_session(), Expected::NoSession, events(2)),
            };
            tokio::spawn(async move { (index, store.append(append).await) })
        })
        .collect();
    for task in tasks {
        match task.await.unwrap() {
            (index, result) if index % 6 == 0 => assert!(is_conflict(&result, 4), "{result:?}"),
            (index, result) if index % 6 == 1 => assert!(matches!(result, Err(StoreError::Reused { .. })), "{result:?}"),
            (_, result) => assert_eq!(result.unwrap().last, Seq(2)),
        }
    }
}

/// A caller that stops waiting leaves a whole append or none, and never an open transaction.
pub async fn cancelled_appends_are_neither_lost_nor_doubled_nor_half_done(store: &SharedStore) {
    let session = new_session();
    let mut acked = BTreeSet::new();
    let mut tried = BTreeSet::new();
    for round in 0..200_u32 {
        let batch = events(2);
        let ids: Vec<_> = batch.iter().map(|event| event.id).collect();
        tried.extend(ids.iter().copied());
        let append = append(session, Expected::Any, batch.clone());
        let answer = tokio::select! {
            biased;
            answer = store.append(append.clone()) => Some(answer.unwrap()),
            () = yields(round % 20) => None,
        };
        if answer.is_some() {
            acked.extend(ids);
        } else if round % 3 == 0 {
            // Whoever did not hear the answer may ask again.
            store.append(append).await.unwrap();
            acked.extend(ids);
        }
    }
    // The store is not left inside a transaction of somebody who went away.
    given(store, new_session(), 1).await;
    let stored = all_events(store, session).await;
    assert_eq!(stored.len() % 2, 0);
    let ids: BTreeSet<_> = stored.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), stored.len(), "an event is there twice");
    assert!(acked.is_subset(&ids), "an answered append is not there");
    assert!(ids.is_subset(&tried));
    crate::store::verify_session(store.as_ref(), session).await.unwrap();
}

async fn yields(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
