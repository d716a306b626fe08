//! What a writer hands to the log, and what it gets back.

use crate::session::{Digest, Epoch, NewEvent, NodeId, Seq, SessionId, SessionName, Timestamp};

/// Events to add to one session: all of them or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// Where the writer believes the session to stand.
    pub expected: Expected,
    /// In whose name it writes.
    pub writer: Writer,
    /// At least one, at most [`Append::EVENTS_MAX`].
    pub events: Vec<NewEvent>,
    /// What the session's directory row says from now on; `None` leaves it as it is, but for its head.
    pub directory: Option<Directory>,
}

impl Append {
    /// The most events that one append may hold.
    pub const EVENTS_MAX: usize = 4096;
}

/// Where a writer believes a session to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It has no events.
    NoSession,
    /// Its last event has this seq.
    Exact(Seq),
    /// Wherever it stands; a session that does not exist is created.
    Any,
}

/// In whose name an append is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The owner of this epoch; [`StoreError::Fenced`](super::StoreError::Fenced) once the session has a higher one.
    Owner(Epoch),
    /// A new owner: the session's epoch becomes `epoch`, which must be the one after the present.
    Takeover {
        /// The epoch that begins with this append.
        epoch: Epoch,
        /// Who owns the session from now on.
        node: NodeId,
    },
    /// Nobody in particular: an import, a note. Does not touch ownership.
    Anyone,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The seq of the first of the events.
    pub first: Seq,
    /// The seq of the last of them.
    pub last: Seq,
    /// The chain hash after the last.
    pub hash: Digest,
    /// Whether the same events were there already, from an append whose answer was lost.
    pub repeated: bool,
}

/// The inline projection: what lists show of a session without reading its events. Rebuilt from the log at any time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Directory {
    /// The phase's name.
    pub phase: String,
    /// Whether the session has a next effect, hence needs a worker.
    pub due: bool,
    /// How it began: `fresh`, `replay`, `import`.
    pub origin: String,
    /// A line for people.
    pub title: Option<String>,
    /// Actions so far.
    pub actions: u64,
    /// Messages so far, of the user and the agent.
    pub messages: u64,
    /// Observations that report an error, so far.
    pub errors: u64,
    /// Tokens used so far, prompt and completion.
    pub tokens: u64,
    /// Money spent so far, in millionths of a US dollar; `None` when no model said.
    pub cost_micro_usd: Option<u64>,
}

/// A session as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// What another system or a person called it.
    pub name: Option<SessionName>,
    /// Its last event.
    pub head: Seq,
    /// The chain hash of that event.
    pub hash: Digest,
    /// How often it has changed hands.
    pub epoch: Epoch,
    /// Who runs it, or ran it last.
    pub owner: Option<NodeId>,
    /// When its first event was made.
    pub created_at: Timestamp,
    /// When its last event was made.
    pub updated_at: Timestamp,
    /// The inline projection.
    pub directory: Directory,
}
