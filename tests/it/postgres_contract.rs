//! PostgreSQL keeps the same contract, and understands every statement.

use rekindle::store::statements::{common, postgres};
use rekindle::store::{OpenOptions, SharedStore, connect};
use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};

use crate::postgres_server::shared;

async fn make_store() -> (SharedStore, ()) {
    let url = shared().fresh_database().await;
    (connect(&url, OpenOptions::default()).await.unwrap(), ())
}

rekindle::store_conformance!(make_store);

#[tokio::test]
async fn every_statement_prepares() {
    let url = shared().fresh_database().await;
    connect(&url, OpenOptions::default()).await.unwrap().close().await;
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for (name, statement) in common::ALL.iter().chain(postgres::ALL) {
        let prepared = connection.prepare((*statement).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}
