-- Commands for sessions that another node runs.

-- One row: a command on its way to a node, and then its answer. The shard is that of the node.
create table inbox (
    shard      integer not null,
    node_id    blob    not null,               -- to whom
    letter_id  blob    not null,
    session_id blob    not null,
    at         integer not null,               -- utc, microseconds, by the clock of the database
    command    text    not null,               -- JSON
    answer     text,                           -- JSON; null until it was carried out or refused
    primary key (shard, node_id, letter_id)
) strict;

update store set format = 4;
pragma user_version = 4;
