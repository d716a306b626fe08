//! Hiding the values of secrets: what a megabyte of events costs, beside copying and beside reading and writing the same bytes as
//! JSON, and what an append costs with and without.
//!
//! `cargo bench --bench masking`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic is how a bench fails")]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rekindle::engine::Engine;
use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{
    Containment, Mount, Ports, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes, SecretError, SecretValue,
    Secrets, Timeout,
};
use rekindle::session::mask::{HIDDEN, Masker, Place, Streaming};
use rekindle::session::{Action, Command, Observation, Origin, SecretRef, SessionId, SessionSpec};
use rekindle::store::MemoryStore;
use support::{Stream, next_event, shown};

const ROUNDS: usize = 7;
const BYTES: usize = 4 << 20;
const APPENDS: usize = 2000;

/// Tokens with a common beginning, the hardest to tell apart.
fn values(count: usize) -> Vec<(String, String)> {
    let value = |n: usize| format!("ghp_{:08x}{:08x}{:08x}abcd", n.wrapping_mul(0x9E37_79B9), n ^ 0x5bd1, n * 7919);
    (0..count).map(|n| (format!("S{n}"), value(n))).collect()
}

fn masker(values: &[(String, String)]) -> Masker {
    Masker::new(values.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap()
}

fn bodies() -> Vec<String> {
    let mut stream = Stream::new(7);
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    while bytes < BYTES {
        let body = next_event(&mut stream).body;
        bytes += body.len();
        bodies.push(body);
    }
    bodies
}

/// Milliseconds for a megabyte.
fn per_mb(bytes: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    let round = |_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64() * 1e3 / (bytes as f64 / 1e6)
    };
    (0..ROUNDS).map(round).collect()
}

fn texts() {
    let bodies = bodies();
    let bytes: usize = bodies.iter().map(String::len).sum();
    println!("{} events, {:.1} MB; median (min–max) of {ROUNDS} rounds\n", bodies.len(), bytes as f64 / 1e6);
    println!("| what is done with the bodies | ms/MB |\n|---|---|");
    let tell = |what: &str, times: Vec<f64>| println!("| {what} | {} |", shown(&times, 2));
    tell("copied", per_mb(bytes, || bodies.iter().for_each(|body| drop(black_box(body.clone())))));
    tell(
        "read and written as JSON",
        per_mb(bytes, || {
            for body in &bodies {
                let value: serde_json::Value = serde_json::from_str(body).unwrap();
                black_box(serde_json::to_string(&value).unwrap());
            }
        }),
    );
    let read = |text: &str| Some(text.matches(HIDDEN).count());
    for count in [1, 10, 100] {
        let values = values(count);
        let began = Instant::now();
        let masker = masker(&values);
        let made = began.elapsed().as_secs_f64() * 1e3;
        let times = per_mb(bytes, || {
            for body in &bodies {
                assert!(black_box(masker.json(body, Place::default(), read)).is_none());
            }
        });
        tell(&format!("looked through for {count} (made in {made:.1} ms)"), times);
    }
    let values = values(100);
    let masker = Arc::new(masker(&values));
    let naive = per_mb(bytes, || {
        for body in &bodies {
            black_box(values.iter().any(|(_, value)| body.contains(value.as_str())));
        }
    });
    tell("searched 100 times for the plain values alone", naive);
    let filled: Vec<String> =
        bodies.iter().zip(values.iter().cycle()).map(|(body, (_, value))| body.replacen("the", value, 1)).collect();
    let times = per_mb(bytes, || filled.iter().for_each(|body| drop(black_box(masker.json(body, Place::default(), read)))));
    tell("the same 100, one of them in each body", times);
    let streamed = per_mb(bytes, || {
        let mut stream = Streaming::new(Arc::clone(&masker));
        for body in &bodies {
            for piece in body.as_bytes().chunks(16) {
                black_box(stream.push(&String::from_utf8_lossy(piece)));
            }
        }
    });
    tell("streamed in pieces of 16 bytes, 100 secrets", streamed);
}

/// A runtime that takes no time, so that only the engine's own is measured.
struct Nothing;

#[async_trait]
impl Runtimes for Nothing {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let report = RuntimeReport {
            runtime: "none".to_owned(),
            workspace: request.workspace,
            mount: Mount::Namespace,
            sandbox: None,
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

struct Known(Vec<(String, String)>);

#[async_trait]
impl Secrets for Known {
    async fn values(&self, _session: SessionId, _secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        Ok(Vec::new())
    }

    async fn hidden(&self, _session: SessionId, _secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        Ok(self.0.iter().map(|(name, value)| SecretValue { name: name.clone(), value: value.clone() }).collect())
    }
}

/// Microseconds for a message of the user, to a store in memory.
async fn appends(count: usize) -> Vec<f64> {
    let ports = Ports::new(Arc::new(Nothing), |_| Err("there are none".to_owned()));
    let ports = Ports { secrets: Arc::new(Known(values(count))), ..ports };
    let engine = Engine::new(Arc::new(MemoryStore::new()), ports, Arc::new(SystemClock));
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let id = engine.new_session_id();
        engine.create(id, None, SessionSpec::new(Origin::fresh(None), "/tmp/none")).await.unwrap();
        engine.rest(id).await;
        let began = Instant::now();
        for n in 0..APPENDS {
            let content =
                format!("message {n} of many, about as long as what people write, and not about anything secret at all");
            engine.submit(id, Command::Say { content }).await.unwrap();
        }
        rounds.push(began.elapsed().as_secs_f64() * 1e6 / APPENDS as f64);
    }
    engine.shutdown().await;
    rounds
}

fn main() {
    texts();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    println!("\n| a message is appended to a store in memory, secrets | µs |\n|---|---|");
    for count in [0, 10, 100] {
        println!("| {count} | {} |", shown(&tokio.block_on(appends(count)), 1));
    }
}
