//! Search over all sessions: what is new is found within a second, nothing twice, nothing that was taken out, damage passed over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::projection::search::{Found, Indexer, parse, search};
use rekindle::session::event::Briefed;
use rekindle::session::{Digest, Event, NewEvent, Seq, SessionId, SessionName, Timestamp};
use rekindle::store::conformance::{append, event_of, new_session};
use rekindle::store::{
    Append, Directory, Expected, MemoryStore, OpenError, OpenOptions, SharedStore, StoreError, search_projection,
};
use rekindle::testing::FaultStore;

use crate::store_fixture::Place;

pub const LONG: Duration = Duration::from_secs(60);

fn note(text: &str) -> NewEvent {
    event_of(serde_json::json!({ "text": text }).to_string())
}

pub async fn say(store: &SharedStore, session: SessionId, texts: &[&str]) {
    let events = texts.iter().map(|text| note(text)).collect();
    store.append(append(session, Expected::Any, events)).await.unwrap();
}

pub async fn find(store: &SharedStore, query: &str) -> Found {
    search(store.as_ref(), &parse(query, Timestamp(0)).unwrap(), 100, None).await.unwrap()
}

pub fn seqs(found: &Found) -> Vec<u64> {
    found.hits.iter().map(|hit| hit.event.seq.0).collect()
}

#[tokio::test]
async fn whoever_follows_finds_what_is_new_within_a_second() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    say(&store, session, &["old"]).await;
    let mut indexer = Indexer::new(Arc::clone(&store));
    let following = tokio::spawn(async move { indexer.follow().await.map(|_| ()) });
    for round in 0..3 {
        let word = format!("fresh{round}");
        say(&store, session, &[&word]).await;
        let begin = Instant::now();
        while find(&store, &word).await.hits.is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(1), "{word} is not found");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    following.abort();
    store.close().await;
}

#[tokio::test]
async fn an_indexer_that_is_cut_off_anywhere_indexes_nothing_twice_and_leaves_nothing_out() {
    for seed in 0..5 {
        let place = Place::new();
        let inner = place.open().await;
        let session = new_session();
        for part in 0..10 {
            let texts: Vec<String> = (0..10).map(|index| format!("common word{}", part * 10 + index)).collect();
            say(&inner, session, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let faulty: SharedStore = Arc::new(FaultStore::new(Arc::clone(&inner), seed, 50));
        let mut failures = 0;
        loop {
            // A new one each time, as after a kill.
            match Indexer::new(Arc::clone(&faulty)).with_page(7).catch_up(LONG).await {
                Ok(0) => break,
                Ok(left) => panic!("{left} left"),
                Err(StoreError::Unknown(_) | StoreError::Busy(_)) => failures += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(failures > 0);
        assert_eq!(seqs(&find(&inner, "common").await), (1..=100).rev().collect::<Vec<_>>());
        inner.close().await;
        // The library's own view of whether its index is whole.
        let connection = place.sql();
        connection.execute("insert into search_word (search_word) values ('integrity-check')", []).unwrap();
        let rows: i64 = connection.query_row("select count(*) from search_word_docsize", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 100);
    }
}

#[tokio::test]
async fn a_damaged_event_is_passed_over() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    say(&store, session, &["word one", "word two", "word three"]).await;
    store.close().await;
    place.sql().execute("update event set event_id = x'00' where seq = 2", []).unwrap();
    let store = place.open().await;
    assert_eq!(Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap(), 0);
    assert_eq!(seqs(&find(&store, "word").await), [3, 1]);
    // Damage that comes after it was indexed.
    store.close().await;
    place.sql().execute("update event set source = 'nobody' where seq = 3", []).unwrap();
    let store = place.open().await;
    assert_eq!(seqs(&find(&store, "word").await), [1]);
    store.close().await;
}

#[tokio::test]
async fn the_middle_of_a_long_text_is_left_out_and_that_is_said() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    let session = new_session();
    let text = format!("beginning {} middle {} ending", "x ".repeat(20_000), "y ".repeat(20_000));
    say(&store, session, &[&text, "short beginning"]).await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    let found = find(&store, "beginning ending").await;
    assert_eq!((seqs(&found), found.hits[0].cut), (vec![1], true));
    assert_eq!(seqs(&find(&store, "middle").await), Vec::<u64>::new());
    assert!(!find(&store, "short").await.hits[0].cut);
}

#[tokio::test]
async fn a_search_tells_how_far_the_index_is() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    say(&store, new_session(), &["word"; 5]).await;
    assert_eq!(find(&store, "word").await.behind, 5);
    assert_eq!(Indexer::new(Arc::clone(&store)).with_page(2).catch_up(Duration::ZERO).await.unwrap(), 5);
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    let found = find(&store, "word").await;
    assert_eq!((found.behind, found.hits.len()), (0, 5));
}

#[tokio::test]
async fn a_search_goes_on_behind_its_cursor() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    say(&store, new_session(), &["word"; 25]).await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    let query = parse("word", Timestamp(0)).unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let found = search(store.as_ref(), &query, 10, cursor).await.unwrap();
        seen.extend(seqs(&found));
        let Some(next) = found.next else { break };
        cursor = Some(next.to_string().parse().unwrap());
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>());
}

/// Sessions of three states, of two models, of rising cost, each of which says `word` thrice, and every hundredth `rare` once.
async fn told_apart(store: &SharedStore, count: usize) {
    for index in 0..count {
        let session = SessionId::named(&format!("session-{index:04}").parse::<SessionName>().unwrap());
        let phase = ["finished", "paused", "failed"][if index % 20 == 7 { 1 } else { usize::from(index == 3) * 2 }];
        let model = if index == 9 { "acme/seldom" } else { "acme/often" };
        let (nothing, agent) = (Digest::of(b""), "coder".to_owned());
        let briefed = Event::Briefed(Briefed { agent, model: model.to_owned(), prompt: nothing, tools: nothing, names: vec![] });
        let texts = ["word", if index % 100 == 0 { "word rare" } else { "word" }, "word"];
        let told = [NewEvent { kind: briefed.kind(), ..event_of(briefed.body()) }];
        let events = told.into_iter().chain(texts.map(note)).collect();
        let cost_micro_usd = (index > 0).then_some(index as u64 * 1000);
        let directory = Some(Directory { phase: phase.to_owned(), cost_micro_usd, ..Directory::default() });
        store.append(Append { directory, ..append(session, Expected::Any, events) }).await.unwrap();
    }
    Indexer::new(Arc::clone(store)).catch_up(LONG).await.unwrap();
}

/// All hits of a query, page by page: of which sessions, each with how many.
async fn by_session(store: &SharedStore, query: &str) -> std::collections::BTreeMap<String, usize> {
    let names: std::collections::BTreeMap<SessionId, String> = (0..2000)
        .map(|index| format!("session-{index:04}"))
        .map(|name| (SessionId::named(&name.parse::<SessionName>().unwrap()), name))
        .collect();
    let query = parse(query, Timestamp(0)).unwrap();
    let (mut found, mut cursor) = (std::collections::BTreeMap::new(), None);
    loop {
        let page = search(store.as_ref(), &query, 100, cursor).await.unwrap();
        for hit in &page.hits {
            *found.entry(names[&hit.event.session].clone()).or_default() += 1;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}

/// Whichever way a search takes: where few sessions pass, where most do, and where few do not.
async fn filters_over_sessions_give_exactly_those_that_pass(store: &SharedStore, count: usize) {
    told_apart(store, count).await;
    let all: Vec<usize> = (0..count).collect();
    let paused = |index: &usize| index % 20 == 7;
    let passing = |passes: &dyn Fn(&usize) -> bool| -> Vec<String> {
        all.iter().filter(|index| passes(index)).map(|index| format!("session-{index:04}")).collect()
    };
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("state:paused", passing(&paused)),
        ("state:failed", passing(&|index| *index == 3)),
        ("state:finished", passing(&|index| !paused(index) && *index != 3)),
        ("-state:finished", passing(&|index| paused(index) || *index == 3)),
        ("-state:paused", passing(&|index| !paused(index))),
        ("-state:nonesuch", passing(&|_| true)),
        ("state:nonesuch", Vec::new()),
        ("model:acme", passing(&|_| true)),
        ("model:seldom", passing(&|index| *index == 9)),
        ("-model:seldom", passing(&|index| *index != 9)),
        ("-model:often", passing(&|index| *index == 9)),
        ("model:often state:failed", passing(&|index| *index == 3)),
        ("model:often state:paused cost:<0.05", passing(&|index| paused(index) && *index < 50)),
        ("cost:>0.01 cost:<0.02", passing(&|index| (11..20).contains(index))),
        ("cost:>0", passing(&|index| *index > 0)),
        ("-cost:>0", passing(&|index| *index == 0)),
        ("cost:<0", Vec::new()),
        ("session:session-0005", passing(&|index| *index == 5)),
        ("-session:session-0005", passing(&|index| *index != 5)),
        ("session:session-0005 state:paused", Vec::new()),
        ("session:nobody", Vec::new()),
    ];
    for (filter, sessions) in cases {
        let found = by_session(store, &format!("{filter} word")).await;
        assert!(found.values().all(|hits| *hits == 3), "{filter}: {found:?}");
        assert_eq!(found.into_keys().collect::<Vec<_>>(), sessions, "{filter}");
        let rare: Vec<String> = sessions.into_iter().filter(|name| name.ends_with("00")).collect();
        let found = by_session(store, &format!("{filter} rare")).await;
        assert_eq!(found.into_keys().collect::<Vec<_>>(), rare, "{filter}, a rare word");
    }
}

#[tokio::test]
async fn filters_over_sessions_are_exact_in_memory() {
    let store: SharedStore = Arc::new(MemoryStore::new());
    filters_over_sessions_give_exactly_those_that_pass(&store, 40).await;
}

#[tokio::test]
async fn filters_over_sessions_are_exact_in_a_file() {
    let place = Place::new();
    let store = place.open().await;
    // More than are named in a search.
    filters_over_sessions_give_exactly_those_that_pass(&store, 420).await;
    store.close().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn filters_over_sessions_are_exact_on_a_server() {
    let url = crate::postgres_server::shared().fresh_database().await;
    let store = rekindle::store::connect(&url, OpenOptions::default()).await.unwrap();
    filters_over_sessions_give_exactly_those_that_pass(&store, 340).await;
    store.close().await;
}

#[tokio::test]
async fn an_index_from_before_models_were_noted_is_made_anew() {
    let place = Place::new();
    let store = place.open().await;
    told_apart(&store, 12).await;
    store.close().await;
    let older = "drop table search_model; alter table session drop column packed_seq; drop view event_text; \
         create view event_text as select 1; alter table blob drop column form; \
         alter table store drop column encrypted; update store set format = 8; pragma user_version = 8; \
         delete from _sqlx_migrations where version >= 9";
    place.sql().execute_batch(older).unwrap();
    let store = place.open().await;
    assert_eq!(find(&store, "word").await.hits, [], "nothing of it is left");
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(find(&store, "word model:seldom").await.hits.len(), 3);
    assert_eq!(find(&store, "word").await.hits.len(), 36);
    store.close().await;
}

const MANY: [&str; 9] = [
    "common",
    "word7 OR word8",
    "\"word3 common\"",
    "wor*",
    "common -word1",
    "kind:note",
    "kind:other common",
    "source:agent",
    "since:2001-01-01",
];

/// The answers to many queries.
async fn answers(store: &SharedStore) -> Vec<Vec<(SessionId, u64)>> {
    let mut answers = Vec::new();
    for query in MANY {
        let hits = find(store, query).await.hits;
        answers.push(hits.iter().map(|hit| (hit.event.session, hit.event.seq.0)).collect());
    }
    answers
}

#[tokio::test]
async fn an_index_that_is_made_anew_gives_the_same_answers() {
    let place = Place::new();
    let store = place.open().await;
    let sessions = [new_session(), new_session()];
    for round in 0..10 {
        for session in sessions {
            let texts: Vec<String> = (0..4).map(|index| format!("word{} common", (round * 4 + index) % 11)).collect();
            say(&store, session, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        // Grown page by page, as it comes.
        Indexer::new(Arc::clone(&store)).with_page(3).catch_up(LONG).await.unwrap();
        store.redact(sessions[0], Seq(round * 4 + 1)).await.unwrap();
    }
    let before = answers(&store).await;
    assert!(before.iter().filter(|hits| !hits.is_empty()).count() > 4, "{before:?}");
    store.drop_projection(&search_projection()).await.unwrap();
    assert!(answers(&store).await.iter().all(Vec::is_empty));
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(answers(&store).await, before);
    store.close().await;
    // As a program would that cuts words in another way.
    place.sql().execute("update checkpoint set version = 0 where projection = 'search'", []).unwrap();
    let store = place.open().await;
    assert_eq!(store.indexed().await.unwrap(), Default::default());
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(answers(&store).await, before);
    store.close().await;
}

#[tokio::test]
async fn an_index_of_a_newer_program_is_left_alone() {
    let place = Place::new();
    let store = place.open().await;
    say(&store, new_session(), &["word"]).await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    store.close().await;
    place.sql().execute("update checkpoint set version = version + 1 where projection = 'search'", []).unwrap();
    let store = place.open().await;
    let refused = Indexer::new(Arc::clone(&store)).catch_up(LONG).await;
    assert!(matches!(&refused, Err(StoreError::Invalid(why)) if why.contains("newer version")), "{refused:?}");
    let rows = |sql: &str| place.sql().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(rows("select count(*) from search_word_docsize"), 1);
    store.close().await;
}

#[tokio::test]
async fn tables_of_an_older_version_that_cannot_be_changed_say_how_to_bring_them_here() {
    let place = Place::new();
    let store = place.open().await;
    say(&store, new_session(), &["word"]).await;
    store.close().await;
    let older = "drop table search_word; drop table search_day; drop table search_model; alter table session drop column packed_seq; \
         drop view event_text; create view event_text as select 1; alter table blob drop column form; alter table store drop column encrypted; update store set format = 6; \
         pragma user_version = 6; drop index session_base; alter table session drop column base_session; \
         alter table session drop column base_seq; delete from _sqlx_migrations where version >= 7";
    place.sql().execute_batch(older).unwrap();
    let refused = place.try_open(OpenOptions { read_only: true, ..OpenOptions::DEFAULT }).await.err().unwrap();
    assert!(matches!(refused, StoreError::Open(OpenError::Older { found: 6, .. })), "{refused}");
    assert!(refused.to_string().contains("rekindle store migrate"), "{refused}");
    // Where it can be changed, it is.
    let store = place.open().await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(find(&store, "word").await.hits.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn no_text_makes_a_database_fail() {
    let place = Place::new();
    let file = place.open().await;
    hostile_queries_are_answered_or_refused(&file).await;
    file.close().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn no_text_makes_a_server_fail() {
    let url = crate::postgres_server::shared().fresh_database().await;
    let server = rekindle::store::connect(&url, OpenOptions::default()).await.unwrap();
    hostile_queries_are_answered_or_refused(&server).await;
    server.close().await;
}

/// Whatever was typed, and whatever was said.
async fn hostile_queries_are_answered_or_refused(store: &SharedStore) {
    let longest = (0..100).map(|index| "w".repeat(70) + &index.to_string()).collect::<Vec<_>>();
    let many = [longest.join(" "), longest.join(" OR "), longest.join(" -"), longest.join("/"), "x".repeat(100_000)];
    let everything: String = (' '..='\u{2fff}').chain('\u{fe00}'..='\u{ffff}').chain('\u{1f000}'..='\u{1faff}').collect();
    let of_everything: Vec<String> =
        everything.chars().collect::<Vec<_>>().chunks(200).map(|part| part.iter().collect()).collect();
    let typed = [
        "a\" OR \"b",
        "'; drop table event; --",
        "x' | 'y",
        "NEAR(a b, 2)",
        "words : secret",
        "a AND b NOT c",
        "^a + b",
        "{a b}: c",
        "a\0b",
        "\0",
        "\\",
        "'",
        "''",
        "\"",
        "\"\"",
        "(",
        "a)",
        "*",
        "a*b*",
        "§k:x",
        "§",
        "-",
        "--",
        "-\"",
        ":",
        "::",
        "kind:'",
        "kind:\"a b\"",
        "session:%",
        "session:'",
        "model:*",
        "state:\0",
        "tool:\u{0}x",
        "tool:😀",
        "\u{202e}abc",
        "ﬁ İ ß ǅ",
        "%s%n",
        "$1",
        "{}",
        "since:0d",
        "until:0s",
        "since:0000-01-01",
        "until:9999-12-31",
        "since:9223372036854775807w",
        "cost:>1e300",
        "cost:<-1",
        "cost:>NaN",
        "cost:>inf",
    ];
    let all: Vec<&str> = typed.into_iter().chain(many.iter().chain(&of_everything).map(String::as_str)).collect();
    let session = new_session();
    say(store, session, &all).await;
    Indexer::new(Arc::clone(store)).catch_up(LONG).await.unwrap();
    let (mut answered, mut found) = (0, 0);
    for text in &all {
        for text in [(*text).to_owned(), format!("{text}*"), format!("kind:{text} model:{text}")] {
            let Ok(query) = parse(&text, Timestamp(1_800_000_000_000_000)) else { continue };
            let hits = search(store.as_ref(), &query, 5, None).await.unwrap_or_else(|error| panic!("{text:.200?}: {error:?}"));
            answered += 1;
            found += usize::from(!hits.hits.is_empty());
        }
    }
    assert!(answered > 200 && found > 100, "{answered} answered, {found} found something");
}
