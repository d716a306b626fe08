-- Packing: the bodies of sessions that have ended, many of them in one piece of content, and long content, compressed. Encryption: what
-- a session has said, with a key of its own that is not here.

-- 0: as it is; 1: compressed; 2: bodies of several events; 4 more: encrypted, and its digest is keyed.
alter table blob add column form integer not null default 0;
alter table session add column packed_seq bigint not null default 0;  -- up to which event its bodies are packed

-- An encrypted body is a JSON string, and its salt stands in it.
alter table store add column encrypted boolean not null default false;

update store set format = 10;
