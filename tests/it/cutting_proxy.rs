//! Stands between a client and a server, and cuts connections when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A proxy in front of one server. Connections break with it.
pub struct CuttingProxy {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// So many answers more break off in the middle.
    answers: AtomicU64,
    /// So many requests more reach the server and are never answered.
    requests: AtomicU64,
    /// Nobody gets through.
    down: AtomicBool,
    /// Told when all connections are to break.
    cut: tokio::sync::Notify,
}

/// Takes one of `count`, if there is one.
fn take(count: &AtomicU64) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl CuttingProxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let task = tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { port, state, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next `count` answers break off in the middle.
    pub fn cut_answers(&self, count: u64) {
        self.state.answers.store(count, Ordering::SeqCst);
    }

    /// How many answers are still to break off.
    pub fn uncut(&self) -> u64 {
        self.state.answers.load(Ordering::SeqCst)
    }

    /// The next `count` requests reach the server, and its answers nobody.
    pub fn cut_requests(&self, count: u64) {
        self.state.requests.store(count, Ordering::SeqCst);
    }

    /// Breaks all connections and lets nobody through, or lets everybody through again.
    pub fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
        self.state.cut.notify_waiters();
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            if !state.down.load(Ordering::SeqCst)
                && let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await
            {
                let cut = state.cut.notified();
                tokio::select! {
                    () = cut => {}
                    () = relay(&state, client, server) => {}
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn relay(state: &State, mut client: TcpStream, mut server: TcpStream) {
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let lost = take(&state.requests);
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if lost {
                    let _ = server.flush().await;
                    return;
                }
            }
            count = server.read(&mut answered) => {
                let Ok(count @ 1..) = count else { return };
                let cut = take(&state.answers);
                let end = if cut { count / 2 } else { count };
                if client.write_all(&answered[..end]).await.is_err() || cut {
                    return;
                }
            }
        }
    }
}
