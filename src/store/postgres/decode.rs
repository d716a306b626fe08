//! From rows to values. A row that is not what was written is named as damaged, and never more than that row.

use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _};
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

/// Where the session stands in a row of the event columns, for those that do not ask for one session.
const SESSION: usize = 13;
const POSITION: usize = 14;

/// Reads a row of the event columns; `None` where the row says itself which session it is of.
pub(super) fn event(row: &PgRow, session: Option<SessionId>) -> Result<EventRow, DamagedEvent> {
    let session = match session {
        Some(session) => Ok(session),
        None => get(row, SESSION).map(SessionId::from_uuid),
    };
    let of_row = session.as_ref().ok().copied();
    session.and_then(|session| read_event(row, session)).map_err(|what| DamagedEvent {
        session: of_row,
        seq: count(row, 0).map_or(Seq::ZERO, Seq),
        what,
    })
}

fn read_event(row: &PgRow, session: SessionId) -> Result<EventRow, Bad> {
    let blob = optional_digest(row, 9)?;
    let digest = optional_digest(row, 11)?;
    let salt = match get::<Option<&[u8]>>(row, 10)? {
        None => None,
        Some(bytes) => Some(bytes.try_into().map_err(|_| bad(10))?),
    };
    // A json value travels as its text, byte for byte.
    let (body, held) = match (get::<Option<&str>>(row, 8)?, blob, digest) {
        (Some(body), None, None) => (Body::Json(body.to_owned()), if salt.is_some() { Held::Here } else { Held::Encrypted }),
        // Filled in by whoever fetches the blob.
        (None, Some(blob), None) => (Body::Json(String::new()), Held::InBlob(blob)),
        (None, None, Some(_)) => (Body::Redacted, Held::Here),
        _ => return Err("its body is neither there, nor in a blob, nor redacted".to_owned()),
    };
    let event = Recorded {
        session,
        seq: Seq(count(row, 0)?),
        id: EventId::from_uuid(get(row, 1)?),
        kind: Kind::new(get::<&str>(row, 2)?),
        v: u16::try_from(get::<i32>(row, 3)?).map_err(|_| bad(3))?,
        at: Timestamp(get(row, 4)?),
        source: get::<&str>(row, 5)?.parse().map_err(|_| bad(5))?,
        cause: optional_count(row, 6)?.map(Seq),
        must_understand: get(row, 7)?,
        body,
    };
    let hash = digest_at(row, 12)?;
    Ok(EventRow { row: Row::Event { event, salt, digest, hash }, held })
}

/// The position of an event row.
pub(super) fn position(row: &PgRow) -> Result<u64, Bad> {
    count(row, POSITION)
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

/// The migrations say which types the columns have; to compare them row by row takes longer than to read what is in them.
fn get<'r, T: Decode<'r, Postgres>>(row: &'r PgRow, column: usize) -> Result<T, Bad> {
    row.try_get_unchecked(column).map_err(|error| error.to_string())
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
