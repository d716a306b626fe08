//! The search index of a database: what is put in, found, and taken out again.

use async_trait::async_trait;
use serde_json::json;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::super::dialect::{Dialect, Forget};
use super::super::statements::common as sql;
use super::super::{Find, Hit, IndexEntry, Indexed, Place, Read, Row, SearchIndex, Shard, StoreError, search_projection};
use super::{Failure, SqlStore, statement, stored};
use crate::session::{Body, Recorded, Seq, SessionId, Timestamp, searchable};

/// A session with more events than this is not taken out of the index event by event; the index is made anew.
const FORGOTTEN_MAX: usize = 20_000;
/// The most hits that are found at once.
const HITS_MAX: u32 = 10_000;

#[async_trait]
impl<D> SearchIndex for SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        indexed.validate()?;
        let entries = entries::<D>(&indexed.entries);
        self.write(move |transaction| {
            Box::pin(async move {
                let (shard, id) = (indexed.shard, search_projection());
                let (from, to, version) = (stored(indexed.from), stored(indexed.to), i64::from(id.version));
                let of = |sql| statement::<D::Db>(sql).bind(shard).bind(id.name.clone()).bind(version);
                let mut moved =
                    D::rows_affected(&of(sql::MOVE_CHECKPOINT).bind(to).bind(from).execute(&mut **transaction).await?);
                if moved == 0 && from == 0 {
                    moved = D::rows_affected(&of(sql::BEGIN_CHECKPOINT).bind(to).execute(&mut **transaction).await?);
                }
                if moved == 0 {
                    return Err(indexed.moved().into());
                }
                if from == 0 {
                    for row in statement(sql::PROJECTIONS_OF).bind(shard).fetch_all(&mut **transaction).await? {
                        let of: (String, i64) = (row.try_get(0)?, row.try_get(1)?);
                        if of.0 == id.name && of.1 > version {
                            // Two programs that each began anew would never come to an end.
                            let what = format!("the search index is of a newer version of this program ({})", of.1);
                            return Err(StoreError::Invalid(what).into());
                        }
                    }
                    clear::<D>(transaction, shard).await?;
                    of(sql::DROP_OTHER_CHECKPOINTS).execute(&mut **transaction).await?;
                }
                for indexing in [Some(D::INDEX), D::INDEX_DAYS].into_iter().flatten() {
                    statement(indexing).bind(shard).bind(entries.clone()).execute(&mut **transaction).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let end = Place { at: Timestamp(i64::MAX), shard: i32::MAX, pos: u64::MAX };
        let behind = find.behind.unwrap_or(end);
        let query = statement(D::FIND)
            .bind(D::matching(&find.terms))
            .bind(find.since.0)
            .bind(find.until.0)
            .bind(behind.at.0)
            .bind(behind.shard)
            .bind(stored(behind.pos))
            .bind(i64::from(find.limit.min(HITS_MAX)));
        let mut hits = Vec::new();
        for row in self.fetch(query).await? {
            let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
            let (seq, pos) = (number(1)?, number(3)?);
            hits.push(Hit {
                session: SessionId::from_uuid(row.try_get(0).map_err(failed)?),
                seq: Seq(u64::try_from(seq).unwrap_or_default()),
                place: Place {
                    at: Timestamp(number(4)?),
                    shard: row.try_get(2).map_err(failed)?,
                    pos: u64::try_from(pos).unwrap_or_default(),
                },
            });
        }
        Ok(hits)
    }
}

/// Events as JSON, so that one statement takes all of them.
fn entries<D: Dialect>(entries: &[IndexEntry]) -> String {
    let entry = |entry: &IndexEntry| json!({"pos": entry.pos, "at": entry.at.0, "words": D::indexed(entry.words.clone())});
    serde_json::Value::from(entries.iter().map(entry).collect::<Vec<_>>()).to_string()
}

/// What of events that are about to go is in the index.
pub(super) enum Traces {
    /// By their places, whatever their words are.
    Places,
    /// By their words; `pos` is not known yet, and is found by `seq`.
    Words(Vec<(Seq, IndexEntry)>),
    /// They cannot be had, so that nothing may stay.
    All,
}

impl<D> SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    /// Reads what the index may have of the events of a session after one and up to another.
    pub(super) async fn traces(&self, session: SessionId, after: Seq, upto: Seq) -> Result<Traces, StoreError> {
        if matches!(D::FORGET, Forget::Places(_)) {
            return Ok(Traces::Places);
        }
        let (name, version) = (search_projection().name, i64::from(search_projection().version));
        let failed = |error| self.dialect.failed_read(error);
        let mut versions = Vec::new();
        for row in self.fetch(statement(sql::PROJECTIONS_OF).bind(self.dialect.shard_of(session))).await? {
            let of: (String, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            versions.extend((of.0 == name).then_some(of.1));
        }
        match versions.as_slice() {
            // Also where nothing is indexed yet: somebody may begin to before the events are gone.
            [] => {}
            // Another version cut its words in its own way.
            [only] if *only == version => {}
            _ => return Ok(Traces::All),
        }
        let (mut words, mut last) = (Vec::new(), after);
        loop {
            let page = match self.dialect.read(Read { upto, ..Read::forward(session, last) }).await {
                Ok(page) => page,
                Err(StoreError::Damaged { .. }) => return Ok(Traces::All),
                Err(error) => return Err(error),
            };
            for row in &page.rows {
                match row {
                    Row::Event { event, .. } => words.extend(entry(event).map(|entry| (event.seq, entry))),
                    Row::Damaged { .. } => return Ok(Traces::All),
                }
            }
            if words.len() > FORGOTTEN_MAX {
                return Ok(Traces::All);
            }
            match page.rows.last().map(Row::seq) {
                Some(seq) if page.more => last = seq,
                _ => return Ok(Traces::Words(words)),
            }
        }
    }
}

fn entry(event: &Recorded) -> Option<IndexEntry> {
    if event.body == Body::Redacted {
        return None;
    }
    Some(IndexEntry { pos: 0, at: event.at, words: searchable::terms(event)? })
}

/// Takes events out of the index, which are the last that their transaction still sees.
pub(super) async fn forget<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    session: SessionId,
    traces: Traces,
    ranges: &[(i64, i64)],
) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    match (traces, D::FORGET) {
        (Traces::Words(words), Forget::Words(sql)) => {
            let mut gone = Vec::new();
            for (seq, entry) in words {
                let find = statement(sql::EVENT_POS).bind(shard).bind(session.as_uuid()).bind(stored(seq.0));
                if let Some(row) = find.fetch_optional(&mut **transaction).await? {
                    let pos: i64 = row.try_get(0)?;
                    gone.push(IndexEntry { pos: u64::try_from(pos).unwrap_or_default(), ..entry });
                }
            }
            statement(sql).bind(shard).bind(entries::<D>(&gone)).execute(&mut **transaction).await?;
        }
        (Traces::Places, Forget::Places(sql)) => {
            // An indexer that is just writing is waited for, and one that comes after sees that they are gone.
            let id = search_projection();
            let begin = statement(sql::BEGIN_CHECKPOINT).bind(shard).bind(id.name).bind(i64::from(id.version)).bind(0_i64);
            begin.execute(&mut **transaction).await?;
            statement(sql::LOCK_CHECKPOINTS).bind(shard).execute(&mut **transaction).await?;
            for (first, last) in ranges {
                statement(sql).bind(shard).bind(*first).bind(*last).execute(&mut **transaction).await?;
            }
        }
        (Traces::All | Traces::Words(_) | Traces::Places, _) => {
            clear::<D>(transaction, shard).await?;
            let id = search_projection();
            let others = statement(sql::DROP_OTHER_CHECKPOINTS).bind(shard).bind(id.name.clone()).bind(-1_i64);
            others.execute(&mut **transaction).await?;
        }
    }
    Ok(())
}

/// Empties the index of a shard.
pub(super) async fn clear<D>(transaction: &mut Transaction<'static, D::Db>, shard: Shard) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
{
    for clearing in D::CLEAR_INDEX {
        statement(clearing).bind(shard).execute(&mut **transaction).await?;
    }
    Ok(())
}
