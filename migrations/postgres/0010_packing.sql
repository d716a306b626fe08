-- Packing: the bodies of closed sessions, many of them in one piece of content, and long content, compressed.

alter table blob add column form integer not null default 0;          -- 0: as it is; 1: compressed; 2: bodies of several events
alter table session add column packed_seq bigint not null default 0;  -- up to which event its bodies are packed

update store set format = 10;
