-- The log of all sessions. The same tables and columns as on SQLite, with native types. Every key begins with the shard, so that
-- they can be distributed by it; nothing here needs a trigger, a sequence or a function.

-- One row: what this store is.
create table store (
    format     bigint  not null,               -- of these tables
    shards     integer not null,               -- fixed when the store is made
    created_at bigint  not null                -- utc, microseconds
);

-- One row: how far the feed of one shard goes. Raised inside each append and locked until its commit, so that positions have no
-- holes and follow the order of commits.
create table shard (
    shard    integer primary key,
    head_pos bigint  not null
) with (fillfactor = 50);

-- One row: one session, where its log stands, and what lists show of it. All but name and owner can be rebuilt from event.
create table session (
    shard          integer  not null,
    session_id     uuid     not null,
    name           text,                       -- what another system calls it; its id is made of it
    head_seq       bigint   not null,          -- its last event
    head_hash      bytea    not null,          -- the chain hash of that event
    epoch          bigint   not null,          -- how often it changed hands; fences writers off
    owner          uuid,                       -- the node of that epoch
    phase          text     not null,
    due            boolean  not null,          -- it has a next effect, hence needs a worker
    origin         text     not null,
    title          text,
    actions        bigint   not null,
    messages       bigint   not null,
    errors         bigint   not null,
    tokens         bigint   not null,
    cost_micro_usd bigint,
    created_at     bigint   not null,          -- at of the first event
    updated_at     bigint   not null,          -- at of the last event
    primary key (shard, session_id)
) with (fillfactor = 70);

-- No index on what changes with every append: a head can then move without touching any index.
create index session_due on session (shard, session_id) where due;
create index session_by_id on session (session_id);

-- One row: one thing that happened to one session. Never changed but to blank a redacted body, never deleted one by one.
create table event (
    shard           integer  not null,
    session_id      uuid     not null,
    seq             bigint   not null,         -- 1, 2, 3 … in its session
    pos             bigint   not null,         -- 1, 2, 3 … in the feed of its shard
    event_id        uuid     not null,         -- made by the writer; time-ordered ids keep its index at one leaf
    kind            text     not null,
    v               integer  not null,         -- schema version of the body
    at              bigint   not null,         -- utc, microseconds
    source          text     not null,         -- user, agent, environment
    cause           bigint,                    -- seq of the event that this one answers
    must_understand boolean  not null,
    body            json,                      -- byte for byte; null when it lives in blob or is redacted
    blob            bytea,                     -- digest of a long body, which lives in table blob
    salt            bytea,                     -- 16 random bytes; null once redacted
    digest          bytea,                     -- sha-256(salt, body), written down only once the body is redacted
    hash            bytea    not null,         -- sha-256(hash of the event before, envelope, digest)
    primary key (shard, session_id, seq),
    unique (shard, pos),
    unique (shard, event_id)
);

create index event_blob on event (shard, blob) where blob is not null;

-- One row: content kept once by its digest: long bodies, prompts, screenshots.
create table blob (
    shard  integer not null,
    digest bytea   not null,                   -- sha-256(bytes)
    bytes  bytea   not null,
    primary key (shard, digest)
);

-- One row: a state kept to save folding. A cache: safe to empty.
create table snapshot (
    shard      integer not null,
    session_id uuid    not null,
    seq        bigint  not null,               -- the last event folded in
    reducer    text    not null,               -- what folded
    digest     bytea   not null,               -- sha-256(bytes)
    bytes      bytea   not null,
    primary key (shard, session_id, reducer, seq)
);

-- One row: one engine process and until when it may be believed to live.
create table node (
    node_id     uuid   primary key,
    epoch       bigint not null,               -- how often it renewed its lease
    lease_until bigint not null,               -- utc, microseconds, by the clock of the database
    address     text   not null
);
