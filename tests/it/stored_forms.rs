//! Logs that were written stay readable: a stored log folds to the state that it folded to when it was written.
//!
//! When the fold changes on purpose, raise `REDUCER` and add a log of the new one beside the old, whose digests stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle::session::{
    Body, Command, Event, EventId, Extras, Kind, Observation, OnDivergence, OnUnknown, REDUCER, Recorded, Report, Seq, Session,
    SessionId, Source, StartStep, StepDone, Timestamp,
};
use rekindle::testing::Scenario;
use serde_json::{Value, json};
use uuid::Uuid;

fn stored() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stored/session-1.jsonl")
}

fn line(event: &Recorded) -> String {
    let envelope = json!({
        "seq": event.seq, "kind": event.kind, "v": event.v, "at": event.at, "source": event.source, "cause": event.cause,
        "must_understand": event.must_understand,
    });
    let envelope = envelope.to_string();
    format!("{},\"body\":{}}}", envelope.strip_suffix('}').unwrap(), event.body.as_json())
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

/// A session that meets every kind of event that the engine writes, but those of imports.
fn every_kind() -> Scenario {
    let items = [
        r#"{"id":0,"source":"user","action":"message","args":{"content":"please count"}}"#,
        r#"{"id":1,"source":"agent","action":"run","args":{"command":"echo 1","thought":"begin"},"llm_metrics":{"accumulated_cost":0.25,"accumulated_token_usage":{"model":"m","prompt_tokens":10,"completion_tokens":2}}}"#,
        r#"{"id":2,"cause":1,"source":"agent","observation":"run","content":"1","extras":{"command":"echo 1","metadata":{"exit_code":0}}}"#,
        r#"{"id":3,"source":"agent","action":"read","args":{"path":"/workspace/a"}}"#,
        r#"{"id":4,"source":"agent","action":"finish","args":{"final_thought":"counted"}}"#,
    ];
    let script = Scenario::script(&items);
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

#[test]
fn a_stored_log_folds_to_its_recorded_state() {
    let text = fs::read_to_string(stored()).unwrap();
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
            "the fold changed: raise REDUCER and store a new log beside this one"
        );
    }
}

#[test]
fn todays_events_are_written_as_the_stored_log_has_them() {
    let scenario = every_kind();
    let written: Vec<String> = scenario.log.iter().map(line).collect();
    if std::env::var_os("REKINDLE_STORE_FORMS").is_some() {
        let head = json!({"reducer": REDUCER, "digest": scenario.session.digest()}).to_string();
        fs::write(stored(), format!("{head}\n{}\n", written.join("\n"))).unwrap();
        return;
    }
    let text = fs::read_to_string(stored()).unwrap();
    for (stored, written) in text.lines().skip(1).zip(&written) {
        assert_eq!(stored, written);
    }
    assert_eq!(text.lines().count(), written.len() + 1);
}

#[test]
fn the_stored_log_holds_every_kind_that_the_engine_writes() {
    let text = fs::read_to_string(stored()).unwrap();
    for kind in Event::KINDS.iter().filter(|kind| !matches!(**kind, "session.imported" | "close.step_finished")) {
        assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind} is not in the stored log");
    }
}
