//! The chain of one session: each event's hash covers its envelope, the salted digest of its body, and the hash before it.
//!
//! An event that was changed, dropped, added or moved breaks the chain at its seq. A redacted body leaves its digest behind, so
//! that the chain still holds; the salt goes with the body, so that the content cannot be guessed from the digest.

use sha2::{Digest as _, Sha256};

use super::fork::DEPTH_MAX;
use super::{Base, Pages, Read, Row, Store, StoreError};
use crate::session::{Body, Digest, EventId, NewEvent, Recorded, Seq, SessionId, Source, Timestamp};

/// Keeps hashes of events from being mistaken for hashes of anything else.
const DOMAIN: &[u8] = b"rekindle/event/1\0";

/// What a salt looks like.
pub type Salt = [u8; 16];

/// Digests a body under its salt.
pub fn digest(salt: &Salt, body: &str) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(body.as_bytes());
    Digest(hasher.finalize().into())
}

/// The part of an event that its hash covers beside the digest of its body.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The session.
    pub session: SessionId,
    /// The place in it.
    pub seq: Seq,
    /// The event's name.
    pub id: EventId,
    /// What happened.
    pub kind: &'a str,
    /// Schema version of the body.
    pub v: u16,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub source: Source,
    /// The event that this one answers.
    pub cause: Option<Seq>,
    /// Whether a reader that does not know the kind must not act.
    pub must_understand: bool,
}

impl<'a> Envelope<'a> {
    /// The envelope that `event` will have at `seq` of `session`.
    pub fn of_new(session: SessionId, seq: Seq, event: &'a NewEvent) -> Self {
        let NewEvent { id, kind, v, at, source, cause, must_understand, body: _ } = event;
        Self {
            session,
            seq,
            id: *id,
            kind: kind.as_str(),
            v: *v,
            at: *at,
            source: *source,
            cause: *cause,
            must_understand: *must_understand,
        }
    }

    /// The envelope of a recorded event.
    pub fn of(event: &'a Recorded) -> Self {
        let Recorded { session, seq, id, kind, v, at, source, cause, must_understand, body: _ } = event;
        Self {
            session: *session,
            seq: *seq,
            id: *id,
            kind: kind.as_str(),
            v: *v,
            at: *at,
            source: *source,
            cause: *cause,
            must_understand: *must_understand,
        }
    }

    /// The hash of this event, given the hash of the one before and the digest of its body.
    pub fn hash(&self, previous: &Digest, body: &Digest) -> Digest {
        // One buffer and one call: hashing field by field costs more than the hash itself.
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 64 + 160 + self.kind.len());
        bytes.extend_from_slice(DOMAIN);
        bytes.extend_from_slice(&previous.0);
        field(&mut bytes, self.session.as_bytes());
        field(&mut bytes, &self.seq.0.to_be_bytes());
        field(&mut bytes, self.id.as_bytes());
        field(&mut bytes, self.kind.as_bytes());
        field(&mut bytes, &self.v.to_be_bytes());
        field(&mut bytes, &self.at.0.to_be_bytes());
        field(&mut bytes, self.source.as_str().as_bytes());
        match self.cause {
            Some(cause) => field(&mut bytes, &cause.0.to_be_bytes()),
            None => field(&mut bytes, &[]),
        }
        field(&mut bytes, &[u8::from(self.must_understand)]);
        bytes.extend_from_slice(&body.0);
        Digest::of(&bytes)
    }
}

/// Adds a field with its length before it, so that no two envelopes have the same bytes.
fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
    bytes.extend_from_slice(value);
}

/// What is wrong with a chain, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// An event that should be there is not.
    #[error("event {seq} is missing")]
    Missing {
        /// Where it should be.
        seq: Seq,
    },
    /// A row stands where it should not: twice, or in the wrong order.
    #[error("event {seq} stands where event {wanted} should")]
    Misplaced {
        /// What stands there.
        seq: Seq,
        /// What should.
        wanted: Seq,
    },
    /// The stored bytes are no event.
    #[error("event {seq} cannot be read: {what}")]
    Unreadable {
        /// Its place.
        seq: Seq,
        /// Why not.
        what: String,
    },
    /// An event, or its hash, is not what was appended.
    #[error("event {seq} is not what was appended: its hash does not match")]
    Changed {
        /// Its place.
        seq: Seq,
    },
    /// The log ends before the head, or goes on behind it.
    #[error("the log ends at event {seq}, its head says {head}")]
    Cut {
        /// The last event that is there.
        seq: Seq,
        /// The last that should be.
        head: Seq,
    },
    /// The chain holds but ends in another hash than the head says.
    #[error("the chain ends in another hash at event {seq} than the head says")]
    OtherHead {
        /// The last event.
        seq: Seq,
    },
}

impl Flaw {
    /// The first place that cannot be trusted.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Missing { seq } | Self::Unreadable { seq, .. } | Self::Changed { seq } | Self::OtherHead { seq } => *seq,
            Self::Misplaced { wanted, .. } => *wanted,
            Self::Cut { seq, head } => seq.next().min(head.next()),
        }
    }

    /// The same for callers of the store.
    pub fn of_session(self, session: SessionId) -> StoreError {
        StoreError::Damaged { session, seq: self.seq(), what: self.to_string() }
    }
}

/// What was proven of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many events were checked.
    pub events: u64,
    /// The last of them.
    pub head: Seq,
    /// The chain hash there.
    pub hash: Digest,
}

/// Checks a chain while its rows stream by, oldest first.
#[derive(Debug, Clone)]
pub struct Verifier {
    /// The sessions that the log runs through, the oldest first, each with the last event of it that belongs there.
    lineage: Vec<(SessionId, Seq)>,
    begin: Seq,
    seq: Seq,
    hash: Digest,
}

impl Verifier {
    /// Begins at the first event.
    pub fn new(session: SessionId) -> Self {
        Self::from_anchor(session, Seq::ZERO, Digest::ZERO)
    }

    /// Begins after an event that is trusted, such as the last one of a snapshot or the one that a fork goes on from.
    pub fn from_anchor(session: SessionId, seq: Seq, hash: Digest) -> Self {
        Self { lineage: vec![(session, Seq(u64::MAX))], begin: seq, seq, hash }
    }

    /// Begins at the first event of a log that runs through these sessions, the oldest first, each with the last event of it that
    /// belongs there.
    pub const fn over(lineage: Vec<(SessionId, Seq)>) -> Self {
        Self { lineage, begin: Seq::ZERO, seq: Seq::ZERO, hash: Digest::ZERO }
    }

    /// Checks a fork as one log with what it shares: the events up to each base are those of the session that holds them.
    ///
    /// # Errors
    /// When the rows of the sessions that it lies on cannot be read.
    pub async fn across(mut self, store: &dyn Store) -> Result<Self, StoreError> {
        let fork = self.lineage.last().map(|(session, _)| *session);
        let mut next = fork;
        while let Some(session) = next {
            let base = store.session(session).await?.and_then(|row| row.base);
            if let Some(Base { session, seq }) = base {
                self.lineage.push((session, seq));
            }
            if self.lineage.len() > DEPTH_MAX {
                return Err(super::fork::endless(session));
            }
            next = base.map(|base| base.session);
        }
        self.lineage.sort_by_key(|(_, upto)| *upto);
        Ok(self)
    }

    /// The sessions that the log runs through, the oldest first, each with the last event of it that belongs there.
    pub fn lineage(&self) -> &[(SessionId, Seq)] {
        &self.lineage
    }

    /// Whether it knows of sessions that this one was forked from.
    pub const fn is_across(&self) -> bool {
        self.lineage.len() > 1
    }

    /// The session whose event `seq` belongs to this log.
    pub fn session_at(&self, seq: Seq) -> Option<SessionId> {
        self.lineage.iter().find(|(_, upto)| seq <= *upto).map(|(session, _)| *session)
    }

    /// The last event that was checked.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// The chain hash there.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// Checks the next row.
    ///
    /// # Errors
    /// The [`Flaw`] of this place; what follows cannot be judged then.
    pub fn check(&mut self, row: &Row) -> Result<(), Flaw> {
        let wanted = self.seq.next();
        let seq = row.seq();
        if seq > wanted {
            return Err(Flaw::Missing { seq: wanted });
        }
        if seq < wanted {
            return Err(Flaw::Misplaced { seq, wanted });
        }
        let (event, salt, kept, hash) = match row {
            Row::Event { event, salt, digest, hash } => (event, salt, digest, hash),
            Row::Damaged { what, .. } => return Err(Flaw::Unreadable { seq, what: what.clone() }),
        };
        let body = match (&event.body, salt, kept) {
            (Body::Json(body), Some(salt), None) => digest(salt, body),
            (Body::Redacted, None, Some(digest)) => *digest,
            (Body::Json(_), ..) => return Err(Flaw::Unreadable { seq, what: "its body has no salt".to_owned() }),
            (Body::Redacted, ..) => return Err(Flaw::Unreadable { seq, what: "it has neither body nor digest".to_owned() }),
        };
        if Some(event.session) != self.session_at(seq) || Envelope::of(event).hash(&self.hash, &body) != *hash {
            return Err(Flaw::Changed { seq });
        }
        self.seq = seq;
        self.hash = *hash;
        Ok(())
    }

    /// A flaw, for callers of the store, named with the session that holds its place.
    pub fn named(&self, flaw: Flaw) -> StoreError {
        let held = self.session_at(flaw.seq()).or_else(|| self.lineage.last().map(|(session, _)| *session));
        flaw.of_session(held.unwrap_or_else(|| SessionId::from_uuid(uuid::Uuid::nil())))
    }

    /// Compares where the chain ended with where the head says that it does.
    ///
    /// # Errors
    /// [`Flaw::Cut`] and [`Flaw::OtherHead`].
    pub fn finish(&self, head: Seq, hash: Digest) -> Result<Verified, Flaw> {
        if self.seq != head {
            return Err(Flaw::Cut { seq: self.seq, head });
        }
        if self.hash != hash {
            return Err(Flaw::OtherHead { seq: head });
        }
        Ok(Verified { events: head.0.saturating_sub(self.begin.0), head, hash })
    }
}

/// Checks the whole chain of one session, page by page. Events appended meanwhile are not looked at.
///
/// # Errors
/// [`StoreError::Damaged`] names the first event that cannot be trusted, and the session that holds it: of a fork, all that it shares is
/// checked, too. [`StoreError::Invalid`] when there is no such session.
pub async fn verify_session(store: &dyn Store, session: SessionId) -> Result<Verified, StoreError> {
    let Some(row) = store.session(session).await? else {
        return Err(StoreError::Invalid(format!("there is no session {session}")));
    };
    let mut verifier = Verifier::new(session);
    if row.base.is_some() {
        verifier = verifier.across(store).await?;
    }
    let mut pages = Pages::new(store, Read { upto: row.head, ..Read::forward(session, verifier.seq()) });
    while let Some(rows) = pages.next().await? {
        for row in &rows {
            verifier.check(row).map_err(|flaw| verifier.named(flaw))?;
        }
    }
    verifier.finish(row.head, row.hash).map_err(|flaw| verifier.named(flaw))
}
