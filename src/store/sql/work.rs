//! What the care of a store does inside one transaction, in one shard.
//!
//! Sessions are locked before their shard's row, and among themselves in the order of their ids, as appends do it: so no two
//! transactions wait for each other.

use std::collections::{BTreeMap, HashMap};

use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::search::{self, Traces};
use super::{Failure, Statement, drop_blob, statement, stored};
use crate::session::{Body, Digest, Recorded, Seq, SessionId, Timestamp};
use crate::store::care::{Adoption, Keeping};
use crate::store::chain::{Envelope, Verifier};
use crate::store::content::{Laid, Secrecy};
use crate::store::dialect::Dialect;
use crate::store::fork::{has_fork, no_base, purged_base};
use crate::store::read_models::session_key;
use crate::store::sealed::Sealed;
use crate::store::statements::common as sql;
use crate::store::{Appended, Base, Directory, PURGED, Row, SessionRow, Shard, StoreError, no_session};

/// A transaction that is at work in one shard.
pub(super) struct Work<'t, D: Dialect> {
    transaction: &'t mut Transaction<'static, D::Db>,
    shard: Shard,
    secrecy: Secrecy,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    head: Seq,
    hash: Digest,
}

/// What a fork goes on from, and the chain hash there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) base: Base,
    pub(super) hash: Digest,
}

/// The salt, the digest and the hash of an event.
type Seals<'r> = (Option<&'r [u8; 16]>, Option<&'r Digest>, &'r Digest);

impl<'t, D> Work<'t, D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> bool: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
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
    pub(super) fn new(transaction: &'t mut Transaction<'static, D::Db>, shard: Shard, secrecy: Secrecy) -> Self {
        Self { transaction, shard, secrecy }
    }

    /// Writes the events of another store that are not here yet, in the order in which they come.
    pub(super) async fn adopt(&mut self, adoptions: &[Adoption], roots: &HashMap<Base, Digest>) -> Result<(), Failure> {
        let mut of_sessions = BTreeMap::<SessionId, (Option<Root>, Vec<&Row>)>::new();
        for adoption in adoptions {
            let root = adoption.base.and_then(|base| roots.get(&base).map(|hash| Root { base, hash: *hash }));
            of_sessions.entry(adoption.session).or_insert((root, Vec::new())).1.extend(&adoption.rows);
        }
        let mut stood = HashMap::new();
        for (session, (root, rows)) in of_sessions {
            stood.insert(session, self.advance(session, root, &rows).await?);
        }
        let rows = adoptions.iter().flat_map(|adoption| adoption.rows.iter().map(|row| (adoption.session, row)));
        let new: Vec<&Row> =
            rows.filter(|(session, row)| stood.get(session).is_some_and(|head| row.seq() > *head)).map(|(_, row)| row).collect();
        if new.is_empty() {
            return Ok(());
        }
        let first = self.take_positions(new.len()).await?;
        for (row, pos) in new.iter().zip(first..) {
            if let Row::Event { event, salt, digest, hash } = row {
                self.insert(pos, event, (salt.as_ref(), digest.as_ref(), hash)).await?;
            }
        }
        Ok(())
    }

    /// Begins a fork with its first events; `None` when there is such a session already, and nothing was written then.
    pub(super) async fn fork(&mut self, fork: &Sealed, root: Root, of: Shard) -> Result<Option<Appended>, Failure> {
        let Root { base, hash } = root;
        let (append, above) = (&fork.append, base.session.as_uuid());
        let keep = statement(D::KEEP_BASE).bind(of).bind(above).fetch_optional(&mut **self.transaction).await?;
        match keep.map(|row| row.try_get::<bool, _>(0)).transpose()? {
            None => return Err(no_session(base.session).into()),
            Some(true) => return Err(purged_base(base).into()),
            Some(false) => {}
        }
        let find = statement(sql::EVENT_HASH).bind(of).bind(above).bind(stored(base.seq.0));
        let found = find.fetch_optional(&mut **self.transaction).await?;
        let found = found.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
        if found.as_deref() != Some(hash.0.as_slice()) {
            return Err(no_base(base, hash).into());
        }
        let mut stand = Stand { head: base.seq, hash };
        let mut rows = Vec::with_capacity(append.events.len());
        for (event, seal, _) in fork.events() {
            stand.head = stand.head.next();
            stand.hash = Envelope::of_new(append.session, stand.head, event).hash(&stand.hash, &seal.digest);
            rows.push((event.clone().recorded(append.session, stand.head), seal.salt, stand.hash));
        }
        let directory = append.directory.clone().unwrap_or_default();
        let insert = statement(D::BEGIN_FORK)
            .bind(self.shard)
            .bind(append.session.as_uuid())
            .bind(stored(stand.head.0))
            .bind(stand.hash.0.to_vec())
            .bind(rows.first().map_or(0, |(event, ..)| event.at.0))
            .bind(rows.last().map_or(0, |(event, ..)| event.at.0));
        let insert = Self::of_directory(insert, directory).bind(above).bind(stored(base.seq.0));
        if D::rows_affected(&insert.execute(&mut **self.transaction).await?) == 0 {
            return Ok(None);
        }
        let first = self.take_positions(rows.len()).await?;
        for ((event, salt, hash), pos) in rows.iter().zip(first..) {
            self.insert(pos, event, (Some(salt), None, hash)).await?;
        }
        Ok(Some(Appended { first: base.seq.next(), last: stand.head, hash: stand.hash, repeated: false }))
    }

    /// Binds the directory columns, in the order in which all statements have them.
    fn of_directory(statement: Statement<D>, directory: Directory) -> Statement<D> {
        statement
            .bind(directory.phase)
            .bind(directory.due)
            .bind(directory.origin)
            .bind(directory.title)
            .bind(stored(directory.actions))
            .bind(stored(directory.messages))
            .bind(stored(directory.errors))
            .bind(stored(directory.tokens))
            .bind(directory.cost_micro_usd.map(stored))
    }

    /// Takes positions in the feed and says which is the first.
    async fn take_positions(&mut self, count: usize) -> Result<i64, Failure> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        statement(sql::ADD_POSITIONS).bind(self.shard).bind(count).execute(&mut **self.transaction).await?;
        let end = statement(sql::LAST_POSITION).bind(self.shard).fetch_one(&mut **self.transaction).await?;
        Ok(end.try_get::<i64, _>(0)? - count + 1)
    }

    /// Moves the head of a session over those of `rows` that are new, and says where it stood before.
    async fn advance(&mut self, session: SessionId, root: Option<Root>, rows: &[&Row]) -> Result<Seq, Failure> {
        let mut stood = self.stand(session).await?;
        if rows.last().is_some_and(|last| stood.is_some_and(|stand| last.seq() > stand.head)) {
            // From here on nobody else moves it; until here somebody may have.
            statement(sql::LOCK_SESSION).bind(self.shard).bind(session.as_uuid()).execute(&mut **self.transaction).await?;
            stood = self.stand(session).await?;
        }
        let unborn =
            root.map_or(Stand { head: Seq::ZERO, hash: Digest::ZERO }, |root| Stand { head: root.base.seq, hash: root.hash });
        let Stand { head, hash } = stood.unwrap_or(unborn);
        let (here, new): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.seq() <= head);
        if let Some(Row::Event { event, hash, .. }) = here.last() {
            let find = statement(sql::EVENT_HASH).bind(self.shard).bind(session.as_uuid()).bind(stored(event.seq.0));
            let found = find.fetch_optional(&mut **self.transaction).await?;
            let found = found.map(|row| row.try_get::<Vec<u8>, _>(0)).transpose()?;
            if found.as_deref() != Some(hash.0.as_slice()) {
                return Err(StoreError::Conflict { session, head }.into());
            }
        }
        let mut verifier = Verifier::from_anchor(session, head, hash);
        let mut times = Vec::with_capacity(new.len());
        for row in new {
            verifier.check(row).map_err(|flaw| flaw.of_session(session))?;
            if let Row::Event { event, .. } = row {
                times.push(event.at);
            }
        }
        if let (Some(first), Some(last)) = (times.first(), times.last()) {
            let stand = Stand { head: verifier.seq(), hash: verifier.hash() };
            if stood.is_none() {
                self.begin(session, root.map(|root| root.base), stand, *first).await?;
            }
            let update = statement(D::MOVE_ADOPTED)
                .bind(self.shard)
                .bind(session.as_uuid())
                .bind(stored(stand.head.0))
                .bind(stand.hash.0.to_vec())
                .bind(last.0);
            update.execute(&mut **self.transaction).await?;
        }
        Ok(head)
    }

    async fn insert(&mut self, pos: i64, event: &Recorded, (salt, digest, hash): Seals<'_>) -> Result<(), Failure> {
        let (mut text, mut blob, mut in_row) = (None, None, salt);
        if let (Body::Json(body), Some(salt)) = (&event.body, salt) {
            let key = self.secrecy.key(event.session)?;
            let laid = Laid::of(key.as_deref(), event.id, salt, body).map_err(StoreError::Invalid)?;
            if let Some((digest, bytes, form)) = laid.apart(body) {
                let put = statement(D::PUT_BLOB).bind(self.shard).bind(digest.0.to_vec()).bind(bytes.to_vec()).bind(form);
                put.execute(&mut **self.transaction).await?;
                blob = Some(digest);
            }
            text = laid.text(body).map(str::to_owned);
            in_row = laid.salt(salt);
        }
        let insert = statement(D::INSERT_EVENT_ROW)
            .bind(pos)
            .bind(self.shard)
            .bind(event.session.as_uuid())
            .bind(stored(event.seq.0))
            .bind(event.id.as_uuid())
            .bind(event.kind.as_str().to_owned())
            .bind(i32::from(event.v))
            .bind(event.at.0)
            .bind(event.source.as_str().to_owned())
            .bind(event.cause.map(|cause| stored(cause.0)))
            .bind(event.must_understand)
            .bind(text)
            .bind(blob.map(|digest| digest.0.to_vec()))
            .bind(in_row.map(|salt| salt.to_vec()))
            .bind(digest.map(|digest| digest.0.to_vec()))
            .bind(hash.0.to_vec());
        insert.execute(&mut **self.transaction).await?;
        Ok(())
    }

    /// Makes the row of a session that was not here.
    async fn begin(&mut self, session: SessionId, base: Option<Base>, stand: Stand, at: Timestamp) -> Result<(), Failure> {
        let insert = statement(sql::BEGIN_ADOPTED)
            .bind(self.shard)
            .bind(session.as_uuid())
            .bind(stored(stand.head.0))
            .bind(stand.hash.0.to_vec())
            .bind(at.0)
            .bind(base.map(|base| base.session.as_uuid()))
            .bind(base.map(|base| stored(base.seq.0)));
        match D::rows_affected(&insert.execute(&mut **self.transaction).await?) {
            0 => Err(StoreError::Busy("another process began the same session meanwhile".into()).into()),
            _ => Ok(()),
        }
    }

    /// Where a session stands; `None` when it is not here.
    async fn stand(&mut self, session: SessionId) -> Result<Option<Stand>, Failure> {
        let query = statement(sql::STANDING).bind(self.shard).bind(session.as_uuid());
        let Some(row) = query.fetch_optional(&mut **self.transaction).await? else { return Ok(None) };
        let head = Seq(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default());
        let damaged = || StoreError::Damaged { session, seq: head, what: "its head has no hash".to_owned() };
        let hash = Digest::from_slice(&row.try_get::<Vec<u8>, _>(1)?).ok_or_else(damaged)?;
        Ok(Some(Stand { head, hash }))
    }

    /// Makes the rest of a session's row what it is in another store.
    pub(super) async fn settle(&mut self, row: SessionRow, keeping: Keeping) -> Result<(), Failure> {
        let id = row.id;
        let here = self.stand(id).await?;
        let there = Stand { head: row.head, hash: row.hash };
        if here.is_none() && keeping.purged_at.is_some() {
            self.begin(id, row.base, there, row.created_at).await?;
        } else if here != Some(there) {
            let head = here.map_or(Seq::ZERO, |stand| stand.head);
            return Err(StoreError::Conflict { session: id, head }.into());
        }
        let settle = statement(D::SETTLE)
            .bind(self.shard)
            .bind(id.as_uuid())
            .bind(row.name.map(|name| name.as_str().to_owned()))
            .bind(stored(row.epoch.0))
            .bind(row.owner.map(|owner| owner.as_uuid()));
        let settle = Self::of_directory(settle, row.directory)
            .bind(row.created_at.0)
            .bind(row.updated_at.0)
            .bind(keeping.hold)
            .bind(keeping.purged_at.map(|at| at.0))
            .bind(stored(row.head.0));
        match D::rows_affected(&settle.execute(&mut **self.transaction).await?) {
            // Somebody appended to it here in between.
            0 => Err(StoreError::Conflict { session: id, head: row.head.next() }.into()),
            _ => Ok(()),
        }
    }

    /// Removes what a session has said, and what was made of it.
    pub(super) async fn purge(&mut self, session: SessionId, at: Timestamp, traces: Traces) -> Result<(), Failure> {
        let (shard, id) = (self.shard, session.as_uuid());
        // Nobody moves the head from here on: its row is changed first.
        let mark = statement(sql::PURGED).bind(shard).bind(id).bind(at.0).bind(PURGED.to_owned());
        mark.execute(&mut **self.transaction).await?;
        let keeping = statement(sql::PURGEABLE).bind(shard).bind(id).fetch_optional(&mut **self.transaction).await?;
        let Some(keeping) = keeping else { return Err(no_session(session).into()) };
        if let Some(reason) = keeping.try_get::<Option<String>, _>(0)? {
            return Err(StoreError::Invalid(format!("session {session} is held ({reason}); release it first")).into());
        }
        if keeping.try_get::<bool, _>(1)? {
            return Err(StoreError::Invalid(format!("session {session} has something left to do; close it first")).into());
        }
        // Whoever is just beginning a fork holds the row that was changed above, and so is seen here.
        let forks = statement(sql::FORKS_OF).bind(id).fetch_all(&mut **self.transaction).await?;
        if let Some(fork) = forks.first() {
            return Err(has_fork(session, SessionId::from_uuid(fork.try_get(0)?)).into());
        }
        let rows = statement(sql::POSITIONS).bind(shard).bind(id).fetch_all(&mut **self.transaction).await?;
        let positions = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
        let blobs = statement(sql::BLOBS_OF).bind(shard).bind(id).fetch_all(&mut **self.transaction).await?;
        let ranges = ranges(&positions);
        search::forget::<D>(self.transaction, shard, session, traces, &ranges).await?;
        for (first, last) in ranges {
            let insert = statement(sql::INSERT_HOLE).bind(shard).bind(first).bind(last).bind(id);
            insert.execute(&mut **self.transaction).await?;
        }
        for removal in [sql::DROP_EVENTS, sql::DROP_KEPT, sql::DROP_QUARANTINE] {
            statement(removal).bind(shard).bind(id).execute(&mut **self.transaction).await?;
        }
        statement(sql::DROP_SNAPSHOTS).bind(shard).bind(id).bind(0_i64).execute(&mut **self.transaction).await?;
        for blob in &blobs {
            drop_blob::<D>(self.transaction, shard, blob.try_get(0)?).await?;
        }
        self.drop_documents(session).await
    }

    /// Removes what projections keep of one session.
    async fn drop_documents(&mut self, session: SessionId) -> Result<(), Failure> {
        // A projection that is just writing is waited for, and one that comes after sees that the session was purged.
        statement(sql::LOCK_CHECKPOINTS).bind(self.shard).execute(&mut **self.transaction).await?;
        let projections = statement(sql::PROJECTIONS_OF).bind(self.shard).fetch_all(&mut **self.transaction).await?;
        for projection in projections {
            let (name, version): (String, i64) = (projection.try_get(0)?, projection.try_get(1)?);
            let delete = statement(sql::DELETE_DOCUMENT).bind(self.shard).bind(name).bind(version).bind(session_key(session));
            delete.execute(&mut **self.transaction).await?;
        }
        Ok(())
    }
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
