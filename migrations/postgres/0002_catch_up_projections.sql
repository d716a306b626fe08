-- Projections that follow the feed by themselves: how far each has read, what it found, and what it could not read.

-- One row: how far one version of a projection has read one shard of the feed. Moved by compare-and-set, in the transaction
-- of what it wrote.
create table checkpoint (
    shard      integer not null,
    projection text    not null,
    version    bigint  not null,
    pos        bigint  not null,
    primary key (shard, projection, version)
);

-- One row: one document of a projection's read model. A cache: safe to empty together with its checkpoint.
create table document (
    shard      integer not null,
    projection text    not null,
    version    bigint  not null,
    key        text    not null,
    value      text    not null,               -- JSON
    primary key (shard, projection, version, key)
);

-- One row: a session that a projection could not read. It stops there, for that session alone.
create table quarantine (
    shard      integer not null,
    projection text    not null,
    version    bigint  not null,
    session_id uuid    not null,
    seq        bigint  not null,               -- the event that it could not read
    what       text    not null,               -- why not
    primary key (shard, projection, version, session_id)
);

update store set format = 2;
