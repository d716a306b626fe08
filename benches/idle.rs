//! Many sessions that wait for a command, in one process: what each takes in memory beyond its state, and after it has left.
//!
//! `cargo bench --bench idle`; `REKINDLE_BENCH_SESSIONS` says how many, 10 000 by default.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cap::Cap;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{
    Containment, Mount, Ports, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes, Timeout,
};
use rekindle::engine::{Engine, EngineOptions};
use rekindle::session::{Action, Command, Observation, Origin, SessionSpec};
use support::{Watch, directory, open};

/// How long a session rests before it leaves: longer than all of them take to come.
const IDLE: Duration = Duration::from_secs(90);

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
            sandbox: None,
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

/// Counts what is allocated, which the allocator may keep from the system long after it was given back.
#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// What this process has in memory, and what of it is in use, in bytes.
#[derive(Clone, Copy)]
struct Memory {
    resident: i64,
    used: i64,
}

impl Memory {
    fn now() -> Self {
        Self { resident: status("VmRSS:"), used: ALLOCATED.allocated() as i64 }
    }

    /// What has come since `before`, for each of `count`.
    fn each(self, before: Self, count: usize) -> (i64, i64) {
        let share = |now: i64, then: i64| (now - then) / count as i64;
        (share(self.resident, before.resident), share(self.used, before.used))
    }
}

/// A size of this process, in bytes.
fn status(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
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
    let options = EngineOptions { idle: IDLE, ..EngineOptions::default() };
    let engine = Engine::with_options(store, ports, Arc::new(SystemClock), options);
    // What the store and the allocator take once is not a session's.
    for _ in 0..200 {
        rested(&engine).await;
    }
    let before = Memory::now();
    let mut first = None;
    for wave in ["open, at rest", "open, a second time"] {
        let watch = Watch::start();
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(rested(&engine).await);
        }
        let took = watch.stop();
        let live = ids.iter().filter(|id| engine.is_live(**id)).count();
        let (resident, used) = Memory::now().each(before, count);
        let state = engine.restore(ids[0]).await.expect("the state").session.to_json().len() as i64;
        println!("| {live} {wave} ({:.0} s) | {resident} | {used} | {} |", took.wall.as_secs_f64(), used - state);
        std::fs::write("/proc/self/clear_refs", "5").expect("the highest mark is taken anew");
        while ids.iter().any(|id| engine.is_live(*id)) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // The last ones are just writing their snapshots.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let most = (status("VmHWM:") - before.resident) / count as i64;
        let (resident, used) = Memory::now().each(before, count);
        println!("| after they have left (on the way at most {most}) | {resident} | {used} | |");
        first.get_or_insert((ids[0], state));
    }
    let (id, state) = first.expect("two waves");
    let watch = Watch::start();
    engine.submit(id, Command::Say { content: "back".to_owned() }).await.expect("it comes back");
    println!("\na state is {state} bytes as JSON; one comes back in {:.1} ms", watch.stop().wall.as_secs_f64() * 1e3);
    engine.shutdown().await;
}

fn main() {
    let count = std::env::var("REKINDLE_BENCH_SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("| sessions | resident bytes each | in use | beyond the state |\n|---|---|---|---|");
    runtime.block_on(measure(count));
}
