-- Who keeps which content, so that it goes with the last session that does; and by which clock a lease is told.

-- One row: a session that was given content, which its events may refer to by its digest.
create table blob_session (
    shard      integer not null,
    session_id uuid    not null,
    digest     bytea   not null,
    primary key (shard, session_id, digest)
);

create index blob_session_digest on blob_session (shard, digest);

-- Until now only the first event of a replay referred to content: its recording.
insert into blob_session (shard, session_id, digest)
select event.shard, event.session_id, blob.digest from event join blob on blob.shard = event.shard and blob.digest =
       case when event.body -> 'spec' -> 'origin' ->> 'trajectory' ~ '^[0-9a-f]{64}$'
            then decode(event.body -> 'spec' -> 'origin' ->> 'trajectory', 'hex') end
where event.seq = 1 and event.kind = 'session.created';

-- Which clock lease_until was read from; empty: that of the database. A lease by a clock that is no more has passed.
alter table node add column clock text not null default '';

update store set format = 5;
