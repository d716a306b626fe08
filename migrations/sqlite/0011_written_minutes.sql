-- Here lists find what changed last without a column for it.

update store set format = 11;
pragma user_version = 11;
