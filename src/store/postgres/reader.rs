//! Reading: one bounded page at a time, again when the server was away for a moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Row as _};
use tokio::time::Instant;

use super::super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::super::statements::postgres as sql;
use super::super::{
    DamagedEvent, FeedCursor, FeedPage, Order, Page, Read, Row, ServerCondition, SessionFilter, SessionRow, Shard, StoreError,
    id_range,
};
use super::decode::{self, EventRow};
use super::fault::Fault;
use super::kept::Kept;
use super::servers::Servers;
use super::{condition, feed};
use crate::session::{Body, Digest, Seq, SessionId};

/// How long to wait before a read is repeated.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// What is read through.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pub(super) pool: PgPool,
    /// The connection that was read through last.
    pub(super) kept: Arc<Kept>,
    pub(super) servers: Arc<Servers>,
    /// How long a read is repeated while the server is away.
    pub(super) patience: Duration,
    /// Whether each statement must name the one shard that it is for.
    pub(super) routed: bool,
}

/// Why something could not be read.
pub(super) enum Trouble {
    Database(sqlx::Error),
    Refused(StoreError),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Readers {
    pub(super) async fn page(&self, shard: Shard, read: Read) -> Result<Page, StoreError> {
        self.run(move |connection, named| Box::pin(page(connection, named, shard, read))).await
    }

    pub(super) async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        let routed = self.routed;
        self.run(move |connection, named| Box::pin(feed::feed(connection, named, routed, after.clone(), limit))).await
    }

    pub(super) async fn session(&self, shard: Shard, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.run(move |connection, named| Box::pin(session(connection, named, shard, id))).await
    }

    pub(super) async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.run(move |connection, named| Box::pin(sessions(connection, named, filter.clone(), limit))).await
    }

    pub(super) async fn condition(&self) -> Result<ServerCondition, StoreError> {
        self.run(|connection, _| Box::pin(async move { Ok(condition::condition(connection).await?) })).await
    }

    /// Reads in a task of its own, so that no connection goes back in the middle of an answer, and again while that may help.
    async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut PgConnection, bool) -> futures_util::future::BoxFuture<'c, Result<T, Trouble>>
            + Send
            + Sync
            + 'static,
    {
        let readers = self.clone();
        let task = tokio::spawn(async move {
            let deadline = Instant::now() + readers.patience;
            loop {
                match readers.once(&read).await {
                    Ok(value) => return Ok(value),
                    Err(Trouble::Refused(error)) => return Err(error),
                    Err(Trouble::Database(error)) if Fault::of(&error).is_passing() && Instant::now() < deadline => {
                        // It may be another server by now; where it is is known once it was reached.
                        if let Ok(found) = readers.servers.connect().await {
                            let _ = found.close().await;
                        }
                    }
                    Err(Trouble::Database(error)) => return Err(StoreError::Unavailable(error.into())),
                }
                tokio::time::sleep(RETRY_WAIT).await;
            }
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    async fn once<T, F>(&self, read: &F) -> Result<T, Trouble>
    where
        F: for<'c> Fn(&'c mut PgConnection, bool) -> futures_util::future::BoxFuture<'c, Result<T, Trouble>>,
    {
        self.servers.lead(&self.pool);
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        if self.servers.keeps_statements() {
            let value = read(&mut connection, true).await?;
            self.kept.put(connection, &self.pool);
            return Ok(value);
        }
        // A pooler of transactions may answer from another connection between two messages that are not in one.
        let mut transaction = connection.begin_with(sql::BEGIN_READ).await?;
        let value = read(&mut transaction, false).await?;
        transaction.commit().await?;
        Ok(value)
    }
}

async fn page(connection: &mut PgConnection, named: bool, shard: Shard, read: Read) -> Result<Page, Trouble> {
    let statement = match read.order {
        Order::OldestFirst => sql::EVENTS_FORWARD,
        Order::NewestFirst => sql::EVENTS_BACKWARD,
    };
    let limit = usize::try_from(read.limit.min(PAGE_ROWS_MAX)).unwrap_or(usize::MAX);
    let query = sqlx::query(statement)
        .persistent(named)
        .bind(shard)
        .bind(read.session.as_uuid())
        .bind(bounded(read.after))
        .bind(bounded(read.upto))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let mut page = Page::default();
    let mut bytes = 0;
    let mut long = Vec::new();
    {
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            if page.rows.len() == limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                // What the server has still to send would keep it busy for as long as nobody takes it.
                while rows.try_next().await?.is_some() {}
                break;
            }
            match decode::event(&row) {
                Ok(event) => {
                    bytes += bytes_of(&event.row);
                    long.push(event.long);
                    page.rows.push(event.row);
                }
                Err(DamagedEvent { seq, what, .. }) => {
                    long.push(None);
                    page.rows.push(Row::Damaged { seq, what });
                }
            }
        }
    }
    fill(connection, named, shard, &mut page, &long).await?;
    Ok(page)
}

/// Fetches the long bodies of a page, and cuts it where they make it too long.
async fn fill(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    page: &mut Page,
    long: &[Option<Digest>],
) -> Result<(), Trouble> {
    let mut bytes = 0;
    for index in 0..page.rows.len() {
        if bytes >= PAGE_BYTES_MAX {
            page.rows.truncate(index);
            page.more = true;
            return Ok(());
        }
        let Some(row) = page.rows.get_mut(index) else { return Ok(()) };
        if let Some(Some(digest)) = long.get(index) {
            match long_body(connection, named, shard, *digest).await? {
                Ok(body) => set_body(row, body),
                Err(what) => *row = Row::Damaged { seq: row.seq(), what },
            }
        }
        bytes += bytes_of(row);
    }
    Ok(())
}

async fn session(connection: &mut PgConnection, named: bool, shard: Shard, id: SessionId) -> Result<Option<SessionRow>, Trouble> {
    let query = sqlx::query(sql::SESSION).persistent(named).bind(shard).bind(id.as_uuid());
    let Some(row) = query.fetch_optional(connection).await? else { return Ok(None) };
    let damaged = |what| Trouble::Refused(StoreError::Damaged { session: id, seq: Seq::ZERO, what });
    decode::session(&row).map(Some).map_err(damaged)
}

async fn sessions(
    connection: &mut PgConnection,
    named: bool,
    filter: SessionFilter,
    limit: u32,
) -> Result<Vec<SessionRow>, Trouble> {
    let limit = i64::from(limit);
    let query = match &filter {
        SessionFilter::All => sqlx::query(sql::SESSIONS).bind(limit),
        SessionFilter::Due => sqlx::query(sql::SESSIONS_DUE).bind(limit),
        SessionFilter::IdPrefix(prefix) => {
            let (low, high) = id_range(prefix).map_err(Trouble::Refused)?;
            let (low, high) = (uuid::Uuid::from_bytes(low), uuid::Uuid::from_bytes(high));
            sqlx::query(sql::SESSIONS_BETWEEN).bind(limit).bind(low).bind(high)
        }
    };
    let rows = query.persistent(named).fetch_all(connection).await?;
    let mut sessions = Vec::with_capacity(rows.len());
    for row in &rows {
        match decode::session(row) {
            Ok(session) => sessions.push(session),
            // One bad row must not hide all other sessions; asking for that session by its id names the damage.
            Err(what) => tracing::warn!(what, "a session's row cannot be read and is left out of the list"),
        }
    }
    Ok(sessions)
}

/// Fetches a long body, which must still be what its digest says.
pub(super) async fn with_body(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    event: EventRow,
) -> Result<Result<Row, DamagedEvent>, sqlx::Error> {
    let EventRow { mut row, long } = event;
    let Some(digest) = long else { return Ok(Ok(row)) };
    Ok(match long_body(connection, named, shard, digest).await? {
        Ok(body) => {
            set_body(&mut row, body);
            Ok(row)
        }
        Err(what) => {
            let session = match &row {
                Row::Event { event, .. } => Some(event.session),
                Row::Damaged { .. } => None,
            };
            Err(DamagedEvent { session, seq: row.seq(), what })
        }
    })
}

async fn long_body(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    digest: Digest,
) -> Result<Result<String, String>, sqlx::Error> {
    let query = sqlx::query(sql::LONG_BODY).persistent(named).bind(shard).bind(digest.0.as_slice().to_vec());
    let Some(row) = query.fetch_optional(connection).await? else {
        return Ok(Err(format!("its body is not there: blob {} is missing", digest.short())));
    };
    let bytes: Vec<u8> = row.try_get(0)?;
    Ok(String::from_utf8(bytes).map_err(|_| format!("its body in blob {} is not UTF-8", digest.short())))
}

fn set_body(row: &mut Row, body: String) {
    if let Row::Event { event, .. } = row {
        event.body = Body::Json(body);
    }
}

pub(super) fn bytes_of(row: &Row) -> usize {
    match row {
        Row::Event { event, .. } => event.body.as_json().len(),
        Row::Damaged { .. } => 0,
    }
}

/// The same place as a number that the database can hold.
fn bounded(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
