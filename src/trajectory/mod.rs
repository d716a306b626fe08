//! Layer 6 · interchange: recordings of other systems, read without losing a byte and written so that those systems read them.
//!
//! An entry keeps its source text. What this version cannot decode is kept as well and reported when someone asks for it, so that
//! an export of an unmodified import says the same as its source.

mod asciicast;
mod directory;
mod error;
mod export;
mod import;
pub mod openhands_v0;
mod terminal;

use std::path::Path;

use serde_json::value::RawValue;

pub use asciicast::Asciicast;
pub use error::TrajectoryError;
pub use export::Exporter;
pub use import::{Import, ImportError, OPENHANDS_V0, import, session_of};
pub use openhands_v0::{parse, write};

use crate::session::replay::RecordedEntry;
use crate::session::{Item, ItemError, Kind, SessionName, Source, Timestamp};

/// A recorded session of another system.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// How the other system called the session, where its directory says so.
    pub name: Option<SessionName>,
    /// What the other system showed people as its name.
    pub title: Option<String>,
    /// What happened, in order.
    pub entries: Vec<Entry>,
    /// Files of a session directory that hold no event; the others are in `entries`.
    pub damaged: Vec<DamagedFile>,
}

/// A file that should hold an event and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFile {
    /// Its name in the events directory.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// One action or observation as it was recorded.
#[derive(Debug, Clone)]
pub struct Entry {
    index: usize,
    raw: Box<RawValue>,
    kind: Kind,
    source: Option<Source>,
    timestamp: Option<Timestamp>,
}

impl Trajectory {
    /// One JSON list of all entries, each byte for byte; [`parse`] gives the same entries again.
    pub fn to_json(&self) -> String {
        write(self.entries.iter().map(Entry::raw))
    }
}

impl Entry {
    /// Its place in the recording, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its source text, byte for byte.
    pub fn raw(&self) -> &str {
        self.raw.get()
    }

    /// The kind under which it stands in a log; a tag that this version does not know stays as it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Who made it, when it says so.
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// When it was made, when it says so: V0's local time without a zone is taken for UTC.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp
    }

    /// Decodes it.
    ///
    /// # Errors
    /// What of it this version does not understand; the entry is good to keep and to export all the same.
    pub fn item(&self) -> Result<Item, ItemError> {
        Item::decode(self.raw())
    }
}

/// Reads the bytes of a stored recording for the engine's replay.
///
/// # Errors
/// The message of the [`TrajectoryError`], for the log.
pub fn recording(bytes: &[u8]) -> Result<Vec<RecordedEntry>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    let trajectory = parse(text).map_err(|error| error.to_string())?;
    let entry =
        |entry: &Entry| RecordedEntry { kind: entry.kind().clone(), item: entry.item().map_err(|error| error.to_string()) };
    Ok(trajectory.entries.iter().map(entry).collect())
}

/// Reads the recording at `path`: a JSON file with a list of events, or the directory in which the other system keeps a session.
///
/// # Errors
/// [`TrajectoryError`], when there is no recording or it cannot be one.
pub fn read_file(path: &Path) -> Result<Trajectory, TrajectoryError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => TrajectoryError::Missing { path: path.to_owned() },
        _ => TrajectoryError::Unreadable { path: path.to_owned(), source },
    };
    if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return directory::read(path);
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| TrajectoryError::NotUtf8 { at: error.utf8_error().valid_up_to() })?;
    parse(&text)
}
