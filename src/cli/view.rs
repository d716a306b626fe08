//! The shapes of JSON output. Stable: fields are added, never changed or taken away. Moments are RFC 3339 in UTC.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::projection::moment;
use crate::session::{Body, Digest, Epoch, EventId, Kind, NodeId, Recorded, Seq, SessionId, SessionName, Source, Timestamp};
use crate::store::{Row, SessionRow};

/// One session, as `ls` and `doctor` show it.
#[derive(Debug, Serialize)]
pub struct SessionView<'a> {
    id: SessionId,
    name: Option<&'a SessionName>,
    state: &'a str,
    origin: &'a str,
    title: Option<&'a str>,
    events: Seq,
    hash: Digest,
    epoch: Epoch,
    owner: Option<NodeId>,
    due: bool,
    #[serde(serialize_with = "moment")]
    created_at: Timestamp,
    #[serde(serialize_with = "moment")]
    updated_at: Timestamp,
    actions: u64,
    messages: u64,
    errors: u64,
    tokens: u64,
    cost_micro_usd: Option<u64>,
    /// Where a fork goes on from: the session that holds that event, and the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Seq>,
}

impl<'a> SessionView<'a> {
    /// Of a directory row.
    pub fn of(row: &'a SessionRow) -> Self {
        let SessionRow { id, name, head, hash, epoch, owner, created_at, updated_at, directory, base } = row;
        Self {
            id: *id,
            name: name.as_ref(),
            state: &directory.phase,
            origin: &directory.origin,
            title: directory.title.as_deref(),
            events: *head,
            hash: *hash,
            epoch: *epoch,
            owner: *owner,
            due: directory.due,
            created_at: *created_at,
            updated_at: *updated_at,
            actions: directory.actions,
            messages: directory.messages,
            errors: directory.errors,
            tokens: directory.tokens,
            cost_micro_usd: directory.cost_micro_usd,
            parent: base.map(|base| base.session),
            at: base.map(|base| base.seq),
        }
    }
}

/// One event, as `show S:N`, `show --raw` and `tail` show it; a damaged one has only its place and what is wrong.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum RowView<'a> {
    /// An event.
    Event(Box<EventView<'a>>),
    /// A place where none can be read.
    Damaged {
        /// The session.
        session: SessionId,
        /// The place.
        seq: Seq,
        /// What is wrong there.
        damaged: &'a str,
    },
}

/// An event that can be read.
#[derive(Debug, Serialize)]
pub struct EventView<'a> {
    session: SessionId,
    seq: Seq,
    id: EventId,
    kind: &'a Kind,
    v: u16,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    source: Source,
    cause: Option<Seq>,
    must_understand: bool,
    redacted: bool,
    hash: Digest,
    /// The stored text, byte for byte.
    body: Option<&'a RawValue>,
}

/// An event that an answer names: its place and its envelope.
#[derive(Debug, Serialize)]
pub struct Cited<'a> {
    seq: Seq,
    kind: &'a Kind,
    #[serde(serialize_with = "moment")]
    at: Timestamp,
    source: Source,
    cause: Option<Seq>,
}

impl<'a> Cited<'a> {
    /// Of an event.
    pub const fn of(event: &'a Recorded) -> Self {
        Self { seq: event.seq, kind: &event.kind, at: event.at, source: event.source, cause: event.cause }
    }
}

impl<'a> RowView<'a> {
    /// Of one place of a session's log.
    pub fn of(session: SessionId, row: &'a Row) -> Self {
        match row {
            Row::Event { event, hash, .. } => Self::Event(Box::new(EventView {
                session,
                seq: event.seq,
                id: event.id,
                kind: &event.kind,
                v: event.v,
                at: event.at,
                source: event.source,
                cause: event.cause,
                must_understand: event.must_understand,
                redacted: event.body == Body::Redacted,
                hash: *hash,
                body: serde_json::from_str(event.body.as_json()).ok(),
            })),
            Row::Damaged { seq, what } => Self::Damaged { session, seq: *seq, damaged: what },
        }
    }
}
