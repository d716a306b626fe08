//! The audit log of a store: a session like any other, whose events list the leaves of the tree and seal them.

use super::AuditError;
use super::merkle::CompactRange;
use crate::engine::restore::{Trust, restore};
use crate::session::audit::{Erasure, HeadsListed, Published, Sealed};
use crate::session::{Digest, Event, Recorded, Seq, Session, SessionId, Timestamp};
use crate::store::chain::Flaw;
use crate::store::{PURGED, Pages, Read, Row, SessionRow, Store, Verifier};

/// How many events are read at once, looking back for the last seal.
const BACK: u32 = 16;

/// What an event of the audit log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Heads(HeadsListed),
    Sealed(Box<Sealed>),
    Published(Published),
    /// Something is taken out of the store.
    Erasing(Erasure),
    /// Something else that was done to the store.
    Deed,
    /// Written by another version.
    Other,
}

impl Entry {
    pub(super) fn of(event: &Recorded) -> Self {
        match Event::read(event) {
            Event::HeadsListed(body) => Self::Heads(body),
            Event::Sealed(body) => Self::Sealed(Box::new(body)),
            Event::Published(body) => Self::Published(body),
            Event::Erasing(body) => Self::Erasing(body.erasure),
            Event::Erased(_) | Event::NotErased(_) | Event::RetentionSet(_) | Event::AccessSet(_) | Event::AccessRead(_) => {
                Self::Deed
            }
            _ => Self::Other,
        }
    }
}

/// Where the audit log stands.
#[derive(Debug, Clone)]
pub(super) struct Tip {
    /// Its last event, and the chain hash of that.
    pub(super) head: Seq,
    pub(super) hash: Digest,
    /// The last seal.
    pub(super) sealed: Option<Sealed>,
    /// When that was made.
    pub(super) sealed_at: Option<Timestamp>,
    /// The tree that it sealed.
    pub(super) tree: CompactRange,
}

/// Finds the last seal of the store's audit log.
pub(super) async fn tip(store: &dyn Store) -> Result<Tip, AuditError> {
    let Some(row) = row(store).await? else {
        return Ok(Tip { head: Seq::ZERO, hash: Digest::ZERO, sealed: None, sealed_at: None, tree: CompactRange::new() });
    };
    let Some((seq, at, sealed)) = back(store, row.head).next_sealed().await? else {
        // So far it only says what was done to the store.
        return Ok(Tip { head: row.head, hash: row.hash, sealed: None, sealed_at: None, tree: CompactRange::new() });
    };
    let bad = |what: &str| AuditError::Damaged { seq, what: what.to_owned() };
    let tree = CompactRange::from_roots(sealed.size, sealed.tree.clone()).ok_or_else(|| bad("its tree has another size"))?;
    if tree.root() != sealed.root {
        return Err(bad("its tree has another root"));
    }
    Ok(Tip { head: row.head, hash: row.hash, sealed: Some(sealed), sealed_at: Some(at), tree })
}

/// The row of the audit log; `None` where nothing was ever sealed.
pub(super) async fn row(store: &dyn Store) -> Result<Option<SessionRow>, AuditError> {
    match store.session(SessionId::AUDIT_LOG).await? {
        Some(row) if row.directory.phase == PURGED => {
            Err(AuditError::Damaged { seq: Seq(1), what: "its events were purged".to_owned() })
        }
        row => Ok(row),
    }
}

/// The state that the audit log folds to; that of no log where there is none.
pub(super) async fn state(store: &dyn Store) -> Result<Session, AuditError> {
    Ok(match row(store).await? {
        Some(row) => restore(store, row.id, Trust::Snapshot).await?.session,
        None => Session::default(),
    })
}

/// Reads the audit log backwards, from `from` on.
pub(super) const fn back(store: &dyn Store, from: Seq) -> Back<'_> {
    Back { store, from, rows: Vec::new() }
}

pub(super) struct Back<'a> {
    store: &'a dyn Store,
    from: Seq,
    /// The last one comes next.
    rows: Vec<Row>,
}

impl Back<'_> {
    /// The next entry, the last one first.
    pub(super) async fn next(&mut self) -> Result<Option<Place>, AuditError> {
        if self.rows.is_empty() && self.from > Seq::ZERO {
            let page = self.store.read(Read { upto: self.from, ..Read::last(SessionId::AUDIT_LOG, BACK) }).await?;
            self.from = page.rows.last().map_or(Seq::ZERO, |row| Seq(row.seq().0.saturating_sub(1)));
            self.rows = page.rows;
            self.rows.reverse();
        }
        match self.rows.pop() {
            None => Ok(None),
            Some(Row::Damaged { seq, what }) => Err(AuditError::Damaged { seq, what }),
            Some(Row::Event { event, hash, .. }) => {
                Ok(Some(Place { seq: event.seq, at: event.at, hash, entry: Entry::of(&event) }))
            }
        }
    }

    async fn next_sealed(&mut self) -> Result<Option<(Seq, Timestamp, Sealed)>, AuditError> {
        while let Some(place) = self.next().await? {
            match place.entry {
                Entry::Sealed(sealed) => return Ok(Some((place.seq, place.at, *sealed))),
                Entry::Heads(_) | Entry::Published(_) | Entry::Erasing(_) | Entry::Deed => {}
                Entry::Other => return Err(AuditError::Occupied(place.seq)),
            }
        }
        Ok(None)
    }
}

/// Reads the audit log from its first event on, and checks its chain meanwhile.
pub(super) struct Forward<'a> {
    pages: Pages<'a>,
    upto: Seq,
    verifier: Verifier,
    /// Of the page that is being handed out.
    rows: std::vec::IntoIter<Row>,
}

/// One event, and the chain hash of it.
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) hash: Digest,
    pub(super) entry: Entry,
}

impl<'a> Forward<'a> {
    pub(super) fn new(store: &'a dyn Store, upto: Seq) -> Self {
        let session = SessionId::AUDIT_LOG;
        let pages = Pages::new(store, Read { upto, ..Read::forward(session, Seq::ZERO) });
        Self { pages, upto, verifier: Verifier::new(session), rows: Vec::new().into_iter() }
    }

    /// What the next event says; `None` behind the last one.
    pub(super) async fn next(&mut self) -> Result<Option<Place>, AuditError> {
        let next = self.next_event().await?;
        Ok(next.map(|(event, hash)| Place { seq: event.seq, at: event.at, hash, entry: Entry::of(&event) }))
    }

    /// The next event, and the chain hash of it.
    pub(super) async fn next_event(&mut self) -> Result<Option<(Recorded, Digest)>, AuditError> {
        if self.rows.len() == 0
            && let Some(rows) = self.pages.next().await?
        {
            self.rows = rows.into_iter();
        }
        let at = self.verifier.seq();
        let Some(row) = self.rows.next() else {
            return if at < self.upto { Err(damaged(&Flaw::Cut { seq: at, head: self.upto })) } else { Ok(None) };
        };
        self.verifier.check(&row).map_err(|flaw| damaged(&flaw))?;
        Ok(match row {
            Row::Event { event, hash, .. } => Some((event, hash)),
            Row::Damaged { .. } => None,
        })
    }
}

fn damaged(flaw: &Flaw) -> AuditError {
    AuditError::Damaged { seq: flaw.seq(), what: flaw.to_string() }
}
