//! Session + event -> session. Total: every log can be folded, whatever it holds.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::action::{Action, EffectClass};
use super::audit::{
    AccessRead, AccessSet, Erased, Erasing, HeadsListed, NotErased, OpenErasure, Published, RetentionSet, Sealed,
};
use super::decide::BAD_ANSWER;
use super::envelope::{Recorded, Source};
use super::event::{
    ActionConfirmed, ActionJudged, ActionRefused, Briefed, CloseRequested, Closed, Created, Dispatched, Event, Imported,
    LimitsChanged, ModelFailed, ModelRequested, OwnerAcquired, ReleaseFailed, ReleaseFinished, ReleaseStarted, ReplayCompared,
    ReplayFinished, ReplayStarted, Restored, StartPlanned, StateChanged, StepFailed, StepFinished, StepStarted, TurnEnded,
};
use super::fork::Forked;
use super::id::Seq;
use super::model::{CallReport, CallUsage, ModelCall};
use super::phase::{Phase, Start, StepProgress, StepRecord};
use super::replay::{ReplayProgress, VerdictCounts};
use super::spec::{Condenser, Interaction, Origin};
use super::start::{StartStep, StepOutcome};
use super::state::{Briefing, Session, Usage};
use super::stuck::What;
use super::turn::{AgentState, Dispatch, OpenAction};
use super::view::View;
use super::workspace::{
    Comparison, LastSnapshot, SnapshotDue, Snapshots, WorkspaceCaptured, WorkspaceCompared, WorkspaceNotCaptured,
};

/// How much of a first message becomes the title, in characters.
const TITLE_MAX: usize = 80;

impl Session {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Recorded) {
        self.version = event.seq;
        self.at = event.at;
        let understood = event.v <= Event::VERSION && self.fold(event);
        if !understood && (event.must_understand || Event::KINDS.contains(&event.kind.as_str())) {
            self.not_understood.get_or_insert(event.seq);
        }
    }

    /// `false` when the event cannot be read.
    fn fold(&mut self, event: &Recorded) -> bool {
        match event.kind.family() {
            "action" if event.kind.as_str() == "action.dispatched" => self.read(event, Self::dispatched),
            "action" if Event::KINDS.contains(&event.kind.as_str()) => self.said_of_action(event),
            "model" => self.model_event(event),
            "delegate" => self.delegate_event(event),
            "action" => {
                self.action(event);
                true
            }
            "observation" => {
                self.observation(event);
                true
            }
            _ => self.lifecycle(event),
        }
    }

    /// Folds an engine-owned event; `false` when it cannot be read.
    fn lifecycle(&mut self, event: &Recorded) -> bool {
        match event.kind.as_str() {
            "session.created" => self.read(event, |session, _, body: Created| session.created(body)),
            "session.forked" => self.read(event, |session, _, body: Forked| session.forked(body)),
            "session.owner_acquired" => self.read(event, |session, _, body: OwnerAcquired| session.owner_acquired(&body)),
            "session.restored" => self.read(event, |_, _, _: Restored| {}),
            "session.imported" => self.read(event, |session, _, _: Imported| session.phase = Phase::Imported { complete: true }),
            "session.close_requested" => self.read(event, |session, _, body: CloseRequested| {
                session.phase = Phase::Closing { reason: body.reason, deadline: body.deadline };
            }),
            "session.closed" => self.read(event, |session, _, body: Closed| session.closed(body)),
            "start.planned" => self.read(event, |session, _, body: StartPlanned| session.planned(body)),
            "start.step_started" => self.read(event, |session, _, body: StepStarted| {
                let progress = StepProgress::Running { epoch: session.epoch, deadline: body.deadline };
                session.set_step(body.step, body.attempt, progress);
            }),
            "start.step_finished" => {
                self.read(event, |session, event, body: StepFinished| session.step_finished(event.seq, &body))
            }
            "start.step_failed" => self.read(event, |session, _, body: StepFailed| session.step_failed(body)),
            "start.started" => {
                self.phase = Phase::Ready;
                true
            }
            "turn.state_changed" => self.read(event, |session, _, body: StateChanged| {
                if body.state == AgentState::Running && matches!(session.agent, AgentState::Error | AgentState::Stopped) {
                    // Who lets it go on after an error wants it to try again.
                    session.trail.clear();
                }
                let before = std::mem::replace(&mut session.agent, body.state);
                session.agent_reason = body.reason;
                session.until = body.until;
                session.waits += u64::from(body.until.is_some());
                session.turn_open = true;
                session.tell_delegate(before);
            }),
            "session.limits_changed" => self.read(event, |session, _, body: LimitsChanged| {
                session.raised = Some(body.limits);
                session.share_limits();
            }),
            "turn.ended" => self.read(event, |session, _, _: TurnEnded| session.turn_open = false),
            "replay.started" => self.read(event, |session, _, body: ReplayStarted| session.replay_started(&body)),
            "replay.compared" => self.read(event, |session, _, body: ReplayCompared| {
                if let Some(replay) = &mut session.replay {
                    replay.verdicts.count(&body.verdict);
                }
            }),
            "replay.finished" => self.read(event, |session, _, body: ReplayFinished| {
                if let Some(replay) = &mut session.replay {
                    replay.outcome = Some(body.outcome);
                }
            }),
            "close.step_started" => self.read(event, |session, _, body: ReleaseStarted| {
                let progress = StepProgress::Releasing { attempt: body.attempt, epoch: session.epoch, deadline: body.deadline };
                session.set_progress(body.step, progress);
            }),
            "close.step_finished" => self.read(event, |session, _, body: ReleaseFinished| {
                session.set_progress(body.step, StepProgress::Released);
            }),
            "close.step_failed" => self.read(event, |session, _, body: ReleaseFailed| {
                session.set_progress(body.step, StepProgress::GivenUp);
            }),
            "audit.heads" => self.read(event, |session, _, _: HeadsListed| session.is_audit_log(None)),
            "audit.sealed" => self.read(event, |session, _, body: Sealed| session.is_audit_log(Some(body.size))),
            "audit.published" => self.read(event, |session, _, _: Published| session.is_audit_log(None)),
            "audit.erasing" => self.read(event, |session, event, body: Erasing| {
                session.is_audit_log(None);
                session.erasing.push(OpenErasure { at: event.seq, erasure: body.erasure });
            }),
            "audit.erased" => {
                self.read(event, |session, event, _: Erased| session.erasing.retain(|open| Some(open.at) != event.cause))
            }
            "audit.not_erased" => self.read(event, |session, event, _: NotErased| {
                session.erasing.retain(|open| Some(open.at) != event.cause);
            }),
            "audit.retention_set" => self.read(event, |session, _, body: RetentionSet| {
                session.is_audit_log(None);
                session.kept_days = body.days;
            }),
            "audit.access_set" => self.read(event, |session, _, body: AccessSet| {
                session.is_audit_log(None);
                session.records_access = body.recorded;
            }),
            "audit.read" => self.read(event, |session, _, _: AccessRead| session.is_audit_log(None)),
            "workspace.captured" => self.read(event, |session, event, body: WorkspaceCaptured| {
                let last = Some(LastSnapshot { at: event.seq, manifest: body.manifest });
                session.snapshots = Some(Snapshots { due: SnapshotDue::NotYet, last, unchecked: false });
            }),
            "workspace.not_captured" => self.read(event, |session, _, body: WorkspaceNotCaptured| {
                if let Some(snapshots) = &mut session.snapshots {
                    snapshots.due = if body.for_good { SnapshotDue::Never } else { SnapshotDue::NotYet };
                }
            }),
            "workspace.compared" => self.read(event, |session, _, body: WorkspaceCompared| {
                if let Some(snapshots) = &mut session.snapshots {
                    snapshots.unchecked = false;
                    if matches!(body.comparison, Comparison::Differs(_)) {
                        snapshots.touched();
                    }
                }
            }),
            _ => false,
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&mut self, event: &Recorded, fold: impl FnOnce(&mut Self, &Recorded, T)) -> bool {
        serde_json::from_str(event.body.as_json()).map(|body| fold(self, event, body)).is_ok()
    }

    fn created(&mut self, body: Created) {
        self.phase = match body.spec.origin {
            Origin::Import { .. } => Phase::Imported { complete: false },
            Origin::Fresh { .. } | Origin::Replay { .. } => Phase::Starting(Start { plan: Vec::new(), done: 0 }),
        };
        self.title.clone_from(&body.spec.title);
        self.snapshots = body.spec.snapshots.map(|_| Snapshots::begin());
        self.view = body.spec.agent.as_ref().and_then(|agent| agent.config.condense.max()).map(View::of);
        self.spec = Some(*body.spec);
    }

    /// What a former owner was at is interrupted; what it held is gone with it.
    fn owner_acquired(&mut self, body: &OwnerAcquired) {
        self.epoch = body.epoch;
        self.owner = Some(body.node);
        if let Some(call) = &mut self.model {
            call.epoch = None;
        }
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.unchecked = snapshots.last.is_some() && snapshots.due != SnapshotDue::Never;
        }
        for action in &mut self.open {
            if let Dispatch::InFlight { attempt, .. } = action.dispatch {
                action.dispatch = Dispatch::Interrupted { attempt };
            }
        }
        for record in &mut self.steps {
            record.progress = match record.progress.clone() {
                StepProgress::Running { .. } => StepProgress::Interrupted,
                StepProgress::Held { .. } => StepProgress::Lost,
                // A former owner's resources went with it, so that its release has nothing left to do.
                StepProgress::Releasing { .. } => StepProgress::Lost,
                StepProgress::Failed if record.step.holds_something() => StepProgress::Interrupted,
                other => other,
            };
        }
    }

    fn closed(&mut self, body: Closed) {
        self.phase = Phase::Closed { reason: body.reason };
        self.open.clear();
        self.model = None;
        self.forgetting.clear();
        self.delegation = None;
        self.until = None;
    }

    /// A seal in the log of an agent's session is nothing to it.
    fn is_audit_log(&mut self, leaves: Option<u64>) {
        if matches!(self.phase, Phase::Unborn | Phase::Audit {}) {
            self.phase = Phase::Audit {};
            if let Some(leaves) = leaves {
                let noun = if leaves == 1 { "leaf" } else { "leaves" };
                self.title = Some(format!("audit log, {leaves} {noun}"));
            }
        }
    }

    fn planned(&mut self, body: StartPlanned) {
        self.phase = Phase::Starting(Start { plan: body.steps, done: 0 });
    }

    fn step_finished(&mut self, at: Seq, body: &StepFinished) {
        if body.step == StartStep::McpTools && matches!(body.outcome, StepOutcome::Done { .. }) {
            self.tools_at = Some(at);
        }
        if body.step == StartStep::Repository
            && let StepOutcome::Done { report } = &body.outcome
        {
            let contents = report.0.pointer("/organisation/contents").and_then(serde_json::Value::as_str);
            self.organisation = contents.and_then(|digest| digest.parse().ok());
        }
        let held = body.step.holds_something() && matches!(body.outcome, StepOutcome::Done { .. });
        let progress = if held { StepProgress::Held { epoch: self.epoch } } else { StepProgress::Done };
        self.set_step(body.step, body.attempt, progress);
        if let Phase::Starting(start) = &mut self.phase
            && start.current() == Some(body.step)
        {
            start.done += 1;
        }
    }

    fn step_failed(&mut self, body: StepFailed) {
        self.set_step(body.step, body.attempt, StepProgress::Failed);
        if matches!(self.phase, Phase::Starting(_)) {
            self.phase = Phase::StartFailed { step: body.step, error: body.error };
        }
    }

    fn set_step(&mut self, step: StartStep, attempt: u32, progress: StepProgress) {
        match self.steps.iter_mut().find(|record| record.step == step) {
            Some(record) => *record = StepRecord { step, attempt, progress },
            None => self.steps.push(StepRecord { step, attempt, progress }),
        }
    }

    fn set_progress(&mut self, step: StartStep, progress: StepProgress) {
        if let Some(record) = self.steps.iter_mut().find(|record| record.step == step) {
            record.progress = progress;
        }
    }

    fn replay_started(&mut self, body: &ReplayStarted) {
        self.replay = Some(ReplayProgress {
            entries: body.plan.entries,
            lines: body.plan.messages + body.plan.actions,
            performed: 0,
            next: 0,
            verdicts: VerdictCounts::default(),
            outcome: None,
        });
    }

    /// An action: counted, and open until its outcome when a runtime must execute it.
    fn action(&mut self, event: &Recorded) {
        self.note(event);
        self.show(event);
        self.counts.actions += 1;
        self.turn_open = true;
        let tag = event.kind.tag();
        let peek: ActionPeek<'_> = serde_json::from_str(event.body.as_json()).unwrap_or_default();
        if tag == "message" {
            self.counts.messages += 1;
            if let Some(fork) = self.fork.as_mut().filter(|_| event.source == Source::User) {
                (fork.message, fork.answers, fork.query) = (None, false, None);
            }
            if event.source == Source::User && self.title.is_none() {
                self.title = first_line(event.body.as_json());
            }
        }
        if let Some(metrics) = peek.llm_metrics {
            self.usage.raise(&metrics);
        }
        if let (Some(replay), Some(index)) = (&mut self.replay, peek.recorded) {
            replay.next = replay.next.max(index.saturating_add(1));
            replay.performed += 1;
        }
        let answered = Action::RUNNABLE.contains(&tag) || (self.has_agent() && matches!(tag, "recall" | "delegate"));
        if !matches!(self.phase, Phase::Imported { .. }) && answered {
            let remembered = self.spec.as_ref().is_some_and(|spec| spec.runtime.remembers());
            self.open.push(OpenAction {
                seq: event.seq,
                source: event.source,
                tag: tag.to_owned(),
                class: if remembered { EffectClass::of_remembered(tag) } else { EffectClass::of(tag) },
                dispatch: Dispatch::Queued { attempts: 0 },
                recorded: peek.recorded,
            });
        }
    }

    fn observation(&mut self, event: &Recorded) {
        self.note(event);
        self.show(event);
        if event.kind.tag() == "recall" && self.has_agent() {
            let recalled: RecallPeek = serde_json::from_str(event.body.as_json()).unwrap_or_default();
            self.told.extend(recalled.extras.microagent_knowledge.into_iter().map(|knowledge| knowledge.name));
        }
        self.counts.observations += 1;
        self.turn_open = true;
        if event.kind.tag() == "error" {
            self.counts.errors += 1;
        }
        if let Some(cause) = event.cause {
            self.open.retain(|action| action.seq != cause);
        }
    }

    fn dispatched(&mut self, event: &Recorded, body: Dispatched) {
        if let Some(action) = self.open.iter_mut().find(|action| Some(action.seq) == event.cause) {
            action.dispatch = Dispatch::InFlight { attempt: body.attempt, epoch: body.epoch };
            if action.may_change_files()
                && let Some(snapshots) = &mut self.snapshots
            {
                snapshots.touched();
            }
        }
    }

    /// What was said of an action: how risky it is, whether a person agrees.
    fn said_of_action(&mut self, event: &Recorded) -> bool {
        let dispatch = |session: &mut Self, event: &Recorded, dispatch: Dispatch| {
            if let Some(action) = session.open.iter_mut().find(|action| Some(action.seq) == event.cause) {
                action.dispatch = dispatch;
            }
        };
        match event.kind.as_str() {
            "action.judged" => self.read(event, |session, event, body: ActionJudged| {
                if body.confirm {
                    dispatch(session, event, Dispatch::Unconfirmed);
                }
            }),
            "action.confirmed" => self.read(event, |session, event, _: ActionConfirmed| {
                dispatch(session, event, Dispatch::Queued { attempts: 0 });
            }),
            // Its outcome follows.
            "action.refused" => self.read(event, |_, _, _: ActionRefused| {}),
            _ => false,
        }
    }

    fn model_event(&mut self, event: &Recorded) -> bool {
        match event.kind.as_str() {
            "model.briefed" => self.read(event, |session, _, body: Briefed| {
                session.briefing = Some(Briefing { prompt: body.prompt, tools: body.tools });
            }),
            "model.requested" => self.read(event, |session, event, body: ModelRequested| {
                let ModelRequested { attempt, epoch, iteration, summarises } = body;
                session.model = Some(ModelCall { request: event.seq, attempt, epoch: Some(epoch) });
                session.forgetting = summarises;
                session.iterations = iteration;
                session.turn_open = true;
            }),
            "model.responded" => self.read(event, |session, _, body: CallReport| {
                session.waits = 0;
                session.called(&body.usage);
            }),
            "model.failed" => self.read(event, |session, _, body: ModelFailed| session.called(&body.usage)),
            _ => false,
        }
    }

    fn called(&mut self, usage: &CallUsage) {
        self.model = None;
        self.forgetting.clear();
        self.usage.prompt_tokens += usage.prompt_tokens;
        self.usage.completion_tokens += usage.completion_tokens;
        if let Some(cost) = usage.cost_micro_usd {
            self.usage.cost_micro_usd = Some(self.usage.cost_micro_usd.unwrap_or(0).saturating_add(cost));
        }
    }

    /// Counts what the agent sees, where that has a limit.
    fn show(&mut self, event: &Recorded) {
        let max = self.condenser().and_then(Condenser::max);
        if let (Some(view), Some(max)) = (&mut self.view, max) {
            view.note(event, max);
        }
    }

    /// Notes what an agent of this session did or saw, to see whether it goes in circles.
    fn note(&mut self, event: &Recorded) {
        if !self.has_agent() {
            return;
        }
        let (family, tag) = (event.kind.family(), event.kind.tag());
        let peek: SamePeek<'_> = serde_json::from_str(event.body.as_json()).unwrap_or_default();
        let interactive = self.spec.as_ref().is_some_and(|spec| spec.interaction == Interaction::Interactive);
        match (family, tag, event.source) {
            ("action", "message", Source::User) if interactive => self.trail.clear(),
            ("action", "message" | "recall", Source::User) | ("observation", "recall" | "null" | "think", _) => {}
            ("action", "message", _) => self.trail.note(event.seq, What::Words, peek.args.map_or("", RawValue::get)),
            ("action", "condensation", _) => self.trail.note(event.seq, What::Condensation, ""),
            ("action", _, _) => {
                self.trail.note(event.seq, What::Action, &format!("{tag} {}", peek.args.map_or("", RawValue::get)))
            }
            ("observation", "error", _) => {
                let unread = peek.extras.is_some_and(|extras| extras.error_id == BAD_ANSWER);
                self.trail.note(event.seq, if unread { What::BadAnswer } else { What::Failure }, &peek.content);
            }
            ("observation", _, _) => {
                let exit = peek.extras.and_then(|extras| extras.metadata).map(|metadata| metadata.exit_code);
                let words: String = peek.content.chars().filter(|c| !c.is_ascii_digit()).collect();
                self.trail.note(event.seq, What::Outcome, &format!("{tag} {exit:?} {words}"));
            }
            _ => {}
        }
    }

    /// The state of an agent that is not at work any more.
    pub(super) const fn agent_rests(&self) -> bool {
        !matches!(self.agent, AgentState::Loading | AgentState::Running)
    }

    /// The open action at `seq`.
    pub(super) fn open_action(&self, seq: Seq) -> Option<&OpenAction> {
        self.open.iter().find(|action| action.seq == seq)
    }
}

impl Usage {
    /// Folds in what an action says that its session has used so far; other events say nothing of it.
    pub(crate) fn fold(&mut self, event: &Recorded) {
        if event.kind.family() == "action"
            && let Ok(ActionPeek { llm_metrics: Some(metrics), .. }) = serde_json::from_str(event.body.as_json())
        {
            self.raise(&metrics);
        }
    }

    /// Accumulated figures only grow, so that a resumed model that counts anew takes nothing back.
    fn raise(&mut self, metrics: &MetricsPeek<'_>) {
        if let Some(usage) = &metrics.accumulated_token_usage {
            self.prompt_tokens = self.prompt_tokens.max(usage.prompt_tokens);
            self.completion_tokens = self.completion_tokens.max(usage.completion_tokens);
        }
        // V0 writes zeros of a model called `default` when no model was asked.
        let named = metrics.accumulated_token_usage.as_ref().is_some_and(|usage| !matches!(usage.model.as_ref(), "" | "default"));
        if metrics.accumulated_cost > 0.0 || named {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as casts of floats saturate")]
            let micro = (metrics.accumulated_cost * 1e6).round() as u64;
            self.cost_micro_usd = Some(self.cost_micro_usd.unwrap_or(0).max(micro));
        }
    }
}

/// The parts of an action's body that the fold needs, read without building the rest.
#[derive(Deserialize, Default)]
struct ActionPeek<'a> {
    #[serde(borrow, default)]
    llm_metrics: Option<MetricsPeek<'a>>,
    #[serde(default)]
    recorded: Option<u64>,
}

#[derive(Deserialize)]
struct MetricsPeek<'a> {
    #[serde(default)]
    accumulated_cost: f64,
    #[serde(borrow, default)]
    accumulated_token_usage: Option<TokensPeek<'a>>,
}

#[derive(Deserialize)]
struct TokensPeek<'a> {
    #[serde(borrow, default)]
    model: std::borrow::Cow<'a, str>,
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// The parts of a body that make two events the same.
#[derive(Deserialize, Default)]
struct SamePeek<'a> {
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: std::borrow::Cow<'a, str>,
    #[serde(default)]
    extras: Option<ExitPeek>,
}

#[derive(Deserialize)]
struct ExitPeek {
    #[serde(default)]
    error_id: String,
    #[serde(default)]
    metadata: Option<MetadataPeek>,
}

#[derive(Deserialize)]
struct MetadataPeek {
    #[serde(default)]
    exit_code: i64,
}

/// The microagents that a recall told of.
#[derive(Deserialize, Default)]
struct RecallPeek {
    #[serde(default)]
    extras: KnowledgePeek,
}

#[derive(Deserialize, Default)]
struct KnowledgePeek {
    #[serde(default)]
    microagent_knowledge: Vec<NamePeek>,
}

#[derive(Deserialize)]
struct NamePeek {
    name: String,
}

/// The first line of a message, shortened.
fn first_line(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Message {
        args: Args,
    }
    #[derive(Deserialize)]
    struct Args {
        content: String,
    }
    let message: Message = serde_json::from_str(body).ok()?;
    title_of(&message.args.content)
}

/// The title that a session has by what is said in it first.
pub fn title_of(message: &str) -> Option<String> {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned();
    Some(match line.char_indices().nth(TITLE_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    })
}
