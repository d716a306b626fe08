//! Whether anything can be missing of a period: the seals, how far they are apart, and what none of them is about.

use std::time::Duration;

use serde::Serialize;

use super::session::SessionReport;
use super::{Asked, SealReport, Verdict};
use crate::projection::moment;
use crate::session::{Seq, SessionId, Timestamp};

/// What the seals prove of a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Whether the audit log is what was written: its chain, and each of its seals. That it was not written anew as a whole is proven by a
    /// checkpoint that was kept outside of the store: `rekindle verify --against`.
    pub audit_log: Verdict,
    /// The last seal before the period.
    pub before: Option<SealReport>,
    /// Those in the period, also where nothing had changed.
    pub seals: Vec<SealReport>,
    /// The first one after it.
    pub after: Option<SealReport>,
    /// How many seconds it may be from one to the next, as it was asked.
    pub cadence_seconds: Option<u64>,
    /// The longest time without a seal that touches the period, from seal to seal; where there is none before or after, from the begin
    /// of the period or to its end, or until now.
    pub longest: Option<Span>,
    /// All that are longer than it may be.
    pub gaps: Vec<Span>,
    /// Whether the cadence was kept; unset where none was asked about.
    pub kept: Option<bool>,
    /// Sessions whose newest event in the period no seal is about.
    pub unsealed: Vec<Unsealed>,
}

/// Some time without a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Since when.
    #[serde(serialize_with = "moment")]
    pub from: Timestamp,
    /// Until when.
    #[serde(serialize_with = "moment")]
    pub to: Timestamp,
    /// How long, in whole seconds.
    pub seconds: u64,
}

/// A session whose newest event in the period no seal is about: how it goes on from the last that is sealed is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unsealed {
    /// The session.
    pub session: SessionId,
    /// Its newest event in the period.
    pub last: Seq,
    /// The last event that a seal is about.
    pub sealed: Option<Seq>,
}

impl Span {
    fn between(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, seconds: to.since(from).as_secs() }
    }

    fn length(self) -> Duration {
        self.to.since(self.from)
    }
}

/// Looks at the seals of a period.
pub(super) fn proof(asked: &Asked, audit_log: Verdict, all: Vec<SealReport>, sessions: &[SessionReport]) -> Proof {
    let (mut before, mut seals, mut after) = (None, Vec::new(), None);
    for seal in all {
        if seal.at < asked.period.from {
            before = Some(seal);
        } else if asked.period.holds(seal.at) {
            seals.push(seal);
        } else if after.is_none() {
            after = Some(seal);
        }
    }
    let spans = spans(asked, before.as_ref(), &seals, after.as_ref());
    let gaps: Vec<Span> =
        spans.iter().copied().filter(|span| asked.cadence.is_some_and(|cadence| span.length() > cadence)).collect();
    let unsealed = sessions
        .iter()
        .filter(|session| session.sealed.seal.is_none() && !session.purged)
        .filter_map(|session| Some(Unsealed { session: session.session, last: session.last?, sealed: session.sealed.upto }));
    Proof {
        audit_log,
        cadence_seconds: asked.cadence.map(|cadence| cadence.as_secs()),
        longest: spans.into_iter().max_by_key(|span| span.length()),
        kept: asked.cadence.map(|_| gaps.is_empty()),
        gaps,
        unsealed: unsealed.collect(),
        before,
        seals,
        after,
    }
}

/// The times without a seal that touch the period.
fn spans(asked: &Asked, before: Option<&SealReport>, seals: &[SealReport], after: Option<&SealReport>) -> Vec<Span> {
    let period = asked.period;
    // What is still to come has no gap.
    let end = after.map_or_else(|| period.to.min(asked.now), |seal| seal.at);
    let mut from = before.map_or(period.from, |seal| seal.at);
    let mut spans = Vec::with_capacity(seals.len() + 1);
    for to in seals.iter().map(|seal| seal.at).chain([end]) {
        if to > from {
            spans.push(Span::between(from, to));
            from = to;
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::super::Period;
    use super::*;
    use crate::session::Digest;

    fn seal(at: i64) -> SealReport {
        let (root, key) = (Digest::ZERO, String::new());
        SealReport { seq: Seq(1), at: Timestamp(at * 1_000_000), size: 1, root, key, to: Vec::new() }
    }

    fn found(seals: &[i64], now: i64, cadence: u64) -> Proof {
        let second = |at: i64| Timestamp(at * 1_000_000);
        let period = Period { from: second(100), to: second(200) };
        let asked =
            Asked { period, session: None, cadence: Some(Duration::from_secs(cadence)), now: second(now), by: String::new() };
        proof(&asked, Verdict::Holds, seals.iter().copied().map(seal).collect(), &[])
    }

    fn seconds(proof: &Proof) -> Vec<(i64, u64)> {
        proof.gaps.iter().map(|span| (span.from.0 / 1_000_000, span.seconds)).collect()
    }

    #[test]
    fn each_time_without_a_seal_that_touches_the_period_is_a_gap() {
        let kept = found(&[95, 120, 145, 170, 195, 220], 300, 25);
        assert_eq!((kept.kept, seconds(&kept), kept.seals.len()), (Some(true), vec![], 4));
        let held_up = found(&[95, 120, 146, 170, 195, 220], 300, 25);
        assert_eq!((held_up.kept, seconds(&held_up)), (Some(false), vec![(120, 26)]));
        // From the last one before, and to the first one after.
        assert_eq!(seconds(&found(&[70, 101, 199, 230], 300, 30)), [(70, 31), (101, 98), (199, 31)]);
        // Without any it is all of it, and no longer than until now.
        assert_eq!(seconds(&found(&[], 300, 30)), [(100, 100)]);
        assert_eq!(seconds(&found(&[], 150, 30)), [(100, 50)]);
        assert_eq!(seconds(&found(&[130], 150, 30)), []);
        assert_eq!(found(&[], 300, 30).longest.unwrap().seconds, 100);
        assert_eq!(found(&[], 50, 30).longest, None, "what is still to come has no gap");
    }
}
