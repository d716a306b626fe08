//! Logs that were written stay readable: a stored log folds to the state that it folded to when it was written.
//!
//! When the fold changes on purpose, raise `REDUCER` and add a log of the new one beside the old, whose digests stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle::session::audit::{
    Access, AccessRead, AccessSet, Erased, Erasing, Erasure, Head, HeadsListed, NotErased, Published, RetentionSet, Sealed,
};
use rekindle::session::delegation::{DelegateWait, Used};
use rekindle::session::event::Briefed;
use rekindle::session::model::{CallReport, Judgement, ModelErrorClass, Summary};
use rekindle::session::replay::verify::Verifying;
use rekindle::session::workspace::{
    Comparison, Differences, LeftOut, LeftOutWhy, PathText, WorkspaceCaptured, WorkspaceNotCaptured,
};
use rekindle::session::{
    Analyzer, Body, Command, Condenser, ConfirmationPolicy, Digest, Event, EventId, Extras, Kind, Limits, Observation,
    OnDivergence, OnUnknown, Origin, REDUCER, Recorded, Report, Risk, SecuritySpec, Seq, Session, SessionId, SessionSpec,
    SnapshotSpec, Source, StartStep, StepDone, Timestamp,
};
use rekindle::testing::Scenario;
use serde_json::{Value, json};
use uuid::Uuid;

/// How a stored log was made.
type Made = fn() -> Scenario;

/// The stored logs, and how each was made.
const STORED: [(&str, Made); 7] = [
    ("session-1.jsonl", every_kind),
    ("agent-1.jsonl", every_kind_of_an_agent),
    ("delegate-1.jsonl", every_kind_of_a_delegation),
    ("workspace-1.jsonl", every_kind_of_a_workspace),
    ("condensing-1.jsonl", every_way_to_condense),
    ("fork-1.jsonl", fork),
    ("audit-1.jsonl", every_kind_of_an_audit_log),
];

fn stored(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stored").join(name)
}

/// A line of a stored log. Its order is its own: that of maps depends on what other crates ask of serde_json.
fn line(event: &Recorded) -> String {
    let envelope = json!({
        "seq": event.seq, "kind": event.kind, "v": event.v, "at": event.at, "source": event.source, "cause": event.cause,
        "must_understand": event.must_understand,
    });
    let envelope = sorted(&envelope);
    format!("{},\"body\":{}}}", envelope.strip_suffix('}').unwrap(), event.body.as_json())
}

/// An object with its keys in order, in whatever order a feature of `serde_json` keeps them.
fn sorted(object: &Value) -> String {
    let object: BTreeMap<&String, &Value> = object.as_object().unwrap().iter().collect();
    serde_json::to_string(&object).unwrap()
}

fn read(line: &str) -> Recorded {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        seq: Seq,
        kind: Kind,
        v: u16,
        at: Timestamp,
        source: Source,
        cause: Option<Seq>,
        must_understand: bool,
        #[serde(borrow)]
        body: &'a serde_json::value::RawValue,
    }
    let Line { seq, kind, v, at, source, cause, must_understand, body } = serde_json::from_str(line).unwrap();
    let session = SessionId::from_uuid(Uuid::nil());
    let id = EventId::from_uuid(Uuid::nil());
    Recorded { session, seq, id, kind, v, at, source, cause, must_understand, body: Body::Json(body.get().to_owned()) }
}

/// The recording that one of them performs.
const RECORDING: [&str; 5] = [
    r#"{"id":0,"source":"user","action":"message","args":{"content":"please count"}}"#,
    r#"{"id":1,"source":"agent","action":"run","args":{"command":"echo 1","thought":"begin"},"llm_metrics":{"accumulated_cost":0.25,"accumulated_token_usage":{"model":"m","prompt_tokens":10,"completion_tokens":2}}}"#,
    r#"{"id":2,"cause":1,"source":"agent","observation":"run","content":"1","extras":{"command":"echo 1","metadata":{"exit_code":0}}}"#,
    r#"{"id":3,"source":"agent","action":"read","args":{"path":"/workspace/a"}}"#,
    r#"{"id":4,"source":"agent","action":"finish","args":{"final_thought":"counted"}}"#,
];

/// A session that meets every kind of event that the engine writes, but those of imports and of agents.
fn every_kind() -> Scenario {
    let script = Scenario::script(&RECORDING);
    let report = |step, attempt| Command::StepDone { step, attempt, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let perform = |index| Command::Perform { line: Box::new(script.line_from(index).unwrap().clone()) };
    let ran = |code: i64| Observation {
        content: "1".to_owned(),
        extras: Extras::Run(serde_json::from_value(json!({"command": "echo 1", "metadata": {"exit_code": code}})).unwrap()),
    };
    let mut scenario = Scenario::new()
        .given(Command::Create {
            spec: Box::new(Scenario::spec(Scenario::replay(OnDivergence::Continue, OnUnknown::StepOver))),
            node: Scenario::node(),
        })
        .given(Command::StepFailed { step: StartStep::Runtime, attempt: 1, error: "no room".to_owned() });
    scenario.crash_and_acquire().unwrap();
    let mut scenario = scenario
        .given(report(StartStep::Runtime, 2))
        .given(Command::StepDone { step: StartStep::Replay, attempt: 1, done: StepDone::Recording(script.plan().clone()) })
        .given(perform(0))
        .given(perform(1));
    let action = scenario.session.in_flight().unwrap().seq;
    scenario = scenario
        .given(Command::Observe { action, observation: Box::new(ran(1)), recorded: Some(Box::new(ran(0))) })
        .given(perform(3));
    scenario.crash_and_acquire().unwrap();
    scenario = scenario.given(report(StartStep::Runtime, 3));
    let action = scenario.session.in_flight().unwrap().seq;
    let text = Observation::error("no such file", "");
    scenario
        .given(Command::Observe { action, observation: Box::new(text), recorded: None })
        .given(perform(4))
        .given(Command::EndRecording)
        .given(Command::Close { reason: "done".to_owned() })
        .given(Command::ReleaseFailed { step: StartStep::Runtime, attempt: 1, error: "stuck".to_owned() })
}

/// A session whose agent meets every kind of event.
fn every_kind_of_an_agent() -> Scenario {
    let report = |step| Command::StepDone { step, attempt: 1, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let confirmation = ConfirmationPolicy::AtOrAbove(Risk::Medium);
    let security = SecuritySpec { analyzers: vec![Analyzer::Rules], confirmation };
    let limits = Limits { iterations: 3, budget_micro_usd: Some(1_000_000) };
    let spec = SessionSpec { security, limits, ..Scenario::agent_spec() };
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    for step in [StartStep::Runtime, StartStep::SetupScript, StartStep::GitHooks, StartStep::Memory, StartStep::Controller] {
        scenario = scenario.given(report(step));
    }
    let observed = |scenario: Scenario, observation: Observation| {
        let action = scenario.session.in_flight().unwrap().seq;
        scenario.given(Command::Observe { action, observation: Box::new(observation), recorded: None })
    };
    let request = |scenario: &Scenario| scenario.session.model.unwrap().request;
    scenario = observed(scenario, Observation { content: String::new(), extras: Extras::Null });
    let (prompt, tools) = (Digest::of(b"prompt"), Digest::of(b"tools"));
    let briefed = Briefed { agent: "coder".into(), model: "m".into(), prompt, tools, names: vec!["bash".into()] };
    scenario = scenario.given(Command::Brief(briefed));
    let mut decision = Scenario::decision(&[
        r#"{"action":"run","args":{"command":"make"}}"#,
        r#"{"action":"run","args":{"command":"rm -r /"}}"#,
    ]);
    for (judged, risk) in decision.actions.iter_mut().zip([Risk::Medium, Risk::High]) {
        judged.judgement = Some(Judgement { risk, reasons: vec!["rules/1: a test".into()], by: vec!["rules/1".into()] });
    }
    let asked = request(&scenario);
    scenario = scenario.given(Command::Decide { request: asked, decision: Box::new(decision) });
    let waiting: Vec<Seq> = scenario.session.unconfirmed().map(|open| open.seq).collect();
    scenario = scenario.given(Command::Confirm { action: Some(waiting[0]), by: "a person".into() }).given(Command::Refuse {
        action: Some(waiting[1]),
        by: "a person".into(),
        reason: Some("never".into()),
    });
    scenario = observed(scenario, Observation::error("no rule to make target", ""));
    let asked = request(&scenario);
    let failure = Scenario::failure(ModelErrorClass::BadAnswer, "no tool is called `fly`");
    scenario = scenario.given(Command::FailModel { request: asked, failure, forget: Vec::new() });
    scenario.crash_and_acquire().unwrap();
    scenario
        .given(Command::StepDone {
            step: StartStep::Runtime,
            attempt: 2,
            done: StepDone::Report(Report(json!({"runtime": "fake"}))),
        })
        .given(Command::Pause)
        .given(Command::Continue { limits: Some(Limits { iterations: 9, budget_micro_usd: None }) })
        .given(Command::Stop { reason: "enough".into() })
        .given(Command::Close { reason: "done".into() })
        .given(Command::Released { step: StartStep::Runtime, attempt: 1 })
}

/// A session that hands a part of its task to another one, and whose model refuses for a while.
fn every_kind_of_a_delegation() -> Scenario {
    let report = |step| Command::StepDone { step, attempt: 1, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(Scenario::agent_spec()), node: Scenario::node() });
    for step in [StartStep::Runtime, StartStep::SetupScript, StartStep::GitHooks, StartStep::Memory, StartStep::Controller] {
        scenario = scenario.given(report(step));
    }
    let action = scenario.session.in_flight().unwrap().seq;
    let nothing = Box::new(Observation { content: String::new(), extras: Extras::Null });
    scenario = scenario.given(Command::Observe { action, observation: nothing, recorded: None });
    let request = |scenario: &Scenario| scenario.session.model.unwrap().request;
    let delegate = r#"{"action":"delegate","args":{"agent":"helper","inputs":{"task":"help"}}}"#;
    let asked = request(&scenario);
    scenario = scenario.given(Command::Decide { request: asked, decision: Box::new(Scenario::decision(&[delegate])) });
    let action = scenario.session.in_flight().unwrap().seq;
    let session = SessionId::from_uuid(Uuid::from_u128(7)).delegate(action);
    let used = Used { iterations: 2, prompt_tokens: 14, completion_tokens: 6, cost_micro_usd: Some(20_000) };
    scenario = scenario
        .given(Command::StartDelegate { action, session, agent: "helper".into() })
        .given(Command::DelegateWaits { action, wait: DelegateWait::Release, used })
        .given(Command::Continue { limits: None })
        .given(Command::DelegateGoesOn { action })
        .given(Command::DelegateWaits { action, wait: DelegateWait::Consent { session }, used })
        .given(Command::EndDelegate {
            action,
            outcome: Some(Box::new(Observation { content: "helped".into(), extras: Extras::Success })),
            used,
            closed: true,
        });
    for class in [ModelErrorClass::RateLimit, ModelErrorClass::Authentication] {
        let asked = request(&scenario);
        let failure = Scenario::failure(class, "no");
        scenario = scenario.given(Command::FailModel { request: asked, failure, forget: Vec::new() });
        if let Some(until) = scenario.session.until {
            scenario = scenario.given(Command::Wake { until });
        }
    }
    scenario
}

/// A session whose history is summed up, is asked for that again after a crash, and is then left without a summary.
fn every_way_to_condense() -> Scenario {
    let report = |step, attempt| Command::StepDone { step, attempt, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let mut spec = Scenario::agent_spec();
    if let Some(agent) = &mut spec.agent {
        agent.config.condense = Condenser::Summary { keep_first: 1, max: Some(8), model: None };
    }
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    for step in [StartStep::Runtime, StartStep::SetupScript, StartStep::GitHooks, StartStep::Memory, StartStep::Controller] {
        scenario = scenario.given(report(step, 1));
    }
    let observed = |scenario: Scenario, observation: Observation| {
        let action = scenario.session.in_flight().unwrap().seq;
        scenario.given(Command::Observe { action, observation: Box::new(observation), recorded: None })
    };
    let request = |scenario: &Scenario| scenario.session.model.unwrap().request;
    scenario = observed(scenario, Observation { content: String::new(), extras: Extras::Null });
    let mut turns = 0..;
    let mut grown = |mut scenario: Scenario| {
        while scenario.session.model.is_some() {
            let command = format!(r#"{{"action":"run","args":{{"command":"make {}"}}}}"#, turns.next().unwrap());
            let (request, decision) = (request(&scenario), Box::new(Scenario::decision(&[&command])));
            let made = Observation { content: "made".into(), extras: Extras::Success };
            scenario = observed(scenario.given(Command::Decide { request, decision }), made);
        }
        scenario
    };
    let forget = |scenario: &Scenario| {
        let since = scenario.log.iter().rposition(|event| event.kind.as_str() == "action.condensation").unwrap_or(0);
        let seen = |event: &&Recorded| matches!(event.kind.as_str(), "action.run" | "observation.success");
        scenario.log[since..].iter().filter(seen).map(|event| event.seq).take(4).collect::<Vec<_>>()
    };
    scenario = grown(scenario);
    let chosen = forget(&scenario);
    scenario = scenario.given(Command::Forget { forget: chosen });
    scenario.crash_and_acquire().unwrap();
    scenario = scenario.given(report(StartStep::Runtime, 2));
    let call = CallReport { prompt: Some(Digest::of(b"prompt")), ..Scenario::call() };
    let summary = Box::new(Summary { text: "It was made.".into(), offset: 1, call });
    let asked = request(&scenario);
    scenario = grown(scenario.given(Command::Summarise { request: asked, summary }));
    let chosen = forget(&scenario);
    scenario = scenario.given(Command::Forget { forget: chosen });
    let (asked, failure) = (request(&scenario), Scenario::failure(ModelErrorClass::RateLimit, "not now"));
    scenario = scenario.given(Command::FailModel { request: asked, failure, forget: Vec::new() });
    grown(scenario).given(Command::Forget { forget: Vec::new() }).given(Command::Stop { reason: "enough".into() })
}

/// A session that goes on from another one's log, in the middle of an action, and is taken over.
fn fork() -> Scenario {
    let report = |step, attempt| Command::StepDone { step, attempt, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let run = rekindle::session::Item::decode(r#"{"action":"run","args":{"command":"make"}}"#).unwrap();
    let mut scenario = Scenario::new()
        .given(Command::Create { spec: Box::new(Scenario::spec(Origin::fresh(None))), node: Scenario::node() })
        .given(report(StartStep::Runtime, 1))
        .given(Command::Act { actions: vec![run] })
        .forked();
    scenario.crash_and_acquire().unwrap();
    scenario
}

/// A session whose workspace is kept, cannot be kept, and is another one after a crash.
fn every_kind_of_a_workspace() -> Scenario {
    let report = |step, attempt| Command::StepDone { step, attempt, done: StepDone::Report(Report(json!({"runtime": "fake"}))) };
    let path = |bytes: &[u8]| PathText::new(bytes);
    let left_out = |bytes: &[u8], why| LeftOut { path: path(bytes), why };
    let spec = SessionSpec { snapshots: Some(SnapshotSpec::default()), ..Scenario::spec(Origin::fresh(None)) };
    let kept = |of: &[u8], left_out: Vec<LeftOut>| {
        let left_out_more = left_out.len() as u64;
        Command::KeepSnapshot(WorkspaceCaptured { manifest: Digest::of(of), files: 2, bytes: 3, left_out, left_out_more })
    };
    let turn = |scenario: Scenario| {
        let actions = [r#"{"action":"run","args":{"command":"make"}}"#, r#"{"action":"finish","args":{}}"#];
        let actions = actions.map(|action| rekindle::session::Item::decode(action).unwrap()).to_vec();
        let scenario = scenario.given(Command::Act { actions });
        let action = scenario.session.in_flight().unwrap().seq;
        let observation = Box::new(Observation { content: "made".into(), extras: Extras::Success });
        scenario.given(Command::Observe { action, observation, recorded: None })
    };
    let compared = |of: &[u8], comparison| Command::CompareWorkspace { manifest: Digest::of(of), comparison };
    let scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    let scenario = scenario.given(report(StartStep::Runtime, 1));
    let named = vec![left_out(b"target", LeftOutWhy::Ignored), left_out(b"\xff", LeftOutWhy::TooLarge)];
    let scenario = turn(scenario.given(kept(b"first", Vec::new()))).given(kept(b"second", named));
    let missed = |for_good| Command::MissSnapshot(WorkspaceNotCaptured { error: "no room".into(), for_good });
    let mut scenario = turn(scenario).given(missed(false));
    scenario.crash_and_acquire().unwrap();
    let changed = Differences { count: 2, changed: vec![path(b"a")], missing: vec![path(b"\xfe")], added: Vec::new() };
    let mut scenario = scenario
        .given(report(StartStep::Runtime, 2))
        .given(compared(b"second", Comparison::Differs(changed)))
        .given(kept(b"third", Vec::new()));
    for (attempt, comparison) in [(3, Comparison::Same), (4, Comparison::Failed { error: "it is not there".into() })] {
        scenario.crash_and_acquire().unwrap();
        scenario = scenario.given(report(StartStep::Runtime, attempt)).given(compared(b"third", comparison));
    }
    turn(scenario).given(missed(true))
}

/// An audit log, which nothing is decided in.
fn every_kind_of_an_audit_log() -> Scenario {
    let head = |seq| Head { session: SessionId::from_uuid(Uuid::from_u128(seq)), seq: Seq(7), hash: Digest([7; 32]) };
    let sealed = Sealed {
        heads: vec![head(2)],
        upto: "c1-adaiipn3hy".to_owned(),
        size: 2,
        root: Digest([1; 32]),
        tree: vec![Digest([1; 32])],
        checkpoint: "log.example/a\n2\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\n— log.example/a AAAAAAA=\n".to_owned(),
        key: "log.example/a+00000000+AQ==".to_owned(),
        to: vec!["https://log.example/".to_owned()],
    };
    let published = Published { to: "https://log.example/".to_owned(), size: 2 };
    let (session, seq, hash) = (head(1).session, Seq(3), Digest([3; 32]));
    let body = Erasure::Body { session, seq, hash };
    let whole = Erasure::Session { session, seq, hash };
    let (reason, by) = ("too old".to_owned(), "ada".to_owned());
    let erasing =
        |erasure: &Erasure| Event::Erasing(Erasing { erasure: erasure.clone(), reason: reason.clone(), by: by.clone() });
    let read = |access| Event::AccessRead(AccessRead { by: by.clone(), access, how: "show".to_owned() });
    let refused = NotErased { erasure: body.clone(), error: "it is held".to_owned() };
    let mut scenario = Scenario::new();
    for (event, cause) in [
        (Event::HeadsListed(HeadsListed { heads: vec![head(1)] }), None),
        (Event::Sealed(sealed), None),
        (Event::Published(published), None),
        (erasing(&body), None),
        (Event::NotErased(refused), Some(Seq(4))),
        (erasing(&whole), None),
        (Event::Erased(Erased { erasure: whole.clone() }), Some(Seq(6))),
        (Event::RetentionSet(RetentionSet { days: 180, by: by.clone() }), None),
        // Somebody was killed over this one.
        (erasing(&body), None),
        (Event::AccessSet(AccessSet { recorded: true, by: by.clone() }), None),
        (read(Access::Session { session, upto: seq }), None),
        (read(Access::List), None),
        (read(Access::All), None),
    ] {
        let seq = scenario.session.version.next();
        let recorded = Recorded {
            session: SessionId::AUDIT_LOG,
            seq,
            id: EventId::from_uuid(Uuid::from_u128(u128::from(seq.0))),
            kind: event.kind(),
            v: Event::VERSION,
            at: Timestamp(1_000_000),
            source: Source::Environment,
            cause,
            must_understand: true,
            body: Body::Json(event.body()),
        };
        scenario.session.apply(&recorded);
        scenario.log.push(recorded);
    }
    scenario
}

#[test]
fn a_stored_log_folds_to_its_recorded_state() {
    for (name, _) in STORED {
        let text = fs::read_to_string(stored(name)).unwrap();
        let mut lines = text.lines();
        let expected: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let mut session = Session::default();
        for line in lines {
            let event = read(line);
            assert!(!matches!(Event::read(&event), Event::Unknown(_)), "event {} {} is still read", event.seq, event.kind);
            session.apply(&event);
        }
        assert_eq!(session.not_understood, None);
        if expected["reducer"] == REDUCER {
            assert_eq!(
                expected["digest"],
                session.digest().to_string(),
                "the fold changed: raise REDUCER and store a new log beside {name}"
            );
        }
    }
}

#[test]
fn a_stored_log_is_decided_again_as_it_stands() {
    for (name, _) in STORED {
        let text = fs::read_to_string(stored(name)).unwrap();
        let mut verifying = Verifying::new(Some(Arc::new(Scenario::script(&RECORDING))));
        text.lines().skip(1).for_each(|line| verifying.take(read(line)));
        let found = verifying.end();
        assert_eq!(found.divergences, [], "{name}: how a session decides has changed");
        // How a fork begins follows from nothing in its log.
        assert_eq!((found.decided + found.given, found.unchecked.len()), (found.events, 0), "{name}");
    }
}

#[test]
fn todays_events_are_written_as_the_stored_log_has_them() {
    for (name, scenario) in STORED {
        let scenario = scenario();
        let written: Vec<String> = scenario.log.iter().map(line).collect();
        if std::env::var_os("REKINDLE_STORE_FORMS").is_some() {
            let head = sorted(&json!({"reducer": REDUCER, "digest": scenario.session.digest()}));
            fs::write(stored(name), format!("{head}\n{}\n", written.join("\n"))).unwrap();
            continue;
        }
        let text = fs::read_to_string(stored(name)).unwrap();
        for (stored, written) in text.lines().skip(1).zip(&written) {
            assert_eq!(stored, written);
        }
        assert_eq!(text.lines().count(), written.len() + 1);
    }
}

#[test]
fn the_stored_logs_hold_every_kind_that_the_engine_writes() {
    let text: String = STORED.iter().map(|(name, _)| fs::read_to_string(stored(name)).unwrap()).collect();
    for kind in Event::KINDS.iter().filter(|kind| !matches!(**kind, "session.imported")) {
        assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind} is in no stored log");
    }
}
