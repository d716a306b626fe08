//! The care of a database: other stores' events taken over, sessions held and purged.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Type};
use uuid::Uuid;

use super::work::Work;
use super::{SqlStore, statement};
use crate::session::{Seq, SessionId, Timestamp};
use crate::store::care::{Adoption, Backup, Care, Keeping};
use crate::store::dialect::Dialect;
use crate::store::statements::common as sql;
use crate::store::{Compacted, Condition, FeedFlaw, Packed, SessionRow, Shard, Store, StoreError, no_session};

#[async_trait]
impl<D> Care for SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> bool: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Option<i64>: Encode<'q, D::Db>,
    for<'q> Option<String>: Encode<'q, D::Db>,
    for<'q> Option<Uuid>: Encode<'q, D::Db>,
    for<'q> Option<Vec<u8>>: Encode<'q, D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError> {
        // One shard a transaction: on a distributed database each then stays on one server.
        let mut of_shards = BTreeMap::<Shard, Vec<Adoption>>::new();
        for adoption in adoptions {
            of_shards.entry(self.dialect.shard_of(adoption.session)).or_default().push(adoption);
        }
        for (shard, adoptions) in of_shards {
            for adoption in &adoptions {
                self.has_key(adoption.session).await?;
            }
            let (roots, secrecy) = (self.roots(&adoptions).await?, self.dialect.secrecy().clone());
            self.write(move |transaction| {
                Box::pin(async move { Work::<D>::new(transaction, shard, secrecy).adopt(&adoptions, &roots).await })
            })
            .await?;
        }
        Ok(())
    }

    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError> {
        let (shard, mut row, keeping) = (self.dialect.shard_of(row.id), row.clone(), keeping.clone());
        self.hide_title(row.id, Some(&mut row.directory))?;
        let secrecy = self.dialect.secrecy().clone();
        self.write(move |transaction| {
            Box::pin(async move { Work::<D>::new(transaction, shard, secrecy).settle(row, keeping).await })
        })
        .await
    }

    async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::KEEPING).bind(self.dialect.shard_of(session)).bind(session.as_uuid());
        let Some(row) = self.fetch(query).await?.pop() else { return Ok(None) };
        let purged_at: Option<i64> = row.try_get(1).map_err(failed)?;
        Ok(Some(Keeping { hold: row.try_get(0).map_err(failed)?, purged_at: purged_at.map(Timestamp) }))
    }

    async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError> {
        let (shard, reason) = (self.dialect.shard_of(session), reason.map(str::to_owned));
        self.write(move |transaction| {
            Box::pin(async move {
                let update = statement(sql::HOLD).bind(shard).bind(session.as_uuid()).bind(reason);
                match D::rows_affected(&update.execute(&mut **transaction).await?) {
                    0 => Err(no_session(session).into()),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError> {
        let shard = self.dialect.shard_of(session);
        let secrecy = self.dialect.secrecy().clone();
        self.forgetting(session, Seq::ZERO, Seq(u64::MAX), move |transaction, traces| {
            let secrecy = secrecy.clone();
            Box::pin(async move { Work::<D>::new(transaction, shard, secrecy).purge(session, at, traces).await })
        })
        .await?;
        // Only now: a purge that is refused leaves everything. One that was cut off here is finished by purging again.
        let secrecy = self.dialect.secrecy().clone();
        let task = tokio::task::spawn_blocking(move || secrecy.destroy_key(session));
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    async fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        self.dialect.readable()?;
        if to.exists() {
            return Err(StoreError::Invalid(format!("{} exists; name a new file for the backup", to.display())));
        }
        self.dialect.backup(to).await
    }

    async fn keyless(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, StoreError> {
        let secrecy = self.dialect.secrecy().clone();
        // It waits for the disk.
        let find = move || sessions.into_iter().filter(|session| secrecy.key(*session).is_err()).collect();
        tokio::task::spawn_blocking(find).await.map_err(|error| StoreError::Unavailable(error.into()))
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.dialect.readable()?;
        self.dialect.condition().await
    }

    async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError> {
        let failed = |error| self.dialect.failed_read(error);
        let mut flaws = Vec::new();
        // One shard a statement: on a distributed database each is then asked of the server that has it.
        for head in self.fetch(statement(sql::HEADS)).await? {
            let shard: Shard = head.try_get(0).map_err(failed)?;
            for row in self.fetch(statement(sql::FEED_FLAWS).bind(shard)).await? {
                let (before, found): (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
                flaws.push(flaw(shard, before, found));
            }
        }
        Ok(flaws)
    }

    async fn packable(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        self.unpacked(before, limit).await
    }

    async fn pack(&self, session: SessionId) -> Result<Packed, StoreError> {
        self.pack_session(session).await
    }

    async fn compact(&self) -> Result<Compacted, StoreError> {
        let before = self.info().await?.bytes;
        self.dialect.compact().await?;
        Ok(Compacted { before, after: self.info().await?.bytes })
    }
}

/// What two neighbours in the feed that are none say: where the one before ends, and where the next begins.
fn flaw(shard: Shard, before: i64, found: i64) -> FeedFlaw {
    let position = |number: i64| u64::try_from(number).unwrap_or_default();
    if found > before {
        FeedFlaw::Missing { shard, first: position(before + 1), last: position(found - 1) }
    } else {
        FeedFlaw::Overlap { shard, position: position(found) }
    }
}
