-- Forks: sessions whose log goes on where that of another one was left. What lies before is read there, and never copied.

alter table session add column base_session uuid;      -- the session that holds the event which a fork goes on from
alter table session add column base_seq bigint;        -- that event

create index session_base on session (base_session) where base_session is not null;

update store set format = 7;
