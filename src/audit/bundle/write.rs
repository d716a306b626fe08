//! From a store to a bundle.

use std::collections::HashSet;
use std::io;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest as _, Sha256};

use super::contents::{Contents, Wanted};
use super::inclusion::inclusion;
use super::record::{Ancestor, BlobRecord, Counts, DamagedRecord, End, EventRecord, Header, Record};
use crate::audit::AuditError;
use crate::session::audit::Head;
use crate::session::{Digest, Seq, SessionId, Timestamp};
use crate::store::{PURGED, Pages, Read, Row, SessionRow, Store, StoreError, Verifier};

/// Who makes a bundle, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The program.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What is done where the store does not have what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing is written any more.
    Refuse,
    /// The rest is written; whoever checks the bundle finds the same damage.
    Keep,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The session that the bundle is of: the one that holds the last event.
    pub session: SessionId,
    /// How many lines of each kind.
    pub counts: Counts,
    /// What is wrong with the session, where that was to be kept.
    pub damage: Vec<String>,
}

/// Writes a session, up to its event `upto`, while it is read.
///
/// # Errors
/// [`AuditError::BadSession`] where something is not what was written and that is refused; what was written until then has no end, and
/// is known by that.
pub async fn write(
    store: &dyn Store,
    row: &SessionRow,
    upto: Seq,
    made: Made,
    damage: Damage,
    put: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Written, AuditError> {
    if row.directory.phase == PURGED {
        return Err(AuditError::Purged(row.id));
    }
    let mut verifier = Verifier::new(row.id);
    if row.base.is_some() {
        verifier = verifier.across(store).await?;
    }
    let lines = Lines { put, hasher: Sha256::new(), counts: Counts::default() };
    let mut writing = Writing { store, row, upto, damage, verifier, lines, contents: Contents::default(), told: Vec::new() };
    writing.header(made).await?;
    writing.events().await?;
    writing.blobs().await?;
    writing.proof().await?;
    writing.lines.end()?;
    Ok(Written { session: writing.session(), counts: writing.lines.counts, damage: writing.told })
}

struct Writing<'a, P> {
    store: &'a dyn Store,
    row: &'a SessionRow,
    upto: Seq,
    damage: Damage,
    verifier: Verifier,
    lines: Lines<P>,
    contents: Contents,
    told: Vec<String>,
}

impl<P: FnMut(&[u8]) -> io::Result<()>> Writing<'_, P> {
    /// Tells what is wrong, or ends.
    fn damaged(&mut self, seq: Option<Seq>, what: String) -> Result<(), AuditError> {
        match self.damage {
            Damage::Refuse => Err(AuditError::BadSession { session: self.row.id, seq, what }),
            Damage::Keep => {
                self.told.push(what);
                Ok(())
            }
        }
    }

    /// What was read; nothing where what is wrong with it was to be kept.
    fn read<T>(&mut self, read: Result<Option<T>, StoreError>) -> Result<Option<T>, AuditError> {
        match read {
            Err(StoreError::Damaged { seq, what, .. }) => {
                self.damaged(Some(seq), what)?;
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// The chain hash of an event; zeros where that cannot be read, which is told when its turn comes.
    async fn hash_at(&mut self, seq: Seq) -> Result<Digest, AuditError> {
        let read = self.store.read(Read::one(self.row.id, seq)).await;
        Ok(match self.read(read.map(|page| page.rows.into_iter().next()))? {
            Some(Row::Event { hash, .. }) => hash,
            _ => Digest::ZERO,
        })
    }

    /// The session that holds the last event. The chain vouches for that one, and for no fork that has none of its own there.
    fn session(&self) -> SessionId {
        self.verifier.session_at(self.upto).unwrap_or(self.row.id)
    }

    async fn header(&mut self, made: Made) -> Result<(), AuditError> {
        let (row, head, Made { by, at }) = (self.row, self.upto, made);
        let hash = if head == row.head { row.hash } else { self.hash_at(head).await? };
        let session = self.session();
        let held = if session == row.id { Some(row.clone()) } else { self.store.session(session).await? };
        let (name, of) = held.map_or((None, head), |held| (held.name, held.head.max(head)));
        self.lines.put(&Record::Header(Header { format: super::FORMAT.to_owned(), session, name, head, hash, of, by, at }))?;
        for (session, upto) in self.verifier.lineage().to_vec() {
            if upto >= head {
                break;
            }
            let hash = self.hash_at(upto).await?;
            self.lines.put(&Record::Ancestor(Ancestor { session, upto, hash }))?;
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<(), AuditError> {
        let mut after = Seq::ZERO;
        let mut holds = true;
        let mut pages = Pages::new(self.store, Read { upto: self.upto, ..Read::forward(self.row.id, after) });
        while let Some(rows) = self.read(pages.next().await)? {
            for row in rows {
                if row.seq() > after.next() {
                    self.gap(after.next(), Seq(row.seq().0.saturating_sub(1)))?;
                    holds = false;
                }
                after = row.seq().max(after);
                if holds && let Err(flaw) = self.verifier.check(&row) {
                    holds = false;
                    if !matches!(row, Row::Damaged { .. }) {
                        self.damaged(Some(flaw.seq()), flaw.to_string())?;
                    }
                }
                self.event(row)?;
            }
        }
        if after < self.upto {
            return self.gap(after.next(), self.upto);
        }
        if holds && self.upto == self.row.head && self.verifier.hash() != self.row.hash {
            self.damaged(Some(after), format!("the chain ends in another hash at event {after} than the head says"))?;
        }
        Ok(())
    }

    fn gap(&mut self, first: Seq, last: Seq) -> Result<(), AuditError> {
        let what =
            if first == last { format!("event {first} is missing") } else { format!("events {first} to {last} are missing") };
        self.damaged(Some(first), what.clone())?;
        Ok(self.lines.put(&Record::Damaged(DamagedRecord { seq: first, what }))?)
    }

    fn event(&mut self, row: Row) -> Result<(), AuditError> {
        let record = match row {
            Row::Event { event, salt, digest, hash } => {
                self.contents.event(&event);
                Record::Event(Box::new(EventRecord::of(event, salt, digest, hash)))
            }
            Row::Damaged { seq, what } => {
                self.damaged(Some(seq), format!("event {seq} cannot be read: {what}"))?;
                Record::Damaged(DamagedRecord { seq, what })
            }
        };
        Ok(self.lines.put(&record)?)
    }

    /// Directories first, so that whoever reads knows what is to come.
    async fn blobs(&mut self) -> Result<(), AuditError> {
        let mut gone = HashSet::new();
        for trees in [true, false] {
            loop {
                let is_next = |(digest, wanted): &(Digest, Wanted)| wanted.is_tree == trees && !gone.contains(digest);
                let mut ahead: Vec<_> = self.contents.missing().filter(is_next).collect();
                if ahead.is_empty() {
                    break;
                }
                ahead.sort_by_key(|(digest, wanted)| (wanted.by, *digest));
                for (digest, wanted) in ahead {
                    let bytes = match self.store.blob(self.row.id, digest).await {
                        Ok(bytes) => bytes,
                        Err(StoreError::Damaged { .. }) => None,
                        Err(other) => return Err(other.into()),
                    };
                    let Some(bytes) = bytes else {
                        self.damaged(
                            Some(wanted.by),
                            format!("the content {digest} that event {} refers to is not there", wanted.by),
                        )?;
                        gone.insert(digest);
                        continue;
                    };
                    self.contents.content(digest, &bytes);
                    self.lines.put(&Record::Blob(BlobRecord { digest, content: BASE64_STANDARD.encode(bytes) }))?;
                }
            }
        }
        Ok(())
    }
}

impl<P: FnMut(&[u8]) -> io::Result<()>> Writing<'_, P> {
    /// Where the store seals its log, the newest event of this one that was sealed is proven; the chain proves those before.
    async fn proof(&mut self) -> Result<(), AuditError> {
        if !self.told.is_empty() {
            return Ok(());
        }
        let (verifier, upto) = (&self.verifier, self.upto);
        let is_here = |head: &Head| head.seq <= upto && verifier.session_at(head.seq) == Some(head.session);
        match inclusion(self.store, is_here).await {
            Ok(None) => Ok(()),
            Ok(Some((key, proof))) => {
                self.lines.put(&Record::Key(key))?;
                Ok(self.lines.put(&Record::Proof(proof))?)
            }
            Err(AuditError::Damaged { seq, what }) => {
                self.damaged(None, format!("the store's audit log, which would prove it, is damaged at event {seq}: {what}"))
            }
            Err(other) => Err(other),
        }
    }
}

/// Writes lines, and remembers what the last one and the caller are told of them.
struct Lines<P> {
    put: P,
    hasher: Sha256,
    counts: Counts,
}

impl<P: FnMut(&[u8]) -> io::Result<()>> Lines<P> {
    fn put(&mut self, record: &Record) -> io::Result<()> {
        let mut line = record.to_line();
        line.push(b'\n');
        self.hasher.update(&line);
        self.counts.add(record);
        (self.put)(&line)
    }

    fn end(&mut self) -> io::Result<()> {
        let sha256 = Digest(std::mem::take(&mut self.hasher).finalize().into());
        self.put(&Record::End(End { sha256 }))
    }
}
