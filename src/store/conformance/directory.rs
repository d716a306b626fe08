//! The row of a session, lists of them, and their names.

use super::*;
use crate::session::{Digest, Epoch, SessionName};
use crate::store::{Directory, SessionFilter};

fn directory(phase: &str, due: bool) -> Directory {
    Directory { phase: phase.to_owned(), due, origin: "fresh".to_owned(), ..Directory::default() }
}

async fn given_at(store: &SharedStore, at: i64, due: bool) -> SessionId {
    let session = new_session();
    let new = NewEvent { at: Timestamp(at), ..event("at") };
    let append = Append { directory: Some(directory("ready", due)), ..append(session, Expected::Any, vec![new]) };
    store.append(append).await.unwrap();
    session
}

async fn listed(store: &SharedStore, filter: SessionFilter, limit: u32) -> Vec<SessionId> {
    store.sessions(filter, limit).await.unwrap().into_iter().map(|row| row.id).collect()
}

/// Head, hash and times.
pub async fn a_session_row_follows_its_log(store: &SharedStore) {
    let session = new_session();
    let mut appended = None;
    for at in [5, 9, 7] {
        let new = NewEvent { at: Timestamp(at), ..event("at") };
        appended = Some(store.append(append(session, Expected::Any, vec![new])).await.unwrap());
    }
    let row = store.session(session).await.unwrap().unwrap();
    assert_eq!((row.id, row.head, row.hash), (session, Seq(3), appended.unwrap().hash));
    assert_eq!((row.created_at, row.updated_at), (Timestamp(5), Timestamp(7)));
    assert_eq!((row.name, row.epoch, row.owner), (None, Epoch(0), None));
    assert_ne!(row.hash, Digest::ZERO);
}

/// Every column.
pub async fn directory_columns_come_back(store: &SharedStore) {
    let session = new_session();
    let most = i64::MAX as u64;
    let full = Directory {
        phase: "starting".to_owned(),
        due: true,
        origin: "replay".to_owned(),
        title: Some("a title · with ü".to_owned()),
        actions: 1,
        messages: 2,
        errors: 3,
        tokens: most,
        cost_micro_usd: Some(most),
    };
    for directory in [full, Directory::default()] {
        let append = Append { directory: Some(directory.clone()), ..append(session, Expected::Any, events(1)) };
        store.append(append).await.unwrap();
        assert_eq!(store.session(session).await.unwrap().unwrap().directory, directory);
    }
    let tokens = Directory { tokens: u64::MAX, ..Directory::default() };
    let refused = store.append(Append { directory: Some(tokens), ..append(session, Expected::Any, events(1)) }).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

/// `None` leaves it.
pub async fn an_append_without_a_directory_keeps_it(store: &SharedStore) {
    let session = given_at(store, 5, true).await;
    given(store, session, 1).await;
    assert_eq!(store.session(session).await.unwrap().unwrap().directory, directory("ready", true));
}

/// The last changed first; of those changed at once, the higher id first.
pub async fn sessions_are_listed_by_last_change(store: &SharedStore) {
    let (old, new, first) =
        (given_at(store, 10, false).await, given_at(store, 30, false).await, given_at(store, 20, false).await);
    let second = given_at(store, 20, false).await;
    let (high, low) = (first.max(second), first.min(second));
    assert_eq!(listed(store, SessionFilter::All, 10).await, [new, high, low, old]);
    let touch = NewEvent { at: Timestamp(40), ..event("touch") };
    store.append(append(old, Expected::Any, vec![touch])).await.unwrap();
    assert_eq!(listed(store, SessionFilter::All, 10).await, [old, new, high, low]);
}

/// Lists have a limit.
pub async fn a_list_is_bounded(store: &SharedStore) {
    for at in 0..5 {
        given_at(store, at, false).await;
    }
    let all = listed(store, SessionFilter::All, 10).await;
    assert_eq!(listed(store, SessionFilter::All, 2).await, all[..2]);
    assert_eq!(listed(store, SessionFilter::All, 0).await, []);
}

/// What recovery asks for.
pub async fn sessions_that_are_due_can_be_listed(store: &SharedStore) {
    let due = given_at(store, 1, true).await;
    given_at(store, 2, false).await;
    let later = given_at(store, 3, true).await;
    assert_eq!(listed(store, SessionFilter::Due, 10).await, [later, due]);
    let done = Append { directory: Some(directory("closed", false)), ..append(later, Expected::Any, events(1)) };
    store.append(done).await.unwrap();
    assert_eq!(listed(store, SessionFilter::Due, 10).await, [due]);
}

/// Any beginning, with or without dashes, in either case.
pub async fn a_session_is_found_by_the_beginning_of_its_id(store: &SharedStore) {
    let ids =
        ["0190aaaa-0000-7000-8000-000000000001", "0190aaab-0000-7000-8000-000000000002", "f190aaaa-0000-7000-8000-000000000003"]
            .map(|id| id.parse::<SessionId>().unwrap());
    for id in ids {
        given(store, id, 1).await;
    }
    let find = |prefix: &str| listed(store, SessionFilter::IdPrefix(prefix.to_owned()), 10);
    assert_eq!(find("0190aaaa").await, [ids[0]]);
    assert_eq!(find("0190AAAB-00").await, [ids[1]]);
    assert_eq!(find("0190aaa").await, [ids[1], ids[0]]);
    assert_eq!(find("f").await, [ids[2]]);
    assert_eq!(find(&ids[2].to_string()).await, [ids[2]]);
    assert_eq!(find("").await.len(), 3);
    assert_eq!(find("1").await, []);
    for bad in ["xyz", "é", &"0".repeat(33)] {
        let refused = store.sessions(SessionFilter::IdPrefix(bad.to_owned()), 10).await;
        assert!(matches!(refused, Err(StoreError::Invalid(_))), "{bad}: {refused:?}");
    }
}

fn a_name(text: &str) -> SessionName {
    text.parse().unwrap()
}

/// A session that another system named has an id made of that name.
pub async fn a_session_keeps_its_name(store: &SharedStore) {
    let name = a_name("fix-the-build");
    let session = SessionId::named(&name);
    given(store, session, 1).await;
    assert_eq!(store.session(session).await.unwrap().unwrap().name, None);
    store.name(session, &name).await.unwrap();
    store.name(session, &name).await.unwrap();
    given(store, session, 1).await;
    assert_eq!(store.session(session).await.unwrap().unwrap().name, Some(name));
}

/// One name, one session: a name belongs to the session whose id is made of it.
pub async fn a_name_belongs_to_one_session(store: &SharedStore) {
    let other = new_session();
    given(store, other, 1).await;
    let refused = store.name(other, &a_name("taken")).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
    assert_eq!(store.session(other).await.unwrap().unwrap().name, None);
}

/// There is nothing to name.
pub async fn a_name_needs_a_session(store: &SharedStore) {
    let name = a_name("nobody");
    let refused = store.name(SessionId::named(&name), &name).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}
