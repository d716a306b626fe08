//! Whether other processes have committed to the file: one cheap statement, asked only while somebody waits, and once for all who do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::Elsewhere;
use super::reader::Readers;
use super::writer::Asker;

/// Whoever asks sooner than this after somebody else gets the same answer.
const SAME: Duration = Duration::from_millis(50);

/// Watches one file.
#[derive(Debug)]
pub(super) struct Watch {
    eye: Eye,
    changes: AtomicU64,
    last: Mutex<Look>,
}

/// Through which connection the file is watched. The number changes by the commits of all other connections, so the writer's tells
/// of nearly nothing but other processes; where nothing is written here, any connection does.
#[derive(Debug)]
pub(super) enum Eye {
    Writer(Asker),
    Readers(Readers),
}

#[derive(Debug, Default)]
struct Look {
    at: Option<Instant>,
    version: Option<i64>,
}

impl Watch {
    pub(super) fn new(eye: Eye) -> Self {
        Self { eye, changes: AtomicU64::new(0), last: Mutex::default() }
    }

    async fn version(&self) -> Option<i64> {
        match &self.eye {
            Eye::Writer(asker) => asker.data_version().await,
            Eye::Readers(readers) => readers.data_version().await.ok(),
        }
    }
}

#[async_trait]
impl Elsewhere for Watch {
    async fn changes(&self) -> u64 {
        let mut last = self.last.lock().await;
        if last.at.is_none_or(|at| at.elapsed() >= SAME) {
            let version = self.version().await;
            // The first look, and one that failed, may have missed something: better a ring for nothing.
            if version.is_none() || version != last.version {
                self.changes.fetch_add(1, Ordering::Relaxed);
            }
            *last = Look { at: Some(Instant::now()), version };
        }
        self.known()
    }

    fn known(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}
