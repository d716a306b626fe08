-- Search: which models have decided in which sessions, so that a search by model need not look through their events. A cache, part of
-- the index: made and emptied with it.

-- One row: one model that events of one session name.
create table search_model (
    shard      integer not null,
    session_id uuid    not null,
    label      text    collate "C" not null,   -- the model, as the index has it among its words
    primary key (shard, session_id, label)
);

create index search_model_label on search_model (label);

-- An index that was made before holds no models: it is made anew.
truncate search_entry;
delete from checkpoint where projection = 'search';

update store set format = 9;
