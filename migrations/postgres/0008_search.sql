-- Search: which words stand in which events. A cache: safe to empty together with its checkpoint.

-- One row: one event that has a text. The words are cut and folded before they come here; what begins with § is a label.
create table search_entry (
    shard integer  not null,
    pos   bigint   not null,                   -- of the event
    at    bigint   not null,                   -- of the event
    words tsvector not null,
    primary key (shard, pos)
);

create index search_entry_words on search_entry using gin (words);
create index search_entry_newest on search_entry (at desc, shard desc, pos desc);

update store set format = 8;
