//! The pure core: given events, when a command, then events. No store, no clock, no world.

use rekindle::session::replay::{ReplayOutcome, Step};
use rekindle::session::{
    AgentState, Command, Effect, Extras, Observation, OnDivergence, OnUnknown, Origin, Phase, Rejection, Report, Seq, StartStep,
    StepDone,
};
use rekindle::testing::Scenario;

const RUN: &str = r#"{"id":3,"source":"agent","action":"run","args":{"command":"echo hi"}}"#;
const RAN: &str = r#"{"id":4,"source":"agent","cause":3,"observation":"run","content":"hi","extras":{"command":"echo hi","metadata":{"exit_code":0}}}"#;
const READ: &str = r#"{"id":5,"source":"agent","action":"read","args":{"path":"/workspace/a"}}"#;
const HELLO: &str = r#"{"id":0,"source":"user","action":"message","args":{"content":"hello\nthere"}}"#;
const FINISH: &str = r#"{"id":9,"source":"agent","action":"finish","args":{}}"#;

fn create(origin: Origin) -> Command {
    Command::Create { spec: Box::new(Scenario::spec(origin)), node: Scenario::node() }
}

fn done(step: StartStep, attempt: u32) -> Command {
    Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) }
}

fn fresh() -> Scenario {
    Scenario::new().given(create(Origin::fresh(Some("fix the test".to_owned())))).given(done(StartStep::Runtime, 1))
}

fn replaying(items: &[&str], on_divergence: OnDivergence) -> Scenario {
    let plan = Scenario::script(items).plan().clone();
    Scenario::new()
        .given(create(Scenario::replay(on_divergence, OnUnknown::StepOver)))
        .given(done(StartStep::Runtime, 1))
        .given(Command::StepDone { step: StartStep::Replay, attempt: 1, done: StepDone::Recording(plan) })
}

/// Performs lines until the world owes something else than a line.
fn perform(mut scenario: Scenario, items: &[&str]) -> Scenario {
    let script = Scenario::script(items);
    while let Some(Effect::ReadLine { from }) = scenario.session.next_effect() {
        let command = match script.line_from(from) {
            Some(line) => Command::Perform { line: Box::new(line.clone()) },
            None => Command::EndRecording,
        };
        scenario = scenario.given(command);
    }
    scenario
}

fn observe(action: Seq, text: &str, recorded: Option<&str>) -> Command {
    let run = |content: &str| Observation {
        content: content.to_owned(),
        extras: Extras::Run(serde_json::from_str(r#"{"command":"echo hi","metadata":{"exit_code":0}}"#).unwrap()),
    };
    Command::Observe { action, observation: Box::new(run(text)), recorded: recorded.map(|text| Box::new(run(text))) }
}

fn act(item: &str) -> Command {
    Command::Act { actions: vec![rekindle::session::Item::decode(item).unwrap()] }
}

#[test]
fn a_start_takes_its_steps_in_order_and_says_which_were_not_needed() {
    let mut scenario = Scenario::new();
    let kinds = scenario.kinds(create(Origin::fresh(None))).unwrap();
    assert_eq!(
        kinds,
        ["session.created", "session.owner_acquired", "start.planned", "start.step_finished", "start.step_started"]
    );
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 1, .. })));
    let scenario = scenario.given(done(StartStep::Runtime, 1));
    assert_eq!(scenario.session.phase, Phase::Ready);
    assert_eq!(scenario.session.agent, AgentState::AwaitingUserInput);
    assert_eq!(scenario.session.next_effect(), None);
}

#[test]
fn a_session_is_created_once() {
    let mut scenario = fresh();
    assert_eq!(scenario.when(create(Origin::fresh(None))).unwrap_err(), Rejection::Exists);
}

#[test]
fn a_failed_step_fails_the_start_and_resuming_takes_the_steps_again() {
    let mut scenario = Scenario::new().given(create(Origin::fresh(None)));
    scenario.when(Command::StepFailed { step: StartStep::Runtime, attempt: 1, error: "no room".to_owned() }).unwrap();
    assert_eq!(scenario.session.phase, Phase::StartFailed { step: StartStep::Runtime, error: "no room".to_owned() });
    assert_eq!(scenario.session.next_effect(), None);
    scenario.crash_and_acquire().unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 2, .. })));
}

#[test]
fn a_start_that_goes_on_after_a_crash_first_makes_again_what_went_with_its_owner() {
    let taken = |scenario: &Scenario| match scenario.session.next_effect() {
        Some(Effect::TakeStep { step, attempt, .. }) => (step, attempt),
        other => panic!("no step: {other:?}"),
    };
    let create = Command::Create { spec: Box::new(Scenario::agent_spec()), node: Scenario::node() };
    let mut scenario = Scenario::new().given(create).given(done(StartStep::Runtime, 1));
    assert_eq!(taken(&scenario), (StartStep::SetupScript, 1));
    scenario.crash_and_acquire().unwrap();
    assert_eq!(taken(&scenario), (StartStep::Runtime, 2));
    // Its owner may go again meanwhile.
    scenario.crash_and_acquire().unwrap();
    assert_eq!(taken(&scenario), (StartStep::Runtime, 3));
    let mut scenario = scenario.given(done(StartStep::Runtime, 3));
    assert_eq!(taken(&scenario), (StartStep::SetupScript, 2));
    // One that cannot be made again fails the start, which gives back what there is.
    scenario.crash_and_acquire().unwrap();
    scenario.when(Command::StepFailed { step: StartStep::Runtime, attempt: 4, error: "no room".to_owned() }).unwrap();
    assert_eq!(scenario.session.phase, Phase::StartFailed { step: StartStep::Runtime, error: "no room".to_owned() });
    assert_eq!(scenario.session.next_effect(), None);
}

#[test]
fn a_failed_start_releases_what_was_reached() {
    let mut scenario =
        Scenario::new().given(create(Scenario::replay(OnDivergence::Stop, OnUnknown::Stop))).given(done(StartStep::Runtime, 1));
    scenario.when(Command::StepFailed { step: StartStep::Replay, attempt: 1, error: "unreadable".to_owned() }).unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Release { step: StartStep::Runtime, .. })));
    scenario.when(Command::Released { step: StartStep::Runtime, attempt: 1 }).unwrap();
    assert_eq!(scenario.session.next_effect(), None);
    assert!(matches!(scenario.session.phase, Phase::StartFailed { step: StartStep::Replay, .. }));
}

#[test]
fn closing_while_starting_releases_what_was_reached() {
    let mut scenario = Scenario::new().given(create(Origin::fresh(None)));
    let kinds = scenario.kinds(Command::Close { reason: "changed my mind".to_owned() }).unwrap();
    assert_eq!(kinds, ["session.close_requested", "close.step_started"]);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Release { step: StartStep::Runtime, .. })));
    let kinds = scenario.kinds(Command::Released { step: StartStep::Runtime, attempt: 1 }).unwrap();
    assert_eq!(kinds, ["close.step_finished", "turn.state_changed", "turn.ended", "session.closed"]);
}

#[test]
fn closing_twice_is_closing_once() {
    let mut scenario = fresh().given(Command::Close { reason: "done".to_owned() });
    assert_eq!(scenario.kinds(Command::Close { reason: "again".to_owned() }).unwrap(), Vec::<String>::new());
    scenario.when(Command::Released { step: StartStep::Runtime, attempt: 1 }).unwrap();
    assert_eq!(scenario.kinds(Command::Close { reason: "again".to_owned() }).unwrap(), Vec::<String>::new());
    assert_eq!(scenario.session.phase, Phase::Closed { reason: "done".to_owned() });
}

#[test]
fn what_cannot_be_released_is_given_up_and_named() {
    let mut scenario = fresh().given(Command::Close { reason: "done".to_owned() });
    let failed = Command::ReleaseFailed { step: StartStep::Runtime, attempt: 1, error: "it hangs".to_owned() };
    let events = scenario.when(failed).unwrap();
    assert!(events.last().unwrap().body.as_json().contains(r#""unreleased":["runtime"]"#));
}

#[test]
fn a_crash_during_close_finishes_the_close() {
    let mut scenario = fresh().given(Command::Close { reason: "done".to_owned() });
    scenario.crash_and_acquire().unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Release { step: StartStep::Runtime, .. })));
    scenario.when(Command::Released { step: StartStep::Runtime, attempt: 1 }).unwrap();
    assert!(matches!(scenario.session.phase, Phase::Closed { .. }));
}

#[test]
fn closing_a_session_whose_engine_died_makes_no_new_runtime_and_runs_nothing_again() {
    let mut scenario = fresh().given(act(READ));
    let proof = rekindle::session::Proof { events: 0, snapshot: None, digest: scenario.session.digest() };
    let close = Command::Close { reason: "enough".to_owned() };
    let acquire = Command::Acquire { node: Scenario::node(), reason: "gone".to_owned(), proof, then: Some(Box::new(close)) };
    let kinds = scenario.kinds(acquire).unwrap();
    let expected =
        ["session.owner_acquired", "session.restored", "session.close_requested", "observation.error", "close.step_started"];
    assert_eq!(kinds, expected);
}

#[test]
fn an_action_is_in_the_log_before_it_runs_and_has_one_outcome() {
    let mut scenario = fresh();
    let kinds = scenario.kinds(act(RUN)).unwrap();
    assert_eq!(kinds, ["action.run", "action.dispatched"]);
    let action = scenario.session.in_flight().unwrap().seq;
    assert_eq!(scenario.session.next_effect(), Some(Effect::Execute { action, attempt: 1 }));
    assert_eq!(scenario.kinds(observe(action, "hi", None)).unwrap(), ["observation.run"]);
    assert_eq!(scenario.session.next_effect(), None);
    assert!(matches!(scenario.when(observe(action, "hi", None)), Err(Rejection::Stale(_))), "a second outcome is refused");
}

#[test]
fn several_actions_run_one_after_the_other() {
    let items = [RUN, READ].map(|item| rekindle::session::Item::decode(item).unwrap());
    let mut scenario = fresh();
    let kinds = scenario.kinds(Command::Act { actions: items.to_vec() }).unwrap();
    assert_eq!(kinds, ["action.run", "action.read", "action.dispatched"]);
    let first = scenario.session.in_flight().unwrap().seq;
    assert_eq!(scenario.kinds(observe(first, "hi", None)).unwrap(), ["observation.run", "action.dispatched"]);
    assert_eq!(scenario.session.in_flight().unwrap().seq, first.next());
}

#[test]
fn an_unsafe_action_that_may_have_run_is_not_repeated_and_its_outcome_is_said_to_be_unknown() {
    let mut scenario = fresh().given(act(RUN));
    let action = scenario.session.in_flight().unwrap().seq;
    let events = scenario.crash_and_acquire().unwrap();
    let outcome = events.iter().find(|event| event.cause == Some(action)).unwrap();
    assert_eq!(outcome.kind.as_str(), "observation.error");
    assert!(outcome.body.as_json().contains("outcome is unknown"));
    assert!(scenario.session.open.is_empty());
}

#[test]
fn a_pure_action_that_may_have_run_runs_again_once_there_is_a_runtime() {
    let mut scenario = fresh().given(act(READ));
    let action = scenario.session.in_flight().unwrap().seq;
    scenario.crash_and_acquire().unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 2, .. })));
    scenario.when(done(StartStep::Runtime, 2)).unwrap();
    assert_eq!(scenario.session.next_effect(), Some(Effect::Execute { action, attempt: 2 }));
}

#[test]
fn a_queued_action_that_was_never_handed_out_survives_a_crash_and_runs_once() {
    let items = [RUN, READ].map(|item| rekindle::session::Item::decode(item).unwrap());
    let mut scenario = fresh().given(Command::Act { actions: items.to_vec() });
    let queued = scenario.session.open.last().unwrap().seq;
    scenario.crash_and_acquire().unwrap();
    scenario.when(done(StartStep::Runtime, 2)).unwrap();
    assert_eq!(scenario.session.next_effect(), Some(Effect::Execute { action: queued, attempt: 1 }));
}

#[test]
fn closing_gives_every_open_action_an_outcome() {
    let items = [RUN, READ].map(|item| rekindle::session::Item::decode(item).unwrap());
    let mut scenario = fresh().given(Command::Act { actions: items.to_vec() });
    let kinds = scenario.kinds(Command::Close { reason: "stop".to_owned() }).unwrap();
    assert_eq!(kinds.iter().filter(|kind| *kind == "observation.error").count(), 2);
    assert!(scenario.session.open.is_empty());
}

#[test]
fn a_lost_runtime_leaves_an_unknown_outcome_and_is_made_again() {
    let mut scenario = fresh().given(act(RUN));
    let kinds = scenario.kinds(Command::LoseRuntime { error: "it vanished".to_owned() }).unwrap();
    assert_eq!(kinds, ["start.step_failed", "observation.error", "start.step_started"]);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 2, .. })));
}

#[test]
fn a_runtime_that_cannot_be_made_again_is_said_and_tried_on_the_next_resume() {
    let mut scenario = fresh().given(act(RUN)).given(Command::LoseRuntime { error: "gone".to_owned() });
    scenario.when(Command::StepFailed { step: StartStep::Runtime, attempt: 2, error: "no room".to_owned() }).unwrap();
    assert_eq!((scenario.session.agent, scenario.session.next_effect()), (AgentState::Error, None));
    scenario.crash_and_acquire().unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 3, .. })));
}

#[test]
fn a_replay_performs_messages_and_actions_in_order_and_ends_finished() {
    let items = [HELLO, RUN, RAN, FINISH];
    let scenario = perform(replaying(&items, OnDivergence::Stop), &items);
    let action = scenario.session.in_flight().unwrap().seq;
    let scenario = perform(scenario.given(observe(action, "hi", Some("hi"))), &items);
    let replay = scenario.session.replay.as_ref().unwrap();
    assert_eq!(replay.outcome, Some(ReplayOutcome::Completed));
    assert_eq!((replay.performed, replay.verdicts.same, replay.verdicts.diverged), (3, 1, 0));
    assert_eq!(scenario.session.agent, AgentState::Finished);
    assert_eq!(scenario.session.title.as_deref(), Some("hello"));
}

#[test]
fn a_divergence_ends_a_replay_that_stops_at_one_and_not_another() {
    let items = [HELLO, RUN, RAN, FINISH];
    for (policy, agent) in [(OnDivergence::Stop, AgentState::Stopped), (OnDivergence::Continue, AgentState::Finished)] {
        let scenario = perform(replaying(&items, policy), &items);
        let action = scenario.session.in_flight().unwrap().seq;
        let scenario = perform(scenario.given(observe(action, "other", Some("hi"))), &items);
        assert_eq!(scenario.session.replay.as_ref().unwrap().verdicts.diverged, 1);
        assert_eq!(scenario.session.agent, agent);
    }
}

#[test]
fn a_recording_that_ends_with_a_question_leaves_the_session_waiting_for_the_user() {
    let question = r#"{"source":"agent","action":"message","args":{"content":"which one?","wait_for_response":true}}"#;
    let items = [HELLO, question, HELLO, question];
    let scenario = perform(replaying(&items, OnDivergence::Stop), &items);
    assert_eq!(scenario.session.agent, AgentState::AwaitingUserInput);
    assert_eq!(scenario.session.counts.messages, 4);
    assert_eq!(scenario.session.replay.unwrap().outcome, Some(ReplayOutcome::Completed));
}

#[test]
fn what_a_recording_holds_beside_the_agents_own_doing_is_stepped_over_and_named() {
    let items = [
        r#"{"source":"environment","observation":"agent_state_changed","content":"","extras":{"agent_state":"loading"}}"#,
        r#"{"source":"agent","action":"system","args":{"content":"be good"}}"#,
        HELLO,
        r#"{"id":2,"source":"user","action":"recall","args":{"recall_type":"workspace_context","query":"hello"}}"#,
        r#"{"cause":2,"source":"environment","observation":"recall","content":"","extras":{"recall_type":"workspace_context"}}"#,
        r#"{"source":"user","action":"change_agent_state","args":{"agent_state":"stopped"}}"#,
        r#"{"source":"agent","action":"condensation","args":{"forgotten_event_ids":[1]}}"#,
        r#"{"source":"agent","action":"teleport","args":{"where":"home"}}"#,
        FINISH,
    ];
    let script = Scenario::script(&items);
    let plan = script.plan();
    assert_eq!((plan.entries, plan.messages, plan.actions), (9, 1, 1));
    let named: Vec<_> = plan.stepped_over.iter().map(|over| over.kind.as_str()).collect();
    assert_eq!(named, ["action.system", "action.recall", "action.change_agent_state", "action.condensation"]);
    assert_eq!(plan.unknown.iter().map(|unknown| unknown.index).collect::<Vec<_>>(), [7]);
    assert!(matches!(script.line_from(3).unwrap().step, Step::Unknown { .. }));
}

#[test]
fn an_unknown_entry_ends_a_replay_that_stops_at_one() {
    let items = [HELLO, r#"{"source":"agent","action":"teleport","args":{}}"#, FINISH];
    let plan = Scenario::script(&items).plan().clone();
    let scenario = Scenario::new()
        .given(create(Scenario::replay(OnDivergence::Stop, OnUnknown::Stop)))
        .given(done(StartStep::Runtime, 1))
        .given(Command::StepDone { step: StartStep::Replay, attempt: 1, done: StepDone::Recording(plan) });
    let scenario = perform(scenario, &items);
    assert!(matches!(&scenario.session.replay.as_ref().unwrap().outcome, Some(ReplayOutcome::Stopped { index: 1, .. })));
    assert!(scenario.session.agent_reason.contains("action.teleport"));
}

#[test]
fn a_crash_in_a_replay_leaves_one_unknown_outcome_and_goes_on_behind_it() {
    let items = [HELLO, RUN, RAN, FINISH];
    let mut scenario = perform(replaying(&items, OnDivergence::Stop), &items);
    scenario.crash_and_acquire().unwrap();
    let scenario = perform(scenario.given(done(StartStep::Runtime, 2)), &items);
    let replay = scenario.session.replay.as_ref().unwrap();
    assert_eq!((replay.verdicts.unknown, replay.outcome.clone()), (1, Some(ReplayOutcome::Completed)));
    assert_eq!(scenario.session.agent, AgentState::Finished);
}

#[test]
fn an_action_that_a_person_refused_is_not_executed() {
    let refused = r#"{"source":"agent","action":"run","args":{"command":"rm -rf /","confirmation_state":"rejected"}}"#;
    let items = [HELLO, refused];
    let scenario = perform(replaying(&items, OnDivergence::Stop), &items);
    assert!(scenario.log.iter().any(|event| event.kind.as_str() == "observation.user_rejected"));
    assert!(!scenario.log.iter().any(|event| event.kind.as_str() == "action.dispatched"));
}

#[test]
fn an_event_that_must_be_understood_and_is_not_makes_the_session_read_only() {
    let mut scenario = fresh();
    let mut event = scenario.log.last().unwrap().clone();
    event.seq = event.seq.next();
    event.kind = rekindle::session::Kind::new("quota.frozen");
    scenario.session.apply(&event);
    assert_eq!(scenario.session.not_understood, None, "an unknown kind that need not be understood is passed over");
    event.seq = event.seq.next();
    event.must_understand = true;
    scenario.session.apply(&event);
    assert_eq!(scenario.when(act(RUN)).unwrap_err(), Rejection::NotUnderstood(event.seq));
    assert_eq!(scenario.session.next_effect(), None);
}

#[test]
fn a_known_event_of_a_later_version_is_not_guessed_at() {
    let mut scenario = fresh();
    let mut event = scenario.log.iter().find(|event| event.kind.as_str() == "session.created").unwrap().clone();
    event.seq = scenario.session.version.next();
    event.v = 2;
    scenario.session.apply(&event);
    assert_eq!(scenario.when(act(RUN)).unwrap_err(), Rejection::NotUnderstood(event.seq));
}
