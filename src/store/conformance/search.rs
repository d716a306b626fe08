//! Search: an index that is asked and one that is not must give the same events.

use super::*;
use crate::session::event::Briefed;
use crate::session::searchable::{Label, terms};
use crate::session::{Digest, Event};
use crate::store::{Alike, Directory, Find, Hit, IndexEntry, Indexed, Term, Terms, search_projection};

/// Indexes all that is in the feed, in pages of `page`.
async fn index(store: &SharedStore, page: u32) {
    loop {
        let cursor = store.checkpoint(&search_projection()).await.unwrap();
        let fed = store.feed(cursor.clone(), page).await.unwrap();
        if fed.next == cursor {
            return;
        }
        for (shard, to) in fed.next.positions().filter(|(shard, to)| *to > cursor.position(*shard)) {
            let of_shard = fed.rows.iter().filter(|row| row.shard == shard);
            let entries = of_shard.filter_map(|row| {
                let event = row.event()?;
                Some(IndexEntry { pos: row.pos, at: event.at, words: terms(event)? })
            });
            let indexed = Indexed { shard, from: cursor.position(shard), to, entries: entries.collect() };
            store.index(indexed).await.unwrap();
        }
    }
}

fn said(words: &[&str]) -> Term {
    Term::Words { words: words.iter().map(|word| (*word).to_owned()).collect(), prefix: false }
}

fn all_of(terms: impl IntoIterator<Item = Term>) -> Terms {
    Terms { all: terms.into_iter().map(|term| vec![term]).collect(), none: Vec::new() }
}

async fn find(store: &SharedStore, terms: Terms) -> Vec<(SessionId, u64)> {
    places(&store.find(Find::newest(terms, 1000)).await.unwrap())
}

fn places(hits: &[Hit]) -> Vec<(SessionId, u64)> {
    let mut places: Vec<_> = hits.iter().map(|hit| (hit.session, hit.seq.0)).collect();
    places.sort_unstable();
    places
}

async fn say(store: &SharedStore, session: SessionId, texts: &[&str]) {
    let events = texts.iter().enumerate().map(|(index, text)| {
        let at = Timestamp(1_767_225_600_000_000 + i64::try_from(index).unwrap() * 86_400_000_000);
        NewEvent { at, ..event_of(serde_json::json!({ "text": text }).to_string()) }
    });
    store.append(append(session, Expected::Any, events.collect())).await.unwrap();
}

/// Whatever is asked: words, phrases, beginnings, exclusions, choices, labels.
pub async fn a_search_finds_exactly_what_meets_it(store: &SharedStore) {
    let alphabet =
        ["foo", "foo_bar", "bar", "Foo", "barfoo", "src/foo.rs", "東京", "'quoted'", "a\"b", "§kx", "Größe", "1.5", "\0", "\\"];
    let mut seed = 7_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let sessions = [new_session(), new_session(), new_session()];
    for session in sessions {
        let texts: Vec<String> =
            (0..40).map(|_| (0..next(6)).map(|_| alphabet[next(alphabet.len())]).collect::<Vec<_>>().join(" ")).collect();
        say(store, session, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    index(store, 7).await;
    let mut known = Vec::new();
    for session in sessions {
        known.extend(all_events(store, session).await);
    }
    let words = ["foo", "bar", "fo", "barfoo", "src", "rs", "東", "京", "quoted", "größe", "1", "5", "a", "b", "kx", "absent"];
    let mut found = 0;
    for _ in 0..200 {
        let mut term = || match next(6) {
            0 => Term::label(Label::Session, &sessions[next(3)].to_string()),
            1 => Term::label(Label::Family, ["note", "other"][next(2)]),
            2 => Term::Words { words: vec![words[next(words.len())].to_owned()], prefix: true },
            3 => said(&[words[next(words.len())], words[next(words.len())]]),
            _ => said(&[words[next(words.len())]]),
        };
        let wanted = Terms { all: vec![vec![term(), term()], vec![term()]], none: vec![term()] };
        let wanted =
            Terms { all: wanted.all.into_iter().take(next(3)).collect(), none: wanted.none.into_iter().take(next(2)).collect() };
        let met = |event: &&Recorded| terms(event).is_some_and(|terms| wanted.are_met(&terms));
        let mut expected: Vec<_> = known.iter().filter(met).map(|event| (event.session, event.seq.0)).collect();
        expected.sort_unstable();
        found += expected.len();
        assert_eq!(find(store, wanted.clone()).await, expected, "{wanted:?}");
    }
    assert!(found > 500, "too little was found for a test: {found}");
}

/// By the time of each event, whatever the order in which they came.
pub async fn a_search_keeps_to_its_days(store: &SharedStore) {
    let (first, second) = (new_session(), new_session());
    say(store, first, &["word"; 6]).await;
    say(store, second, &["word"; 3]).await;
    index(store, 100).await;
    let day = |day: i64| Timestamp(1_767_225_600_000_000 + day * 86_400_000_000);
    let between = async |since, until| {
        let find = Find { since, until, ..Find::newest(all_of([said(&["word"])]), 100) };
        places(&store.find(find).await.unwrap()).len()
    };
    assert_eq!(between(day(0), day(100)).await, 9);
    assert_eq!(between(day(1), day(3)).await, 4);
    assert_eq!(between(day(3), day(100)).await, 3);
    assert_eq!(between(day(50), day(100)).await, 0);
    assert_eq!(between(day(-5), day(0)).await, 0);
    assert_eq!(between(Timestamp(i64::MIN), Timestamp(i64::MAX)).await, 9);
}

/// One after the other, none missing and none twice.
pub async fn hits_come_in_pages(store: &SharedStore) {
    let session = new_session();
    say(store, session, &["word other"; 25]).await;
    index(store, 100).await;
    let mut find = Find::newest(all_of([said(&["word"])]), 10);
    let mut seen = Vec::new();
    loop {
        let hits = store.find(find.clone()).await.unwrap();
        assert!(hits.len() <= 10);
        let Some(last) = hits.last() else { break };
        find.behind = Some(last.place);
        seen.extend(hits.iter().map(|hit| hit.seq.0));
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>(), "the newest first");
}

/// By whoever came first.
pub async fn an_index_that_somebody_moved_is_not_moved_again(store: &SharedStore) {
    let session = new_session();
    say(store, session, &["word"; 4]).await;
    let shard = store.feed_head().await.unwrap().positions().next().unwrap().0;
    let step = |from, to| Indexed { shard, from, to, entries: Vec::new() };
    store.index(step(0, 2)).await.unwrap();
    for (from, to) in [(0, 2), (0, 4), (1, 3)] {
        let refused = store.index(step(from, to)).await;
        assert!(matches!(refused, Err(StoreError::Moved { .. })), "{from} to {to}: {refused:?}");
    }
    let backwards = store.index(step(2, 2)).await;
    assert!(matches!(backwards, Err(StoreError::Invalid(_))), "{backwards:?}");
    assert_eq!(store.checkpoint(&search_projection()).await.unwrap().position(shard), 2);
}

/// What was indexed before, and what was read before and indexed after.
pub async fn what_is_redacted_or_purged_is_not_found(store: &SharedStore) {
    let (session, gone) = (new_session(), new_session());
    say(store, session, &["secret one", "public", "secret two", "secret three"]).await;
    say(store, gone, &["secret", "secret again"]).await;
    let read_before = store.feed(FeedCursor::default(), 100).await.unwrap();
    store.redact(session, Seq(1)).await.unwrap();
    let cursor = store.checkpoint(&search_projection()).await.unwrap();
    for (shard, to) in read_before.next.positions() {
        let of_shard = read_before.rows.iter().filter(|row| row.shard == shard).filter_map(|row| Some((row.pos, row.event()?)));
        let entries = of_shard.map(|(pos, event)| IndexEntry { pos, at: event.at, words: terms(event).unwrap() });
        store.index(Indexed { shard, from: cursor.position(shard), to, entries: entries.collect() }).await.unwrap();
    }
    let secret = || all_of([said(&["secret"])]);
    assert_eq!(find(store, secret()).await.len(), 4);
    store.redact(session, Seq(3)).await.unwrap();
    assert_eq!(find(store, secret()).await.len(), 3);
    store.purge(gone, Timestamp(1)).await.unwrap();
    assert_eq!(find(store, secret()).await, [(session, 4)]);
    assert_eq!(find(store, all_of([said(&["public"])])).await, [(session, 2)]);
    say(store, session, &["secret five"]).await;
    index(store, 100).await;
    assert_eq!(find(store, secret()).await, [(session, 4), (session, 5)]);
}

/// And comes back the same.
pub async fn a_dropped_index_is_made_again(store: &SharedStore) {
    let session = new_session();
    say(store, session, &["word one", "word two"]).await;
    index(store, 1).await;
    let word = || all_of([said(&["word"])]);
    let before = find(store, word()).await;
    assert_eq!(before.len(), 2);
    store.drop_projection(&search_projection()).await.unwrap();
    assert_eq!(find(store, word()).await, []);
    index(store, 100).await;
    assert_eq!(find(store, word()).await, before);
}

/// The ids of those that are alike, in the order in which they were made.
async fn alike(store: &SharedStore, alike: &Alike, of: &[SessionId]) -> Vec<usize> {
    let found = store.sessions_alike(alike).await.unwrap();
    assert!(found.iter().all(|id| of.contains(id)), "{alike:?} is told of others");
    (0..of.len()).filter(|index| found.contains(&of[*index])).collect()
}

/// By what lists show of them, and by their ids.
pub async fn sessions_are_told_by_what_they_are_alike_in(store: &SharedStore) {
    let sessions: Vec<SessionId> = (0..4).map(|_| new_session()).collect();
    let shown = [("finished", Some(500)), ("finished", None), ("paused", Some(1500)), ("failed", Some(0))];
    for (session, (phase, cost_micro_usd)) in sessions.iter().zip(shown) {
        let directory = Some(Directory { phase: phase.to_owned(), cost_micro_usd, ..Directory::default() });
        store.append(Append { directory, ..append(*session, Expected::Any, events(1)) }).await.unwrap();
    }
    let told = async |wanted: Alike| alike(store, &wanted, &sessions).await;
    assert_eq!(told(Alike::Phase("finished".to_owned())).await, [0, 1]);
    assert_eq!(told(Alike::Phase("finishe".to_owned())).await, [0_usize; 0]);
    assert_eq!(told(Alike::Phase("finished\0".to_owned())).await, [0_usize; 0]);
    assert_eq!(told(Alike::Cost(500..=u64::MAX)).await, [0, 2]);
    assert_eq!(told(Alike::Cost(0..=500)).await, [0, 1, 3], "what was never said counts as nothing");
    assert_eq!(told(Alike::Cost(501..=1499)).await, [0_usize; 0]);
    assert_eq!(told(Alike::Id(String::new())).await, [0, 1, 2, 3]);
    assert_eq!(told(Alike::Id(sessions[2].to_string())).await, [2]);
    assert_eq!(told(Alike::Id(sessions[2].to_string().replace('-', "")[..31].to_uppercase())).await.len(), 1);
    let refused = store.sessions_alike(&Alike::Id("no id".to_owned())).await;
    assert!(matches!(refused, Err(StoreError::Invalid(_))), "{refused:?}");
}

/// As long as an event says so that is in the index.
pub async fn sessions_are_told_by_the_models_that_their_events_name(store: &SharedStore) {
    let sessions: Vec<SessionId> = (0..3).map(|_| new_session()).collect();
    let named = [["acme/bot-1", "acme/bot-1"], ["acme/bot-2", "other"], ["zeta", "acme/bot-1"]];
    let briefed = |model: &str| {
        let (nothing, agent) = (Digest::of(b""), "coder".to_owned());
        let event =
            Event::Briefed(Briefed { agent, model: model.to_owned(), prompt: nothing, tools: nothing, names: Vec::new() });
        NewEvent { kind: event.kind(), ..event_of(event.body()) }
    };
    for (session, models) in sessions.iter().zip(named) {
        store.append(append(*session, Expected::Any, models.map(briefed).to_vec())).await.unwrap();
    }
    let told = async |model: &str| alike(store, &Alike::Model(Label::Model.of(model)), &sessions).await;
    assert_eq!(told("acme").await, [0_usize; 0], "nothing is in the index yet");
    index(store, 2).await;
    assert_eq!(told("").await, [0, 1, 2]);
    assert_eq!(told("acme/bot").await, [0, 1, 2]);
    assert_eq!(told("acme/bot-2").await, [1]);
    assert_eq!(told("bot-1").await, [0, 2], "also without the name of the one who serves it");
    assert_eq!(told("acme/bot-10").await, [0_usize; 0]);
    store.redact(sessions[0], Seq(1)).await.unwrap();
    assert_eq!(told("bot-1").await, [0, 2], "another event still says so");
    store.redact(sessions[0], Seq(2)).await.unwrap();
    store.redact(sessions[1], Seq(2)).await.unwrap();
    assert_eq!(told("acme").await, [1, 2]);
    assert_eq!(told("other").await, [0_usize; 0]);
    store.purge(sessions[2], Timestamp(1)).await.unwrap();
    assert_eq!(told("").await, [1]);
    store.append(append(sessions[0], Expected::Any, vec![briefed("acme/bot-3")])).await.unwrap();
    index(store, 2).await;
    assert_eq!(told("acme").await, [0, 1]);
    store.drop_projection(&search_projection()).await.unwrap();
    assert_eq!(told("").await, [0_usize; 0]);
    index(store, 100).await;
    assert_eq!(told("acme").await, [0, 1]);
}
