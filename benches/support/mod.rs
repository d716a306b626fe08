//! What the benches share: sessions' events like real ones, CPU time, tables.
#![allow(dead_code, reason = "each bench uses a part of it")]

mod chance;
pub mod filled;
mod stream;
pub mod told;

use std::time::{Duration, Instant};

use rekindle::session::{EventId, Kind, NewEvent, Seq, SessionId, Source, Timestamp};
use rekindle::store::{OpenOptions, SharedStore, connect};
use uuid::Uuid;

pub use stream::Stream;

/// How long ago that was, in milliseconds.
pub fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// `count` events of `size`: a spread that hits every stretch, the same each time.
pub fn scattered(count: u64, size: u64) -> impl Iterator<Item = Seq> {
    (0..count).map(move |n| Seq((n * 7_919 + 13) % size + 1))
}

/// A session of its own.
pub fn new_session() -> SessionId {
    SessionId::from_uuid(Uuid::now_v7())
}

/// The next event of the stream, as it is appended.
pub fn next_event(stream: &mut Stream) -> NewEvent {
    let (kind, source, body, at) = stream.next_line();
    NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        kind: Kind::known(kind),
        v: 1,
        at: Timestamp(at * 1000),
        source: match source {
            "user" => Source::User,
            "agent" => Source::Agent,
            _ => Source::Environment,
        },
        cause: None,
        must_understand: false,
        body,
    }
}

/// `count` events.
pub fn events(stream: &mut Stream, count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| next_event(stream)).collect()
}

/// Where the stores of a run lie: under `target`, since `/tmp` may be in memory.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the stores of the bench")
}

/// The store in `directory`.
pub async fn open(directory: &tempfile::TempDir) -> SharedStore {
    let url = format!("sqlite://{}", directory.path().join("store.db").display());
    connect(&url, OpenOptions::default()).await.expect("the store opens")
}

/// CPU time that this process has used so far, of all threads.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// What a run took.
#[derive(Clone, Copy)]
pub struct Took {
    pub wall: Duration,
    pub cpu: Duration,
}

/// Measures from here to [`Watch::stop`].
pub struct Watch(Instant, Duration);

impl Watch {
    pub fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    pub fn stop(self) -> Took {
        Took { wall: self.0.elapsed(), cpu: cpu().saturating_sub(self.1) }
    }
}

/// The middle one, the smallest, the largest.
pub fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    };
    (middle, sorted.first().copied().unwrap_or_default(), sorted.last().copied().unwrap_or_default())
}

/// The same as text.
pub fn shown(values: &[f64], decimals: usize) -> String {
    let (middle, least, most) = spread(values);
    format!("{middle:.decimals$} ({least:.decimals$}–{most:.decimals$})")
}
