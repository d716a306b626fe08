//! What V0's own tests expect of its controller, held against this one: `test_agent_controller.py`, `test_agent_delegation.py`,
//! `test_agent_history.py`, `test_is_stuck.py`, `test_iteration_limit.py`, `test_traffic_control.py`, `test_control_flags.py`.
//!
//! Each test bears the name of a behaviour. Where this behaves otherwise on purpose, the test says in what and why. What is tested
//! elsewhere stands in `acceptance_table.rs`.

use std::time::Duration;

use rekindle::session::model::{ModelErrorClass, ModelFailure};
use rekindle::session::{
    Action, AgentState, Command, Content, Effect, Event, Extras, Interaction, Limits, Observation, Phase, Recorded, Recovery,
    Rejection, Report, Seq, SessionSpec, StartStep, StepDone, Timestamp,
};
use rekindle::testing::Scenario;

use crate::scenario_support::{observed, request};

const LS: &str = r#"{"action":"run","args":{"command":"ls"}}"#;
const FINISH: &str = r#"{"action":"finish","args":{"final_thought":"done"}}"#;

fn created(spec: SessionSpec) -> Scenario {
    Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() })
}

fn step_done(scenario: Scenario) -> Scenario {
    let Some(Effect::TakeStep { step, attempt, .. }) = scenario.session.next_effect() else { panic!("a step is under way") };
    scenario.given(Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) })
}

fn started(spec: SessionSpec) -> Scenario {
    let mut scenario = created(spec);
    while matches!(scenario.session.phase, Phase::Starting(_)) {
        scenario = step_done(scenario);
    }
    recalled(scenario)
}

fn recalled(scenario: Scenario) -> Scenario {
    observed(scenario, Observation { content: String::new(), extras: Extras::Null })
}

fn ran(text: &str, exit_code: i64) -> Observation {
    let run = serde_json::from_value(serde_json::json!({"command": "ls", "metadata": {"exit_code": exit_code}})).unwrap();
    Observation { content: text.to_owned(), extras: Extras::Run(run) }
}

fn decided(scenario: Scenario, actions: &[&str]) -> Scenario {
    let request = request(&scenario);
    scenario.given(Command::Decide { request, decision: Box::new(Scenario::decision(actions)) })
}

fn failed(scenario: Scenario, class: ModelErrorClass, message: &str) -> Scenario {
    let request = request(&scenario);
    scenario.given(Command::FailModel { request, failure: Scenario::failure(class, message), forget: Vec::new() })
}

fn refused(scenario: Scenario, retry_after: Option<Duration>) -> Scenario {
    let request = request(&scenario);
    let failure = *Scenario::failure(ModelErrorClass::RateLimit, "too many calls");
    let failure = Box::new(ModelFailure { retry_after, ..failure });
    scenario.given(Command::FailModel { request, failure, forget: Vec::new() })
}

fn count(log: &[Recorded], kind: &str) -> usize {
    log.iter().filter(|event| event.kind.as_str() == kind).count()
}

fn body(event: &Recorded) -> serde_json::Value {
    serde_json::from_str(event.body.as_json()).unwrap()
}

fn last<'a>(scenario: &'a Scenario, kind: &str) -> &'a Recorded {
    scenario.log.iter().rev().find(|event| event.kind.as_str() == kind).unwrap()
}

fn limited(iterations: u64, interaction: Interaction) -> SessionSpec {
    SessionSpec { limits: Limits { iterations, budget_micro_usd: None }, interaction, ..Scenario::agent_spec() }
}

// Controller.

#[test]
fn a_message_of_the_user_sets_the_agent_running_from_every_state_in_which_it_rests() {
    let rests: [fn(Scenario) -> Scenario; 6] = [
        |scenario| decided(scenario, &[FINISH]),
        |scenario| decided(scenario, &[r#"{"action":"reject","args":{}}"#]),
        |scenario| failed(scenario, ModelErrorClass::Internal, "no"),
        |scenario| refused(scenario, None),
        |scenario| scenario.given(Command::Stop { reason: "enough".to_owned() }),
        |scenario| decided(scenario, &[r#"{"action":"message","args":{"content":"?","wait_for_response":true}}"#]),
    ];
    for rest in rests {
        let scenario = rest(started(Scenario::agent_spec()));
        assert_ne!(scenario.session.agent, AgentState::Running);
        let scenario = recalled(scenario.given(Command::Say { content: "go on".to_owned() }));
        assert_eq!(scenario.session.agent, AgentState::Running);
        assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
    }
}

#[test]
fn no_state_is_set_that_is_set_already() {
    let scenario = started(Scenario::agent_spec()).given(Command::Pause);
    let events = scenario.log.len();
    assert_eq!(scenario.given(Command::Pause).log.len(), events);
}

/// V0 asks its agent again after an error of its own, three times, and then calls it a loop. Here what can be tried again has been by
/// then, and a person can let it go on: the first error that stays ends the run.
#[test]
fn a_fatal_error_of_the_agent_is_one_error_and_ends_the_run() {
    let scenario = failed(started(Scenario::agent_spec()), ModelErrorClass::Internal, "the model fell over");
    assert_eq!((scenario.session.agent, scenario.session.iterations), (AgentState::Error, 1));
    assert_eq!(count(&scenario.log, "model.failed"), 1);
    assert!(scenario.session.agent_reason.contains("the model fell over"));
    assert_eq!(scenario.session.next_effect(), None);
}

#[test]
fn an_action_that_fails_the_same_three_times_is_a_loop() {
    let mut scenario = started(Scenario::agent_spec());
    for _ in 0..3 {
        scenario = observed(decided(scenario, &[LS]), Observation::error("no such file", ""));
    }
    assert_eq!((scenario.session.agent, scenario.session.iterations), (AgentState::Error, 3));
    assert!(scenario.session.agent_reason.starts_with("AgentStuckInLoopError: Agent got stuck in a loop"));
    let states = scenario.log.iter().filter(|event| event.kind.as_str() == "turn.state_changed");
    assert_eq!(states.count(), 2, "running, and error last");
}

/// V0 0.42 has a state of traffic control beside the agent's: throttling, then paused, then one free pass. Here a limit that is reached
/// ends in an error, as there, and who lets the agent go on raises the limit by what it was at first, as in 0.48.
#[test]
fn the_iteration_limit_ends_in_an_error_that_a_message_clears_for_a_person_and_never_headless() {
    for (interaction, goes_on) in [(Interaction::Interactive, true), (Interaction::Headless, false)] {
        let mut scenario = started(limited(2, interaction));
        for turn in 0..2 {
            scenario = observed(decided(scenario, &[&LS.replace("ls", &format!("ls {turn}"))]), ran("x", 0));
        }
        let mode = if goes_on { "" } else { " in headless mode" };
        assert_eq!(
            scenario.session.agent_reason,
            format!("RuntimeError: Agent reached maximum iteration{mode}. Current iteration: 2, max iteration: 2")
        );
        let scenario = recalled(scenario.given(Command::Say { content: "go on".to_owned() }));
        assert_eq!(scenario.session.agent == AgentState::Running, goes_on);
        assert_eq!(scenario.session.limits().iterations, if goes_on { 4 } else { 2 });
    }
}

/// V0 0.42 sets the limit to `iteration + initial` at every message, reached or not (90 → 190, 180 → 280). Since 0.44, and here, only a
/// limit that was reached is raised: a limit that moves away with each message limits nothing.
#[test]
fn a_message_before_the_limit_is_reached_does_not_move_it() {
    let scenario = decided(started(limited(100, Interaction::Interactive)), &[FINISH]);
    let scenario = scenario.given(Command::Say { content: "and now this".to_owned() });
    assert_eq!(scenario.session.limits().iterations, 100);
}

#[test]
fn limits_are_told_with_whole_iterations_and_two_decimals_of_money() {
    let limits = Limits { iterations: 100, budget_micro_usd: Some(10_000) };
    let scenario = observed(decided(started(SessionSpec { limits, ..Scenario::agent_spec() }), &[LS]), ran("x", 0));
    assert_eq!(
        scenario.session.agent_reason,
        "RuntimeError: Agent reached maximum budget in headless mode. Current budget: 0.01, max budget: 0.01"
    );
}

#[test]
fn limits_are_folds_that_a_restart_does_not_reset_and_a_resume_can_raise() {
    let mut scenario = observed(decided(started(limited(2, Interaction::Headless)), &[LS]), ran("x", 0));
    assert_eq!(scenario.session.iterations, 2, "it is asked for the second time");
    scenario.crash_and_acquire().unwrap();
    let scenario = step_done(scenario);
    let scenario = observed(decided(scenario, &[&LS.replace("ls", "ls 2")]), ran("y", 0));
    assert_eq!((scenario.session.agent, scenario.session.iterations), (AgentState::Error, 2));
    let limits = Some(Limits { iterations: 3, budget_micro_usd: None });
    let scenario = scenario.given(Command::Continue { limits });
    assert_eq!((scenario.session.agent, scenario.session.iterations), (AgentState::Running, 3));
}

#[test]
fn a_limit_that_is_not_reached_stays_where_it_is_when_the_agent_goes_on() {
    let scenario = started(limited(10, Interaction::Headless)).given(Command::Pause).given(Command::Continue { limits: None });
    assert_eq!((scenario.session.limits().iterations, count(&scenario.log, "session.limits_changed")), (10, 0));
}

#[test]
fn an_action_that_was_not_executed_gets_one_error_that_answers_it() {
    // With a command that runs and one that waits.
    let scenario = decided(started(Scenario::agent_spec()), &[LS, LS]).given(Command::Stop { reason: "enough".to_owned() });
    let actions: Vec<Seq> =
        scenario.log.iter().filter(|event| event.kind.as_str() == "action.run").map(|event| event.seq).collect();
    for action in &actions {
        let outcomes: Vec<_> =
            scenario.log.iter().filter(|event| event.cause == Some(*action) && event.kind.family() == "observation").collect();
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].kind.as_str(), "observation.error");
    }
    let waited = scenario.log.iter().find(|event| event.cause == Some(actions[1])).unwrap();
    assert_eq!(body(waited)["extras"]["error_id"], "AGENT_ERROR$ERROR_ACTION_NOT_EXECUTED");
    assert!(scenario.session.open.is_empty());
}

#[test]
fn stopping_when_nothing_is_open_tells_the_agent_of_no_action() {
    let scenario = observed(decided(started(Scenario::agent_spec()), &[LS]), ran("x", 0));
    let scenario = scenario.given(Command::Stop { reason: "enough".to_owned() });
    assert_eq!(count(&scenario.log, "observation.error"), 0);
}

#[test]
fn what_was_used_is_known_when_a_limit_ended_the_run() {
    let mut scenario = started(limited(3, Interaction::Headless));
    for turn in 0..3 {
        scenario = observed(decided(scenario, &[&LS.replace("ls", &format!("ls {turn}"))]), ran("x", 0));
    }
    assert_eq!(scenario.session.usage.cost_micro_usd, Some(30_000));
    let metrics = &body(last(&scenario, "action.run"))["llm_metrics"];
    assert_eq!(metrics["accumulated_cost"], 0.03);
    assert_eq!(metrics["accumulated_token_usage"]["prompt_tokens"], 21);
    assert_eq!((&metrics["costs"], &metrics["token_usages"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn with_condensing_turned_off_a_history_that_is_too_long_ends_in_an_error() {
    let mut spec = Scenario::agent_spec();
    spec.agent.as_mut().unwrap().config.condense = rekindle::session::Condenser::None;
    let scenario = failed(started(spec), ModelErrorClass::ContextWindow, "the prompt is too long");
    assert_eq!(scenario.session.agent, AgentState::Error);
    assert!(scenario.session.agent_reason.starts_with("LLMContextWindowExceedError: "));
}

/// V0 ends the run when memory fails. Here the agent is told that nothing could be recalled, and does without.
#[test]
fn a_memory_that_fails_is_told_to_the_agent_and_ends_nothing() {
    let scenario = created(Scenario::agent_spec());
    let mut scenario = scenario;
    while matches!(scenario.session.phase, Phase::Starting(_)) {
        scenario = step_done(scenario);
    }
    let scenario = observed(scenario, Observation::error("Nothing could be recalled: a bad file", ""));
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
}

#[test]
fn the_first_message_asks_memory_for_the_workspace_and_the_same_words_again_do_not() {
    let scenario = decided(started(Scenario::agent_spec()), &[FINISH]);
    let scenario = scenario.given(Command::Say { content: "fix the test".to_owned() });
    let kinds: Vec<_> = scenario
        .log
        .iter()
        .filter(|event| event.kind.as_str() == "action.recall")
        .map(|event| body(event)["args"]["recall_type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["workspace_context", "knowledge"]);
}

/// In V0 an answer of memory to the event with id 0 is not seen. Here an outcome is found by its cause, whatever that is.
#[test]
fn an_answer_of_memory_that_holds_nothing_lets_the_agent_go_to_work() {
    let scenario = started(Scenario::agent_spec());
    assert_eq!(count(&scenario.log, "observation.null"), 1);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
}

/// V0 appends a system message with the whole prompt and catalogue. Here both are kept once by their digests, and said again only when
/// they change, which is what a resumed session of V0 gets wrong.
#[test]
fn the_agent_is_briefed_once_and_again_only_when_what_it_is_told_changes() {
    use rekindle::session::Digest;
    use rekindle::session::event::Briefed;
    let brief = |tools: &[u8]| {
        Command::Brief(Briefed {
            agent: "coder".into(),
            model: "m".into(),
            prompt: Digest::of(b"prompt"),
            tools: Digest::of(tools),
            names: vec!["bash".into()],
        })
    };
    let scenario = started(Scenario::agent_spec()).given(brief(b"one")).given(brief(b"one"));
    assert_eq!(count(&scenario.log, "model.briefed"), 1);
    let mut scenario = scenario;
    scenario.crash_and_acquire().unwrap();
    assert_eq!(count(&scenario.given(brief(b"two")).log, "model.briefed"), 2);
}

#[test]
fn a_status_is_told_by_v0s_id_beside_the_reason() {
    for (class, status) in [
        (ModelErrorClass::Authentication, "STATUS$ERROR_LLM_AUTHENTICATION"),
        (ModelErrorClass::Unavailable, "STATUS$ERROR_LLM_SERVICE_UNAVAILABLE"),
        (ModelErrorClass::Internal, "STATUS$ERROR_LLM_INTERNAL_SERVER_ERROR"),
        (ModelErrorClass::OutOfCredits, "STATUS$ERROR_LLM_OUT_OF_CREDITS"),
        (ModelErrorClass::ContentPolicy, "STATUS$ERROR_LLM_CONTENT_POLICY_VIOLATION"),
    ] {
        let scenario = failed(started(Scenario::agent_spec()), class, "no");
        assert_eq!(body(last(&scenario, "turn.state_changed"))["status"], status);
    }
}

#[test]
fn an_answer_that_holds_nothing_is_told_to_the_model_and_counts_as_a_call() {
    let mut scenario = started(Scenario::agent_spec());
    for calls in 1..4 {
        assert_eq!((scenario.session.agent, scenario.session.iterations), (AgentState::Running, calls));
        scenario = decided(scenario, if calls == 2 { &[] } else { &[r#"{"action":"null","args":{}}"#] });
        assert_eq!(body(last(&scenario, "observation.error"))["extras"]["error_id"], "AGENT_ERROR$BAD_ACTION");
    }
    let scenario = decided(scenario, &[]);
    assert_eq!(scenario.session.agent, AgentState::Error, "and four in a row are a loop");
}

// Rate limits.

#[test]
fn a_model_that_refuses_for_now_is_left_alone_as_long_as_it_asks_and_then_asked_again() {
    let scenario = refused(started(Scenario::agent_spec()), Some(Duration::from_secs(300)));
    assert_eq!(scenario.session.agent, AgentState::RateLimited);
    let Some(Effect::Wait { until }) = scenario.session.next_effect() else { panic!("it waits") };
    assert_eq!(until.since(scenario.session.at), Duration::from_secs(300));
    let mut scenario = scenario;
    assert!(matches!(scenario.when(Command::Wake { until: Timestamp(1) }), Err(Rejection::Stale(_))));
    let scenario = scenario.given(Command::Wake { until });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
    assert_eq!(scenario.session.until, None);
}

#[test]
fn waits_grow_and_end_with_a_person() {
    let mut scenario = started(Scenario::agent_spec());
    let mut waited = Vec::new();
    loop {
        scenario = refused(scenario, None);
        let Some(until) = scenario.session.until else { break };
        waited.push(until.since(scenario.session.at).as_secs() / 60);
        scenario = scenario.given(Command::Wake { until });
    }
    assert_eq!(waited, [1, 2, 4, 8, 15, 15, 15, 15]);
    assert_eq!((scenario.session.agent, scenario.session.wants_worker()), (AgentState::RateLimited, false));
    // An answer ends the row.
    let scenario = decided(scenario.given(Command::Continue { limits: None }), &[LS]);
    assert_eq!(scenario.session.waits, 0);
}

#[test]
fn a_wait_that_is_too_long_is_left_to_a_person() {
    let scenario = refused(started(Scenario::agent_spec()), Some(Duration::from_hours(7)));
    assert_eq!((scenario.session.agent, scenario.session.next_effect()), (AgentState::RateLimited, None));
}

#[test]
fn a_wait_survives_a_restart_and_ends_with_a_pause_a_stop_or_a_message() {
    let mut scenario = refused(started(Scenario::agent_spec()), Some(Duration::from_mins(30)));
    let until = scenario.session.until;
    scenario.crash_and_acquire().unwrap();
    let scenario = step_done(scenario);
    assert_eq!(scenario.session.until, until);
    for (command, state) in [
        (Command::Pause, AgentState::Paused),
        (Command::Stop { reason: "enough".to_owned() }, AgentState::Stopped),
        (Command::Say { content: "try now".to_owned() }, AgentState::Running),
        (Command::Close { reason: "enough".to_owned() }, AgentState::RateLimited),
    ] {
        let scenario = scenario.clone().given(command);
        assert_eq!(scenario.session.agent, state);
        assert!(!matches!(scenario.session.next_effect(), Some(Effect::Wait { .. })));
    }
}

// Stop and pause at any moment.

#[test]
fn a_session_that_is_held_or_stopped_while_it_starts_finishes_the_start_and_asks_nobody() {
    for (command, state) in
        [(Command::Pause, AgentState::Paused), (Command::Stop { reason: "no".to_owned() }, AgentState::Stopped)]
    {
        let mut scenario = created(Scenario::agent_spec()).given(command);
        while matches!(scenario.session.phase, Phase::Starting(_)) {
            scenario = step_done(scenario);
        }
        assert_eq!((&scenario.session.phase, scenario.session.agent), (&Phase::Ready, state));
        assert_eq!(count(&scenario.log, "action.message"), 1, "the message is not lost");
        while let Some(effect) = scenario.session.next_effect() {
            assert!(matches!(effect, Effect::Execute { .. }), "{effect:?}");
            scenario = recalled(scenario);
        }
        assert_eq!(count(&scenario.log, "model.requested"), 0);
        let mut scenario = scenario.given(Command::Continue { limits: None });
        if scenario.session.in_flight().is_some() {
            scenario = recalled(scenario);
        }
        assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
    }
}

#[test]
fn a_start_that_a_crash_interrupts_makes_the_runtime_again_before_the_steps_that_need_it() {
    let mut scenario = created(Scenario::agent_spec());
    scenario = step_done(scenario);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::SetupScript, .. })));
    scenario.crash_and_acquire().unwrap();
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, attempt: 2, .. })));
    let scenario = step_done(scenario);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::SetupScript, attempt: 2, .. })));
    let mut scenario = scenario;
    while matches!(scenario.session.phase, Phase::Starting(_)) {
        scenario = step_done(scenario);
    }
    assert_eq!(scenario.session.phase, Phase::Ready);
}

#[test]
fn going_on_before_the_start_is_over_takes_the_hold_back() {
    let mut scenario = created(Scenario::agent_spec()).given(Command::Pause).given(Command::Continue { limits: None });
    while matches!(scenario.session.phase, Phase::Starting(_)) {
        scenario = step_done(scenario);
    }
    assert_eq!(scenario.session.agent, AgentState::Running);
}

#[test]
fn a_runtime_that_could_not_be_made_again_is_tried_once_more_when_the_agent_goes_on() {
    let scenario = decided(started(Scenario::agent_spec()), &[LS]).given(Command::LoseRuntime { error: "gone".to_owned() });
    let attempt = scenario.session.step(StartStep::Runtime).unwrap().attempt;
    let error = "no room".to_owned();
    let scenario = scenario.given(Command::StepFailed { step: StartStep::Runtime, attempt, error });
    assert_eq!(scenario.session.agent, AgentState::Error);
    for command in [Command::Continue { limits: None }, Command::Say { content: "try again".to_owned() }] {
        let scenario = scenario.clone().given(command);
        assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, .. })));
    }
}

// Ways out of a loop.

fn from(scenario: &Scenario) -> Seq {
    scenario.session.trail.find_loop().unwrap().from
}

fn looping() -> Scenario {
    let mut scenario = started(Scenario::agent_spec());
    for _ in 0..4 {
        scenario = observed(decided(scenario, &[LS]), ran("a.txt", 0));
    }
    assert_eq!(scenario.session.agent, AgentState::Error);
    scenario
}

#[test]
fn an_agent_is_led_out_of_a_loop_with_what_it_did_there_forgotten_and_told_so() {
    for how in [Recovery::BeforeLoop, Recovery::LastPrompt] {
        let scenario = looping();
        let from = from(&scenario);
        let scenario = scenario.given(Command::Recover { how, forget: vec![Seq(30), Seq(33)], from });
        let Event::Item(entry) = Event::read(last(&scenario, "action.condensation")) else { panic!("a condensation") };
        let Content::Action(Action::Condensation(condensation)) = entry.item.content else { panic!("a condensation") };
        assert_eq!(condensation.forgotten_event_ids, Some(vec![30, 33]));
        assert!(condensation.summary.unwrap().contains("went in circles"));
        assert_eq!(body(last(&scenario, "action.loop_recovery"))["args"]["option"], how.option());
        assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
        let scenario = observed(decided(scenario, &[LS]), ran("a.txt", 0));
        assert_eq!(scenario.session.agent, AgentState::Running, "it begins to count anew");
    }
}

#[test]
fn a_loop_can_be_left() {
    let scenario = looping();
    let from = from(&scenario);
    let scenario = scenario.given(Command::Recover { how: Recovery::Stop, forget: Vec::new(), from });
    assert_eq!((scenario.session.agent, scenario.session.next_effect()), (AgentState::Stopped, None));
}

#[test]
fn who_is_in_no_loop_is_led_out_of_none_and_what_was_found_out_of_another_does_not_count() {
    let recover = |from| Command::Recover { how: Recovery::BeforeLoop, forget: Vec::new(), from };
    let mut scenario = started(Scenario::agent_spec());
    assert!(matches!(scenario.when(recover(Seq::ZERO)), Err(Rejection::Stale(_))));
    let mut scenario = looping();
    let from = from(&scenario);
    assert!(matches!(scenario.when(recover(Seq(from.0 + 1))), Err(Rejection::Stale(_))));
    // Whoever takes the session over for that finds the same loop.
    scenario.crash_and_acquire().unwrap();
    scenario.when(recover(from)).unwrap();
}

// Stuck.

fn turns(pattern: &[(&str, Observation)], times: usize, interaction: Interaction) -> Scenario {
    let mut scenario = started(SessionSpec { interaction, ..Scenario::agent_spec() });
    for (command, observation) in pattern.iter().cycle().take(pattern.len() * times) {
        if scenario.session.agent != AgentState::Running {
            break;
        }
        scenario = observed(decided(scenario, &[&LS.replace("ls", command)]), observation.clone());
    }
    scenario
}

fn is_stuck(scenario: &Scenario) -> bool {
    scenario.session.agent_reason.starts_with("AgentStuckInLoopError")
}

#[test]
fn too_little_is_no_loop_and_the_same_pair_four_times_is_one() {
    let pair = [("ls", ran("a", 0))];
    assert!(!is_stuck(&turns(&pair, 3, Interaction::Headless)));
    assert!(is_stuck(&turns(&pair, 4, Interaction::Headless)));
}

#[test]
fn a_message_of_a_person_begins_the_count_anew() {
    let scenario = turns(&[("ls", ran("a", 0))], 3, Interaction::Interactive);
    let scenario = recalled(scenario.given(Command::Say { content: "once more".to_owned() }));
    let scenario = observed(decided(scenario, &[LS]), ran("a", 0));
    assert!(!is_stuck(&scenario));
}

/// V0 compares what commands print by nothing but the exit code, so that waiting for a build that makes progress is a loop.
#[test]
fn the_same_command_with_other_output_is_progress_and_with_other_numbers_is_none() {
    let words = ["compiling a", "compiling b", "linking", "testing", "packing"];
    let progress: Vec<_> = words.iter().map(|words| ("make status", ran(words, 0))).collect();
    assert!(!is_stuck(&turns(&progress, 1, Interaction::Headless)));
    let numbers: Vec<_> = (0..4).map(|pid| ("ps", ran(&format!("pid {pid}"), 0))).collect();
    assert!(is_stuck(&turns(&numbers, 1, Interaction::Headless)));
}

#[test]
fn two_pairs_that_alternate_three_times_are_a_loop_and_others_are_none() {
    let pattern = [("ls", ran("a", 0)), ("pwd", ran("b", 0))];
    assert!(is_stuck(&turns(&pattern, 3, Interaction::Headless)));
    let other = [
        ("ls", ran("a", 0)),
        ("pwd", ran("b", 0)),
        ("id", ran("c", 0)),
        ("ls", ran("a", 0)),
        ("pwd", ran("d", 0)),
        ("id", ran("e", 0)),
    ];
    assert!(!is_stuck(&turns(&other, 1, Interaction::Headless)));
}

/// V0 knows three syntax errors by their words and their lines. Here every cell that has the same outcome four times is a loop, whatever
/// the language calls it; outcomes that differ are progress.
#[test]
fn the_same_cell_with_the_same_syntax_error_is_a_loop_and_with_another_one_is_none() {
    let cell = |text: &str| Observation {
        content: text.to_owned(),
        extras: Extras::RunIpython(serde_json::from_value(serde_json::json!({"code": "x"})).unwrap()),
    };
    let run = |errors: [&str; 4]| {
        let mut scenario = started(Scenario::agent_spec());
        for error in errors {
            let code = r#"{"action":"run_ipython","args":{"code":"print(\"a"}}"#;
            scenario = observed(decided(scenario, &[code]), cell(error));
        }
        is_stuck(&scenario)
    };
    assert!(run(["SyntaxError: incomplete input"; 4]));
    assert!(!run([
        "SyntaxError: incomplete input",
        "SyntaxError: invalid syntax",
        "NameError: a",
        "SyntaxError: incomplete input"
    ]));
}

#[test]
fn an_agent_that_says_the_same_three_times_is_stuck_unless_it_sees_something_between() {
    let words = r#"{"action":"message","args":{"content":"hm"}}"#;
    let mut scenario = started(Scenario::agent_spec());
    for _ in 0..3 {
        scenario = decided(scenario, &[words]);
    }
    assert!(is_stuck(&scenario));
    let mut scenario = decided(started(Scenario::agent_spec()), &[words]);
    scenario = observed(decided(scenario, &[LS]), ran("a", 0));
    scenario = decided(decided(scenario, &[words]), &[words]);
    assert!(!is_stuck(&scenario));
}
