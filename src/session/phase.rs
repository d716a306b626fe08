//! Where a session stands in its life. Each phase carries the data that only it needs.

use serde::{Deserialize, Serialize};

use super::id::Epoch;
use super::start::StartStep;
use super::time::Timestamp;

/// Where a session stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Phase {
    /// It has no events.
    #[default]
    Unborn,
    /// It was forked from another session, and nobody has gone on with it yet.
    Forked {},
    /// Its start is under way.
    Starting(Start),
    /// A step of its start failed; what was reached is released, then it waits to be started again.
    StartFailed {
        /// The step.
        step: StartStep,
        /// Why.
        error: String,
    },
    /// It has started.
    Ready,
    /// It holds another system's recording; nothing is performed in it.
    Imported {
        /// Whether all of the recording is there.
        complete: bool,
    },
    /// It holds the audit log of its store; nothing is performed in it.
    Audit {},
    /// It is being closed.
    Closing {
        /// Why.
        reason: String,
        /// When what is still held is given up.
        deadline: Timestamp,
    },
    /// It is over.
    Closed {
        /// Why.
        reason: String,
    },
}

impl Phase {
    /// The word for lists.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unborn => "unborn",
            Self::Forked {} => "forked",
            Self::Starting(_) => "starting",
            Self::StartFailed { .. } => "start_failed",
            Self::Ready => "ready",
            Self::Imported { complete: true } => "imported",
            Self::Imported { complete: false } => "importing",
            Self::Audit {} => "audit",
            Self::Closing { .. } => "closing",
            Self::Closed { .. } => "closed",
        }
    }
}

/// A start under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The steps, in order.
    pub plan: Vec<StartStep>,
    /// How many of them are done.
    pub done: usize,
}

impl Start {
    /// The step to take now; `None` when all are done.
    pub fn current(&self) -> Option<StartStep> {
        self.plan.get(self.done).copied()
    }

    /// The steps that are done.
    pub fn taken(&self) -> &[StartStep] {
        self.plan.get(..self.done).unwrap_or(&self.plan)
    }
}

/// What is known of one step, over all its tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: StartStep,
    /// The latest try.
    pub attempt: u32,
    /// How far it came.
    pub progress: StepProgress,
}

/// How far the latest try of a step came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StepProgress {
    /// Somebody is at it.
    Running {
        /// Who.
        epoch: Epoch,
        /// Until when.
        deadline: Timestamp,
    },
    /// Whoever was at it is gone.
    Interrupted,
    /// What it brought is held by this owner.
    Held {
        /// The owner.
        epoch: Epoch,
    },
    /// What it brought went with an owner that is gone.
    Lost,
    /// There was nothing to do, or nothing is held.
    Done,
    /// It failed.
    Failed,
    /// What it brought is being released.
    Releasing {
        /// Which try of the release.
        attempt: u32,
        /// By whom.
        epoch: Epoch,
        /// Until when.
        deadline: Timestamp,
    },
    /// What it brought is released.
    Released,
    /// What it brought could not be released and was given up.
    GivenUp,
}
