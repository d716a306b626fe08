//! What happens in a session, on standard error while it happens: one line an action.

use std::collections::HashMap;

use super::Context;
use super::describe::{action, verdict};
use super::paint::Tone;
use super::show::verdict_tone;
use super::text::{duration, one_line, shorten};
use crate::session::event::{ReplayCompared, StepFailed, StepFinished};
use crate::session::start::StepOutcome;
use crate::session::{Action, Content, Event, Recorded, Report, Seq, Source, StartStep, Timestamp};
use crate::store::Row;

/// How much of an action is shown, in characters.
const SHOWN_MAX: usize = 64;

/// Tells what happens.
pub struct Progress<'a> {
    context: &'a Context,
    under_way: HashMap<Seq, (String, Timestamp)>,
    performed: u64,
    planned: u64,
}

impl<'a> Progress<'a> {
    /// Tells it as `context` wants to be told.
    pub fn new(context: &'a Context) -> Self {
        Self { context, under_way: HashMap::new(), performed: 0, planned: 0 }
    }

    /// Takes one event in.
    pub fn show(&mut self, row: &Row) {
        let Row::Event { event, .. } = row else {
            return;
        };
        match Event::read(event) {
            Event::StepFinished(StepFinished { step: StartStep::Runtime, outcome: StepOutcome::Done { report }, .. }) => {
                self.runtime(&report);
            }
            Event::StepFailed(StepFailed { step, error, .. }) => {
                let text = format!("{step} failed: {}", one_line(&error));
                self.context.progress(format_args!("         {}", self.context.paint.tone(Tone::Bad, text)));
            }
            Event::ReplayStarted(body) => self.planned = body.plan.messages + body.plan.actions,
            Event::Item(entry) => {
                if let Content::Action(action) = &entry.item.content {
                    self.action(event, action);
                }
            }
            Event::ReplayCompared(ReplayCompared { verdict: found, .. }) => {
                let Some((label, since)) = event.cause.and_then(|cause| self.under_way.remove(&cause)) else {
                    return;
                };
                let paint = self.context.paint;
                let found = paint.tone(verdict_tone(&found), verdict(&found));
                let took = paint.dim(duration(u64::try_from(event.at.since(since).as_micros()).unwrap_or(u64::MAX)));
                self.context.progress(format_args!("{label}  {found}  {took}"));
            }
            _ => {}
        }
    }

    fn action(&mut self, event: &Recorded, action: &Action) {
        self.performed += 1;
        let said = self::action(action);
        let said = shorten(said.trim(), SHOWN_MAX);
        let place = match self.planned {
            0 => format!("{:>7}", event.seq),
            planned => format!("{:>3}/{planned:<3}", self.performed),
        };
        let who = if event.source == Source::User { "user" } else { action.tag() };
        let label = format!("{}  {who:<12} {}", self.context.paint.dim(place), one_line(&said));
        if action.is_runnable() {
            self.under_way.insert(event.seq, (label, event.at));
        } else {
            self.context.progress(label);
        }
    }

    fn runtime(&self, report: &Report) {
        let text = |key: &str| report.0.get(key).and_then(|value| value.as_str()).unwrap_or_default().replace('_', " ");
        let line = format!("runtime {}, workspace by {}, processes held by {}", text("runtime"), text("mount"), text("containment"));
        self.context.progress(format_args!("         {}", self.context.paint.dim(one_line(&line))));
        for warning in report.0.get("warnings").and_then(|warnings| warnings.as_array()).into_iter().flatten() {
            let warning = one_line(warning.as_str().unwrap_or_default()).into_owned();
            self.context.progress(format_args!("         {}", self.context.paint.tone(Tone::Warn, warning)));
        }
    }
}
