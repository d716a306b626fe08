//! What can go wrong with a log, by what the caller can do about it.

use std::path::PathBuf;

use super::read::Shard;
use super::read_models::ProjectionId;
use crate::session::{Epoch, EventId, Seq, SessionId};

/// The outcome of a store operation that did not work out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else appended first, or the session exists already or not at all: read again, decide again.
    #[error(
        "session {session} is at event {head}, not where this writer expected it; nothing was appended, so read it and decide again"
    )]
    Conflict {
        /// The session.
        session: SessionId,
        /// Its last event; `Seq::ZERO` when it does not exist.
        head: Seq,
    },
    /// Another owner took the session over: stop performing its effects.
    #[error(
        "session {session} was taken over by another process in epoch {current}; nothing was appended, and that process goes on with it"
    )]
    Fenced {
        /// The session.
        session: SessionId,
        /// The epoch of the present owner.
        current: Epoch,
    },
    /// The same event id stands in the log with other content: a bug in the caller, never retry.
    #[error(
        "event {event} is already in the log with other content; nothing was appended, and what is new needs an id of its own"
    )]
    Reused {
        /// The id that was used twice.
        event: EventId,
    },
    /// A cursor that the feed of this store does not reach: it comes from another store, or this one was put back to a copy.
    #[error(
        "the cursor is at {at} of shard {shard}, but this store's feed ends at {head}; it comes from another store or from a later state of this one, so begin again without it"
    )]
    Ahead {
        /// The shard.
        shard: Shard,
        /// Where the cursor is.
        at: u64,
        /// Where the feed ends.
        head: u64,
    },
    /// A cursor of another store: what it has read there says nothing about what stands here.
    #[error("the cursor is of another store than this one; begin again without it, or follow the store that gave it out")]
    OtherStore,
    /// Another runner of the same projection was first: read the checkpoint again, go on from there.
    #[error("somebody else moved the projection {projection} in shard {shard}; nothing was stored, so read its checkpoint again")]
    Moved {
        /// The projection.
        projection: ProjectionId,
        /// The shard.
        shard: Shard,
    },
    /// The request cannot be stored as it is: a bug in the caller, never retry.
    #[error("{0}")]
    Invalid(String),
    /// What sessions say is encrypted, so that no index of their words is kept.
    #[error(
        "what sessions say is encrypted in this store, so it keeps no index of their words and cannot be searched; `rekindle show`, `tail` and `export` read each session"
    )]
    Unsearchable,
    /// Stored data is not what was written: stop, call a person. Other sessions stay readable.
    #[error(
        "session {session} is damaged at event {seq}: {what}; the other sessions can be read, and a copy of the store may hold this one whole"
    )]
    Damaged {
        /// The session.
        session: SessionId,
        /// The first event that is bad.
        seq: Seq,
        /// What is wrong with it.
        what: String,
    },
    /// The key of a session whose bodies are encrypted is not there: it was destroyed, or is elsewhere.
    #[error(
        "there is no key of session {session} in {}; without it nothing that it has said can be read or added to, so bring the key there, if it was not destroyed",
        keys.display()
    )]
    NoKey {
        /// The session.
        session: SessionId,
        /// Where its key should be.
        keys: PathBuf,
        /// Why it cannot be read or written, where it is not just missing.
        #[source]
        source: Option<BoxError>,
    },
    /// The answer of a commit was lost; appending the same events again tells what became of them.
    #[error("it is unknown whether the append took place; repeating it is safe")]
    Unknown(#[source] BoxError),
    /// A write to disk failed below the database; this handle refuses further writes until the store is opened again.
    #[error("the store refuses writes after a failed write to disk; open it again to go on")]
    Poisoned(#[source] Option<BoxError>),
    /// No room on the disk; nothing was written. Writes work again once there is room.
    #[error("no room left on the disk of the store; nothing was written, so make room and try again")]
    Full(#[source] BoxError),
    /// Another process holds the lock for longer than the wait allowed. Try again.
    #[error("another process has been writing to the store for too long; try again, or stop it")]
    Busy(#[source] BoxError),
    /// The store can be read but not written.
    #[error("the store cannot be written: {0}")]
    ReadOnly(String),
    /// The store could not be opened, and why.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Anything else below; try again later.
    #[error("the store does not answer as it should; try again, or look at what is below it")]
    Unavailable(#[source] BoxError),
}

/// Why a store cannot be opened. Each message names the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address has a scheme that this build does not speak.
    #[error("{0:?} is not a store address; use sqlite://PATH, postgres://USER@HOST/DATABASE or memory:")]
    Address(String),
    /// A server's address that says something that cannot be understood; it may hold a password, so it is not repeated.
    #[error("the address of the PostgreSQL store is wrong: {0}")]
    Parameter(String),
    /// No server of the address can be used.
    #[error("cannot use the PostgreSQL server at {address}; check that it runs, and who may connect to it")]
    Server {
        /// Where, without secrets.
        address: String,
        /// What each of them says.
        #[source]
        source: BoxError,
    },
    /// A database without our tables, which were not to be made.
    #[error("there is no store in {0}; `rekindle store init` makes one there")]
    NotMade(String),
    /// Tables of an older Rekindle, which another process may be using just now.
    #[error("the store in {address} has format {found}, this version needs {needed}; `rekindle store migrate` brings it there")]
    Older {
        /// Where, without secrets.
        address: String,
        /// Its format.
        found: i64,
        /// The one that this version needs.
        needed: i64,
    },
    /// The tables were to be distributed where nothing can distribute them.
    #[error("{0} has no Citus extension, so its tables cannot be distributed; make the store without --distributed")]
    NotDistributable(String),
    /// There is a store already, whose tables are on one server.
    #[error(
        "the store in {0} is there already and is not distributed; make a distributed one in another database and `rekindle store copy` into it"
    )]
    NotDistributed(String),
    /// What its sessions say is encrypted, and nobody said where the keys are.
    #[error("what sessions say is encrypted in {0}; say where the keys are, with OpenOptions::keys or REKINDLE_SESSION_KEYS")]
    NoKeys(String),
    /// There is a store already, whose sessions can be read by whoever can read the database.
    #[error(
        "the store in {0} holds sessions that are not encrypted; make an encrypted one in another place and `rekindle store copy` into it"
    )]
    NotEncrypted(String),
    /// There is nothing at that place, and it was not to be created.
    #[error("there is no store at {}; name another place, or let a replay or an import make one there", .0.display())]
    Missing(PathBuf),
    /// A file that something else wrote.
    #[error("{} is not a Rekindle store; name another file with --store, it was left as it is", .0.display())]
    NotAStore(PathBuf),
    /// Written by a newer Rekindle.
    #[error("{address} has format {found}, this version reads up to {supported}; upgrade Rekindle, the store was left as it is")]
    Newer {
        /// The file or the database.
        address: String,
        /// Its format.
        found: i64,
        /// The newest that this version reads.
        supported: i64,
    },
    /// On a file system where SQLite's locks and shared memory do not work.
    #[error("{} is on a network file system ({filesystem}), where SQLite can lose data; put the store on a local disk", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What the file system calls itself.
        filesystem: &'static str,
    },
    /// The place cannot be used, for the reason given below.
    #[error("cannot open the store {}; mend what stands in the way, or name another place", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: BoxError,
    },
}

/// A cause of any type.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
