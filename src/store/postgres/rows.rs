//! Rows to be written: what becomes of sessions, their events, and bodies that are too long to stand beside them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::super::append::{Ownership, Seal};
use super::super::chain::Salt;
use super::super::content::Laid;
use super::super::statements::postgres as sql;
use super::super::{Append, Directory, Shard, StoreError};
use super::commit::{Failure, Speech};
use super::decode::Head;
use crate::session::{Digest, NewEvent, Seq, SessionId};

/// A count as the database holds it. Validation and the tables keep counts below 2⁶³.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Text that the database takes: it cannot hold the character NUL.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// A session that begins.
pub(super) struct Begun<'b> {
    pub(super) shard: Shard,
    pub(super) session: SessionId,
    pub(super) head: Head,
    pub(super) owner: Option<Uuid>,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) directory: Cow<'b, Directory>,
}

impl<'b> Begun<'b> {
    pub(super) fn new(shard: Shard, append: &'b Append, head: Head, ownership: Ownership) -> Self {
        Self {
            shard,
            session: append.session,
            head,
            owner: owner(ownership),
            created_at: append.events.first().map_or(0, |event| event.at.0),
            updated_at: append.events.last().map_or(0, |event| event.at.0),
            directory: append.directory.as_ref().map_or_else(|| Cow::Owned(Directory::default()), Cow::Borrowed),
        }
    }
}

/// A session whose head moves.
pub(super) struct Moved<'b> {
    pub(super) shard: Shard,
    pub(super) session: SessionId,
    /// Where it stood when it was seen.
    pub(super) old: Head,
    pub(super) new: Head,
    pub(super) owner: Option<Uuid>,
    pub(super) updated_at: i64,
    /// `None` where the directory stays.
    pub(super) directory: Option<&'b Directory>,
}

impl<'b> Moved<'b> {
    /// Notes that a session moves from `old` to `new`; what moves or begins in the same batch already goes on from there.
    pub(super) fn add(
        moved: &mut Vec<Self>,
        begun: &mut [Begun<'b>],
        shard: Shard,
        append: &'b Append,
        old: Head,
        new: Head,
        ownership: Ownership,
    ) {
        let updated_at = append.events.last().map_or(0, |event| event.at.0);
        let owner = owner(ownership);
        let directory = append.directory.as_ref();
        if let Some(known) = begun.iter_mut().find(|known| known.session == append.session) {
            known.head = new;
            known.owner = owner.or(known.owner);
            known.updated_at = updated_at;
            if let Some(directory) = directory {
                known.directory = Cow::Borrowed(directory);
            }
        } else if let Some(known) = moved.iter_mut().find(|known| known.session == append.session) {
            known.new = new;
            known.owner = owner.or(known.owner);
            known.updated_at = updated_at;
            known.directory = directory.or(known.directory);
        } else {
            moved.push(Self { shard, session: append.session, old, new, owner, updated_at, directory });
        }
    }
}

fn owner(ownership: Ownership) -> Option<Uuid> {
    match ownership {
        Ownership::Stays => None,
        Ownership::Passes { node, .. } => Some(node.as_uuid()),
    }
}

/// An event.
pub(super) struct EventRow<'b> {
    pub(super) shard: Shard,
    pub(super) session: Uuid,
    pub(super) seq: i64,
    /// Zero until it is known.
    pub(super) pos: i64,
    pub(super) id: Uuid,
    pub(super) kind: &'b str,
    pub(super) v: i32,
    pub(super) at: i64,
    pub(super) source: &'static str,
    pub(super) cause: Option<i64>,
    pub(super) must_understand: bool,
    /// `None` where it lies apart.
    pub(super) body: Option<&'b str>,
    /// Where it lies then.
    pub(super) blob: Option<[u8; 32]>,
    pub(super) salt: Option<Salt>,
    pub(super) hash: [u8; 32],
}

impl<'b> EventRow<'b> {
    /// One whose position is not known yet.
    pub(super) fn new(
        shard: Shard,
        session: SessionId,
        seq: Seq,
        event: &'b NewEvent,
        seal: &Seal,
        laid: &'b Laid,
        hash: Digest,
    ) -> Self {
        Self {
            shard,
            session: session.as_uuid(),
            seq: stored(seq.0),
            pos: 0,
            id: event.id.as_uuid(),
            kind: event.kind.as_str(),
            v: i32::from(event.v),
            at: event.at.0,
            source: event.source.as_str(),
            cause: event.cause.map(|cause| stored(cause.0)),
            must_understand: event.must_understand,
            body: laid.text(&event.body),
            blob: laid.apart(&event.body).map(|(digest, ..)| digest.0),
            salt: laid.salt(&seal.salt).copied(),
            hash: hash.0,
        }
    }
}

/// The events of a batch.
#[derive(Default)]
pub(super) struct Events<'b>(pub(super) Vec<EventRow<'b>>);

impl Events<'_> {
    /// Gives each its position: the next one of its shard, whose last ones are `ends`.
    pub(super) fn place(&mut self, ends: &mut BTreeMap<Shard, i64>) -> Result<(), Failure> {
        for event in &mut self.0 {
            let Some(end) = ends.get_mut(&event.shard) else {
                let what = format!("shard {} has no row; the store's table of shards is not whole", event.shard);
                return Err(Failure::Damaged(StoreError::Unavailable(what.into())));
            };
            *end += 1;
            event.pos = *end;
        }
        Ok(())
    }

    /// For each, which of `shards` it belongs to: 1 is the first.
    pub(super) fn places(&self, shards: &BTreeMap<Shard, i64>) -> Vec<i32> {
        let places: BTreeMap<Shard, i32> = shards.keys().copied().zip(1..).collect();
        self.0.iter().filter_map(|event| places.get(&event.shard).copied()).collect()
    }
}

/// Bodies that are too long for their rows.
#[derive(Default)]
pub(super) struct LongBodies<'b> {
    bodies: BTreeMap<(Shard, Digest), (&'b [u8], i32)>,
}

impl<'b> LongBodies<'b> {
    pub(super) fn push(&mut self, shard: Shard, digest: Digest, bytes: &'b [u8], form: i32) {
        self.bodies.insert((shard, digest), (bytes, form));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Writes them one by one: they are few, and each is long.
    pub(super) async fn insert(&self, connection: &mut PgConnection, speech: Speech) -> Result<(), Failure> {
        for ((shard, digest), (bytes, form)) in &self.bodies {
            let insert = speech.statement(sql::INSERT_BLOB).bind(shard).bind(digest.0.as_slice()).bind(*bytes).bind(form);
            insert.execute(&mut *connection).await?;
        }
        Ok(())
    }
}
