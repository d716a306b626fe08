//! What happens in a session while it happens: one line an action.

use std::collections::HashMap;

use super::describe::{action, verdict};
use super::paint::{Paint, Tone};
use super::show::verdict_tone;
use super::text::{duration, one_line, shorten};
use crate::session::event::{ReplayCompared, StepFailed, StepFinished};
use crate::session::replay::Verdict;
use crate::session::start::StepOutcome;
use crate::session::{Action, Content, Event, Recorded, Report, Seq, Session, Source, StartStep, Timestamp};
use crate::store::Row;

/// How much of an action is shown, in characters.
const SHOWN_MAX: usize = 64;

/// Makes lines of events.
pub struct Progress {
    paint: Paint,
    under_way: HashMap<Seq, (String, Timestamp)>,
    performed: u64,
    planned: u64,
}

impl Progress {
    /// Of a session that stands here.
    pub fn new(paint: Paint, session: &Session) -> Self {
        let replay = session.replay.as_ref();
        let (performed, planned) = replay.map_or((0, 0), |replay| (replay.performed, replay.lines));
        Self { paint, under_way: HashMap::new(), performed, planned }
    }

    /// What people are told of one event; `None` for what is nothing to them.
    pub fn line(&mut self, row: &Row) -> Option<String> {
        let Row::Event { event, .. } = row else {
            return None;
        };
        match Event::read(event) {
            Event::StepFinished(StepFinished { step: StartStep::Runtime, outcome: StepOutcome::Done { report }, .. }) => {
                Some(self.runtime(&report))
            }
            Event::StepFailed(StepFailed { step, error, .. }) => {
                let text = format!("{step} failed: {}", one_line(&error));
                Some(format!("         {}", self.paint.tone(Tone::Bad, text)))
            }
            Event::ReplayStarted(body) => {
                self.planned = body.plan.messages + body.plan.actions;
                None
            }
            Event::Item(entry) => match &entry.item.content {
                Content::Action(action) => self.action(event, action),
                Content::Observation(_) => None,
            },
            Event::ReplayCompared(ReplayCompared { verdict, .. }) => self.compared(event, &verdict),
            _ => None,
        }
    }

    fn action(&mut self, event: &Recorded, action: &Action) -> Option<String> {
        self.performed += 1;
        let said = self::action(action);
        let said = shorten(said.trim(), SHOWN_MAX).into_owned();
        let place = match self.planned {
            0 => format!("{:>7}", event.seq),
            planned => format!("{:>3}/{planned:<3}", self.performed),
        };
        let who = if event.source == Source::User { "user" } else { action.tag() };
        let label = format!("{}  {who:<12} {}", self.paint.dim(place), one_line(&said));
        if action.is_runnable() {
            self.under_way.insert(event.seq, (label, event.at));
            return None;
        }
        Some(label)
    }

    fn compared(&mut self, event: &Recorded, found: &Verdict) -> Option<String> {
        let cause = event.cause?;
        let painted = self.paint.tone(verdict_tone(found), verdict(found));
        match self.under_way.remove(&cause) {
            Some((label, since)) => {
                let took = self.paint.dim(duration(u64::try_from(event.at.since(since).as_micros()).unwrap_or(u64::MAX)));
                Some(format!("{label}  {painted}  {took}"))
            }
            // It was under way when a former owner went.
            None if *found == Verdict::OutcomeUnknown => {
                let place = self.paint.dim(format!("{:>7}", ""));
                Some(format!("{place}  {:<12} {painted}: not run again", format!("event {cause}")))
            }
            None => None,
        }
    }

    fn runtime(&self, report: &Report) -> String {
        let text = |key: &str| report.0.get(key).and_then(|value| value.as_str()).unwrap_or_default().replace('_', " ");
        let line =
            format!("{} runtime, workspace by {}, processes held by {}", text("runtime"), text("mount"), text("containment"));
        let mut lines = format!("         {}", self.paint.dim(one_line(&line)));
        for warning in report.0.get("warnings").and_then(|warnings| warnings.as_array()).into_iter().flatten() {
            let warning = one_line(warning.as_str().unwrap_or_default()).into_owned();
            lines.push_str(&format!("\n         {}", self.paint.tone(Tone::Warn, warning)));
        }
        lines
    }
}
