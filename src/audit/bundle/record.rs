//! The lines of a bundle.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::session::{Body, Digest, EventId, Kind, Recorded, Seq, SessionId, SessionName, Source, Timestamp};
use crate::store::Row;
use crate::store::chain::Salt;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What is in the file.
    Header(Header),
    /// A session that this one was forked from.
    Ancestor(Ancestor),
    /// An event.
    Event(Box<EventRecord>),
    /// A place where the store had no event that can be read.
    Damaged(DamagedRecord),
    /// Content that events refer to.
    Blob(BlobRecord),
    /// The key that checkpoints are signed with, as whoever made the bundle says.
    Key(KeyRecord),
    /// That an event is in the store's log.
    Proof(ProofRecord),
    /// That this is all.
    End(End),
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`](super::FORMAT).
    pub format: String,
    /// The session: the one that holds the last event, which the chain vouches for.
    pub session: SessionId,
    /// What another system or a person called it.
    pub name: Option<SessionName>,
    /// The last event that is here.
    pub head: Seq,
    /// The chain hash of it.
    pub hash: Digest,
    /// The last event that the session had when this was made.
    pub of: Seq,
    /// The program that made it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// A session that the one of the bundle was forked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// The session.
    pub session: SessionId,
    /// The last event of it that belongs to this log.
    pub upto: Seq,
    /// The chain hash of that.
    pub hash: Digest,
}

/// An event, with all that its hash covers: the body and its salt, or the digest of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The session that holds it.
    pub session: SessionId,
    /// Its place in the log.
    pub seq: Seq,
    /// Its name.
    pub id: EventId,
    /// What happened.
    pub kind: Kind,
    /// Schema version of the body.
    pub v: u16,
    /// When, in microseconds since 1970.
    pub at: Timestamp,
    /// Who.
    pub source: Source,
    /// The event that it answers.
    pub cause: Option<Seq>,
    /// Whether a reader that does not know the kind must not act on the session.
    pub must_understand: bool,
    /// The JSON text of the body; unset once redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "salt")]
    pub salt: Option<Salt>,
    /// SHA-256 of salt and body; only where those are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The chain hash.
    pub hash: Digest,
}

/// A place where the store had no event that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    /// The place, the first one where there are several.
    pub seq: Seq,
    /// What is wrong with it.
    pub what: String,
}

/// Content that events refer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// SHA-256 of it.
    pub digest: Digest,
    /// What it is, in base64.
    pub content: String,
}

/// The key that checkpoints are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// As signed notes write it: `name+id+base64`.
    pub vkey: String,
}

/// That an event is in the store's log of chain heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRecord {
    /// The event whose chain hash is there.
    pub seq: Seq,
    /// Which leaf of the log it is, counted from 0.
    pub index: u64,
    /// The hashes beside its way to the root, as RFC 6962 orders them.
    pub path: Vec<Digest>,
    /// The signed checkpoint with that root.
    pub checkpoint: String,
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// SHA-256 of all lines before this one.
    pub sha256: Digest,
}

/// How many lines of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Ancestors.
    pub ancestors: u64,
    /// Events.
    pub events: u64,
    /// Places where the store had no event that can be read.
    pub damaged: u64,
    /// Contents.
    pub blobs: u64,
    /// Keys.
    pub keys: u64,
    /// Proofs.
    pub proofs: u64,
}

impl Counts {
    /// Counts a line.
    pub(super) const fn add(&mut self, record: &Record) {
        match record {
            Record::Header(_) | Record::End(_) => {}
            Record::Ancestor(_) => self.ancestors += 1,
            Record::Event(_) => self.events += 1,
            Record::Damaged(_) => self.damaged += 1,
            Record::Blob(_) => self.blobs += 1,
            Record::Key(_) => self.keys += 1,
            Record::Proof(_) => self.proofs += 1,
        }
    }
}

/// The largest number that stands for a place in a log: what a store can hold.
const SEQ_MAX: u64 = i64::MAX as u64;

impl Record {
    /// Reads a line without its end; `None` when it is not written in the one form that its record has.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(line).ok()?;
        (record.is_sound() && record.to_line() == line).then_some(record)
    }

    /// The line, without its end.
    pub fn to_line(&self) -> Vec<u8> {
        // The types here have no map with other than text keys, so it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whether what its fields say fits together.
    fn is_sound(&self) -> bool {
        match self {
            Self::Header(header) => {
                header.format == super::FORMAT && header.head > Seq::ZERO && header.head <= header.of && header.of.0 <= SEQ_MAX
            }
            Self::Ancestor(ancestor) => ancestor.upto.0 <= SEQ_MAX,
            Self::Event(event) => {
                let whole = event.body.is_some() && event.salt.is_some() && event.digest.is_none();
                let redacted = event.body.is_none() && event.salt.is_none() && event.digest.is_some();
                (whole || redacted) && event.seq.0 <= SEQ_MAX && event.cause.is_none_or(|cause| cause.0 <= SEQ_MAX)
            }
            Self::Damaged(damaged) => damaged.seq.0 <= SEQ_MAX,
            Self::Proof(proof) => proof.seq.0 <= SEQ_MAX && proof.index <= SEQ_MAX,
            Self::Blob(_) | Self::Key(_) | Self::End(_) => true,
        }
    }

    /// Where it stands among the others.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Header(_) => 0,
            Self::Ancestor(_) => 1,
            Self::Event(_) | Self::Damaged(_) => 2,
            Self::Blob(_) => 3,
            Self::Key(_) => 4,
            Self::Proof(_) => 5,
            Self::End(_) => 6,
        }
    }
}

impl EventRecord {
    /// The line of an event as the store has it.
    pub(super) fn of(event: Recorded, salt: Option<Salt>, digest: Option<Digest>, hash: Digest) -> Self {
        let Recorded { session, seq, id, kind, v, at, source, cause, must_understand, body } = event;
        let body = match body {
            Body::Json(body) => Some(body),
            Body::Redacted => None,
        };
        Self { session, seq, id, kind, v, at, source, cause, must_understand, body, salt, digest, hash }
    }

    /// The row of the log that it was.
    pub(super) fn into_row(self) -> Row {
        let Self { session, seq, id, kind, v, at, source, cause, must_understand, body, salt, digest, hash } = self;
        let body = body.map_or(Body::Redacted, Body::Json);
        let event = Recorded { session, seq, id, kind, v, at, source, cause, must_understand, body };
        Row::Event { event, salt, digest, hash }
    }
}

/// A salt as hexadecimal digits.
mod salt {
    use super::{Deserialize, Deserializer, Salt, Serializer};

    pub(super) fn serialize<S: Serializer>(salt: &Option<Salt>, serializer: S) -> Result<S::Ok, S::Error> {
        match salt {
            Some(salt) => serializer.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*salt))),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Salt>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let salt = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Some(salt.to_be_bytes()))
    }
}
