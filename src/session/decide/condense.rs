//! A history that has grown too long: what is forgotten of it, and the summary that stands there instead.

use super::Deciding;
use crate::session::action::{Action, Condensation};
use crate::session::command::Rejection;
use crate::session::envelope::Source;
use crate::session::event::{Entry, Event, ModelRequested};
use crate::session::id::Seq;
use crate::session::item::Item;
use crate::session::model::Summary;
use crate::session::phase::Phase;
use crate::session::spec::Condenser;
use crate::session::turn::AgentState;

impl Deciding {
    /// The agent would see more than it may: this is forgotten, and nothing when nothing can be.
    pub(super) fn forget(&mut self, forget: &[Seq]) -> Result<(), Rejection> {
        if self.session.phase != Phase::Ready || !self.session.may_ask() || !self.session.has_outgrown() {
            return Err(Rejection::Stale("what is to be forgotten".to_owned()));
        }
        if self.summarises() && !forget.is_empty() {
            self.ask_for_summary(forget);
        } else {
            self.condense(forget, None, None);
        }
        Ok(())
    }

    /// The history is longer than the model's window.
    pub(super) fn window_exceeded(&mut self, forget: &[Seq]) {
        if !self.summarises() {
            self.condense(forget, None, None);
        } else if self.session.agent == AgentState::Running && self.limit_reached().is_none() {
            self.ask_for_summary(forget);
        }
        // Whoever is held, or has used up what there was, finds that out again when it goes on.
    }

    fn summarises(&self) -> bool {
        self.session.condenser().is_some_and(Condenser::summarises)
    }

    fn ask_for_summary(&mut self, forget: &[Seq]) {
        let (epoch, iteration, summarises) = (self.session.epoch, self.session.iterations, forget.to_vec());
        self.emit(Event::ModelRequested(ModelRequested { attempt: 1, epoch, iteration, summarises }));
    }

    pub(super) fn summarised(&mut self, request: Seq, summary: Summary) -> Result<(), Rejection> {
        self.waits_for(request)?;
        let forget = self.session.forgetting.clone();
        if forget.is_empty() {
            return Err(Rejection::Stale(format!("a summary for event {request}, which asks for a decision")));
        }
        let Summary { text, offset, call } = summary;
        let model = call.model.clone();
        self.emit_as(Source::Agent, Some(request), Event::ModelResponded(call));
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let mut item = condensation(&forget, Some((text, offset)));
        item.llm_metrics = Some(self.metrics(&model));
        self.emit_as(Source::Agent, Some(request), Event::Item(Box::new(Entry::new(item))));
        Ok(())
    }

    /// A part of the history is forgotten: by its ids, so that nothing between is. `summary` comes with its place among what is left.
    pub(super) fn condense(&mut self, forget: &[Seq], summary: Option<(String, i64)>, request: Option<Seq>) {
        let item = condensation(forget, summary);
        self.emit_as(Source::Agent, request, Event::Item(Box::new(Entry::new(item))));
    }
}

fn condensation(forget: &[Seq], summary: Option<(String, i64)>) -> Item {
    let ids = forget.iter().map(|seq| i64::try_from(seq.0).unwrap_or(i64::MAX)).collect();
    let (summary, summary_offset) = summary.unzip();
    let forgotten_event_ids = Some(ids);
    Item::from(Action::Condensation(Condensation { forgotten_event_ids, summary, summary_offset, ..Condensation::default() }))
}
