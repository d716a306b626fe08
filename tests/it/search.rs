//! Search over all sessions: what is new is found within a second, nothing twice, nothing that was taken out, damage passed over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::projection::search::{Found, Indexer, parse, search};
use rekindle::session::{NewEvent, Seq, SessionId, Timestamp};
use rekindle::store::conformance::{append, event_of, new_session};
use rekindle::store::{Expected, MemoryStore, SharedStore, StoreError, search_projection};
use rekindle::testing::FaultStore;

use crate::cli_support::Rig;
use crate::store_fixture::Place;

const LONG: Duration = Duration::from_secs(60);

fn note(text: &str) -> NewEvent {
    event_of(serde_json::json!({ "text": text }).to_string())
}

async fn say(store: &SharedStore, session: SessionId, texts: &[&str]) {
    let events = texts.iter().map(|text| note(text)).collect();
    store.append(append(session, Expected::Any, events)).await.unwrap();
}

async fn find(store: &SharedStore, query: &str) -> Found {
    search(store.as_ref(), &parse(query, Timestamp(0)).unwrap(), 100, None).await.unwrap()
}

fn seqs(found: &Found) -> Vec<u64> {
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
async fn what_is_redacted_or_purged_is_gone_from_the_bytes_of_the_index() {
    let place = Place::new();
    let store = place.open().await;
    let (kept, purged) = (new_session(), new_session());
    let filler: Vec<String> = (0..300).map(|index| format!("filler number{index} stays")).collect();
    say(&store, kept, &filler.iter().map(String::as_str).collect::<Vec<_>>()).await;
    say(&store, kept, &["xyzzyredacted password", "plain"]).await;
    say(&store, purged, &["xyzzypurged", "both xyzzypurged"]).await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(find(&store, "xyzzy*").await.hits.len(), 3);
    let has = |word: &str| {
        let bytes = |suffix: &str| std::fs::read(format!("{}{suffix}", place.path.display())).unwrap_or_default();
        [bytes(""), bytes("-wal")].iter().any(|bytes| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    // An index keeps what words have in common once.
    assert!(has("xyzzy"));
    store.redact(kept, Seq(301)).await.unwrap();
    store.purge(purged, Timestamp(1)).await.unwrap();
    assert_eq!(find(&store, "xyzzy*").await.hits.len(), 0);
    assert_eq!(seqs(&find(&store, "plain").await), [302]);
    store.close().await;
    for word in ["xyzzy", "redacted password", "purged"] {
        // The word `purged` is also a phase.
        let word = if word == "purged" { "xyzzypurged" } else { word };
        assert!(!has(word), "{word} is still in the file");
    }
    let connection = place.sql();
    connection.execute("insert into search_word (search_word) values ('integrity-check')", []).unwrap();
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

#[tokio::test]
async fn an_index_of_another_version_is_made_anew_before_anything_is_forgotten_by_its_words() {
    let place = Place::new();
    let store = place.open().await;
    let session = new_session();
    say(&store, session, &["word one", "word two"]).await;
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    store.close().await;
    place.sql().execute("update checkpoint set version = 0 where projection = 'search'", []).unwrap();
    let store = place.open().await;
    store.redact(session, Seq(1)).await.unwrap();
    assert_eq!(store.checkpoint(&search_projection()).await.unwrap(), Default::default());
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(seqs(&find(&store, "word").await), [2]);
    store.close().await;
    place.sql().execute("insert into search_word (search_word) values ('integrity-check')", []).unwrap();
}

fn rig() -> Rig {
    let rig = Rig::new();
    let one = rig.recording(
        "one.json",
        &[("curl -L http://a/loop", "curl: too many redirect\u{1b}[2Jloops", 47), ("ls src", "main.rs", 0)],
    );
    let two = rig.recording("two.json", &[("grep -r redirect .", "src/foo_bar.rs: redirect", 0)]);
    assert_eq!(rig.run(&["import", &one, "--name", "one"]).code, 0);
    assert_eq!(rig.run(&["import", &two, "--name", "two"]).code, 0);
    rig
}

#[test]
fn a_hit_has_an_address_that_show_takes() {
    let rig = rig();
    let said = rig.run(&["search", "redirect", "tool:bash"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.out.lines().count(), 3, "{said:?}");
    assert!(said.out.contains("«redirect»") && said.err.contains("3 hits in 2 sessions"), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
    for line in said.out.lines() {
        let address = line.split_whitespace().next().unwrap();
        let shown = rig.run(&["show", address]);
        assert!(shown.code == 0 && shown.out.contains("redirect"), "{address}: {shown:?}");
    }
    let json = rig.json(&["search", "\"foo_bar\"", "-o", "json"]);
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["kind"], "observation.run");
    assert!(json[0]["snippet"].as_str().unwrap().contains("«foo_bar»"), "{json}");
}

#[test]
fn filters_narrow_a_search() {
    let rig = rig();
    let hits = |query: &str| rig.json(&["search", query, "-o", "json"]).as_array().unwrap().len();
    assert_eq!(hits("redirect"), 3);
    assert_eq!(hits("redirect kind:action"), 1);
    assert_eq!(hits("redirect kind:observation.run"), 2);
    assert_eq!(hits("redirect session:one"), 1);
    assert_eq!(hits("redirect -session:one"), 2);
    assert_eq!(hits("redirect session:@last"), 2);
    assert_eq!(hits("redirect source:user"), 0);
    assert_eq!(hits("redirect since:2001-01-01"), 3);
    assert_eq!(hits("redirect until:2001-01-01"), 0);
    assert_eq!(hits("redirect cost:>1000"), 0);
    assert_eq!(hits("redirect state:nonesuch"), 0);
    assert_eq!(hits("redirect -loops -grep"), 1);
    assert_eq!(hits("curl OR grep kind:action"), 2);
}

#[test]
fn a_query_that_cannot_be_read_and_a_search_without_hits_are_told_apart() {
    let rig = rig();
    rig.run(&["search", "kin:action"]).assert_refused(2, &["did you mean kind:action"]);
    rig.run(&["search", "->"]).assert_refused(2, &["no letter"]);
    let said = rig.run(&["search", "nowhere"]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");
    assert!(said.err.contains("0 hits"), "{said:?}");
    assert_eq!(rig.run(&["search", "nowhere", "-o", "json"]).out.trim(), "[]");
    assert_eq!(Rig::new().run(&["search", "nothing"]).code, 0);
}

#[test]
fn pages_of_a_search_go_on_from_the_command_line() {
    let rig = rig();
    let first = rig.run(&["search", "redirect", "-n", "2"]);
    let cursor = first.err.split("--cursor ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let rest = rig.run(&["search", "redirect", "--cursor", &cursor]);
    assert_eq!((first.out.lines().count(), rest.out.lines().count()), (2, 1), "{rest:?}");
}
