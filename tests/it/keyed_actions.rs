//! A runtime that remembers what it was handed is asked after a crash; any other is never handed a command twice.

use rekindle::session::action::EffectClass;
use rekindle::session::decide::OUTCOME_UNKNOWN;
use rekindle::session::{
    Command, Effect, Item, Launcher, Observation, Origin, Recorded, Report, RuntimeSpec, SessionSpec, StartStep, StepDone,
};
use rekindle::testing::Scenario;

fn runtime_is_there(attempt: u32) -> Command {
    Command::StepDone { step: StartStep::Runtime, attempt, done: StepDone::Report(Report::default()) }
}

/// A session in this runtime, which is at this action when its engine dies, and what the next owner decides.
fn crashed_at(runtime: RuntimeSpec, action: &str) -> (Scenario, Vec<Recorded>) {
    let spec = SessionSpec { runtime, ..SessionSpec::new(Origin::fresh(None), "/tmp/none") };
    let mut scenario = Scenario::new()
        .given(Command::Create { spec: Box::new(spec), node: Scenario::node() })
        .given(runtime_is_there(1))
        .given(Command::Act { actions: vec![Item::decode(action).unwrap()] });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Execute { attempt: 1, .. })));
    let decided = scenario.crash_and_acquire().unwrap();
    (scenario, decided)
}

fn remote() -> RuntimeSpec {
    RuntimeSpec::Remote { url: "http://there".to_owned(), key: None }
}

fn is_unknown(event: &Recorded) -> bool {
    event.body.as_json().contains(OUTCOME_UNKNOWN)
}

const RUN: &str = r#"{"action": "run", "args": {"command": "make"}}"#;
const EDIT: &str = r#"{"action": "edit", "args": {"path": "/workspace/a", "command": "create", "file_text": "x"}}"#;
const TOOL: &str = r#"{"action": "call_tool_mcp", "args": {"name": "pay", "arguments": {}}}"#;

#[test]
fn a_runtime_that_remembers_is_asked_for_the_outcome_once_it_is_reached_again() {
    let launched = RuntimeSpec::Command(Launcher { command: vec!["x".to_owned()], stop: vec![], image: None, url: None });
    for runtime in [remote(), launched] {
        for action in [RUN, EDIT] {
            let (mut scenario, decided) = crashed_at(runtime.clone(), action);
            assert!(!decided.iter().any(is_unknown));
            let open = scenario.session.open[0].clone();
            assert_eq!(open.class, EffectClass::Keyed);
            // First the runtime, then the question.
            assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, .. })));
            scenario.when(runtime_is_there(2)).unwrap();
            assert_eq!(scenario.session.next_effect(), Some(Effect::Execute { action: open.seq, attempt: 2 }));
            let observation = Box::new(Observation::error("made", ""));
            scenario.when(Command::Observe { action: open.seq, observation, recorded: None }).unwrap();
            assert!(scenario.session.open.is_empty());
        }
    }
}

#[test]
fn what_the_runtime_does_not_know_any_more_stays_unknown() {
    let (mut scenario, _) = crashed_at(remote(), RUN);
    scenario.when(runtime_is_there(2)).unwrap();
    let decided = scenario.when(Command::LoseRuntime { error: "it was started anew".to_owned() }).unwrap();
    assert!(decided.iter().any(is_unknown));
    assert!(scenario.session.open.is_empty());
}

#[test]
fn closing_does_not_wait_for_what_a_former_owner_was_at() {
    let (mut scenario, _) = crashed_at(remote(), RUN);
    let decided = scenario.when(Command::Close { reason: "enough".to_owned() }).unwrap();
    assert!(decided.iter().any(is_unknown));
}

#[test]
fn what_runs_here_or_in_a_tool_of_a_server_is_never_asked_for_and_never_repeated() {
    for (runtime, action) in [(RuntimeSpec::default(), RUN), (RuntimeSpec::default(), EDIT), (remote(), TOOL)] {
        let (scenario, decided) = crashed_at(runtime, action);
        assert!(decided.iter().any(is_unknown), "{action}");
        assert!(scenario.session.open.is_empty());
    }
}
