//! Stands between a client and a PostgreSQL server, and loses the answers to some commits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::postgres_load::Random;

/// A proxy in front of one server. Connections break with it.
pub struct Proxy {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    server: u16,
    random: Mutex<Random>,
    /// One of this many commits loses its answer; 0 for none.
    one_of: AtomicU64,
    lost: AtomicU64,
}

/// What becomes of a commit.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// It reaches the server, but the client is cut off before the server has answered.
    CutOffAtOnce,
    /// It is cut off after the server has answered, hence committed.
    CutOffAfterwards,
}

impl State {
    fn fate(&self) -> Fate {
        let one_of = self.one_of.load(Ordering::SeqCst);
        let mut random = self.random.lock().unwrap();
        if one_of == 0 || random.below(one_of) > 0 {
            return Fate::Answered;
        }
        self.lost.fetch_add(1, Ordering::SeqCst);
        if random.below(2) == 0 { Fate::CutOffAtOnce } else { Fate::CutOffAfterwards }
    }
}

impl Proxy {
    pub async fn start(server: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let random = Mutex::new(Random(seed));
        let state = Arc::new(State { server, random, one_of: AtomicU64::new(0), lost: AtomicU64::new(0) });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { port, state, task }
    }

    /// The address of a database of the server, by way of this proxy.
    pub fn url(&self, direct: &str) -> String {
        direct.replace(&format!(":{}/", self.state.server), &format!(":{}/", self.port))
    }

    /// From now on, one of `one_of` commits loses its answer; none with 0.
    pub fn lose_one_of(&self, one_of: u64) {
        self.state.one_of.store(one_of, Ordering::SeqCst);
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", state.server)).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            relay(&state, from_client, to_client, from_server, to_server).await;
        });
    }
}

/// Hands bytes on in both directions until one side ends, or a commit meets its fate.
async fn relay(
    state: &State,
    mut from_client: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    mut from_server: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let fate = if is_commit(&asked[..count]) { state.fate() } else { Fate::Answered };
                if to_server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                match fate {
                    Fate::Answered => {}
                    Fate::CutOffAtOnce => return,
                    Fate::CutOffAfterwards => {
                        let _ = tokio::time::timeout(Duration::from_secs(10), from_server.read(&mut answered)).await;
                        return;
                    }
                }
            }
            count = from_server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                if to_client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Whether what a client sends ends with a simple query that commits, or carries events: most are committed by the statement that
/// brings them.
fn is_commit(sent: &[u8]) -> bool {
    const COMMIT: &[u8] = b"Q\0\0\0\x0bcommit\0";
    const KIND: &[u8] = b"note.added";
    let ends = sent.len() >= COMMIT.len() && sent[sent.len() - COMMIT.len()..].eq_ignore_ascii_case(COMMIT);
    ends || sent.windows(KIND.len()).any(|window| window == KIND)
}
