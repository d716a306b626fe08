//! What happens in a session while it happens, line by line: nothing that is written is taken back, so that it reads the same in a
//! terminal, over a slow line, and in a file.

use std::collections::HashMap;

use super::describe::{action, verdict};
use super::paint::{Paint, Tone};
use super::sandbox;
use super::show::verdict_tone;
use super::text::{duration, one_line, shorten};
use crate::session::event::{ActionJudged, ModelFailed, ReplayCompared, StepFailed, StepFinished};
use crate::session::model::ModelErrorClass;
use crate::session::replay::Verdict;
use crate::session::start::StepOutcome;
use crate::session::{
    Action, Content, Event, Extras, Observation, Recorded, Report, Risk, Seq, Session, Source, StartStep, Timestamp,
};
use crate::store::Row;

/// How much of an action is shown, in characters.
const SHOWN_MAX: usize = 64;

/// How far what belongs to a line above stands to the right.
const INDENT: usize = 22;

/// Makes lines of events.
pub struct Progress {
    paint: Paint,
    /// Actions without an outcome: their lines, where those come with the outcome, and since when they are under way.
    under_way: HashMap<Seq, (String, Timestamp)>,
    /// An agent decides what is done; else a recording does, whose actions are shown with their verdicts.
    live: bool,
    performed: u64,
    planned: u64,
}

impl Progress {
    /// Of a session that stands here.
    pub fn new(paint: Paint, session: &Session) -> Self {
        let replay = session.replay.as_ref();
        let (performed, planned) = replay.map_or((0, 0), |replay| (replay.performed, replay.lines));
        Self { paint, under_way: HashMap::new(), live: session.has_agent(), performed, planned }
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
            Event::StepFinished(StepFinished { step, outcome: StepOutcome::Done { report }, .. }) => self.prepared(step, &report),
            Event::StepFailed(StepFailed { step, error, .. }) => {
                let text = format!("{step} failed: {}", one_line(&error));
                Some(format!("         {}", self.paint.tone(Tone::Bad, text)))
            }
            Event::Created(body) => {
                self.live = body.spec.agent.is_some();
                None
            }
            Event::ReplayStarted(body) => {
                self.planned = body.plan.messages + body.plan.actions;
                None
            }
            Event::Item(entry) => match &entry.item.content {
                Content::Action(action) => self.action(event, action),
                Content::Observation(observation) => self.observation(event, observation),
            },
            Event::Dispatched(_) if self.live => {
                let (label, since) = self.under_way.get_mut(&event.cause?)?;
                *since = event.at;
                // A further attempt has no line of its own.
                (!label.is_empty()).then(|| std::mem::take(label))
            }
            Event::Judged(ActionJudged { judgement, .. }) if judgement.risk >= Risk::Medium => {
                let why = format!("{} risk: {}", judgement.risk, judgement.reasons.join("; "));
                let label = self.under_way.get_mut(&event.cause?).map(|(label, _)| std::mem::take(label));
                let why = beneath(self.paint.tone(Tone::Warn, one_line(&why)));
                Some(label.filter(|label| !label.is_empty()).map_or_else(|| why.clone(), |label| format!("{label}\n{why}")))
            }
            Event::ModelFailed(ModelFailed { class, message, .. }) if class != ModelErrorClass::Cancelled => {
                Some(format!("         {}", self.paint.tone(Tone::Bad, one_line(&message))))
            }
            Event::ReplayCompared(ReplayCompared { verdict, .. }) => self.compared(event, &verdict),
            Event::WorkspaceNotCaptured(body) => {
                let text = format!("no snapshot of the workspace: {}", one_line(&body.error));
                Some(format!("         {}", self.paint.tone(Tone::Warn, text)))
            }
            _ => None,
        }
    }

    fn action(&mut self, event: &Recorded, action: &Action) -> Option<String> {
        self.performed += 1;
        match action {
            Action::Recall(_) | Action::ChangeAgentState(_) if self.live => return None,
            Action::Condensation(_) if self.live => {
                return Some(format!(
                    "         {}",
                    self.paint.dim("the history outgrew the model's window: a part of it is left out")
                ));
            }
            _ => {}
        }
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

    /// What came of an agent's action; how a recording's came out is told by its verdict.
    fn observation(&mut self, event: &Recorded, observation: &Observation) -> Option<String> {
        if !self.live {
            return None;
        }
        let (_, since) = self.under_way.remove(&event.cause?)?;
        let took = self.paint.dim(duration(u64::try_from(event.at.since(since).as_micros()).unwrap_or(u64::MAX)));
        let (outcome, said) = match &observation.extras {
            Extras::Run(run) => {
                let exit = run.metadata.exit_code;
                let tone = if exit == 0 { Tone::Good } else { Tone::Warn };
                let word = if exit == -1 { "still runs".to_owned() } else { format!("exit {exit}") };
                (self.paint.tone(tone, word).to_string(), observation.content.trim_end().lines().next_back())
            }
            Extras::Error(_) | Extras::UserRejected => {
                (self.paint.tone(Tone::Bad, "failed").to_string(), observation.content.lines().next())
            }
            _ => (self.paint.tone(Tone::Good, "done").to_string(), None),
        };
        let said = shorten(said.unwrap_or_default().trim(), SHOWN_MAX).into_owned();
        Some(beneath(format!("{outcome}  {took}  {}", self.paint.dim(one_line(&said)))).trim_end().to_owned())
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
        let mut lines = vec![format!("         {}", self.paint.dim(one_line(&line)))];
        if let Some(sandbox) = sandbox::of_report(report) {
            lines.push(format!("         {}", self.paint.dim(sandbox::brief(&sandbox))));
            lines
                .extend(sandbox::gaps(&sandbox).map(|gaps| format!("         {}", self.paint.tone(Tone::Warn, one_line(&gaps)))));
        }
        lines.extend(self.warnings(report));
        lines.join("\n")
    }

    /// What a step found worth a warning, and where the work is done.
    fn prepared(&self, step: StartStep, report: &Report) -> Option<String> {
        let text = |key: &str| report.0.get(key).and_then(|value| value.as_str());
        let mut lines = Vec::new();
        if let (StartStep::Repository, Some(directory)) = (step, text("directory")) {
            let branch = text("branch").map(|branch| format!(" on branch {branch}")).unwrap_or_default();
            lines.push(format!("         {}", self.paint.dim(one_line(&format!("repository in {directory}{branch}")))));
        }
        lines.extend(self.warnings(report));
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn warnings(&self, report: &Report) -> Vec<String> {
        let warnings = report.0.get("warnings").and_then(|warnings| warnings.as_array()).into_iter().flatten();
        let line = |warning: &serde_json::Value| {
            let warning = one_line(warning.as_str().unwrap_or_default()).into_owned();
            format!("         {}", self.paint.tone(Tone::Warn, warning))
        };
        warnings.map(line).collect()
    }
}

/// A line that belongs to the one above.
fn beneath(line: impl std::fmt::Display) -> String {
    format!("{:INDENT$}{line}", "")
}
