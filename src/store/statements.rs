//! Every SQL text of the store, once. A test prepares each of them, since nothing checks them when they are compiled.

// Statements that are the same on SQLite and PostgreSQL but for a column that only PostgreSQL has: what is said of it comes in from there.
macro_rules! begin_fork {
    ($column:literal, $value:expr) => {
        concat!(
            "insert into session (shard, session_id, head_seq, head_hash, epoch, created_at, updated_at, phase, due, origin, title, \
             actions, messages, errors, tokens, cost_micro_usd, base_session, base_seq",
            $column,
            ") values ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17",
            $value,
            ") on conflict (shard, session_id) do nothing"
        )
    };
}
macro_rules! move_adopted {
    ($also:expr) => {
        concat!(
            "update session set head_seq = $3, head_hash = $4, updated_at = $5",
            $also,
            " where shard = $1 and session_id = $2"
        )
    };
}
macro_rules! settle {
    ($also:expr) => {
        concat!(
            "update session set name = $3, epoch = $4, owner = $5, phase = $6, due = $7, origin = $8, title = $9, actions = $10, \
             messages = $11, errors = $12, tokens = $13, cost_micro_usd = $14, created_at = $15, updated_at = $16, hold = $17, \
             purged_at = $18",
            $also,
            " where shard = $1 and session_id = $2 and head_seq = $19"
        )
    };
}

/// Statements that every database understands, with `$n` parameters; run through sqlx.
pub mod common {
    /// The format and the birth of the store.
    pub const STORE: &str = "select format, created_at from store";
    /// Whether bodies are encrypted.
    pub const ENCRYPTED: &str = "select encrypted from store";
    /// Encrypts the bodies of a store from now on.
    pub const ENCRYPT: &str = "update store set encrypted = true";
    /// Whether there is any session.
    pub const HAS_SESSIONS: &str = "select exists (select 1 from session)";
    /// How many sessions and events there are.
    pub const COUNTS: &str =
        "select (select count(*) from session), (select cast(coalesce(sum(head_pos), 0) as bigint) from shard)";
    /// Names a session.
    pub const NAME_SESSION: &str = "update session set name = $3 where shard = $1 and session_id = $2";
    /// Says that a session was given content.
    pub const KEEP_BLOB: &str = "insert into blob_session (shard, session_id, digest) values ($1, $2, $3) \
         on conflict (shard, session_id, digest) do nothing";
    /// Reads content.
    pub const BLOB: &str = "select bytes, form from blob where shard = $1 and digest = $2";
    /// Keeps the bodies of several events together.
    pub const PUT_SEGMENT: &str = "insert into blob (shard, digest, bytes, form) values ($1, $2, $3, $4) \
         on conflict (shard, digest) do nothing";
    /// Keeps content packed from now on.
    pub const PACK_BLOB: &str = "update blob set bytes = $3, form = $4 where shard = $1 and digest = $2 and form = $5";
    /// Moves bodies of a session into a segment.
    pub const MOVE_BODIES: &str = "update event set body = null, blob = $5 \
         where shard = $1 and session_id = $2 and seq between $3 and $4 and body is not null";
    /// Moves what lies in one segment of a session into another.
    pub const MOVE_SEGMENT: &str = "update event set blob = $4 where shard = $1 and session_id = $2 and blob = $3";
    /// Up to where a session is packed.
    pub const PACKED_UPTO: &str = "select packed_seq, head_seq, phase from session where shard = $1 and session_id = $2";
    /// Says up to where a session is packed.
    pub const SET_PACKED: &str = "update session set packed_seq = $3 where shard = $1 and session_id = $2";
    /// The sessions in these phases that changed last before a moment and are not packed up to their ends.
    pub const PACKABLE: &str = "select session_id from session where phase in ($1, $2, $3) and updated_at < $4 \
         and packed_seq < head_seq order by updated_at, session_id limit $5";
    /// Keeps a snapshot.
    pub const PUT_SNAPSHOT: &str = "insert into snapshot (shard, session_id, seq, reducer, digest, bytes) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (shard, session_id, reducer, seq) do update set digest = excluded.digest, bytes = excluded.bytes";
    /// Lets older snapshots of a reducer go, but for the first one of each stretch of the log.
    pub const PRUNE_SNAPSHOTS: &str = "delete from snapshot where shard = $1 and session_id = $2 and reducer = $3 and seq not in \
         (select seq from snapshot where shard = $1 and session_id = $2 and reducer = $3 order by seq desc limit $4) and seq not in \
         (select min(seq) from snapshot where shard = $1 and session_id = $2 and reducer = $3 group by seq / $5)";
    /// The newest snapshot of a reducer at or before a seq.
    pub const SNAPSHOT: &str = "select seq, digest, bytes from snapshot \
         where shard = $1 and session_id = $2 and reducer = $3 and seq <= $4 order by seq desc limit 1";
    /// Lets go the snapshots that may hold what a redacted event said.
    pub const DROP_SNAPSHOTS: &str = "delete from snapshot where shard = $1 and session_id = $2 and seq >= $3";
    /// Renews a lease, or begins it.
    pub const RENEW_LEASE: &str = "insert into node (node_id, epoch, lease_until, address, clock) values ($1, 1, $2, $3, $4) \
         on conflict (node_id) do update set epoch = node.epoch + 1, lease_until = excluded.lease_until, address = excluded.address, \
         clock = excluded.clock";
    /// Gives a lease up.
    pub const END_LEASE: &str = "update node set lease_until = $2 where node_id = $1";
    /// What is known of a node.
    pub const NODE: &str = "select address, lease_until, clock from node where node_id = $1";
    /// The nodes whose lease lasts beyond a moment.
    pub const NODES: &str = "select node_id, address, lease_until, clock from node where lease_until > $1";
    /// Sends a letter, once.
    pub const POST_LETTER: &str = "insert into inbox (shard, node_id, letter_id, session_id, at, command) \
         values ($1, $2, $3, $4, $5, $6) on conflict (shard, node_id, letter_id) do nothing";
    /// The letters to a node that nobody has begun to carry out.
    pub const LETTERS: &str = "select letter_id, session_id, command from inbox \
         where shard = $1 and node_id = $2 and answer is null order by at, letter_id limit $3";
    /// Begins to carry a letter out.
    pub const BEGIN_LETTER: &str = "update inbox set answer = '' \
         where shard = $1 and node_id = $2 and letter_id = $3 and answer is null";
    /// Answers a letter.
    pub const ANSWER_LETTER: &str = "update inbox set answer = $4 where shard = $1 and node_id = $2 and letter_id = $3";
    /// Reads the answer to a letter.
    pub const ANSWER: &str = "select answer from inbox where shard = $1 and node_id = $2 and letter_id = $3 and answer <> ''";
    /// Lets a letter go.
    pub const DROP_LETTER: &str = "delete from inbox where shard = $1 and node_id = $2 and letter_id = $3";
    /// Takes a letter back that nobody has begun to carry out.
    pub const WITHDRAW_LETTER: &str = "delete from inbox \
         where shard = $1 and node_id = $2 and letter_id = $3 and answer is null";
    /// Lets letters go that nobody asks about any more.
    pub const SWEEP_LETTERS: &str = "delete from inbox where shard = $1 and at < $2";
    /// What a redaction takes out.
    pub const BODY: &str =
        "select cast(body as text), blob, salt, digest, event_id from event where shard = $1 and session_id = $2 and seq = $3";
    /// Blanks a body and leaves its digest.
    pub const REDACT: &str = "update event set body = null, blob = null, salt = null, digest = $4 \
         where shard = $1 and session_id = $2 and seq = $3";
    /// Takes a title away that a redaction has taken the words of.
    pub const DROP_TITLE: &str = "update session set title = null where shard = $1 and session_id = $2 and title = $3";
    /// Lets content go that is no event's body and that no session was given any more.
    pub const DROP_BLOB: &str = "delete from blob where shard = $1 and digest = $2 \
         and not exists (select 1 from event where event.shard = $1 and event.blob = $2) \
         and not exists (select 1 from blob_session where blob_session.shard = $1 and blob_session.digest = $2)";

    /// How far the feed of each shard goes.
    pub const HEADS: &str = "select shard, head_pos from shard";
    /// How far a projection has read each shard.
    pub const CHECKPOINTS: &str = "select shard, pos from checkpoint where projection = $1 and version = $2";
    /// Moves a checkpoint from where it must stand. Also what makes two runners take turns.
    pub const MOVE_CHECKPOINT: &str = "update checkpoint set pos = $4 \
         where shard = $1 and projection = $2 and version = $3 and pos = $5";
    /// Begins a checkpoint that must not be there.
    pub const BEGIN_CHECKPOINT: &str = "insert into checkpoint (shard, projection, version, pos) values ($1, $2, $3, $4) \
         on conflict (shard, projection, version) do nothing";
    /// Which sessions of a shard a projection passes over.
    pub const HELD: &str = "select session_id, seq from quarantine where shard = $1 and projection = $2 and version = $3";
    /// Writes a document.
    pub const PUT_DOCUMENT: &str = "insert into document (shard, projection, version, key, value) values ($1, $2, $3, $4, $5) \
         on conflict (shard, projection, version, key) do update set value = excluded.value";
    /// Takes a document away.
    pub const DELETE_DOCUMENT: &str = "delete from document where shard = $1 and projection = $2 and version = $3 and key = $4";
    /// Reads a document.
    pub const DOCUMENT: &str = "select value from document where shard = $1 and projection = $2 and version = $3 and key = $4";
    /// Reads the documents whose keys begin so. Not by a range: databases differ in how they order texts.
    pub const DOCUMENTS: &str = "select key, shard, value from document \
         where projection = $1 and version = $2 and substr(key, 1, $4) = $3";
    /// Puts a session into quarantine.
    pub const QUARANTINE: &str = "insert into quarantine (shard, projection, version, session_id, seq, what) \
         values ($1, $2, $3, $4, $5, $6) \
         on conflict (shard, projection, version, session_id) do update set seq = excluded.seq, what = excluded.what";
    /// Takes a session out of quarantine.
    pub const RELEASE_SESSION: &str =
        "delete from quarantine where shard = $1 and projection = $2 and version = $3 and session_id = $4";
    /// The sessions that a projection could not read.
    pub const QUARANTINED: &str = "select shard, session_id, seq, what from quarantine where projection = $1 and version = $2";
    /// Forgets how far a projection has read a shard.
    pub const DROP_CHECKPOINT: &str = "delete from checkpoint where shard = $1 and projection = $2 and version = $3";
    /// Forgets the documents of a projection in a shard.
    pub const DROP_DOCUMENTS: &str = "delete from document where shard = $1 and projection = $2 and version = $3";
    /// Forgets what a projection could not read in a shard.
    pub const DROP_QUARANTINED: &str = "delete from quarantine where shard = $1 and projection = $2 and version = $3";
    /// Every version of every projection.
    pub const PROJECTIONS: &str = "select distinct projection, version from checkpoint";

    /// Neighbours in the feed of a shard that are none: where the one before ends, and where the next one begins. Each event is a
    /// place, each recorded hole several, and the ends of the feed stand at its sides.
    pub const FEED_FLAWS: &str = "select before, first_pos from (select first_pos, lag(last_pos) over (order by first_pos, last_pos) \
         as before from (select cast(0 as bigint) as first_pos, cast(0 as bigint) as last_pos \
         union all select head_pos + 1, head_pos + 1 from shard where shard = $1 \
         union all select pos, pos from event where shard = $1 \
         union all select first_pos, last_pos from hole where shard = $1) as place) as neighbour \
         where before is not null and first_pos <> before + 1 order by first_pos limit 100";

    /// Where a session stands.
    pub const STANDING: &str = "select head_seq, head_hash from session where shard = $1 and session_id = $2";
    /// The chain hash of an event.
    pub const EVENT_HASH: &str = "select hash from event where shard = $1 and session_id = $2 and seq = $3";
    /// Takes positions in the feed.
    pub const ADD_POSITIONS: &str = "update shard set head_pos = head_pos + $2 where shard = $1";
    /// The last position in the feed.
    pub const LAST_POSITION: &str = "select head_pos from shard where shard = $1";
    /// Begins a session of another store, which is then moved or settled.
    pub const BEGIN_ADOPTED: &str = "insert into session (shard, session_id, head_seq, head_hash, epoch, phase, due, origin, actions, \
         messages, errors, tokens, created_at, updated_at, base_session, base_seq) \
         values ($1, $2, $3, $4, 0, '', false, '', 0, 0, 0, 0, $5, $5, $6, $7) on conflict (shard, session_id) do nothing";
    /// The forks that read the events of a session, and up to which.
    pub const FORKS_OF: &str =
        "select session_id, base_seq from session where base_session = $1 and purged_at is null order by session_id";
    /// Keeps others from moving the head of a session.
    pub const LOCK_SESSION: &str = "update session set head_seq = head_seq where shard = $1 and session_id = $2";
    /// Whether a session is held or purged.
    pub const KEEPING: &str = "select hold, purged_at from session where shard = $1 and session_id = $2";
    /// Holds a session, or lets it go.
    pub const HOLD: &str = "update session set hold = $3 where shard = $1 and session_id = $2";
    /// Says that a session was purged; the higher epoch fences off whoever still means to write.
    pub const PURGED: &str = "update session set purged_at = coalesce(purged_at, $3), phase = $4, title = null, epoch = epoch + 1 \
         where shard = $1 and session_id = $2";
    /// Whether a session may be purged.
    pub const PURGEABLE: &str = "select hold, due from session where shard = $1 and session_id = $2";
    /// The positions of a session in the feed.
    pub const POSITIONS: &str = "select pos from event where shard = $1 and session_id = $2 order by pos";
    /// The long bodies of a session, and the content that it was given.
    pub const BLOBS_OF: &str = "select blob from event where shard = $1 and session_id = $2 and blob is not null \
         union select digest from blob_session where shard = $1 and session_id = $2";
    /// The content that a session was given.
    pub const KEPT_BY: &str = "select digest from blob_session where shard = $1 and session_id = $2";
    /// Forgets that a session was given content.
    pub const DROP_KEPT: &str = "delete from blob_session where shard = $1 and session_id = $2";
    /// Waits for every projection that is just writing in a shard, and keeps others from it.
    pub const LOCK_CHECKPOINTS: &str = "update checkpoint set pos = pos where shard = $1";
    /// Every version of every projection that has read anything of a shard.
    pub const PROJECTIONS_OF: &str = "select projection, version from checkpoint where shard = $1";
    /// Whether anything was purged in a shard.
    pub const HAS_HOLES: &str = "select first_pos from hole where shard = $1 limit 1";
    /// Takes away a document of a session that was purged.
    pub const DELETE_PURGED: &str = "delete from document where shard = $1 and projection = $2 and version = $3 and key = $4 \
         and exists (select 1 from session where session.shard = $1 and session.session_id = $5 and purged_at is not null)";
    /// Notes that positions have no events any more.
    pub const INSERT_HOLE: &str = "insert into hole (shard, first_pos, last_pos, session_id) values ($1, $2, $3, $4)";
    /// Removes the events of a session.
    pub const DROP_EVENTS: &str = "delete from event where shard = $1 and session_id = $2";
    /// Forgets that projections could not read a session.
    pub const DROP_QUARANTINE: &str = "delete from quarantine where shard = $1 and session_id = $2";

    /// The versions of a projection that have read anything of a shard.
    pub const VERSIONS: &str = "select version from checkpoint where shard = $1 and projection = $2";
    /// The place of an event in the feed.
    pub const EVENT_POS: &str = "select pos from event where shard = $1 and session_id = $2 and seq = $3";
    /// Forgets how far the other versions of a projection have read a shard.
    pub const DROP_OTHER_CHECKPOINTS: &str = "delete from checkpoint where shard = $1 and projection = $2 and version <> $3";

    /// Each of them, with its name.
    pub const ALL: &[(&str, &str)] = &[
        ("VERSIONS", VERSIONS),
        ("EVENT_POS", EVENT_POS),
        ("DROP_OTHER_CHECKPOINTS", DROP_OTHER_CHECKPOINTS),
        ("STORE", STORE),
        ("ENCRYPTED", ENCRYPTED),
        ("ENCRYPT", ENCRYPT),
        ("HAS_SESSIONS", HAS_SESSIONS),
        ("COUNTS", COUNTS),
        ("NAME_SESSION", NAME_SESSION),
        ("KEEP_BLOB", KEEP_BLOB),
        ("BLOB", BLOB),
        ("KEPT_BY", KEPT_BY),
        ("PUT_SEGMENT", PUT_SEGMENT),
        ("PACK_BLOB", PACK_BLOB),
        ("MOVE_BODIES", MOVE_BODIES),
        ("MOVE_SEGMENT", MOVE_SEGMENT),
        ("PACKED_UPTO", PACKED_UPTO),
        ("SET_PACKED", SET_PACKED),
        ("PACKABLE", PACKABLE),
        ("PUT_SNAPSHOT", PUT_SNAPSHOT),
        ("PRUNE_SNAPSHOTS", PRUNE_SNAPSHOTS),
        ("SNAPSHOT", SNAPSHOT),
        ("DROP_SNAPSHOTS", DROP_SNAPSHOTS),
        ("RENEW_LEASE", RENEW_LEASE),
        ("END_LEASE", END_LEASE),
        ("NODE", NODE),
        ("NODES", NODES),
        ("POST_LETTER", POST_LETTER),
        ("LETTERS", LETTERS),
        ("BEGIN_LETTER", BEGIN_LETTER),
        ("ANSWER_LETTER", ANSWER_LETTER),
        ("ANSWER", ANSWER),
        ("DROP_LETTER", DROP_LETTER),
        ("WITHDRAW_LETTER", WITHDRAW_LETTER),
        ("SWEEP_LETTERS", SWEEP_LETTERS),
        ("BODY", BODY),
        ("REDACT", REDACT),
        ("DROP_TITLE", DROP_TITLE),
        ("STANDING", STANDING),
        ("EVENT_HASH", EVENT_HASH),
        ("ADD_POSITIONS", ADD_POSITIONS),
        ("LAST_POSITION", LAST_POSITION),
        ("BEGIN_ADOPTED", BEGIN_ADOPTED),
        ("FORKS_OF", FORKS_OF),
        ("KEEPING", KEEPING),
        ("HOLD", HOLD),
        ("PURGED", PURGED),
        ("PURGEABLE", PURGEABLE),
        ("POSITIONS", POSITIONS),
        ("BLOBS_OF", BLOBS_OF),
        ("DROP_KEPT", DROP_KEPT),
        ("LOCK_CHECKPOINTS", LOCK_CHECKPOINTS),
        ("PROJECTIONS_OF", PROJECTIONS_OF),
        ("HAS_HOLES", HAS_HOLES),
        ("DELETE_PURGED", DELETE_PURGED),
        ("LOCK_SESSION", LOCK_SESSION),
        ("INSERT_HOLE", INSERT_HOLE),
        ("DROP_EVENTS", DROP_EVENTS),
        ("DROP_QUARANTINE", DROP_QUARANTINE),
        ("DROP_BLOB", DROP_BLOB),
        ("HEADS", HEADS),
        ("FEED_FLAWS", FEED_FLAWS),
        ("CHECKPOINTS", CHECKPOINTS),
        ("MOVE_CHECKPOINT", MOVE_CHECKPOINT),
        ("BEGIN_CHECKPOINT", BEGIN_CHECKPOINT),
        ("HELD", HELD),
        ("PUT_DOCUMENT", PUT_DOCUMENT),
        ("DELETE_DOCUMENT", DELETE_DOCUMENT),
        ("DOCUMENT", DOCUMENT),
        ("DOCUMENTS", DOCUMENTS),
        ("QUARANTINE", QUARANTINE),
        ("RELEASE_SESSION", RELEASE_SESSION),
        ("QUARANTINED", QUARANTINED),
        ("DROP_CHECKPOINT", DROP_CHECKPOINT),
        ("DROP_DOCUMENTS", DROP_DOCUMENTS),
        ("DROP_QUARANTINED", DROP_QUARANTINED),
        ("PROJECTIONS", PROJECTIONS),
    ];
}

#[cfg(feature = "postgres")]
pub mod postgres;

/// Statements of SQLite alone, with `?n` parameters: its hot paths, and what only it has.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    /// Begins a transaction that writes; one that begins by reading can fail at its first write, and no wait helps then.
    pub const BEGIN: &str = "begin immediate";
    /// Makes a transaction durable.
    pub const COMMIT: &str = "commit";
    /// Takes a transaction back.
    pub const ROLLBACK: &str = "rollback";
    /// Begins the part of a batch that belongs to one append.
    pub const SAVEPOINT: &str = "savepoint one_append";
    /// Ends it.
    pub const RELEASE: &str = "release one_append";
    /// Takes it back, alone.
    pub const ROLLBACK_TO: &str = "rollback to one_append";
    /// The database's clock, in microseconds.
    pub const NOW: &str = "select cast(unixepoch('subsec') * 1000 as integer) * 1000";
    /// What the file takes.
    pub const BYTES: &str = "select page_count * page_size from pragma_page_count, pragma_page_size";
    /// How many bytes a page has.
    pub const PAGE_BYTES: &str = "pragma page_size";
    /// How many pages there are.
    pub const PAGES: &str = "pragma page_count";
    /// How many of them hold nothing.
    pub const FREE_PAGES: &str = "pragma freelist_count";
    /// Writes the database anew without what is free.
    pub const COMPACT: &str = "vacuum";
    /// Changes when another connection has committed.
    pub const DATA_VERSION: &str = "pragma data_version";
    /// The version of the library.
    pub const VERSION: &str = "select 'SQLite ' || sqlite_version()";
    /// Whose file it is. Reads the first page and nothing else.
    pub const APPLICATION_ID: &str = "pragma application_id";
    /// The format of its tables. Reads the first page and nothing else.
    pub const USER_VERSION: &str = "pragma user_version";
    /// How many tables and indexes it has.
    pub const TABLES: &str = "select count(*) from sqlite_schema";
    /// Copies what it can from the write-ahead log into the database; never waits for readers.
    pub const CHECKPOINT: &str = "pragma wal_checkpoint(passive)";
    /// Empties the write-ahead log.
    pub const CHECKPOINT_ALL: &str = "pragma wal_checkpoint(truncate)";

    /// Where a session stands.
    pub const HEAD: &str = "select head_seq, head_hash, epoch, purged_at from session where shard = ?1 and session_id = ?2";
    /// Begins a session.
    pub const INSERT_SESSION: &str = "insert into session (shard, session_id, head_seq, head_hash, epoch, owner, created_at, \
         updated_at, phase, due, origin, title, actions, messages, errors, tokens, cost_micro_usd) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
    /// Moves the head of a session.
    pub const MOVE_HEAD: &str = "update session set head_seq = ?3, head_hash = ?4, updated_at = ?5 \
         where shard = ?1 and session_id = ?2";
    /// Moves the head of a session and rewrites what lists show.
    pub const MOVE_DIRECTORY: &str = "update session set head_seq = ?3, head_hash = ?4, updated_at = ?5, phase = ?6, due = ?7, \
         origin = ?8, title = ?9, actions = ?10, messages = ?11, errors = ?12, tokens = ?13, cost_micro_usd = ?14 \
         where shard = ?1 and session_id = ?2";
    /// Gives a session a new owner.
    pub const MOVE_OWNER: &str = "update session set epoch = ?3, owner = ?4 where shard = ?1 and session_id = ?2";
    /// How far the feed goes.
    pub const HEAD_POS: &str = "select head_pos from shard where shard = ?1";
    /// Moves the end of the feed.
    pub const MOVE_POS: &str = "update shard set head_pos = ?2 where shard = ?1";
    /// Writes an event.
    pub const INSERT_EVENT: &str = "insert into event (pos, shard, session_id, seq, event_id, kind, v, at, source, cause, \
         must_understand, body, blob, salt, hash) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    /// Begins a fork.
    pub const BEGIN_FORK: &str = begin_fork!("", "");
    /// Moves the head of a session of another store.
    pub const MOVE_ADOPTED: &str = move_adopted!("");
    /// Makes a session what it is in another store.
    pub const SETTLE: &str = settle!("");
    /// Writes an event of another store, as it is there.
    pub const INSERT_EVENT_ROW: &str = "insert into event (pos, shard, session_id, seq, event_id, kind, v, at, source, cause, \
         must_understand, body, blob, salt, digest, hash) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    /// Writes the whole database as it is now to a new file.
    pub const BACKUP: &str = "vacuum into ?1";
    /// Whether the session was purged that a fork goes on from; there is only one writer, so that nothing changes until the commit.
    pub const KEEP_BASE: &str = "select purged_at is not null from session where shard = $1 and session_id = $2";
    /// Keeps a long body once.
    pub const INSERT_BLOB: &str = "insert into blob (shard, digest, bytes, form) values (?1, ?2, ?3, ?4) on conflict do nothing";
    /// Keeps content once.
    pub const PUT_BLOB: &str = "insert into blob (shard, digest, bytes, form) values ($1, $2, $3, $4) on conflict do nothing";

    macro_rules! event_columns {
        () => {
            "select event.session_id, event.seq, event.event_id, event.kind, event.v, event.at, event.source, event.cause, \
             event.must_understand, event.body, event.blob, event.salt, event.digest, event.hash, event.pos from event "
        };
    }
    macro_rules! session_columns {
        () => {
            "select session_id, name, head_seq, head_hash, epoch, owner, created_at, updated_at, phase, due, origin, title, \
             actions, messages, errors, tokens, cost_micro_usd, base_session, base_seq from session "
        };
    }

    /// Finds an event by its id.
    pub const EVENT_BY_ID: &str = concat!(event_columns!(), "where shard = ?1 and event_id = ?2");
    /// Reads a session forward.
    pub const EVENTS_FORWARD: &str =
        concat!(event_columns!(), "where shard = ?1 and session_id = ?2 and seq > ?3 and seq <= ?4 order by seq limit ?5");
    /// Reads a session backward.
    pub const EVENTS_BACKWARD: &str =
        concat!(event_columns!(), "where shard = ?1 and session_id = ?2 and seq > ?3 and seq <= ?4 order by seq desc limit ?5");
    /// Reads the feed. By the rowid alone: naming the one shard as well would invite a worse plan.
    pub const FEED: &str = concat!(event_columns!(), "where pos > ?1 order by pos limit ?2");
    /// Reads a long body.
    pub const LONG_BODY: &str = "select bytes, form from blob where shard = ?1 and digest = ?2";

    /// Reads one session's row.
    pub const SESSION: &str = concat!(session_columns!(), "where shard = ?1 and session_id = ?2");
    /// Lists all sessions.
    pub const SESSIONS: &str = concat!(session_columns!(), "where shard = ?1 order by updated_at desc, session_id desc limit ?2");
    /// Lists sessions that need a worker.
    pub const SESSIONS_DUE: &str =
        concat!(session_columns!(), "where shard = ?1 and due = 1 order by updated_at desc, session_id desc limit ?2");
    /// Lists sessions by the beginning of their id.
    pub const SESSIONS_BETWEEN: &str = concat!(
        session_columns!(),
        "where shard = ?1 and session_id between ?3 and ?4 order by updated_at desc, session_id desc limit ?2"
    );

    /// Indexes events, given as JSON, but those whose body is gone by now. One after the other is looked up, whatever the planner
    /// would guess of their number.
    pub const INDEX: &str = "insert into search_word (rowid, words) select event.pos, entry.value ->> 'words' \
         from json_each($2) as entry cross join event on event.pos = cast(entry.value ->> 'pos' as integer) \
         where event.shard = $1 and event.salt is not null";
    /// Notes which models events name, given as JSON with their places, in their sessions.
    pub const INDEX_MODELS: &str = "insert into search_model (shard, session_id, label) \
         select distinct event.shard, event.session_id, entry.value ->> 'label' \
         from json_each($2) as entry cross join event on event.pos = cast(entry.value ->> 'pos' as integer) \
         where event.shard = $1 and event.salt is not null on conflict (shard, session_id, label) do nothing";
    /// Forgets which models of a session no event names that is still in the index; $3 is the session's label.
    pub const FORGET_MODELS: &str = "delete from search_model where shard = $1 and session_id = $2 and not exists \
         (select 1 from search_word where search_word match '\"' || search_model.label || '\" AND \"' || $3 || '\"')";
    /// Notes between which positions the events of a day lie.
    pub const INDEX_DAYS: &str = "insert into search_day (shard, day, first_pos, last_pos) select $1, \
         cast(entry.value ->> 'at' as integer) / 86400000000 as day, min(cast(entry.value ->> 'pos' as integer)), \
         max(cast(entry.value ->> 'pos' as integer)) from json_each($2) as entry where true group by day \
         on conflict (shard, day) do update set first_pos = min(first_pos, excluded.first_pos), \
         last_pos = max(last_pos, excluded.last_pos)";
    /// Takes the words of events, given as JSON, out of the index, where they are in it.
    pub const FORGET_WORDS: &str = "insert into search_word (search_word, rowid, words) \
         select 'delete', indexed.id, entry.value ->> 'words' from json_each($2) as entry \
         cross join search_word_docsize as indexed on indexed.id = cast(entry.value ->> 'pos' as integer) where $1 >= 0";
    /// Empties the index.
    pub const CLEAR_INDEX: &str = "insert into search_word (search_word) select 'delete-all' where $1 >= 0";
    /// Forgets the days.
    pub const CLEAR_DAYS: &str = "delete from search_day where shard = $1";
    /// Forgets which models were named where.
    pub const CLEAR_MODELS: &str = "delete from search_model where shard = $1";
    /// Finds events, the last one first. The days say between which positions it can stop.
    pub const FIND: &str = "select event.session_id, event.seq, event.shard, event.pos, event.at \
         from search_word cross join event on event.pos = search_word.rowid \
         where search_word match $1 and search_word.rowid < $6 and search_word.rowid >= coalesce((select min(first_pos) \
         from search_day where shard = 0 and day >= $2 / 86400000000), 9223372036854775807) \
         and search_word.rowid <= coalesce((select max(last_pos) from search_day where shard = 0 and day <= $3 / 86400000000), 0) \
         and event.at >= $2 and event.at < $3 and event.salt is not null and $4 = $4 and $5 = $5 \
         order by search_word.rowid desc limit $7";

    macro_rules! ids {
        ($rest:literal) => {
            concat!("select coalesce(group_concat(hex(session_id), ''), '') from ", $rest)
        };
    }

    /// The ids of the sessions between two ids, all in one text, as hexadecimal digits; so are those of the next ones. A row for each
    /// would take many times as long.
    pub const IDS_BETWEEN: &str = ids!("session where session_id between $1 and $2");
    /// Those of the sessions in a phase.
    pub const IDS_IN_PHASE: &str = ids!("session where phase = $1");
    /// Those of the sessions that cost not less and not more than so much.
    pub const IDS_COSTING: &str = ids!("session where coalesce(cost_micro_usd, 0) between $1 and $2");
    /// Those of the sessions in which a model was named whose label is not before one text, and before another.
    pub const IDS_OF_MODEL: &str =
        ids!("(select distinct session_id from search_model where label >= $1 and label < $2) as named");

    /// Each of them, with its name.
    pub const ALL: &[(&str, &str)] = &[
        ("INDEX", INDEX),
        ("INDEX_DAYS", INDEX_DAYS),
        ("INDEX_MODELS", INDEX_MODELS),
        ("FORGET_WORDS", FORGET_WORDS),
        ("FORGET_MODELS", FORGET_MODELS),
        ("CLEAR_MODELS", CLEAR_MODELS),
        ("IDS_BETWEEN", IDS_BETWEEN),
        ("IDS_IN_PHASE", IDS_IN_PHASE),
        ("IDS_COSTING", IDS_COSTING),
        ("IDS_OF_MODEL", IDS_OF_MODEL),
        ("CLEAR_INDEX", CLEAR_INDEX),
        ("CLEAR_DAYS", CLEAR_DAYS),
        ("FIND", FIND),
        ("BEGIN", BEGIN),
        ("COMMIT", COMMIT),
        ("ROLLBACK", ROLLBACK),
        ("SAVEPOINT", SAVEPOINT),
        ("RELEASE", RELEASE),
        ("ROLLBACK_TO", ROLLBACK_TO),
        ("NOW", NOW),
        ("BYTES", BYTES),
        ("PAGE_BYTES", PAGE_BYTES),
        ("PAGES", PAGES),
        ("FREE_PAGES", FREE_PAGES),
        ("COMPACT", COMPACT),
        ("DATA_VERSION", DATA_VERSION),
        ("VERSION", VERSION),
        ("APPLICATION_ID", APPLICATION_ID),
        ("USER_VERSION", USER_VERSION),
        ("TABLES", TABLES),
        ("CHECKPOINT", CHECKPOINT),
        ("CHECKPOINT_ALL", CHECKPOINT_ALL),
        ("HEAD", HEAD),
        ("INSERT_SESSION", INSERT_SESSION),
        ("MOVE_HEAD", MOVE_HEAD),
        ("MOVE_DIRECTORY", MOVE_DIRECTORY),
        ("MOVE_OWNER", MOVE_OWNER),
        ("HEAD_POS", HEAD_POS),
        ("MOVE_POS", MOVE_POS),
        ("INSERT_EVENT", INSERT_EVENT),
        ("BEGIN_FORK", BEGIN_FORK),
        ("MOVE_ADOPTED", MOVE_ADOPTED),
        ("SETTLE", SETTLE),
        ("INSERT_EVENT_ROW", INSERT_EVENT_ROW),
        ("BACKUP", BACKUP),
        ("KEEP_BASE", KEEP_BASE),
        ("INSERT_BLOB", INSERT_BLOB),
        ("PUT_BLOB", PUT_BLOB),
        ("EVENT_BY_ID", EVENT_BY_ID),
        ("EVENTS_FORWARD", EVENTS_FORWARD),
        ("EVENTS_BACKWARD", EVENTS_BACKWARD),
        ("FEED", FEED),
        ("LONG_BODY", LONG_BODY),
        ("SESSION", SESSION),
        ("SESSIONS", SESSIONS),
        ("SESSIONS_DUE", SESSIONS_DUE),
        ("SESSIONS_BETWEEN", SESSIONS_BETWEEN),
    ];
}
