//! Judges a bundle, without any store.

use std::io::BufRead;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest as _, Sha256};

use super::contents::Contents;
use super::proofs::{Proofs, Signed};
use super::record::{Ancestor, BlobRecord, Counts, End, EventRecord, Header, Record};
use crate::audit::{AuditError, Judge, Judged, Verdict, Verdicts, VerifierKey};
use crate::session::{Digest, Seq, SessionId};
use crate::store::Verifier;

/// What was found of a bundle.
#[derive(Debug, Clone)]
pub struct VerifiedBundle {
    /// What it says that it is.
    pub header: Header,
    /// What holds of it.
    pub verdicts: Verdicts,
    /// The digest of the state that it folds to, where everything holds.
    pub state: Option<Digest>,
    /// Who vouches for it, beside whoever made the file.
    pub signed: Signed,
    /// What is in it.
    pub counts: Counts,
}

/// Reads a whole bundle and judges it; only signatures of the `pinned` keys count where there are any, else those of the key in the file.
///
/// # Errors
/// [`AuditError::NotABundle`] when it does not begin as one, and when it cannot be read; damage is in the verdicts.
pub fn verify(input: &mut dyn BufRead, pinned: Vec<VerifierKey>) -> Result<VerifiedBundle, AuditError> {
    let mut lines = Lines { input, hasher: Sha256::new(), line: Vec::new(), before: Sha256::new() };
    let Some(Record::Header(header)) = lines.next()?.and_then(Record::parse) else {
        return Err(AuditError::NotABundle);
    };
    let mut reading = Reading::new(header, pinned);
    while let Some(line) = lines.next()? {
        let record = Record::parse(line);
        reading.line(record, &lines.before);
    }
    reading.eof(!lines.line.is_empty());
    Ok(reading.finish())
}

/// The lines of a file, and what a digest of all that came before each begins with.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    hasher: Sha256,
    line: Vec<u8>,
    before: Sha256,
}

impl Lines<'_> {
    /// The next line without its end; `None` at the end of the file, where what is left of a line that was cut off stays in `line`.
    fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line)?;
        let Some(line) = self.line.strip_suffix(b"\n") else { return Ok(None) };
        self.before.clone_from(&self.hasher);
        self.hasher.update(&self.line);
        Ok(Some(line))
    }
}

/// A bundle on its way to its verdicts.
struct Reading {
    header: Header,
    lineage: Vec<Ancestor>,
    judge: Judge,
    rank: u8,
    counts: Counts,
    contents: Contents,
    proofs: Proofs,
    end: Option<End>,
}

impl Reading {
    fn new(header: Header, pinned: Vec<VerifierKey>) -> Self {
        let judge = Judge::new(Verifier::new(header.session), header.head);
        let (counts, contents, proofs) = (Counts::default(), Contents::default(), Proofs::new(pinned));
        Self { header, lineage: Vec::new(), judge, rank: 1, counts, contents, proofs, end: None }
    }

    /// Where the chain stands.
    fn here(&self) -> Option<Seq> {
        Some(self.judge.seq().next()).filter(|next| *next <= self.header.head)
    }

    fn line(&mut self, record: Option<Record>, before: &Sha256) {
        let Some(record) = record else {
            return self.judge.fault(self.here(), "a line is not written as a bundle writes it".to_owned());
        };
        self.counts.add(&record);
        let rank = record.rank();
        let in_order = rank >= self.rank && self.end.is_none();
        if in_order {
            self.rank = rank;
        } else {
            self.judge.fault(self.here(), "a line stands where it should not".to_owned());
        }
        match record {
            Record::Ancestor(ancestor) if in_order => self.ancestor(ancestor),
            Record::Header(_) | Record::Ancestor(_) => {}
            Record::Event(event) => self.event(*event),
            Record::Damaged(damaged) => {
                self.judge
                    .fault(self.here(), format!("the store had no event {} that could be read: {}", damaged.seq, damaged.what));
            }
            Record::Blob(blob) => self.blob(&blob),
            Record::Key(key) => {
                if let Err(what) = self.proofs.key(&key) {
                    self.judge.fault(None, what);
                }
            }
            Record::Proof(proof) if self.judge.holds() => {
                let session = self.session_at(proof.seq);
                if let Err(what) = self.proofs.proof(&proof, session) {
                    self.judge.fault(Some(proof.seq), what);
                }
            }
            Record::Proof(_) => {}
            Record::End(end) => self.end(end, before),
        }
    }

    fn session_at(&self, seq: Seq) -> SessionId {
        self.lineage.iter().find(|ancestor| seq <= ancestor.upto).map_or(self.header.session, |ancestor| ancestor.session)
    }

    fn ancestor(&mut self, ancestor: Ancestor) {
        let last = self.lineage.last().map_or(Seq::ZERO, |last| last.upto);
        if ancestor.upto <= last || ancestor.upto >= self.header.head {
            return self.judge.fault(self.here(), format!("session {} cannot lie there under a fork", ancestor.session));
        }
        self.lineage.push(ancestor);
        let own = (self.header.session, Seq(u64::MAX));
        let lineage = self.lineage.iter().map(|ancestor| (ancestor.session, ancestor.upto)).chain([own]).collect();
        if self.judge.holds() {
            self.judge = Judge::new(Verifier::over(lineage), self.header.head);
        }
    }

    fn event(&mut self, event: EventRecord) {
        let row = event.into_row();
        if let Some(event) = row.event() {
            self.contents.event(event);
        }
        self.judge.row(&row);
        if !self.judge.holds() {
            return;
        }
        let (seq, hash) = (self.judge.seq(), self.judge.hash());
        self.proofs.chained(hash);
        self.judge.end(self.header.hash);
        if self.lineage.iter().any(|ancestor| ancestor.upto == seq && ancestor.hash != hash) {
            self.judge.fault(Some(seq), format!("event {seq} has another hash than the fork says that it goes on from"));
        }
    }

    fn blob(&mut self, blob: &BlobRecord) {
        let digest = blob.digest;
        let wanted = self.contents.wanted(&digest).map(|wanted| wanted.by);
        let Ok(bytes) = BASE64_STANDARD.decode(&blob.content) else {
            return self.judge.fault(wanted, format!("the content {digest} is not written in base64"));
        };
        if Digest::of(&bytes) != digest {
            self.judge.fault(wanted, format!("the content {digest} is not what its name says"));
        } else if !self.contents.content(digest, &bytes) {
            self.judge.fault(None, format!("the content {digest} is there twice, too early, or for nothing"));
        }
    }

    fn end(&mut self, end: End, before: &Sha256) {
        if self.end.is_some() {
            return;
        }
        if end.sha256.0 != <[u8; 32]>::from(before.clone().finalize()) {
            self.judge.fault(None, "the lines of the file are not those that its last one speaks of".to_owned());
        }
        self.end = Some(end);
    }

    /// `is_cut`: the file ends in the middle of a line.
    fn eof(&mut self, is_cut: bool) {
        if self.end.is_some() && is_cut {
            self.judge.fault(None, "something stands behind the end".to_owned());
        }
        if let Err(what) = self.proofs.end() {
            self.judge.fault(None, what);
        }
    }

    fn finish(self) -> VerifiedBundle {
        let Self { header, judge, counts, contents, proofs, end, .. } = self;
        let missing = contents.missing().map(|(digest, wanted)| (wanted.by, digest)).min();
        let lacks = match (end, missing) {
            (None, _) => Some((None, "the file is cut off: its last line is not there".to_owned())),
            (_, Some((seq, digest))) => {
                Some((Some(seq), format!("the content {digest} that event {seq} refers to is not there")))
            }
            (Some(_), None) => None,
        };
        let Judged { verdicts, state, .. } = judge.finish_lacking(lacks.map(|(bad, what)| Verdict::Fails { bad, what }));
        VerifiedBundle { header, signed: proofs.signed(), verdicts, state, counts }
    }
}
