//! Many sessions that wait for a command, in one process: what each takes in memory beyond its state, and after it has left.
//!
//! `cargo bench --bench idle`; `REKINDLE_BENCH_SESSIONS` says how many, 10 000 by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{
    Containment, Mount, Ports, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes, Timeout,
};
use rekindle::engine::{Engine, EngineOptions};
use rekindle::session::{Action, Command, Observation, Origin, SessionSpec};
use support::{Watch, directory, open};

/// A runtime that takes no room, so that only the engine's own is measured.
struct Nothing;

#[async_trait]
impl Runtimes for Nothing {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let report = RuntimeReport {
            runtime: "none".to_owned(),
            workspace: request.workspace,
            mount: Mount::Namespace,
            containment: Containment::PidNamespace,
            warnings: Vec::new(),
        };
        Ok(Provisioned { runtime: Arc::new(Self), report })
    }
}

#[async_trait]
impl Runtime for Nothing {
    async fn execute(&self, _action: &Action, _timeout: Timeout) -> Result<Observation, RuntimeError> {
        Ok(Observation::error("nothing is run here", ""))
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// What this process has in memory, in bytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse::<i64>().expect("a number") * 1024
}

async fn rested(engine: &Engine) -> rekindle::session::SessionId {
    let id = engine.new_session_id();
    let origin = Origin::fresh(None);
    let spec = SessionSpec::new(origin, "/tmp/none");
    engine.create(id, None, spec).await.expect("a session");
    engine.rest(id).await;
    id
}

async fn measure(count: usize) {
    let directory = directory();
    let store = open(&directory).await;
    let ports = Ports::new(Arc::new(Nothing), |_| Err("there are none".to_owned()));
    let idle = Duration::from_secs(60);
    let options = EngineOptions { idle, ..EngineOptions::default() };
    let engine = Engine::with_options(store, ports, Arc::new(SystemClock), options);
    // What the store and the allocator take once is not a session's.
    for _ in 0..200 {
        rested(&engine).await;
    }
    let before = resident();
    let watch = Watch::start();
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(rested(&engine).await);
    }
    let took = watch.stop();
    let live = ids.iter().filter(|id| engine.is_live(**id)).count();
    let open = resident() - before;
    let state = engine.restore(ids[0]).await.expect("the state").session.to_json().len() as i64;
    let each = open / count as i64;
    println!("| {live} open, at rest | {each} | {} |", each - state);
    println!("\na state is {state} bytes as JSON; {count} sessions were made in {:.1} s\n", took.wall.as_secs_f64());
    while ids.iter().any(|id| engine.is_live(*id)) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("after they have left memory: {} bytes each", (resident() - before) / count as i64);
    let watch = Watch::start();
    engine.submit(ids[0], Command::Say { content: "back".to_owned() }).await.expect("it comes back");
    println!("one comes back in {:.1} ms", watch.stop().wall.as_secs_f64() * 1e3);
    engine.shutdown().await;
}

fn main() {
    let count = std::env::var("REKINDLE_BENCH_SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("| sessions | bytes each | beyond the state |\n|---|---|---|");
    runtime.block_on(measure(count));
}
