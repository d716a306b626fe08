//! Properties of the fold: total, closed under decide, independent of where a snapshot is taken.

use std::sync::Arc;

use proptest::prelude::*;
use rekindle::session::delegation::{DelegateWait, Order, Used};
use rekindle::session::event::{Briefed, DelegateFinished};
use rekindle::session::model::{Decision, Judged, Judgement, ModelErrorClass, Summary};
use rekindle::session::replay::Step;
use rekindle::session::replay::verify::Verifying;
use rekindle::session::workspace::{Comparison, Differences, PathText, WorkspaceCaptured, WorkspaceNotCaptured};
use rekindle::session::{
    AgentState, Analyzer, Body, Command, Condenser, ConfirmationPolicy, Content, Digest, Effect, Event, EventId, Extras, Item,
    Kind, Observation, OnDivergence, OnUnknown, Origin, Phase, Recorded, Recovery, Report, Risk, SecuritySpec, Seq, Session,
    SessionId, SessionSpec, SnapshotSpec, Source, StartStep, StepDone, Timestamp,
};
use rekindle::testing::Scenario;
use uuid::Uuid;

/// What a random session is told; how it reads depends on the state that it meets.
#[derive(Debug, Clone)]
enum Move {
    Create(u8),
    Answer,
    Fail,
    Act(u8),
    Say,
    Crash,
    Lose,
    Close,
    Stale,
    Confirm,
    Refuse(bool),
    Pause,
    Stop,
    Continue,
    Recover(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        1 => (0u8..6).prop_map(Move::Create),
        12 => Just(Move::Answer),
        1 => Just(Move::Fail),
        4 => (0u8..5).prop_map(Move::Act),
        2 => Just(Move::Say),
        3 => Just(Move::Crash),
        1 => Just(Move::Lose),
        1 => Just(Move::Close),
        1 => Just(Move::Stale),
        2 => Just(Move::Confirm),
        1 => any::<bool>().prop_map(Move::Refuse),
        1 => Just(Move::Pause),
        1 => Just(Move::Stop),
        2 => Just(Move::Continue),
        1 => (0u8..3).prop_map(Move::Recover),
    ];
    prop::collection::vec(one, 0..60)
}

const RECORDING: [&str; 6] = [
    r#"{"id":0,"source":"user","action":"message","args":{"content":"go"}}"#,
    r#"{"id":1,"source":"agent","action":"run","args":{"command":"true"}}"#,
    r#"{"id":2,"cause":1,"source":"agent","observation":"run","content":"","extras":{"command":"true","metadata":{"exit_code":0}}}"#,
    r#"{"id":3,"source":"agent","action":"think","args":{"thought":"hm"}}"#,
    r#"{"id":4,"source":"agent","action":"read","args":{"path":"/workspace/a"}}"#,
    r#"{"id":5,"source":"agent","action":"message","args":{"content":"ok?","wait_for_response":true}}"#,
];

fn action(which: u8) -> Item {
    let text = match which {
        0 => r#"{"action":"run","args":{"command":"ls"}}"#,
        1 => r#"{"action":"read","args":{"path":"/workspace/a"}}"#,
        2 => r#"{"action":"think","args":{"thought":"hm"}}"#,
        3 => r#"{"action":"delegate","args":{"agent":"helper","inputs":{"task":"help"}}}"#,
        _ => r#"{"action":"finish","args":{}}"#,
    };
    Item::decode(text).unwrap()
}

/// What every delegate uses.
const USED: Used = Used { iterations: 2, prompt_tokens: 14, completion_tokens: 6, cost_micro_usd: Some(20_000) };

fn loop_start(scenario: &Scenario) -> Seq {
    scenario.session.trail.find_loop().map_or(Seq::ZERO, |found| found.from)
}

/// Most of what the agent has seen since the history was last condensed.
fn seen(scenario: &Scenario) -> Vec<Seq> {
    let since = scenario.log.iter().rposition(|event| event.kind.as_str() == "action.condensation").unwrap_or(0);
    let seen = |event: &&Recorded| matches!(event.kind.as_str(), "action.run" | "action.think" | "observation.run");
    scenario.log[since..].iter().filter(seen).map(|event| event.seq).collect()
}

fn answer(scenario: &Scenario, well: bool) -> Option<Command> {
    let script = Scenario::script(&RECORDING);
    Some(match scenario.session.next_effect()? {
        Effect::TakeStep { step, attempt, .. } if !well => Command::StepFailed { step, attempt, error: "no".to_owned() },
        Effect::TakeStep { step: StartStep::Replay, attempt, .. } => {
            Command::StepDone { step: StartStep::Replay, attempt, done: StepDone::Recording(script.plan().clone()) }
        }
        Effect::TakeStep { step, attempt, .. } => Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) },
        Effect::Execute { action, .. } => {
            let observation = Observation { content: "x".to_owned(), extras: Extras::Success };
            let recorded = scenario.session.open.iter().find(|open| open.seq == action).and_then(|open| open.recorded);
            let recorded = recorded.and_then(|index| match &script.line_from(index)?.step {
                Step::Perform { expected: Some(item), .. } => match &item.content {
                    Content::Observation(observation) => Some(Box::new(observation.clone())),
                    Content::Action(_) => None,
                },
                _ => None,
            });
            Command::Observe { action, observation: Box::new(observation), recorded }
        }
        Effect::Wait { until } => Command::Wake { until },
        Effect::Delegate { action, session: None, .. } => {
            let session = SessionId::from_uuid(Uuid::from_u128(7)).delegate(action);
            Command::StartDelegate { action, session, agent: "helper".to_owned() }
        }
        Effect::Delegate { action, order: Order::GoOn(_), .. } => Command::DelegateGoesOn { action },
        Effect::Delegate { action, waits: Some(_), .. } if !well => Command::DelegateGoesOn { action },
        Effect::Delegate { action, order: Order::Follow | Order::Hold, waits: None, session: Some(session), .. } if !well => {
            let waits = [DelegateWait::Consent { session }, DelegateWait::Release, DelegateWait::Limits, DelegateWait::Model];
            Command::DelegateWaits { action, wait: waits[action.0 as usize % waits.len()], used: USED }
        }
        Effect::Delegate { action, order, .. } => {
            let outcome = Observation { content: "helped".to_owned(), extras: Extras::Success };
            let outcome = (order != Order::End).then(|| Box::new(outcome));
            Command::EndDelegate { action, outcome, used: USED, closed: well }
        }
        Effect::AskAgent { request, briefing: None } => {
            let _ = request;
            let (prompt, tools) = (Digest::of(b"prompt"), Digest::of(b"tools"));
            let briefed = Briefed { agent: "a".into(), model: "m".into(), prompt, tools, names: vec!["bash".into()] };
            Command::Brief(briefed)
        }
        Effect::AskAgent { request, .. } if !well => {
            let class = [
                ModelErrorClass::BadAnswer,
                ModelErrorClass::ContextWindow,
                ModelErrorClass::RateLimit,
                ModelErrorClass::Internal,
            ];
            let class = class[request.0 as usize % class.len()];
            Command::FailModel { request, failure: Scenario::failure(class, "no"), forget: vec![Seq(1), Seq(2)] }
        }
        Effect::AskAgent { request, .. } => {
            let seed = request.0 as u8;
            let judged = |action: Item| {
                let judgement = Judgement { risk: Risk::Medium, reasons: vec!["a test".into()], by: vec!["test".into()] };
                Judged { action, judgement: seed.is_multiple_of(2).then_some(judgement) }
            };
            let actions = vec![judged(action(seed % 5)), judged(action(seed / 5 % 5))];
            Command::Decide { request, decision: Box::new(Decision { actions, call: Scenario::call() }) }
        }
        Effect::Condense => {
            let forget = if well { seen(scenario) } else { Vec::new() };
            Command::Forget { forget }
        }
        Effect::Summarise { request } if !well => {
            let class = [ModelErrorClass::RateLimit, ModelErrorClass::ContextWindow, ModelErrorClass::BadAnswer];
            let class = class[request.0 as usize % class.len()];
            Command::FailModel { request, failure: Scenario::failure(class, "no"), forget: Vec::new() }
        }
        Effect::Summarise { request } => {
            let (text, offset, call) = ("in short".to_owned(), 1, Scenario::call());
            Command::Summarise { request, summary: Box::new(Summary { text, offset, call }) }
        }
        Effect::ReadLine { from } => {
            script.line_from(from).map_or(Command::EndRecording, |line| Command::Perform { line: Box::new(line.clone()) })
        }
        Effect::Capture if !well => {
            let for_good = scenario.session.version.0.is_multiple_of(3);
            Command::MissSnapshot(WorkspaceNotCaptured { error: "no".to_owned(), for_good })
        }
        Effect::Capture => Command::KeepSnapshot(WorkspaceCaptured {
            manifest: Digest::of(&scenario.session.version.0.to_be_bytes()),
            files: 1,
            bytes: 1,
            left_out: Vec::new(),
            left_out_more: 0,
        }),
        Effect::Compare { last } => {
            let differs = Differences { count: 1, changed: vec![PathText::new(b"a")], ..Differences::default() };
            let comparison = if well { Comparison::Same } else { Comparison::Differs(differs) };
            Command::CompareWorkspace { manifest: last.manifest, comparison }
        }
        Effect::Release { step, attempt, .. } if !well => Command::ReleaseFailed { step, attempt, error: "no".to_owned() },
        Effect::Release { step, attempt, .. } => Command::Released { step, attempt },
    })
}

fn condensing(condense: Condenser) -> SessionSpec {
    let mut spec = Scenario::agent_spec();
    spec.agent.as_mut().unwrap().config.condense = condense;
    spec
}

fn play(moves: &[Move]) -> Scenario {
    let mut scenario = Scenario::new();
    for step in moves {
        let command = match step {
            Move::Create(0) => Some(Scenario::spec(Scenario::replay(OnDivergence::Continue, OnUnknown::StepOver))),
            Move::Create(1) => Some(Scenario::spec(Origin::fresh(None))),
            Move::Create(2) => Some(Scenario::agent_spec()),
            Move::Create(4) => Some(condensing(Condenser::Summary { keep_first: 1, max: Some(8), model: None })),
            Move::Create(5) => Some(condensing(Condenser::Window { keep_first: 1, max: Some(8) })),
            Move::Create(_) => {
                let confirmation = ConfirmationPolicy::AtOrAbove(Risk::Medium);
                let security = SecuritySpec { analyzers: vec![Analyzer::Rules], confirmation };
                Some(SessionSpec { security, ..Scenario::agent_spec() })
            }
            _ => None,
        }
        .map(|spec| SessionSpec { snapshots: moves.len().is_multiple_of(2).then(SnapshotSpec::default), ..spec })
        .map(|spec| Command::Create { spec: Box::new(spec), node: Scenario::node() })
        .or_else(|| match step {
            Move::Create(_) => None,
            Move::Answer => answer(&scenario, true),
            Move::Fail => answer(&scenario, false),
            Move::Act(which) => Some(Command::Act { actions: vec![action(*which), action((*which + 1) % 5)] }),
            Move::Say => Some(Command::Say { content: "hello".to_owned() }),
            Move::Confirm => Some(Command::Confirm { action: None, by: "a test".to_owned() }),
            Move::Refuse(true) => Some(Command::Refuse { action: None, by: "a test".to_owned(), reason: Some("no".to_owned()) }),
            Move::Refuse(false) => Some(Command::Refuse { action: None, by: "a test".to_owned(), reason: None }),
            Move::Pause => Some(Command::Pause),
            Move::Stop => Some(Command::Stop { reason: "a test".to_owned() }),
            Move::Continue => Some(Command::Continue { limits: None }),
            Move::Recover(which) => {
                let how = [Recovery::BeforeLoop, Recovery::LastPrompt, Recovery::Stop][usize::from(*which)];
                Some(Command::Recover { how, forget: vec![Seq(3)], from: loop_start(&scenario) })
            }
            Move::Lose => Some(Command::LoseRuntime { error: "gone".to_owned() }),
            Move::Close => Some(Command::Close { reason: "enough".to_owned() }),
            Move::Stale => Some(Command::Released { step: StartStep::Runtime, attempt: 99 }),
            Move::Crash => {
                let _ = scenario.crash_and_acquire();
                None
            }
        });
        if let Some(command) = command {
            let before = scenario.session.clone();
            if scenario.when(command).is_err() {
                assert_eq!(scenario.session, before, "a refusal changes nothing");
            }
        }
    }
    scenario
}

fn fold(log: &[Recorded]) -> Session {
    let mut session = Session::default();
    for event in log {
        session.apply(event);
    }
    session
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_session_is_the_fold_of_its_log(moves in moves()) {
        let scenario = play(&moves);
        prop_assert_eq!(&fold(&scenario.log), &scenario.session);
        prop_assert!(scenario.log.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)));
    }

    #[test]
    fn a_snapshot_at_any_event_and_the_events_behind_it_equal_the_full_fold(moves in moves()) {
        let scenario = play(&moves);
        let mut prefix = Session::default();
        for k in 0..=scenario.log.len() {
            let mut session: Session = serde_json::from_str(&prefix.to_json()).unwrap();
            for event in &scenario.log[k..] {
                session.apply(event);
            }
            prop_assert_eq!(session.digest(), scenario.session.digest(), "snapshot at {}", k);
            if let Some(event) = scenario.log.get(k) {
                prefix.apply(event);
            }
        }
    }

    #[test]
    fn every_intent_has_at_most_one_outcome_and_none_is_lost_at_the_end(moves in moves()) {
        let mut scenario = play(&moves);
        let _ = scenario.when(Command::Close { reason: "end".to_owned() });
        while let Some(command) = answer(&scenario, true) {
            scenario.when(command).unwrap();
        }
        for intent in scenario.log.iter().filter(|event| matches!(event.kind.as_str(), "action.run" | "action.read")) {
            let outcomes = scenario
                .log
                .iter()
                .filter(|event| event.cause == Some(intent.seq) && event.kind.family() == "observation")
                .count();
            prop_assert_eq!(outcomes, 1, "action {}", intent.seq);
        }
        prop_assert!(scenario.session.open.is_empty());
    }

    #[test]
    fn what_was_used_is_the_sum_of_all_calls_at_every_level(moves in moves()) {
        let scenario = play(&moves);
        let (mut calls, mut tokens) = (0, 0);
        for event in &scenario.log {
            match Event::read(event) {
                Event::ModelRequested(body) if body.attempt == 1 && body.summarises.is_empty() => calls += 1,
                Event::ModelResponded(body) => tokens += body.usage.prompt_tokens,
                Event::DelegateFinished(DelegateFinished { used, .. }) => {
                    calls += used.iterations;
                    tokens += used.prompt_tokens;
                }
                _ => {}
            }
        }
        prop_assert_eq!((scenario.session.iterations, scenario.session.usage.prompt_tokens), (calls, tokens));
    }

    #[test]
    fn a_delegate_that_was_begun_has_one_end_and_its_parent_none_before(moves in moves()) {
        let mut scenario = play(&moves);
        let _ = scenario.when(Command::Close { reason: "end".to_owned() });
        while let Some(command) = answer(&scenario, true) {
            scenario.when(command).unwrap();
        }
        prop_assert!(scenario.session.delegation.is_none());
        let count = |kind: &str| scenario.log.iter().filter(|event| event.kind.as_str() == kind).count();
        prop_assert_eq!(count("delegate.started"), count("delegate.finished"));
        let mut open = false;
        for event in &scenario.log {
            match event.kind.as_str() {
                "delegate.started" => prop_assert!(!std::mem::replace(&mut open, true), "one at a time"),
                "delegate.finished" => prop_assert!(std::mem::replace(&mut open, false)),
                "model.requested" | "session.closed" => prop_assert!(!open, "event {} {}", event.seq, event.kind),
                _ => {}
            }
        }
    }

    #[test]
    fn every_log_is_decided_again_as_it_stands(moves in moves()) {
        let scenario = play(&moves);
        let mut verifying = Verifying::new(Some(Arc::new(Scenario::script(&RECORDING))));
        scenario.log.iter().for_each(|event| verifying.take(event.clone()));
        let found = verifying.end();
        prop_assert_eq!(&found.divergences, &vec![]);
        prop_assert_eq!((found.decided, found.unchecked.len()), (scenario.log.len() as u64, 0));
    }

    #[test]
    fn a_session_that_is_at_work_is_owed_something(moves in moves()) {
        let scenario = play(&moves);
        let session = &scenario.session;
        let at_work = session.phase == Phase::Ready && session.agent == AgentState::Running && session.has_agent();
        prop_assert!(!at_work || session.next_effect().is_some() || session.unconfirmed().next().is_some(), "{:?}", session);
    }

    #[test]
    fn an_unsafe_action_is_handed_out_at_most_once(moves in moves()) {
        let scenario = play(&moves);
        for intent in scenario.log.iter().filter(|event| event.kind.as_str() == "action.run") {
            let dispatched = scenario
                .log
                .iter()
                .filter(|event| event.cause == Some(intent.seq) && event.kind.as_str() == "action.dispatched")
                .count();
            prop_assert!(dispatched <= 1, "action {} was handed out {} times", intent.seq, dispatched);
        }
    }

    #[test]
    fn the_world_owes_the_same_before_and_after_reading_the_log_again(moves in moves()) {
        let scenario = play(&moves);
        prop_assert_eq!(fold(&scenario.log).next_effect(), scenario.session.next_effect());
    }

    #[test]
    fn the_fold_takes_any_event_at_all(
        events in prop::collection::vec((any_kind(), any_body(), any::<Option<u8>>(), any::<bool>()), 0..40)
    ) {
        let mut session = Session::default();
        for (seq, (kind, body, cause, must_understand)) in (1..).zip(events) {
            session.apply(&Recorded {
                session: SessionId::from_uuid(Uuid::nil()),
                seq: Seq(seq),
                id: EventId::from_uuid(Uuid::from_u128(u128::from(seq))),
                kind: Kind::new(kind),
                v: 1,
                at: Timestamp(0),
                source: Source::Agent,
                cause: cause.map(|cause| Seq(u64::from(cause))),
                must_understand,
                body: Body::Json(body),
            });
            let _ = session.next_effect();
            let _ = rekindle::session::decide(&session, Command::Say { content: String::new() }, Timestamp(0));
        }
        let again: Session = serde_json::from_str(&session.to_json()).unwrap();
        prop_assert_eq!(again, session);
    }
}

fn any_kind() -> impl Strategy<Value = String> {
    let known: Vec<String> = Event::KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    prop_oneof![
        prop::sample::select(known),
        prop::sample::select(vec![
            "action.run",
            "action.message",
            "action.read",
            "observation.run",
            "observation.error",
            "",
            ".",
            "x"
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,8}\\.[a-z_]{1,12}",
    ]
}

fn any_body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("not json".to_owned()),
        Just(r#"{"step":"runtime","attempt":4294967295,"deadline":9223372036854775807}"#.to_owned()),
        Just(r#"{"step":"runtime","attempt":1,"outcome":{"type":"done"}}"#.to_owned()),
        Just(r#"{"epoch":3,"node":"00000000-0000-0000-0000-000000000001","reason":""}"#.to_owned()),
        Just(r#"{"recorded":18446744073709551615,"llm_metrics":{"accumulated_cost":-1e300}}"#.to_owned()),
        Just(r#"{"attempt":1,"epoch":1}"#.to_owned()),
        Just(r#"{"steps":["runtime","replay"]}"#.to_owned()),
        Just(r#"{"reason":"r","deadline":1}"#.to_owned()),
        Just(r#"{"plan":{"entries":1,"messages":1,"actions":0,"normalisers":"n"}}"#.to_owned()),
    ]
}
