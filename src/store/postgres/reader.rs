//! Reading: one bounded page at a time, again when the server was away for a moment.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Row as _};
use tokio::time::Instant;

use super::super::content::{Content, Form, Held, Layout, Opener, SEGMENTS_KEPT, Secrecy};
use super::super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::super::statements::postgres as sql;
use super::super::{
    DamagedEvent, FeedCursor, FeedPage, Order, Page, Pieces, Read, Row, ServerCondition, SessionFilter, SessionRow, Shard,
    StoreError, id_range,
};
use super::decode::{self, EventRow};
use super::fault::Fault;
use super::kept::Kept;
use super::servers::Servers;
use super::{condition, feed};
use crate::session::{Digest, Seq, SessionId};

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
    pub(super) secrecy: Secrecy,
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
    pub(super) async fn page(&self, shard: Shard, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError> {
        let secrecy = self.secrecy.clone();
        self.run(move |connection, named| {
            let (secrecy, pieces) = (secrecy.clone(), pieces.clone());
            Box::pin(async move {
                // Another try goes on behind what was handed over.
                let rest = pieces.as_ref().map_or(read, |pieces| pieces.rest_of(read));
                page(connection, named, shard, &secrecy, rest, pieces.as_ref()).await
            })
        })
        .await
    }

    pub(super) async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        let (routed, secrecy) = (self.routed, self.secrecy.clone());
        self.run(move |connection, named| {
            let (after, opener) = (after.clone(), Opener::new(&secrecy));
            Box::pin(feed::feed(connection, named, routed, opener, after, limit))
        })
        .await
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

async fn page(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    secrecy: &Secrecy,
    read: Read,
    pieces: Option<&Pieces>,
) -> Result<Page, Trouble> {
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
    let mut drawn = Drawn { pieces, page: Page::default(), bytes: 0 };
    let mut opener = Opener::new(secrecy);
    // From the first one on whose body is elsewhere, which cannot be fetched before the statement has ended.
    let mut waiting: Vec<EventRow> = Vec::new();
    {
        let mut rows = query.fetch(&mut *connection);
        let (mut count, mut bytes) = (0, 0);
        while let Some(row) = rows.try_next().await? {
            if count == limit || bytes >= PAGE_BYTES_MAX {
                drawn.page.more = true;
                // What the server has still to send would keep it busy for as long as nobody takes it.
                while rows.try_next().await?.is_some() {}
                break;
            }
            let event = decode::event(&row, Some(read.session))
                .unwrap_or_else(|event| EventRow { row: damaged(event), held: Held::Here });
            count += 1;
            bytes += event.row.body_bytes();
            match event.held {
                Held::InBlob(_) => waiting.push(event),
                Held::Here | Held::Encrypted if !waiting.is_empty() => waiting.push(event),
                Held::Here => drawn.push(event.row),
                Held::Encrypted => drawn.push(decrypted(event, &opener).unwrap_or_else(damaged)),
            }
        }
    }
    fill(connection, named, shard, &mut opener, &mut drawn, waiting).await?;
    Ok(drawn.page)
}

/// A page that is being read, and where its rows go meanwhile.
struct Drawn<'p> {
    pieces: Option<&'p Pieces>,
    page: Page,
    /// How long the bodies of its rows are together.
    bytes: usize,
}

impl Drawn<'_> {
    fn push(&mut self, row: Row) {
        self.bytes += row.body_bytes();
        self.page.rows.push(row);
        if let Some(pieces) = self.pieces {
            pieces.take(&mut self.page.rows);
        }
    }
}

/// Fetches and opens the bodies that are not as they are in their rows, and cuts the page where they make it too long.
async fn fill(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    opener: &mut Opener,
    drawn: &mut Drawn<'_>,
    waiting: Vec<EventRow>,
) -> Result<(), Trouble> {
    let held: Vec<Held> = waiting.iter().map(|event| event.held).collect();
    for (event, index) in waiting.into_iter().zip(0..) {
        if drawn.bytes >= PAGE_BYTES_MAX {
            drawn.page.more = true;
            return Ok(());
        }
        if let (Held::InBlob(digest), Row::Event { event, .. }) = (event.held, &event.row)
            && !opener.has(digest)
        {
            let next = held.get(index..).unwrap_or_default();
            fetch_segments(connection, named, (shard, event.session), opener, next).await?;
        }
        let row = with_body(connection, named, shard, event, opener).await?;
        drawn.push(row.unwrap_or_else(damaged));
    }
    Ok(())
}

fn damaged(event: DamagedEvent) -> Row {
    Row::Damaged { seq: event.seq, what: event.what }
}

/// Fetches the segments that the next rows ask for, all in one answer.
async fn fetch_segments(
    connection: &mut PgConnection,
    named: bool,
    (shard, session): (Shard, SessionId),
    opener: &mut Opener,
    held: &[Held],
) -> Result<(), sqlx::Error> {
    let mut wanted: Vec<Vec<u8>> = Vec::new();
    for held in held {
        if let Held::InBlob(digest) = held
            && wanted.len() < SEGMENTS_KEPT
            && !wanted.iter().any(|wanted| *wanted == digest.0)
        {
            wanted.push(digest.0.to_vec());
        }
    }
    let [plain, encrypted] = [false, true].map(|encrypted| Form { layout: Layout::Segment, encrypted }.stored());
    let query = sqlx::query(sql::SEGMENTS).persistent(named).bind(shard).bind(wanted).bind(plain).bind(encrypted);
    for row in query.fetch_all(connection).await? {
        let (digest, content) = (row.try_get(0)?, Content { bytes: row.try_get(1)?, form: row.try_get(2)? });
        if let Some(digest) = Digest::from_slice(digest) {
            opener.take(session, digest, content);
        }
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

/// Opens a body for which nothing has to be fetched.
fn decrypted(event: EventRow, opener: &Opener) -> Result<Row, DamagedEvent> {
    let EventRow { mut row, held } = event;
    opener.decrypt(&mut row).map_err(|what| held.damaged(&row, &what))?;
    Ok(row)
}

/// Fetches and opens a body that is not as it is in its row.
pub(super) async fn with_body(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    event: EventRow,
    opener: &mut Opener,
) -> Result<Result<Row, DamagedEvent>, sqlx::Error> {
    let EventRow { mut row, held } = event;
    Ok(open(connection, named, shard, held, &mut row, opener).await?.map(|()| row))
}

/// Sets the body of a row; why not, where it cannot be read.
async fn open(
    connection: &mut PgConnection,
    named: bool,
    shard: Shard,
    held: Held,
    row: &mut Row,
    opener: &mut Opener,
) -> Result<Result<(), DamagedEvent>, sqlx::Error> {
    let opened = match held {
        Held::Here => Ok(()),
        Held::Encrypted => opener.decrypt(row),
        Held::InBlob(digest) if opener.has(digest) => opener.set_from_segment(digest, row),
        Held::InBlob(digest) => {
            let query = sqlx::query(sql::LONG_BODY).persistent(named).bind(shard).bind(digest.0.as_slice().to_vec());
            match query.fetch_optional(connection).await? {
                None => Err("it is not there".to_owned()),
                Some(found) => {
                    let content = Content { bytes: found.try_get(0)?, form: found.try_get(1)? };
                    opener.set_from(digest, content, row)
                }
            }
        }
    };
    Ok(opened.map_err(|what| held.damaged(row, &what)))
}

/// The same place as a number that the database can hold.
fn bounded(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}
