//! Forks in a database: begun in one transaction, read across the sessions that they lie on.
//!
//! Whether a session is a fork is asked only where its own events leave something open below: reading any other costs nothing more.

use std::collections::HashMap;

use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Type};
use uuid::Uuid;

use super::work::{Root, Work};
use super::{BLOB_BYTES_MAX, SqlStore, statement, stored};
use crate::session::{Body, Digest, Recorded, Seq, SessionId};
use crate::store::content::Content;
use crate::store::dialect::Dialect;
use crate::store::fork::{DEPTH_MAX, endless, holder};
use crate::store::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::store::sealed::Sealed;
use crate::store::statements::common as sql;
use crate::store::title::is_told_by;
use crate::store::{Adoption, Append, Appended, Base, PURGED, Page, Pieces, Read, Row, Snapshot, StoreError, no_event};

impl<D> SqlStore<D>
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
    /// Begins a fork. That its session is new, and that the other one holds the event, is seen in the transaction that writes it.
    pub(super) async fn fork(&self, append: Append, base: Base, hash: Digest) -> Result<Appended, StoreError> {
        let sealed = Sealed::new(append.clone(), self.dialect.secrecy())?;
        // It never changes who holds an event, so that this can be asked before.
        let base = holder(self, base).await?;
        let (shard, of) = (self.dialect.shard_of(append.session), self.dialect.shard_of(base.session));
        let secrecy = self.dialect.secrecy().clone();
        let begun = self
            .write(move |transaction| {
                Box::pin(async move {
                    let mut work = Work::<D>::new(transaction, shard, secrecy);
                    work.fork(&sealed, Root { base, hash }, of).await
                })
            })
            .await?;
        match begun {
            Some(appended) => Ok(appended),
            // There is such a session: from an append whose answer was lost, or another one.
            None => self.dialect.append(append).await,
        }
    }

    /// What a fork goes on from; a purged one reads nothing there any more.
    pub(super) async fn base_of(&self, session: SessionId) -> Result<Option<Base>, StoreError> {
        let row = self.dialect.session(session).await?.filter(|row| row.directory.phase != PURGED);
        Ok(row.and_then(|row| row.base))
    }

    /// The sessions whose events a reader of `session` needs after `after`, the newest first, each with what of it counts.
    async fn parts(&self, read: Read) -> Result<Vec<Read>, StoreError> {
        let mut parts = vec![read];
        while let Some(last) = parts.last_mut() {
            let Some(base) = self.base_of(last.session).await?.filter(|base| base.seq > last.after) else { break };
            let below = Read { session: base.session, upto: last.upto.min(base.seq), ..*last };
            last.after = base.seq;
            parts.push(below);
            if parts.len() > DEPTH_MAX {
                return Err(endless(read.session));
            }
        }
        Ok(parts)
    }

    /// Reads oldest first.
    pub(super) async fn read_forward(&self, read: Read, pieces: Option<Pieces>) -> Result<Page, StoreError> {
        let own = self.dialect.read(read, pieces.clone()).await?;
        let has_begun = pieces.is_some_and(|pieces| pieces.last() > read.after);
        let begins_here = has_begun || own.rows.first().is_some_and(|row| row.seq() == read.after.next());
        if begins_here || read.limit == 0 || read.after >= read.upto {
            return Ok(own);
        }
        let mut parts = self.parts(read).await?;
        if parts.len() == 1 {
            return Ok(own);
        }
        parts.reverse();
        self.join(parts).await
    }

    /// Reads newest first.
    pub(super) async fn read_backward(&self, read: Read) -> Result<Page, StoreError> {
        let own = self.dialect.read(read, None).await?;
        let ends_here = own.more || own.rows.last().is_some_and(|row| row.seq() == read.after.next());
        if ends_here || read.limit == 0 || read.after >= read.upto {
            return Ok(own);
        }
        let parts = self.parts(read).await?;
        if parts.len() == 1 { Ok(own) } else { self.join(parts).await }
    }

    /// Reads parts of several sessions as one page.
    async fn join(&self, parts: Vec<Read>) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let mut bytes = 0;
        for part in parts {
            let room = part.limit.min(PAGE_ROWS_MAX).saturating_sub(u32::try_from(page.rows.len()).unwrap_or(u32::MAX));
            // One more than there is room for says whether there is more.
            let full = room == 0 || bytes >= PAGE_BYTES_MAX;
            let found = self.dialect.read(Read { limit: if full { 1 } else { room }, ..part }, None).await?;
            if full {
                page.more |= !found.rows.is_empty();
                if page.more {
                    break;
                }
                continue;
            }
            bytes += found.rows.iter().map(Row::body_bytes).sum::<usize>();
            page.rows.extend(found.rows);
            page.more = found.more;
            if page.more {
                break;
            }
        }
        Ok(page)
    }

    /// The content that is kept where this session is.
    pub(super) async fn own_blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let secrecy = self.dialect.secrecy();
        let address = match secrecy.key(session) {
            Ok(key) => key.map_or(digest, |key| key.address(digest)),
            // Nothing was ever given to one that never was.
            Err(StoreError::NoKey { .. }) if self.dialect.session(session).await?.is_none() => return Ok(None),
            Err(error) => return Err(error),
        };
        let query = statement(sql::BLOB).bind(self.dialect.shard_of(session)).bind(address.0.to_vec());
        let Some(row) = self.fetch(query).await?.pop() else { return Ok(None) };
        let content = Content { bytes: row.try_get(0).map_err(failed)?, form: row.try_get(1).map_err(failed)? };
        match content.whole(secrecy, session, BLOB_BYTES_MAX) {
            Ok(bytes) if Digest::of(&bytes) == digest => Ok(Some(bytes)),
            _ => {
                let what = format!("the content of blob {} is not what its name says", digest.short());
                Err(StoreError::Damaged { session, seq: Seq::ZERO, what })
            }
        }
    }

    /// The newest snapshot that was made of this session itself.
    pub(super) async fn own_snapshot(
        &self,
        session: SessionId,
        reducer: &str,
        mut upto: Seq,
    ) -> Result<Option<Snapshot>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        loop {
            let query = statement(sql::SNAPSHOT)
                .bind(self.dialect.shard_of(session))
                .bind(session.as_uuid())
                .bind(reducer.to_owned())
                .bind(stored(upto.0));
            let Some(row) = self.fetch(query).await?.pop() else { return Ok(None) };
            let seq: i64 = row.try_get(0).map_err(failed)?;
            let digest: Vec<u8> = row.try_get(1).map_err(failed)?;
            let bytes: Vec<u8> = row.try_get(2).map_err(failed)?;
            let seq = Seq(u64::try_from(seq).unwrap_or_default());
            let found = Digest::from_slice(&digest).filter(|digest| *digest == Digest::of(&bytes));
            let found = found.map(|digest| Snapshot { session, seq, reducer: reducer.to_owned(), digest, bytes });
            if let Some(snapshot) = found.and_then(|snapshot| self.shown(snapshot)) {
                return Ok(Some(snapshot));
            }
            // A damaged snapshot is as good as none: the log has it all, and an older snapshot most of it.
            tracing::warn!(%session, %seq, "a snapshot is damaged and is not used");
            let Some(older) = seq.0.checked_sub(1) else { return Ok(None) };
            upto = Seq(older);
        }
    }

    /// The hashes of the events that adopted forks go on from.
    pub(super) async fn roots(&self, adoptions: &[Adoption]) -> Result<HashMap<Base, Digest>, StoreError> {
        let mut roots = HashMap::new();
        for base in adoptions.iter().filter_map(|adoption| adoption.base) {
            let Base { session, seq } = base;
            match self.dialect.read(Read::one(session, seq), None).await?.rows.pop() {
                Some(Row::Event { hash, .. }) => roots.insert(base, hash),
                _ => return Err(no_event(session, seq)),
            };
        }
        Ok(roots)
    }

    /// Lets go the snapshots of forks that may hold what a redacted event said which they share.
    pub(super) async fn drop_snapshots_of_forks(&self, session: SessionId, seq: Seq) -> Result<(), StoreError> {
        self.in_forks_that_read(session, seq, sql::DROP_SNAPSHOTS, |_| Ok(stored(seq.0))).await
    }

    /// Takes this title from the forks that got it from an event which is to be redacted.
    pub(super) async fn drop_title_of_forks(&self, session: SessionId, seq: Seq, title: &str) -> Result<(), StoreError> {
        let hidden = |fork| self.dialect.secrecy().hidden_title(fork, title.to_owned());
        self.in_forks_that_read(session, seq, sql::DROP_TITLE, hidden).await
    }

    /// Does this to each of these forks: `$1` and `$2` are the fork, `$3` is `argument` of it.
    async fn in_forks_that_read<T>(
        &self,
        session: SessionId,
        seq: Seq,
        work: &'static str,
        argument: impl Fn(SessionId) -> Result<T, StoreError>,
    ) -> Result<(), StoreError>
    where
        T: Send + 'static,
        for<'q> T: Encode<'q, D::Db> + Type<D::Db>,
    {
        for fork in self.forks_that_read(session, seq).await? {
            let (shard, argument) = (self.dialect.shard_of(fork), argument(fork)?);
            self.write(move |transaction| {
                let work = statement(work).bind(shard).bind(fork.as_uuid()).bind(argument);
                Box::pin(async move {
                    work.execute(&mut **transaction).await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }

    /// The title of a session, where the body of this event of it, which is still there, says it.
    pub(super) async fn title_told_by(&self, session: SessionId, seq: Seq) -> Result<Option<String>, StoreError> {
        let row = self.dialect.session(session).await?.map(|row| self.with_title(row));
        let Some(title) = row.and_then(|row| row.directory.title) else { return Ok(None) };
        let page = self.dialect.read(Read::one(session, seq), None).await?;
        Ok(match page.rows.first().and_then(Row::event) {
            Some(Recorded { body: Body::Json(body), .. }) if is_told_by(&title, body) => Some(title),
            _ => None,
        })
    }

    /// The forks that read event `seq` of `session`, also through others.
    async fn forks_that_read(&self, session: SessionId, seq: Seq) -> Result<Vec<SessionId>, StoreError> {
        let failed = |error| self.dialect.failed_read(error);
        let mut readers = vec![session];
        let mut forks = Vec::new();
        while let Some(reader) = readers.pop() {
            for row in self.fetch(statement(sql::FORKS_OF).bind(reader.as_uuid())).await? {
                let (fork, base): (Uuid, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
                if base >= stored(seq.0) {
                    readers.push(SessionId::from_uuid(fork));
                    forks.push(SessionId::from_uuid(fork));
                }
            }
        }
        Ok(forks)
    }
}
