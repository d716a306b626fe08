//! Checking a store against checkpoints that were kept outside of it: what was cut off, put back, removed or written anew, whatever
//! its own hashes say.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::log::{self, Entry, Forward};
use super::merkle::{CompactRange, leaf_hash};
use super::{AuditError, Checkpoint, Note, VerifierKey, text};
use crate::session::audit::{Erasure, Head, Sealed};
use crate::session::{Body, Digest, Seq, SessionId};
use crate::store::chain::Flaw;
use crate::store::{PURGED, Pages, Read, Row, SessionRow, Store, Verifier};

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Against {
    /// The audit log that the checkpoints are of.
    pub origin: String,
    /// How many checkpoints were checked against.
    pub checkpoints: u64,
    /// How many leaves of the audit log are proven: up to here, nothing was changed in it.
    pub leaves: u64,
    /// How many sessions are, up to the last of their heads that was sealed, what they were then.
    pub intact: u64,
    /// Sessions that were purged since, as the store says; only their last heads could be checked.
    pub purged: Vec<SessionId>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong there.
    pub what: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// In the file with the checkpoints.
    Checkpoint {
        /// The line in which the checkpoint begins, from 1.
        line: usize,
    },
    /// In the store.
    Event {
        /// The session; the audit log is one.
        session: SessionId,
        /// The first event that is bad, or missing.
        seq: Seq,
    },
}

impl Against {
    /// Whether everything is as it was sealed.
    pub const fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    fn event(&mut self, session: SessionId, seq: Seq, what: impl Into<String>) {
        self.findings.push(Finding { place: Place::Event { session, seq }, what: what.into() });
    }

    fn checkpoint(&mut self, line: usize, what: impl Into<String>) {
        self.findings.push(Finding { place: Place::Checkpoint { line }, what: what.into() });
    }
}

/// The origins that checkpoints in this text claim to be of, before anything is proven of them.
pub fn origins(text: &str) -> BTreeSet<String> {
    let claimed = |note: &str| note.parse::<Note>().ok()?.text().parse::<Checkpoint>().ok();
    text::notes(text).whole.into_iter().filter_map(|(_, note)| claimed(note)).map(|checkpoint| checkpoint.origin).collect()
}

/// Checks the store against all checkpoints in a text, signed by the `trusted` keys. Nothing but the two is needed.
///
/// # Errors
/// When the store cannot be read at all; what is wrong with it is in what is found.
pub async fn check(store: &dyn Store, text: &str, trusted: &[VerifierKey]) -> Result<Against, AuditError> {
    let mut against = Against::default();
    let checkpoints = read(text, trusted, &mut against);
    let Some(newest) = checkpoints.last() else {
        if against.holds() {
            against.checkpoint(1, "there is no checkpoint in it");
        }
        return Ok(against);
    };
    against.origin.clone_from(&newest.checkpoint.origin);
    against.checkpoints = checkpoints.len() as u64;
    let (heads, erased) = leaves(store, &checkpoints, trusted, &mut against).await?;
    against.leaves = heads.len() as u64;
    sessions(store, heads, &erased, &mut against).await?;
    Ok(against)
}

/// A checkpoint that a trusted key signed.
struct Known {
    line: usize,
    checkpoint: Checkpoint,
}

/// The checkpoints of a text that can be trusted, the smallest first.
fn read(text: &str, trusted: &[VerifierKey], against: &mut Against) -> Vec<Known> {
    let found = text::notes(text);
    let mut known: Vec<Known> = Vec::new();
    for (line, note) in &found.whole {
        let opened = note.parse::<Note>().and_then(|note| Checkpoint::open(&note, trusted));
        match opened {
            Err(error) => against.checkpoint(*line, error.to_string()),
            Ok(checkpoint) if known.first().is_some_and(|first| first.checkpoint.origin != checkpoint.origin) => {
                against.checkpoint(*line, format!("it is of another log, {}", checkpoint.origin));
            }
            Ok(checkpoint) => known.push(Known { line: *line, checkpoint }),
        }
    }
    for (line, _) in &found.other {
        against.checkpoint(*line, "this is no checkpoint");
    }
    if !found.rest.trim().is_empty() {
        let line = text.lines().count() - found.rest.lines().skip_while(|line| line.is_empty()).count() + 1;
        against.checkpoint(line, "the file ends in the middle of a checkpoint, or in something that is none");
    }
    known.sort_by_key(|known| known.checkpoint.size);
    known
}

/// What was found out about the audit log.
struct Walk<'a> {
    trusted: &'a [VerifierKey],
    tree: CompactRange,
    heads: Vec<Head>,
    /// Up to so many leaves the log is what was signed.
    proven: u64,
    /// The event that brought the first leaf beyond that.
    beyond: Option<Seq>,
    /// The chain hashes of its events.
    hashes: Vec<Digest>,
    /// What was taken out of the store and written down.
    erased: Erased,
}

/// What was taken out of the store, by what the audit log says.
#[derive(Debug, Default)]
struct Erased {
    bodies: BTreeSet<(SessionId, Seq)>,
    sessions: BTreeSet<SessionId>,
}

impl Erased {
    fn insert(&mut self, erasure: Erasure) {
        match erasure {
            Erasure::Body { session, seq, .. } => _ = self.bodies.insert((session, seq)),
            Erasure::Session { session, .. } => _ = self.sessions.insert(session),
        }
    }
}

/// Reads the leaves of the audit log, as far as they are what was signed.
async fn leaves(
    store: &dyn Store,
    checkpoints: &[Known],
    trusted: &[VerifierKey],
    against: &mut Against,
) -> Result<(Vec<Head>, Erased), AuditError> {
    let row = match log::row(store).await {
        Ok(row) => row,
        Err(AuditError::Damaged { seq, what }) => {
            against.event(SessionId::AUDIT_LOG, seq, what);
            return Ok((Vec::new(), Erased::default()));
        }
        Err(error) => return Err(error),
    };
    let mut walk = Walk {
        trusted,
        tree: CompactRange::new(),
        heads: Vec::new(),
        proven: 0,
        beyond: None,
        hashes: Vec::new(),
        erased: Erased::default(),
    };
    let head = row.as_ref().map_or(Seq::ZERO, |row| row.head);
    let mut waiting = checkpoints.iter().peekable();
    let mut places = Forward::new(store, head);
    let bad = loop {
        let place = match places.next().await {
            Ok(Some(place)) => place,
            Ok(None) => break None,
            Err(AuditError::Damaged { seq, what }) => break Some((seq, what)),
            Err(error) => return Err(error),
        };
        let (heads, sealed) = match place.entry {
            Entry::Heads(body) => (body.heads, None),
            Entry::Sealed(body) => (body.heads.clone(), Some(body)),
            Entry::Erasing(erasure) => {
                walk.erased.insert(erasure);
                (Vec::new(), None)
            }
            Entry::Published(_) | Entry::Deed | Entry::Other => (Vec::new(), None),
        };
        let mut bad = None;
        for head in heads {
            walk.beyond.get_or_insert(place.seq);
            walk.push(head);
            while let Some(known) = waiting.next_if(|known| known.checkpoint.size <= walk.tree.size()) {
                let (size, root) = (known.checkpoint.size, known.checkpoint.root);
                let there = if size == 0 { CompactRange::new().root() } else { walk.tree.root() };
                if root == there {
                    walk.proven = walk.proven.max(size);
                    walk.beyond = None;
                } else {
                    bad.get_or_insert_with(|| {
                        format!(
                            "its first {size} leaves are not those of the checkpoint in line {}: it was written anew",
                            known.line
                        )
                    });
                }
            }
        }
        if let Some(what) = bad {
            break Some((walk.beyond.unwrap_or(place.seq), what));
        }
        walk.hashes.push(place.hash);
        if let Some(sealed) = sealed
            && let Err(what) = walk.sealed(&sealed)
        {
            break Some((place.seq, what));
        }
    };
    if let Some((seq, what)) = bad {
        against.event(SessionId::AUDIT_LOG, seq, what);
    } else if let Some(known) = checkpoints.last().filter(|known| known.checkpoint.size > walk.tree.size()) {
        let (size, line, there) = (known.checkpoint.size, known.line, walk.tree.size());
        let what =
            format!("it ends with {there} leaves, and the checkpoint in line {line} has {size}: it was cut off, or put back");
        against.event(SessionId::AUDIT_LOG, head.next(), what);
    }
    // What lies beyond is not blamed on anybody: it may itself be what was changed.
    walk.heads.truncate(usize::try_from(walk.proven).unwrap_or(usize::MAX));
    let Walk { heads, hashes, erased, .. } = walk;
    for own in heads.iter().filter(|head| head.session.is_audit_log()) {
        let at = usize::try_from(own.seq.0).ok().and_then(|seq| seq.checked_sub(1));
        if at.and_then(|at| hashes.get(at)).is_none_or(|hash| *hash != own.hash) {
            against.event(SessionId::AUDIT_LOG, own.seq, "it was sealed with another hash: it was written anew");
            break;
        }
    }
    Ok((heads, erased))
}

impl Walk<'_> {
    fn push(&mut self, head: Head) {
        self.tree.push(leaf_hash(&head.bytes()));
        self.heads.push(head);
    }

    /// Compares what a seal says with the leaves that are there; one by a trusted key proves them.
    fn sealed(&mut self, sealed: &Sealed) -> Result<(), String> {
        if (sealed.size, sealed.root) != (self.tree.size(), self.tree.root()) {
            return Err("it seals other leaves than stand there".to_owned());
        }
        let opened = sealed.checkpoint.parse::<Note>().and_then(|note| Checkpoint::open(&note, self.trusted));
        match opened {
            Ok(checkpoint) if (checkpoint.size, checkpoint.root) == (sealed.size, sealed.root) => {
                self.proven = self.proven.max(sealed.size);
                self.beyond = None;
                Ok(())
            }
            Ok(_) => Err("its checkpoint is that of another seal".to_owned()),
            // The log may have had another key then; a checkpoint from outside says whether that was so.
            Err(AuditError::Unsigned { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Checks each session that was sealed, those that others were forked from first.
async fn sessions(store: &dyn Store, heads: Vec<Head>, erased: &Erased, against: &mut Against) -> Result<(), AuditError> {
    let mut by_session = BTreeMap::<SessionId, Vec<(Seq, Digest)>>::new();
    for Head { session, seq, hash } in heads.into_iter().filter(|head| !head.session.is_audit_log()) {
        by_session.entry(session).or_default().push((seq, hash));
    }
    let mut rows: Vec<SessionRow> = Vec::with_capacity(by_session.len());
    for (session, sealed) in &by_session {
        match store.session(*session).await? {
            Some(row) => rows.push(row),
            None => {
                let last = sealed.last().map_or(Seq(1), |(seq, _)| *seq);
                against.event(*session, Seq(1), format!("the whole session is gone; its events up to {last} were sealed"));
            }
        }
    }
    rows.sort_by_key(|row| row.base.map_or(Seq::ZERO, |base| base.seq));
    let mut bad = BTreeSet::new();
    for row in rows {
        let Some(mut sealed) = by_session.remove(&row.id) else { continue };
        sealed.sort_by_key(|(seq, _)| *seq);
        if row.directory.phase == PURGED {
            match purged(&row, &sealed, erased) {
                Ok(()) => against.purged.push(row.id),
                Err((seq, what)) => against.event(row.id, seq, what),
            }
            continue;
        }
        match session(store, &row, &sealed, &bad, erased).await? {
            Ok(()) => against.intact += 1,
            Err((seq, what)) => {
                bad.insert(row.id);
                against.event(row.id, seq, what);
            }
        }
    }
    Ok(())
}

/// Of a purged session only the head is left, and what the audit log says of it.
fn purged(row: &SessionRow, sealed: &[(Seq, Digest)], erased: &Erased) -> Result<(), (Seq, String)> {
    for (seq, hash) in sealed {
        if *seq > row.head {
            return Err((row.head.next(), format!("it was purged with {} events, and event {seq} was sealed", row.head)));
        }
        if *seq == row.head && *hash != row.hash {
            return Err((*seq, "it was purged with another hash than was sealed".to_owned()));
        }
    }
    if !erased.sessions.contains(&row.id) {
        return Err((Seq(1), "its events are gone, and the audit log does not say that anybody purged them".to_owned()));
    }
    Ok(())
}

/// Checks the chain of one session up to the last head that was sealed, and each of those.
async fn session(
    store: &dyn Store,
    row: &SessionRow,
    sealed: &[(Seq, Digest)],
    bad: &BTreeSet<SessionId>,
    erased: &Erased,
) -> Result<Result<(), (Seq, String)>, AuditError> {
    let Some((upto, _)) = sealed.last().copied() else { return Ok(Ok(())) };
    if row.head < upto {
        return Ok(Err((
            row.head.next(),
            format!("it ends at event {}, and event {upto} was sealed: it was cut off, or put back", row.head),
        )));
    }
    let begin = row.base.map_or(Seq::ZERO, |base| base.seq);
    let mut verifier = Verifier::from_anchor(row.id, begin, base_hash(store, row).await?);
    let mut due = sealed.iter().peekable();
    let mut last = begin;
    let mut pages = Pages::new(store, Read { upto, ..Read::forward(row.id, begin) });
    while let Some(rows) = pages.next().await? {
        for place in &rows {
            if let Err(flaw) = verifier.check(place) {
                // What a fork shares was changed: the fork itself goes on from what was there.
                let shared = verifier.seq() == begin && row.base.is_some_and(|base| bad.contains(&base.session));
                match place {
                    Row::Event { event, hash, .. } if shared => verifier = Verifier::from_anchor(row.id, event.seq, *hash),
                    _ => return Ok(Err((flaw.seq(), flaw.to_string()))),
                }
            }
            let at = verifier.seq();
            if let Some(event) = place.event().filter(|event| event.body == Body::Redacted)
                && !erased.bodies.contains(&(event.session, event.seq))
            {
                return Ok(Err((at, format!("event {at} is blank, and the audit log does not say that anybody redacted it"))));
            }
            while let Some((_, hash)) = due.next_if(|(seq, _)| *seq == at) {
                if *hash != verifier.hash() {
                    let what = format!(
                        "event {at} has another hash than was sealed: what stands from event {} on was written anew",
                        last.next()
                    );
                    return Ok(Err((last.next(), what)));
                }
                last = at;
            }
        }
    }
    if verifier.seq() < upto {
        let flaw = Flaw::Missing { seq: verifier.seq().next() };
        return Ok(Err((flaw.seq(), format!("{flaw}, and event {upto} was sealed"))));
    }
    Ok(Ok(()))
}

/// The chain hash that a session begins with: that of the last event which it shares, for a fork.
async fn base_hash(store: &dyn Store, row: &SessionRow) -> Result<Digest, AuditError> {
    let Some(base) = row.base else { return Ok(Digest::ZERO) };
    let page = store.read(Read::one(base.session, base.seq)).await?;
    Ok(match page.rows.first() {
        Some(Row::Event { hash, .. }) => *hash,
        Some(Row::Damaged { .. }) | None => Digest::ZERO,
    })
}
