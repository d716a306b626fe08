//! Taking something out of the log: what must be kept is kept, and what goes is written down before it goes and once it is gone.

use std::sync::Arc;
use std::time::Duration;

use super::scribe::{self, Scribe};
use super::{AuditError, log};
use crate::engine::clock::Clock;
use crate::engine::{EngineError, living};
use crate::session::audit::{Erased, Erasing, Erasure, NotErased, OpenErasure, RetentionSet};
use crate::session::{Body, Event, NewEvent, Seq, SessionId, Source, Timestamp};
use crate::store::{Appended, Base, Expected, PURGED, Read, Row, SessionRow, SharedStore, Store, StoreError, holder};

/// How many events are redacted by one append to the audit log.
const BODIES_MAX: usize = 256;
/// A day, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// Takes bodies and sessions out of a store, and says so in its audit log.
pub struct Eraser {
    store: SharedStore,
    scribe: Scribe,
    by: String,
    retention: Retention,
}

/// How long the store wants its sessions to be kept at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Whole days after their last event; 0 for no time in particular.
    pub days: u64,
}

/// What the audit log of a store asks of whoever takes something out.
struct Said {
    retention: Retention,
    /// What was begun and of which nobody has said that it is gone.
    open: Vec<OpenErasure>,
}

impl Said {
    async fn by(store: &dyn Store) -> Result<Self, AuditError> {
        let log = log::state(store).await?;
        Ok(Self { retention: Retention { days: log.kept_days }, open: log.erasing })
    }
}

impl Retention {
    /// What the audit log of the store says.
    ///
    /// # Errors
    /// When the audit log cannot be read, or is damaged.
    pub async fn of(store: &dyn Store) -> Result<Self, AuditError> {
        Ok(Said::by(store).await?.retention)
    }

    /// Until when a session is kept that changed last `at`; `None` when nothing keeps it.
    pub fn keeps_until(self, at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let until = at.plus(Duration::from_secs(self.days.saturating_mul(DAY)));
        (until > now).then_some(until)
    }
}

impl Eraser {
    /// One that acts for `by`, who will stand in the audit log. What another one began to take out, and was killed over, is done first.
    ///
    /// # Errors
    /// When the audit log cannot be read or written, or is damaged.
    pub async fn begin(store: SharedStore, clock: Arc<dyn Clock>, by: String) -> Result<Self, AuditError> {
        let Said { retention, open } = Said::by(store.as_ref()).await?;
        let this = Self { store, scribe: Scribe::new(clock), by, retention };
        // Who is held up by what fails is told by the log.
        let (outcomes, _) = this.take_out(open).await;
        if !outcomes.is_empty() {
            this.record(outcomes).await?;
        }
        Ok(this)
    }

    /// How long the store wants its sessions to be kept, as of when this began.
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Blanks the bodies of events `first` to `last` of a session for ever, and lets go what was made of them: snapshots, words of the
    /// search, long bodies, the title. Their envelopes and digests stay, so that the chain holds; a salt that goes with the body keeps it
    /// from being guessed. Says how many were there; doing it again changes nothing.
    ///
    /// How long sessions are to be kept is no obstacle: the event stays, and what must not be known has to go at once.
    ///
    /// # Errors
    /// [`AuditError::Kept`] while the session is held, or run by a node, whose memory would write the content down again.
    pub async fn redact(&self, session: SessionId, first: Seq, last: Seq, reason: &str) -> Result<u64, AuditError> {
        let row = self.there(session).await?;
        let mut places = Vec::new();
        for seq in first.0..=last.0 {
            places.push(holder(self.store.as_ref(), Base { session, seq: Seq(seq) }).await?);
        }
        let mut holders: Vec<SessionId> = places.iter().map(|place| place.session).chain([row.id]).collect();
        holders.dedup();
        for holder in holders {
            self.is_free(&self.there(holder).await?, "its content").await?;
        }
        let mut blanked = 0;
        for places in places.chunks(BODIES_MAX) {
            let mut erasures = Vec::with_capacity(places.len());
            for place in places {
                if let Some(erasure) = self.body(*place).await? {
                    erasures.push(erasure);
                }
            }
            blanked += erasures.len() as u64;
            self.erase(erasures, reason).await?;
        }
        Ok(blanked)
    }

    /// Removes all events of a session for ever, and everything that was made of them; what stays is that it was, with its head and
    /// hash. Says whether it was still there.
    ///
    /// # Errors
    /// [`AuditError::Kept`] while it is held, has something left to do, is younger than the store keeps sessions, or is read by a fork.
    pub async fn purge(&self, session: SessionId, reason: &str) -> Result<bool, AuditError> {
        let row = self.there(session).await?;
        if row.directory.phase == PURGED {
            return Ok(false);
        }
        self.is_free(&row, &named(session)).await?;
        if row.directory.due {
            return Err(kept(named(session), "it has something left to do; close it first, and try again"));
        }
        if let Some(until) = self.retention.keeps_until(row.updated_at, self.scribe.now()) {
            let days = self.retention.days;
            let why = format!(
                "this store keeps sessions for {days} days after their last event, so until {until}; `rekindle audit retain` changes that"
            );
            return Err(kept(named(session), why));
        }
        let erasure = Erasure::Session { session, seq: row.head, hash: row.hash };
        self.erase(vec![erasure], reason).await?;
        Ok(true)
    }

    /// Says how many days after their last event sessions are kept at least; 0 for no time in particular.
    ///
    /// # Errors
    /// When the audit log cannot be read or written.
    pub async fn retain(&self, days: u64) -> Result<(), AuditError> {
        self.record(vec![self.event(&Event::RetentionSet(RetentionSet { days, by: self.by.clone() }), None)]).await?;
        Ok(())
    }

    /// What the events of a session take; the audit log's own are never taken out.
    async fn there(&self, session: SessionId) -> Result<SessionRow, AuditError> {
        let Some(row) = self.store.session(session).await? else { return Err(EngineError::NotFound(session).into()) };
        if session.is_audit_log() {
            return Err(kept("the audit log", "without it nothing could be proven of what is kept"));
        }
        Ok(row)
    }

    /// Whether nobody wants it kept and nobody holds it in memory.
    async fn is_free(&self, row: &SessionRow, what: &str) -> Result<(), AuditError> {
        if let Some(reason) = self.store.keeping(row.id).await?.and_then(|keeping| keeping.hold) {
            let why = format!("session {} is held ({reason}); `rekindle store release` lets it go", row.id);
            return Err(kept(what, why));
        }
        if let Some(owner) = row.owner
            && living(self.store.as_ref()).await?.iter().any(|node| node.id == owner)
        {
            let why = format!("node {owner} runs session {}, and would write it down again; close it first", row.id);
            return Err(kept(what, why));
        }
        Ok(())
    }

    /// The body of an event as something to take out; `None` when it is gone already.
    async fn body(&self, place: Base) -> Result<Option<Erasure>, AuditError> {
        let Base { session, seq } = place;
        Ok(match self.event_at(session, seq).await? {
            Some(Row::Event { event, hash, .. }) if event.body != Body::Redacted => Some(Erasure::Body { session, seq, hash }),
            Some(Row::Event { .. }) => None,
            Some(Row::Damaged { what, .. }) => return Err(StoreError::Damaged { session, seq, what }.into()),
            None => return Err(StoreError::Damaged { session, seq, what: "it is missing".to_owned() }.into()),
        })
    }

    async fn event_at(&self, session: SessionId, seq: Seq) -> Result<Option<Row>, StoreError> {
        Ok(self.store.read(Read::one(session, seq)).await?.rows.into_iter().next())
    }

    /// Writes down what goes, takes it out, looks for it, and writes down that it is gone.
    async fn erase(&self, erasures: Vec<Erasure>, reason: &str) -> Result<(), AuditError> {
        if erasures.is_empty() {
            return Ok(());
        }
        let erasing = erasures.iter().map(|erasure| {
            let (reason, by) = (reason.to_owned(), self.by.clone());
            self.event(&Event::Erasing(Erasing { erasure: erasure.clone(), reason, by }), None)
        });
        let recorded = self.record(erasing.collect()).await?;
        let open = erasures.into_iter().zip((recorded.first.0..).map(Seq)).map(|(erasure, at)| OpenErasure { at, erasure });
        let (outcomes, error) = self.take_out(open.collect()).await;
        self.record(outcomes).await?;
        error.map_or(Ok(()), Err)
    }

    /// What came of each, to be written down, and the first that failed.
    async fn take_out(&self, open: Vec<OpenErasure>) -> (Vec<NewEvent>, Option<AuditError>) {
        let (mut outcomes, mut first) = (Vec::with_capacity(open.len()), None);
        for OpenErasure { at, erasure } in open {
            let outcome = match self.take(&erasure).await {
                Ok(()) => Event::Erased(Erased { erasure }),
                Err(error) => {
                    let refused = NotErased { erasure, error: error.to_string() };
                    first.get_or_insert(error);
                    Event::NotErased(refused)
                }
            };
            outcomes.push(self.event(&outcome, Some(at)));
        }
        (outcomes, first)
    }

    async fn take(&self, erasure: &Erasure) -> Result<(), AuditError> {
        match erasure {
            Erasure::Body { session, seq, .. } => self.store.redact(*session, *seq).await?,
            Erasure::Session { session, .. } => match self.store.purge(*session, self.scribe.now()).await {
                // A fork reads it, or it is in use again.
                Err(StoreError::Invalid(why)) => return Err(kept(named(*session), why)),
                purged => purged?,
            },
        }
        self.is_gone(erasure).await
    }

    /// Looks for what was taken out, and that what must stay of it has stayed.
    async fn is_gone(&self, erasure: &Erasure) -> Result<(), AuditError> {
        let (what, left) = match erasure {
            Erasure::Body { session, seq, hash } => {
                let what = format!("the body of {session}:{seq}");
                match self.event_at(*session, *seq).await? {
                    Some(Row::Event { event, salt: None, digest: Some(_), hash: found })
                        if event.body == Body::Redacted && found == *hash =>
                    {
                        return Ok(());
                    }
                    _ => (what, "it can still be read"),
                }
            }
            Erasure::Session { session, seq, hash } => {
                let what = named(*session);
                let Some(row) = self.store.session(*session).await? else {
                    return Err(AuditError::Left { what, left: "even that it was there is gone".to_owned() });
                };
                let events = self.store.read(Read::last(*session, 1)).await?;
                if (row.head, row.hash) != (*seq, *hash) {
                    (what, "its head is another one than before")
                } else if !events.rows.is_empty() {
                    (what, "events of it are still there")
                } else {
                    return Ok(());
                }
            }
        };
        Err(AuditError::Left { what, left: left.to_owned() })
    }

    fn event(&self, event: &Event, cause: Option<Seq>) -> NewEvent {
        self.scribe.event(event, Source::User, cause)
    }

    async fn record(&self, events: Vec<NewEvent>) -> Result<Appended, StoreError> {
        scribe::append(self.store.as_ref(), Expected::Any, events).await
    }
}

fn named(session: SessionId) -> String {
    format!("session {session}")
}

/// What is to stay as it is, and why.
fn kept(what: impl Into<String>, why: impl Into<String>) -> AuditError {
    AuditError::Kept { what: what.into(), why: why.into() }
}
