-- The log of all sessions. Every key begins with the shard, so that the same columns run on a sharded database as well;
-- here there is one shard, 0. Ids are the 16 bytes of a UUID; the views at the end show them as text.

-- One row: what this store is.
create table store (
    format     integer not null,               -- of these tables
    shards     integer not null,               -- fixed when the store is made
    created_at integer not null                -- utc, microseconds
) strict;

-- One row: how far the feed of one shard goes. Read and raised inside each append, so that positions have no holes.
create table shard (
    shard    integer primary key,
    head_pos integer not null
) strict;

-- One row: one session, where its log stands, and what lists show of it. All but name and owner can be rebuilt from event.
create table session (
    shard          integer not null,
    session_id     blob    not null check (length(session_id) = 16),
    name           text,                       -- what a person or another system calls it
    head_seq       integer not null,           -- its last event
    head_hash      blob    not null,           -- the chain hash of that event
    epoch          integer not null,           -- how often it changed hands; fences writers off
    owner          blob,                       -- the node of that epoch
    phase          text    not null,
    due            integer not null,           -- 1: it has a next effect, hence needs a worker
    origin         text    not null,
    title          text,
    actions        integer not null,
    messages       integer not null,
    errors         integer not null,
    tokens         integer not null,
    cost_micro_usd integer,
    created_at     integer not null,           -- at of the first event
    updated_at     integer not null,           -- at of the last event
    primary key (shard, session_id)
) strict;

create unique index session_name on session (shard, name) where name is not null;
create index session_recent on session (shard, updated_at, session_id);
create index session_due on session (shard, session_id) where due = 1;

-- One row: one thing that happened to one session. Never changed but to blank a redacted body, never deleted one by one.
create table event (
    pos             integer primary key,       -- place in the feed of all sessions
    shard           integer not null,
    session_id      blob    not null,
    seq             integer not null,          -- 1, 2, 3 … in its session
    event_id        blob    not null,          -- made by the writer; time-ordered ids keep its index at one leaf
    kind            text    not null,
    v               integer not null,          -- schema version of the body
    at              integer not null,          -- utc, microseconds
    source          text    not null,          -- user, agent, environment
    cause           integer,                   -- seq of the event that this one answers
    must_understand integer not null,
    body            text,                      -- JSON, byte for byte; null when it lives in blob or is redacted
    blob            blob,                      -- digest of a long body, which lives in table blob
    salt            blob,                      -- 16 random bytes; null once redacted
    digest          blob,                      -- sha-256(salt, body), written down only once the body is redacted
    hash            blob    not null,          -- sha-256(hash of the event before, envelope, digest)
    unique (shard, session_id, seq),
    unique (shard, event_id)
) strict;

create index event_blob on event (shard, blob) where blob is not null;

-- One row: content kept once by its digest: long bodies, prompts, screenshots.
create table blob (
    shard  integer not null,
    digest blob    not null,                   -- sha-256(bytes)
    bytes  blob    not null,
    primary key (shard, digest)
) strict;

-- One row: a state kept to save folding. A cache: safe to empty.
create table snapshot (
    shard      integer not null,
    session_id blob    not null,
    seq        integer not null,               -- the last event folded in
    reducer    text    not null,               -- what folded
    digest     blob    not null,               -- sha-256(bytes)
    bytes      blob    not null,
    primary key (shard, session_id, reducer, seq)
) strict;

-- One row: one engine process and until when it may be believed to live.
create table node (
    node_id     blob    primary key,
    epoch       integer not null,              -- how often it renewed its lease
    lease_until integer not null,              -- utc, microseconds, by the clock of the database
    address     text    not null
) strict;

create view session_text as
select lower(substr(hex(session_id), 1, 8) || '-' || substr(hex(session_id), 9, 4) || '-' || substr(hex(session_id), 13, 4) || '-'
       || substr(hex(session_id), 17, 4) || '-' || substr(hex(session_id), 21)) as session_id,
       name, head_seq, lower(hex(head_hash)) as head_hash, epoch, phase, due, origin, title, actions, messages, errors, tokens,
       cost_micro_usd, datetime(created_at / 1000000, 'unixepoch') as created_at,
       datetime(updated_at / 1000000, 'unixepoch') as updated_at
from session;

create view event_text as
select event.pos,
       lower(substr(hex(session_id), 1, 8) || '-' || substr(hex(session_id), 9, 4) || '-' || substr(hex(session_id), 13, 4) || '-'
       || substr(hex(session_id), 17, 4) || '-' || substr(hex(session_id), 21)) as session_id,
       seq, kind, v, datetime(at / 1000000, 'unixepoch') as at, source, cause, must_understand,
       coalesce(event.body, cast(blob.bytes as text)) as body, lower(hex(hash)) as hash
from event left join blob on blob.shard = event.shard and blob.digest = event.blob;

insert into store (format, shards, created_at) values (1, 1, cast(unixepoch('subsec') * 1000 as integer) * 1000);
insert into shard (shard, head_pos) values (0, 0);

pragma user_version = 1;
