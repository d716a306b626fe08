//! One batch of appends in one transaction: each is judged by itself, all that are admitted become durable together.

use std::collections::{BTreeMap, HashMap};

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgBindIterExt as _, PgConnection};
use sqlx::query::Query;
use uuid::Uuid;

use super::super::append::{self, Ownership};
use super::super::chain::Envelope;
use super::super::content::Opener;
use super::super::sealed::Sealed;
use super::super::statements::postgres as sql;
use super::super::{Appended, BoxError, Row, Shard, StoreError};
use super::decode::{self, Head};
use super::fault::Fault;
use super::reader;
use super::rows::{Begun, EventRow, Events, LongBodies, Moved, stored};
use crate::session::{Digest, Epoch, EventId, Recorded, Seq, SessionId};

/// How a transaction is spoken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speech {
    /// How it begins.
    pub(super) begin: &'static str,
    /// Whether statements may be kept prepared by name.
    pub(super) keeps_statements: bool,
    /// Whether each statement must name the one shard that it is for.
    pub(super) routed: bool,
}

/// A statement with its parameters.
pub(super) type Statement = Query<'static, Postgres, PgArguments>;

impl Speech {
    /// Begins a statement.
    pub(super) fn statement(self, text: &'static str) -> Statement {
        sqlx::query(text).persistent(self.keeps_statements)
    }
}

/// Whether each append of a batch is kept apart from the others, at a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Ids are looked up only where the head does not fit; any failure takes the whole batch back.
    Swift,
    /// The session is locked first, then the ids are looked up: whatever a lost connection left is known after that.
    Careful,
}

/// Why a batch as a whole was not committed.
pub(super) enum Failure {
    /// Somebody else moved one of its sessions meanwhile. Nothing was written.
    Raced,
    /// The database failed.
    Database {
        /// How.
        error: sqlx::Error,
        /// Whether it was the commit itself that failed, so that its outcome may be unknown.
        committing: bool,
    },
    /// What the database holds cannot be understood.
    Damaged(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database { error, committing: false }
    }
}

impl Failure {
    /// Whether it may all the same have been committed.
    pub(super) fn leaves_doubt(&self) -> bool {
        matches!(self, Self::Database { committing: true, .. })
    }

    /// What a caller is told.
    pub(super) fn answer(self) -> StoreError {
        match self {
            Self::Raced => StoreError::Busy("others kept appending to the same session".into()),
            Self::Database { error, committing: true } if Fault::of(&error) == Fault::Away => StoreError::Unknown(error.into()),
            Self::Database { error, .. } => Fault::of(&error).failed_write(error.into()),
            Self::Damaged(error) => error,
        }
    }
}

/// Commits what is admitted of `batch`. With care it holds one append. `known` says where sessions stood when this committer saw them
/// last; it is brought up to date by whoever calls, and is not believed where it leads to a refusal.
pub(super) async fn commit(
    connection: &mut PgConnection,
    speech: Speech,
    batch: &[(Shard, Sealed)],
    care: Care,
    known: &Known,
) -> Result<Vec<Result<Appended, StoreError>>, Failure> {
    let at_once = care == Care::Swift && !speech.routed && speech.keeps_statements;
    if at_once && let Some(answers) = commit_at_once(connection, speech, batch, known).await? {
        return Ok(answers);
    }
    sqlx::raw_sql(speech.begin).execute(&mut *connection).await?;
    match write(connection, speech, batch, care).await {
        Ok(answers) => match sqlx::raw_sql(sql::COMMIT).execute(&mut *connection).await {
            Ok(_) => Ok(answers),
            Err(error) => Err(Failure::Database { error, committing: true }),
        },
        Err(failure) => {
            // A connection on which this fails is let go by the caller.
            let _ = sqlx::raw_sql(sql::ROLLBACK).execute(&mut *connection).await;
            Err(failure)
        }
    }
}

/// Where sessions stood when they were seen last.
pub(super) type Known = HashMap<SessionId, Head>;

/// What is divided by when a session does not stand where it was seen.
const DIVISION_BY_ZERO: &str = "22012";

/// Commits in one statement, where nothing needs a second look; `None` when something does, and nothing was written then.
async fn commit_at_once(
    connection: &mut PgConnection,
    speech: Speech,
    batch: &[(Shard, Sealed)],
    known: &Known,
) -> Result<Option<Vec<Result<Appended, StoreError>>>, Failure> {
    let session = |sealed: &Sealed| sealed.append.session;
    let mut heads = if batch.iter().all(|(_, sealed)| known.contains_key(&session(sealed))) {
        batch.iter().filter_map(|(_, sealed)| Some((session(sealed), *known.get(&session(sealed))?))).collect()
    } else {
        heads(connection, speech, batch, Care::Swift).await?
    };
    let mut plan = Plan::default();
    let mut answers = Vec::with_capacity(batch.len());
    for (shard, sealed) in batch {
        match judge(&mut plan, &mut heads, *shard, sealed, &HashMap::new()) {
            Ok(appended) => answers.push(Ok(appended)),
            Err(_) => return Ok(None),
        }
    }
    if !plan.long.is_empty() {
        return Ok(None);
    }
    plan.sort();
    let mut begins = plan.positions.keys().map(|shard| (*shard, 0)).collect();
    plan.events.place(&mut begins)?;
    let places = plan.events.places(&plan.positions);
    let (shards, counts): (Vec<Shard>, Vec<i64>) = plan.positions.iter().map(|(shard, count)| (*shard, *count)).unzip();
    let events = plan.events.0.as_slice();
    let query = match (plan.moved.as_slice(), plan.begun.as_slice(), events) {
        ([moved], [], [event]) => event.bind_only(moved.bind_one(sqlx::query(sql::COMMIT_EVENT))),
        ([moved], [], events) => moved.bind_one(sqlx::query(sql::COMMIT_ONE)).bind(count(events.len())).bind(events),
        (moved, [], events) => at_once(sql::COMMIT_MOVES, moved, (shards, counts), events, places),
        (moved, begun, events) => {
            at_once(sql::COMMIT_AT_ONCE, moved, (shards, counts), events, places).bind(begun).bind(count(begun.len()))
        }
    };
    let events = events.len();
    match query.execute(connection).await {
        Ok(done) if usize::try_from(done.rows_affected()).ok() == Some(events) => Ok(Some(answers)),
        // Somebody else moved the one session, or the shard has no row: a second look tells.
        Ok(done) if done.rows_affected() == 0 => Ok(None),
        Ok(_) => Err(Failure::Damaged(StoreError::Unavailable("the store's table of shards is not whole".into()))),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == DIVISION_BY_ZERO) => Ok(None),
        Err(error) => Err(Failure::Database { error, committing: true }),
    }
}

/// So many rows, as the database counts.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Binds what every batch has.
fn at_once(
    statement: &'static str,
    moved: &[Moved<'_>],
    (shards, counts): (Vec<Shard>, Vec<i64>),
    events: &[EventRow<'_>],
    places: Vec<i32>,
) -> Statement {
    let old_seqs = moved.iter().map(|moved| stored(moved.old.seq.0)).bind_iter();
    let old_epochs = moved.iter().map(|moved| stored(moved.old.epoch.0)).bind_iter();
    let heads = sqlx::query(statement).bind(moved).bind(old_seqs).bind(old_epochs);
    heads.bind(shards).bind(counts).bind(count(moved.len())).bind(events).bind(places)
}

/// What is to be written of a batch.
#[derive(Default)]
struct Plan<'b> {
    begun: Vec<Begun<'b>>,
    moved: Vec<Moved<'b>>,
    events: Events<'b>,
    long: LongBodies<'b>,
    /// How many positions each shard needs.
    positions: BTreeMap<Shard, i64>,
}

impl Plan<'_> {
    /// Puts the sessions in one order for all, so that no two transactions wait for each other.
    fn sort(&mut self) {
        self.begun.sort_by_key(|begun| (begun.shard, begun.session));
        self.moved.sort_by_key(|moved| (moved.shard, moved.session));
    }
}

async fn write(
    connection: &mut PgConnection,
    speech: Speech,
    batch: &[(Shard, Sealed)],
    care: Care,
) -> Result<Vec<Result<Appended, StoreError>>, Failure> {
    let mut heads = heads(connection, speech, batch, care).await?;
    let mut plan = Plan::default();
    let mut answers = Vec::with_capacity(batch.len());
    for (shard, sealed) in batch {
        let known = match care {
            Care::Careful => find(connection, speech, *shard, sealed).await?,
            Care::Swift => HashMap::new(),
        };
        let answer = judge(&mut plan, &mut heads, *shard, sealed, &known);
        if care == Care::Swift && answer.is_err() {
            // It may be here already, from an append whose answer was lost. That is only said by a transaction that locks the session:
            // its commit waits for the standby as the first one should have.
            if !find(connection, speech, *shard, sealed).await?.is_empty() {
                return Err(Failure::Raced);
            }
        }
        answers.push(answer);
    }
    write_plan(connection, speech, plan).await?;
    Ok(answers)
}

/// Admits one append into the plan, or says why not.
fn judge<'b>(
    plan: &mut Plan<'b>,
    heads: &mut HashMap<SessionId, Head>,
    shard: Shard,
    sealed: &'b Sealed,
    known: &HashMap<EventId, (Recorded, Digest)>,
) -> Result<Appended, StoreError> {
    if let Some(repeated) = repeated(sealed, known)? {
        return Ok(repeated);
    }
    let append = &sealed.append;
    let stood = heads.get(&append.session).copied();
    let unborn = Head { seq: Seq::ZERO, hash: Digest::ZERO, epoch: Epoch(0), purged: false };
    let Head { seq: head, mut hash, epoch, purged } = stood.unwrap_or(unborn);
    if purged {
        return Err(super::super::purged(append.session));
    }
    let ownership = append.admit(head, epoch)?;
    let mut seq = head;
    for (event, seal, laid) in sealed.events() {
        seq = seq.next();
        hash = Envelope::of_new(append.session, seq, event).hash(&hash, &seal.digest);
        let apart = laid.apart(&event.body);
        plan.events.0.push(EventRow::new(shard, append.session, seq, event, seal, laid, hash));
        if let Some((digest, bytes, form)) = apart {
            plan.long.push(shard, digest, bytes, form);
        }
    }
    *plan.positions.entry(shard).or_default() += count(append.events.len());
    let epoch = match ownership {
        Ownership::Stays => epoch,
        Ownership::Passes { epoch, .. } => epoch,
    };
    let now = Head { seq, hash, epoch, purged: false };
    heads.insert(append.session, now);
    match stood {
        Some(stood) => Moved::add(&mut plan.moved, &mut plan.begun, shard, append, stood, now, ownership),
        None => plan.begun.push(Begun::new(shard, append, now, ownership)),
    }
    Ok(Appended { first: head.next(), last: seq, hash, repeated: false })
}

async fn write_plan(connection: &mut PgConnection, speech: Speech, mut plan: Plan<'_>) -> Result<(), Failure> {
    if plan.positions.is_empty() {
        return Ok(());
    }
    plan.sort();
    let routed = speech.routed.then(|| plan.positions.keys().next().copied()).flatten();
    if !plan.begun.is_empty() {
        Begun::insert(&plan.begun, speech, routed).execute(&mut *connection).await?;
    }
    if !plan.moved.is_empty() {
        let moved = Moved::update(&plan.moved, speech, routed).execute(&mut *connection).await?;
        if usize::try_from(moved.rows_affected()).ok() != Some(plan.moved.len()) {
            return Err(Failure::Raced);
        }
    }
    if !plan.long.is_empty() {
        plan.long.insert(connection, speech).await?;
    }
    let mut ends = take_positions(connection, speech, &plan.positions, routed).await?;
    for (shard, count) in &plan.positions {
        if let Some(end) = ends.get_mut(shard) {
            *end -= count;
        }
    }
    plan.events.place(&mut ends)?;
    plan.events.insert(speech, routed).execute(&mut *connection).await?;
    Ok(())
}

/// Takes positions and returns the last one of each shard.
async fn take_positions(
    connection: &mut PgConnection,
    speech: Speech,
    positions: &BTreeMap<Shard, i64>,
    routed: Option<Shard>,
) -> Result<BTreeMap<Shard, i64>, Failure> {
    use sqlx::Row as _;
    let query = match routed {
        Some(shard) => {
            let count = positions.get(&shard).copied().unwrap_or_default();
            speech.statement(sql::TAKE_POSITIONS_ROUTED).bind(shard).bind(count)
        }
        None => {
            let (shards, counts): (Vec<Shard>, Vec<i64>) = positions.iter().map(|(shard, count)| (*shard, *count)).unzip();
            speech.statement(sql::TAKE_POSITIONS).bind(shards).bind(counts)
        }
    };
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get::<Shard, _>(0)?, row.try_get::<i64, _>(1)?))).collect()
}

/// Where the sessions of a batch stand; those that are not there yet are left out.
async fn heads(
    connection: &mut PgConnection,
    speech: Speech,
    batch: &[(Shard, Sealed)],
    care: Care,
) -> Result<HashMap<SessionId, Head>, Failure> {
    let first = batch.first().map(|(shard, sealed)| (*shard, sealed.append.session.as_uuid()));
    let sessions = || -> Vec<Uuid> { batch.iter().map(|(_, sealed)| sealed.append.session.as_uuid()).collect() };
    let query = match (care, first) {
        (_, None) => return Ok(HashMap::new()),
        (Care::Careful, Some((shard, session))) => speech.statement(sql::HEAD_LOCKED).bind(shard).bind(session),
        (Care::Swift, Some((shard, _))) if speech.routed => speech.statement(sql::HEADS_ROUTED).bind(shard).bind(sessions()),
        (Care::Swift, Some(_)) => {
            let shards: Vec<Shard> = batch.iter().map(|(shard, _)| *shard).collect();
            speech.statement(sql::HEADS).bind(shards).bind(sessions())
        }
    };
    let rows = query.fetch_all(connection).await?;
    let damaged = |what: String| Failure::Damaged(StoreError::Unavailable(BoxError::from(what)));
    rows.iter().map(|row| decode::head(row).map_err(damaged)).collect()
}

/// The events of an append that are in the log already.
async fn find(
    connection: &mut PgConnection,
    speech: Speech,
    shard: Shard,
    sealed: &Sealed,
) -> Result<HashMap<EventId, (Recorded, Digest)>, Failure> {
    let ids: Vec<Uuid> = sealed.append.events.iter().map(|event| event.id.as_uuid()).collect();
    let query = speech.statement(sql::EVENTS_BY_ID).bind(shard).bind(ids);
    let rows = query.fetch_all(&mut *connection).await?;
    let mut found = HashMap::with_capacity(rows.len());
    let mut opener = Opener::new(&sealed.secrecy);
    for row in &rows {
        let event = decode::event(row, None);
        let row = match event {
            Ok(event) => reader::with_body(connection, speech.keeps_statements, shard, event, &mut opener).await?,
            Err(damaged) => Err(damaged),
        };
        match row {
            Ok(Row::Event { event, hash, .. }) => found.insert(event.id, (event, hash)),
            Ok(Row::Damaged { seq, what }) => return Err(damaged(sealed, seq, what)),
            Err(bad) => return Err(damaged(sealed, bad.seq, bad.what)),
        };
    }
    Ok(found)
}

fn damaged(sealed: &Sealed, seq: Seq, what: String) -> Failure {
    Failure::Damaged(StoreError::Damaged { session: sealed.append.session, seq, what })
}

fn repeated(sealed: &Sealed, known: &HashMap<EventId, (Recorded, Digest)>) -> Result<Option<Appended>, StoreError> {
    if known.is_empty() { Ok(None) } else { append::repeated(&sealed.append, |id| Ok::<_, StoreError>(known.get(&id).cloned())) }
}
