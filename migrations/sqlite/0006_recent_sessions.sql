-- Here lists have had their index from the beginning: the one writer moves its entries cheaply enough.

update store set format = 6;
pragma user_version = 6;
