-- Search: which words stand in which events. A cache: safe to empty together with its checkpoint.

-- One row for each event that has a text; its rowid is the event's pos. The words are cut and folded before they come here, hence
-- the plainest tokenizer; the text itself is in the log already and is not kept twice. What begins with § is a label.
create virtual table search_word using fts5(words, content = '', tokenize = "ascii tokenchars '._-/'");

-- A piece of the index fills a page of the file. Pieces are put together less often than usual, which costs appends less and is read
-- as fast.
insert into search_word (search_word, rank) values ('pgsz', 8000);
insert into search_word (search_word, rank) values ('automerge', 8);

-- What is taken out is gone from the file, and not only marked as gone.
insert into search_word (search_word, rank) values ('secure-delete', 1);

-- One row: between which positions the indexed events of one day lie, so that a search of some days need not read all.
create table search_day (
    shard     integer not null,
    day       integer not null,                -- since 1970, utc
    first_pos integer not null,
    last_pos  integer not null,
    primary key (shard, day)
) strict, without rowid;

update store set format = 8;
pragma user_version = 8;
