//! Rows to be written, as the columns in which they travel: one array per column, one statement per table.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;
use uuid::Uuid;

use super::super::append::{Ownership, Seal};
use super::super::content::Laid;
use super::super::statements::postgres as sql;
use super::super::{Append, Directory, Shard, StoreError};
use super::commit::{Failure, Speech};
use super::decode::Head;
use crate::session::{Digest, NewEvent, Seq, SessionId};

/// A statement with its parameters.
type Statement = Query<'static, Postgres, PgArguments>;

/// A count as the database holds it. Validation and the tables keep counts below 2⁶³.
fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Text that the database takes: it cannot hold the character NUL.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

fn statement(text: &'static str, speech: Speech) -> Statement {
    sqlx::query(text).persistent(speech.keeps_statements)
}

/// A session that begins.
pub(super) struct Begun<'b> {
    pub(super) shard: Shard,
    pub(super) session: SessionId,
    head: Head,
    owner: Option<Uuid>,
    created_at: i64,
    updated_at: i64,
    directory: Cow<'b, Directory>,
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

    pub(super) fn insert(rows: &[Self], speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => Self::bind(rows, statement(sql::BEGIN_SESSIONS_ROUTED, speech)).bind(shard),
            None => Self::bind(rows, statement(sql::BEGIN_SESSIONS, speech)),
        }
    }

    /// Binds the columns of `rows`.
    pub(super) fn bind(rows: &[Self], query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| rows.iter().map(|row| stored(pick(&row.directory))).collect::<Vec<_>>();
        query
            .bind(rows.iter().map(|row| row.shard).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.session.as_uuid()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.head.seq.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.head.hash.0.to_vec()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.head.epoch.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.owner).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.created_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| text(&row.directory.phase).into_owned()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.due).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| text(&row.directory.origin).into_owned()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.title.as_deref().map(|title| text(title).into_owned())).collect::<Vec<_>>())
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(rows.iter().map(|row| row.directory.cost_micro_usd.map(stored)).collect::<Vec<_>>())
    }
}

/// A session whose head moves.
pub(super) struct Moved<'b> {
    pub(super) shard: Shard,
    pub(super) session: SessionId,
    /// Where it stood when it was seen.
    old: Head,
    new: Head,
    owner: Option<Uuid>,
    updated_at: i64,
    /// `None` where the directory stays.
    directory: Option<&'b Directory>,
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

    pub(super) fn update(rows: &[Self], speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => Self::bind(rows, statement(sql::MOVE_SESSIONS_ROUTED, speech)).bind(shard),
            None => Self::bind(rows, statement(sql::MOVE_SESSIONS, speech)),
        }
    }

    /// Binds the values of this row alone.
    pub(super) fn bind_one(&self, query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| self.directory.map(|directory| stored(pick(directory)));
        query
            .bind(self.shard)
            .bind(self.session.as_uuid())
            .bind(stored(self.new.seq.0))
            .bind(self.new.hash.0.to_vec())
            .bind(self.updated_at)
            .bind(stored(self.new.epoch.0))
            .bind(self.owner)
            .bind(self.directory.map(|directory| text(&directory.phase).into_owned()))
            .bind(self.directory.map(|directory| directory.due))
            .bind(self.directory.map(|directory| text(&directory.origin).into_owned()))
            .bind(self.directory.and_then(|directory| directory.title.as_deref().map(|title| text(title).into_owned())))
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(self.directory.and_then(|directory| directory.cost_micro_usd.map(stored)))
            .bind(stored(self.old.seq.0))
            .bind(stored(self.old.epoch.0))
    }

    /// Binds the columns of `rows`.
    pub(super) fn bind(rows: &[Self], query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| {
            rows.iter().map(|row| row.directory.map(|directory| stored(pick(directory)))).collect::<Vec<_>>()
        };
        let title = |directory: &Directory| directory.title.as_deref().map(|title| text(title).into_owned());
        query
            .bind(rows.iter().map(|row| row.shard).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.session.as_uuid()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.old.seq.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.old.epoch.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.new.seq.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.new.hash.0.to_vec()).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.updated_at).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| stored(row.new.epoch.0)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.owner).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.map(|directory| text(&directory.phase).into_owned())).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.map(|directory| directory.due)).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.map(|directory| text(&directory.origin).into_owned())).collect::<Vec<_>>())
            .bind(rows.iter().map(|row| row.directory.and_then(title)).collect::<Vec<_>>())
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(
                rows.iter()
                    .map(|row| row.directory.and_then(|directory| directory.cost_micro_usd.map(stored)))
                    .collect::<Vec<_>>(),
            )
    }
}

fn owner(ownership: Ownership) -> Option<Uuid> {
    match ownership {
        Ownership::Stays => None,
        Ownership::Passes { node, .. } => Some(node.as_uuid()),
    }
}

/// Events, a column each.
#[derive(Default)]
pub(super) struct Events<'b> {
    shard: Vec<Shard>,
    session: Vec<Uuid>,
    seq: Vec<i64>,
    pos: Vec<i64>,
    id: Vec<Uuid>,
    kind: Vec<&'b str>,
    v: Vec<i32>,
    at: Vec<i64>,
    source: Vec<&'static str>,
    cause: Vec<Option<i64>>,
    must_understand: Vec<bool>,
    body: Vec<Option<&'b str>>,
    blob: Vec<Option<Vec<u8>>>,
    salt: Vec<Option<Vec<u8>>>,
    hash: Vec<Vec<u8>>,
}

impl<'b> Events<'b> {
    /// Adds one, whose position is not known yet.
    #[expect(clippy::too_many_arguments, reason = "an event with all that is known of where it stands")]
    pub(super) fn push(
        &mut self,
        shard: Shard,
        session: SessionId,
        seq: Seq,
        event: &'b NewEvent,
        seal: &'b Seal,
        laid: &'b Laid,
        hash: Digest,
    ) {
        self.shard.push(shard);
        self.session.push(session.as_uuid());
        self.seq.push(stored(seq.0));
        self.id.push(event.id.as_uuid());
        self.kind.push(event.kind.as_str());
        self.v.push(i32::from(event.v));
        self.at.push(event.at.0);
        self.source.push(event.source.as_str());
        self.cause.push(event.cause.map(|cause| stored(cause.0)));
        self.must_understand.push(event.must_understand);
        self.body.push(laid.text(&event.body));
        self.blob.push(laid.apart(&event.body).map(|(digest, ..)| digest.0.to_vec()));
        self.salt.push(laid.salt(&seal.salt).map(|salt| salt.to_vec()));
        self.hash.push(hash.0.to_vec());
    }

    /// Binds the columns of events whose session is known from elsewhere and whose bodies are all short.
    pub(super) fn bind_of_one(self, query: Statement) -> Statement {
        query
            .bind(self.seq)
            .bind(self.pos)
            .bind(self.id)
            .bind(self.kind)
            .bind(self.v)
            .bind(self.at)
            .bind(self.source)
            .bind(self.cause)
            .bind(self.must_understand)
            .bind(self.body)
            .bind(self.salt)
            .bind(self.hash)
    }

    /// Binds what the row of its session does not say of the only event, whose body is short.
    pub(super) fn bind_only(&self, query: Statement) -> Statement {
        query
            .bind(self.id.first().copied())
            .bind(self.kind.first().copied())
            .bind(self.v.first().copied())
            .bind(self.source.first().copied())
            .bind(self.cause.first().copied().flatten())
            .bind(self.must_understand.first().copied())
            .bind(self.body.first().copied().flatten())
            .bind(self.salt.first().and_then(Option::as_deref))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.id.len()
    }

    /// Gives each its position: the next one of its shard, whose last ones are `ends`.
    pub(super) fn place(&mut self, ends: &mut BTreeMap<Shard, i64>) -> Result<(), Failure> {
        self.pos.clear();
        for shard in &self.shard {
            let Some(end) = ends.get_mut(shard) else {
                let what = format!("shard {shard} has no row; the store's table of shards is not whole");
                return Err(Failure::Damaged(StoreError::Unavailable(what.into())));
            };
            *end += 1;
            self.pos.push(*end);
        }
        Ok(())
    }

    /// For each, which of `shards` it belongs to: 1 is the first.
    pub(super) fn places(&self, shards: &BTreeMap<Shard, i64>) -> Vec<i32> {
        let places: BTreeMap<Shard, i32> = shards.keys().copied().zip(1..).collect();
        self.shard.iter().filter_map(|shard| places.get(shard).copied()).collect()
    }

    pub(super) fn insert(self, speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => self.bind(statement(sql::INSERT_EVENTS_ROUTED, speech)).bind(shard),
            None => self.bind(statement(sql::INSERT_EVENTS, speech)),
        }
    }

    /// Binds the columns.
    pub(super) fn bind(self, query: Statement) -> Statement {
        query
            .bind(self.shard)
            .bind(self.session)
            .bind(self.seq)
            .bind(self.pos)
            .bind(self.id)
            .bind(self.kind)
            .bind(self.v)
            .bind(self.at)
            .bind(self.source)
            .bind(self.cause)
            .bind(self.must_understand)
            .bind(self.body)
            .bind(self.blob)
            .bind(self.salt)
            .bind(self.hash)
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
            let insert = statement(sql::INSERT_BLOB, speech).bind(shard).bind(digest.0.as_slice()).bind(*bytes).bind(form);
            insert.execute(&mut *connection).await?;
        }
        Ok(())
    }
}
