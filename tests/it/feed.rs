//! The feed of all sessions, and projections that follow it: every event counts once, whatever happens on the way.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use rekindle::engine::{Fed, FeedSubscription};
use rekindle::projection::activity::{ActivityByDay, days};
use rekindle::projection::catch_up::{CatchUp, Documents, FeedProjection, documents, serving};
use rekindle::projection::lag::{lag, wait_for};
use rekindle::session::{Kind, NewEvent, Recorded, Seq, SessionId, Timestamp};
use rekindle::store::conformance::{append, event, event_of, given, new_session};
use rekindle::store::{Expected, FeedCursor, MemoryStore, ProjectionId, SharedStore};
use rekindle::testing::FaultStore;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

/// Numbers from a seed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What `Tally` keeps: how many events, and what tells one event from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Count {
    events: u64,
    sum: u64,
}

/// Counts each event for its session and for all; fails where events do not come in order, and on poison.
struct Tally {
    version: u32,
    immune: bool,
}

const TALLY: Tally = Tally { version: 1, immune: false };

impl FeedProjection for Tally {
    type Document = Count;

    fn id(&self) -> ProjectionId {
        ProjectionId::new("tally", self.version)
    }

    fn keys(&self, event: &Recorded) -> Vec<String> {
        vec![format!("session/{}", event.session), "all".to_owned()]
    }

    fn fold(&self, event: &Recorded, documents: &mut Documents<Count>) -> Result<(), String> {
        for key in self.keys(event) {
            let mut count = documents.get(&key).unwrap_or_default();
            count.events += 1;
            count.sum += event.seq.0;
            if key != "all" && count.events != event.seq.0 {
                return Err(format!("event {} is the {}th", event.seq, count.events));
            }
            documents.put(&key, count);
        }
        if event.kind.as_str() == "note.poison" && !self.immune { Err("poison".to_owned()) } else { Ok(()) }
    }
}

fn poison() -> NewEvent {
    NewEvent { kind: Kind::known("note.poison"), ..event("poison") }
}

/// What the projection has come to: shards put together.
async fn tallied(store: &SharedStore, version: u32) -> BTreeMap<String, Count> {
    let id = ProjectionId::new("tally", version);
    let mut tallied: BTreeMap<String, Count> = BTreeMap::new();
    for (key, count) in documents::<Count>(store.as_ref(), &id, "").await.unwrap() {
        let sum = tallied.entry(key).or_default();
        sum.events += count.events;
        sum.sum += count.sum;
    }
    tallied
}

/// The same, made at once of the heads of all sessions.
async fn expected(store: &SharedStore) -> BTreeMap<String, Count> {
    let mut expected: BTreeMap<String, Count> = BTreeMap::new();
    for row in store.sessions(Default::default(), u32::MAX).await.unwrap() {
        let count = Count { events: row.head.0, sum: (1..=row.head.0).sum() };
        let all = expected.entry("all".to_owned()).or_default();
        all.events += count.events;
        all.sum += count.sum;
        expected.insert(format!("session/{}", row.id), count);
    }
    expected
}

/// Several writers at once, each with sessions of its own.
fn writers(store: &SharedStore, count: u64, appends: u64) -> Vec<JoinHandle<()>> {
    let writer = |seed| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut dice = Dice(seed);
            let sessions: Vec<_> = (0..3).map(|_| new_session()).collect();
            for _ in 0..appends {
                let session = sessions[dice.roll(3) as usize];
                given(&store, session, 1 + dice.roll(4) as usize).await;
            }
        })
    };
    (0..count).map(writer).collect()
}

async fn all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

fn place(fed: &Fed) -> (SessionId, Seq) {
    match fed {
        Fed::Event(row) => row.event().map(|event| (event.session, event.seq)).unwrap(),
        Fed::Damaged(damage) => panic!("{damage:?}"),
    }
}

pub async fn a_subscription_gets_history_then_live_without_gap_or_duplicate(store: &SharedStore) {
    all(writers(store, 2, 20)).await;
    let mut feed = FeedSubscription::new(Arc::clone(store), FeedCursor::default());
    let writing = writers(store, 4, 25);
    let mut seen: BTreeMap<SessionId, Seq> = BTreeMap::new();
    let mut end = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            all(writing).await;
            given(&store, new_session(), 1).await;
        })
    };
    let mut turn = 0;
    loop {
        // Asked before the read: what is not there then will not come.
        let done = end.is_finished();
        let fed = match feed.next_recorded().await.unwrap() {
            Some(fed) => fed,
            None if done => break,
            None => tokio::select! {
                fed = feed.next() => fed.unwrap(),
                _ = &mut end => continue,
            },
        };
        let (session, seq) = place(&fed);
        let last = seen.entry(session).or_default();
        assert_eq!(seq, last.next(), "session {session}");
        *last = seq;
        turn += 1;
        if turn % 37 == 0 {
            // A consumer that ends here and begins again with what it kept.
            let kept: FeedCursor = feed.cursor().to_string().parse().unwrap();
            feed = FeedSubscription::new(Arc::clone(store), kept);
        }
    }
    for row in store.sessions(Default::default(), u32::MAX).await.unwrap() {
        assert_eq!(seen.get(&row.id), Some(&row.head));
    }
}

pub async fn catch_up_beside_writers_comes_to_the_same_as_a_fold_from_scratch(store: &SharedStore, seed: u64) {
    let writing = writers(store, 4, 25);
    let mut dice = Dice(seed);
    while writing.iter().any(|writer| !writer.is_finished()) {
        // Each time another runner, as after a restart.
        let page = 1 + dice.roll(17) as u32;
        CatchUp::new(Arc::clone(store), TALLY).with_page(page).run_once().await.unwrap();
    }
    all(writing).await;
    CatchUp::new(Arc::clone(store), TALLY).with_page(7).run_once().await.unwrap();
    let scratch = Tally { version: 2, ..TALLY };
    CatchUp::new(Arc::clone(store), scratch).run_once().await.unwrap();
    assert_eq!(tallied(store, 1).await, expected(store).await, "seed {seed}");
    assert_eq!(tallied(store, 1).await, tallied(store, 2).await, "seed {seed}");
    assert_eq!(store.quarantined(&TALLY.id()).await.unwrap(), []);
}

pub async fn runners_of_one_projection_at_once_count_each_event_once(store: &SharedStore) {
    let writing = writers(store, 2, 20);
    let runner = |page| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut runner = CatchUp::new(store, TALLY).with_page(page);
            for _ in 0..20 {
                runner.run_once().await.unwrap();
            }
        })
    };
    let runners = vec![runner(1), runner(3), runner(10)];
    all(writing).await;
    all(runners).await;
    CatchUp::new(Arc::clone(store), TALLY).run_once().await.unwrap();
    assert_eq!(tallied(store, 1).await, expected(store).await);
}

/// Polls `work` about `patience` times and then drops it.
async fn abandoned<T>(work: impl Future<Output = T>, patience: usize) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = async { for _ in 0..patience { tokio::task::yield_now().await } } => None,
    }
}

pub async fn a_runner_that_is_killed_anywhere_counts_each_event_once(store: &SharedStore) {
    all(writers(store, 3, 20)).await;
    let mut kept = CatchUp::new(Arc::clone(store), TALLY).with_page(3);
    for patience in 0..60 {
        // Some are given up and called again, some are gone for good.
        abandoned(kept.run_once(), patience).await;
        abandoned(CatchUp::new(Arc::clone(store), TALLY).with_page(2).run_once(), patience).await;
    }
    kept.run_once().await.unwrap();
    assert_eq!(tallied(store, 1).await, expected(store).await);
}

pub async fn lost_answers_count_nothing_twice(store: &SharedStore, seed: u64) {
    all(writers(store, 2, 20)).await;
    let failing: SharedStore = Arc::new(FaultStore::new(Arc::clone(store), seed, 50));
    let mut runner = CatchUp::new(failing, TALLY).with_page(4);
    let mut failed = 0;
    while runner.run_once().await.is_err() {
        failed += 1;
    }
    assert!(failed > 0);
    assert_eq!(tallied(store, 1).await, expected(store).await, "seed {seed}");
}

pub async fn a_poisoned_session_is_quarantined_and_the_others_go_on(store: &SharedStore) {
    let (hurt, well) = (new_session(), new_session());
    for events in [vec![event("1"), event("2")], vec![poison()], vec![event("4")]] {
        store.append(append(hurt, Expected::Any, events)).await.unwrap();
        given(store, well, 2).await;
    }
    let mut runner = CatchUp::new(Arc::clone(store), TALLY).with_page(2);
    runner.run_once().await.unwrap();
    let held = store.quarantined(runner.id()).await.unwrap();
    assert_eq!(
        held.iter().map(|held| (held.session, held.seq, held.what.as_str())).collect::<Vec<_>>(),
        [(hurt, Seq(3), "poison")]
    );
    let counts = tallied(store, 1).await;
    assert_eq!(counts[&format!("session/{well}")].events, 6);
    assert_eq!(counts[&format!("session/{hurt}")].events, 2, "what came before stands, and nothing of what failed");
    assert_eq!(lag(store.as_ref(), runner.id()).await.unwrap().events, 0);

    // Still poison: it stays where it is.
    assert!(!runner.release(hurt).await.unwrap());
    assert_eq!(store.quarantined(runner.id()).await.unwrap().len(), 1);
    given(store, hurt, 2).await;
    // A runner that does not know of the release, and has documents in mind.
    let mut other = CatchUp::new(Arc::clone(store), TALLY).with_page(2);
    other.run_once().await.unwrap();
    let mut immune = CatchUp::new(Arc::clone(store), Tally { immune: true, ..TALLY }).with_page(2);
    assert!(immune.release(hurt).await.unwrap());
    assert!(immune.release(hurt).await.unwrap(), "it is out already");
    given(store, hurt, 1).await;
    given(store, well, 1).await;
    other.run_once().await.unwrap();
    assert_eq!(tallied(store, 1).await, expected(store).await);
    assert_eq!(store.quarantined(runner.id()).await.unwrap(), []);
}

pub async fn a_new_version_is_built_beside_the_one_that_is_read(store: &SharedStore) {
    all(writers(store, 2, 10)).await;
    let mut old = CatchUp::new(Arc::clone(store), TALLY);
    assert_eq!(serving(store.as_ref(), "tally").await.unwrap(), None);
    old.run_once().await.unwrap();
    assert_eq!(serving(store.as_ref(), "tally").await.unwrap().as_ref(), Some(old.id()));
    let mut new = CatchUp::new(Arc::clone(store), Tally { version: 2, ..TALLY }).with_page(1);
    let done = abandoned(new.run_once(), 8).await.is_some();
    all(writers(store, 2, 5)).await;
    old.run_once().await.unwrap();
    if !done {
        assert_eq!(serving(store.as_ref(), "tally").await.unwrap().as_ref(), Some(old.id()), "it has not caught up");
    }
    new.run_once().await.unwrap();
    assert_eq!(serving(store.as_ref(), "tally").await.unwrap().as_ref(), Some(new.id()));
    assert_eq!(tallied(store, 1).await, tallied(store, 2).await);
    // It stays the one that is read, behind for a moment or not.
    given(store, new_session(), 1).await;
    assert_eq!(serving(store.as_ref(), "tally").await.unwrap().as_ref(), Some(new.id()));
    store.drop_projection(old.id()).await.unwrap();
    assert_eq!(store.projections().await.unwrap(), std::slice::from_ref(new.id()));
    assert_eq!(tallied(store, 1).await, BTreeMap::new());
}

pub async fn a_reader_waits_for_its_own_writes(store: &SharedStore) {
    given(store, new_session(), 5).await;
    let written = store.feed_head().await.unwrap();
    let mut runner = CatchUp::new(Arc::clone(store), TALLY).with_page(2);
    assert_eq!(lag(store.as_ref(), runner.id()).await.unwrap().events, 5);
    let age = lag(store.as_ref(), runner.id()).await.unwrap().age(Timestamp(1_767_225_600_000_000 + 3_000_000));
    assert_eq!(age.as_secs(), 3);
    let reader = {
        let (store, written) = (Arc::clone(store), written.clone());
        tokio::spawn(async move {
            wait_for(store.as_ref(), &TALLY.id(), &written).await.unwrap();
            tallied(&store, 1).await["all"].events
        })
    };
    let following = {
        let store = Arc::clone(store);
        tokio::spawn(async move { CatchUp::new(store, TALLY).follow().await.map(|_| ()) })
    };
    assert_eq!(reader.await.unwrap(), 5);
    given(store, new_session(), 2).await;
    runner.wait_for(&store.feed_head().await.unwrap()).await.unwrap();
    assert_eq!(tallied(store, 1).await["all"].events, 7);
    following.abort();
    assert_eq!(lag(store.as_ref(), runner.id()).await.unwrap(), Default::default());
}

/// An action of this day whose session has used so much so far.
fn action(day: i64, tokens: u64, cost: f64) -> NewEvent {
    let metrics = format!(
        r#""llm_metrics":{{"accumulated_cost":{cost},"accumulated_token_usage":{{"model":"m","prompt_tokens":{tokens},"completion_tokens":0}}}}"#
    );
    let body = format!(r#"{{"action":"run","args":{{"command":"true"}},{metrics}}}"#);
    NewEvent { kind: Kind::known("action.run"), at: Timestamp(day * 86_400_000_000), ..event_of(body) }
}

pub async fn a_day_gets_what_was_added_and_not_the_sums_that_models_say(store: &SharedStore) {
    let (one, other) = (new_session(), new_session());
    for (session, events) in [
        (one, vec![action(0, 100, 0.5), action(0, 150, 0.75)]),
        (other, vec![action(0, 10, 0.0)]),
        // The next day; then a model that counts anew, which takes nothing back.
        (one, vec![action(1, 400, 1.0), action(1, 5, 0.1)]),
        (other, vec![NewEvent { kind: Kind::known("observation.error"), ..action(1, 0, 0.0) }]),
    ] {
        store.append(append(session, Expected::Any, events)).await.unwrap();
    }
    let mut runner = CatchUp::new(Arc::clone(store), ActivityByDay).with_page(1);
    runner.run_once().await.unwrap();
    let days = days(store.as_ref(), runner.id()).await.unwrap();
    assert_eq!(days.keys().collect::<Vec<_>>(), ["1970-01-01", "1970-01-02"]);
    let (first, second) = (days["1970-01-01"], days["1970-01-02"]);
    assert_eq!((first.sessions, first.actions, first.errors, first.tokens, first.cost_micro_usd), (2, 3, 0, 160, Some(750_000)));
    assert_eq!(
        (second.sessions, second.actions, second.errors, second.tokens, second.cost_micro_usd),
        (0, 2, 1, 250, Some(250_000))
    );
}

macro_rules! on_each_store {
    ($($case:ident $(($($argument:expr),*))?),* $(,)?) => {
        mod memory {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let store: SharedStore = Arc::new(MemoryStore::new());
                super::$case(&store $(, $($argument),*)?).await;
            })*
        }
        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let url = crate::postgres_server::shared().fresh_database().await;
                let options = rekindle::store::OpenOptions::default();
                let store = rekindle::store::connect(&url, options).await.unwrap();
                super::$case(&store $(, $($argument),*)?).await;
                store.close().await;
            })*
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let place = crate::store_fixture::Place::new();
                let store = place.open().await;
                super::$case(&store $(, $($argument),*)?).await;
                store.close().await;
            })*
        }
    };
}

on_each_store! {
    a_subscription_gets_history_then_live_without_gap_or_duplicate,
    catch_up_beside_writers_comes_to_the_same_as_a_fold_from_scratch(11),
    runners_of_one_projection_at_once_count_each_event_once,
    a_runner_that_is_killed_anywhere_counts_each_event_once,
    lost_answers_count_nothing_twice(5),
    a_poisoned_session_is_quarantined_and_the_others_go_on,
    a_new_version_is_built_beside_the_one_that_is_read,
    a_reader_waits_for_its_own_writes,
    a_day_gets_what_was_added_and_not_the_sums_that_models_say,
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_cursor_holds_in_a_copy_of_the_store_and_is_refused_by_an_earlier_one() {
    use rekindle::store::StoreError;

    use crate::store_fixture::Place;
    let (place, copy) = (Place::new(), Place::new());
    let store = place.open().await;
    given(&store, new_session(), 5).await;
    let mut feed = FeedSubscription::new(Arc::clone(&store), FeedCursor::default());
    for _ in 0..3 {
        feed.next().await.unwrap();
    }
    let kept = feed.cursor().to_string();
    store.close().await;
    std::fs::copy(&place.path, &copy.path).unwrap();
    let store = copy.open().await;
    let mut feed = FeedSubscription::new(Arc::clone(&store), kept.parse().unwrap());
    assert_eq!(place_of_next(&mut feed).await, Seq(4));
    given(&store, new_session(), 3).await;
    let later = store.feed_head().await.unwrap();
    store.close().await;

    // The store as it was before those three.
    let store = place.open().await;
    let refused = FeedSubscription::new(Arc::clone(&store), later.clone()).next().await;
    assert!(matches!(refused, Err(StoreError::Ahead { .. })), "{refused:?}");
    let refused = CatchUp::new(Arc::clone(&store), TALLY).wait_for(&later).await;
    assert!(matches!(refused, Err(StoreError::Ahead { .. })), "{refused:?}");
    store.close().await;
}

pub async fn a_cursor_of_another_store_is_refused_even_where_this_feed_reaches_it(store: &SharedStore, other: &SharedStore) {
    use rekindle::store::StoreError;
    given(store, new_session(), 2).await;
    given(other, new_session(), 9).await;
    let mut feed = FeedSubscription::new(Arc::clone(store), FeedCursor::default());
    feed.next().await.unwrap();
    let kept = feed.cursor().to_string();
    let refused = FeedSubscription::new(Arc::clone(other), kept.parse().unwrap()).next().await;
    assert!(matches!(refused, Err(StoreError::OtherStore)), "{refused:?}");
    let refused = CatchUp::new(Arc::clone(other), TALLY).wait_for(&kept.parse().unwrap()).await;
    assert!(matches!(refused, Err(StoreError::OtherStore)), "{refused:?}");
    let mut goes_on = FeedSubscription::new(Arc::clone(store), kept.parse().unwrap());
    goes_on.next().await.unwrap();
    assert_eq!(goes_on.next_recorded().await.unwrap(), None);
    assert_eq!(goes_on.cursor(), &store.feed_head().await.unwrap());
}

#[tokio::test]
async fn a_cursor_of_another_store_in_memory_is_refused() {
    let (one, other): (SharedStore, SharedStore) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    a_cursor_of_another_store_is_refused_even_where_this_feed_reaches_it(&one, &other).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_cursor_of_another_file_is_refused() {
    use crate::store_fixture::Place;
    let (place, another) = (Place::new(), Place::new());
    let store = place.open().await;
    let mut other = another.open().await;
    // Stores are told apart by when they were made.
    while other.info().await.unwrap().created_at == store.info().await.unwrap().created_at {
        other.close().await;
        std::fs::remove_file(&another.path).unwrap();
        other = another.open().await;
    }
    a_cursor_of_another_store_is_refused_even_where_this_feed_reaches_it(&store, &other).await;
    store.close().await;
    other.close().await;
}

#[cfg(feature = "sqlite")]
async fn place_of_next(feed: &mut FeedSubscription) -> Seq {
    place(&feed.next().await.unwrap()).1
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_damaged_event_is_named_passed_over_and_quarantines_its_session_alone() {
    use crate::store_fixture::Place;
    let place = Place::new();
    let store = place.open().await;
    let (hurt, well) = (new_session(), new_session());
    for _ in 0..2 {
        given(&store, hurt, 2).await;
        given(&store, well, 2).await;
    }
    store.close().await;
    place.sql().execute("update event set source = 'nobody' where session_id = ?1 and seq = 2", [hurt.as_bytes()]).unwrap();
    let store = place.open().await;
    let mut feed = FeedSubscription::new(Arc::clone(&store), FeedCursor::default());
    let mut seen = std::collections::BTreeSet::new();
    let mut damaged = Vec::new();
    while let Some(fed) = feed.next_recorded().await.unwrap() {
        match &fed {
            Fed::Event(row) => assert!(seen.insert(row.pos)),
            Fed::Damaged(damage) => damaged.push((damage.pos, damage.event.session, damage.event.seq)),
        }
    }
    assert_eq!(damaged, [(2, Some(hurt), Seq(2))]);
    assert_eq!(seen, [1, 3, 4, 5, 6, 7, 8].into());
    let mut runner = CatchUp::new(Arc::clone(&store), TALLY).with_page(3);
    runner.run_once().await.unwrap();
    let held = store.quarantined(runner.id()).await.unwrap();
    assert_eq!(held.iter().map(|held| (held.session, held.seq)).collect::<Vec<_>>(), [(hurt, Seq(2))]);
    assert_eq!(tallied(&store, 1).await[&format!("session/{well}")].events, 4);
    store.close().await;
    // A person mends it.
    place.sql().execute("update event set source = 'environment' where seq = 2", []).unwrap();
    let store = place.open().await;
    assert!(CatchUp::new(Arc::clone(&store), TALLY).release(hurt).await.unwrap());
    assert_eq!(tallied(&store, 1).await, expected(&store).await);
    store.close().await;
}
