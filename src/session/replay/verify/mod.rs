//! Today's code against the decisions of a log, with no model and no tools.
//!
//! A log holds what the world and people brought, and what was decided because of it. Its events are read in order; those of one
//! moment are one command, or a few. From the first of them the command is read back (`asked`), decided again on the state before
//! it, along the log ([`Along`]), and what comes of that is compared with what stands there (`same`). The state goes on by the
//! recorded events, so that one divergence hides none behind it.

mod asked;
mod found;
mod same;

use std::sync::Arc;

pub use found::{Divergence, Redecided, Shown, Unchecked};

use asked::{With, candidates, name};
use found::rule;
use same::{agrees, agrees_in_part, differences};

use super::Script;
use crate::session::action::Action;
use crate::session::command::{Command, Rejection};
use crate::session::decide::{Along, Decided, decide_along, is_foreign};
use crate::session::envelope::{Body, Recorded};
use crate::session::event::Event;
use crate::session::id::Seq;
use crate::session::item::Content;
use crate::session::observation::Observation;
use crate::session::phase::Phase;
use crate::session::spec::Origin;
use crate::session::state::Session;
use crate::session::time::Timestamp;

/// What decides: [`decide_along`], or what is to be tried in its place.
pub type Decide = fn(&Session, Command, Timestamp, Along) -> Result<Vec<Decided>, Rejection>;

/// A recorded event, and how it is read.
struct Seen {
    recorded: Recorded,
    event: Event,
}

impl Seen {
    fn action(&self) -> Option<&Action> {
        match &self.event {
            Event::Item(entry) => match &entry.item.content {
                Content::Action(action) => Some(action),
                Content::Observation(_) => None,
            },
            _ => None,
        }
    }

    fn observation(&self) -> Option<&Observation> {
        match &self.event {
            Event::Item(entry) => match &entry.item.content {
                Content::Observation(observation) => Some(observation),
                Content::Action(_) => None,
            },
            _ => None,
        }
    }
}

/// Decides a log again while it is read.
pub struct Verifying {
    session: Session,
    script: Option<Arc<Script>>,
    decide: Decide,
    /// The events of one moment, which are decided together.
    moment: Vec<Seen>,
    /// Whether the events of the moment are the beginning of what was decided: a fork shares no more of it, or no more can be read.
    cut: bool,
    /// The last event that was put into the log as it is, for the fork that begins there.
    given_upto: Seq,
    /// Nothing was taken out of the log so far.
    whole: bool,
    /// The command that was decided last.
    last: &'static str,
    found: Redecided,
}

impl Verifying {
    /// Begins with the first event; `script` is the recording that the session performs, where it performs one and that is there.
    pub fn new(script: Option<Arc<Script>>) -> Self {
        Self::deciding(script, decide_along)
    }

    /// The same by other rules.
    pub fn deciding(script: Option<Arc<Script>>, decide: Decide) -> Self {
        let (session, moment, found) = (Session::default(), Vec::new(), Redecided::default());
        Self { session, script, decide, moment, cut: false, given_upto: Seq::ZERO, whole: true, last: "nothing", found }
    }

    /// Takes the next event.
    pub fn take(&mut self, recorded: Recorded) {
        let event = Event::read(&recorded);
        self.cut = matches!(event, Event::Forked(_));
        if self.cut || self.moment.last().is_some_and(|last| last.recorded.at != recorded.at) {
            self.decide_moment();
        }
        self.cut = false;
        self.found.events += 1;
        self.moment.push(Seen { event, recorded });
    }

    /// What comes next cannot be read, though it may have been decided with what was read last; [`end`](Self::end) is to follow.
    pub const fn cut(&mut self) {
        self.cut = true;
    }

    /// What was found so far, of all that is sure.
    pub const fn found(&self) -> &Redecided {
        &self.found
    }

    /// The log ends here.
    pub fn end(mut self) -> Redecided {
        self.decide_moment();
        self.found
    }

    fn decide_moment(&mut self) {
        let moment = std::mem::take(&mut self.moment);
        let log: Arc<[Recorded]> = moment.iter().map(|seen| seen.recorded.clone()).collect();
        let mut at = 0;
        while let Some(first) = moment.get(at) {
            if let Event::Forked(body) = &first.event {
                let seq = first.recorded.seq;
                self.given_upto = if body.result { seq.next() } else { seq };
            }
            at += match self.cannot_be_checked(first) {
                Some((why, all)) => self.step_over(moment.get(at..).unwrap_or_default(), why, all),
                None if self.is_given(first) => {
                    self.found.given += 1;
                    self.fold(&moment, at, 1)
                }
                None => self.decide_from(&moment, &log, at),
            };
        }
    }

    /// Why an event cannot be decided again, and whether what was decided with it cannot, either.
    fn cannot_be_checked(&self, first: &Seen) -> Option<(&'static str, bool)> {
        let performs = self.session.is_replaying() && self.script.is_none();
        if self.session.not_understood.is_some() {
            return Some(("an event before it must be understood and is not, so that nothing is decided any more", true));
        }
        if first.recorded.body == Body::Redacted {
            return Some(("its content was taken out, so that nobody can tell what was decided because of it", true));
        }
        if matches!(self.session.phase, Phase::Imported { complete: false }) {
            return None;
        }
        match first.event {
            Event::Unknown(_) => Some(("this version does not know it", false)),
            _ if performs => Some(("the recording that it performs is not in the store", true)),
            _ => None,
        }
    }

    /// Whether an event was written as it is, without a decision.
    fn is_given(&self, first: &Seen) -> bool {
        let imported = matches!(self.session.phase, Phase::Imported { complete: false });
        let created = match &first.event {
            Event::Created(body) => matches!(body.spec.origin, Origin::Import { .. }) && self.session.phase == Phase::Unborn,
            _ => false,
        };
        let forked = first.recorded.seq <= self.given_upto;
        let audited = first.recorded.kind.family() == "audit";
        audited || (imported && !matches!(first.event, Event::CloseRequested(_))) || created || forked
    }

    fn step_over(&mut self, rest: &[Seen], why: &'static str, all: bool) -> usize {
        let count = if all { rest.len() } else { 1 };
        let Some(first) = rest.first() else { return count };
        match self.found.unchecked.last_mut().filter(|last| last.why == why && all) {
            Some(last) => last.events += count as u64,
            None => {
                let (seq, kind) = (first.recorded.seq, first.recorded.kind.clone());
                self.found.unchecked.push(Unchecked { seq, kind, why, events: count as u64 });
            }
        }
        self.fold(rest, 0, count)
    }

    /// Folds `count` events from the one at `from` in.
    fn fold(&mut self, moment: &[Seen], from: usize, count: usize) -> usize {
        for seen in moment.iter().skip(from).take(count) {
            self.whole &= seen.recorded.body != Body::Redacted;
            self.session.apply(&seen.recorded);
        }
        count
    }

    /// Decides the command again that begins at `at`; returns how many events that explains, or how many are passed over since it does
    /// not.
    fn decide_from(&mut self, moment: &[Seen], log: &Arc<[Recorded]>, at: usize) -> usize {
        let rest = moment.get(at..).unwrap_or_default();
        let Some(first) = rest.first() else { return 1 };
        let says: fn(&Decided, &Recorded) -> bool = if self.whole { agrees } else { agrees_in_part };
        let with = With { script: self.script.as_deref(), whole: self.whole };
        let mut best: Option<Tried> = None;
        for command in candidates(&self.session, rest, with) {
            let name = name(&command);
            let along = Along::new(Arc::clone(log), at, says);
            let tried = match (self.decide)(&self.session, command, first.recorded.at, along) {
                Ok(decided) if decided.is_empty() => continue,
                Ok(decided) => Tried::compare(name, decided, rest, says, self.cut),
                Err(refused) => Tried { name, agreed: 0, read: 0, other: Some(Other::Refused(refused)) },
            };
            if best.as_ref().is_none_or(|best| tried.is_better_than(best)) {
                best = Some(tried);
            }
        }
        match best {
            Some(Tried { name, agreed, read, other: None }) => {
                self.last = name;
                self.found.commands += 1;
                self.found.decided += agreed;
                self.fold(moment, at, read)
            }
            // What would tell all of the command may not be shared.
            _ if self.cut => self.step_over(rest, "only the beginning of what was decided with it is there", true),
            Some(tried) => self.diverged(rest, tried),
            None => self.unasked(rest),
        }
    }

    /// What today's code decides is not what stands there. What was decided with it is passed over.
    fn diverged(&mut self, rest: &[Seen], Tried { name, agreed, read, other }: Tried) -> usize {
        self.last = name;
        self.found.commands += 1;
        self.found.decided += agreed;
        let expected = rest.get(read).map(|seen| &seen.recorded);
        let next = rest.last().map_or(self.session.version, |seen| seen.recorded.seq).next();
        let seq = expected.map_or(next, |event| event.seq);
        let (actual, differences, explanation) = match (other, expected) {
            (Some(Other::Refused(why)), _) => (None, Vec::new(), format!("today's code refuses this: {why}")),
            (Some(Other::Decided(decided)), Some(recorded)) => {
                let differences = differences(&decided, recorded);
                let kind = decided.event.kind();
                let explanation = if kind == recorded.kind {
                    let fields: Vec<&str> = differences.iter().map(|difference| difference.field.as_str()).collect();
                    format!("today's code decides {kind}, too, but otherwise in {}", fields.join(", "))
                } else {
                    format!("today's code decides {kind} where the log holds {}", recorded.kind)
                };
                (Some(Shown::from(&*decided)), differences, explanation)
            }
            (Some(Other::Decided(decided)), None) => {
                let explanation = format!("today's code decides one more event, {}", decided.event.kind());
                (Some(Shown::from(&*decided)), Vec::new(), explanation)
            }
            (None, _) => (None, Vec::new(), "today's code decides nothing".to_owned()),
        };
        let expected = expected.map(Shown::from);
        let rule = rule_of(expected.as_ref(), actual.as_ref());
        self.found.divergences.push(Divergence { seq, command: name, rule, expected, actual, differences, explanation });
        self.pass_over(rest, read)
    }

    /// No command leads to what stands there, and today's code does not decide it by itself, either.
    fn unasked(&mut self, rest: &[Seen]) -> usize {
        let Some(first) = rest.first() else { return 1 };
        let expected = Some(Shown::from(&first.recorded));
        let explanation = format!("today's code does not decide {} here; it has decided all that follows", first.recorded.kind);
        let rule = rule_of(expected.as_ref(), None);
        let (seq, command) = (first.recorded.seq, self.last);
        let divergence = Divergence { seq, command, rule, expected, actual: None, differences: Vec::new(), explanation };
        self.found.divergences.push(divergence);
        self.pass_over(rest, 0)
    }

    /// Goes on by the recorded events: behind `read` of them, where the next command of the same moment certainly begins, or where the
    /// moment ends.
    fn pass_over(&mut self, rest: &[Seen], read: usize) -> usize {
        let next = rest.iter().enumerate().skip(read + 1).find(|(_, seen)| begins(&seen.event));
        self.fold(rest, 0, next.map_or(rest.len(), |(index, _)| index))
    }
}

/// Whether an event is the first of a command wherever it stands.
const fn begins(event: &Event) -> bool {
    matches!(
        event,
        Event::Created(_)
            | Event::OwnerAcquired(_)
            | Event::CloseRequested(_)
            | Event::ModelResponded(_)
            | Event::Briefed(_)
            | Event::DelegateStarted(_)
            | Event::DelegateWaits(_)
            | Event::DelegateFinished(_)
            | Event::Confirmed(_)
            | Event::ReleaseFinished(_)
            | Event::ReleaseFailed(_)
            | Event::WorkspaceCaptured(_)
            | Event::WorkspaceNotCaptured(_)
            | Event::WorkspaceCompared(_)
    )
}

fn rule_of(expected: Option<&Shown>, actual: Option<&Shown>) -> &'static str {
    let of = |shown: Option<&Shown>| shown.map(|shown| rule(shown.kind.as_str(), &shown.body));
    // What is decided today and was not before is the rule that is new.
    let new = actual.filter(|actual| expected.is_none_or(|expected| expected.kind != actual.kind));
    of(new).or_else(|| of(expected)).unwrap_or("unknown")
}

/// What came of deciding one command.
struct Tried {
    name: &'static str,
    /// How many of the events that were decided stand in the log.
    agreed: u64,
    /// How many events of the log that are, those between them that this version does not know among them.
    read: usize,
    /// What is decided instead of the next; unset when all that was decided stands there.
    other: Option<Other>,
}

enum Other {
    Decided(Box<Decided>),
    Refused(Rejection),
}

impl Tried {
    fn compare(
        name: &'static str,
        decided: Vec<Decided>,
        rest: &[Seen],
        says: fn(&Decided, &Recorded) -> bool,
        cut: bool,
    ) -> Self {
        let mut read = 0;
        for (agreed, decided) in (0..).zip(decided) {
            while rest.get(read).is_some_and(|seen| is_foreign(&seen.recorded)) {
                read += 1;
            }
            if cut && read >= rest.len() {
                return Self { name, agreed, read, other: None };
            }
            if !rest.get(read).is_some_and(|seen| says(&decided, &seen.recorded)) {
                return Self { name, agreed, read, other: Some(Other::Decided(Box::new(decided))) };
            }
            read += 1;
        }
        Self { name, agreed: read as u64, read, other: None }
    }

    /// What explains more of the log was asked.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.other.is_none(), self.read) > (other.other.is_none(), other.read)
    }
}

impl Redecided {
    /// Whether today's code decides as the log says, wherever it could be asked.
    pub const fn agrees(&self) -> bool {
        self.divergences.is_empty()
    }

    /// Where it first does not.
    pub fn first(&self) -> Option<&Divergence> {
        self.divergences.first()
    }
}

impl std::fmt::Debug for Verifying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifying").field("version", &self.session.version).field("found", &self.found).finish_non_exhaustive()
    }
}
