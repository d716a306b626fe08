//! What people are shown is the fold of the log: lifecycle, transcript, usage, and the directory row beside every append.

use rekindle::projection::Projection;
use rekindle::projection::directory::directory;
use rekindle::projection::lifecycle::{Lifecycle, StepEnd};
use rekindle::projection::transcript::{Said, Transcript};
use rekindle::projection::usage::Usage;
use rekindle::session::replay::{ReplayOutcome, Verdict};
use rekindle::session::{
    Command, Effect, Extras, Observation, OnDivergence, OnUnknown, Origin, Report, Session, StartStep, StepDone,
};
use rekindle::testing::Scenario;
use serde_json::json;

const ITEMS: [&str; 4] = [
    r#"{"id":0,"source":"user","action":"message","args":{"content":"please count"}}"#,
    r#"{"id":1,"source":"agent","action":"run","args":{"command":"echo 1","thought":"begin"},"llm_metrics":{"accumulated_cost":0.25,"accumulated_token_usage":{"model":"m","prompt_tokens":10,"completion_tokens":2}}}"#,
    r#"{"id":2,"cause":1,"source":"agent","observation":"run","content":"1","extras":{"command":"echo 1","metadata":{"exit_code":0}}}"#,
    r#"{"id":3,"source":"agent","action":"finish","args":{"final_thought":"counted"}}"#,
];

fn report(attempt: u32) -> Command {
    let done = StepDone::Report(Report(json!({"runtime": "fake"})));
    Command::StepDone { step: StartStep::Runtime, attempt, done }
}

/// A replay whose one command prints `text`, with one failed try of the runtime before it, closed at the end.
fn replayed(text: &str) -> Scenario {
    let script = Scenario::script(&ITEMS);
    let origin = Scenario::replay(OnDivergence::Continue, OnUnknown::Stop);
    let mut scenario = Scenario::new()
        .given(Command::Create { spec: Box::new(Scenario::spec(origin)), node: Scenario::node() })
        .given(Command::StepFailed { step: StartStep::Runtime, attempt: 1, error: "no room".to_owned() });
    scenario.crash_and_acquire().unwrap();
    let recording = StepDone::Recording(script.plan().clone());
    let mut scenario =
        scenario.given(report(2)).given(Command::StepDone { step: StartStep::Replay, attempt: 1, done: recording });
    let ran = |content: &str| {
        let extras = serde_json::from_value(json!({"command": "echo 1", "metadata": {"exit_code": 0}})).unwrap();
        Box::new(Observation { content: content.to_owned(), extras: Extras::Run(extras) })
    };
    loop {
        let command = match scenario.session.next_effect() {
            Some(Effect::ReadLine { from }) => {
                script.line_from(from).map_or(Command::EndRecording, |line| Command::Perform { line: Box::new(line.clone()) })
            }
            Some(Effect::Execute { action, .. }) => Command::Observe { action, observation: ran(text), recorded: Some(ran("1")) },
            other => {
                assert_eq!(other, None);
                break;
            }
        };
        scenario = scenario.given(command);
    }
    scenario
        .given(Command::Close { reason: "seen enough".to_owned() })
        .given(Command::Released { step: StartStep::Runtime, attempt: 1 })
}

#[test]
fn a_lifecycle_tells_every_step_with_its_tries_its_outcome_and_its_duration() {
    let life = Lifecycle::default().fold(&replayed("1").log);
    let runtime = life.start.iter().find(|step| step.step == StartStep::Runtime).unwrap();
    assert_eq!((runtime.attempts, runtime.micros), (2, Some(1)));
    assert!(matches!(&runtime.outcome, StepEnd::Done { report } if report.0["runtime"] == "fake"));
    let skipped = life.start.iter().filter(|step| matches!(step.outcome, StepEnd::Skipped { .. })).count();
    assert_eq!(skipped, 7, "what was not needed says so");
    assert_eq!(life.owners.iter().map(|owner| owner.epoch.0).collect::<Vec<_>>(), [1, 2]);
    let replay = life.replay.unwrap();
    assert_eq!((replay.outcome, replay.verdicts.same), (Some(ReplayOutcome::Completed), 1));
    assert_eq!(life.close.iter().map(|step| step.step).collect::<Vec<_>>(), [StartStep::Runtime]);
    assert_eq!(life.close_reason.as_deref(), Some("seen enough"));
    assert!(life.created_at < life.started_at && life.started_at < life.closed_at);
}

#[test]
fn a_transcript_puts_each_outcome_and_its_verdict_beside_its_action() {
    let transcript = Transcript::default().fold(&replayed("2").log);
    let said: Vec<&Said> = transcript.entries.iter().map(|entry| &entry.said).collect();
    assert!(said.iter().any(|said| matches!(said, Said::Message { text } if text == "please count")));
    let Some(Said::Action { what, outcome, verdict, .. }) =
        said.iter().find(|said| matches!(said, Said::Action { tag, .. } if tag == "run"))
    else {
        panic!("the command is there")
    };
    assert_eq!((what.as_str(), outcome.as_ref().unwrap().exit_code), ("echo 1", Some(0)));
    assert!(matches!(verdict, Some(Verdict::Diverged { .. })));
}

#[test]
fn an_observation_stands_beside_the_action_that_it_answers_also_in_an_imported_session() {
    let spec = Scenario::spec(Origin::Import { format: "openhands-v0".to_owned(), source: rekindle::session::Digest::ZERO });
    let scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    let mut log = scenario.log;
    for text in ITEMS {
        let item = rekindle::session::Item::decode(text).unwrap();
        let mut event = log.last().unwrap().clone();
        event.seq = event.seq.next();
        event.kind = item.content.kind();
        event.source = item.source.unwrap();
        event.body = rekindle::session::Body::Json(text.to_owned());
        log.push(event);
    }
    let transcript = Transcript::default().fold(&log);
    let answered = transcript
        .entries
        .iter()
        .any(|entry| matches!(&entry.said, Said::Action { outcome: Some(outcome), .. } if outcome.text == "1"));
    assert!(answered);
}

#[test]
fn usage_counts_tokens_money_and_actions_by_kind() {
    let usage = Usage::default().fold(&replayed("1").log);
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cost_usd), (10, 2, Some(0.25)));
    assert_eq!((usage.actions["run"], usage.actions["message"], usage.models.as_slice()), (1, 1, &["m".to_owned()][..]));
}

#[test]
fn the_directory_row_is_the_fold_of_the_log() {
    let scenario = replayed("1");
    let mut session = Session::default();
    for event in &scenario.log {
        session.apply(event);
    }
    let row = directory(&session);
    assert_eq!((row.phase.as_str(), row.due, row.origin.as_str()), ("closed", false, "replay"));
    assert_eq!((row.title.as_deref(), row.messages, row.actions), (Some("please count"), 1, 3));
    assert_eq!((row.tokens, row.cost_micro_usd), (12, Some(250_000)));
}
