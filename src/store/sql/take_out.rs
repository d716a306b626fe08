//! Taking one body out of where it lies: its row, content of its own, or a segment whose other bodies stay.

use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::{Failure, statement};
use crate::session::{Body, Digest, EventId, Kind, Recorded, Seq, SessionId, Source, Timestamp};
use crate::store::chain::Salt;
use crate::store::content::{Bad, Content, Layout, Opener, Secrecy};
use crate::store::dialect::Dialect;
use crate::store::segment::Segment;
use crate::store::statements::common as sql;
use crate::store::{Row, Shard, StoreError};

/// An event as its row has it.
pub(super) struct Found {
    pub(super) id: EventId,
    /// Its body, or what that is encrypted as, where it lies in the row.
    pub(super) text: Option<String>,
    pub(super) salt: Option<Vec<u8>>,
    /// The content that its body lies in, where it does not lie in the row.
    pub(super) content: Option<Content>,
}

/// A body that is to be taken out.
pub(super) struct Taken {
    pub(super) salt: Salt,
    pub(super) body: String,
    /// Where others lie with it.
    pub(super) segment: Option<Segment>,
}

impl Found {
    /// Opens the body.
    pub(super) fn open(self, secrecy: &Secrecy, session: SessionId, seq: Seq) -> Result<Taken, Bad> {
        let Self { id, text, salt, content } = self;
        let gone = || "its body or its salt is not there".to_owned();
        let salt = salt.map(|salt| salt.try_into().map_err(|_| gone())).transpose()?;
        let mut opener = Opener::new(secrecy);
        let is_in_row = text.is_some();
        let mut row = Row::Event {
            event: Recorded {
                session,
                seq,
                id,
                kind: Kind::known(""),
                v: 0,
                at: Timestamp(0),
                source: Source::Environment,
                cause: None,
                must_understand: false,
                body: Body::Json(text.unwrap_or_default()),
            },
            salt,
            digest: None,
            hash: Digest::ZERO,
        };
        let segment = match content {
            None if !is_in_row => return Err(gone()),
            None => {
                if salt.is_none() {
                    opener.decrypt(&mut row)?;
                }
                None
            }
            Some(content) => {
                opener.set_from(Digest::ZERO, content, &mut row)?;
                opener.into_segment()
            }
        };
        match row {
            Row::Event { event: Recorded { body: Body::Json(body), .. }, salt: Some(salt), .. } => {
                Ok(Taken { salt, body, segment })
            }
            _ => Err(gone()),
        }
    }
}

/// Keeps others from packing or redacting a session until the transaction ends.
pub(super) async fn lock_session<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    session: SessionId,
) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
{
    statement(sql::LOCK_SESSION).bind(shard).bind(session.as_uuid()).execute(&mut **transaction).await?;
    Ok(())
}

/// Reads content.
pub(super) async fn content<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    digest: Vec<u8>,
) -> Result<Option<Content>, sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    let row = statement(sql::BLOB).bind(shard).bind(digest).fetch_optional(&mut **transaction).await?;
    row.map(|row| Ok(Content { bytes: row.try_get(0)?, form: row.try_get(1)? })).transpose()
}

/// Puts what else lies in a segment into a new one; the old one is referred to by none of its events then.
pub(super) async fn rewrite<D>(
    transaction: &mut Transaction<'static, D::Db>,
    secrecy: &Secrecy,
    shard: Shard,
    (session, seq): (SessionId, Seq),
    old: Vec<u8>,
    segment: &Segment,
) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Type<D::Db>,
{
    let damaged = |what| StoreError::Damaged { session, seq, what };
    let Some(rest) = segment.without(seq).map_err(damaged)? else { return Ok(()) };
    let key = secrecy.key(session)?;
    let Content { form, bytes } = Content::laid(key.as_deref(), Layout::Segment, rest).map_err(damaged)?;
    let new = Digest::of(&bytes).0.to_vec();
    statement(sql::PUT_SEGMENT).bind(shard).bind(new.clone()).bind(bytes).bind(form).execute(&mut **transaction).await?;
    let bind = statement(sql::MOVE_SEGMENT).bind(shard).bind(session.as_uuid()).bind(old).bind(new);
    bind.execute(&mut **transaction).await?;
    Ok(())
}
