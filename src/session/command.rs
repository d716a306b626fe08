//! What may be asked of a session, and how it may be refused.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::delegation::{DelegateWait, Used};
use super::event::Briefed;
use super::id::{Digest, Epoch, NodeId, Seq, SessionId};
use super::item::Item;
use super::model::{Decision, ModelFailure, Summary};
use super::observation::Observation;
use super::phase::Phase;
use super::replay::{Line, ReplayPlan};
use super::spec::{Limits, SessionSpec};
use super::start::{Report, StartStep};
use super::stuck::Recovery;
use super::time::Timestamp;
use super::workspace::{Comparison, WorkspaceCaptured, WorkspaceNotCaptured};

/// Something that a person, a program or the engine asks of a session.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begin.
    Create {
        /// What it is told.
        spec: Box<SessionSpec>,
        /// Who runs it.
        node: NodeId,
    },
    /// Take the session over from an owner that is gone, and go on.
    Acquire {
        /// Who takes it.
        node: NodeId,
        /// Why.
        reason: String,
        /// What the restored state stood on.
        proof: Proof,
        /// What to do first, in the same breath: when this is refused, so is the takeover.
        then: Option<Box<Self>>,
    },
    /// Say something, as the user. What waits for a person to agree is refused by it: they want something else.
    Say {
        /// The text.
        content: String,
    },
    /// Say something with pictures, as the user.
    Show {
        /// The text.
        content: String,
        /// Their addresses: `https:` or `data:`.
        images: Vec<String>,
    },
    /// Agree to actions that wait for it: this one, or all.
    Confirm {
        /// Which.
        action: Option<Seq>,
        /// Who agrees.
        by: String,
    },
    /// Refuse actions that wait for a person to agree: this one, or all.
    Refuse {
        /// Which.
        action: Option<Seq>,
        /// Who refuses.
        by: String,
        /// Why; the agent goes on by it. Without a reason it waits for a message.
        reason: Option<String>,
    },
    /// Hold the agent: what it is at is finished, nothing new is begun.
    Pause,
    /// Stop the agent at once: what it is at is ended. The session stays, and can go on.
    Stop {
        /// Why, as it will stand in the log.
        reason: String,
    },
    /// Let the agent go on from where it stands.
    Continue {
        /// What it may use up from now on; where it stopped at a limit and nothing is said, once more what it was told at first.
        limits: Option<Limits>,
    },
    /// Lead an agent that was stopped in a loop out of it.
    Recover {
        /// How.
        how: Recovery,
        /// What of its history is to be forgotten for that.
        forget: Vec<Seq>,
        /// The first event of the loop for which that was found out; another loop refuses.
        from: Seq,
    },
    /// The time has come to which it was waited.
    Wake {
        /// Which.
        until: Timestamp,
    },
    /// A session of its own is to be begun for a part of the task.
    StartDelegate {
        /// The action that asks for it.
        action: Seq,
        /// Its id.
        session: SessionId,
        /// The agent, by the name by which it is asked for.
        agent: String,
    },
    /// The delegate comes no further by itself.
    DelegateWaits {
        /// The action that asked for it.
        action: Seq,
        /// For what it waits.
        wait: DelegateWait,
        /// What it has used so far.
        used: Used,
    },
    /// The delegate goes on.
    DelegateGoesOn {
        /// The action that asked for it.
        action: Seq,
    },
    /// The delegate is closed.
    EndDelegate {
        /// The action that asked for it.
        action: Seq,
        /// What came of it, for whoever still waits for that.
        outcome: Option<Box<Observation>>,
        /// What it used.
        used: Used,
        /// Whether it is known to be closed.
        closed: bool,
    },
    /// The agent's model is told this from now on.
    Brief(Briefed),
    /// The agent has decided.
    Decide {
        /// The event that asked.
        request: Seq,
        /// What.
        decision: Box<Decision>,
    },
    /// The agent has not decided.
    FailModel {
        /// The event that asked.
        request: Seq,
        /// Why.
        failure: Box<ModelFailure>,
        /// Where the history is longer than the model's window: what is to be forgotten of it.
        forget: Vec<Seq>,
    },
    /// The history has grown too long: these are forgotten of it, and summed up first where the session asks for that.
    Forget {
        /// Which.
        forget: Vec<Seq>,
    },
    /// The model has summed up what is forgotten.
    Summarise {
        /// The event that asked.
        request: Seq,
        /// What it wrote.
        summary: Box<Summary>,
    },
    /// Do these, as the agent; the runtime executes them in order.
    Act {
        /// Actions, in order.
        actions: Vec<Item>,
    },
    /// A step of the start is done.
    StepDone {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
        /// What it brought.
        done: StepDone,
    },
    /// A step of the start failed.
    StepFailed {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
        /// Why.
        error: String,
    },
    /// The runtime executed an action.
    Observe {
        /// The action.
        action: Seq,
        /// What came of it.
        observation: Box<Observation>,
        /// What the recording says came of it, when the action performs a recorded one.
        recorded: Option<Box<Observation>>,
    },
    /// An action of a recording was not run: its outcome is the recorded one.
    TakeRecorded {
        /// The action.
        action: Seq,
        /// What the recording says came of it.
        recorded: Option<Box<Observation>>,
        /// Why it was not run.
        why: String,
    },
    /// The runtime was lost while it was at an action.
    LoseRuntime {
        /// How.
        error: String,
    },
    /// Perform the next line of the recording.
    Perform {
        /// The line.
        line: Box<Line>,
    },
    /// The recording has no further line.
    EndRecording,
    /// The recording cannot be read any more.
    StopReplay {
        /// Where.
        index: u64,
        /// Why.
        reason: String,
    },
    /// What the workspace holds is kept.
    KeepSnapshot(WorkspaceCaptured),
    /// What the workspace holds could not be kept.
    MissSnapshot(WorkspaceNotCaptured),
    /// The workspace was compared with what was kept last.
    CompareWorkspace {
        /// What was kept.
        manifest: Digest,
        /// How it compares.
        comparison: Comparison,
    },
    /// Close. Accepted in any phase; asking twice is asking once.
    Close {
        /// Why, as it will stand in the log.
        reason: String,
    },
    /// What a step brought is released.
    Released {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
    },
    /// What a step brought could not be released.
    ReleaseFailed {
        /// Which.
        step: StartStep,
        /// Which try.
        attempt: u32,
        /// Why.
        error: String,
    },
}

/// What a step brought, as far as deciding needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepDone {
    /// A report of whoever did it.
    Report(Report),
    /// There was nothing to do, and why.
    Skipped(String),
    /// The servers that bring tools were joined.
    Tools {
        /// What came of each.
        report: Report,
        /// What an agent that was told of other tools is told now.
        told: Option<String>,
    },
    /// The recording is readable, and this is what will be performed.
    Recording(ReplayPlan),
}

/// What a restored state stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// How many events the log holds.
    pub events: u64,
    /// The snapshot that the fold began with.
    pub snapshot: Option<Seq>,
    /// SHA-256 of the state.
    pub digest: Digest,
}

/// Why a command was refused. Nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rejection {
    /// The session has events.
    #[error("the session exists already")]
    Exists,
    /// The session has no events.
    #[error("the session does not exist")]
    Missing,
    /// The command does not fit the phase.
    #[error("the session is {phase}, so it cannot {asked}")]
    OutOfPhase {
        /// What was asked.
        asked: Cow<'static, str>,
        /// The phase's name.
        phase: Cow<'static, str>,
    },
    /// The command answers something that the session does not wait for (any more).
    #[error("the session does not wait for {0} any more")]
    Stale(String),
    /// The log holds an event that this version must understand and does not.
    #[error(
        "event {0} was written by a newer version and must be understood; this version reads the session but does not act on it"
    )]
    NotUnderstood(Seq),
    /// Nothing was asked for.
    #[error("there is nothing to do")]
    Empty,
    /// What the session was told would put a password or a token into the log.
    #[error("the repository's address holds credentials, which the log would keep: name a secret that holds the token instead")]
    Credentials,
    /// Another owner has a higher epoch.
    #[error("the session has epoch {0}")]
    OwnedElsewhere(Epoch),
}

impl Rejection {
    pub(super) const fn out_of_phase(asked: &'static str, phase: &Phase) -> Self {
        Self::OutOfPhase { asked: Cow::Borrowed(asked), phase: Cow::Borrowed(phase.as_str()) }
    }
}
