//! From rows to values. A row that is not what was written is named as damaged, and never more than that row.

use rusqlite::types::ValueRef;

use super::super::content::Held;
use super::super::{Base, DamagedEvent, Directory, Row, SessionRow};
use crate::session::{Body, Digest, Epoch, EventId, Kind, NodeId, Recorded, Seq, SessionId, SessionName, Timestamp};

/// Why a value is not what it should be.
pub(super) type Bad = String;

/// An event row as read: its position, and its event, whose body may still have to be fetched.
pub(super) struct EventRow {
    pub(super) row: Row,
    pub(super) held: Held,
}

/// Reads a row of the event columns of [`statements`](super::super::statements).
pub(super) fn event(row: &rusqlite::Row<'_>, wanted: Option<SessionId>) -> Result<EventRow, DamagedEvent> {
    read_event(row).map_err(|what| {
        let session = wanted.or_else(|| blob::<16>(row, 0).ok().and_then(|id| SessionId::from_slice(&id)));
        DamagedEvent { session, seq: count(row, 1).map_or(Seq::ZERO, Seq), what }
    })
}

fn read_event(row: &rusqlite::Row<'_>) -> Result<EventRow, Bad> {
    let blob_digest = optional(row, 10, blob::<32>)?.map(Digest);
    let salt = optional(row, 11, blob::<16>)?;
    let digest = optional(row, 12, blob::<32>)?.map(Digest);
    let (body, held) = match (value(row, 9)?, blob_digest, digest) {
        (ValueRef::Text(bytes), None, None) => {
            let held = if salt.is_some() { Held::Here } else { Held::Encrypted };
            (Body::Json(utf8(bytes, 9)?.to_owned()), held)
        }
        // Filled in by whoever fetches the blob.
        (ValueRef::Null, Some(blob), None) => (Body::Json(String::new()), Held::InBlob(blob)),
        (ValueRef::Null, None, Some(_)) => (Body::Redacted, Held::Here),
        _ => return Err("its body is neither there, nor in a blob, nor redacted".to_owned()),
    };
    let event = Recorded {
        session: SessionId::from_slice(&blob::<16>(row, 0)?).ok_or_else(|| bad(0))?,
        seq: Seq(count(row, 1)?),
        id: EventId::from_slice(&blob::<16>(row, 2)?).ok_or_else(|| bad(2))?,
        kind: Kind::new(text(row, 3)?),
        v: u16::try_from(integer(row, 4)?).map_err(|_| bad(4))?,
        at: Timestamp(integer(row, 5)?),
        source: text(row, 6)?.parse().map_err(|_| bad(6))?,
        cause: optional(row, 7, count)?.map(Seq),
        must_understand: flag(row, 8)?,
        body,
    };
    let hash = Digest(blob::<32>(row, 13)?);
    Ok(EventRow { row: Row::Event { event, salt, digest, hash }, held })
}

/// Reads a row of the session columns.
pub(super) fn session(row: &rusqlite::Row<'_>) -> Result<SessionRow, Bad> {
    Ok(SessionRow {
        id: SessionId::from_slice(&blob::<16>(row, 0)?).ok_or_else(|| bad(0))?,
        name: optional(row, 1, text)?.map(str::parse::<SessionName>).transpose().map_err(|error| error.to_string())?,
        head: Seq(count(row, 2)?),
        hash: Digest(blob::<32>(row, 3)?),
        epoch: Epoch(count(row, 4)?),
        owner: optional(row, 5, blob::<16>)?.and_then(|id| NodeId::from_slice(&id)),
        created_at: Timestamp(integer(row, 6)?),
        updated_at: Timestamp(integer(row, 7)?),
        directory: Directory {
            phase: text(row, 8)?.to_owned(),
            due: flag(row, 9)?,
            origin: text(row, 10)?.to_owned(),
            title: optional(row, 11, text)?.map(str::to_owned),
            actions: count(row, 12)?,
            messages: count(row, 13)?,
            errors: count(row, 14)?,
            tokens: count(row, 15)?,
            cost_micro_usd: optional(row, 16, count)?,
        },
        base: match (optional(row, 17, blob::<16>)?, optional(row, 18, count)?) {
            (Some(session), Some(seq)) => {
                Some(Base { session: SessionId::from_slice(&session).ok_or_else(|| bad(17))?, seq: Seq(seq) })
            }
            _ => None,
        },
    })
}

/// Where a session stands.
pub(super) fn head(row: &rusqlite::Row<'_>) -> Result<(Seq, Digest, Epoch), Bad> {
    Ok((Seq(count(row, 0)?), Digest(blob::<32>(row, 1)?), Epoch(count(row, 2)?)))
}

fn bad(column: usize) -> Bad {
    format!("its column {column} does not hold what belongs there")
}

fn value<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<ValueRef<'r>, Bad> {
    row.get_ref(column).map_err(|error| error.to_string())
}

fn optional<'r, 's, T>(
    row: &'r rusqlite::Row<'s>,
    column: usize,
    read: impl Fn(&'r rusqlite::Row<'s>, usize) -> Result<T, Bad>,
) -> Result<Option<T>, Bad> {
    match value(row, column)? {
        ValueRef::Null => Ok(None),
        _ => read(row, column).map(Some),
    }
}

/// A whole number.
pub(super) fn integer(row: &rusqlite::Row<'_>, column: usize) -> Result<i64, Bad> {
    match value(row, column)? {
        ValueRef::Integer(number) => Ok(number),
        _ => Err(bad(column)),
    }
}

/// A whole number that is not negative.
pub(super) fn count(row: &rusqlite::Row<'_>, column: usize) -> Result<u64, Bad> {
    u64::try_from(integer(row, column)?).map_err(|_| bad(column))
}

fn flag(row: &rusqlite::Row<'_>, column: usize) -> Result<bool, Bad> {
    match integer(row, column)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(bad(column)),
    }
}

fn text<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<&'r str, Bad> {
    match value(row, column)? {
        ValueRef::Text(bytes) => utf8(bytes, column),
        _ => Err(bad(column)),
    }
}

fn utf8(bytes: &[u8], column: usize) -> Result<&str, Bad> {
    std::str::from_utf8(bytes).map_err(|_| format!("its column {column} is not UTF-8"))
}

fn blob<const N: usize>(row: &rusqlite::Row<'_>, column: usize) -> Result<[u8; N], Bad> {
    match value(row, column)? {
        ValueRef::Blob(bytes) => bytes.try_into().map_err(|_| bad(column)),
        _ => Err(bad(column)),
    }
}
