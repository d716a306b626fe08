//! The one implementation of [`Store`] over SQL: what is not hot is written once here, the rest is the dialect's.

mod care;
mod fork;
mod inbox;
mod pack;
mod read_models;
mod search;
mod secrecy;
mod take_out;
mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::database::HasStatementCache;
use sqlx::query::Query;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::content::{Content, Layout};
use super::cursor::StoreMark;
use super::dialect::{Dialect, LeaseClock};
use super::statements::common as sql;
use super::{
    Append, Appended, Base, Expected, FeedCursor, FeedPage, LEASE_MAX, NodeRow, Order, Page, Paging, Pieces, RUNG, Read,
    SNAPSHOTS_KEPT, SessionFilter, SessionRow, Shard, Snapshot, Store, StoreError, StoreInfo, WakeUps, chain, is_name_of,
    is_ours, is_reached, no_event, no_session,
};
use crate::session::{Digest, EventId, NodeId, Seq, SessionId, SessionName, Timestamp};
use take_out::Taken;

/// The longest content that is kept as one blob, in bytes.
const BLOB_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How long a node whose lease has passed is still listed.
const NODES_KEPT: Duration = Duration::from_hours(24);

/// A log in a database that sqlx speaks to.
#[derive(Debug)]
pub(super) struct SqlStore<D> {
    dialect: Arc<D>,
    /// What its cursors are known by, once one was asked for.
    mark: OnceCell<StoreMark>,
}

/// Why a transaction was taken back.
enum Failure {
    Refused(StoreError),
    Database(sqlx::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl<D: Dialect> SqlStore<D>
where
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
{
    /// A store that speaks `dialect`.
    pub(super) fn new(dialect: D) -> Self {
        Self { dialect: Arc::new(dialect), mark: OnceCell::new() }
    }

    /// Reads rows in a task of its own, so that no connection goes back in the middle of an answer.
    async fn fetch(&self, query: Statement<D>) -> Result<Vec<RowOf<D>>, StoreError> {
        self.dialect.readable()?;
        let dialect = Arc::clone(&self.dialect);
        let task = tokio::spawn(async move {
            let read = async {
                match dialect.pools_transactions() {
                    false => query.fetch_all(dialect.reads()).await,
                    // Between two messages outside of one, such a pooler may answer from another connection.
                    true => {
                        let mut transaction = dialect.reads().begin().await?;
                        let rows = query.fetch_all(&mut *transaction).await?;
                        transaction.commit().await?;
                        Ok(rows)
                    }
                }
            };
            read.await.map_err(|error| dialect.failed_read(error))
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    /// Reads the one row that there is.
    async fn fetch_one(&self, query: Statement<D>) -> Result<RowOf<D>, StoreError> {
        let row = self.fetch(query).await?.pop();
        row.ok_or_else(|| StoreError::Unavailable("a row that every store has is not there".into()))
    }

    /// What its cursors are known by.
    async fn mark(&self) -> Result<StoreMark, StoreError>
    where
        for<'q> i64: Decode<'q, D::Db> + Type<D::Db>,
        usize: ColumnIndex<RowOf<D>>,
    {
        let read = async || {
            let born: i64 =
                self.fetch_one(statement(sql::STORE)).await?.try_get(1).map_err(|error| self.dialect.failed_read(error))?;
            Ok(StoreMark::of(&born.to_be_bytes()))
        };
        self.mark.get_or_try_init(read).await.copied()
    }

    /// What the clock says by which leases are told, and which one it is.
    async fn lease_time(&self) -> Result<(String, i64), StoreError>
    where
        for<'q> i64: Decode<'q, D::Db> + Type<D::Db>,
        usize: ColumnIndex<RowOf<D>>,
    {
        match self.dialect.lease_clock()? {
            LeaseClock::Machine { id, now } => Ok((id, now)),
            LeaseClock::Database(now) => {
                let now = self.fetch_one(statement(now)).await?.try_get(0);
                Ok((String::new(), now.map_err(|error| self.dialect.failed_read(error))?))
            }
        }
    }

    /// Does `work` in one transaction of its own task, so that it is finished or taken back whatever becomes of the caller.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction<'static, D::Db>) -> BoxFuture<'t, Result<T, Failure>> + Send + 'static,
    {
        let dialect = Arc::clone(&self.dialect);
        let task = tokio::spawn(async move {
            let _turn = dialect.turn().await?;
            let failed = |error| dialect.failed_write(error);
            let mut transaction = match dialect.writes().begin_with(D::BEGIN_WRITE).await {
                Ok(transaction) => transaction,
                Err(error) => {
                    // Whoever tries again finds it where it is by then, also when nobody else looks for it.
                    dialect.look_again().await;
                    return Err(failed(error));
                }
            };
            match work(&mut transaction).await {
                Ok(value) => transaction.commit().await.map_err(failed).map(|()| value),
                Err(failure) => {
                    // The pool takes back what this cannot.
                    let _ = transaction.rollback().await;
                    Err(match failure {
                        Failure::Refused(error) => error,
                        Failure::Database(error) => failed(error),
                    })
                }
            }
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }
}

/// A statement of one dialect's database.
type Statement<D> = Query<'static, <D as Dialect>::Db, <<D as Dialect>::Db as sqlx::Database>::Arguments>;

/// A row of it.
type RowOf<D> = <<D as Dialect>::Db as sqlx::Database>::Row;

/// A statement that is not hot: nothing of it stays in the connection, which may be another's a moment later.
fn statement<DB: sqlx::Database + HasStatementCache>(sql: &'static str) -> Query<'static, DB, DB::Arguments> {
    sqlx::query(sql).persistent(false)
}

/// Lets content go that nothing refers to any more.
async fn drop_blob<D>(transaction: &mut Transaction<'static, D::Db>, shard: Shard, digest: Vec<u8>) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Type<D::Db>,
{
    if let Some(lock) = D::LOCK_BLOB {
        // Whoever is just about to refer to it is waited for, and seen by the statement that follows.
        statement(lock).bind(shard).bind(digest.clone()).execute(&mut **transaction).await?;
    }
    statement(sql::DROP_BLOB).bind(shard).bind(digest).execute(&mut **transaction).await?;
    Ok(())
}

/// A number as the database holds it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl<D> Store for SqlStore<D>
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
    async fn append(&self, mut append: Append) -> Result<Appended, StoreError> {
        self.has_key(append.session).await?;
        self.hide_title(append.session, append.directory.as_mut())?;
        match append.expected {
            Expected::Fork { base, hash } => self.fork(append, base, hash).await,
            _ => self.dialect.append(append).await,
        }
    }

    fn paging(&self) -> Paging {
        D::PAGING
    }

    async fn read(&self, read: Read) -> Result<Page, StoreError> {
        match read.order {
            Order::OldestFirst => self.read_forward(read, None).await,
            Order::NewestFirst => self.read_backward(read).await,
        }
    }

    async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
        match read.order {
            Order::OldestFirst => self.read_forward(read, Some(pieces)).await,
            Order::NewestFirst => self.read_backward(read).await,
        }
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.dialect.session(id).await?.map(|row| self.with_title(row)))
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.dialect.sessions(filter, limit).await?;
        Ok(rows.into_iter().map(|row| self.with_title(row)).collect())
    }

    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError> {
        is_name_of(name, id)?;
        let (shard, text) = (self.dialect.shard_of(id), name.as_str().to_owned());
        self.write(move |transaction| {
            Box::pin(async move {
                let update = statement(sql::NAME_SESSION).bind(shard).bind(id.as_uuid()).bind(text);
                match D::rows_affected(&update.execute(&mut **transaction).await?) {
                    0 => Err(no_session(id).into()),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        self.put_blobs(session, vec![bytes]).await?;
        Ok(digest)
    }

    async fn put_blobs(&self, session: SessionId, contents: Vec<Vec<u8>>) -> Result<(), StoreError> {
        if let Some(bytes) = contents.iter().find(|bytes| bytes.len() > BLOB_BYTES_MAX) {
            return Err(StoreError::Invalid(format!("content of {} bytes is longer than {BLOB_BYTES_MAX}", bytes.len())));
        }
        self.has_key(session).await?;
        let key = self.dialect.secrecy().key(session)?;
        let lay = |bytes: Vec<u8>| {
            let digest = Digest::of(&bytes);
            let address = key.as_ref().map_or(digest, |key| key.address(digest));
            let content = Content::laid(key.as_deref(), Layout::Plain, bytes).map_err(StoreError::Invalid)?;
            Ok((address, content))
        };
        // In one order, so that two that keep the same do not wait for each other.
        let contents: BTreeMap<Digest, Content> = contents.into_iter().map(lay).collect::<Result<_, StoreError>>()?;
        let shard = self.dialect.shard_of(session);
        self.write(move |transaction| {
            Box::pin(async move {
                for (digest, Content { bytes, form }) in contents {
                    let insert = statement(D::PUT_BLOB).bind(shard).bind(digest.0.to_vec()).bind(bytes).bind(form);
                    insert.execute(&mut **transaction).await?;
                    let keep = statement(sql::KEEP_BLOB).bind(shard).bind(session.as_uuid()).bind(digest.0.to_vec());
                    keep.execute(&mut **transaction).await?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        // What a fork shares is kept for the session that holds it, which may be in another shard.
        let mut next = Some(Base { session, seq: Seq(u64::MAX) });
        while let Some(Base { session, seq }) = next {
            if let Some(bytes) = self.own_blob(session, digest).await? {
                return Ok(Some(bytes));
            }
            next = self.base_of(session).await?.filter(|base| base.seq < seq);
        }
        Ok(None)
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let shard = self.dialect.shard_of(snapshot.session);
        self.has_key(snapshot.session).await?;
        let snapshot = self.hidden(snapshot)?;
        self.write(move |transaction| {
            Box::pin(async move {
                let session = snapshot.session.as_uuid();
                let insert = statement(sql::PUT_SNAPSHOT)
                    .bind(shard)
                    .bind(session)
                    .bind(stored(snapshot.seq.0))
                    .bind(snapshot.reducer.clone())
                    .bind(snapshot.digest.0.to_vec())
                    .bind(snapshot.bytes);
                insert.execute(&mut **transaction).await?;
                let kept = i64::try_from(SNAPSHOTS_KEPT).unwrap_or(i64::MAX);
                let prune = statement(sql::PRUNE_SNAPSHOTS)
                    .bind(shard)
                    .bind(session)
                    .bind(snapshot.reducer)
                    .bind(kept)
                    .bind(stored(RUNG));
                prune.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await
    }

    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError> {
        let mut next = Some(Base { session, seq: Seq(u64::MAX) });
        while let Some(Base { session, seq }) = next {
            if let Some(snapshot) = self.own_snapshot(session, reducer, seq.min(upto)).await? {
                return Ok(Some(snapshot));
            }
            next = self.base_of(session).await?.filter(|base| base.seq < seq);
        }
        Ok(None)
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        let mark = self.mark().await?;
        is_ours(&after, mark)?;
        let mut page = self.dialect.feed(after.clone(), limit).await?;
        page.next.mark(mark);
        if page.next == after && after != FeedCursor::default() {
            is_reached(&after, &self.feed_head().await?)?;
        }
        Ok(page)
    }

    async fn feed_head(&self) -> Result<FeedCursor, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let mut head = FeedCursor::default();
        for row in self.fetch(statement(sql::HEADS)).await? {
            let (shard, position): (Shard, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            head.advance(shard, u64::try_from(position).unwrap_or_default());
        }
        head.mark(self.mark().await?);
        Ok(head)
    }

    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError> {
        let (address, clock) = (address.to_owned(), self.dialect.lease_clock()?);
        self.write(move |transaction| {
            Box::pin(async move {
                let (clock, now): (String, i64) = match clock {
                    LeaseClock::Database(now) => (String::new(), statement(now).fetch_one(&mut **transaction).await?.try_get(0)?),
                    LeaseClock::Machine { id, now } => (id, now),
                };
                let until = Timestamp(now).plus(ttl.min(LEASE_MAX));
                let upsert = statement(sql::RENEW_LEASE).bind(node.as_uuid()).bind(until.0).bind(address).bind(clock);
                upsert.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await
    }

    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::NODE).bind(node.as_uuid());
        let Some(row) = self.fetch(query).await?.pop() else { return Ok(None) };
        let (clock, now) = self.lease_time().await?;
        let (until, by): (i64, String) = (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
        Ok(Some(NodeRow { id: node, address: row.try_get(0).map_err(failed)?, expired: until <= now || by != clock }))
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let (clock, now) = self.lease_time().await?;
        let since = now.saturating_sub(Timestamp(0).plus(NODES_KEPT).0);
        let rows = self.fetch(statement(sql::NODES).bind(since)).await?;
        let node = |row: &<D::Db as sqlx::Database>::Row| {
            let (until, by): (i64, String) = (row.try_get(2)?, row.try_get(3)?);
            let expired = until <= now || by != clock;
            Ok(NodeRow { id: NodeId::from_uuid(row.try_get(0)?), address: row.try_get(1)?, expired })
        };
        rows.iter().map(node).collect::<Result<_, _>>().map_err(failed)
    }

    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError> {
        self.write(move |transaction| {
            Box::pin(async move {
                let update = statement(sql::END_LEASE).bind(node.as_uuid()).bind(0_i64);
                update.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await
    }

    fn wake_ups(&self) -> WakeUps {
        self.dialect.wake_ups()
    }

    async fn info(&self) -> Result<StoreInfo, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let store = self.fetch_one(statement(sql::STORE)).await?;
        let counts = self.fetch_one(statement(sql::COUNTS)).await?;
        let bytes = self.fetch_one(statement(self.dialect.bytes())).await?;
        let engine = self.fetch_one(statement(self.dialect.version())).await?;
        let count = |row: &<D::Db as sqlx::Database>::Row, column: usize| {
            row.try_get::<i64, _>(column).map(|count| u64::try_from(count).unwrap_or_default()).map_err(failed)
        };
        Ok(StoreInfo {
            address: self.dialect.address().to_owned(),
            format: store.try_get(0).map_err(failed)?,
            engine: engine.try_get(0).map_err(failed)?,
            sessions: count(&counts, 0)?,
            events: count(&counts, 1)?,
            bytes: count(&bytes, 0)?,
            encrypted: self.dialect.secrecy().is_encrypted(),
            created_at: Timestamp(store.try_get(1).map_err(failed)?),
            newest: self.sessions(SessionFilter::All, 1).await?.into_iter().next().map(Box::new),
        })
    }

    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError> {
        let shard = self.dialect.shard_of(session);
        let title = self.title_told_by(session, seq).await?;
        if let Some(title) = &title {
            // Before the event, which would no longer tell what is to be done if this were cut off in between.
            self.drop_title_of_forks(session, seq, title).await?;
        }
        let stored_title = title.map(|title| self.dialect.secrecy().hidden_title(session, title)).transpose()?;
        let secrecy = self.dialect.secrecy().clone();
        self.forgetting(session, Seq(seq.0.saturating_sub(1)), seq, move |transaction, traces| {
            let (title, secrecy) = (stored_title.clone(), secrecy.clone());
            Box::pin(async move {
                let (id, place) = (session.as_uuid(), stored(seq.0));
                take_out::lock_session::<D>(transaction, shard, session).await?;
                let find = statement(sql::BODY).bind(shard).bind(id).bind(place);
                let Some(row) = find.fetch_optional(&mut **transaction).await? else { return Err(no_event(session, seq).into()) };
                if row.try_get::<Option<Vec<u8>>, _>(3)?.is_some() {
                    return Ok(());
                }
                let long: Option<Vec<u8>> = row.try_get(1)?;
                let found = take_out::Found {
                    id: EventId::from_uuid(row.try_get(4)?),
                    text: row.try_get(0)?,
                    salt: row.try_get::<Option<Vec<u8>>, _>(2)?,
                    content: match &long {
                        Some(digest) => take_out::content::<D>(transaction, shard, digest.clone()).await?,
                        None => None,
                    },
                };
                let taken = found.open(&secrecy, session, seq);
                let Taken { salt, body, segment } = taken.map_err(|what| StoreError::Damaged { session, seq, what })?;
                let digest = chain::digest(&salt, &body);
                let pos = statement(sql::EVENT_POS).bind(shard).bind(id).bind(place).fetch_one(&mut **transaction).await?;
                let pos: i64 = pos.try_get(0)?;
                search::forget::<D>(transaction, shard, session, traces, &[(pos, pos)]).await?;
                let blank = statement(sql::REDACT).bind(shard).bind(id).bind(place).bind(digest.0.to_vec());
                blank.execute(&mut **transaction).await?;
                if let Some(title) = title {
                    let drop = statement(sql::DROP_TITLE).bind(shard).bind(id).bind(title);
                    drop.execute(&mut **transaction).await?;
                }
                if let Some(long) = long {
                    if let Some(segment) = segment {
                        take_out::rewrite::<D>(transaction, &secrecy, shard, (session, seq), long.clone(), &segment).await?;
                    }
                    drop_blob::<D>(transaction, shard, long).await?;
                }
                let drop = statement(sql::DROP_SNAPSHOTS).bind(shard).bind(id).bind(place);
                drop.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await?;
        self.drop_snapshots_of_forks(session, seq).await
    }

    async fn close(&self) {
        self.dialect.close().await;
    }
}
