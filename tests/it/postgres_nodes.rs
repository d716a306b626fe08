//! Nodes that share a database hear of each other's appends.

use std::time::{Duration, Instant};

use rekindle::engine::Subscription;
use rekindle::session::Seq;
use rekindle::store::conformance::{append, events, new_session};
use rekindle::store::{Expected, OpenOptions, connect};

use crate::postgres_server::shared;

/// How often it is tried: a node that only looks by itself once a second cannot be quick each time.
const APPENDS: u64 = 20;
/// A node without a doorbell takes 20 × 0.5 s on average.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_on_one_node_is_heard_on_another() {
    let url = shared().fresh_database().await;
    let one = connect(&url, OpenOptions::default()).await.unwrap();
    let other = connect(&url, OpenOptions::default()).await.unwrap();
    let session = new_session();
    one.append(append(session, Expected::NoSession, events(1))).await.unwrap();
    let mut subscription = Subscription::new(other.clone(), session, Seq(1));
    let mut slow = Duration::ZERO;
    for seq in 2..2 + APPENDS {
        // Begins at any moment of the other's own looking around.
        tokio::time::sleep(Duration::from_millis(137)).await;
        one.append(append(session, Expected::Any, events(1))).await.unwrap();
        let since = Instant::now();
        assert_eq!(subscription.next().await.unwrap().seq(), Seq(seq));
        slow += since.elapsed();
    }
    assert!(slow < HEARD_WITHIN, "{APPENDS} appends were heard after {slow:?} in all");
    one.close().await;
    other.close().await;
}
