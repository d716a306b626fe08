//! What a writer hands to the log, and what it gets back.

use std::collections::HashSet;

use super::StoreError;
use super::chain::{self, Salt};
use crate::session::{Body, Digest, Epoch, EventId, NewEvent, NodeId, Recorded, Seq, SessionId, SessionName, Timestamp};

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

    /// The longest body of one event, in bytes; below what a database can hold in one value.
    pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

    /// The longest kind, in bytes.
    pub const KIND_BYTES_MAX: usize = 128;

    /// Says whether this can be stored at all, wherever the session stands.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        if let Expected::Fork { base, .. } = self.expected
            && (self.writer != Writer::Anyone || base.seq == Seq::ZERO || base.session == self.session)
        {
            return Err(invalid("a fork begins behind an event of another session, and in nobody's name".to_owned()));
        }
        if !(1..=Self::EVENTS_MAX).contains(&self.events.len()) {
            return Err(invalid(format!("an append holds 1 to {} events, got {}", Self::EVENTS_MAX, self.events.len())));
        }
        if self.events.len() > 1 {
            let mut ids = HashSet::with_capacity(self.events.len());
            if let Some(event) = self.events.iter().find(|event| !ids.insert(event.id)) {
                return Err(invalid(format!("event {} stands twice in one append", event.id)));
            }
        }
        self.events.iter().try_for_each(validate_event)?;
        let Some(directory) = &self.directory else { return Ok(()) };
        let counters = [directory.actions, directory.messages, directory.errors, directory.tokens];
        if counters.into_iter().chain(directory.cost_micro_usd).any(|count| i64::try_from(count).is_err()) {
            return Err(invalid("a counter of the directory does not fit into 63 bits".to_owned()));
        }
        Ok(())
    }

    /// Says whether the writer may append to a session that stands at `head` with `epoch`, and who owns the session then.
    ///
    /// Whoever was fenced off hears that first: where the session stands is no longer its business.
    pub(super) fn admit(&self, head: Seq, epoch: Epoch) -> Result<Ownership, StoreError> {
        let ownership = match self.writer {
            Writer::Owner(own) if own == epoch => Ownership::Stays,
            Writer::Takeover { epoch: begun, node } if begun == epoch.next() => Ownership::Passes { epoch: begun, node },
            Writer::Anyone => Ownership::Stays,
            Writer::Owner(_) | Writer::Takeover { .. } => {
                return Err(StoreError::Fenced { session: self.session, current: epoch });
            }
        };
        match self.expected {
            Expected::Any => Ok(ownership),
            Expected::NoSession if head == Seq::ZERO => Ok(ownership),
            Expected::Exact(seq) if head == seq => Ok(ownership),
            // Only a session that is not there becomes a fork, and is not asked then.
            Expected::NoSession | Expected::Exact(_) | Expected::Fork { .. } => {
                Err(StoreError::Conflict { session: self.session, head })
            }
        }
    }
}

/// What an append does to the ownership of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Nothing.
    Stays,
    /// A new owner takes over.
    Passes {
        /// The epoch that begins.
        epoch: Epoch,
        /// The owner from now on.
        node: NodeId,
    },
}

fn validate_event(event: &NewEvent) -> Result<(), StoreError> {
    let kind = event.kind.as_str();
    // Foreign tags are kept as they are, as long as they are one printable word.
    if !(1..=Append::KIND_BYTES_MAX).contains(&kind.len()) || kind.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(invalid(format!("a kind is one word of 1 to {} bytes, got {kind:.140?}", Append::KIND_BYTES_MAX)));
    }
    let begins_like_json = event
        .body
        .bytes()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'));
    if !begins_like_json || event.body.contains('\0') {
        return Err(invalid(format!("the body of event {} is not JSON", event.id)));
    }
    if event.body.len() > Append::BODY_BYTES_MAX {
        return Err(invalid(format!("the body of event {} is longer than {} bytes", event.id, Append::BODY_BYTES_MAX)));
    }
    if event.cause.is_some_and(|cause| i64::try_from(cause.0).is_err()) {
        return Err(invalid(format!("the cause of event {} is no place in a log", event.id)));
    }
    Ok(())
}

fn invalid(what: String) -> StoreError {
    StoreError::Invalid(what)
}

/// What an event gets beside its envelope before it is written: made by the caller, so that the writer only chains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    /// The salt of its body.
    pub(super) salt: Salt,
    /// The digest of salt and body.
    pub(super) digest: Digest,
}

/// Seals each event of an append under a salt of its own.
pub(super) fn seal(events: &[NewEvent]) -> Result<Vec<Seal>, StoreError> {
    // One request for randomness an append, since each is a system call.
    let mut random = vec![0; events.len() * size_of::<Salt>()];
    getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable(error.into()))?;
    let (salts, _) = random.as_chunks();
    Ok(salts.iter().zip(events).map(|(salt, event)| Seal { salt: *salt, digest: chain::digest(salt, &event.body) }).collect())
}

/// Whether `event` stands in the log as `stored`. What was redacted can no longer be compared and counts as the same.
pub(super) fn same_content(event: &NewEvent, stored: &Recorded) -> bool {
    event.kind == stored.kind
        && event.v == stored.v
        && event.at == stored.at
        && event.source == stored.source
        && event.cause == stored.cause
        && event.must_understand == stored.must_understand
        && match &stored.body {
            Body::Json(body) => event.body == *body,
            Body::Redacted => true,
        }
}

/// Answers an append whose ids are in the log already, given how to find an event by its id: `None` when none of them is.
///
/// # Errors
/// [`StoreError::Reused`] when an id stands for something else, or only some of the events are there.
pub(super) fn repeated<E, F>(append: &Append, mut find: F) -> Result<Option<Appended>, E>
where
    E: From<StoreError>,
    F: FnMut(EventId) -> Result<Option<(Recorded, Digest)>, E>,
{
    let mut answer: Option<Appended> = None;
    for (index, event) in append.events.iter().enumerate() {
        let reused = || E::from(StoreError::Reused { event: event.id });
        match (find(event.id)?, &mut answer) {
            (None, None) => {}
            (Some((stored, hash)), None) if index == 0 => {
                if stored.session != append.session || !same_content(event, &stored) {
                    return Err(reused());
                }
                answer = Some(Appended { first: stored.seq, last: stored.seq, hash, repeated: true });
            }
            (Some((stored, hash)), Some(appended)) => {
                let in_place = stored.session == append.session && stored.seq == appended.last.next();
                if !in_place || !same_content(event, &stored) {
                    return Err(reused());
                }
                appended.last = stored.seq;
                appended.hash = hash;
            }
            (Some(_), None) => return Err(reused()),
            (None, Some(_)) => {
                let first = append.events.first().map_or(event.id, |first| first.id);
                return Err(StoreError::Reused { event: first }.into());
            }
        }
    }
    Ok(answer)
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
    /// It has no events, and goes on behind an event of another session, which has this hash: a fork. The writer is
    /// [`Writer::Anyone`]; nobody owns a fork that was just begun.
    Fork {
        /// The event.
        base: Base,
        /// Its chain hash.
        hash: Digest,
    },
}

/// Where a fork leaves the log of another session: the last event that it has in common with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// The session that holds the event; never a fork that only shares it.
    pub session: SessionId,
    /// The event.
    pub seq: Seq,
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
    /// How it began: `fresh`, `replay`, `import`, `fork`.
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
    /// Where it goes on from, when it is a fork: what is before that is read there.
    pub base: Option<Base>,
}
