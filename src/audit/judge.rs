//! Judges a log while its rows stream by, oldest first.

use std::collections::BTreeSet;

use super::intents::Intents;
use super::verdict::{Verdict, Verdicts};
use crate::engine::fold::Watch as _;
use crate::engine::travel::RecordedStates;
use crate::session::{Digest, Seq, Session};
use crate::store::{Flaw, Row, Verifier};

/// A log on its way to its verdicts.
#[derive(Debug)]
pub struct Judge {
    head: Seq,
    verifier: Verifier,
    fault: Option<Fault>,
    there: Places,
    intents: Intents,
    state: Session,
    states: RecordedStates,
}

/// The first thing that breaks the integrity of a log.
#[derive(Debug, Clone)]
struct Fault {
    bad: Option<Seq>,
    what: String,
}

/// What was found of a log.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The verdicts.
    pub verdicts: Verdicts,
    /// The chain hash of the last event that was checked.
    pub hash: Digest,
    /// The digest of the state; unset when it follows from nothing.
    pub state: Option<Digest>,
}

impl Judge {
    /// Begins a log that should end at `head`, before the first event that `verifier` has not checked.
    pub fn new(verifier: Verifier, head: Seq) -> Self {
        let (there, intents) = (Places::default(), Intents::default());
        Self { head, verifier, fault: None, there, intents, state: Session::default(), states: RecordedStates::default() }
    }

    /// Takes the next row. What follows a fault is only looked at for what is missing.
    pub fn row(&mut self, row: &Row) {
        let event = row.event();
        if let Some(event) = event {
            self.there.add(event.seq);
            self.intents.event(event);
        }
        if self.fault.is_some() {
            return;
        }
        if row.seq() == self.verifier.seq().next() && row.seq() > self.head {
            self.fault(Some(row.seq()), format!("event {} stands behind the end, which is event {}", row.seq(), self.head));
        } else if let Err(flaw) = self.verifier.check(row) {
            self.flaw(&flaw);
        } else if let Some(event) = event {
            self.states.before(&self.state, event);
            self.state.apply(event);
        }
    }

    /// The log is broken here.
    pub fn fault(&mut self, bad: Option<Seq>, what: String) {
        self.fault.get_or_insert(Fault { bad, what });
    }

    fn flaw(&mut self, flaw: &Flaw) {
        let what = match flaw {
            // Whether it stands elsewhere is known at the end.
            Flaw::Missing { seq } => format!("event {seq} is not in its place"),
            other => other.to_string(),
        };
        self.fault(Some(flaw.seq()), what);
    }

    /// The last event up to which nothing is broken.
    pub const fn seq(&self) -> Seq {
        self.verifier.seq()
    }

    /// The chain hash of it.
    pub const fn hash(&self) -> Digest {
        self.verifier.hash()
    }

    /// Whether nothing is broken so far.
    pub const fn holds(&self) -> bool {
        self.fault.is_none()
    }

    /// Compares the end of the chain with what the head says; that the end is missing is no break of it.
    pub fn end(&mut self, hash: Digest) {
        if self.holds()
            && let Err(flaw @ Flaw::OtherHead { .. }) = self.verifier.finish(self.head, hash)
        {
            self.flaw(&flaw);
        }
    }

    /// The verdicts.
    pub fn finish(self) -> Judged {
        self.finish_lacking(None)
    }

    /// The verdicts, where something else than an event may be missing.
    pub(super) fn finish_lacking(self, lacks: Option<Verdict>) -> Judged {
        let Self { head, verifier, fault, there, intents, state, states } = self;
        let determinism = determinism(&states, fault.as_ref().map(|_| verifier.seq()).filter(|seq| *seq < head));
        let integrity = fault.map_or(Verdict::Holds, |Fault { bad, what }| Verdict::Fails { bad, what });
        let open: Vec<Seq> = intents.open().collect();
        let completeness = match (there.first_missing(head), lacks, intents.first_lost()) {
            (Some(missing), ..) => Verdict::bad(missing, there.told(missing, head)),
            (None, Some(lacks), _) => lacks,
            (None, None, Some(lost)) => Verdict::bad(lost, format!("action {lost} has no outcome, and the session is closed")),
            (None, None, None) if open.is_empty() => Verdict::Holds,
            (None, None, None) => Verdict::Open { actions: open },
        };
        let verdicts = Verdicts { integrity, completeness, determinism };
        let state = (verdicts.hold() && verifier.seq() > Seq::ZERO).then(|| state.digest());
        Judged { verdicts, hash: verifier.hash(), state }
    }
}

/// Whether the states hold, of which those behind `broken` could not be folded.
fn determinism(states: &RecordedStates, broken: Option<Seq>) -> Verdict {
    let unjudged = |what: String| Verdict::Unjudged { what };
    match (&states.first, broken) {
        (Some(mismatch), _) => Verdict::bad(mismatch.seq, "the state folded from the log is not the one recorded there"),
        (None, Some(Seq::ZERO)) => unjudged("no event can be folded".to_owned()),
        (None, Some(seq)) => unjudged(format!("only events 1 to {seq} can be folded")),
        (None, None) if states.passed_over > 0 => {
            let (passed, all) = (states.passed_over, states.passed_over + states.compared);
            unjudged(format!(
                "{passed} of {all} recorded states cannot be compared: another version made them, or something before them was redacted"
            ))
        }
        (None, None) if states.compared == 0 => unjudged("no state is recorded".to_owned()),
        (None, None) => Verdict::Holds,
    }
}

/// Which events are there, in whatever order they come.
#[derive(Debug, Default)]
struct Places {
    /// All up to here.
    dense: u64,
    /// Others behind it.
    more: BTreeSet<u64>,
}

impl Places {
    fn add(&mut self, seq: Seq) {
        if seq.0 > self.dense.saturating_add(1) {
            self.more.insert(seq.0);
            return;
        }
        self.dense = self.dense.max(seq.0);
        while self.more.remove(&self.dense.saturating_add(1)) {
            self.dense += 1;
        }
    }

    fn first_missing(&self, head: Seq) -> Option<Seq> {
        (self.dense < head.0).then(|| Seq(self.dense + 1))
    }

    fn told(&self, missing: Seq, head: Seq) -> String {
        match self.more.range(..=head.0).next() {
            Some(next) if missing.next().0 == *next => format!("event {missing} is missing"),
            Some(next) => format!("events {missing} to {} are missing", next - 1),
            None => Flaw::Cut { seq: Seq(self.dense), head }.to_string(),
        }
    }
}
