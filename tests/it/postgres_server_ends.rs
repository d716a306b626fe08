//! The servers that tests start are there as long as they are wanted, and gone afterwards.

use sqlx::{Connection as _, PgConnection};

use crate::postgres_server::{Server, shared};

#[tokio::test]
async fn a_server_keeps_what_was_committed_when_it_is_stopped_or_killed() {
    let mut server = Server::start();
    server.sql("create table t (n bigint)").await;
    server.sql("insert into t values (1)").await;
    server.stop_immediate();
    server.start_again();
    server.sql("insert into t values (2)").await;
    server.kill();
    server.start_again();
    let count: i64 =
        sqlx::query_scalar("select count(*) from t").fetch_one(&mut server.connection("postgres").await).await.unwrap();
    assert_eq!(count, 2);
    let data = server.data_directory();
    drop(server);
    assert!(!data.exists());
}

#[tokio::test]
async fn databases_of_the_shared_server_are_their_own() {
    let (one, two) = (shared().fresh_database().await, shared().fresh_database().await);
    for url in [one, two] {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("create table t (n bigint)").execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_promoted_standby_has_all_that_its_primary_committed() {
    let mut primary = Server::start();
    let standby = Server::standby_of(&primary).await;
    primary.sql("create table t (n bigint)").await;
    primary.sql("insert into t values (1)").await;
    primary.kill();
    standby.promote().await;
    standby.sql("insert into t values (2)").await;
}
