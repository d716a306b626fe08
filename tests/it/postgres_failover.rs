//! A primary that dies and a standby that takes its place: the writers find it, and nothing acknowledged is lost.

use std::time::Duration;

use rekindle::store::conformance::new_node;
use rekindle::store::{OpenOptions, connect};
use tokio::task::block_in_place;

use crate::postgres_load::{Load, assert_sound};
use crate::postgres_server::Server;

/// A promotion takes under a second; the rest is for a machine that is busy.
const GOES_ON_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_synchronous_standby_loses_nothing_acknowledged() {
    let mut primary = Server::start();
    let url = primary.fresh_database().await;
    let standby = Server::standby_of(&primary).await;
    let database = url.rsplit('/').next().unwrap();
    let store = connect(&format!("{url},{}", standby.url(database)), OpenOptions::default()).await.unwrap();
    let load = Load::start(std::slice::from_ref(&store), 8, 400);
    load.goes_on(200).await;
    block_in_place(|| primary.kill());
    standby.promote().await;
    tokio::time::timeout(GOES_ON_WITHIN, load.goes_on(200)).await.expect("the writers go on within seconds");
    let written = load.end().await;
    let summary = assert_sound(&store, &written).await;
    println!("{summary:?}");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_renews_its_lease_finds_the_new_primary_by_itself() {
    let mut primary = Server::start();
    let url = primary.fresh_database().await;
    let standby = Server::standby_of(&primary).await;
    let database = url.rsplit('/').next().unwrap();
    let store = connect(&format!("{url},{}", standby.url(database)), OpenOptions::default()).await.unwrap();
    let node = new_node();
    let renew = async || store.renew_lease(node, "a node", Duration::from_secs(60)).await;
    renew().await.unwrap();
    block_in_place(|| primary.kill());
    standby.promote().await;
    let found = async {
        while renew().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(GOES_ON_WITHIN, found).await.expect("the lease is renewed within seconds");
    assert!(!store.node(node).await.unwrap().unwrap().expired);
    store.close().await;
}
