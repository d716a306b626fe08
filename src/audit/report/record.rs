//! What the audit log says of a period: seals, what was taken out, how long sessions are kept, and who has read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Asked, Period};
use crate::audit::log::{self, Forward};
use crate::audit::merkle::{CompactRange, leaf_hash};
use crate::audit::{AuditError, Checkpoint, Note, Verdict, VerifierKey};
use crate::projection::moment;
use crate::session::audit::{Access, AccessRead, AccessSet, Erased, Erasing, Erasure, Head, NotErased, RetentionSet, Sealed};
use crate::session::{Digest, Event, Recorded, Seq, SessionId, Timestamp};
use crate::store::Store;

/// One seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealReport {
    /// The event of the audit log.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// How many leaves the tree had then.
    pub size: u64,
    /// Its root.
    pub root: Digest,
    /// The key that signed it, its public half, as the seal names it.
    pub key: String,
    /// Where it was to be published.
    pub to: Vec<String>,
}

/// Something that was taken out of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureReport {
    /// The event of the audit log that announced it.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// What.
    pub erasure: Erasure,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// What came of it.
    pub outcome: ErasureOutcome,
}

/// What came of an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ErasureOutcome {
    /// It is gone.
    Erased {
        /// Since when it is known to be.
        #[serde(serialize_with = "moment")]
        at: Timestamp,
    },
    /// It was refused, and is there as before.
    Refused {
        /// When.
        #[serde(serialize_with = "moment")]
        at: Timestamp,
        /// Why.
        error: String,
    },
    /// Nobody has said yet that it is gone.
    Open,
}

/// How long sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RetentionReport {
    /// Whole days after their last event, as of when the report was made; 0 for no time in particular.
    pub days: u64,
    /// What was said of it in the period.
    pub changes: Vec<RetentionChange>,
}

/// That sessions are kept for another time from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetentionChange {
    /// The event of the audit log.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// Whole days.
    pub days: u64,
    /// Who has said so.
    pub by: String,
}

/// Who has read sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AccessReport {
    /// Whether it was written down when the period began.
    pub at_begin: bool,
    /// Whether it was written down throughout the period, as far as that is over.
    pub throughout: bool,
    /// What was said of it in the period.
    pub changes: Vec<AccessChange>,
    /// What was read in the period.
    pub reads: Vec<ReadReport>,
}

/// That it is written down who reads, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessChange {
    /// The event of the audit log.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// Whether it is.
    pub recorded: bool,
    /// Who has said so.
    pub by: String,
}

/// That somebody has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadReport {
    /// The event of the audit log.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub access: Access,
    /// With which command.
    pub how: String,
}

/// A head of a session that was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedHead {
    pub(super) seq: Seq,
    pub(super) hash: Digest,
    /// The event of the audit log.
    pub(super) seal: Seq,
    pub(super) at: Timestamp,
}

/// What was announced to be taken out of sessions, at any time.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeSet<(SessionId, Option<Seq>)>);

impl Taken {
    /// Whether the body of this event was, or all of the session.
    pub(super) fn has(&self, session: SessionId, seq: Option<Seq>) -> bool {
        self.0.contains(&(session, seq))
    }
}

/// What was read of the audit log.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) verdict: Verdict,
    /// Every seal that there is.
    pub(super) seals: Vec<SealReport>,
    /// What was sealed of the sessions that are wanted.
    pub(super) heads: BTreeMap<SessionId, Vec<SealedHead>>,
    pub(super) erasures: Vec<ErasureReport>,
    pub(super) taken: Taken,
    pub(super) retention: RetentionReport,
    pub(super) access: AccessReport,
}

/// Reads the audit log, and checks it: its chain, and that each seal is about the leaves that stand there and bears the signature of the
/// key that it names. What stands behind something bad is not believed.
pub(super) async fn read(store: &dyn Store, asked: &Asked, wanted: &BTreeSet<SessionId>) -> Result<Record, AuditError> {
    let verdict = Verdict::Unjudged { what: "the store has no audit log: nothing was ever sealed".to_owned() };
    let mut record = Record {
        verdict,
        seals: Vec::new(),
        heads: BTreeMap::new(),
        erasures: Vec::new(),
        taken: Taken::default(),
        retention: RetentionReport::default(),
        access: AccessReport::default(),
    };
    let row = match log::row(store).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(record),
        Err(error) => {
            record.verdict = fails(error)?;
            return Ok(record);
        }
    };
    let mut reading =
        Reading { asked, wanted, tree: CompactRange::new(), pending: Vec::new(), record: &mut record, recorded: false };
    let mut log = Forward::new(store, row.head);
    let verdict = loop {
        match log.next_event().await {
            Ok(Some((event, hash))) => {
                if event.seq == row.head && hash != row.hash {
                    break Verdict::bad(row.head, "the last event is not the one that the directory names");
                }
                if let Err(what) = reading.event(&event) {
                    break Verdict::bad(event.seq, what);
                }
            }
            Ok(None) => break Verdict::Holds,
            Err(error) => break fails(error)?,
        }
    };
    let recorded = reading.recorded;
    record.verdict = verdict;
    let access = &mut record.access;
    if access.changes.is_empty() {
        // Nothing was said in the period: what holds when it ends held when it began.
        access.at_begin = recorded;
    }
    access.throughout = access.at_begin && access.changes.iter().all(|change| change.recorded);
    Ok(record)
}

/// That the log is damaged; whatever else went wrong is an error.
fn fails(error: AuditError) -> Result<Verdict, AuditError> {
    match error {
        AuditError::Damaged { seq, what } => Ok(Verdict::bad(seq, what)),
        AuditError::Store(crate::store::StoreError::Damaged { seq, what, .. }) => Ok(Verdict::bad(seq, what)),
        error => Err(error),
    }
}

struct Reading<'a> {
    asked: &'a Asked,
    wanted: &'a BTreeSet<SessionId>,
    tree: CompactRange,
    /// The heads that the next seal is about.
    pending: Vec<Head>,
    record: &'a mut Record,
    /// Whether access is written down, at the last event before the end of the period.
    recorded: bool,
}

impl Reading<'_> {
    fn event(&mut self, event: &Recorded) -> Result<(), String> {
        let (seq, at, period) = (event.seq, event.at, self.asked.period);
        match Event::read(event) {
            Event::HeadsListed(body) => self.heads(body.heads),
            Event::Sealed(body) => return self.sealed(event, body),
            Event::Erasing(body) => self.erasing(seq, at, body, period),
            Event::Erased(Erased { .. }) => self.settled(event.cause, ErasureOutcome::Erased { at }),
            Event::NotErased(NotErased { error, .. }) => self.settled(event.cause, ErasureOutcome::Refused { at, error }),
            Event::RetentionSet(RetentionSet { days, by }) => {
                self.record.retention.days = days;
                if period.holds(at) {
                    self.record.retention.changes.push(RetentionChange { seq, at, days, by });
                }
            }
            Event::AccessSet(AccessSet { recorded, by }) if at < period.to => {
                let access = &mut self.record.access;
                if period.holds(at) {
                    if access.changes.is_empty() {
                        access.at_begin = self.recorded;
                    }
                    access.changes.push(AccessChange { seq, at, recorded, by });
                }
                self.recorded = recorded;
            }
            Event::AccessRead(AccessRead { by, access, how }) if period.holds(at) && self.is_asked(access) => {
                self.record.access.reads.push(ReadReport { seq, at, by, access, how });
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether it is about what is asked about.
    fn is_asked(&self, access: Access) -> bool {
        match (access, self.asked.session) {
            (Access::Session { session, .. }, Some(asked)) => session == asked,
            _ => true,
        }
    }

    fn erasing(&mut self, seq: Seq, at: Timestamp, body: Erasing, period: Period) {
        let Erasing { erasure, reason, by } = body;
        let (session, event) = match erasure {
            Erasure::Body { session, seq, .. } => (session, Some(seq)),
            Erasure::Session { session, .. } => (session, None),
        };
        self.record.taken.0.insert((session, event));
        if period.holds(at) && self.asked.session.is_none_or(|asked| asked == session) {
            self.record.erasures.push(ErasureReport { seq, at, erasure, reason, by, outcome: ErasureOutcome::Open });
        }
    }

    fn settled(&mut self, cause: Option<Seq>, outcome: ErasureOutcome) {
        if let Some(erasure) = self.record.erasures.iter_mut().rev().find(|erasure| Some(erasure.seq) == cause) {
            erasure.outcome = outcome;
        }
    }

    fn heads(&mut self, heads: Vec<Head>) {
        for head in heads {
            self.tree.push(leaf_hash(&head.bytes()));
            if self.wanted.contains(&head.session) {
                self.pending.push(head);
            }
        }
    }

    fn sealed(&mut self, event: &Recorded, body: Sealed) -> Result<(), String> {
        let Sealed { heads, size, root, checkpoint, key, to, .. } = body;
        self.heads(heads);
        if (size, root) != (self.tree.size(), self.tree.root()) {
            return Err("it seals other leaves than stand there".to_owned());
        }
        let note: Note = checkpoint.parse().map_err(|error: AuditError| error.to_string())?;
        let signer: VerifierKey = key.parse().map_err(|error: AuditError| error.to_string())?;
        let signed = Checkpoint::open(&note, &[signer]).map_err(|error| error.to_string())?;
        if (signed.size, signed.root) != (size, root) {
            return Err("its checkpoint is that of another seal".to_owned());
        }
        let (seal, at) = (event.seq, event.at);
        for head in std::mem::take(&mut self.pending) {
            let sealed = SealedHead { seq: head.seq, hash: head.hash, seal, at };
            self.record.heads.entry(head.session).or_default().push(sealed);
        }
        self.record.seals.push(SealReport { seq: seal, at, size, root, key, to });
        Ok(())
    }
}
