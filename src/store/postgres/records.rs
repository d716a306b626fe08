//! Rows that travel as rows: each is a value of the type of its table, and a batch is one array of them. An array of values for each
//! column is taken apart by the server one by one, which is a fifth of the work of inserting events.
//!
//! The columns are in the order of their tables, which `EVENT_COLUMNS` and `SESSION_COLUMNS` among the statements say.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::{Postgres, Type};
use uuid::Uuid;

use super::super::{Directory, Shard};
use super::decode::Head;
use super::rows::{Begun, EventRow, Moved, stored, text};
use crate::session::SessionId;

/// A row being written in the form of `record_recv`: how many columns, then of each its type, its length in bytes, its value.
/// Source: PostgreSQL, `src/backend/utils/adt/rowtypes.c`.
struct Record<'a> {
    buffer: &'a mut PgArgumentBuffer,
    begin: usize,
    columns: u32,
}

impl<'a> Record<'a> {
    fn new(buffer: &'a mut PgArgumentBuffer) -> Self {
        let begin = buffer.len();
        buffer.extend_from_slice(&0_u32.to_be_bytes());
        Self { buffer, begin, columns: 0 }
    }

    fn put<'q, T: Encode<'q, Postgres> + Type<Postgres>>(&mut self, value: T) -> Result<&mut Self, BoxDynError> {
        let oid = T::type_info().oid().ok_or("a column of a type that is not PostgreSQL's own")?;
        self.buffer.extend_from_slice(&oid.0.to_be_bytes());
        let length = self.buffer.len();
        self.buffer.extend_from_slice(&(-1_i32).to_be_bytes());
        if let IsNull::No = value.encode_by_ref(self.buffer)? {
            let bytes = i32::try_from(self.buffer.len() - length - size_of::<i32>())?;
            self.patch(length, bytes.to_be_bytes());
        }
        self.columns += 1;
        Ok(self)
    }

    fn patch(&mut self, at: usize, bytes: [u8; 4]) {
        if let Some(place) = self.buffer.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    }

    fn end(&mut self) -> IsNull {
        self.patch(self.begin, self.columns.to_be_bytes());
        IsNull::No
    }
}

/// A value of a column that keeps its bytes.
pub(super) struct Json<'b>(pub(super) &'b str);

impl Type<Postgres> for Json<'_> {
    fn type_info() -> PgTypeInfo {
        // The number of `json`, which is built in. Source: PostgreSQL, `src/include/catalog/pg_type.dat`.
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl Encode<'_, Postgres> for Json<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&str as Encode<Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

macro_rules! row_of {
    ($row:ident, $table:literal) => {
        impl Type<Postgres> for $row<'_> {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name($table)
            }
        }

        impl PgHasArrayType for $row<'_> {
            fn array_type_info() -> PgTypeInfo {
                PgTypeInfo::array_of($table)
            }
        }
    };
}
row_of!(EventRow, "event");
row_of!(Begun, "session");
row_of!(Moved, "session");

impl Encode<'_, Postgres> for EventRow<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let row = &mut Record::new(buffer);
        row.put(self.shard)?.put(self.session)?.put(self.seq)?.put(self.pos)?;
        row.put(self.id)?.put(self.kind)?.put(self.v)?.put(self.at)?.put(self.source)?.put(self.cause)?;
        row.put(self.must_understand)?.put(self.body.map(Json))?.put(self.blob)?.put(self.salt)?;
        let digest = None::<[u8; 32]>;
        Ok(row.put(digest)?.put(self.hash)?.end())
    }
}

impl Encode<'_, Postgres> for Begun<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        SessionColumns {
            shard: self.shard,
            session: self.session,
            head: self.head,
            owner: self.owner,
            directory: Some(&self.directory),
            created_at: Some(self.created_at),
            updated_at: self.updated_at,
        }
        .encode(buffer)
    }
}

impl Encode<'_, Postgres> for Moved<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        SessionColumns {
            shard: self.shard,
            session: self.session,
            head: self.new,
            owner: self.owner,
            directory: self.directory,
            created_at: None,
            updated_at: self.updated_at,
        }
        .encode(buffer)
    }
}

/// What an append says of a session.
struct SessionColumns<'b> {
    shard: Shard,
    session: SessionId,
    head: Head,
    owner: Option<Uuid>,
    directory: Option<&'b Directory>,
    created_at: Option<i64>,
    updated_at: i64,
}

impl SessionColumns<'_> {
    fn encode(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let directory = self.directory;
        let count = |pick: fn(&Directory) -> u64| directory.map(|directory| stored(pick(directory)));
        let (name, hold) = (None::<&str>, None::<&str>);
        let (purged_at, updated_minute) = (None::<i64>, None::<i64>);
        let (base_session, base_seq, packed_seq) = (None::<Uuid>, None::<i64>, None::<i64>);
        let row = &mut Record::new(buffer);
        row.put(self.shard)?.put(self.session.as_uuid())?.put(name)?;
        row.put(stored(self.head.seq.0))?.put(self.head.hash.0)?.put(stored(self.head.epoch.0))?.put(self.owner)?;
        row.put(directory.map(|directory| text(&directory.phase)))?;
        row.put(directory.map(|directory| directory.due))?;
        row.put(directory.map(|directory| text(&directory.origin)))?;
        row.put(directory.and_then(|directory| directory.title.as_deref().map(text)))?;
        row.put(count(|directory| directory.actions))?.put(count(|directory| directory.messages))?;
        row.put(count(|directory| directory.errors))?.put(count(|directory| directory.tokens))?;
        row.put(directory.and_then(|directory| directory.cost_micro_usd.map(stored)))?;
        row.put(self.created_at)?.put(self.updated_at)?.put(hold)?.put(purged_at)?;
        Ok(row.put(base_session)?.put(base_seq)?.put(packed_seq)?.put(updated_minute)?.end())
    }
}
