//! PostgreSQL keeps the same contract, and understands every statement.

use rekindle::store::statements::{common, postgres};
use rekindle::store::{OpenOptions, SharedStore, connect};
use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};

use crate::postgres_server::{Disk, Server};

async fn make_store() -> (SharedStore, Server) {
    let server = Server::start(Disk::IsTrusted);
    let store = connect(&server.url("postgres"), OpenOptions::default()).await.unwrap();
    (store, server)
}

rekindle::store_conformance!(make_store);

#[tokio::test]
async fn every_statement_prepares() {
    let (store, server) = make_store().await;
    store.close().await;
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres")).await.unwrap();
    for (name, statement) in common::ALL.iter().chain(postgres::ALL) {
        let prepared = connection.prepare((*statement).into_sql_str()).await;
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    }
}
