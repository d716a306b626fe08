//! Every SQL text fits the tables, and the hot ones are served by an index.

use rekindle::store::statements::{common, sqlite};

use crate::store_fixture::Place;

#[tokio::test]
async fn every_statement_prepares() {
    let place = Place::new();
    place.open().await.close().await;
    let connection = place.sql();
    for (name, statement) in common::ALL.iter().chain(sqlite::ALL) {
        // A savepoint can only be released where it was begun.
        if ["RELEASE", "ROLLBACK_TO"].contains(name) {
            continue;
        }
        connection.prepare(statement).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn every_statement_prepares_in_sqlx() {
    use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};
    let place = Place::new();
    place.open().await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&place.path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for (name, statement) in common::ALL {
        let prepared = connection.prepare(statement.into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}

#[tokio::test]
async fn hot_statements_never_scan_or_sort() {
    let place = Place::new();
    place.open().await.close().await;
    let connection = place.sql();
    let hot = [
        sqlite::HEAD,
        sqlite::EVENT_BY_ID,
        sqlite::EVENTS_FORWARD,
        sqlite::EVENTS_BACKWARD,
        sqlite::FEED,
        sqlite::LONG_BODY,
        sqlite::SESSION,
        sqlite::SESSIONS,
        common::SNAPSHOT,
        common::DROP_BLOB,
        sqlite::FIND,
        sqlite::INDEX,
        sqlite::FORGET_WORDS,
    ];
    for statement in hot {
        let mut explain = connection.prepare(&format!("explain query plan {statement}")).unwrap();
        let count = explain.parameter_count();
        let plan: Vec<String> = explain
            .query_map(rusqlite::params_from_iter((0..count).map(|_| 0)), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for step in plan {
            // The index of words says of itself that it is scanned, by the words that are asked for.
            let by_words = step.starts_with("SCAN search_word VIRTUAL TABLE INDEX") && step.contains('M');
            // What was handed over is gone through; nothing else is.
            let handed_over = step.starts_with("SCAN entry VIRTUAL TABLE");
            let seeks = ["SEARCH", "CORRELATED", "SCALAR", "REUSE"].into_iter().any(|step_is| step.starts_with(step_is));
            let good = seeks || by_words || handed_over;
            assert!(good, "{statement}\n{step}");
        }
    }
}
