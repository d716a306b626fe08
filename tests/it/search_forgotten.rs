//! What is redacted or purged is in no word of the index and in no byte of its file, whatever else goes on.

use std::sync::Arc;

use rekindle::projection::search::Indexer;
use rekindle::session::{Seq, Timestamp};
use rekindle::store::conformance::new_session;
use rekindle::store::{SharedStore, search_projection};

use crate::search::{LONG, find, say, seqs};
use crate::store_fixture::Place;

/// The words that are in the index, once its store is closed; and whether the library says that it is whole.
fn words(place: &Place) -> Vec<String> {
    let connection = place.sql();
    connection.execute("insert into search_word (search_word) values ('integrity-check')", []).unwrap();
    connection.execute_batch("create virtual table temp.vocabulary using fts5vocab(main, search_word, row)").unwrap();
    let mut words = connection.prepare("select term from temp.vocabulary").unwrap();
    words.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Whether a text is in a file of the store.
fn holds(place: &Place, text: &str) -> bool {
    let bytes = |suffix: &str| std::fs::read(format!("{}{suffix}", place.path.display())).unwrap_or_default();
    [bytes(""), bytes("-wal")].iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

async fn index(store: &SharedStore) {
    assert_eq!(Indexer::new(Arc::clone(store)).catch_up(LONG).await.unwrap(), 0, "not indexed in time");
}

#[tokio::test]
async fn what_is_redacted_or_purged_is_gone_from_every_byte_of_the_file_and_its_log() {
    let place = Place::new();
    let store = place.open().await;
    let (kept, purged) = (new_session(), new_session());
    let filler: Vec<String> = (0..300).map(|index| format!("filler number{index} stays")).collect();
    say(&store, kept, &filler.iter().map(String::as_str).collect::<Vec<_>>()).await;
    say(&store, kept, &["xyzzyredacted password", "plain"]).await;
    say(&store, purged, &["xyzzypurged", "both xyzzypurged"]).await;
    index(&store).await;
    assert_eq!(find(&store, "xyzzy*").await.hits.len(), 3);
    // An index keeps what words have in common once.
    assert!(holds(&place, "xyzzy") && holds(&place, "xyzzyredacted password"));
    store.redact(kept, Seq(301)).await.unwrap();
    store.purge(purged, Timestamp(1)).await.unwrap();
    assert_eq!(find(&store, "xyzzy*").await.hits.len(), 0);
    assert_eq!(seqs(&find(&store, "plain").await), [302]);
    for word in ["xyzzy", "redacted password", "zypurged"] {
        assert!(!holds(&place, word), "{word} is still in the file or its log, while it is open");
    }
    store.close().await;
    for word in ["xyzzy", "redacted password", "zypurged"] {
        assert!(!holds(&place, word), "{word} is still in the file");
    }
    assert!(!words(&place).iter().any(|word| word.contains("xyzzy") || word == "password"));
}

#[tokio::test]
async fn appends_and_indexers_that_race_with_a_purge_leave_no_word_behind() {
    let place = Place::new();
    let store = place.open().await;
    // Another process.
    let other = place.open().await;
    let kept = new_session();
    say(&store, kept, &["kept"]).await;
    for round in 0..20 {
        let gone = new_session();
        say(&store, gone, &["gone first"]).await;
        index(&store).await;
        let (appending, indexing) = (Arc::clone(&other), Arc::clone(&other));
        let appending = tokio::spawn(async move {
            for index in 0..20 {
                let event = rekindle::store::conformance::event_of(format!("{{\"text\": \"gone{round}x{index}\"}}"));
                let append = rekindle::store::conformance::append(gone, rekindle::store::Expected::Any, vec![event]);
                if appending.append(append).await.is_err() {
                    // It was purged.
                    return;
                }
            }
        });
        let indexing = tokio::spawn(async move { Indexer::new(indexing).with_page(2).catch_up(LONG).await });
        store.purge(gone, Timestamp(1)).await.unwrap();
        appending.await.unwrap();
        indexing.await.unwrap().unwrap();
    }
    index(&store).await;
    assert_eq!(find(&store, "gone*").await.hits.len(), 0);
    assert_eq!(seqs(&find(&store, "kept").await), [1]);
    other.close().await;
    store.close().await;
    let left: Vec<String> = words(&place).into_iter().filter(|word| word.starts_with("gone") || word == "first").collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn a_purge_of_a_very_long_session_makes_the_index_anew() {
    let place = Place::new();
    let store = place.open().await;
    let (kept, long) = (new_session(), new_session());
    say(&store, kept, &["kept", "xyzzyredacted"]).await;
    let texts: Vec<String> = (0..20_100).map(|index| format!("gone{}", index % 100)).collect();
    for texts in texts.chunks(4000) {
        say(&store, long, &texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    index(&store).await;
    assert_eq!(find(&store, "gone7").await.hits.len(), 100);
    store.purge(long, Timestamp(1)).await.unwrap();
    assert_eq!(store.indexed().await.unwrap(), Default::default(), "it begins anew");
    assert_eq!(find(&store, "gone*").await.hits.len(), 0);
    index(&store).await;
    assert_eq!(find(&store, "gone*").await.hits.len(), 0);
    assert_eq!(seqs(&find(&store, "kept").await), [1]);
    store.close().await;
    assert!(!words(&place).iter().any(|word| word.starts_with("gone")));
}

#[tokio::test]
async fn where_nothing_was_ever_indexed_nothing_is_begun_by_forgetting() {
    let place = Place::new();
    nothing_is_begun_by_forgetting(&place.open().await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn where_nothing_was_ever_indexed_nothing_is_begun_on_a_server() {
    let url = crate::postgres_server::shared().fresh_database().await;
    nothing_is_begun_by_forgetting(&rekindle::store::connect(&url, Default::default()).await.unwrap()).await;
}

async fn nothing_is_begun_by_forgetting(store: &SharedStore) {
    let (session, gone) = (new_session(), new_session());
    say(store, session, &["one", "two"]).await;
    say(store, gone, &["three"]).await;
    store.redact(session, Seq(1)).await.unwrap();
    store.purge(gone, Timestamp(1)).await.unwrap();
    assert_eq!(store.projections().await.unwrap(), []);
    index(store).await;
    assert_eq!(seqs(&find(store, "two").await), [2]);
    assert_eq!(store.projections().await.unwrap(), [search_projection()]);
    store.close().await;
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
    assert_eq!(store.indexed().await.unwrap(), Default::default());
    Indexer::new(Arc::clone(&store)).catch_up(LONG).await.unwrap();
    assert_eq!(seqs(&find(&store, "word").await), [2]);
    store.close().await;
    assert!(!words(&place).contains(&"one".to_owned()));
}
