//! The transcript: what was said and done, each action with what came of it, read as it streams by.

use std::collections::VecDeque;
use std::io::Write;

use maud::html;

use super::diff;
use super::entry;
use super::facts::Facts;
use super::timeline::Shown;
use crate::cli::exit::CliError;
use crate::cli::page::{Bounded, Clipped, LeftOut, Page};
use crate::cli::rows::Rows;
use crate::cli::text::pretty_json;
use crate::projection::transcript::{Said, said};
use crate::session::event::{ReplayCompared, StateChanged};
use crate::session::replay::Verdict;
use crate::session::{Action, AgentState, Body, Content, Event, Extras, Object, Observation, Recorded, Seq, Source, Timestamp};
use crate::store::{Row, SharedStore};

/// How many bytes of the page the transcript takes at most.
const BYTES_MAX: usize = 8 << 20;
/// How many entries wait for what comes of them; what comes later stands where it comes.
const WAITING_MAX: usize = 64;
/// How many bytes of texts wait at most.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// One thing that people read.
pub(super) struct Told {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) source: Source,
    /// The id that an imported recording gave it.
    imported: Option<i64>,
    pub(super) what: What,
}

/// What it is.
pub(super) enum What {
    Message(Clipped),
    Action(Box<Done>),
    /// What came of something that is not near any more, or of nothing.
    Outcome(Option<Seq>, Box<Outcome>),
    State(AgentState, String),
    /// It cannot be shown, and why.
    Hidden(String),
}

/// Something that was done.
pub(super) struct Done {
    pub(super) tag: String,
    pub(super) thought: Clipped,
    pub(super) asked: Clipped,
    /// The change that it asks for.
    pub(super) change: Option<Clipped>,
    pub(super) outcome: Option<Outcome>,
    pub(super) verdict: Option<Verdict>,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) seq: Seq,
    pub(super) tag: String,
    pub(super) exit_code: Option<i64>,
    pub(super) text: Clipped,
    /// The change that it tells.
    pub(super) change: Option<Clipped>,
}

/// Writes the section.
///
/// # Errors
/// When the store cannot be read or the page not be written.
pub(super) async fn write<W: Write>(page: &mut Page<W>, store: &SharedStore, facts: &Facts) -> Result<(), CliError> {
    page.open("<section aria-labelledby=\"transcript\">\n")?;
    page.push(&html! { h2 #transcript { "Transcript" } })?;
    let shown = Shown::upto(facts.last);
    let mut bounded = Bounded::new(BYTES_MAX);
    let mut waiting = Waiting::default();
    let mut rows = Rows::new(store, facts.row.id, Seq(1), facts.last);
    while let Some(place) = rows.next().await? {
        waiting.take(place);
        while let Some(told) = waiting.ready() {
            bounded.push(page, told.seq, entry::entry(facts, &told, shown).into_string())?;
        }
    }
    for told in waiting.told {
        bounded.push(page, told.seq, entry::entry(facts, &told, shown).into_string())?;
    }
    bounded.end(page, |LeftOut { first, last, pieces }| {
        let command = facts.command("show", format_args!(":{first}..{last}"));
        let left_out = html! {
            p.cut {
                (pieces) " entries, of events " (first) " to " (last) ", are left out here: the page would be too long. "
                code { (command) " --full" } " shows them."
            }
        };
        left_out.into_string()
    })?;
    page.open("</section>\n")?;
    Ok(())
}

/// The last entries, which may still hear what came of them.
#[derive(Default)]
struct Waiting {
    told: VecDeque<Told>,
    bytes: usize,
}

impl Waiting {
    /// The oldest entry, once there are too many.
    fn ready(&mut self) -> Option<Told> {
        if self.told.len() <= WAITING_MAX && self.bytes <= WAITING_BYTES_MAX {
            return None;
        }
        let told = self.told.pop_front()?;
        self.bytes = self.bytes.saturating_sub(told.what.len());
        Some(told)
    }

    fn take(&mut self, place: Row) {
        let event = match place {
            Row::Event { event, .. } => event,
            Row::Damaged { seq, what } => {
                let (at, source) = self.told.back().map_or((Timestamp(0), Source::Environment), |last| (last.at, last.source));
                return self.push(Told { seq, at, source, imported: None, what: What::Hidden(format!("damaged: {what}")) });
            }
        };
        let mut imported = None;
        let what = match Event::read(&event) {
            Event::Item(entry) => {
                imported = entry.item.id;
                match entry.item.content {
                    Content::Action(action) => acted(action),
                    Content::Observation(observation) => self.observed(&event, observation, entry.item.cause),
                }
            }
            Event::StateChanged(StateChanged { state, reason, .. }) => Some(What::State(state, reason)),
            Event::ReplayCompared(ReplayCompared { verdict, .. }) => {
                if let Some(done) = self.action(|told| Some(told.seq) == event.cause) {
                    done.verdict = Some(verdict);
                }
                None
            }
            Event::Unknown(_) if event.body == Body::Redacted => Some(What::Hidden("taken out on request".to_owned())),
            Event::Unknown(_) => Some(What::Hidden("not known to this version; the log keeps it as it is".to_owned())),
            _ => None,
        };
        if let Some(what) = what {
            self.push(Told { seq: event.seq, at: event.at, source: event.source, imported, what });
        }
    }

    fn push(&mut self, told: Told) {
        self.bytes += told.what.len();
        self.told.push_back(told);
    }

    fn action(&mut self, is: impl Fn(&Told) -> bool) -> Option<&mut Done> {
        match self.told.iter_mut().rev().find(|told| is(told)).map(|told| &mut told.what) {
            Some(What::Action(done)) => Some(done),
            _ => None,
        }
    }

    /// An observation goes to the action that it answers; an imported one names it by the recording's ids, or follows it.
    fn observed(&mut self, event: &Recorded, observation: Observation, named: Option<i64>) -> Option<What> {
        let (exit_code, change) = match &observation.extras {
            Extras::AgentStateChanged(_) | Extras::Null | Extras::Recall(_) => return None,
            Extras::Run(run) => (Some(run.metadata.exit_code), None),
            Extras::Edit(edited) => (None, diff::done(edited)),
            _ => (None, None),
        };
        let outcome = Outcome {
            seq: event.seq,
            tag: observation.extras.tag().to_owned(),
            exit_code,
            text: Clipped::of(&observation.content),
            change: change.as_deref().map(Clipped::of),
        };
        let bytes = outcome.len();
        let answered = match (event.cause, named) {
            (Some(cause), _) => self.action(|told| told.seq == cause),
            (None, Some(id)) => self.action(|told| told.imported == Some(id)),
            (None, None) if event.source != Source::User => self.action(|_| true),
            (None, None) => None,
        };
        match answered {
            Some(done) if done.outcome.is_none() => {
                done.outcome = Some(outcome);
                self.bytes += bytes;
                None
            }
            _ => Some(What::Outcome(event.cause, Box::new(outcome))),
        }
    }
}

/// What an action says to people; `None` for what only machines need.
fn acted(action: Action) -> Option<What> {
    let change = diff::asked(&action).as_deref().map(Clipped::of);
    let arguments = match &action {
        Action::CallToolMcp(call) => json(&call.arguments),
        Action::Delegate(delegate) => json(&delegate.inputs),
        _ => String::new(),
    };
    match said(action)? {
        Said::Message { text } => Some(What::Message(Clipped::of(&text))),
        Said::Action { tag, thought, what, .. } => Some(What::Action(Box::new(Done {
            thought: Clipped::of(if thought == what { "" } else { &thought }),
            asked: Clipped::of(&format!("{}{}{arguments}", prompt(&tag), what)),
            tag,
            change,
            outcome: None,
            verdict: None,
        }))),
        Said::Observation { .. } | Said::State { .. } | Said::Unreadable { .. } => None,
    }
}

fn json(object: &Object) -> String {
    serde_json::to_string(object).map(|json| format!("\n{}", pretty_json(&json))).unwrap_or_default()
}

/// What stands before what was typed.
fn prompt(tag: &str) -> &'static str {
    match tag {
        "run" => "$ ",
        "run_ipython" => ">>> ",
        _ => "",
    }
}

impl What {
    /// How many bytes it takes.
    fn len(&self) -> usize {
        match self {
            Self::Message(text) => text.len(),
            Self::Action(done) => {
                let Done { thought, asked, change, outcome, .. } = &**done;
                let outcome = outcome.as_ref().map_or(0, Outcome::len);
                thought.len() + asked.len() + change.as_ref().map_or(0, Clipped::len) + outcome
            }
            Self::Outcome(_, outcome) => outcome.len(),
            Self::State(_, text) | Self::Hidden(text) => text.len(),
        }
    }
}

impl Outcome {
    fn len(&self) -> usize {
        self.text.len() + self.change.as_ref().map_or(0, Clipped::len)
    }
}
