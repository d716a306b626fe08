//! One action: what was decided before it ran, that it ran, and what came of it.

use serde::{Deserialize, Serialize};

use crate::projection::transcript::described;
use crate::projection::{moment, moment_if_any};
use crate::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN};
use crate::session::event::{ActionConfirmed, ActionJudged, ActionRefused, Dispatched};
use crate::session::{Action, Body, Content, Epoch, Event, Extras, Recorded, Risk, Seq, Source, Timestamp};

/// How much of what an action asks for is kept, in characters; the log has all of it.
pub const WHAT_MAX: usize = 200;

/// One action that a runtime, a server of tools or a delegate executes; messages and thoughts are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActionReport {
    /// The event.
    pub seq: Seq,
    /// When it was wanted.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// What kind of action: `run`, `edit`, …
    pub kind: String,
    /// Who wanted it.
    pub source: Source,
    /// What it asks for, cut after [`WHAT_MAX`] characters; unset where it was redacted or cannot be read.
    pub what: Option<String>,
    /// What the judges said; unset where none did.
    pub judged: Option<JudgedReport>,
    /// What a person said; unset where none did.
    pub consent: Option<Consent>,
    /// Each time that it was handed out to be executed.
    pub dispatched: Vec<DispatchReport>,
    /// What came of it, as at the end of the period.
    pub outcome: OutcomeReport,
    /// What is not as it should be.
    pub flags: Vec<Flag>,
}

/// What the judges said of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedReport {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// How much harm it could do; unset where that was redacted.
    pub risk: Option<Risk>,
    /// Who judged, with versions.
    pub by: Vec<String>,
    /// Why, one line each.
    pub reasons: Vec<String>,
    /// Whether a person had to agree; unset where that was redacted.
    pub confirm: Option<bool>,
}

/// What a person said of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// Whether they agreed.
    pub approved: bool,
    /// Who; unset where that was redacted.
    pub by: Option<String>,
    /// Why not, where they said so.
    pub reason: Option<String>,
}

/// That an action was handed out to be executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DispatchReport {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// 1 for the first time; unset where that was redacted.
    pub attempt: Option<u32>,
    /// The epoch of the owner that did it.
    pub epoch: Option<Epoch>,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutcomeReport {
    /// In a word.
    pub state: Outcome,
    /// The event that says so; unset while it is open.
    pub seq: Option<Seq>,
    /// When.
    #[serde(serialize_with = "moment_if_any")]
    pub at: Option<Timestamp>,
    /// The exit code, of commands.
    pub exit_code: Option<i64>,
}

/// What came of an action, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing yet.
    Open,
    /// It was done.
    Done,
    /// It was executed, and failed.
    Failed,
    /// Nobody knows.
    Unknown,
    /// A person refused it.
    Rejected,
    /// It was never executed.
    NotExecuted,
    /// It was not executed here: its outcome comes from a recording, or from whoever forked the session.
    Elsewhere,
    /// It has one, which was redacted or cannot be read.
    Unreadable,
}

/// Something of an action that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// It was handed out before it was judged.
    RanBeforeJudged,
    /// It was handed out and never judged, in a session that has judges.
    NeverJudged,
    /// A person had to agree, and it was handed out before one did.
    RanBeforeConsent,
    /// It was handed out after a person had refused it.
    RanAfterRefusal,
    /// It has no outcome at the end of the period.
    NoOutcome,
    /// Nobody knows what came of it.
    UnknownOutcome,
}

impl Flag {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RanBeforeJudged => "ran before it was judged",
            Self::NeverJudged => "ran and was never judged",
            Self::RanBeforeConsent => "ran before anybody agreed",
            Self::RanAfterRefusal => "ran after it was refused",
            Self::NoOutcome => "has no outcome",
            Self::UnknownOutcome => "its outcome is unknown",
        }
    }
}

impl Outcome {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::NotExecuted => "not executed",
            Self::Elsewhere => "elsewhere",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What is known of the session that an action is of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Setting {
    /// Whether somebody judges what its agent wants.
    pub(super) has_judges: bool,
    /// Whether it holds another system's recording, of which nothing is executed.
    pub(super) is_import: bool,
    /// Whether it performs a recording, which no agent decides.
    pub(super) is_replay: bool,
}

/// An action on its way through the log.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) report: ActionReport,
    /// Whether anything of it lies in the period.
    pub(super) counts: bool,
    /// The id that an imported recording gave it.
    pub(super) imported: Option<i64>,
}

impl Following {
    /// Begins with the action; `None` for what nobody executes.
    pub(super) fn begin(event: &Recorded) -> Option<Self> {
        let tag = event.kind.tag();
        if event.kind.family() != "action" || !(Action::RUNNABLE.contains(&tag) || tag == "delegate") {
            return None;
        }
        let (what, imported) = match Event::read(event) {
            Event::Item(entry) => match entry.item.content {
                Content::Action(action) => (Some(described(&action).chars().take(WHAT_MAX).collect()), entry.item.id),
                Content::Observation(_) => (None, None),
            },
            _ => (None, None),
        };
        let outcome = OutcomeReport { state: Outcome::Open, seq: None, at: None, exit_code: None };
        let report = ActionReport {
            seq: event.seq,
            at: event.at,
            kind: tag.to_owned(),
            source: event.source,
            what: if event.body == Body::Redacted { None } else { what },
            judged: None,
            consent: None,
            dispatched: Vec::new(),
            outcome,
            flags: Vec::new(),
        };
        Some(Self { report, counts: false, imported })
    }

    /// Takes an event that answers the action.
    pub(super) fn take(&mut self, event: &Recorded, setting: Setting) {
        let (seq, at, report) = (event.seq, event.at, &mut self.report);
        match event.kind.as_str() {
            "action.judged" => {
                let body: Option<ActionJudged> = body(event);
                let confirm = body.as_ref().map(|body| body.confirm);
                let judgement = body.map(|body| body.judgement);
                let risk = judgement.as_ref().map(|judgement| judgement.risk);
                let (by, reasons) = judgement.map(|judgement| (judgement.by, judgement.reasons)).unwrap_or_default();
                report.judged.get_or_insert(JudgedReport { seq, at, risk, by, reasons, confirm });
            }
            "action.confirmed" => {
                let by = body::<ActionConfirmed>(event).map(|body| body.by);
                report.consent.get_or_insert(Consent { seq, at, approved: true, by, reason: None });
            }
            "action.refused" => {
                let (by, reason) = body::<ActionRefused>(event).map_or((None, None), |body| (Some(body.by), body.reason));
                report.consent.get_or_insert(Consent { seq, at, approved: false, by, reason });
            }
            "action.dispatched" => {
                let body: Option<Dispatched> = body(event);
                let (attempt, epoch) = (body.map(|body| body.attempt), body.map(|body| body.epoch));
                report.dispatched.push(DispatchReport { seq, at, attempt, epoch });
            }
            _ if event.kind.family() == "observation" && report.outcome.seq.is_none() => {
                let ran_here = setting.is_import || !report.dispatched.is_empty();
                let (state, exit_code) = outcome(event, ran_here);
                report.outcome = OutcomeReport { state, seq: Some(seq), at: Some(at), exit_code };
            }
            _ => {}
        }
    }

    /// Nothing more comes of it in the period.
    pub(super) fn end(mut self, setting: Setting) -> ActionReport {
        let report = &mut self.report;
        let first = report.dispatched.first().map(|dispatch| dispatch.seq);
        let mut flags = Vec::new();
        if let Some(first) = first {
            let decided = report.source == Source::Agent && setting.has_judges && !setting.is_replay && report.kind != "delegate";
            match &report.judged {
                Some(judged) if judged.seq > first => flags.push(Flag::RanBeforeJudged),
                None if decided => flags.push(Flag::NeverJudged),
                Some(_) | None => {}
            }
            let had_to = report.judged.as_ref().is_some_and(|judged| judged.confirm == Some(true));
            match &report.consent {
                Some(consent) if !consent.approved => {
                    if report.dispatched.iter().any(|dispatch| dispatch.seq > consent.seq) {
                        flags.push(Flag::RanAfterRefusal);
                    } else {
                        flags.push(Flag::RanBeforeConsent);
                    }
                }
                Some(consent) if consent.seq > first => flags.push(Flag::RanBeforeConsent),
                None if had_to => flags.push(Flag::RanBeforeConsent),
                Some(_) | None => {}
            }
        }
        match report.outcome.state {
            Outcome::Open if !setting.is_import => flags.push(Flag::NoOutcome),
            Outcome::Unknown => flags.push(Flag::UnknownOutcome),
            _ => {}
        }
        report.flags = flags;
        self.report
    }
}

fn body<'a, T: Deserialize<'a>>(event: &'a Recorded) -> Option<T> {
    serde_json::from_str(event.body.as_json()).ok()
}

/// What an observation says of the action that it answers.
fn outcome(event: &Recorded, ran_here: bool) -> (Outcome, Option<i64>) {
    let Event::Item(entry) = Event::read(event) else { return (Outcome::Unreadable, None) };
    let Content::Observation(observation) = entry.item.content else { return (Outcome::Unreadable, None) };
    let exit_code = match &observation.extras {
        Extras::Run(run) => Some(run.metadata.exit_code),
        _ => None,
    };
    let state = match &observation.extras {
        Extras::UserRejected => Outcome::Rejected,
        Extras::Error(failure) if failure.error_id == OUTCOME_UNKNOWN => Outcome::Unknown,
        Extras::Error(failure) if failure.error_id == NOT_EXECUTED => Outcome::NotExecuted,
        _ if !ran_here => Outcome::Elsewhere,
        Extras::Error(_) => Outcome::Failed,
        Extras::Run(run) if run.metadata.exit_code > 0 => Outcome::Failed,
        // It was left running, or its end was not seen.
        Extras::Run(run) if run.metadata.exit_code < 0 => Outcome::Unknown,
        _ => Outcome::Done,
    };
    (state, exit_code)
}
