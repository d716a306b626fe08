//! Read models in a database: plain statements in one transaction, the same for every dialect.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::super::dialect::Dialect;
use super::super::read_models::session_of;
use super::super::statements::common as sql;
use super::super::{
    Change, Document, FeedCursor, Projected, ProjectionId, Quarantined, ReadModels, Shard, StoreError, search_projection,
};
use super::search::clear;
use super::{Failure, SqlStore, statement, stored};
use crate::session::{Seq, SessionId};

#[async_trait]
impl<D> ReadModels for SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::CHECKPOINTS).bind(projection.name.clone()).bind(i64::from(projection.version));
        let mut checkpoint = FeedCursor::default();
        for row in self.fetch(query).await? {
            let (shard, position): (Shard, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            checkpoint.advance(shard, u64::try_from(position).unwrap_or_default());
        }
        Ok(checkpoint)
    }

    async fn project(&self, projected: Projected) -> Result<(), StoreError> {
        projected.validate()?;
        self.write(move |transaction| project::<D>(transaction, projected)).await
    }

    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::DOCUMENT)
            .bind(shard)
            .bind(projection.name.clone())
            .bind(i64::from(projection.version))
            .bind(key.to_owned());
        let row = self.fetch(query).await?.pop();
        row.map(|row| row.try_get(0)).transpose().map_err(failed)
    }

    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::DOCUMENTS)
            .bind(projection.name.clone())
            .bind(i64::from(projection.version))
            .bind(prefix.to_owned())
            .bind(i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX));
        let mut documents = Vec::new();
        for row in self.fetch(query).await? {
            documents.push(Document {
                key: row.try_get(0).map_err(failed)?,
                shard: row.try_get(1).map_err(failed)?,
                value: row.try_get(2).map_err(failed)?,
            });
        }
        // Here and not there: databases differ in how they order texts.
        documents.sort_unstable();
        Ok(documents)
    }

    async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::QUARANTINED).bind(projection.name.clone()).bind(i64::from(projection.version));
        let mut all = Vec::new();
        for row in self.fetch(query).await? {
            let (session, seq): (Uuid, i64) = (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
            all.push(Quarantined {
                shard: row.try_get(0).map_err(failed)?,
                session: SessionId::from_uuid(session),
                seq: Seq(u64::try_from(seq).unwrap_or_default()),
                what: row.try_get(3).map_err(failed)?,
            });
        }
        all.sort_unstable_by_key(|quarantined| (quarantined.shard, quarantined.session));
        Ok(all)
    }

    async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError> {
        self.dialect.readable()?;
        let query = statement(sql::CHECKPOINTS).bind(projection.name.clone()).bind(i64::from(projection.version));
        // One shard a transaction: on a distributed database each then stays on one server. Whoever is stopped on the way drops it again.
        for row in self.fetch(query).await? {
            let shard: Shard = row.try_get(0).map_err(|error| self.dialect.failed_read(error))?;
            let (name, version) = (projection.name.clone(), i64::from(projection.version));
            self.write(move |transaction| {
                Box::pin(async move {
                    for dropping in [sql::DROP_CHECKPOINT, sql::DROP_DOCUMENTS, sql::DROP_QUARANTINED] {
                        statement(dropping).bind(shard).bind(name.clone()).bind(version).execute(&mut **transaction).await?;
                    }
                    if name == search_projection().name {
                        clear::<D>(transaction, shard).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }

    async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let mut all = Vec::new();
        for row in self.fetch(statement(sql::PROJECTIONS)).await? {
            let version: i64 = row.try_get(1).map_err(failed)?;
            all.push(ProjectionId { name: row.try_get(0).map_err(failed)?, version: u32::try_from(version).unwrap_or(u32::MAX) });
        }
        all.sort_unstable();
        Ok(all)
    }
}

/// Compares, and only then sets. The first statement locks the checkpoint, so that whoever else is at it waits, and then loses.
fn project<'t, D>(transaction: &'t mut Transaction<'static, D::Db>, projected: Projected) -> BoxFuture<'t, Result<(), Failure>>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    Box::pin(async move {
        let (shard, version) = (projected.shard, i64::from(projected.projection.version));
        let name = || projected.projection.name.clone();
        let of = |sql| statement::<D::Db>(sql).bind(shard).bind(name()).bind(version);

        let (from, to) = (stored(projected.from), stored(projected.to));
        let mut moved = D::rows_affected(&of(sql::MOVE_CHECKPOINT).bind(to).bind(from).execute(&mut **transaction).await?);
        if moved == 0 && from == 0 {
            moved = D::rows_affected(&of(sql::BEGIN_CHECKPOINT).bind(to).execute(&mut **transaction).await?);
        }
        let mut held = BTreeMap::new();
        for row in of(sql::HELD).fetch_all(&mut **transaction).await? {
            let (session, seq): (Uuid, i64) = (row.try_get(0)?, row.try_get(1)?);
            held.insert(SessionId::from_uuid(session), Seq(u64::try_from(seq).unwrap_or_default()));
        }
        if moved == 0 || held != projected.held {
            return Err(projected.moved().into());
        }
        let has_holes = statement(sql::HAS_HOLES).bind(shard).fetch_optional(&mut **transaction).await?.is_some();
        let mut of_sessions = Vec::new();
        for write in projected.writes {
            of_sessions.extend(session_of(&write.key).filter(|_| has_holes).map(|session| (session, write.key.clone())));
            match write.change {
                Change::Put(value) => of(sql::PUT_DOCUMENT).bind(write.key).bind(value),
                Change::Delete => of(sql::DELETE_DOCUMENT).bind(write.key),
            }
            .execute(&mut **transaction)
            .await?;
        }
        // What was read before a purge must not be kept after it.
        for (session, key) in of_sessions {
            of(sql::DELETE_PURGED).bind(key).bind(session.as_uuid()).execute(&mut **transaction).await?;
        }
        for session in projected.release {
            of(sql::RELEASE_SESSION).bind(session.as_uuid()).execute(&mut **transaction).await?;
        }
        for Quarantined { session, seq, what, .. } in projected.quarantine {
            // Not every database keeps a NUL in a text.
            let what = what.replace('\0', "\u{fffd}");
            let insert = of(sql::QUARANTINE).bind(session.as_uuid()).bind(stored(seq.0)).bind(what);
            insert.execute(&mut **transaction).await?;
        }
        Ok(())
    })
}
