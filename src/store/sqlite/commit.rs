//! One batch of appends in one transaction: each is judged by itself, all that are admitted become durable together.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::super::append::{self, Ownership};
use super::super::chain::Envelope;
use super::super::content::{Opener, Secrecy};
use super::super::sealed::Sealed;
use super::super::statements::sqlite as sql;
use super::super::{Append, Appended, BoxError, Directory, Row, StoreError};
use super::fault::Fault;
use super::{SHARD, decode, reader};
use crate::session::{Digest, Epoch, EventId, Recorded, Seq};

/// What came of each append of a batch, and whether the handle may go on writing.
pub(super) struct Outcome {
    pub(super) answers: Vec<Result<Appended, StoreError>>,
    pub(super) poisoned: bool,
}

/// Whether each append of a batch is kept apart from the others, at a price.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Ids are looked up only where the head does not fit; any failure takes the whole batch back.
    Swift,
    /// Ids are looked up first, and what fails is taken back alone.
    Careful,
}

/// Commits a batch. One that fails for reasons of one append is done again with care, so that the others do not suffer.
pub(super) fn commit(connection: &Connection, batch: &[Sealed]) -> Outcome {
    let failure = match attempt(connection, batch, Care::Swift) {
        Ok(answers) => return Outcome { answers, poisoned: false },
        Err(failure) => failure,
    };
    let worth_care = matches!(failure.fault(), Fault::Constraint | Fault::Corrupt | Fault::Other);
    if !worth_care || failure.committing || !connection.is_autocommit() {
        return failure.outcome(connection, batch.len());
    }
    match attempt(connection, batch, Care::Careful) {
        Ok(answers) => Outcome { answers, poisoned: false },
        Err(failure) => failure.outcome(connection, batch.len()),
    }
}

/// Why a batch as a whole was not committed.
struct Failure {
    error: Arc<rusqlite::Error>,
    /// Whether it was the commit itself that failed, so that its outcome may be unknown.
    committing: bool,
}

impl Failure {
    fn fault(&self) -> Fault {
        Fault::of(&self.error)
    }

    /// The answers to all callers of the batch.
    fn outcome(self, connection: &Connection, appends: usize) -> Outcome {
        let fault = self.fault();
        let answer = || -> StoreError {
            let error: BoxError = Box::new(Arc::clone(&self.error));
            match (fault, self.committing) {
                // Frames may have reached the disk or not: only reading it anew can tell.
                (Fault::Disk | Fault::Other | Fault::Corrupt, true) => StoreError::Unknown(error),
                _ => fault.failed_write(error),
            }
        };
        let poisoned = fault == Fault::Disk || !connection.is_autocommit();
        Outcome { answers: (0..appends).map(|_| Err(answer())).collect(), poisoned }
    }
}

/// Why one append was not written.
enum Trouble {
    /// It is not admitted; nothing of it was written.
    Refused(StoreError),
    /// The database failed.
    Database(rusqlite::Error),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

fn attempt(connection: &Connection, batch: &[Sealed], care: Care) -> Result<Vec<Result<Appended, StoreError>>, Failure> {
    let fail = |committing| {
        move |error| {
            if !connection.is_autocommit() {
                // Whether it worked is seen by the state of the connection.
                let _ = execute(connection, sql::ROLLBACK);
            }
            Failure { error: Arc::new(error), committing }
        }
    };
    execute(connection, sql::BEGIN).map_err(fail(false))?;
    let answers = write_all(connection, batch, care).map_err(fail(false))?;
    execute(connection, sql::COMMIT).map_err(fail(true))?;
    Ok(answers)
}

fn write_all(
    connection: &Connection,
    batch: &[Sealed],
    care: Care,
) -> Result<Vec<Result<Appended, StoreError>>, rusqlite::Error> {
    let begin: i64 = connection.prepare_cached(sql::HEAD_POS)?.query_row([SHARD], |row| row.get(0))?;
    let mut position = begin;
    let mut answers = Vec::with_capacity(batch.len());
    for sealed in batch {
        let answer = match care {
            Care::Swift => write(connection, sealed, &mut position, care),
            Care::Careful => write_apart(connection, sealed, &mut position)?,
        };
        match answer {
            Ok(appended) => answers.push(Ok(appended)),
            Err(Trouble::Refused(error)) => answers.push(Err(error)),
            Err(Trouble::Database(error)) => return Err(error),
        }
    }
    if position != begin {
        connection.prepare_cached(sql::MOVE_POS)?.execute(params![SHARD, position])?;
    }
    Ok(answers)
}

/// Writes one append so that its failure takes back nothing but itself.
fn write_apart(
    connection: &Connection,
    sealed: &Sealed,
    position: &mut i64,
) -> Result<Result<Appended, Trouble>, rusqlite::Error> {
    let before = *position;
    execute(connection, sql::SAVEPOINT)?;
    let answer = match write(connection, sealed, position, Care::Careful) {
        Err(Trouble::Database(error)) => match Fault::of(&error) {
            Fault::Constraint | Fault::Corrupt | Fault::Other => {
                execute(connection, sql::ROLLBACK_TO)?;
                *position = before;
                Err(Trouble::Refused(damaged(sealed, &error)))
            }
            Fault::Busy | Fault::Full | Fault::Disk | Fault::ReadOnly => return Err(error),
        },
        answer => answer,
    };
    execute(connection, sql::RELEASE)?;
    Ok(answer)
}

/// An append that every rule allows and the tables refuse: what they hold of this session does not fit together.
fn damaged(sealed: &Sealed, error: &rusqlite::Error) -> StoreError {
    let what = format!("what the store holds of it does not fit together: {error}");
    StoreError::Damaged { session: sealed.append.session, seq: Seq::ZERO, what }
}

fn write(connection: &Connection, sealed: &Sealed, position: &mut i64, care: Care) -> Result<Appended, Trouble> {
    let append = &sealed.append;
    let find = |id| find(connection, &sealed.secrecy, id);
    if care == Care::Careful
        && let Some(answer) = append::repeated(append, find)?
    {
        return Ok(answer);
    }
    let stands = standing(connection, append)?;
    let (head, hash, epoch) = stands.unwrap_or((Seq::ZERO, Digest::ZERO, Epoch(0)));
    let ownership = match append.admit(head, epoch) {
        Ok(ownership) => ownership,
        // It may be here already, from an append whose answer was lost.
        Err(refusal) => return append::repeated(append, find)?.ok_or(Trouble::Refused(refusal)),
    };
    let appended = write_events(connection, sealed, head, hash, position)?;
    if stands.is_some() {
        move_session(connection, append, &appended, ownership)?;
    } else {
        insert_session(connection, append, &appended, ownership)?;
    }
    Ok(appended)
}

fn standing(connection: &Connection, append: &Append) -> Result<Option<(Seq, Digest, Epoch)>, Trouble> {
    let mut statement = connection.prepare_cached(sql::HEAD)?;
    let mut rows = statement.query(params![SHARD, append.session.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if row.get_ref(3)? != rusqlite::types::ValueRef::Null {
        return Err(super::super::purged(append.session).into());
    }
    let damaged = |what| StoreError::Damaged { session: append.session, seq: Seq::ZERO, what };
    Ok(Some(decode::head(row).map_err(damaged)?))
}

fn find(connection: &Connection, secrecy: &Secrecy, id: EventId) -> Result<Option<(Recorded, Digest)>, Trouble> {
    let mut statement = connection.prepare_cached(sql::EVENT_BY_ID)?;
    let mut rows = statement.query(params![SHARD, id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    match decode::event(row, None).and_then(|row| reader::with_body(connection, row, &mut Opener::new(secrecy))) {
        Ok(Row::Event { event, hash, .. }) => Ok(Some((event, hash))),
        Ok(Row::Damaged { .. }) | Err(_) => Err(StoreError::Reused { event: id }.into()),
    }
}

fn write_events(
    connection: &Connection,
    sealed: &Sealed,
    head: Seq,
    mut hash: Digest,
    position: &mut i64,
) -> Result<Appended, rusqlite::Error> {
    let session = sealed.append.session;
    let mut statement = connection.prepare_cached(sql::INSERT_EVENT)?;
    let mut seq = head;
    for (event, seal, laid) in sealed.events() {
        seq = seq.next();
        *position += 1;
        hash = Envelope::of_new(session, seq, event).hash(&hash, &seal.digest);
        let apart = laid.apart(&event.body);
        if let Some((digest, bytes, form)) = apart {
            let mut blob = connection.prepare_cached(sql::INSERT_BLOB)?;
            blob.execute(params![SHARD, digest.0, bytes, form])?;
        }
        statement.execute(params![
            *position,
            SHARD,
            session.as_bytes(),
            stored(seq.0),
            event.id.as_bytes(),
            event.kind.as_str(),
            event.v,
            event.at.0,
            event.source.as_str(),
            event.cause.map(|cause| stored(cause.0)),
            event.must_understand,
            laid.text(&event.body),
            apart.map(|(digest, ..)| digest.0),
            laid.salt(&seal.salt),
            hash.0,
        ])?;
    }
    Ok(Appended { first: head.next(), last: seq, hash, repeated: false })
}

fn insert_session(
    connection: &Connection,
    append: &Append,
    appended: &Appended,
    ownership: Ownership,
) -> Result<(), rusqlite::Error> {
    let (epoch, owner) = match ownership {
        Ownership::Stays => (Epoch(0), None),
        Ownership::Passes { epoch, node } => (epoch, Some(node)),
    };
    let unknown = Directory::default();
    let Directory { phase, due, origin, title, actions, messages, errors, tokens, cost_micro_usd } =
        append.directory.as_ref().unwrap_or(&unknown);
    connection.prepare_cached(sql::INSERT_SESSION)?.execute(params![
        SHARD,
        append.session.as_bytes(),
        stored(appended.last.0),
        appended.hash.0,
        stored(epoch.0),
        owner.map(|node| *node.as_bytes()),
        append.events.first().map_or(0, |event| event.at.0),
        append.events.last().map_or(0, |event| event.at.0),
        phase,
        due,
        origin,
        title,
        stored(*actions),
        stored(*messages),
        stored(*errors),
        stored(*tokens),
        cost_micro_usd.map(stored),
    ])?;
    Ok(())
}

fn move_session(
    connection: &Connection,
    append: &Append,
    appended: &Appended,
    ownership: Ownership,
) -> Result<(), rusqlite::Error> {
    let session = append.session.as_bytes();
    let head = stored(appended.last.0);
    let at = append.events.last().map_or(0, |event| event.at.0);
    if let Some(directory) = &append.directory {
        let Directory { phase, due, origin, title, actions, messages, errors, tokens, cost_micro_usd } = directory;
        connection.prepare_cached(sql::MOVE_DIRECTORY)?.execute(params![
            SHARD,
            session,
            head,
            appended.hash.0,
            at,
            phase,
            due,
            origin,
            title,
            stored(*actions),
            stored(*messages),
            stored(*errors),
            stored(*tokens),
            cost_micro_usd.map(stored),
        ])?;
    } else {
        connection.prepare_cached(sql::MOVE_HEAD)?.execute(params![SHARD, session, head, appended.hash.0, at])?;
    }
    if let Ownership::Passes { epoch, node } = ownership {
        let mut statement = connection.prepare_cached(sql::MOVE_OWNER)?;
        statement.execute(params![SHARD, session, stored(epoch.0), node.as_bytes()])?;
    }
    Ok(())
}

/// A count as the database holds it. Validation and the tables keep counts below 2⁶³.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn execute(connection: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
