//! Packing: the bodies of a session that has ended go into segments, and its long content is compressed. Nobody who reads it sees a difference.

use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Transaction, Type};
use uuid::Uuid;

use super::{BLOB_BYTES_MAX, Failure, SqlStore, statement, stored, take_out};
use crate::session::{Body, Digest, Seq, SessionId, Timestamp};
use crate::store::chain::{Salt, Verifier};
use crate::store::cipher::SessionKey;
use crate::store::content::{self, Bad, Content, Form, INLINE_BYTES_MAX, Layout, Secrecy, with_salt};
use crate::store::dialect::Dialect;
use crate::store::read::PAGE_ROWS;
use crate::store::segment::{SEGMENT_BYTES, Segment};
use crate::store::statements::common as sql;
use crate::store::{ENDED, Packed, Pages, Read, Row, Shard, Store, StoreError, no_session, not_ended};

/// How often a segment is made anew because one of its events was redacted meanwhile.
const TRIES_MAX: u32 = 8;

/// Bodies that are to be packed together.
struct Gathered {
    first: Seq,
    bodies: Vec<Option<String>>,
    /// Bodies that lie in content of their own, by what that is found by.
    long: Vec<(Digest, String)>,
    bytes: usize,
}

impl Gathered {
    const fn from(first: Seq) -> Self {
        Self { first, bodies: Vec::new(), long: Vec::new(), bytes: 0 }
    }

    /// Adds the next one; one that is encrypted goes with its salt.
    fn push(&mut self, key: Option<&SessionKey>, body: Body, salt: Option<Salt>) {
        let text = match body {
            Body::Json(body) => {
                let is_long = body.len() > INLINE_BYTES_MAX;
                Some((is_long, if key.is_some() { with_salt(&salt.unwrap_or_default(), &body) } else { body }))
            }
            Body::Redacted => None,
        };
        self.bodies.push(match text {
            Some((true, text)) => {
                let digest = Digest::of(text.as_bytes());
                self.long.push((key.map_or(digest, |key| key.address(digest)), text));
                None
            }
            Some((false, text)) => {
                self.bytes += text.len();
                Some(text)
            }
            None => None,
        });
    }

    /// The event behind the last one.
    fn end(&self) -> Seq {
        Seq(self.first.0.saturating_add(self.bodies.len() as u64))
    }

    /// Whether what comes next belongs into another segment: at the end of a page, too, so that who reads page by page meets none twice.
    fn is_full(&self) -> bool {
        let ends_a_page = self.end().0 % u64::from(PAGE_ROWS) == 1;
        self.bytes >= SEGMENT_BYTES || ends_a_page || !self.long.is_empty()
    }
}

/// What is written of a stretch of a session.
struct Stretch {
    first: Seq,
    last: Seq,
    /// Its segment, and how many bodies are in it.
    segment: Option<(Content, u64)>,
    long: Vec<(Digest, Content)>,
}

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
    /// The sessions that have ended, changed last before a moment and are not packed up to their ends.
    pub(super) async fn unpacked(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        let query = ENDED.iter().fold(statement(sql::PACKABLE), |query, phase| query.bind((*phase).to_owned()));
        let query = query.bind(before.0).bind(i64::from(limit));
        let rows = self.fetch(query).await?;
        let ids = rows.iter().map(|row| row.try_get::<Uuid, _>(0).map(SessionId::from_uuid));
        ids.collect::<Result<_, _>>().map_err(|error| self.dialect.failed_read(error))
    }

    /// Packs a session from where it was left on.
    pub(super) async fn pack_session(&self, session: SessionId) -> Result<Packed, StoreError> {
        let mut packed = Packed::default();
        let (mut upto, mut head) = self.packed_upto(session).await?;
        if upto < head {
            self.pack_kept(session, &mut packed).await?;
        }
        for attempt in 1.. {
            match self.pack_bodies(session, upto, head, &mut packed).await {
                // What was packed stays packed; the rest is read anew.
                Err(StoreError::Busy(_)) if attempt < TRIES_MAX => (upto, head) = self.packed_upto(session).await?,
                done => return done.map(|()| packed),
            }
        }
        Ok(packed)
    }

    /// Up to where a session is packed, and where it ends.
    async fn packed_upto(&self, session: SessionId) -> Result<(Seq, Seq), StoreError> {
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::PACKED_UPTO).bind(self.dialect.shard_of(session)).bind(session.as_uuid());
        let Some(row) = self.fetch(query).await?.pop() else { return Err(no_session(session)) };
        let (packed, head): (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        has_ended(session, &row.try_get::<String, _>(2).map_err(failed)?)?;
        let seq = |number: i64| Seq(u64::try_from(number).unwrap_or_default());
        Ok((seq(packed), seq(head)))
    }

    /// Packs the bodies of the events after `upto` and up to `head`.
    async fn pack_bodies(&self, session: SessionId, upto: Seq, head: Seq, packed: &mut Packed) -> Result<(), StoreError> {
        let base = self.base_of(session).await?.map_or(Seq::ZERO, |base| base.seq);
        let begin = upto.max(base);
        // What is damaged stays as it is, for whoever wants to look at it.
        let mut verifier = match begin {
            Seq::ZERO => Verifier::new(session),
            begin => match self.read(Read::one(session, begin)).await?.rows.first() {
                Some(Row::Event { hash, .. }) => Verifier::from_anchor(session, begin, *hash),
                Some(Row::Damaged { what, .. }) => {
                    return Err(StoreError::Damaged { session, seq: begin, what: what.clone() });
                }
                None => return Err(StoreError::Damaged { session, seq: begin, what: "it is missing".to_owned() }),
            },
        };
        let key = self.dialect.secrecy().key(session)?;
        let mut pages = Pages::new(self, Read { upto: head, ..Read::forward(session, begin) });
        let mut gathered = Gathered::from(begin.next());
        while let Some(rows) = pages.next().await? {
            for row in rows {
                verifier.check(&row).map_err(|flaw| flaw.of_session(session))?;
                if let Row::Event { event, salt, .. } = row {
                    gathered.push(key.as_deref(), event.body, salt);
                }
                if gathered.is_full() {
                    let next = Gathered::from(gathered.end());
                    self.pack_stretch(session, std::mem::replace(&mut gathered, next), packed).await?;
                }
            }
        }
        if gathered.bodies.is_empty() { Ok(()) } else { self.pack_stretch(session, gathered, packed).await }
    }

    async fn pack_stretch(&self, session: SessionId, gathered: Gathered, packed: &mut Packed) -> Result<(), StoreError> {
        let (first, last) = (gathered.first, Seq(gathered.end().0.saturating_sub(1)));
        let wrong = |what: Bad| StoreError::Damaged { session, seq: first, what };
        // Compressing takes milliseconds, in which a worker has others to serve.
        let key = self.dialect.secrecy().key(session)?;
        let task = tokio::task::spawn_blocking(move || squeeze(session, key.as_deref(), gathered));
        let (stretch, done) = task.await.map_err(|error| StoreError::Unavailable(error.into()))?.map_err(wrong)?;
        let shard = self.dialect.shard_of(session);
        self.write(move |transaction| Box::pin(async move { Self::write_stretch(transaction, shard, session, stretch).await }))
            .await?;
        packed.events += last.0.saturating_sub(first.0) + 1;
        packed.add(done);
        Ok(())
    }

    async fn write_stretch(
        transaction: &mut Transaction<'static, D::Db>,
        shard: Shard,
        session: SessionId,
        stretch: Stretch,
    ) -> Result<(), Failure> {
        let id = session.as_uuid();
        take_out::lock_session::<D>(transaction, shard, session).await?;
        let Stretch { first, last, segment, long } = stretch;
        let row = statement(sql::PACKED_UPTO).bind(shard).bind(id).fetch_one(&mut **transaction).await?;
        has_ended(session, &row.try_get::<String, _>(2)?)?;
        if row.try_get::<i64, _>(0)? >= stored(first.0) {
            return Err(StoreError::Busy("another process packs the same session".into()).into());
        }
        if let Some((Content { form, bytes }, count)) = segment {
            let digest = Digest::of(&bytes);
            let put = statement(sql::PUT_SEGMENT).bind(shard).bind(digest.0.to_vec()).bind(bytes).bind(form);
            put.execute(&mut **transaction).await?;
            let bind = statement(sql::MOVE_BODIES).bind(shard).bind(id).bind(stored(first.0)).bind(stored(last.0));
            let moved = bind.bind(digest.0.to_vec()).execute(&mut **transaction).await?;
            if D::rows_affected(&moved) != count {
                return Err(StoreError::Busy("one of the events was redacted meanwhile".into()).into());
            }
        }
        for (digest, content) in long {
            pack_blob::<D>(transaction, shard, digest, content).await?;
        }
        statement(sql::SET_PACKED).bind(shard).bind(id).bind(stored(last.0)).execute(&mut **transaction).await?;
        Ok(())
    }

    /// Compresses the content that a session was given.
    async fn pack_kept(&self, session: SessionId, packed: &mut Packed) -> Result<(), StoreError> {
        let failed = |error| self.dialect.failed_read(error);
        let (shard, secrecy) = (self.dialect.shard_of(session), self.dialect.secrecy());
        for row in self.fetch(statement(sql::KEPT_BY).bind(shard).bind(session.as_uuid())).await? {
            let digest: Vec<u8> = row.try_get(0).map_err(failed)?;
            let Some(row) = self.fetch(statement(sql::BLOB).bind(shard).bind(digest.clone())).await?.pop() else { continue };
            let content = Content { bytes: row.try_get(0).map_err(failed)?, form: row.try_get(1).map_err(failed)? };
            let Some(digest) = Digest::from_slice(&digest).filter(|_| content.form == plain(secrecy)) else { continue };
            let before = content.bytes.len();
            let (owned, key) = (secrecy.clone(), secrecy.key(session)?);
            let task = tokio::task::spawn_blocking(move || {
                let bytes = content.whole(&owned, session, BLOB_BYTES_MAX)?;
                Content::laid(key.as_deref(), Layout::Packed, content::compress(&bytes)?)
            });
            let content = task.await.map_err(|error| StoreError::Unavailable(error.into()))?;
            let content = content.map_err(|what| StoreError::Damaged { session, seq: Seq::ZERO, what })?;
            if content.bytes.len() >= before {
                continue;
            }
            packed.add(Packed { events: 0, bytes_before: before as u64, bytes_after: content.bytes.len() as u64 });
            self.write(move |transaction| {
                Box::pin(async move { Ok(pack_blob::<D>(transaction, shard, digest, content).await?) })
            })
            .await?;
        }
        Ok(())
    }
}

fn has_ended(session: SessionId, phase: &str) -> Result<(), StoreError> {
    if ENDED.contains(&phase) { Ok(()) } else { Err(not_ended(session)) }
}

/// The form of content that is not packed yet.
const fn plain(secrecy: &Secrecy) -> i32 {
    Form { layout: Layout::Plain, encrypted: secrecy.is_encrypted() }.stored()
}

/// Compresses what was gathered.
fn squeeze(session: SessionId, key: Option<&SessionKey>, gathered: Gathered) -> Result<(Stretch, Packed), Bad> {
    let mut packed = Packed { events: 0, bytes_before: gathered.bytes as u64, bytes_after: 0 };
    let (first, last) = (gathered.first, Seq(gathered.end().0.saturating_sub(1)));
    let bodies: Vec<Option<&str>> = gathered.bodies.iter().map(Option::as_deref).collect();
    let count = bodies.iter().flatten().count() as u64;
    let segment = match count {
        0 => None,
        count => {
            let content = Content::laid(key, Layout::Segment, Segment::pack(session, first, &bodies)?)?;
            packed.bytes_after += content.bytes.len() as u64;
            Some((content, count))
        }
    };
    let mut long = Vec::with_capacity(gathered.long.len());
    for (digest, body) in gathered.long {
        let content = Content::laid(key, Layout::Packed, content::compress(body.as_bytes())?)?;
        packed.bytes_before += body.len() as u64;
        if content.bytes.len() < body.len() {
            packed.bytes_after += content.bytes.len() as u64;
            long.push((digest, content));
        } else {
            packed.bytes_after += body.len() as u64;
        }
    }
    Ok((Stretch { first, last, segment, long }, packed))
}

async fn pack_blob<D>(
    transaction: &mut Transaction<'static, D::Db>,
    shard: Shard,
    digest: Digest,
    Content { form, bytes }: Content,
) -> Result<(), sqlx::Error>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Type<D::Db>,
    for<'q> Vec<u8>: Encode<'q, D::Db> + Type<D::Db>,
{
    let encrypted = Form::read(form).is_ok_and(|form| form.encrypted);
    let before = Form { layout: Layout::Plain, encrypted }.stored();
    let pack = statement(sql::PACK_BLOB).bind(shard).bind(digest.0.to_vec()).bind(bytes).bind(form).bind(before);
    pack.execute(&mut **transaction).await?;
    Ok(())
}
