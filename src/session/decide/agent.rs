//! The agent's turn: it is asked when nothing else is owed, within its limits; what it decides enters the log in one append.

use super::{BAD_ANSWER, Deciding, NOT_EXECUTED};
use crate::session::action::{Action, Condensation, Confirmation};
use crate::session::command::Rejection;
use crate::session::envelope::Source;
use crate::session::event::{ActionJudged, Briefed, Entry, Event, ModelFailed, ModelRequested};
use crate::session::id::Seq;
use crate::session::item::{Content, Item};
use crate::session::metrics::{Metrics, TokenUsage};
use crate::session::model::{CallUsage, Decision, Judged, Judgement, ModelErrorClass, ModelFailure};
use crate::session::observation::Observation;
use crate::session::spec::{ConfirmationPolicy, Interaction, Risk};
use crate::session::state::Briefing;
use crate::session::turn::AgentState;

impl Deciding {
    /// Asks the agent when it is at work and nothing else is owed; ends its work where a limit is reached.
    pub(super) fn ask_agent(&mut self) -> bool {
        let session = &self.session;
        let interrupted = session.model.filter(|call| call.epoch.is_none());
        if let Some(call) = interrupted {
            let attempt = call.attempt.saturating_add(1);
            let asks = ModelRequested { attempt, epoch: session.epoch, iteration: session.iterations };
            self.emit(Event::ModelRequested(asks));
            return true;
        }
        let asks = session.has_agent()
            && session.agent == AgentState::Running
            && session.open.is_empty()
            && session.model.is_none()
            && !session.is_replaying();
        if !asks {
            return false;
        }
        if let Some(why) = self.hindrance() {
            self.turn(AgentState::Error, &why);
            return true;
        }
        let (epoch, iteration) = (self.session.epoch, self.session.iterations.saturating_add(1));
        self.emit(Event::ModelRequested(ModelRequested { attempt: 1, epoch, iteration }));
        true
    }

    /// Why the agent may not be asked again, in V0's words.
    fn hindrance(&self) -> Option<String> {
        let (session, limits) = (&self.session, self.session.limits());
        let headless = session.spec.as_ref().is_some_and(|spec| spec.interaction == Interaction::Headless);
        let mode = if headless { " in headless mode" } else { "" };
        let used = session.iterations;
        if used >= limits.iterations {
            let max = limits.iterations;
            return Some(format!(
                "RuntimeError: Agent reached maximum iteration{mode}. Current iteration: {used}, max iteration: {max}"
            ));
        }
        if let (Some(cost), Some(budget)) = (session.usage.cost_micro_usd, limits.budget_micro_usd)
            && cost >= budget
        {
            let (cost, max) = (dollars(cost), dollars(budget));
            return Some(format!(
                "RuntimeError: Agent reached maximum budget{mode}. Current budget: {cost:.2}, max budget: {max:.2}"
            ));
        }
        let found = session.trail.find_loop()?;
        Some(format!("AgentStuckInLoopError: Agent got stuck in a loop: {}, since event {}", found.what, found.from))
    }

    pub(super) fn brief(&mut self, briefed: Briefed) -> Result<(), Rejection> {
        let now = Briefing { prompt: briefed.prompt, tools: briefed.tools };
        if self.session.briefing != Some(now) {
            self.emit(Event::Briefed(briefed));
        }
        Ok(())
    }

    fn waits_for(&self, request: Seq) -> Result<(), Rejection> {
        match self.session.model {
            Some(call) if call.request == request && call.epoch.is_some() => Ok(()),
            _ => Err(Rejection::Stale(format!("the answer to event {request}"))),
        }
    }

    pub(super) fn decided(&mut self, request: Seq, decision: Decision) -> Result<(), Rejection> {
        self.waits_for(request)?;
        let Decision { actions, call } = decision;
        let model = call.model.clone();
        self.emit_as(Source::Agent, Some(request), Event::ModelResponded(call));
        for judged in actions {
            let ends = matches!(judged.action.content, Content::Action(Action::Finish(_) | Action::Reject(_)));
            self.agent_action(judged, &model);
            if ends {
                // What the model wanted after the end is not done.
                break;
            }
        }
        Ok(())
    }

    fn agent_action(&mut self, judged: Judged, model: &str) {
        let Judged { mut action, judgement } = judged;
        action.source = Some(Source::Agent);
        action.llm_metrics = Some(self.metrics(model));
        let runnable = matches!(&action.content, Content::Action(action) if action.is_runnable());
        let confirm = runnable && self.must_be_confirmed(judgement.as_ref());
        if let Content::Action(action) = &mut action.content {
            note_risk(action, judgement.as_ref(), confirm);
        }
        let before = self.session.version;
        self.do_action(Entry::new(action), None);
        let seq = before.next();
        if runnable && (judgement.is_some() || confirm) {
            let unjudged = || Judgement { risk: Risk::Unknown, reasons: Vec::new(), by: Vec::new() };
            let judged = ActionJudged { judgement: judgement.unwrap_or_else(unjudged), confirm };
            self.emit_as(Source::Environment, Some(seq), Event::Judged(judged));
            if confirm && self.session.agent == AgentState::Running {
                self.turn(AgentState::AwaitingUserConfirmation, "");
            }
        }
    }

    fn must_be_confirmed(&self, judgement: Option<&Judgement>) -> bool {
        let policy = self.session.spec.as_ref().map(|spec| spec.security.confirmation).unwrap_or_default();
        match (policy, judgement.map_or(Risk::Unknown, |judgement| judgement.risk)) {
            (ConfirmationPolicy::Never, _) => false,
            (ConfirmationPolicy::Always, _) | (ConfirmationPolicy::AtOrAbove(_), Risk::Unknown) => true,
            (ConfirmationPolicy::AtOrAbove(least), risk) => risk >= least,
        }
    }

    /// What was used so far, as V0 writes it beside an action.
    fn metrics(&self, model: &str) -> Metrics {
        let usage = &self.session.usage;
        let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Metrics {
            accumulated_cost: usage.cost_micro_usd.map_or(0.0, dollars),
            accumulated_token_usage: Some(TokenUsage {
                model: model.to_owned(),
                prompt_tokens: stored(usage.prompt_tokens),
                completion_tokens: stored(usage.completion_tokens),
                ..TokenUsage::default()
            }),
            ..Metrics::default()
        }
    }

    pub(super) fn model_failed(&mut self, request: Seq, failure: ModelFailure, forget: &[Seq]) -> Result<(), Rejection> {
        self.waits_for(request)?;
        let ModelFailure { class, message, retry_after, usage } = failure;
        let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.emit_as(
            Source::Agent,
            Some(request),
            Event::ModelFailed(ModelFailed { class, message: message.clone(), retry_after_ms, usage }),
        );
        match class {
            ModelErrorClass::BadAnswer => {
                let told = Item::from(Observation::error(message, BAD_ANSWER));
                self.emit_as(Source::Agent, Some(request), Event::Item(Box::new(Entry::new(told))));
            }
            ModelErrorClass::ContextWindow if !forget.is_empty() => self.condense(forget),
            ModelErrorClass::RateLimit => self.turn(AgentState::RateLimited, &format!("{}: {message}", class.as_v0())),
            ModelErrorClass::Cancelled => {}
            _ => self.turn(AgentState::Error, &format!("{}: {message}", class.as_v0())),
        }
        Ok(())
    }

    /// A part of the history is forgotten: by its ids, so that nothing between is.
    fn condense(&mut self, forget: &[Seq]) {
        let ids = forget.iter().map(|seq| i64::try_from(seq.0).unwrap_or(i64::MAX)).collect();
        let condensation = Action::Condensation(Condensation { forgotten_event_ids: Some(ids), ..Condensation::default() });
        self.emit_as(Source::Agent, None, Event::Item(Box::new(Entry::new(Item::from(condensation)))));
    }

    /// Ends the call that is under way, if there is one.
    pub(super) fn cancel_call(&mut self, why: &str) -> bool {
        let Some(call) = self.session.model else {
            return false;
        };
        let (class, message) = (ModelErrorClass::Cancelled, why.to_owned());
        let failed = ModelFailed { class, message, retry_after_ms: None, usage: CallUsage::default() };
        self.emit_as(Source::Environment, Some(call.request), Event::ModelFailed(failed));
        true
    }

    /// Delegates need an engine that runs them.
    pub(super) fn refuse_delegate(&mut self, seq: Seq) {
        let told = Observation::error("This session has no agents to hand parts of its task to; do it yourself.", NOT_EXECUTED);
        self.outcome(seq, None, told, None, Source::Environment);
    }
}

#[expect(clippy::cast_precision_loss, reason = "money of a session stays below 2⁵³ millionths")]
fn dollars(micro: u64) -> f64 {
    micro as f64 / 1e6
}

/// Notes in the action itself what V0 has there.
fn note_risk(action: &mut Action, judgement: Option<&Judgement>, confirm: bool) {
    let state = if confirm { Confirmation::AwaitingConfirmation } else { Confirmation::Confirmed };
    let risk = judgement.map(|judgement| judgement.risk.number());
    match action {
        Action::Run(run) => (run.confirmation_state, run.security_risk) = (state, risk),
        Action::RunIpython(cell) => (cell.confirmation_state, cell.security_risk) = (state, risk),
        Action::Read(read) => read.security_risk = risk,
        Action::Write(write) => write.security_risk = risk,
        Action::Edit(edit) => edit.security_risk = risk,
        Action::Browse(browse) => browse.security_risk = risk,
        Action::BrowseInteractive(browse) => browse.security_risk = risk,
        Action::CallToolMcp(call) => call.security_risk = risk,
        _ => {}
    }
}
