-- What may be purged, what must not be, and what is left where a session was.

alter table session add column hold text;              -- why it must not be purged: a legal hold
alter table session add column purged_at bigint;       -- utc, microseconds; its events are gone, its head stays

-- One row: positions of the feed whose events were purged, first and last among them.
create table hole (
    shard      integer not null,
    first_pos  bigint  not null,
    last_pos   bigint  not null,
    session_id uuid    not null,
    primary key (shard, first_pos)
);

create index hole_session on hole (shard, session_id);

update store set format = 3;
