//! Stores in files of their own.

use std::path::PathBuf;

use rekindle::session::{EventId, NewEvent, SessionId};
use rekindle::store::conformance::event;
use rekindle::store::{OpenOptions, SharedStore, StoreError, connect};
use rusqlite::Connection;
use tempfile::TempDir;

/// A directory with a place for a store.
pub struct Place {
    pub directory: TempDir,
    pub path: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        Self { directory, path }
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    pub async fn try_open(&self, options: OpenOptions) -> Result<SharedStore, StoreError> {
        connect(&self.url(), options).await
    }

    pub async fn open(&self) -> SharedStore {
        self.try_open(OpenOptions::default()).await.unwrap()
    }

    /// The file as a person with a SQL shell sees it; only while no store has it open.
    pub fn sql(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

/// A session and events that are the same in every process.
pub fn fixed_session() -> SessionId {
    "0190aaaa-0000-7000-8000-0000000000aa".parse().unwrap()
}

pub fn fixed_event(index: u64) -> NewEvent {
    let id = uuid::Uuid::from_u128(0x0190_aaaa_0000_7000_8000_0000_0000_0000 + u128::from(index));
    NewEvent { id: EventId::from_uuid(id), ..event(&format!("{index} {}", "x".repeat(600))) }
}
