//! Reading one session: bounds, order, and that what comes back is what went in.

use std::sync::Arc;

use super::*;
use crate::session::Body;

/// Pages.
pub async fn a_page_is_bounded_and_says_that_there_is_more(store: &SharedStore) {
    let session = new_session();
    given(store, session, 10).await;
    let read = |after, limit| store.read(range(session, after, u64::MAX, Order::OldestFirst, limit));
    let page = read(0, 4).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![1, 2, 3, 4], true));
    let page = read(8, 4).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![9, 10], false));
    let page = read(6, 4).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![7, 8, 9, 10], false));
    let page = read(10, 4).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![], false));
}

/// The newest first.
pub async fn a_page_from_the_end_is_newest_first(store: &SharedStore) {
    let session = new_session();
    given(store, session, 10).await;
    let page = store.read(Read::last(session, 3)).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![10, 9, 8], true));
    let page = store.read(range(session, 0, 2, Order::NewestFirst, 3)).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![2, 1], false));
}

/// `after` is outside, `upto` is inside.
pub async fn a_page_has_both_its_bounds(store: &SharedStore) {
    let session = new_session();
    given(store, session, 10).await;
    let page = store.read(range(session, 3, 6, Order::OldestFirst, 100)).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![4, 5, 6], false));
    let page = store.read(range(session, 3, 6, Order::NewestFirst, 2)).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![6, 5], true));
    let page = store.read(range(session, 6, 3, Order::OldestFirst, 2)).await.unwrap();
    assert_eq!((seqs(&page.rows), page.more), (vec![], false));
}

/// Nothing is not an error.
pub async fn a_session_that_is_not_there_has_no_events(store: &SharedStore) {
    assert_eq!(store.read(Read::forward(new_session(), Seq::ZERO)).await.unwrap(), Page::default());
    assert_eq!(store.session(new_session()).await.unwrap(), None);
}

/// Every field.
pub async fn events_come_back_as_they_were_appended(store: &SharedStore) {
    let session = new_session();
    let written: Vec<_> = [Source::User, Source::Agent, Source::Environment]
        .into_iter()
        .enumerate()
        .map(|(index, source)| NewEvent {
            kind: Kind::new(format!("family.tag_{index}")),
            v: u16::MAX,
            at: Timestamp(-1 + index as i64),
            source,
            cause: (index > 0).then_some(Seq(index as u64)),
            must_understand: index == 1,
            ..event("field")
        })
        .collect();
    store.append(append(session, Expected::Any, written.clone())).await.unwrap();
    let expected: Vec<_> = written.into_iter().zip(1..).map(|(event, seq)| event.recorded(session, Seq(seq))).collect();
    assert_eq!(all_events(store, session).await, expected);
}

/// Bytes are bytes.
pub async fn odd_text_is_kept_byte_for_byte(store: &SharedStore) {
    let session = new_session();
    let odd = [
        "{\"a\":1,\"a\":2}",
        " { \"space\" : [ 1 ,\t2\r\n] } ",
        "\"\\u0000\\ud800 \u{1f980} é e\u{301} \u{202e}\u{feff} \u{10ffff}\"",
        "1.0000000000000000000000000000000000001e400",
        "{\"__proto__\":null,\"'; drop table event; --\":\"\u{7f}\"}",
    ];
    for body in odd {
        store.append(append(session, Expected::Any, vec![event_of(body.to_owned())])).await.unwrap();
    }
    let read: Vec<_> = all_events(store, session).await.into_iter().map(|event| event.body).collect();
    assert_eq!(read, odd.map(|body| Body::Json(body.to_owned())));
}

/// Bodies on both sides of where they leave their row.
pub async fn long_bodies_are_kept_byte_for_byte(store: &SharedStore) {
    let session = new_session();
    let lengths = [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 1024 * 1024];
    let bodies: Vec<_> = lengths.iter().map(|length| format!("\"{}\"", "é".repeat(length / 2 - 1))).collect();
    for body in &bodies {
        store.append(append(session, Expected::Any, vec![event_of(body.clone())])).await.unwrap();
    }
    let read: Vec<_> = all_events(store, session).await.into_iter().map(|event| event.body).collect();
    assert!(read.into_iter().eq(bodies.into_iter().map(Body::Json)), "a body changed");
    crate::store::verify_session(store.as_ref(), session).await.unwrap();
}

/// A page holds a bounded number of bytes, whatever was asked for.
pub async fn pages_of_long_bodies_are_bounded(store: &SharedStore) {
    let session = new_session();
    for index in 0..12 {
        let body = format!("\"{index}{}\"", "x".repeat(1024 * 1024));
        store.append(append(session, Expected::Any, vec![event_of(body)])).await.unwrap();
    }
    let page = store.read(Read::forward(session, Seq::ZERO)).await.unwrap();
    assert!(page.more && (1..=8).contains(&page.rows.len()), "{} rows, more: {}", page.rows.len(), page.more);
    assert_eq!(seqs(&all_rows(store, session, 512).await), (1..=12).collect::<Vec<_>>());
}

/// Also where a body is elsewhere, is gone, or belongs to the session that was forked.
pub async fn a_page_in_pieces_is_the_page(store: &SharedStore) {
    let session = new_session();
    given(store, session, 149).await;
    let long = event_of(format!("\"{}\"", "x".repeat(200_000)));
    store.append(append(session, Expected::Exact(Seq(149)), vec![long])).await.unwrap();
    given(store, session, 150).await;
    store.redact(session, Seq(70)).await.unwrap();
    let fork = forked(store, session, 200, 100).await;
    for of in [session, fork] {
        for (after, upto) in [(0, u64::MAX), (0, 300), (0, 64), (63, 128), (140, 160), (190, 290), (300, 300), (400, u64::MAX)] {
            for limit in [0, 1, 63, 64, 65, 128, 512] {
                let before = in_pieces(store, range(of, after, upto, Order::OldestFirst, limit)).await;
                assert!(before <= limit as usize);
            }
        }
    }
}

/// While others write.
pub async fn a_reader_that_sees_an_event_sees_all_before_it(store: &SharedStore) {
    let session = new_session();
    let writer = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for _ in 0..100 {
                given(&store, session, 3).await;
            }
        })
    };
    while !writer.is_finished() {
        let rows = all_rows(store, session, 64).await;
        assert_eq!(seqs(&rows), (1..=rows.len() as u64).collect::<Vec<_>>());
        assert_eq!(rows.len() % 3, 0, "a part of an append was seen");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}
