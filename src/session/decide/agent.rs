//! The agent's turn: it is asked when nothing else is owed, within its limits; what it decides enters the log in one append.

use std::borrow::Cow;
use std::time::Duration;

use super::{BAD_ANSWER, Deciding};
use crate::session::action::{Action, Confirmation, LoopRecovery};
use crate::session::command::Rejection;
use crate::session::delegation::Used;
use crate::session::envelope::Source;
use crate::session::event::{ActionJudged, Briefed, Entry, Event, ModelFailed, ModelRequested, StateChanged};
use crate::session::id::Seq;
use crate::session::item::{Content, Item};
use crate::session::metrics::{Metrics, TokenUsage};
use crate::session::model::{CallUsage, Decision, Judged, Judgement, ModelErrorClass, ModelFailure};
use crate::session::observation::Observation;
use crate::session::spec::{ConfirmationPolicy, Interaction, Risk};
use crate::session::state::Briefing;
use crate::session::stuck::Recovery;
use crate::session::time::Timestamp;
use crate::session::turn::AgentState;

/// How long a model is left alone that refuses and does not say for how long; doubled each time in a row.
const RATE_WAIT: Duration = Duration::from_mins(1);
/// The most that comes of the doubling.
const RATE_WAIT_MAX: Duration = Duration::from_mins(15);
/// The longest that a model may ask to be left alone before a person must say when to go on.
const RATE_ASKED_MAX: Duration = Duration::from_hours(1);
/// How often in a row it is waited.
const RATE_WAITS_MAX: u32 = 8;

impl Deciding {
    /// Asks the agent when it is at work and nothing else is owed; ends its work where a limit is reached.
    pub(super) fn ask_agent(&mut self) -> bool {
        let session = &self.session;
        let interrupted = session.model.filter(|call| call.epoch.is_none() && session.delegation.is_none());
        if let Some(call) = interrupted {
            let attempt = call.attempt.saturating_add(1);
            let (epoch, iteration, summarises) = (session.epoch, session.iterations, session.forgetting.clone());
            let asks = ModelRequested { attempt, epoch, iteration, summarises };
            self.emit(Event::ModelRequested(asks));
            return true;
        }
        if !session.may_ask() {
            return false;
        }
        if let Some(why) = self.hindrance() {
            self.turn(AgentState::Error, &why);
            return true;
        }
        if self.session.has_outgrown() {
            // What is forgotten comes first, which the world must say.
            return false;
        }
        let (epoch, iteration) = (self.session.epoch, self.session.iterations.saturating_add(1));
        self.emit(Event::ModelRequested(ModelRequested { attempt: 1, epoch, iteration, summarises: Vec::new() }));
        true
    }

    /// Why the agent may not be asked again, in V0's words.
    fn hindrance(&self) -> Option<String> {
        if let Some(reached) = self.limit_reached() {
            return Some(reached);
        }
        let found = self.session.trail.find_loop()?;
        Some(format!("AgentStuckInLoopError: Agent got stuck in a loop: {}, since event {}", found.what, found.from))
    }

    /// The limit that the agent and its delegates together have reached, in V0's words.
    pub(super) fn limit_reached(&self) -> Option<String> {
        let (session, limits) = (&self.session, self.session.limits());
        let headless = session.spec.as_ref().is_some_and(|spec| spec.interaction == Interaction::Headless);
        let mode = if headless { " in headless mode" } else { "" };
        let Used { iterations: used, cost_micro_usd, .. } = Used::of(session);
        if used >= limits.iterations {
            let max = limits.iterations;
            return Some(format!(
                "RuntimeError: Agent reached maximum iteration{mode}. Current iteration: {used}, max iteration: {max}"
            ));
        }
        if let (Some(cost), Some(budget)) = (cost_micro_usd, limits.budget_micro_usd)
            && cost >= budget
        {
            let (cost, max) = (dollars(cost), dollars(budget));
            return Some(format!(
                "RuntimeError: Agent reached maximum budget{mode}. Current budget: {cost:.2}, max budget: {max:.2}"
            ));
        }
        None
    }

    pub(super) fn brief(&mut self, briefed: Briefed) -> Result<(), Rejection> {
        let now = Briefing { prompt: briefed.prompt, tools: briefed.tools };
        if self.session.briefing != Some(now) {
            self.emit(Event::Briefed(briefed));
        }
        Ok(())
    }

    pub(super) fn waits_for(&self, request: Seq) -> Result<(), Rejection> {
        match self.session.model {
            Some(call) if call.request == request && call.epoch.is_some() => Ok(()),
            _ => Err(Rejection::Stale(format!("the answer to event {request}"))),
        }
    }

    pub(super) fn decided(&mut self, request: Seq, decision: Decision) -> Result<(), Rejection> {
        self.waits_for(request)?;
        if !self.session.forgetting.is_empty() {
            return Err(Rejection::Stale(format!("a decision on event {request}, which asks for a summary")));
        }
        let Decision { actions, call } = decision;
        let model = call.model.clone();
        self.emit_as(Source::Agent, Some(request), Event::ModelResponded(call));
        let something = |judged: &Judged| !matches!(judged.action.content, Content::Action(Action::Null));
        let actions: Vec<Judged> = actions.into_iter().filter(something).collect();
        if actions.is_empty() {
            self.bad_answer(
                request,
                "The answer holds nothing to do and nothing to say. Call a tool, or say what you need.".to_owned(),
            );
        }
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
    pub(super) fn metrics(&self, model: &str) -> Metrics {
        let usage = &self.session.usage;
        let stored = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        // V0 has no word for an unknown cost; a named model that cost nothing would be read as free.
        let model = if usage.cost_micro_usd.is_some() { model } else { "default" };
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
        let without_summary = self.session.forgetting.clone();
        self.emit_as(
            Source::Agent,
            Some(request),
            Event::ModelFailed(ModelFailed { class, message: message.clone(), retry_after_ms, usage }),
        );
        if !without_summary.is_empty() {
            self.condense(&without_summary, None, Some(request));
            return Ok(());
        }
        match class {
            ModelErrorClass::BadAnswer => self.bad_answer(request, message),
            ModelErrorClass::ContextWindow if !forget.is_empty() => self.window_exceeded(forget),
            // Whoever held or stopped it meanwhile is not overruled.
            ModelErrorClass::RateLimit if self.session.agent == AgentState::Running => {
                // By what the log says of it, so that it is the same when it is decided again.
                let asked = retry_after_ms.map(Duration::from_millis);
                let until = self.rate_wait(asked).map(|wait| self.now.plus(wait));
                let reason = format!("{}: {message}", class.as_v0());
                self.emit(Event::StateChanged(StateChanged { state: AgentState::RateLimited, reason, status: None, until }));
            }
            ModelErrorClass::Cancelled | ModelErrorClass::RateLimit => {}
            _ => {
                let (state, reason) = (AgentState::Error, format!("{}: {message}", class.as_v0()));
                let status = class.status().map(Cow::Borrowed);
                self.emit(Event::StateChanged(StateChanged { state, reason, status, until: None }));
            }
        }
        Ok(())
    }

    /// What is wrong with an answer is told to the model, which is asked again.
    fn bad_answer(&mut self, request: Seq, what: String) {
        let told = Item::from(Observation::error(what, BAD_ANSWER));
        self.emit_as(Source::Agent, Some(request), Event::Item(Box::new(Entry::new(told))));
    }

    /// How long a model is left alone that refuses for now; `None` when a person must say when to go on.
    fn rate_wait(&self, asked: Option<Duration>) -> Option<Duration> {
        let waits = u32::try_from(self.session.waits).unwrap_or(u32::MAX);
        let doubled = RATE_WAIT * 2_u32.pow(waits.min(10));
        let wait = asked.unwrap_or_else(|| doubled.min(RATE_WAIT_MAX));
        (waits < RATE_WAITS_MAX && wait <= RATE_ASKED_MAX).then_some(wait)
    }

    pub(super) fn wake(&mut self, until: Timestamp) -> Result<(), Rejection> {
        if self.session.until != Some(until) {
            return Err(Rejection::Stale("the end of a wait".to_owned()));
        }
        self.run("the model is asked again");
        Ok(())
    }

    /// Leads an agent out of the loop in which it was stopped.
    pub(super) fn recover(&mut self, how: Recovery, forget: &[Seq], from: Seq) -> Result<(), Rejection> {
        self.ready("be led out of a loop")?;
        let found = self.session.trail.find_loop().filter(|found| self.session.agent == AgentState::Error && found.from == from);
        let Some(found) = found else {
            return Err(Rejection::Stale("a way out of a loop".to_owned()));
        };
        let chosen = Action::LoopRecovery(LoopRecovery { option: how.option() });
        self.emit_as(Source::User, None, Event::Item(Box::new(Entry::new(Item::from(chosen)))));
        if how == Recovery::Stop {
            self.turn(AgentState::Stopped, "left in a loop");
            return Ok(());
        }
        if !forget.is_empty() {
            let what = found.what;
            let told = format!("What was done last went in circles ({what}), so it is not shown any more. Try something else.");
            // What is said of it comes last.
            self.condense(forget, Some((told, i64::MAX)), None);
        }
        self.run("led out of a loop");
        Ok(())
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
