//! A part of the task that was handed to a session of its own: how far that has come, and what it is to be told.

use serde::{Deserialize, Serialize};

use super::envelope::Recorded;
use super::event::{DelegateFinished, DelegateGoesOn, DelegateStarted, DelegateWaits};
use super::id::{Seq, SessionId};
use super::phase::Phase;
use super::spec::Limits;
use super::state::{Session, Usage};
use super::turn::{AgentState, Dispatch};

/// A delegate that was begun and whose end is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// The action that asked for it.
    pub action: Seq,
    /// The delegate's own session.
    pub session: SessionId,
    /// The agent, by the name by which it was asked for.
    pub agent: String,
    /// What it may use up: what is left of its parent's.
    pub limits: Limits,
    /// What it is to be told.
    pub wish: Wish,
    /// Why it comes no further by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<DelegateWait>,
    /// What it has used, as far as it was said.
    pub used: Used,
}

/// What a delegate is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Nothing: it goes its way.
    #[default]
    Follow,
    /// To go on, within the limits that it has now.
    GoOn,
}

/// Why a delegate comes no further by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum DelegateWait {
    /// A person must agree to an action.
    Consent {
        /// The session that waits for it: the delegate, or one below it.
        session: SessionId,
    },
    /// Somebody holds it.
    Release,
    /// A limit is reached.
    Limits,
    /// Its model answers nobody for now.
    Model,
}

/// What a delegate and those below it have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Calls of the model.
    pub iterations: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Millionths of a US dollar; unset when nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<u64>,
}

/// What is to be done about a delegate now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// See how it comes along.
    Follow,
    /// Have it held, and see.
    Hold,
    /// Have it go on within these limits.
    GoOn(Limits),
    /// Have it closed: nobody waits for what comes of it.
    End,
}

impl Used {
    /// What a session has used, its delegates among it.
    pub fn of(session: &Session) -> Self {
        let below = session.delegation.as_ref().map(|delegation| delegation.used).unwrap_or_default();
        let Usage { prompt_tokens, completion_tokens, cost_micro_usd } = session.usage;
        Self {
            iterations: session.iterations.saturating_add(below.iterations),
            prompt_tokens: prompt_tokens.saturating_add(below.prompt_tokens),
            completion_tokens: completion_tokens.saturating_add(below.completion_tokens),
            cost_micro_usd: sum(cost_micro_usd, below.cost_micro_usd),
        }
    }
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

impl Session {
    /// What is left of what the agent may use up.
    pub fn left(&self) -> Limits {
        let Limits { iterations, budget_micro_usd } = self.limits();
        let spent = self.usage.cost_micro_usd.unwrap_or(0);
        Limits {
            iterations: iterations.saturating_sub(self.iterations),
            budget_micro_usd: budget_micro_usd.map(|budget| budget.saturating_sub(spent)),
        }
    }

    /// Whether a limit is reached, by the agent and its delegates together.
    pub fn is_at_limit(&self) -> bool {
        let (limits, used) = (self.limits(), Used::of(self));
        let spent = limits.budget_micro_usd.zip(used.cost_micro_usd).is_some_and(|(budget, cost)| cost >= budget);
        used.iterations >= limits.iterations || spent
    }

    /// Whether a person must agree to something that a delegate wants to do.
    pub fn waits_for_consent_below(&self) -> bool {
        self.delegation.as_ref().is_some_and(|delegation| matches!(delegation.wait, Some(DelegateWait::Consent { .. })))
    }

    /// What is to be done about the delegate, and for which try of the action that asked for it; `None` when there is none, or the
    /// action is not in this owner's hands.
    pub(super) fn order(&self) -> Option<(&Delegation, u32, Order)> {
        let delegation = self.delegation.as_ref()?;
        let open = self.open_action(delegation.action).filter(|_| self.phase == Phase::Ready);
        let Some(open) = open else {
            return Some((delegation, 0, Order::End));
        };
        let Dispatch::InFlight { attempt, .. } = open.dispatch else {
            return None;
        };
        let order = match delegation.wish {
            _ if self.agent == AgentState::Paused && delegation.wait.is_none() => Order::Hold,
            Wish::Follow => Order::Follow,
            Wish::GoOn => Order::GoOn(delegation.limits),
        };
        Some((delegation, attempt, order))
    }

    /// Folds in what is said of a delegate; `false` when it cannot be read.
    pub(super) fn delegate_event(&mut self, event: &Recorded) -> bool {
        match event.kind.as_str() {
            "delegate.started" => self.read(event, |session, event, body: DelegateStarted| {
                let DelegateStarted { session: delegate, agent, level: _, limits } = body;
                let action = event.cause.unwrap_or(event.seq);
                let (wish, wait, used) = (Wish::Follow, None, Used::default());
                session.delegation = Some(Delegation { action, session: delegate, agent, limits, wish, wait, used });
            }),
            "delegate.waits" => self.read(event, |session, _, body: DelegateWaits| {
                if let Some(delegation) = &mut session.delegation {
                    (delegation.wait, delegation.used, delegation.wish) = (Some(body.wait), body.used, Wish::Follow);
                }
            }),
            "delegate.goes_on" => self.read(event, |session, _, _: DelegateGoesOn| {
                if let Some(delegation) = &mut session.delegation {
                    (delegation.wait, delegation.wish) = (None, Wish::Follow);
                }
            }),
            "delegate.finished" => self.read(event, |session, _, body: DelegateFinished| {
                session.delegation = None;
                let Used { iterations, prompt_tokens, completion_tokens, cost_micro_usd } = body.used;
                session.iterations = session.iterations.saturating_add(iterations);
                let usage = &mut session.usage;
                usage.prompt_tokens = usage.prompt_tokens.saturating_add(prompt_tokens);
                usage.completion_tokens = usage.completion_tokens.saturating_add(completion_tokens);
                usage.cost_micro_usd = sum(usage.cost_micro_usd, cost_micro_usd);
            }),
            _ => false,
        }
    }

    /// New limits are the delegate's, too: what is left of them.
    pub(super) fn share_limits(&mut self) {
        let left = self.left();
        if let Some(delegation) = &mut self.delegation {
            (delegation.limits, delegation.wish) = (left, Wish::GoOn);
        }
    }

    /// What a change of the agent's state, from `before`, means for its delegate.
    pub(super) fn tell_delegate(&mut self, before: AgentState) {
        let Some(delegation) = &mut self.delegation else {
            return;
        };
        match (before, self.agent) {
            (AgentState::Paused | AgentState::Error | AgentState::RateLimited, AgentState::Running) => {
                (delegation.wish, delegation.wait) = (Wish::GoOn, None);
            }
            // Whatever it waited for, it is to be held now.
            (_, AgentState::Paused) if delegation.wait != Some(DelegateWait::Release) => delegation.wait = None,
            _ => {}
        }
    }
}
