//! From the log back to the commands: what was asked of the session, or brought to it by the world, when these events were decided.
//!
//! The first event of an append says what kind of command it was; what it was told is in that event and in those behind it. Where more
//! than one command could have led to the same first event, all of them are tried, and the log says which it was.

use std::time::Duration;

use super::super::{ReplayOutcome, Script, Step, Verdict};
use super::Seen;
use crate::session::action::{Action, LoopRecovery};
use crate::session::command::{Command, Proof, StepDone};
use crate::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN, STOPPED_WHILE_IT_RAN};
use crate::session::envelope::Source;
use crate::session::event::{Entry, Event, OwnerAcquired, Restored, StateChanged, StepFinished};
use crate::session::id::{NodeId, Seq};
use crate::session::item::{Content, Item};
use crate::session::model::{Decision, Judged, Judgement, ModelErrorClass, ModelFailure, Summary};
use crate::session::observation::{Extras, Observation};
use crate::session::phase::StepProgress;
use crate::session::spec::{OnUnknown, Origin, Risk};
use crate::session::start::{Report, StartStep, StepOutcome};
use crate::session::state::{REDUCER, Session};
use crate::session::stuck::Recovery;
use crate::session::turn::{AgentState, Dispatch};

/// How many events behind a takeover are looked at for what was asked with it.
const SETTLED_MAX: usize = 256;

/// What is known beside the log.
#[derive(Clone, Copy)]
pub(super) struct With<'a> {
    /// The recording that is performed.
    pub(super) script: Option<&'a Script>,
    /// Whether nothing was taken out of the log, so that its digests are those of the states that it folds to.
    pub(super) whole: bool,
}

/// The commands that could have led to these events, which begin an append.
pub(super) fn candidates(session: &Session, batch: &[Seen], with: With<'_>) -> Vec<Command> {
    let Some((first, rest)) = batch.split_first() else { return Vec::new() };
    let asked = Asked { session, batch, rest, script: with.script, whole: with.whole };
    let cause = first.recorded.cause.unwrap_or(Seq::ZERO);
    match &first.event {
        Event::Created(body) => {
            let node = rest.iter().find_map(|seen| match &seen.event {
                Event::OwnerAcquired(owner) => Some(owner.node),
                _ => None,
            });
            let node = node.unwrap_or(NodeId::from_uuid(uuid::Uuid::nil()));
            vec![Command::Create { spec: body.spec.clone(), node }]
        }
        Event::OwnerAcquired(body) => asked.takeover(body),
        Event::StepFinished(body) => vec![asked.step_done(body)],
        Event::StepFailed(body) => {
            let (step, attempt, error) = (body.step, body.attempt, body.error.clone());
            let record = session.step(step);
            let running = record.is_some_and(|record| matches!(record.progress, StepProgress::Running { .. }));
            let failed = running.then(|| Command::StepFailed { step, attempt, error: error.clone() });
            let lost = (step == StartStep::Runtime).then_some(Command::LoseRuntime { error });
            failed.into_iter().chain(lost).collect()
        }
        Event::Item(entry) => asked.item(first, entry),
        Event::Confirmed(body) => {
            let by = || body.by.clone();
            vec![Command::Confirm { action: None, by: by() }, Command::Confirm { action: Some(cause), by: by() }]
        }
        Event::Refused(body) => {
            let refuse = |action| Command::Refuse { action, by: body.by.clone(), reason: body.reason.clone() };
            [refuse(None), refuse(Some(cause))].into_iter().chain(asked.said()).collect()
        }
        Event::StateChanged(body) => asked.state_changed(body),
        Event::StepStarted(_) => asked.went_on(),
        Event::LimitsChanged(body) => vec![Command::Continue { limits: Some(body.limits) }, Command::Continue { limits: None }],
        Event::ModelResponded(call) if !session.forgetting.is_empty() => {
            let (text, offset) = asked.summary().unwrap_or_default();
            let summary = Box::new(Summary { text, offset, call: call.clone() });
            vec![Command::Summarise { request: cause, summary }]
        }
        Event::ModelResponded(call) => {
            let decision = Box::new(Decision { actions: asked.decided(), call: call.clone() });
            vec![Command::Decide { request: cause, decision }]
        }
        Event::ModelFailed(body) if first.recorded.source == Source::Agent => {
            let failure = ModelFailure {
                class: body.class,
                message: body.message.clone(),
                retry_after: body.retry_after_ms.map(Duration::from_millis),
                usage: body.usage,
            };
            let forget = if body.class == ModelErrorClass::ContextWindow { asked.forgotten() } else { Vec::new() };
            // What could have been forgotten is not in the log where the agent was held before it came to that.
            let held = (body.class == ModelErrorClass::ContextWindow && forget.is_empty()).then(|| vec![Seq::ZERO]);
            let fail = |forget| Command::FailModel { request: cause, failure: Box::new(failure.clone()), forget };
            std::iter::once(forget).chain(held).map(fail).collect()
        }
        Event::ModelFailed(_) => asked.stopped().into_iter().collect(),
        Event::ModelRequested(body) if !body.summarises.is_empty() => vec![Command::Forget { forget: body.summarises.clone() }],
        Event::Briefed(body) => vec![Command::Brief(body.clone())],
        Event::DelegateStarted(body) => {
            vec![Command::StartDelegate { action: cause, session: body.session, agent: body.agent.clone() }]
        }
        Event::DelegateWaits(body) => vec![Command::DelegateWaits { action: cause, wait: body.wait, used: body.used }],
        Event::DelegateGoesOn(_) => vec![Command::DelegateGoesOn { action: cause }],
        Event::DelegateFinished(body) => {
            let outcome = rest.first().filter(|seen| seen.recorded.cause == Some(cause)).and_then(Seen::observation);
            vec![Command::EndDelegate {
                action: cause,
                outcome: outcome.cloned().map(Box::new),
                used: body.used,
                closed: body.closed,
            }]
        }
        Event::ReplayFinished(body) => {
            let stopped = match &body.outcome {
                ReplayOutcome::Completed => None,
                ReplayOutcome::Stopped { index, reason } => Some(Command::StopReplay { index: *index, reason: reason.clone() }),
            };
            asked.line().into_iter().chain(stopped).collect()
        }
        Event::CloseRequested(body) => vec![Command::Close { reason: body.reason.clone() }],
        Event::ReleaseFinished(body) => vec![Command::Released { step: body.step, attempt: body.attempt }],
        Event::ReleaseFailed(body) => {
            vec![Command::ReleaseFailed { step: body.step, attempt: body.attempt, error: body.error.clone() }]
        }
        Event::WorkspaceCaptured(body) => vec![Command::KeepSnapshot(body.clone())],
        Event::WorkspaceNotCaptured(body) => vec![Command::MissSnapshot(body.clone())],
        Event::WorkspaceCompared(body) => {
            vec![Command::CompareWorkspace { manifest: body.manifest, comparison: body.comparison.clone() }]
        }
        // These only follow from others, or from nothing.
        Event::Forked(_)
        | Event::Restored(_)
        | Event::Imported(_)
        | Event::Closed(_)
        | Event::StartPlanned(_)
        | Event::Started(_)
        | Event::ModelRequested(_)
        | Event::Judged(_)
        | Event::Dispatched(_)
        | Event::TurnEnded(_)
        | Event::ReplayStarted(_)
        | Event::ReplayCompared(_)
        | Event::ReleaseStarted(_)
        | Event::HeadsListed(_)
        | Event::Sealed(_)
        | Event::Published(_)
        | Event::Erasing(_)
        | Event::Erased(_)
        | Event::NotErased(_)
        | Event::RetentionSet(_)
        | Event::AccessSet(_)
        | Event::AccessRead(_)
        | Event::Unknown(_) => Vec::new(),
    }
}

/// What a command is called, for people.
pub(super) const fn name(command: &Command) -> &'static str {
    match command {
        Command::Create { .. } => "create",
        Command::Acquire { .. } => "take over",
        Command::Say { .. } | Command::Show { .. } => "a message of the user",
        Command::Confirm { .. } => "agree to an action",
        Command::Refuse { .. } => "refuse an action",
        Command::Pause => "pause",
        Command::Stop { .. } => "stop",
        Command::Continue { .. } => "go on",
        Command::Recover { .. } => "recover from a loop",
        Command::Wake { .. } => "the end of a wait",
        Command::StartDelegate { .. } => "a delegate was begun",
        Command::DelegateWaits { .. } => "a delegate waits",
        Command::DelegateGoesOn { .. } => "a delegate goes on",
        Command::EndDelegate { .. } => "a delegate ended",
        Command::Brief(_) => "what the model is told",
        Command::Decide { .. } => "the model's answer",
        Command::FailModel { .. } => "a failure of the model",
        Command::Forget { .. } => "the history has grown too long",
        Command::Summarise { .. } => "the model's summary",
        Command::Act { .. } => "act",
        Command::StepDone { .. } => "a step of the start is done",
        Command::StepFailed { .. } => "a step of the start failed",
        Command::Observe { .. } => "the outcome of an action",
        Command::TakeRecorded { .. } => "an action was not run",
        Command::LoseRuntime { .. } => "the runtime was lost",
        Command::Perform { .. } => "the next line of the recording",
        Command::EndRecording => "the end of the recording",
        Command::StopReplay { .. } => "the recording cannot be read",
        Command::KeepSnapshot(_) => "the workspace is kept",
        Command::MissSnapshot(_) => "the workspace could not be kept",
        Command::CompareWorkspace { .. } => "how the workspace is found",
        Command::Close { .. } => "close",
        Command::Released { .. } => "a release",
        Command::ReleaseFailed { .. } => "a failed release",
    }
}

struct Asked<'a> {
    session: &'a Session,
    /// The events from the one on that is asked about.
    batch: &'a [Seen],
    /// Those behind it.
    rest: &'a [Seen],
    script: Option<&'a Script>,
    whole: bool,
}

impl Asked<'_> {
    fn step_done(&self, body: &StepFinished) -> Command {
        let StepFinished { step, attempt, outcome } = body;
        let done = match outcome {
            StepOutcome::Skipped { reason } => StepDone::Skipped(reason.clone()),
            StepOutcome::Done { report } => self.done(*step, report),
        };
        Command::StepDone { step: *step, attempt: *attempt, done }
    }

    fn done(&self, step: StartStep, report: &Report) -> StepDone {
        let next = self.rest.first();
        match (step, next.map(|seen| &seen.event)) {
            // How a recording is read is today's code, too.
            (StartStep::Replay, Some(Event::ReplayStarted(body))) => {
                StepDone::Recording(self.script.map_or_else(|| body.plan.clone(), |script| script.plan().clone()))
            }
            (StartStep::McpTools, _) => {
                let told = next.and_then(Seen::action).and_then(|action| match action {
                    Action::Message(message) => Some(message.content.clone()),
                    _ => None,
                });
                StepDone::Tools { report: report.clone(), told }
            }
            _ => StepDone::Report(report.clone()),
        }
    }

    /// A takeover, alone and with each command that the events behind it could begin.
    fn takeover(&self, body: &OwnerAcquired) -> Vec<Command> {
        let restored = self.rest.iter().find_map(|seen| match &seen.event {
            Event::Restored(restored) => Some(restored),
            _ => None,
        });
        let Some(Restored { events, snapshot, digest, reducer }) = restored else { return Vec::new() };
        let here = self.session.version.0;
        // Who lost the race for an append had restored an earlier state.
        let ours = self.whole && reducer == REDUCER && *events >= here;
        let proof = Proof {
            events: if *events < here { *events } else { here },
            snapshot: *snapshot,
            digest: if ours { self.session.digest() } else { *digest },
        };
        let acquire = |then: Option<Command>| Command::Acquire {
            node: body.node,
            reason: body.reason.clone(),
            proof: proof.clone(),
            then: then.map(Box::new),
        };
        let mut all = vec![acquire(None)];
        let mut after = self.session.clone();
        for (index, seen) in self.batch.iter().enumerate().take(SETTLED_MAX) {
            let with = self.batch.get(index..).filter(|_| index >= 2).unwrap_or_default();
            let begins = !matches!(seen.event, Event::OwnerAcquired(_) | Event::StepFinished(_));
            if begins {
                all.extend(
                    candidates(&after, with, With { script: self.script, whole: self.whole })
                        .into_iter()
                        .map(|then| acquire(Some(then))),
                );
            }
            after.apply(&seen.recorded);
        }
        all
    }

    fn item(&self, first: &Seen, entry: &Entry) -> Vec<Command> {
        match &entry.item.content {
            Content::Action(_) if entry.recorded.is_some() => self.line().into_iter().collect(),
            Content::Action(Action::LoopRecovery(LoopRecovery { option })) => {
                let how = [Recovery::BeforeLoop, Recovery::LastPrompt, Recovery::Stop];
                let how = how.into_iter().find(|how| how.option() == *option);
                let from = self.session.trail.find_loop().map_or(Seq::ZERO, |found| found.from);
                how.map(|how| Command::Recover { how, forget: self.forgotten(), from }).into_iter().collect()
            }
            Content::Action(Action::Message(_)) if first.recorded.source == Source::User => {
                self.said().into_iter().chain(self.acted()).collect()
            }
            Content::Action(Action::Condensation(condensation)) => {
                let ids = condensation.forgotten_event_ids.as_deref().unwrap_or_default();
                let forget = Command::Forget { forget: seqs(ids) };
                std::iter::once(forget).chain(self.acted()).collect()
            }
            Content::Action(_) => self.acted().into_iter().collect(),
            Content::Observation(observation) => {
                let action = first.recorded.cause.unwrap_or(Seq::ZERO);
                let open = self.session.open_action(action);
                let in_flight = open.filter(|open| matches!(open.dispatch, Dispatch::InFlight { .. }));
                let observe = in_flight.map(|open| {
                    let unread = matches!(&observation.extras, Extras::Error(error) if error.error_id == NOT_EXECUTED);
                    let expected = open.recorded.and_then(|index| self.expected(index));
                    [expected, None].into_iter().take(if unread { 2 } else { 1 }).map(move |recorded| Command::Observe {
                        action,
                        observation: Box::new(observation.clone()),
                        recorded: recorded.map(Box::new),
                    })
                });
                let taken = in_flight.and_then(|open| {
                    let why = self.rest.iter().find_map(|seen| match &seen.event {
                        Event::ReplayCompared(body) if seen.recorded.cause == Some(action) => match &body.verdict {
                            Verdict::NotRun { why } => Some(why.clone()),
                            _ => None,
                        },
                        _ => None,
                    })?;
                    let recorded = open.recorded.and_then(|index| self.expected(index)).map(Box::new);
                    Some(Command::TakeRecorded { action, recorded, why })
                });
                observe.into_iter().flatten().chain(taken).chain(self.stopped()).collect()
            }
        }
    }

    fn state_changed(&self, body: &StateChanged) -> Vec<Command> {
        match body.state {
            AgentState::Paused => vec![Command::Pause],
            AgentState::Stopped => self.stopped().into_iter().collect(),
            _ => self.went_on(),
        }
    }

    /// Everything that lets an agent go to work.
    fn went_on(&self) -> Vec<Command> {
        let goes_on = |seen: &Seen| {
            let action = seen.recorded.cause.filter(|_| matches!(seen.event, Event::DelegateGoesOn(_)))?;
            Some(Command::DelegateGoesOn { action })
        };
        let wake = self.session.until.map(|until| Command::Wake { until });
        let delegate = self.rest.iter().find_map(goes_on);
        let more = [Command::Continue { limits: None }, Command::Continue { limits: Some(self.session.limits()) }];
        let line = self.line().filter(|_| self.session.is_replaying());
        wake.into_iter().chain(delegate).chain(line).chain(more).chain(self.acted()).collect()
    }

    /// What the user said.
    fn said(&self) -> Option<Command> {
        let by_user = self.batch.iter().filter(|seen| seen.recorded.source == Source::User);
        by_user.filter_map(Seen::action).find_map(|action| match action {
            Action::Message(message) => Some(match &message.image_urls {
                Some(images) => Command::Show { content: message.content.clone(), images: images.clone() },
                None => Command::Say { content: message.content.clone() },
            }),
            _ => None,
        })
    }

    /// Why the agent was stopped.
    fn stopped(&self) -> Option<Command> {
        let why = self.batch.iter().find_map(|seen| match &seen.event {
            Event::StateChanged(body) if body.state == AgentState::Stopped => Some(body.reason.clone()),
            Event::ModelFailed(body) if body.class == ModelErrorClass::Cancelled => Some(body.message.clone()),
            _ => None,
        });
        // Who stops it once more changes no state; why stands in what became of the action that was under way, if anywhere.
        let once_more = || {
            let said = self.batch.iter().filter_map(Seen::observation).find_map(stop_reason);
            (self.session.agent == AgentState::Stopped).then(|| said.unwrap_or_default().to_owned())
        };
        why.or_else(once_more).map(|reason| Command::Stop { reason })
    }

    /// What of the history is forgotten.
    fn forgotten(&self) -> Vec<Seq> {
        let of = |seen: &Seen| match (&seen.event, seen.action()) {
            (Event::ModelRequested(body), _) if !body.summarises.is_empty() => Some(body.summarises.clone()),
            (_, Some(Action::Condensation(condensation))) => condensation.forgotten_event_ids.as_deref().map(seqs),
            _ => None,
        };
        self.rest.iter().find_map(of).unwrap_or_default()
    }

    /// What the model wrote of what is forgotten, and where it stands.
    fn summary(&self) -> Option<(String, u64)> {
        self.rest.iter().filter_map(Seen::action).find_map(|action| match action {
            Action::Condensation(condensation) => {
                let offset = condensation.summary_offset.and_then(|offset| u64::try_from(offset).ok());
                condensation.summary.clone().zip(offset)
            }
            _ => None,
        })
    }

    /// The actions from here on up to where something else than their own outcome and judgement comes.
    fn actions(&self) -> impl Iterator<Item = (Seq, Item)> + '_ {
        let goes_on = |seen: &&Seen| matches!(seen.event, Event::Item(_) | Event::Judged(_) | Event::StateChanged(_));
        let of = |seen: &Seen| {
            let Event::Item(entry) = &seen.event else { return None };
            let action = matches!(entry.item.content, Content::Action(_)) && entry.recorded.is_none();
            let mut item = entry.item.clone();
            item.source = Some(seen.recorded.source);
            action.then_some((seen.recorded.seq, item))
        };
        // What comes first is where they begin, whatever it is.
        let behind = self.rest.iter().take_while(goes_on);
        self.batch.iter().take(1).chain(behind).filter_map(of)
    }

    fn acted(&self) -> Option<Command> {
        let actions: Vec<Item> = self.actions().map(|(_, item)| item).collect();
        (!actions.is_empty()).then_some(Command::Act { actions })
    }

    /// What the agent decided, and what was thought of it.
    fn decided(&self) -> Vec<Judged> {
        let judged = |(seq, action): (Seq, Item)| {
            let judgement = self.rest.iter().find_map(|seen| match &seen.event {
                Event::Judged(body) if seen.recorded.cause == Some(seq) => Some(body.judgement.clone()),
                _ => None,
            });
            // Where nobody judges, that is what stands there for a person who is asked all the same.
            let nobody = Judgement { risk: Risk::Unknown, reasons: Vec::new(), by: Vec::new() };
            Judged { action, judgement: judgement.filter(|judgement| *judgement != nobody) }
        };
        self.actions().filter(|(_, item)| item.source == Some(Source::Agent)).map(judged).collect()
    }

    /// What the recording does next.
    fn line(&self) -> Option<Command> {
        let (script, replay) = (self.script?, self.session.replay.as_ref()?);
        let step_over = match self.session.spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { on_unknown, .. }) => *on_unknown == OnUnknown::StepOver,
            _ => false,
        };
        Some(match script.line_to_perform(replay.next, step_over) {
            Some(line) => Command::Perform { line: Box::new(line.clone()) },
            None => Command::EndRecording,
        })
    }

    fn expected(&self, index: u64) -> Option<Observation> {
        match &self.script?.line_from(index)?.step {
            Step::Perform { expected: Some(item), .. } => match &item.content {
                Content::Observation(observation) => Some(observation.clone()),
                Content::Action(_) => None,
            },
            _ => None,
        }
    }
}

fn seqs(ids: &[i64]) -> Vec<Seq> {
    ids.iter().map(|id| Seq(u64::try_from(*id).unwrap_or(u64::MAX))).collect()
}

/// Why an action was stopped, where its outcome says so.
fn stop_reason(outcome: &Observation) -> Option<&str> {
    let is_unknown = matches!(&outcome.extras, Extras::Error(error) if error.error_id == OUTCOME_UNKNOWN);
    let rest = outcome.content.strip_prefix(STOPPED_WHILE_IT_RAN).filter(|_| is_unknown)?;
    Some(rest.strip_prefix(" (")?.rsplit_once("); its outcome is unknown")?.0)
}
