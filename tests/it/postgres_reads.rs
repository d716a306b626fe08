//! A read whose connection breaks in the middle of a page goes on where it was.

use rekindle::session::Seq;
use rekindle::store::conformance::{append, event_of, new_session};
use rekindle::store::{Expected, OpenOptions, Pages, Read, connect};

use crate::cutting_proxy::CuttingProxy;
use crate::postgres_server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_is_cut_off_in_the_middle_of_a_page_goes_on_behind_what_it_has_handed_over() {
    let server = Server::start();
    let url = server.fresh_database().await;
    let direct = connect(&url, OpenOptions::default()).await.unwrap();
    let session = new_session();
    for _ in 0..6 {
        let bodies = (0..500).map(|_| event_of(format!("\"{}\"", "x".repeat(900)))).collect();
        direct.append(append(session, Expected::Any, bodies)).await.unwrap();
    }
    let proxy = CuttingProxy::start(server.port()).await;
    let port = proxy.url().rsplit_once(':').unwrap().1.to_owned();
    let by_proxy = url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let store = connect(&by_proxy, OpenOptions::default()).await.unwrap();
    for round in 0..8 {
        let mut pages = Pages::new(store.as_ref(), Read::forward(session, Seq::ZERO));
        let (mut seqs, mut pieces) = (Vec::new(), 0);
        while let Some(rows) = pages.next().await.unwrap() {
            seqs.extend(rows.iter().map(|row| row.seq().0));
            if pieces == round {
                proxy.cut_answers(1);
            }
            pieces += 1;
        }
        assert_eq!(seqs, (1..=3000).collect::<Vec<_>>(), "cut behind piece {round}");
        assert_eq!(proxy.uncut(), 0, "nothing was cut in round {round}");
    }
    store.close().await;
    direct.close().await;
}
