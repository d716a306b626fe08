-- Lists begin with what changed last, and need not sort all sessions for that.

-- The minute of the last event. It changes once a minute at most, so that in between heads still move without touching an index; what
-- changed in the same minute is sorted when it is read.
alter table session add column updated_minute bigint generated always as (updated_at / 60000000) stored;

create index session_recent on session (updated_minute desc);

update store set format = 6;
