//! Rows that travel as columns: one array of values for each, which every kind of server takes.

use sqlx::postgres::PgBindIterExt as _;

use super::super::statements::postgres as sql;
use super::super::{Directory, Shard};
use super::commit::{Speech, Statement};
use super::records::Json;
use super::rows::{Begun, EventRow, Events, Moved, stored, text};

impl Begun<'_> {
    pub(super) fn insert(rows: &[Self], speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => Self::bind(rows, speech.statement(sql::BEGIN_SESSIONS_ROUTED)).bind(shard),
            None => Self::bind(rows, speech.statement(sql::BEGIN_SESSIONS)),
        }
    }

    fn bind(rows: &[Self], query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| rows.iter().map(move |row| stored(pick(&row.directory))).bind_iter();
        query
            .bind(rows.iter().map(|row| row.shard).bind_iter())
            .bind(rows.iter().map(|row| row.session.as_uuid()).bind_iter())
            .bind(rows.iter().map(|row| stored(row.head.seq.0)).bind_iter())
            .bind(rows.iter().map(|row| row.head.hash.0).bind_iter())
            .bind(rows.iter().map(|row| stored(row.head.epoch.0)).bind_iter())
            .bind(rows.iter().map(|row| row.owner).bind_iter())
            .bind(rows.iter().map(|row| row.created_at).bind_iter())
            .bind(rows.iter().map(|row| row.updated_at).bind_iter())
            .bind(rows.iter().map(|row| text(&row.directory.phase)).bind_iter())
            .bind(rows.iter().map(|row| row.directory.due).bind_iter())
            .bind(rows.iter().map(|row| text(&row.directory.origin)).bind_iter())
            .bind(rows.iter().map(|row| row.directory.title.as_deref().map(text)).bind_iter())
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(rows.iter().map(|row| row.directory.cost_micro_usd.map(stored)).bind_iter())
    }
}

impl Moved<'_> {
    pub(super) fn update(rows: &[Self], speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => Self::bind(rows, speech.statement(sql::MOVE_SESSIONS_ROUTED)).bind(shard),
            None => Self::bind(rows, speech.statement(sql::MOVE_SESSIONS)),
        }
    }

    /// Binds the values of this row alone.
    pub(super) fn bind_one(&self, query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| self.directory.map(|directory| stored(pick(directory)));
        query
            .bind(self.shard)
            .bind(self.session.as_uuid())
            .bind(stored(self.new.seq.0))
            .bind(self.new.hash.0)
            .bind(self.updated_at)
            .bind(stored(self.new.epoch.0))
            .bind(self.owner)
            .bind(self.directory.map(|directory| text(&directory.phase)))
            .bind(self.directory.map(|directory| directory.due))
            .bind(self.directory.map(|directory| text(&directory.origin)))
            .bind(self.directory.and_then(|directory| directory.title.as_deref().map(text)))
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(self.directory.and_then(|directory| directory.cost_micro_usd.map(stored)))
            .bind(stored(self.old.seq.0))
            .bind(stored(self.old.epoch.0))
    }

    fn bind(rows: &[Self], query: Statement) -> Statement {
        let of = |pick: fn(&Directory) -> u64| {
            rows.iter().map(move |row| row.directory.map(|directory| stored(pick(directory)))).bind_iter()
        };
        query
            .bind(rows.iter().map(|row| row.shard).bind_iter())
            .bind(rows.iter().map(|row| row.session.as_uuid()).bind_iter())
            .bind(rows.iter().map(|row| stored(row.old.seq.0)).bind_iter())
            .bind(rows.iter().map(|row| stored(row.old.epoch.0)).bind_iter())
            .bind(rows.iter().map(|row| stored(row.new.seq.0)).bind_iter())
            .bind(rows.iter().map(|row| row.new.hash.0).bind_iter())
            .bind(rows.iter().map(|row| row.updated_at).bind_iter())
            .bind(rows.iter().map(|row| stored(row.new.epoch.0)).bind_iter())
            .bind(rows.iter().map(|row| row.owner).bind_iter())
            .bind(rows.iter().map(|row| row.directory.map(|directory| text(&directory.phase))).bind_iter())
            .bind(rows.iter().map(|row| row.directory.map(|directory| directory.due)).bind_iter())
            .bind(rows.iter().map(|row| row.directory.map(|directory| text(&directory.origin))).bind_iter())
            .bind(rows.iter().map(|row| row.directory.and_then(|directory| directory.title.as_deref().map(text))).bind_iter())
            .bind(of(|directory| directory.actions))
            .bind(of(|directory| directory.messages))
            .bind(of(|directory| directory.errors))
            .bind(of(|directory| directory.tokens))
            .bind(rows.iter().map(|row| row.directory.and_then(|directory| directory.cost_micro_usd.map(stored))).bind_iter())
    }
}

impl EventRow<'_> {
    /// Binds what the row of its session does not say of an only event, whose body is short.
    pub(super) fn bind_only(&self, query: Statement) -> Statement {
        query
            .bind(self.id)
            .bind(self.kind)
            .bind(self.v)
            .bind(self.source)
            .bind(self.cause)
            .bind(self.must_understand)
            .bind(self.body.map(Json))
            .bind(self.salt)
    }
}

impl Events<'_> {
    pub(super) fn insert(&self, speech: Speech, routed: Option<Shard>) -> Statement {
        match routed {
            Some(shard) => self.bind(speech.statement(sql::INSERT_EVENTS_ROUTED)).bind(shard),
            None => self.bind(speech.statement(sql::INSERT_EVENTS)),
        }
    }

    fn bind(&self, query: Statement) -> Statement {
        let rows = &self.0;
        query
            .bind(rows.iter().map(|row| row.shard).bind_iter())
            .bind(rows.iter().map(|row| row.session).bind_iter())
            .bind(rows.iter().map(|row| row.seq).bind_iter())
            .bind(rows.iter().map(|row| row.pos).bind_iter())
            .bind(rows.iter().map(|row| row.id).bind_iter())
            .bind(rows.iter().map(|row| row.kind).bind_iter())
            .bind(rows.iter().map(|row| row.v).bind_iter())
            .bind(rows.iter().map(|row| row.at).bind_iter())
            .bind(rows.iter().map(|row| row.source).bind_iter())
            .bind(rows.iter().map(|row| row.cause).bind_iter())
            .bind(rows.iter().map(|row| row.must_understand).bind_iter())
            .bind(rows.iter().map(|row| row.body).bind_iter())
            .bind(rows.iter().map(|row| row.blob).bind_iter())
            .bind(rows.iter().map(|row| row.salt).bind_iter())
            .bind(rows.iter().map(|row| row.hash).bind_iter())
    }
}
