//! A session that goes on from a place in the log of another one: where that is, and what is other than there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::id::{Digest, Seq, SessionId};
use super::omit::is_false;
use super::phase::Phase;
use super::spec::Limits;
use super::state::{Counts, Session, Usage};
use super::turn::Dispatch;
use super::workspace::{SnapshotDue, Snapshots};
use super::{EffectClass, delegation::Used};

/// Body of `session.forked`, the first event that a fork has for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forked {
    /// The session that holds the event which the fork goes on from.
    pub parent: SessionId,
    /// That event.
    pub at: Seq,
    /// Its chain hash.
    pub hash: Digest,
    /// Why, in the words of whoever forked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The directory on this machine that the fork works in.
    pub workspace: PathBuf,
    /// The event of the snapshot that was written there, when one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Seq>,
    /// Whether it stands for its parent from now on: a rewind.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rewinds: bool,
    /// The event of the parent that the fork does not have and something else stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Seq>,
    /// What the user says next, whatever was said there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether the user has just said something in the event that the fork goes on from: the fork answers it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub answers: bool,
    /// The beginning of that, where memory was not asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Whether the event after this one is an outcome that was made up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub result: bool,
    /// Another model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Another limit of calls of the model, those before the fork among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Another limit in millionths of a US dollar, what was spent before the fork among it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_micro_usd: Option<u64>,
    /// What the conversation had used until there, as its last action said: what follows says sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl Forked {
    /// A fork that goes on as it was.
    pub fn new(parent: SessionId, at: Seq, hash: Digest, workspace: impl Into<PathBuf>) -> Self {
        Self {
            parent,
            at,
            hash,
            reason: None,
            workspace: workspace.into(),
            files: None,
            rewinds: false,
            instead_of: None,
            message: None,
            answers: false,
            query: None,
            result: false,
            model: None,
            iterations: None,
            budget_micro_usd: None,
            usage: None,
        }
    }

    /// What is other than in the parent, one line each, for people.
    pub fn substituted(&self) -> Vec<String> {
        let instead = |what: &str| match self.instead_of {
            Some(seq) => format!("{what} instead of event {seq} there"),
            None => what.to_owned(),
        };
        let message = self.message.as_ref().map(|_| instead("another message"));
        let result = self.result.then(|| instead("another outcome"));
        let model = self.model.as_ref().map(|model| format!("the model {model}"));
        let iterations = self.iterations.map(|calls| format!("a limit of {calls} calls"));
        let budget = self.budget_micro_usd.map(|micro| format!("a budget of {}.{:06} USD", micro / 1_000_000, micro % 1_000_000));
        [message, result, model, iterations, budget].into_iter().flatten().collect()
    }
}

/// What a fork knows of where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// The session that holds what it shares.
    pub parent: SessionId,
    /// The last event that it shares.
    pub at: Seq,
    /// What is other than there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substituted: Vec<String>,
    /// What the user says once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether the user has just said something, to which nothing has followed yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub answers: bool,
    /// The beginning of that, where memory was not asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What it finds in its workspace.
    #[serde(default, skip_serializing_if = "Found::is_as_it_was")]
    pub found: Found,
    /// The action that the parent's runtime was at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Seq>,
    /// What was counted before the fork: its parent's, not its own.
    pub counts: Counts,
    /// What was used before the fork.
    pub usage: Usage,
}

/// What a fork finds in its workspace, beside what its log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Found {
    /// All that there was.
    #[default]
    AsItWas,
    /// What there was at an earlier event; something ran after that.
    AsAt {
        /// The event.
        at: Seq,
    },
    /// Nothing of what there was.
    Nothing,
}

impl Found {
    const fn is_as_it_was(&self) -> bool {
        matches!(self, Self::AsItWas)
    }

    /// What an agent is told that may believe otherwise.
    pub(super) fn told(self, at: Seq) -> Option<String> {
        match self {
            Self::AsItWas => None,
            Self::AsAt { at: snapshot } => Some(format!(
                "This session goes on from event {at} of another one, in a copy of its workspace as that was at event {snapshot}: what \
                 was done to files after that is not there. Look before you rely on it."
            )),
            Self::Nothing => Some(format!(
                "This session goes on from event {at} of another one, in a workspace of its own: files that were made or changed \
                 earlier are not there. Look before you rely on any."
            )),
        }
    }
}

impl Session {
    /// What a fork finds in its workspace where this snapshot was written into it.
    fn found(&self, files: Option<Seq>) -> Found {
        match (files, self.snapshots) {
            (Some(at), Some(snapshots)) if snapshots.due == SnapshotDue::AtRest => Found::AsAt { at },
            (Some(_), _) => Found::AsItWas,
            (None, _) if self.counts.actions > self.counts.messages => Found::Nothing,
            (None, _) => Found::AsItWas,
        }
    }

    /// Nothing outside the log comes along: neither owner, nor runtime, nor what was just under way there.
    pub(super) fn forked(&mut self, body: Forked) {
        // What a delegate of the parent has used is part of what the conversation has.
        let Used { iterations, prompt_tokens, completion_tokens, cost_micro_usd } = Used::of(self);
        self.iterations = iterations;
        self.usage = Usage { prompt_tokens, completion_tokens, cost_micro_usd };
        self.delegation = None;
        self.fork = Some(ForkedFrom {
            parent: body.parent,
            at: body.at,
            substituted: body.substituted(),
            left: self.in_flight().map(|open| open.seq),
            found: self.found(body.files),
            message: body.message,
            answers: body.answers,
            query: body.query,
            counts: self.counts,
            usage: self.usage,
        });
        if !matches!(self.phase, Phase::Imported { .. }) {
            self.phase = Phase::Forked {};
        }
        if body.files.is_none() && self.snapshots.is_some() {
            // What was kept is of another workspace than this one.
            self.snapshots = Some(Snapshots::begin());
        }
        self.epoch = super::Epoch(0);
        self.owner = None;
        self.steps.clear();
        if let Some(call) = &mut self.model {
            call.epoch = None;
        }
        for open in &mut self.open {
            match open.dispatch {
                Dispatch::InFlight { attempt, .. } | Dispatch::Interrupted { attempt } => {
                    open.dispatch = Dispatch::Interrupted { attempt };
                    // Only the parent's runtime and delegate know what came of it.
                    if open.class == EffectClass::Keyed || open.is_delegate() {
                        open.class = EffectClass::Unsafe;
                    }
                }
                Dispatch::Unconfirmed | Dispatch::Queued { .. } => {}
            }
        }
        if let Some(spec) = &mut self.spec {
            spec.workspace = body.workspace;
            // Nobody waits for a fork, also where it is one of a delegate.
            spec.parent = None;
            if let (Some(model), Some(agent)) = (body.model, &mut spec.agent) {
                // What the other one costs says nothing of this one.
                agent.config.model.price = None;
                agent.config.model.name = model;
            }
        }
        if body.iterations.is_some() || body.budget_micro_usd.is_some() {
            let Limits { iterations, budget_micro_usd } = self.limits();
            let iterations = body.iterations.unwrap_or(iterations);
            self.raised = Some(Limits { iterations, budget_micro_usd: body.budget_micro_usd.or(budget_micro_usd) });
        }
    }
}
