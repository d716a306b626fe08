//! Servers that crash, connections that are ended, answers that are lost: nothing acknowledged is lost, nothing is there twice.

use std::time::Duration;

use rekindle::store::{OpenOptions, SharedStore, connect};
use tokio::task::block_in_place;

use crate::postgres_load::{Load, Random, assert_sound};
use crate::postgres_server::Server;
use crate::tcp_proxy::Proxy;

/// One node that waits for its server as usual, and one that soon gives the append back to its caller.
async fn two_nodes(url: &str) -> [SharedStore; 2] {
    let impatient = OpenOptions { outage_wait: Duration::from_millis(50), ..OpenOptions::default() };
    [connect(url, OpenOptions::default()).await.unwrap(), connect(url, impatient).await.unwrap()]
}

async fn close(stores: [SharedStore; 2]) {
    for store in stores {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_again_and_again_loses_nothing_acknowledged() {
    let mut random = Random(0x51ED_270B);
    let mut server = Server::start();
    let stores = two_nodes(&server.fresh_database().await).await;
    let load = Load::start(&stores, 8, 100);
    for _ in 0..8 {
        load.goes_on(50).await;
        tokio::time::sleep(random.between(0, 300)).await;
        block_in_place(|| server.stop_immediate());
        tokio::time::sleep(random.between(0, 200)).await;
        block_in_place(|| server.start_again());
    }
    load.goes_on(50).await;
    let written = load.end().await;
    let summary = assert_sound(&stores[0], &written).await;
    println!("{summary:?}");
    close(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_ended_at_any_moment_lose_nothing_acknowledged() {
    let mut random = Random(0x2545_F491);
    let server = Server::start();
    let stores = two_nodes(&server.fresh_database().await).await;
    let load = Load::start(&stores, 8, 200);
    for _ in 0..40 {
        load.goes_on(5).await;
        tokio::time::sleep(random.between(0, 60)).await;
        server.terminate_backends().await.unwrap();
    }
    load.goes_on(50).await;
    let written = load.end().await;
    let summary = assert_sound(&stores[0], &written).await;
    println!("{summary:?}");
    close(stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_neither_lost_nor_done_twice() {
    let server = Server::start();
    let proxy = Proxy::start(server.port(), 0x9E37_79B9).await;
    let url = server.fresh_database().await;
    let stores = two_nodes(&proxy.url(&url)).await;
    proxy.lose_one_of(8);
    let load = Load::start(&stores, 8, 300);
    while proxy.lost() < 120 {
        load.goes_on(1).await;
    }
    proxy.lose_one_of(0);
    let written = load.end().await;
    let direct = connect(&url, OpenOptions::default()).await.unwrap();
    let summary = assert_sound(&direct, &written).await;
    println!("{summary:?}, {} answers lost", proxy.lost());
    assert!(summary.repeated > 0, "none of the lost answers was that of an append that had been done");
    direct.close().await;
    close(stores).await;
}
