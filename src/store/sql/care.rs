//! The care of a database: other stores' events taken over, sessions held and purged.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::{Failure, SqlStore, statement, stored};
use crate::session::{Body, Digest, Recorded, Seq, SessionId, Timestamp};
use crate::store::care::{Adoption, Backup, Care, Keeping};
use crate::store::chain::Verifier;
use crate::store::dialect::Dialect;
use crate::store::sealed::INLINE_BYTES_MAX;
use crate::store::statements::common as sql;
use crate::store::{Compacted, Condition, FeedFlaw, PURGED, Row, SessionRow, Shard, Store, StoreError, no_session};

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
            self.write(move |transaction| {
                Box::pin(async move {
                    for adoption in &adoptions {
                        adopt::<D>(transaction, shard, adoption).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }

    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError> {
        let (shard, row, keeping) = (self.dialect.shard_of(row.id), row.clone(), keeping.clone());
        self.write(move |transaction| {
            Box::pin(async move {
                let id = row.id;
                let head = head::<D>(transaction, shard, id).await?;
                if head.is_none() && keeping.purged_at.is_some() {
                    begin::<D>(transaction, shard, id, &Stand { head: row.head, hash: row.hash, at: row.created_at }).await?;
                } else if head != Some((row.head, row.hash)) {
                    let head = head.map_or(Seq::ZERO, |(head, _)| head);
                    return Err(StoreError::Conflict { session: id, head }.into());
                }
                let directory = row.directory;
                let settle = statement(sql::SETTLE)
                    .bind(shard)
                    .bind(id.as_uuid())
                    .bind(row.name.map(|name| name.as_str().to_owned()))
                    .bind(stored(row.epoch.0))
                    .bind(row.owner.map(|owner| owner.as_uuid()))
                    .bind(directory.phase)
                    .bind(directory.due)
                    .bind(directory.origin)
                    .bind(directory.title)
                    .bind(stored(directory.actions))
                    .bind(stored(directory.messages))
                    .bind(stored(directory.errors))
                    .bind(stored(directory.tokens))
                    .bind(directory.cost_micro_usd.map(stored))
                    .bind(row.created_at.0)
                    .bind(row.updated_at.0)
                    .bind(keeping.hold)
                    .bind(keeping.purged_at.map(|at| at.0));
                settle.execute(&mut **transaction).await?;
                Ok(())
            })
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
        self.write(move |transaction| Box::pin(purge::<D>(transaction, shard, session, at))).await
    }

    async fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        self.dialect.readable()?;
        if to.exists() {
            return Err(StoreError::Invalid(format!("{} exists; name a new file for the backup", to.display())));
        }
        self.dialect.backup(to).await
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

/// Where a session stands after events were adopted.
struct Stand {
    head: Seq,
    hash: Digest,
    at: Timestamp,
}

async fn adopt<D>(transaction: &mut Transaction<'static, D::Db>, shard: Shard, adoption: &Adoption) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> bool: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Option<i64>: Encode<'q, D::Db>,
    for<'q> Option<String>: Encode<'q, D::Db>,
    for<'q> Option<Vec<u8>>: Encode<'q, D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    let session = adoption.session;
    let stood = head::<D>(transaction, shard, session).await?;
    let (head, hash) = stood.unwrap_or((Seq::ZERO, Digest::ZERO));
    let (here, new): (Vec<&Row>, Vec<&Row>) = adoption.rows.iter().partition(|row| row.seq() <= head);
    if let Some(Row::Event { event, hash, .. }) = here.last() {
        let find = statement(sql::EVENT_HASH).bind(shard).bind(session.as_uuid()).bind(stored(event.seq.0));
        let found = find.fetch_optional(&mut **transaction).await?.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
        if found.as_deref() != Some(hash.0.as_slice()) {
            return Err(StoreError::Conflict { session, head }.into());
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    let mut verifier = Verifier::from_anchor(session, head, hash);
    for row in &new {
        verifier.check(row).map_err(|flaw| flaw.of_session(session))?;
    }
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    statement(sql::ADD_POSITIONS).bind(shard).bind(count).execute(&mut **transaction).await?;
    let end: i64 = statement(sql::LAST_POSITION).bind(shard).fetch_one(&mut **transaction).await?.try_get(0)?;
    let (mut first_at, mut last_at) = (None, Timestamp(0));
    for (row, pos) in new.iter().zip(end - count + 1..) {
        if let Row::Event { event, salt, digest, hash } = row {
            first_at.get_or_insert(event.at);
            last_at = event.at;
            insert::<D>(transaction, shard, pos, event, (salt.as_ref(), digest.as_ref(), hash)).await?;
        }
    }
    if stood.is_none() {
        let at = first_at.unwrap_or(last_at);
        begin::<D>(transaction, shard, session, &Stand { head: verifier.seq(), hash: verifier.hash(), at }).await?;
    }
    let update = statement(sql::MOVE_ADOPTED)
        .bind(shard)
        .bind(session.as_uuid())
        .bind(stored(verifier.seq().0))
        .bind(verifier.hash().0.to_vec())
        .bind(last_at.0);
    update.execute(&mut **transaction).await?;
    Ok(())
}

type Seals<'r> = (Option<&'r [u8; 16]>, Option<&'r Digest>, &'r Digest);

async fn insert<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    pos: i64,
    event: &Recorded,
    (salt, digest, hash): Seals<'_>,
) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> bool: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Option<i64>: Encode<'q, D::Db>,
    for<'q> Option<String>: Encode<'q, D::Db>,
    for<'q> Option<Vec<u8>>: Encode<'q, D::Db>,
{
    let (inline, long) = match &event.body {
        Body::Json(body) if body.len() > INLINE_BYTES_MAX => (None, Some(body)),
        Body::Json(body) => (Some(body.clone()), None),
        Body::Redacted => (None, None),
    };
    let blob = long.map(|body| Digest::of(body.as_bytes()));
    if let (Some(body), Some(blob)) = (long, blob) {
        let put = statement(sql::PUT_BLOB).bind(shard).bind(blob.0.to_vec()).bind(body.as_bytes().to_vec());
        put.execute(&mut **transaction).await?;
    }
    let insert = statement(D::INSERT_EVENT_ROW)
        .bind(pos)
        .bind(shard)
        .bind(event.session.as_uuid())
        .bind(stored(event.seq.0))
        .bind(event.id.as_uuid())
        .bind(event.kind.as_str().to_owned())
        .bind(i32::from(event.v))
        .bind(event.at.0)
        .bind(event.source.as_str().to_owned())
        .bind(event.cause.map(|cause| stored(cause.0)))
        .bind(event.must_understand)
        .bind(inline)
        .bind(blob.map(|digest| digest.0.to_vec()))
        .bind(salt.map(|salt| salt.to_vec()))
        .bind(digest.map(|digest| digest.0.to_vec()))
        .bind(hash.0.to_vec());
    insert.execute(&mut **transaction).await?;
    Ok(())
}

/// Makes the row of a session that was not here.
async fn begin<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    session: SessionId,
    stand: &Stand,
) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Type<D::Db>,
{
    let insert = statement(sql::BEGIN_ADOPTED)
        .bind(shard)
        .bind(session.as_uuid())
        .bind(stored(stand.head.0))
        .bind(stand.hash.0.to_vec())
        .bind(stand.at.0);
    insert.execute(&mut **transaction).await?;
    Ok(())
}

/// Where a session stands; it is an error when it was purged.
async fn head<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    session: SessionId,
) -> Result<Option<(Seq, Digest)>, Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    let query = statement(sql::STANDING).bind(shard).bind(session.as_uuid());
    let Some(row) = query.fetch_optional(&mut **transaction).await? else { return Ok(None) };
    let seq = Seq(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default());
    let damaged = || StoreError::Damaged { session, seq, what: "its head has no hash".to_owned() };
    let hash = Digest::from_slice(&row.try_get::<Vec<u8>, _>(1)?).ok_or_else(damaged)?;
    Ok(Some((seq, hash)))
}

async fn purge<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    session: SessionId,
    at: Timestamp,
) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> bool: Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    let id = session.as_uuid();
    // Nobody moves the head from here on: its row is changed first.
    statement(sql::PURGED).bind(shard).bind(id).bind(at.0).bind(PURGED.to_owned()).execute(&mut **transaction).await?;
    let keeping = statement(sql::PURGEABLE).bind(shard).bind(id).fetch_optional(&mut **transaction).await?;
    let Some(keeping) = keeping else { return Err(no_session(session).into()) };
    if let Some(reason) = keeping.try_get::<Option<String>, _>(0)? {
        return Err(StoreError::Invalid(format!("session {session} is held ({reason}); release it first")).into());
    }
    if keeping.try_get::<bool, _>(1)? {
        return Err(StoreError::Invalid(format!("session {session} has something left to do; close it first")).into());
    }
    let rows = statement(sql::POSITIONS).bind(shard).bind(id).fetch_all(&mut **transaction).await?;
    let positions = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
    let blobs = statement(sql::BLOBS_OF).bind(shard).bind(id).fetch_all(&mut **transaction).await?;
    for (first, last) in ranges(&positions) {
        statement(sql::INSERT_HOLE).bind(shard).bind(first).bind(last).bind(id).execute(&mut **transaction).await?;
    }
    statement(sql::DROP_EVENTS).bind(shard).bind(id).execute(&mut **transaction).await?;
    statement(sql::DROP_SNAPSHOTS).bind(shard).bind(id).bind(0_i64).execute(&mut **transaction).await?;
    statement(sql::DROP_QUARANTINE).bind(shard).bind(id).execute(&mut **transaction).await?;
    for blob in &blobs {
        let digest: Vec<u8> = blob.try_get(0)?;
        statement(sql::DROP_BLOB).bind(shard).bind(digest).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Rising numbers as ranges, first and last among them.
fn ranges(numbers: &[i64]) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    #[test]
    fn positions_become_ranges() {
        assert_eq!(super::ranges(&[1, 2, 3, 7, 9, 10]), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(super::ranges(&[]), []);
    }
}
