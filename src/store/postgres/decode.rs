//! From rows to values. A row that is not what was written is named as damaged, and never more than that row.

use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _, Type};
use uuid::Uuid;

use super::super::content::Held;
use super::super::{Base, DamagedEvent, Directory, Row, SessionRow};
use crate::session::{Body, Digest, Epoch, EventId, Kind, NodeId, Recorded, Seq, SessionId, SessionName, Timestamp};

/// Why a value is not what it should be.
type Bad = String;

/// An event as read, whose body may still have to be fetched.
pub(super) struct EventRow {
    pub(super) row: Row,
    pub(super) held: Held,
}

/// Reads a row of the event columns.
pub(super) fn event(row: &PgRow) -> Result<EventRow, DamagedEvent> {
    read_event(row).map_err(|what| DamagedEvent {
        session: get::<Uuid>(row, 0).ok().map(SessionId::from_uuid),
        seq: count(row, 1).map_or(Seq::ZERO, Seq),
        what,
    })
}

fn read_event(row: &PgRow) -> Result<EventRow, Bad> {
    let blob = optional_digest(row, 10)?;
    let digest = optional_digest(row, 12)?;
    let salt = match get::<Option<&[u8]>>(row, 11)? {
        None => None,
        Some(bytes) => Some(bytes.try_into().map_err(|_| bad(11))?),
    };
    // A json value travels as its text, byte for byte; the type of the column is known.
    let body: Option<&str> = row.try_get_unchecked(9).map_err(|error| error.to_string())?;
    let (body, held) = match (body, blob, digest) {
        (Some(body), None, None) => (Body::Json(body.to_owned()), if salt.is_some() { Held::Here } else { Held::Encrypted }),
        // Filled in by whoever fetches the blob.
        (None, Some(blob), None) => (Body::Json(String::new()), Held::InBlob(blob)),
        (None, None, Some(_)) => (Body::Redacted, Held::Here),
        _ => return Err("its body is neither there, nor in a blob, nor redacted".to_owned()),
    };
    let event = Recorded {
        session: SessionId::from_uuid(get(row, 0)?),
        seq: Seq(count(row, 1)?),
        id: EventId::from_uuid(get(row, 2)?),
        kind: Kind::new(get::<&str>(row, 3)?),
        v: u16::try_from(get::<i32>(row, 4)?).map_err(|_| bad(4))?,
        at: Timestamp(get(row, 5)?),
        source: get::<&str>(row, 6)?.parse().map_err(|_| bad(6))?,
        cause: optional_count(row, 7)?.map(Seq),
        must_understand: get(row, 8)?,
        body,
    };
    let hash = digest_at(row, 13)?;
    Ok(EventRow { row: Row::Event { event, salt, digest, hash }, held })
}

/// The position of an event row.
pub(super) fn position(row: &PgRow) -> Result<u64, Bad> {
    count(row, 14)
}

/// Reads a row of the session columns.
pub(super) fn session(row: &PgRow) -> Result<SessionRow, Bad> {
    Ok(SessionRow {
        id: SessionId::from_uuid(get(row, 0)?),
        name: get::<Option<&str>>(row, 1)?.map(str::parse::<SessionName>).transpose().map_err(|error| error.to_string())?,
        head: Seq(count(row, 2)?),
        hash: digest_at(row, 3)?,
        epoch: Epoch(count(row, 4)?),
        owner: get::<Option<Uuid>>(row, 5)?.map(NodeId::from_uuid),
        created_at: Timestamp(get(row, 6)?),
        updated_at: Timestamp(get(row, 7)?),
        directory: Directory {
            phase: get(row, 8)?,
            due: get(row, 9)?,
            origin: get(row, 10)?,
            title: get(row, 11)?,
            actions: count(row, 12)?,
            messages: count(row, 13)?,
            errors: count(row, 14)?,
            tokens: count(row, 15)?,
            cost_micro_usd: optional_count(row, 16)?,
        },
        base: match (get::<Option<Uuid>>(row, 17)?, optional_count(row, 18)?) {
            (Some(session), Some(seq)) => Some(Base { session: SessionId::from_uuid(session), seq: Seq(seq) }),
            _ => None,
        },
    })
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: Seq,
    pub(super) hash: Digest,
    pub(super) epoch: Epoch,
    /// Whether its events were purged.
    pub(super) purged: bool,
}

/// Reads where a session stands.
pub(super) fn head(row: &PgRow) -> Result<(SessionId, Head), Bad> {
    let head = Head { seq: Seq(count(row, 1)?), hash: digest_at(row, 2)?, epoch: Epoch(count(row, 3)?), purged: get(row, 4)? };
    Ok((SessionId::from_uuid(get(row, 0)?), head))
}

fn bad(column: usize) -> Bad {
    format!("its column {column} does not hold what belongs there")
}

fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: usize) -> Result<T, Bad> {
    row.try_get(column).map_err(|error| error.to_string())
}

/// A whole number that is not negative.
pub(super) fn count(row: &PgRow, column: usize) -> Result<u64, Bad> {
    u64::try_from(get::<i64>(row, column)?).map_err(|_| bad(column))
}

fn optional_count(row: &PgRow, column: usize) -> Result<Option<u64>, Bad> {
    get::<Option<i64>>(row, column)?.map(|count| u64::try_from(count).map_err(|_| bad(column))).transpose()
}

fn digest_at(row: &PgRow, column: usize) -> Result<Digest, Bad> {
    Digest::from_slice(get(row, column)?).ok_or_else(|| bad(column))
}

fn optional_digest(row: &PgRow, column: usize) -> Result<Option<Digest>, Bad> {
    get::<Option<&[u8]>>(row, column)?.map(|bytes| Digest::from_slice(bytes).ok_or_else(|| bad(column))).transpose()
}
