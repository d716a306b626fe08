//! Sealing: the heads of all sessions that changed become leaves of the tree, and its root is signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::log::{Entry, Forward, Tip};
use super::merkle::{CompactRange, leaf_hash};
use super::publish::{self, Outcome};
use super::scribe::{self, Scribe};
use super::{AuditError, Checkpoint, Note, SignerKey, VerifierKey, log};
use crate::engine::clock::Clock;
use crate::engine::ports::Sink;
use crate::session::audit::{Head, HeadsListed, Sealed};
use crate::session::{Digest, Event, NewEvent, Seq, SessionId, Source};
use crate::store::{Expected, FeedCursor, Row, SharedStore, Store, StoreError};

/// How many places of the feed are read at once.
const PAGE: u32 = 1024;
/// How many sessions are sealed by one append; of more, the rest follows in further ones.
const SESSIONS_MAX: usize = 64 * 1024;
/// How many heads one event holds: its body stays below what is stored out of line.
const HEADS_MAX: usize = 256;
/// How often it is tried again when others seal at the same time.
const TRIES_MAX: u32 = 20;

/// Seals the log of a store, and publishes checkpoints of it.
pub struct Sealer {
    store: SharedStore,
    scribe: Scribe,
    key: SignerKey,
    trusted: Vec<VerifierKey>,
    sinks: Vec<Arc<dyn Sink>>,
}

/// What a seal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The checkpoint that it signed.
    pub checkpoint: Checkpoint,
    /// How many sessions had changed since the seal before.
    pub sessions: u64,
    /// How many events of theirs cannot be read, so that their sessions are sealed as of the one before.
    pub unreadable: u64,
    /// What came of publishing it, by sink.
    pub published: Vec<(String, Outcome)>,
}

/// Says which audit log the store has: its origin; `None` where nothing was ever sealed.
///
/// # Errors
/// When the store cannot be read, or its audit log is damaged.
pub async fn origin(store: &dyn Store) -> Result<Option<String>, AuditError> {
    let Some(sealed) = log::tip(store).await?.sealed else { return Ok(None) };
    let note: Note = sealed.checkpoint.parse()?;
    Ok(Some(note.text().parse::<Checkpoint>()?.origin))
}

/// Says which key signed the audit log last, as the log has it; `None` where nothing was ever sealed.
///
/// # Errors
/// As [`origin`].
pub async fn last_key(store: &dyn Store) -> Result<Option<VerifierKey>, AuditError> {
    log::tip(store).await?.sealed.map(|sealed| sealed.key.parse()).transpose()
}

impl Sealer {
    /// A sealer that signs with `key`, which is called as the audit log is.
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>, key: SignerKey) -> Self {
        let trusted = vec![key.verifier().clone()];
        Self { store, scribe: Scribe::new(clock), key, trusted, sinks: Vec::new() }
    }

    /// Also believes what these keys have signed: those that the log was signed with before.
    #[must_use]
    pub fn trusting(mut self, earlier: impl IntoIterator<Item = VerifierKey>) -> Self {
        self.trusted.extend(earlier);
        self
    }

    /// Publishes to these.
    #[must_use]
    pub fn publishing_to(mut self, sinks: Vec<Arc<dyn Sink>>) -> Self {
        self.sinks = sinks;
        self
    }

    /// Seals everything that is in the feed now, and publishes what the sinks do not hold yet. Where nothing has changed, that is
    /// sealed, too: each seal is a leaf of the next one, so that no two checkpoints are alike.
    ///
    /// # Errors
    /// Nothing is signed when a sink holds a checkpoint that is no earlier state of the audit log ([`AuditError::Inconsistent`]), when
    /// the log is damaged, or the store cannot be read or written. A sink that cannot be reached is told in [`Seal::published`].
    pub async fn seal(&self) -> Result<Seal, AuditError> {
        let end = self.store.feed_head().await?;
        let mut sealed = Gathered::default();
        for _ in 0..TRIES_MAX {
            // The sinks before the log: they never hold more than it, unless something was taken out of it.
            let held = publish::look(&self.sinks, &self.trusted).await?;
            let tip = log::tip(self.store.as_ref()).await?;
            self.is_ours(&tip)?;
            publish::check(self.store.as_ref(), &tip, &held, self.key.verifier().name()).await?;
            match self.append(&tip, &mut sealed).await {
                // What came meanwhile is for the next seal.
                Ok((checkpoint, upto)) if upto.covers(&end) => {
                    let published =
                        publish::publish(self.store.as_ref(), &self.sinks, &self.trusted, &|event| self.event(event)).await?;
                    let Gathered { sessions, unreadable, .. } = sealed;
                    return Ok(Seal { checkpoint, sessions: sessions as u64, unreadable, published });
                }
                Ok(_) | Err(AuditError::Store(StoreError::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AuditError::Contended)
    }

    /// How long it is until the store is to be sealed again, when that is done every `every`: nothing once it is due.
    ///
    /// # Errors
    /// When the store cannot be read, or its audit log is damaged.
    pub async fn due_in(&self, every: Duration) -> Result<Duration, AuditError> {
        let Some(at) = log::tip(self.store.as_ref()).await?.sealed_at else { return Ok(Duration::ZERO) };
        // A clock that was put back makes nobody wait for longer than usual.
        Ok(at.plus(every).since(self.scribe.now()).min(every))
    }

    /// Whether the log is the one that the key is of, and its last seal one that a trusted key has made.
    fn is_ours(&self, tip: &Tip) -> Result<(), AuditError> {
        let Some(sealed) = &tip.sealed else { return Ok(()) };
        let note: Note = sealed.checkpoint.parse()?;
        let claimed: Checkpoint = note.text().parse()?;
        if claimed.origin != self.key.verifier().name() {
            return Err(AuditError::OtherLog { log: claimed.origin, key: self.key.verifier().name().to_owned() });
        }
        let checkpoint = Checkpoint::open(&note, &self.trusted)?;
        if (checkpoint.size, checkpoint.root) != (tip.tree.size(), tip.tree.root()) {
            return Err(AuditError::Damaged { seq: tip.head, what: "its last seal is not what was signed".to_owned() });
        }
        Ok(())
    }

    /// Appends one seal, and says up to where it read.
    async fn append(&self, tip: &Tip, sealed: &mut Gathered) -> Result<(Checkpoint, FeedCursor), AuditError> {
        let gathered = self.gather(tip).await?;
        let mut heads: Vec<Head> = Vec::with_capacity(gathered.heads.len() + 1);
        // What was sealed before, and when, is sealed with what comes next.
        if tip.head > Seq::ZERO {
            heads.push(Head { session: SessionId::AUDIT_LOG, seq: tip.head, hash: tip.hash });
        }
        heads.extend(gathered.heads.iter().map(|(session, (seq, hash))| Head { session: *session, seq: *seq, hash: *hash }));
        let mut tree = tip.tree.clone();
        tree.extend(heads.iter().map(|head| leaf_hash(&head.bytes())));
        let checkpoint = Checkpoint::new(self.key.verifier().name().to_owned(), tree.size(), tree.root());
        let events = self.events(heads, &tree, &checkpoint, &gathered.upto)?;
        let expected = if tip.head == Seq::ZERO { Expected::NoSession } else { Expected::Exact(tip.head) };
        scribe::append(self.store.as_ref(), expected, events).await?;
        sealed.sessions += gathered.heads.len();
        sealed.unreadable += gathered.unreadable;
        Ok((checkpoint, gathered.upto))
    }

    fn events(
        &self,
        heads: Vec<Head>,
        tree: &CompactRange,
        checkpoint: &Checkpoint,
        upto: &FeedCursor,
    ) -> Result<Vec<NewEvent>, AuditError> {
        let mut parts: Vec<Vec<Head>> = heads.chunks(HEADS_MAX).map(<[Head]>::to_vec).collect();
        let last = parts.pop().unwrap_or_default();
        let mut events: Vec<NewEvent> =
            parts.into_iter().map(|heads| self.event(Event::HeadsListed(HeadsListed { heads }))).collect();
        events.push(self.event(Event::Sealed(Sealed {
            heads: last,
            upto: upto.to_string(),
            size: tree.size(),
            root: tree.root(),
            tree: tree.roots().to_vec(),
            checkpoint: checkpoint.sign(&self.key)?.to_string(),
            key: self.key.verifier().to_string(),
            to: self.sinks.iter().map(|sink| sink.name().to_owned()).collect(),
        })));
        Ok(events)
    }

    fn event(&self, event: Event) -> NewEvent {
        self.scribe.event(&event, Source::Environment, None)
    }

    /// The newest heads of the sessions that changed since the last seal.
    async fn gather(&self, tip: &Tip) -> Result<Gathered, AuditError> {
        let store = self.store.as_ref();
        let after = match &tip.sealed {
            None => FeedCursor::default(),
            Some(sealed) => match sealed.upto.parse() {
                Ok(cursor) => cursor,
                Err(_) => return Err(AuditError::Damaged { seq: tip.head, what: "its place in the feed is none".to_owned() }),
            },
        };
        match gather_after(store, after).await {
            // In a copy of the store events have other places: all are looked at, and those that are sealed already are left out.
            Err(StoreError::OtherStore | StoreError::Ahead { .. }) => {
                let mut gathered = gather_after(store, FeedCursor::default()).await?;
                let known = sealed_heads(store, tip.head).await?;
                gathered
                    .heads
                    .retain(|session, (seq, hash)| !known.contains(&Head { session: *session, seq: *seq, hash: *hash }));
                Ok(gathered)
            }
            gathered => Ok(gathered?),
        }
    }
}

/// What is to be sealed.
#[derive(Debug, Default)]
struct Gathered {
    heads: BTreeMap<SessionId, (Seq, Digest)>,
    upto: FeedCursor,
    sessions: usize,
    unreadable: u64,
}

async fn gather_after(store: &dyn Store, after: FeedCursor) -> Result<Gathered, StoreError> {
    let mut gathered = Gathered { upto: after, ..Gathered::default() };
    // What is appended meanwhile is for the next seal: else a busy store would never be sealed.
    let end = store.feed_head().await?;
    loop {
        let page = store.feed(gathered.upto.clone(), PAGE).await?;
        gathered.unreadable += page.damaged.len() as u64;
        for row in page.rows {
            if let Row::Event { event, hash, .. } = row.row
                && !event.session.is_audit_log()
            {
                gathered.heads.insert(event.session, (event.seq, hash));
            }
        }
        if page.next == gathered.upto {
            // Nothing was read: what lies between was purged.
            gathered.upto = end;
            return Ok(gathered);
        }
        gathered.upto = page.next;
        if gathered.upto.covers(&end) || gathered.heads.len() >= SESSIONS_MAX {
            return Ok(gathered);
        }
    }
}

/// Every head that is in the tree.
async fn sealed_heads(store: &dyn Store, upto: Seq) -> Result<BTreeSet<Head>, AuditError> {
    let mut known = BTreeSet::new();
    let mut log = Forward::new(store, upto);
    while let Some(place) = log.next().await? {
        match place.entry {
            Entry::Heads(body) => known.extend(body.heads),
            Entry::Sealed(body) => known.extend(body.heads),
            Entry::Published(_) | Entry::Erasing(_) | Entry::Deed | Entry::Other => {}
        }
    }
    Ok(known)
}
