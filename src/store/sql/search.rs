//! The search index of a database: what is put in, found, and taken out again.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde_json::json;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::super::dialect::{Dialect, Forget};
use super::super::statements::common as sql;
use super::super::{
    Alike, FeedCursor, Find, Hit, IndexEntry, Indexed, Place, Read, ReadModels as _, Row, SearchIndex, Shard, StoreError,
    id_range, search_projection,
};
use super::{Failure, SqlStore, statement, stored};
use crate::session::searchable::{self, Label};
use crate::session::{Body, Recorded, Seq, SessionId, Timestamp};

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
    async fn indexed(&self) -> Result<FeedCursor, StoreError> {
        self.is_searchable()?;
        self.checkpoint(&search_projection()).await
    }

    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        indexed.validate()?;
        self.is_searchable()?;
        let entries = entries::<D>(&indexed.entries);
        // Of their own, so that the words are not looked through again and again.
        let places = D::INDEX_DAYS.map(|days| (days, places(&indexed.entries)));
        let models = models(&indexed.entries);
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
                    let versions = statement(sql::VERSIONS).bind(shard).bind(id.name.clone());
                    for row in versions.fetch_all(&mut **transaction).await? {
                        let other: i64 = row.try_get(0)?;
                        if other > version {
                            // Two programs that each began anew would never come to an end.
                            let what = format!(
                                "the search index was made by a newer version of this program (version {other} of the index); \
                                 search with that one, or `rekindle store copy` into a new store"
                            );
                            return Err(StoreError::Invalid(what).into());
                        }
                    }
                    clear::<D>(transaction, shard).await?;
                    of(sql::DROP_OTHER_CHECKPOINTS).execute(&mut **transaction).await?;
                }
                let models = models.map(|models| (D::INDEX_MODELS, models));
                for (indexing, what) in [Some((D::INDEX, entries)), places, models].into_iter().flatten() {
                    statement(indexing).bind(shard).bind(what).execute(&mut **transaction).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError> {
        self.dialect.readable()?;
        self.is_searchable()?;
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

    async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError> {
        self.dialect.readable()?;
        let query = match alike {
            Alike::Id(prefix) => {
                let (first, last) = id_range(prefix)?;
                statement(D::IDS_BETWEEN).bind(Uuid::from_bytes(first)).bind(Uuid::from_bytes(last))
            }
            // Not every database takes a NUL in a text, and none keeps one.
            Alike::Phase(phase) if phase.contains('\0') => return Ok(Vec::new()),
            Alike::Phase(phase) => statement(D::IDS_IN_PHASE).bind(phase.clone()),
            Alike::Cost(range) => statement(D::IDS_COSTING).bind(stored(*range.start())).bind(stored(*range.end())),
            // No label has a character behind this one.
            Alike::Model(label) => statement(D::IDS_OF_MODEL).bind(label.clone()).bind(format!("{label}{}", char::MAX)),
        };
        let ids: String = self.fetch_one(query).await?.try_get(0).map_err(|error| self.dialect.failed_read(error))?;
        ids.as_bytes().chunks(ID_DIGITS).map(id).collect()
    }
}

/// The hexadecimal digits of an id.
const ID_DIGITS: usize = 32;

fn id(digits: &[u8]) -> Result<SessionId, StoreError> {
    let id = Uuid::try_parse_ascii(digits).map_err(|error| StoreError::Unavailable(error.into()))?;
    Ok(SessionId::from_uuid(id))
}

/// When and where events happened, as JSON.
fn places(entries: &[IndexEntry]) -> String {
    let place = |entry: &IndexEntry| json!({"pos": entry.pos, "at": entry.at.0});
    serde_json::Value::from(entries.iter().map(place).collect::<Vec<_>>()).to_string()
}

/// Which events name which models, as JSON; `None` where none does.
fn models(entries: &[IndexEntry]) -> Option<String> {
    let named = entries.iter().flat_map(|entry| {
        let labels = searchable::labelled(&entry.words, Label::Model);
        labels.map(|label| json!({"pos": entry.pos, "label": label}))
    });
    let named: Vec<_> = named.collect();
    (!named.is_empty()).then(|| serde_json::Value::from(named).to_string())
}

/// Events as JSON, so that one statement takes all of them.
fn entries<D: Dialect>(entries: &[IndexEntry]) -> String {
    let entry = |entry: &IndexEntry| json!({"pos": entry.pos, "words": D::indexed(entry.words.clone())});
    serde_json::Value::from(entries.iter().map(entry).collect::<Vec<_>>()).to_string()
}

/// What of events that are about to go may be in the index.
pub(super) enum Traces {
    /// Nothing: there is no index.
    None,
    /// By their places, whatever their words are.
    Places,
    /// By their words.
    Words(Vec<Trace>),
    /// They cannot be had, or there are too many, so that nothing may stay.
    All,
}

/// What an event has left in the index; `pos` is not known yet.
pub(super) struct Trace {
    seq: Seq,
    /// `None` where the event has no text.
    entry: Option<IndexEntry>,
}

/// So many times what is about to go is read anew because more came; then the whole index goes.
const READ_AGAIN_MAX: u32 = 3;

impl<D> SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    /// Refuses where words would be as good as what is hidden.
    fn is_searchable(&self) -> Result<(), StoreError> {
        if self.dialect.secrecy().is_encrypted() { Err(StoreError::Unsearchable) } else { Ok(()) }
    }

    /// Lets events of a session go, after one and up to another, together with what is indexed of them. What they have left in the
    /// index is found out before the transaction, which is then short; `work` is told, and does all once more where that is not all.
    pub(super) async fn forgetting<F>(&self, session: SessionId, after: Seq, upto: Seq, work: F) -> Result<(), StoreError>
    where
        F: for<'t> Fn(&'t mut Transaction<'static, D::Db>, Traces) -> BoxFuture<'t, Result<(), Failure>>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        for read in 0..=READ_AGAIN_MAX {
            let traces = if read == READ_AGAIN_MAX { Traces::All } else { self.traces(session, after, upto).await? };
            let work = work.clone();
            match self.write(move |transaction| work(transaction, traces)).await {
                Err(StoreError::Moved { .. }) => {}
                done => {
                    done?;
                    break;
                }
            }
        }
        self.dialect.overwrite().await;
        Ok(())
    }

    /// Reads what the index may have of the events of a session after one and up to another.
    async fn traces(&self, session: SessionId, after: Seq, upto: Seq) -> Result<Traces, StoreError> {
        if matches!(D::FORGET, Forget::Places(_)) {
            return Ok(Traces::Places);
        }
        if self
            .fetch(statement(sql::VERSIONS).bind(self.dialect.shard_of(session)).bind(search_projection().name))
            .await?
            .is_empty()
        {
            return Ok(Traces::None);
        }
        let (mut traces, mut last) = (Vec::new(), after);
        loop {
            let page = match self.dialect.read(Read { upto, ..Read::forward(session, last) }, None).await {
                Ok(page) => page,
                Err(StoreError::Damaged { .. }) => return Ok(Traces::All),
                Err(error) => return Err(error),
            };
            for row in &page.rows {
                match row {
                    Row::Event { event, .. } => traces.push(Trace { seq: event.seq, entry: entry(event) }),
                    Row::Damaged { .. } => return Ok(Traces::All),
                }
            }
            if traces.len() > FORGOTTEN_MAX {
                return Ok(Traces::All);
            }
            match page.rows.last().map(Row::seq) {
                Some(seq) if page.more => last = seq,
                _ => return Ok(Traces::Words(traces)),
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

/// Takes events out of the index, which are the last that their transaction still sees. `ranges` are the positions of all of them.
///
/// Fails with [`StoreError::Moved`] where `traces` are not those of all of them.
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
    let id = search_projection();
    match (traces, D::FORGET) {
        (Traces::Places, Forget::Places(sql)) => {
            forget_places::<D>(transaction, shard, sql, ranges).await?;
            return forget_models::<D>(transaction, shard, session).await;
        }
        (Traces::All, _) => {}
        (traces, forget) => {
            let versions = statement(sql::VERSIONS).bind(shard).bind(id.name.clone()).fetch_all(&mut **transaction).await?;
            let versions = versions.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
            let moved = || StoreError::Moved { projection: search_projection(), shard };
            match (traces, forget, versions.as_slice()) {
                (_, _, []) => return Ok(()),
                (Traces::Words(traces), Forget::Words(sql), [version]) if *version == i64::from(id.version) => {
                    let events: i64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
                    if i64::try_from(traces.len()).is_ok_and(|read| read < events) {
                        return Err(moved().into());
                    }
                    let mut gone = Vec::new();
                    for Trace { seq, entry } in traces {
                        let Some(entry) = entry else { continue };
                        let find = statement(sql::EVENT_POS).bind(shard).bind(session.as_uuid()).bind(stored(seq.0));
                        if let Some(row) = find.fetch_optional(&mut **transaction).await? {
                            let pos: i64 = row.try_get(0)?;
                            gone.push(IndexEntry { pos: u64::try_from(pos).unwrap_or_default(), ..entry });
                        }
                    }
                    statement(sql).bind(shard).bind(entries::<D>(&gone)).execute(&mut **transaction).await?;
                    return forget_models::<D>(transaction, shard, session).await;
                }
                // Somebody has begun to index in between.
                (Traces::None, _, _) => return Err(moved().into()),
                // Another version cut its words in its own way.
                _ => {}
            }
        }
    }
    clear::<D>(transaction, shard).await?;
    statement(sql::DROP_OTHER_CHECKPOINTS).bind(shard).bind(id.name).bind(-1_i64).execute(&mut **transaction).await?;
    Ok(())
}

/// Takes events out of an index that knows them by their places.
async fn forget_places<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    sql: &'static str,
    ranges: &[(i64, i64)],
) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Type<D::Db>,
{
    let id = search_projection();
    let of = |sql| statement::<D::Db>(sql).bind(shard).bind(id.name.clone()).bind(i64::from(id.version));
    // An indexer that is just writing is waited for, and one that comes after sees that they are gone; one that is just beginning
    // is met at the row that both would be the first to make.
    let begun = of(sql::BEGIN_CHECKPOINT).bind(0_i64).execute(&mut **transaction).await?;
    statement(sql::LOCK_CHECKPOINTS).bind(shard).execute(&mut **transaction).await?;
    for (first, last) in ranges {
        statement(sql).bind(shard).bind(*first).bind(*last).execute(&mut **transaction).await?;
    }
    if D::rows_affected(&begun) > 0 {
        of(sql::DROP_CHECKPOINT).execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Forgets which models of a session nothing names any more.
async fn forget_models<D>(transaction: &mut Transaction<'static, D::Db>, shard: Shard, session: SessionId) -> Result<(), Failure>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Type<D::Db>,
{
    let label = Label::Session.of(&session.to_string());
    statement(D::FORGET_MODELS).bind(shard).bind(session.as_uuid()).bind(label).execute(&mut **transaction).await?;
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

#[cfg(all(test, feature = "sqlite"))]
#[path = "search_tests.rs"]
mod tests;
