-- Packing: the bodies of sessions that have ended, many of them in one piece of content, and long content, compressed. Encryption: what
-- a session has said, with a key of its own that is not here.

-- 0: as it is; 1: compressed; 2: bodies of several events; 4 more: encrypted, and its digest is keyed.
alter table blob add column form integer not null default 0;
alter table session add column packed_seq integer not null default 0;  -- up to which event its bodies are packed

-- An encrypted body is a JSON string, and its salt stands in it.
alter table store add column encrypted integer not null default 0;

-- A body that is packed has no text here; `rekindle show` has it.
drop view event_text;
create view event_text as
select event.pos,
       lower(substr(hex(session_id), 1, 8) || '-' || substr(hex(session_id), 9, 4) || '-' || substr(hex(session_id), 13, 4) || '-'
       || substr(hex(session_id), 17, 4) || '-' || substr(hex(session_id), 21)) as session_id,
       seq, kind, v, datetime(at / 1000000, 'unixepoch') as at, source, cause, must_understand,
       coalesce(event.body, case blob.form when 0 then cast(blob.bytes as text) end) as body, lower(hex(hash)) as hash
from event left join blob on blob.shard = event.shard and blob.digest = event.blob;

update store set format = 10;
pragma user_version = 10;
