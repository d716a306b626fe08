//! Keeping a recording as a session: each entry an event with its source text as body, so that an export says the same again.
//!
//! Every id is derived from the session and the place, and every append from where the log stands, so that an import that was cut
//! off goes on where it was when it is done again.

use std::collections::HashMap;

use serde::Deserialize;
use uuid::Uuid;

use super::{Entry, Trajectory};
use crate::projection::directory::directory;
use crate::session::event::{Created, Imported};
use crate::session::{
    Digest, Event, EventId, Kind, NewEvent, Origin, Phase, Seq, Session, SessionId, SessionName, SessionSpec, Source, Timestamp,
};
use crate::store::{Append, Expected, Pages, Read, Row, Store, StoreError, Writer};

/// The format of what is imported here.
pub const OPENHANDS_V0: &str = "openhands-v0";

/// How many entries one append holds at most, and how many bytes.
const CHUNK_MAX: (usize, usize) = (1024, 4 * 1024 * 1024);
/// How much of what was not understood is named in the log.
const NAMED_MAX: usize = 100;
/// The longest kind that a store takes, in bytes.
const KIND_BYTES_MAX: usize = 128;

/// The namespace of session ids made from what a recording says.
const RECORDINGS: Uuid = Uuid::from_u128(0x2f61_0c1e_8d4b_5e8f_a3c7_7265_6b69_6e64);

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The session.
    pub session: SessionId,
    /// How many entries of the recording are in its log.
    pub entries: u64,
    /// How many of them were there already.
    pub already: u64,
    /// Entries that are kept but not understood: what, and why.
    pub unknown: Vec<String>,
}

/// Why a recording was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The session holds something else.
    #[error("session {session} exists and holds something else; give this one another name with --name")]
    Taken {
        /// The session.
        session: SessionId,
    },
    /// What is there of an import that was cut off cannot be read.
    #[error("an earlier import of session {session} is damaged at event {seq}: {what}; import under another name with --name")]
    Damaged {
        /// The session.
        session: SessionId,
        /// Where.
        seq: Seq,
        /// What is wrong there.
        what: String,
    },
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The session that a recording becomes: that of its name, or one that only this content becomes.
pub fn session_of(trajectory: &Trajectory, name: Option<&SessionName>) -> SessionId {
    match name.or(trajectory.name.as_ref()) {
        Some(name) => SessionId::named(name),
        None => SessionId::from_uuid(Uuid::new_v5(&RECORDINGS, &source_of(trajectory).0)),
    }
}

/// Names what a recording says, however it is laid out.
fn source_of(trajectory: &Trajectory) -> Digest {
    Digest::of(trajectory.to_json().as_bytes())
}

/// Keeps `trajectory` as a session; one that is there already stays as it is.
///
/// # Errors
/// [`ImportError::Taken`] when another recording has the name.
pub async fn import(
    store: &dyn Store,
    now: Timestamp,
    trajectory: &Trajectory,
    name: Option<&SessionName>,
) -> Result<Import, ImportError> {
    let id = session_of(trajectory, name);
    let mut importing = Importing { store, id, session: Session::default(), now };
    importing.read_what_is_there().await?;
    let source = source_of(trajectory);
    let session = &importing.session;
    let ours = match session.spec.as_ref().map(|spec| &spec.origin) {
        None => session.version == Seq::ZERO,
        Some(Origin::Import { source: there, .. }) => *there == source,
        Some(_) => false,
    };
    if !ours || id.is_audit_log() {
        return Err(ImportError::Taken { session: id });
    }
    let entries = trajectory.entries.len() as u64;
    let unknown = unknown(&trajectory.entries);
    if !matches!(session.phase, Phase::Unborn | Phase::Imported { complete: false }) {
        return Ok(Import { session: id, entries, already: entries, unknown });
    }
    if session.version == Seq::ZERO {
        importing.create(trajectory, source).await?;
    }
    if let Some(name) = name.or(trajectory.name.as_ref()) {
        store.name(id, name).await?;
    }
    let already = importing.session.version.0.saturating_sub(1).min(entries);
    importing.append_entries(&trajectory.entries).await?;
    importing.finish(trajectory, unknown.clone()).await?;
    Ok(Import { session: id, entries, already, unknown })
}

struct Importing<'a> {
    store: &'a dyn Store,
    id: SessionId,
    session: Session,
    now: Timestamp,
}

impl Importing<'_> {
    async fn read_what_is_there(&mut self) -> Result<(), ImportError> {
        let mut pages = Pages::new(self.store, Read::forward(self.id, self.session.version));
        while let Some(rows) = pages.next().await? {
            for row in &rows {
                match row {
                    Row::Event { event, .. } => self.session.apply(event),
                    Row::Damaged { seq, what } => {
                        return Err(ImportError::Damaged { session: self.id, seq: *seq, what: what.clone() });
                    }
                }
            }
        }
        Ok(())
    }

    async fn create(&mut self, trajectory: &Trajectory, source: Digest) -> Result<(), ImportError> {
        let origin = Origin::Import { format: OPENHANDS_V0.to_owned(), source };
        let spec = SessionSpec { title: trajectory.title.clone(), ..SessionSpec::new(origin, "/workspace") };
        let event = self.own(Seq(1), &Event::Created(Created { spec: Box::new(spec) }));
        self.append(vec![event]).await
    }

    /// Entry `i` is event `i + 2`: the log tells how far an earlier import came.
    async fn append_entries(&mut self, entries: &[Entry]) -> Result<(), ImportError> {
        let mut seqs = HashMap::new();
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for (entry, seq) in entries.iter().zip((2..).map(Seq)) {
            let link: Link = serde_json::from_str(entry.raw()).unwrap_or_default();
            let cause = link.cause.and_then(|cause| seqs.get(&cause).copied());
            if let Some(id) = link.id {
                seqs.insert(id, seq);
            }
            if seq <= self.session.version {
                continue;
            }
            bytes += entry.raw().len();
            chunk.push(self.entry(entry, seq, cause));
            if chunk.len() >= CHUNK_MAX.0 || bytes >= CHUNK_MAX.1 {
                self.append(std::mem::take(&mut chunk)).await?;
                bytes = 0;
            }
        }
        if chunk.is_empty() { Ok(()) } else { self.append(chunk).await }
    }

    async fn finish(&mut self, trajectory: &Trajectory, unknown: Vec<String>) -> Result<(), ImportError> {
        let damaged = trajectory.damaged.iter().take(NAMED_MAX).map(|file| format!("{}: {}", file.file, file.why)).collect();
        let entries = trajectory.entries.len() as u64;
        let body = Imported { first: Seq(2), entries, damaged, unknown };
        let event = self.own(self.session.version.next(), &Event::Imported(body));
        self.append(vec![event]).await
    }

    fn entry(&self, entry: &Entry, seq: Seq, cause: Option<Seq>) -> NewEvent {
        NewEvent {
            id: self.event_id(seq),
            kind: storable(entry.kind()),
            v: 1,
            at: entry.timestamp().unwrap_or(self.now),
            source: entry.source().unwrap_or(Source::Environment),
            cause,
            must_understand: false,
            body: entry.raw().to_owned(),
        }
    }

    fn own(&self, seq: Seq, event: &Event) -> NewEvent {
        NewEvent {
            id: self.event_id(seq),
            kind: event.kind(),
            v: 1,
            at: self.now,
            source: Source::Environment,
            cause: None,
            must_understand: false,
            body: event.body(),
        }
    }

    fn event_id(&self, seq: Seq) -> EventId {
        EventId::from_uuid(Uuid::new_v5(&Uuid::from_bytes(*self.id.as_bytes()), &seq.0.to_be_bytes()))
    }

    async fn append(&mut self, events: Vec<NewEvent>) -> Result<(), ImportError> {
        let expected = match self.session.version {
            Seq::ZERO => Expected::NoSession,
            version => Expected::Exact(version),
        };
        for (event, seq) in events.iter().zip(self.session.version.0 + 1..) {
            self.session.apply(&event.clone().recorded(self.id, Seq(seq)));
        }
        let directory = Some(directory(&self.session));
        self.store.append(Append { session: self.id, expected, writer: Writer::Anyone, events, directory }).await?;
        Ok(())
    }
}

/// What links entries of a recording.
#[derive(Deserialize, Default)]
struct Link {
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    cause: Option<i64>,
}

/// A foreign tag as a kind: one printable word that is not one of the engine's own. The entry's text keeps it as it was.
fn storable(kind: &Kind) -> Kind {
    let name = kind.as_str();
    let fits = name.len() <= KIND_BYTES_MAX && !name.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits && !Event::KINDS.contains(&name) {
        return kind.clone();
    }
    let word: String = kind.tag().chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).take(24).collect();
    Kind::new(format!("{}.{word}_", kind.family()))
}

/// Entries that are kept but not understood.
fn unknown(entries: &[Entry]) -> Vec<String> {
    let named = |entry: &Entry| entry.item().err().map(|why| format!("entry {} ({}): {why}", entry.index(), entry.kind()));
    entries.iter().filter_map(named).take(NAMED_MAX).collect()
}
