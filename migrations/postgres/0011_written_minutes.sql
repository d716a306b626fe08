-- The minute of a session's last event is written by whoever writes the event: to count it itself, the database parsed and planned the
-- expression anew in every statement that moves a head, which was an eighth of the time of one that appends an event.
-- An older program that still runs meanwhile leaves a session listed where it stood, until its next event by a program that knows.

alter table session drop column updated_minute;        -- and with it index session_recent
alter table session add column updated_minute bigint;  -- updated_at / 60000000

update session set updated_minute = updated_at / 60000000;

create index session_recent on session (updated_minute desc);

update store set format = 11;
