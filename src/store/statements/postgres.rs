//! Statements of PostgreSQL alone: its hot paths, and what only it has.
//!
//! Where a batch may touch many shards there are two forms of a statement: one for a single server, and a routed one that names one
//! shard in `$1`, so that a distributed database sends it to the one worker that has it.

/// Begins a transaction that writes.
pub const BEGIN: &str = "begin isolation level read committed";
/// Begins one that only reads.
pub const BEGIN_READ: &str = "begin isolation level read committed read only";
/// Makes a transaction durable.
pub const COMMIT: &str = "commit";
/// Takes a transaction back.
pub const ROLLBACK: &str = "rollback";
/// Asks for durable commits where the server would answer before the disk does.
pub const DURABLE: &str = "set synchronous_commit = on";
/// Begins a transaction that writes and asks for its durable commit.
pub const BEGIN_DURABLE: &str = "begin isolation level read committed; set local synchronous_commit = on";
/// Ends a session that somebody abandoned inside a transaction, before it holds up everybody else.
pub const NO_IDLE_TRANSACTIONS: &str = "set idle_in_transaction_session_timeout = '60s'";
/// What a connection leads to: a standby, and whether commits wait for the disk.
pub const SERVER: &str = "select pg_is_in_recovery(), current_setting('synchronous_commit')";
/// The database's clock, in microseconds.
pub const NOW: &str = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)";
macro_rules! tables {
    () => {
        "where relkind = 'r' and relnamespace = (select relnamespace from pg_class where oid = 'event'::regclass) \
         and pg_class.relname in ('store', 'shard', 'session', 'event', 'blob', 'snapshot', 'node', 'checkpoint', 'document', \
         'quarantine', 'hole', 'inbox', 'blob_session')"
    };
}
/// What the tables and their indexes take.
pub const BYTES: &str = concat!("select cast(coalesce(sum(pg_total_relation_size(oid)), 0) as bigint) from pg_class ", tables!());
/// What they take where they are distributed; servers that are away are left out.
pub const BYTES_DISTRIBUTED: &str = "select cast(coalesce(sum(citus_total_relation_size(logicalrelid, false)), 0) as bigint) \
     from pg_dist_partition";
/// What the whole database takes.
pub const DATABASE_BYTES: &str = "select pg_database_size(current_database())";
/// What each table takes, how many rows it has, and how many of them are dead, as far as the statistics know.
pub const TABLE_ROWS: &str = concat!(
    "select pg_class.relname::text, pg_total_relation_size(pg_class.oid), coalesce(n_live_tup, 0), coalesce(n_dead_tup, 0) \
     from pg_class left join pg_stat_user_tables on relid = pg_class.oid ",
    tables!(),
    " order by 1"
);
/// What keeps dead rows: open transactions of clients, prepared ones, replication slots. Never what they do, which may be secret.
pub const HOLDERS: &str = "select 'transaction', application_name, pid, coalesce(state, ''), \
     cast(extract(epoch from clock_timestamp() - xact_start) * 1000000 as bigint) as open_for, \
     cast(coalesce(greatest(age(backend_xid), age(backend_xmin)), 0) as bigint) as transactions \
     from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' \
     and xact_start is not null \
     union all select 'prepared', gid, null, null, cast(extract(epoch from clock_timestamp() - prepared) * 1000000 as bigint), \
     cast(age(transaction) as bigint) from pg_prepared_xacts where database = current_database() \
     union all select 'slot', slot_name::text, null, null, null, cast(greatest(age(xmin), age(catalog_xmin)) as bigint) \
     from pg_replication_slots where xmin is not null or catalog_xmin is not null \
     order by open_for desc nulls last, transactions desc limit 20";
/// Makes the room of dead rows free again, table by table.
pub const COMPACT: &str = "vacuum (analyze) store, shard, session, event, blob, snapshot, node, checkpoint, document, quarantine, \
     hole, inbox, blob_session";
/// The server and its version.
pub const VERSION: &str = "select 'PostgreSQL ' || current_setting('server_version')";
/// The server, what distributes its tables, and their versions.
pub const VERSION_DISTRIBUTED: &str = "select 'PostgreSQL ' || current_setting('server_version') || ', Citus ' || extversion \
     from pg_extension where extname = 'citus'";
/// Whether there is a store in this database; false where its tables are not.
pub const HAS_STORE: &str = "select to_regclass('store') is not null and to_regclass('event') is not null";
/// The format of the tables and the number of shards.
pub const FORMAT: &str = "select format, shards from store";
/// Notes that a migration was done, as sqlx does.
pub const NOTE_MIGRATION: &str = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
     values ($1, $2, true, $3, 0)";
/// Makes the store's own row.
pub const INSERT_STORE: &str = "insert into store (format, shards, created_at) values ($1, $2, $3)";
/// Makes the rows of all shards.
pub const INSERT_SHARDS: &str = "insert into shard (shard, head_pos) select generate_series(0, $1 - 1), 0";
/// Whether tables can be distributed here.
pub const HAS_CITUS: &str = "select exists (select 1 from pg_extension where extname = 'citus')";
/// Distributes a table by its shard, together with the table of shards, unless it is.
pub const DISTRIBUTE: &str = "select create_distributed_table($1::regclass, 'shard', colocate_with => $2) \
     where not exists (select 1 from pg_dist_partition where logicalrelid = $1::regclass)";
/// Copies the store's own row, which is read and hardly ever written, to every server.
pub const COPY_EVERYWHERE: &str = "select create_reference_table('store') \
     where not exists (select 1 from pg_dist_partition where logicalrelid = 'store'::regclass)";
/// Lets every server reach the leases, which stay on the coordinator: copied to all servers, none could be renewed while one is away.
pub const REACH_LEASES: &str = "select citus_add_local_table_to_metadata('node') \
     where exists (select 1 from pg_dist_node where groupid = 0) \
     and not exists (select 1 from pg_dist_partition where logicalrelid = 'node'::regclass)";
/// Whether the tables are distributed.
pub const IS_DISTRIBUTED: &str = "select exists (select 1 from pg_dist_partition where logicalrelid = 'event'::regclass)";
/// A ring need not reach the disk: without this each would be one more flush that appends wait for.
pub const RING_IN_MEMORY: &str = "set synchronous_commit = off";
/// Rings for sessions.
pub const RING: &str = "select pg_notify($1, $2)";

/// Where sessions stand.
pub const HEADS: &str = "select session.session_id, session.head_seq, session.head_hash, session.epoch, \
     session.purged_at is not null from session join unnest($1::integer[], $2::uuid[]) as wanted (shard, session_id) \
     on session.shard = wanted.shard and session.session_id = wanted.session_id";
/// Where one session stands, locked until the transaction ends.
pub const HEAD_LOCKED: &str = "select session_id, head_seq, head_hash, epoch, purged_at is not null from session \
     where shard = $1 and session_id = $2 for update";
/// Where sessions of one shard stand.
pub const HEADS_ROUTED: &str = "select session_id, head_seq, head_hash, epoch, purged_at is not null from session \
     where shard = $1 and session_id = any($2::uuid[])";

/// The minute of a moment, which whoever writes `updated_at` writes as `updated_minute`: counted by the database (a generated column), it
/// is parsed and planned anew in every statement.
macro_rules! minute_of {
    ($at:literal) => {
        concat!("cast(", $at, " as bigint) / 60000000")
    };
}
macro_rules! columns_of_begun {
    () => {
        "shard, session_id, head_seq, head_hash, epoch, owner, created_at, updated_at, phase, due, origin, title, actions, \
         messages, errors, tokens, cost_micro_usd"
    };
}
macro_rules! begin_sessions {
    () => {
        concat!("insert into session (", columns_of_begun!(), ", updated_minute) ")
    };
}
macro_rules! begun_as_columns {
    () => {
        concat!(
            "unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bigint[], $6::uuid[], $7::bigint[], $8::bigint[], \
             $9::text[], $10::boolean[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], \
             $17::bigint[]) as new (",
            columns_of_begun!(),
            ")"
        )
    };
}
/// Begins sessions.
pub const BEGIN_SESSIONS: &str =
    concat!(begin_sessions!(), "select new.*, ", minute_of!("new.updated_at"), " from ", begun_as_columns!());
/// The same for sessions of the shard `$18`; that its row takes part is what lets the whole be sent to the worker that has it.
pub const BEGIN_SESSIONS_ROUTED: &str = concat!(
    begin_sessions!(),
    "select shard.shard, new.session_id, new.head_seq, new.head_hash, new.epoch, new.owner, new.created_at, new.updated_at, \
     new.phase, new.due, new.origin, new.title, new.actions, new.messages, new.errors, new.tokens, new.cost_micro_usd, ",
    minute_of!("new.updated_at"),
    " from shard, ",
    begun_as_columns!(),
    " where shard.shard = $18"
);

macro_rules! move_heads {
    () => {
        concat!(
            "update session set head_seq = moved.head_seq, head_hash = moved.head_hash, updated_at = moved.updated_at, \
             updated_minute = ",
            minute_of!("moved.updated_at"),
            ", epoch = moved.epoch, owner = coalesce(moved.owner, session.owner), phase = coalesce(moved.phase, session.phase), \
             due = coalesce(moved.due, session.due), origin = coalesce(moved.origin, session.origin), \
             title = case when moved.phase is null then session.title else moved.title end, \
             actions = coalesce(moved.actions, session.actions), messages = coalesce(moved.messages, session.messages), \
             errors = coalesce(moved.errors, session.errors), tokens = coalesce(moved.tokens, session.tokens), \
             cost_micro_usd = case when moved.phase is null then session.cost_micro_usd else moved.cost_micro_usd end "
        )
    };
}
macro_rules! stands_where_seen {
    () => {
        "session.session_id = moved.session_id and session.head_seq = moved.old_seq and session.epoch = moved.old_epoch"
    };
}
macro_rules! move_sessions {
    () => {
        concat!(
            move_heads!(),
            "from unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bigint[], \
             $8::bigint[], $9::uuid[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::bigint[], $15::bigint[], \
             $16::bigint[], $17::bigint[], $18::bigint[]) as moved (shard, session_id, old_seq, old_epoch, head_seq, head_hash, \
             updated_at, epoch, owner, phase, due, origin, title, actions, messages, errors, tokens, cost_micro_usd) "
        )
    };
}
/// Moves the heads of sessions that still stand where they were seen.
pub const MOVE_SESSIONS: &str = concat!(move_sessions!(), "where session.shard = moved.shard and ", stands_where_seen!());
/// The same for sessions of the shard `$19`.
pub const MOVE_SESSIONS_ROUTED: &str = concat!(move_sessions!(), "where session.shard = $19 and ", stands_where_seen!());

macro_rules! event_columns_of_table {
    () => {
        "shard, session_id, seq, pos, event_id, kind, v, at, source, cause, must_understand, body, blob, salt, digest, hash"
    };
}
macro_rules! session_columns_of_table {
    () => {
        "shard, session_id, name, head_seq, head_hash, epoch, owner, phase, due, origin, title, actions, messages, errors, tokens, \
         cost_micro_usd, created_at, updated_at, hold, purged_at, base_session, base_seq, packed_seq, updated_minute"
    };
}
/// The columns of table `event` in its order, which is that of a row in an array of them.
pub const EVENT_COLUMNS: &str = event_columns_of_table!();
/// The same of table `session`.
pub const SESSION_COLUMNS: &str = session_columns_of_table!();

/// Those of an event whose body stands beside it.
macro_rules! columns_of_new {
    () => {
        "shard, session_id, seq, pos, event_id, kind, v, at, source, cause, must_understand, body, salt, hash"
    };
}
macro_rules! commit_batch {
    ($begin:expr, $begun:literal) => {
        concat!(
            "with moved as (",
            move_heads!(),
            "from unnest($1::session[], $2::bigint[], $3::bigint[]) as moved (",
            session_columns_of_table!(),
            ", old_seq, old_epoch) where session.shard = moved.shard and ",
            stands_where_seen!(),
            " returning 1), ",
            $begin,
            "taken as (update shard set head_pos = shard.head_pos + wanted.count \
             from unnest($4::integer[], $5::bigint[]) as wanted (shard, count) where shard.shard = wanted.shard \
             and 1 / (case when (select count(*) from moved) = $6 ",
            $begun,
            "then 1 else 0 end) = 1 returning shard.shard, shard.head_pos - wanted.count as base), bases as (\
             select array_agg(base order by shard) as base from taken \
             having 1 / (case when count(*) = cardinality($4) then 1 else 0 end) = 1) \
             insert into event (",
            columns_of_new!(),
            ") select new.shard, new.session_id, new.seq, (select base from bases)[new.place] + new.pos, new.event_id, new.kind, \
             new.v, new.at, new.source, new.cause, new.must_understand, new.body, new.salt, new.hash \
             from unnest($7::event[], $8::integer[]) as new (",
            event_columns_of_table!(),
            ", place)"
        )
    };
}
/// All that a batch writes on a single server, in one statement, which is its own transaction: the heads of sessions that still stand
/// where they were seen, sessions that begin, positions, events. It fails, and leaves nothing, by dividing by zero when some
/// session does not stand where it was seen, or some shard has no row. The sessions are locked before the shards, as everywhere, and
/// both in the order in which they are given; should the server ever choose another, its deadlock is one more thing to try again after.
pub const COMMIT_AT_ONCE: &str = commit_batch!(
    concat!(
        "begun as (",
        begin_sessions!(),
        "select ",
        columns_of_begun!(),
        ", ",
        minute_of!("updated_at"),
        " from unnest($9::session[]) returning 1), "
    ),
    "and (select count(*) from begun) = $10 "
);
/// The same for sessions that are all there already, as nearly always: to be ready to begin some takes a while by itself.
pub const COMMIT_MOVES: &str = commit_batch!("", "");
macro_rules! move_one_session {
    () => {
        concat!(
            "with moved as (update session set head_seq = $3, head_hash = $4, updated_at = $5, updated_minute = ",
            minute_of!("$5"),
            ", epoch = $6, \
             owner = coalesce($7, owner), phase = coalesce($8, phase), due = coalesce($9, due), origin = coalesce($10, origin), \
             title = case when $8 is null then title else $11 end, actions = coalesce($12, actions), \
             messages = coalesce($13, messages), errors = coalesce($14, errors), tokens = coalesce($15, tokens), \
             cost_micro_usd = case when $8 is null then cost_micro_usd else $16 end \
             where shard = $1 and session_id = $2 and head_seq = $17 and epoch = $18 returning 1), "
        )
    };
}
/// The same for one session that is there already: no session at that place, nothing written.
pub const COMMIT_ONE: &str = concat!(
    move_one_session!(),
    "taken as (update shard set head_pos = head_pos + $19 where shard = $1 and exists (select 1 from moved) \
     returning head_pos - $19 as base) ",
    "insert into event (",
    columns_of_new!(),
    ") select $1, $2, new.seq, taken.base + new.pos, new.event_id, new.kind, new.v, new.at, new.source, new.cause, \
     new.must_understand, new.body, new.salt, new.hash from taken, unnest($20::event[]) as new"
);
/// The same for one event, which is where its session then stands. Without arrays it takes about 0.7 of the time.
pub const COMMIT_EVENT: &str = concat!(
    move_one_session!(),
    "taken as (update shard set head_pos = head_pos + 1 where shard = $1 and exists (select 1 from moved) returning head_pos) ",
    "insert into event (",
    columns_of_new!(),
    ") select $1, $2, $3, taken.head_pos, $19, $20, $21, $5, $22, $23, $24, $25::json, $26, $4 from taken"
);
/// What a committer's statements touch, they touch by key; statistics of a table that was empty a moment ago must not say otherwise,
/// and planning anew each time would take longer than the work.
pub const BY_KEY: &str = "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; \
     set plan_cache_mode = force_generic_plan";

/// Lets the server compress long bodies with LZ4 where it was built with it: its older method takes several times as long.
pub const COMPRESS_FAST: &str = "select set_config(name, 'lz4', false) from pg_settings \
     where name = 'default_toast_compression' and 'lz4' = any(enumvals)";

/// Takes positions in the feeds of shards. Their rows are locked in one order by all, so that no two wait for each other, and until
/// the commit, so that positions follow the order of commits.
pub const TAKE_POSITIONS: &str = "update shard set head_pos = shard.head_pos + taken.count from (select shard.shard, wanted.count \
     from shard join unnest($1::integer[], $2::bigint[]) as wanted (shard, count) on shard.shard = wanted.shard \
     order by shard.shard for update of shard) as taken where shard.shard = taken.shard returning shard.shard, shard.head_pos";
/// Takes positions in the feed of one shard.
pub const TAKE_POSITIONS_ROUTED: &str = "update shard set head_pos = head_pos + $2 where shard = $1 returning shard, head_pos";

/// Begins a fork.
pub const BEGIN_FORK: &str = begin_fork!(", updated_minute", concat!(", ", minute_of!("$6")));
/// Moves the head of a session of another store.
pub const MOVE_ADOPTED: &str = move_adopted!(concat!(", updated_minute = ", minute_of!("$5")));
/// Makes a session what it is in another store.
pub const SETTLE: &str = settle!(concat!(", updated_minute = ", minute_of!("$16")));
/// Writes an event of another store, as it is there.
pub const INSERT_EVENT_ROW: &str = "insert into event (pos, shard, session_id, seq, event_id, kind, v, at, source, cause, \
     must_understand, body, blob, salt, digest, hash) \
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, cast($12 as text)::json, $13, $14, $15, $16)";
/// The same for one.
pub const INSERT_BLOB: &str = "insert into blob (shard, digest, bytes, form) values ($1, $2, $3, $4) \
     on conflict (shard, digest) do update set digest = excluded.digest";
/// Whether the session was purged that a fork goes on from; it stays so until the transaction ends.
pub const KEEP_BASE: &str = "select purged_at is not null from session where shard = $1 and session_id = $2 for share";
/// Locks content that is to be removed.
pub const LOCK_BLOB: &str = "select digest from blob where shard = $1 and digest = $2 for update";

macro_rules! insert_events {
    ($shard:literal, $from:literal) => {
        concat!(
            "insert into event (shard, session_id, seq, pos, event_id, kind, v, at, source, cause, must_understand, body, blob, \
             salt, hash) select ",
            $shard,
            ", new.session_id, new.seq, new.pos, new.event_id, new.kind, new.v, new.at, new.source, new.cause, \
             new.must_understand, new.body::json, new.blob, new.salt, new.hash from ",
            $from,
            "unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bigint[], $5::uuid[], $6::text[], $7::integer[], $8::bigint[], \
             $9::text[], $10::bigint[], $11::boolean[], $12::text[], $13::bytea[], $14::bytea[], $15::bytea[]) with ordinality \
             as new (shard, session_id, seq, pos, event_id, kind, v, at, source, cause, must_understand, body, blob, salt, hash, \
             place) "
        )
    };
}
/// Writes events.
pub const INSERT_EVENTS: &str = concat!(insert_events!("new.shard", ""), "order by new.place");
/// Writes events of the shard `$16`, whose row takes part for the same reason.
pub const INSERT_EVENTS_ROUTED: &str = concat!(insert_events!("shard.shard", "shard, "), "where shard.shard = $16");

macro_rules! columns_of_place {
    () => {
        "event.seq, event.event_id, event.kind, event.v, event.at, event.source, event.cause, event.must_understand, \
         event.body, event.blob, event.salt, event.digest, event.hash"
    };
}
macro_rules! columns_of_event {
    () => {
        concat!(columns_of_place!(), ", event.session_id, event.pos")
    };
}
macro_rules! event_columns {
    () => {
        concat!("select ", columns_of_event!(), " from event ")
    };
}
/// Whoever asks for one session knows which it is: a column more of each row is not for nothing.
macro_rules! columns_of_session {
    () => {
        concat!("select ", columns_of_place!(), " from event ")
    };
}
macro_rules! session_columns {
    () => {
        "select session_id, name, head_seq, head_hash, epoch, owner, created_at, updated_at, phase, due, origin, title, \
         actions, messages, errors, tokens, cost_micro_usd, base_session, base_seq from session "
    };
}

/// Finds events by their ids.
pub const EVENTS_BY_ID: &str = concat!(event_columns!(), "where shard = $1 and event_id = any($2::uuid[])");
/// Reads a session forward.
pub const EVENTS_FORWARD: &str =
    concat!(columns_of_session!(), "where shard = $1 and session_id = $2 and seq > $3 and seq <= $4 order by seq limit $5");
/// Reads a session backward.
pub const EVENTS_BACKWARD: &str =
    concat!(columns_of_session!(), "where shard = $1 and session_id = $2 and seq > $3 and seq <= $4 order by seq desc limit $5");
/// How far the feed of each shard goes.
pub const FEED_HEADS: &str = "select shard, head_pos from shard";
/// Reads the feed of one shard.
pub const FEED: &str = concat!(event_columns!(), "where shard = $1 and pos > $2 and pos <= $3 order by pos limit $4");
/// Reads the feeds of many shards that have little each, `$4` events of each at most; beside each event, which of them it is of.
pub const FEED_OF_SHARDS: &str = concat!(
    "select ",
    columns_of_event!(),
    ", wanted.place from unnest($1::integer[], $2::bigint[], $3::bigint[]) with ordinality as wanted (shard, after, upto, place), \
     lateral (select * from event where event.shard = wanted.shard and event.pos > wanted.after and event.pos <= wanted.upto \
     order by event.pos limit $4) as event order by wanted.place, event.pos"
);
/// How many positions between two were purged.
pub const HOLES: &str = "select cast(coalesce(sum(least(last_pos, $3) - greatest(first_pos, $2) + 1), 0) as bigint) from hole \
     where shard = $1 and last_pos >= $2 and first_pos <= $3";
/// Reads a long body.
pub const LONG_BODY: &str = "select bytes, form from blob where shard = $1 and digest = $2";
/// Reads segments.
pub const SEGMENTS: &str = "select digest, bytes, form from blob where shard = $1 and digest = any($2) and form in ($3, $4)";

/// Reads one session's row.
pub const SESSION: &str = concat!(session_columns!(), "where shard = $1 and session_id = $2");
/// Lists all sessions.
pub const SESSIONS: &str = concat!(session_columns!(), "order by updated_minute desc, updated_at desc, session_id desc limit $1");
/// Lists sessions that need a worker.
pub const SESSIONS_DUE: &str = concat!(session_columns!(), "where due order by updated_at desc, session_id desc limit $1");
/// Lists sessions by the beginning of their id.
pub const SESSIONS_BETWEEN: &str =
    concat!(session_columns!(), "where session_id between $2 and $3 order by updated_at desc, session_id desc limit $1");

/// Indexes events, given as JSON, but those whose body is gone by now.
pub const INDEX: &str = "insert into search_entry (shard, pos, at, words) \
     select event.shard, event.pos, event.at, entry.words::tsvector \
     from json_to_recordset($2::text::json) as entry (pos bigint, words text) \
     join event on event.shard = $1 and event.pos = entry.pos where event.shard = $1 and event.salt is not null \
     on conflict (shard, pos) do nothing";
/// Notes which models events name, given as JSON with their places, in their sessions.
pub const INDEX_MODELS: &str = "insert into search_model (shard, session_id, label) \
     select distinct event.shard, event.session_id, entry.label \
     from json_to_recordset($2::text::json) as entry (pos bigint, label text) \
     join event on event.shard = $1 and event.pos = entry.pos where event.shard = $1 and event.salt is not null \
     on conflict (shard, session_id, label) do nothing";
/// Forgets which models of a session no event names that is still in the index; $3 is the session's label.
pub const FORGET_MODELS: &str = "delete from search_model as named where named.shard = $1 and named.session_id = $2 and not exists \
     (select 1 from search_entry as entry where entry.shard = $1 \
     and entry.words @@ ('''' || named.label || ''' & ''' || $3::text || '''')::tsquery)";
/// Takes the events between two positions out of the index.
pub const FORGET_PLACES: &str = "delete from search_entry where shard = $1 and pos between $2 and $3";
/// Empties the index of a shard.
pub const CLEAR_INDEX: &str = "delete from search_entry where shard = $1";
/// Forgets which models were named in a shard.
pub const CLEAR_MODELS: &str = "delete from search_model where shard = $1";
/// Finds events, the last one first.
pub const FIND: &str = "select event.session_id, event.seq, event.shard, event.pos, event.at \
     from search_entry as entry join event on event.shard = entry.shard and event.pos = entry.pos \
     where entry.words @@ $1::text::tsquery and entry.at >= $2 and entry.at < $3 \
     and (entry.at, entry.shard, entry.pos) < ($4::bigint, $5::integer, $6::bigint) and event.salt is not null \
     order by entry.at desc, entry.shard desc, entry.pos desc limit $7";

macro_rules! ids {
    ($rest:literal) => {
        concat!("select coalesce(string_agg(replace(session_id::text, '-', ''), ''), '') from ", $rest)
    };
}

/// The ids of the sessions between two ids, all in one text, as hexadecimal digits; so are those of the next ones.
pub const IDS_BETWEEN: &str = ids!("session where session_id between $1 and $2");
/// Those of the sessions in a phase.
pub const IDS_IN_PHASE: &str = ids!("session where phase = $1");
/// Those of the sessions that cost not less and not more than so much.
pub const IDS_COSTING: &str = ids!("session where coalesce(cost_micro_usd, 0) between $1 and $2");
/// Those of the sessions in which a model was named whose label is not before one text, and before another.
pub const IDS_OF_MODEL: &str = ids!("(select distinct session_id from search_model where label >= $1 and label < $2) as named");

/// Each of them that can be prepared on a plain server, with its name.
pub const ALL: &[(&str, &str)] = &[
    ("INDEX", INDEX),
    ("INDEX_MODELS", INDEX_MODELS),
    ("FORGET_PLACES", FORGET_PLACES),
    ("FORGET_MODELS", FORGET_MODELS),
    ("CLEAR_MODELS", CLEAR_MODELS),
    ("IDS_BETWEEN", IDS_BETWEEN),
    ("IDS_IN_PHASE", IDS_IN_PHASE),
    ("IDS_COSTING", IDS_COSTING),
    ("IDS_OF_MODEL", IDS_OF_MODEL),
    ("CLEAR_INDEX", CLEAR_INDEX),
    ("FIND", FIND),
    ("SERVER", SERVER),
    ("NOW", NOW),
    ("BYTES", BYTES),
    ("COMPRESS_FAST", COMPRESS_FAST),
    ("DATABASE_BYTES", DATABASE_BYTES),
    ("TABLE_ROWS", TABLE_ROWS),
    ("HOLDERS", HOLDERS),
    ("VERSION", VERSION),
    ("HAS_STORE", HAS_STORE),
    ("FORMAT", FORMAT),
    ("INSERT_STORE", INSERT_STORE),
    ("INSERT_SHARDS", INSERT_SHARDS),
    ("HAS_CITUS", HAS_CITUS),
    ("RING", RING),
    ("HEADS", HEADS),
    ("HEAD_LOCKED", HEAD_LOCKED),
    ("HEADS_ROUTED", HEADS_ROUTED),
    ("BEGIN_SESSIONS", BEGIN_SESSIONS),
    ("BEGIN_SESSIONS_ROUTED", BEGIN_SESSIONS_ROUTED),
    ("MOVE_SESSIONS", MOVE_SESSIONS),
    ("MOVE_SESSIONS_ROUTED", MOVE_SESSIONS_ROUTED),
    ("COMMIT_AT_ONCE", COMMIT_AT_ONCE),
    ("COMMIT_MOVES", COMMIT_MOVES),
    ("COMMIT_ONE", COMMIT_ONE),
    ("COMMIT_EVENT", COMMIT_EVENT),
    ("TAKE_POSITIONS", TAKE_POSITIONS),
    ("TAKE_POSITIONS_ROUTED", TAKE_POSITIONS_ROUTED),
    ("BEGIN_FORK", BEGIN_FORK),
    ("MOVE_ADOPTED", MOVE_ADOPTED),
    ("SETTLE", SETTLE),
    ("INSERT_EVENT_ROW", INSERT_EVENT_ROW),
    ("INSERT_BLOB", INSERT_BLOB),
    ("KEEP_BASE", KEEP_BASE),
    ("LOCK_BLOB", LOCK_BLOB),
    ("INSERT_EVENTS", INSERT_EVENTS),
    ("INSERT_EVENTS_ROUTED", INSERT_EVENTS_ROUTED),
    ("EVENTS_BY_ID", EVENTS_BY_ID),
    ("EVENTS_FORWARD", EVENTS_FORWARD),
    ("EVENTS_BACKWARD", EVENTS_BACKWARD),
    ("FEED_HEADS", FEED_HEADS),
    ("FEED", FEED),
    ("FEED_OF_SHARDS", FEED_OF_SHARDS),
    ("HOLES", HOLES),
    ("LONG_BODY", LONG_BODY),
    ("SEGMENTS", SEGMENTS),
    ("SESSION", SESSION),
    ("SESSIONS", SESSIONS),
    ("SESSIONS_DUE", SESSIONS_DUE),
    ("SESSIONS_BETWEEN", SESSIONS_BETWEEN),
];
