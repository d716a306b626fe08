//! The agent's turn as pure decisions, scenario by scenario. The behaviours are V0's (`tests/unit/test_agent_controller.py`,
//! `test_is_stuck.py`, `test_iteration_limit.py`), where this file does not say otherwise.

use rekindle::session::action::Confirmation;
use rekindle::session::model::{Judgement, ModelErrorClass};
use rekindle::session::{
    Action, AgentState, Analyzer, Command, ConfirmationPolicy, Content, Effect, Event, Extras, Interaction, Limits, Observation,
    Recorded, Rejection, Report, Risk, SecuritySpec, Seq, SessionSpec, StartStep, StepDone,
};
use rekindle::testing::Scenario;

use crate::scenario_support::{observed, request, started};

const LS: &str = r#"{"action":"run","args":{"command":"ls"}}"#;
const FINISH: &str = r#"{"action":"finish","args":{"final_thought":"done"}}"#;

fn decided(scenario: Scenario, actions: &[&str]) -> Scenario {
    let request = request(&scenario);
    scenario.given(Command::Decide { request, decision: Box::new(Scenario::decision(actions)) })
}

fn failed(scenario: Scenario, class: ModelErrorClass, message: &str) -> Scenario {
    let request = request(&scenario);
    scenario.given(Command::FailModel { request, failure: Scenario::failure(class, message), forget: Vec::new() })
}

fn ran(text: &str) -> Observation {
    let run = serde_json::from_value(serde_json::json!({"command": "ls", "metadata": {"exit_code": 0}})).unwrap();
    Observation { content: text.to_owned(), extras: Extras::Run(run) }
}

fn kinds(log: &[Recorded]) -> Vec<&str> {
    log.iter().map(|event| event.kind.as_str()).collect()
}

fn last_kinds(scenario: &Scenario, count: usize) -> Vec<&str> {
    kinds(&scenario.log[scenario.log.len() - count..])
}

#[test]
fn a_message_asks_memory_and_then_the_agent() {
    let scenario = Scenario::new().given(Command::Create { spec: Box::new(Scenario::agent_spec()), node: Scenario::node() });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, .. })));
    let scenario = started(Scenario::agent_spec());
    let order = ["action.message", "action.recall", "turn.state_changed", "observation.null", "model.requested"];
    let seen: Vec<&str> = kinds(&scenario.log).into_iter().filter(|kind| order.contains(kind)).collect();
    assert_eq!(seen, order);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
}

#[test]
fn a_decision_enters_the_log_whole_and_its_actions_run_in_order() {
    let scenario = decided(started(Scenario::agent_spec()), &[LS, r#"{"action":"think","args":{"thought":"hm"}}"#, LS]);
    assert_eq!(
        last_kinds(&scenario, 6),
        ["model.responded", "action.run", "action.think", "observation.think", "action.run", "action.dispatched"]
    );
    let scenario = observed(observed(scenario, ran("a")), ran("b"));
    assert_eq!(scenario.session.iterations, 2, "the agent is asked again when nothing is open");
    assert_eq!(scenario.session.usage.cost_micro_usd, Some(10_000));
}

#[test]
fn finishing_ends_the_turn_and_what_was_wanted_after_it_is_not_done() {
    let scenario = decided(started(Scenario::agent_spec()), &[FINISH, LS]);
    assert_eq!(last_kinds(&scenario, 4), ["model.responded", "action.finish", "turn.state_changed", "turn.ended"]);
    assert_eq!(scenario.session.agent, AgentState::Finished);
    assert!(!scenario.session.wants_worker());
}

#[test]
fn words_without_a_call_wait_for_the_user() {
    let asks = r#"{"action":"message","args":{"content":"which one?","wait_for_response":true}}"#;
    let scenario = decided(started(Scenario::agent_spec()), &[asks]);
    assert_eq!(scenario.session.agent, AgentState::AwaitingUserInput);
    let scenario = observed(
        scenario.given(Command::Say { content: "the first".to_owned() }),
        Observation { content: String::new(), extras: Extras::Null },
    );
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
}

#[test]
fn a_model_call_that_a_crash_interrupted_is_made_again_without_counting_twice() {
    let mut scenario = started(Scenario::agent_spec());
    scenario.crash_and_acquire().unwrap();
    let report = StepDone::Report(Report::default());
    let scenario = scenario.given(Command::StepDone { step: StartStep::Runtime, attempt: 2, done: report });
    assert_eq!(scenario.session.model.unwrap().attempt, 2);
    assert_eq!(scenario.session.iterations, 1);
    let mut scenario = scenario;
    let late = Command::Decide { request: Seq(1), decision: Box::new(Scenario::decision(&[LS])) };
    assert!(matches!(scenario.when(late), Err(Rejection::Stale(_))), "the answer to the first try is not taken any more");
}

fn limited(iterations: u64, interaction: Interaction) -> SessionSpec {
    SessionSpec { limits: Limits { iterations, budget_micro_usd: None }, interaction, ..Scenario::agent_spec() }
}

#[test]
fn iterations_are_limited_in_v0s_words() {
    let mut scenario = started(limited(3, Interaction::Headless));
    for turn in 0..3 {
        scenario = observed(decided(scenario, &[&format!(r#"{{"action":"run","args":{{"command":"ls {turn}"}}}}"#)]), ran("x"));
    }
    assert_eq!(scenario.session.agent, AgentState::Error);
    assert_eq!(
        scenario.session.agent_reason,
        "RuntimeError: Agent reached maximum iteration in headless mode. Current iteration: 3, max iteration: 3"
    );
    assert_eq!(scenario.session.usage.cost_micro_usd, Some(30_000), "what was used is still known");
}

#[test]
fn with_a_person_there_a_message_raises_the_limit_and_without_one_it_does_not() {
    let ask = |interaction| {
        let scenario = observed(decided(started(limited(1, interaction)), &[LS]), ran("x"));
        assert_eq!(scenario.session.agent, AgentState::Error);
        observed(
            scenario.given(Command::Say { content: "go on".to_owned() }),
            Observation { content: String::new(), extras: Extras::Null },
        )
    };
    let interactive = ask(Interaction::Interactive);
    assert_eq!((interactive.session.agent, interactive.session.limits().iterations), (AgentState::Running, 2));
    let headless = ask(Interaction::Headless);
    assert_eq!((headless.session.agent, headless.session.limits().iterations), (AgentState::Error, 1));
}

#[test]
fn a_budget_that_is_reached_ends_the_work_and_going_on_adds_what_it_was_again_and_again() {
    let limits = Limits { iterations: 100, budget_micro_usd: Some(10_000) };
    let mut scenario = observed(decided(started(SessionSpec { limits, ..Scenario::agent_spec() }), &[LS]), ran("x"));
    for turn in 1..4_u64 {
        assert_eq!(scenario.session.agent, AgentState::Error);
        assert!(scenario.session.agent_reason.contains("Agent reached maximum budget in headless mode."));
        scenario = scenario.given(Command::Continue { limits: None });
        assert_eq!(scenario.session.limits().budget_micro_usd, Some(turn * 10_000 + 10_000));
        scenario = observed(decided(scenario, &[&format!(r#"{{"action":"run","args":{{"command":"ls {turn}"}}}}"#)]), ran("x"));
    }
}

#[test]
fn an_agent_that_goes_in_circles_is_stopped_and_may_try_again() {
    let mut scenario = started(Scenario::agent_spec());
    for _ in 0..4 {
        scenario = observed(decided(scenario, &[LS]), ran("a.txt"));
    }
    assert_eq!(scenario.session.agent, AgentState::Error);
    assert!(scenario.session.agent_reason.starts_with("AgentStuckInLoopError: Agent got stuck in a loop"));
    let scenario = scenario.given(Command::Continue { limits: None });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
}

#[test]
fn the_same_failing_action_three_times_is_a_loop() {
    let mut scenario = started(Scenario::agent_spec());
    for turn in 0..3 {
        assert_eq!(scenario.session.agent, AgentState::Running);
        scenario = observed(decided(scenario, &[LS]), Observation::error(format!("failure {turn}"), ""));
    }
    assert!(scenario.session.agent_reason.contains("the same action failed three times"));
}

#[test]
fn an_answer_that_cannot_be_read_is_told_to_the_model_four_times_at_most() {
    let mut scenario = started(Scenario::agent_spec());
    for _ in 0..3 {
        scenario = failed(scenario, ModelErrorClass::BadAnswer, "no tool is called `fly`");
        assert_eq!(last_kinds(&scenario, 3), ["model.failed", "observation.error", "model.requested"]);
    }
    let scenario = failed(scenario, ModelErrorClass::BadAnswer, "no tool is called `fly`");
    assert!(scenario.session.agent_reason.contains("four answers in a row could not be read"));
}

#[test]
fn each_failure_of_the_model_has_its_own_end() {
    for (class, state, word) in [
        (ModelErrorClass::Authentication, AgentState::Error, "AuthenticationError: "),
        (ModelErrorClass::RateLimit, AgentState::RateLimited, "RateLimitError: "),
        (ModelErrorClass::Unavailable, AgentState::Error, "ServiceUnavailableError: "),
        (ModelErrorClass::Timeout, AgentState::Error, "Timeout: "),
        (ModelErrorClass::Internal, AgentState::Error, "InternalServerError: "),
        (ModelErrorClass::OutOfCredits, AgentState::Error, "ExceededBudget: "),
        (ModelErrorClass::ContentPolicy, AgentState::Error, "ContentPolicyViolationError: "),
        (ModelErrorClass::ContextWindow, AgentState::Error, "LLMContextWindowExceedError: "),
        (ModelErrorClass::BadRequest, AgentState::Error, "BadRequestError: "),
    ] {
        let scenario = failed(started(Scenario::agent_spec()), class, "no");
        assert_eq!(scenario.session.agent, state, "{class:?}");
        assert!(scenario.session.agent_reason.starts_with(word), "{class:?}: {}", scenario.session.agent_reason);
        assert_eq!(scenario.session.wants_worker(), class == ModelErrorClass::RateLimit, "a limit of calls is waited for");
        let scenario = scenario.given(Command::Continue { limits: None });
        assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })), "{class:?} can go on");
    }
}

#[test]
fn a_history_that_is_too_long_is_condensed_by_its_ids_and_the_agent_is_asked_again() {
    let scenario = observed(decided(started(Scenario::agent_spec()), &[LS]), ran("x"));
    let asked = request(&scenario);
    let failure = Scenario::failure(ModelErrorClass::ContextWindow, "too long");
    let scenario = scenario.given(Command::FailModel { request: asked, failure, forget: vec![Seq(30), Seq(32)] });
    assert_eq!(last_kinds(&scenario, 3), ["model.failed", "action.condensation", "model.requested"]);
    let condensation = &scenario.log[scenario.log.len() - 2];
    let Event::Item(entry) = Event::read(condensation) else { panic!("a condensation") };
    let Content::Action(Action::Condensation(condensation)) = entry.item.content else { panic!("a condensation") };
    assert_eq!(condensation.forgotten_event_ids, Some(vec![30, 32]));
}

fn cautious(confirmation: ConfirmationPolicy) -> SessionSpec {
    SessionSpec { security: SecuritySpec { analyzers: vec![Analyzer::Rules], confirmation }, ..Scenario::agent_spec() }
}

fn judged(scenario: Scenario, risks: &[Option<Risk>]) -> Scenario {
    let mut decision = Scenario::decision(&vec![LS; risks.len()]);
    for (judged, risk) in decision.actions.iter_mut().zip(risks) {
        judged.judgement = risk.map(|risk| Judgement { risk, reasons: vec!["a test".into()], by: vec!["test/1".into()] });
    }
    let request = request(&scenario);
    scenario.given(Command::Decide { request, decision: Box::new(decision) })
}

#[test]
fn risk_and_reason_are_in_the_log_before_the_action_is_handed_out() {
    let scenario = judged(started(cautious(ConfirmationPolicy::Never)), &[Some(Risk::High)]);
    assert_eq!(last_kinds(&scenario, 3), ["action.run", "action.judged", "action.dispatched"]);
    let run = &scenario.log[scenario.log.len() - 3];
    assert!(run.body.as_json().contains(r#""security_risk":2"#), "{}", run.body.as_json());
}

#[test]
fn what_a_policy_asks_for_waits_for_a_person() {
    for (policy, risk, waits) in [
        (ConfirmationPolicy::Never, Some(Risk::High), false),
        (ConfirmationPolicy::Always, Some(Risk::Low), true),
        (ConfirmationPolicy::Always, None, true),
        (ConfirmationPolicy::AtOrAbove(Risk::High), Some(Risk::Medium), false),
        (ConfirmationPolicy::AtOrAbove(Risk::High), Some(Risk::High), true),
        (ConfirmationPolicy::AtOrAbove(Risk::Medium), Some(Risk::Unknown), true),
        (ConfirmationPolicy::AtOrAbove(Risk::Medium), None, true),
    ] {
        let scenario = judged(started(cautious(policy)), &[risk]);
        assert_eq!(scenario.session.unconfirmed().count() == 1, waits, "{policy:?} {risk:?}");
        let state = if waits { AgentState::AwaitingUserConfirmation } else { AgentState::Running };
        assert_eq!(scenario.session.agent, state, "{policy:?} {risk:?}");
        assert_eq!(scenario.session.wants_worker(), !waits);
    }
}

#[test]
fn a_person_can_agree_after_a_restart() {
    let mut scenario = judged(started(cautious(ConfirmationPolicy::Always)), &[None]);
    let run = scenario.log.iter().rev().find(|event| event.kind.as_str() == "action.run").unwrap();
    let Event::Item(entry) = Event::read(run) else { panic!("an action") };
    let Content::Action(Action::Run(run)) = entry.item.content else { panic!("a command") };
    assert_eq!(run.confirmation_state, Confirmation::AwaitingConfirmation);
    scenario.crash_and_acquire().unwrap();
    assert_eq!(scenario.session.unconfirmed().count(), 1, "it still waits");
    let report = StepDone::Report(Report::default());
    let scenario = scenario
        .given(Command::StepDone { step: StartStep::Runtime, attempt: 2, done: report })
        .given(Command::Confirm { action: None, by: "me".to_owned() });
    assert_eq!(last_kinds(&scenario, 3), ["action.confirmed", "turn.state_changed", "action.dispatched"]);
}

#[test]
fn what_was_refused_never_runs_and_the_agent_is_told_why() {
    let mut scenario = judged(started(cautious(ConfirmationPolicy::Always)), &[None, None]);
    let why = Some("not on a Friday".to_owned());
    scenario.when(Command::Refuse { action: None, by: "me".to_owned(), reason: why }).unwrap();
    assert!(!kinds(&scenario.log).contains(&"action.dispatched") || scenario.session.in_flight().is_none());
    let told: Vec<_> = scenario.log.iter().filter(|event| event.kind.as_str() == "observation.user_rejected").collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].body.as_json().contains("not on a Friday"));
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));

    let mut silent = judged(started(cautious(ConfirmationPolicy::Always)), &[None]);
    silent.when(Command::Refuse { action: None, by: "me".to_owned(), reason: None }).unwrap();
    assert_eq!(silent.session.agent, AgentState::AwaitingUserInput);
}

#[test]
fn saying_something_else_refuses_what_waits() {
    let scenario = judged(started(cautious(ConfirmationPolicy::Always)), &[None]);
    let scenario = scenario.given(Command::Say { content: "leave that".to_owned() });
    assert_eq!(scenario.session.unconfirmed().count(), 0);
    assert_eq!(scenario.session.agent, AgentState::Running);
}

#[test]
fn agreeing_to_what_does_not_wait_is_refused() {
    let mut scenario = started(Scenario::agent_spec());
    let refused = scenario.when(Command::Confirm { action: None, by: "me".to_owned() });
    assert!(matches!(refused, Err(Rejection::Stale(_))));
}

#[test]
fn a_paused_agent_keeps_its_answer_and_begins_nothing() {
    let scenario = started(Scenario::agent_spec()).given(Command::Pause);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })), "what was paid for is waited for");
    let scenario = decided(scenario, &[LS]);
    assert_eq!((scenario.session.agent, scenario.session.open.len()), (AgentState::Paused, 1));
    assert_eq!(scenario.session.next_effect(), None);
    assert!(!scenario.session.wants_worker());
    let scenario = scenario.given(Command::Continue { limits: None });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Execute { .. })));
}

#[test]
fn stopping_ends_the_call_that_is_under_way() {
    let mut scenario = started(Scenario::agent_spec());
    let asked = request(&scenario);
    scenario.when(Command::Stop { reason: "enough".to_owned() }).unwrap();
    assert_eq!((scenario.session.agent, scenario.session.next_effect()), (AgentState::Stopped, None));
    let late = Command::Decide { request: asked, decision: Box::new(Scenario::decision(&[LS])) };
    assert!(matches!(scenario.when(late), Err(Rejection::Stale(_))));
}

#[test]
fn stopping_gives_each_action_its_one_outcome_and_ends_what_runs() {
    let mut scenario = decided(started(Scenario::agent_spec()), &[LS, LS]);
    scenario.when(Command::Stop { reason: "enough".to_owned() }).unwrap();
    assert!(scenario.session.open.is_empty());
    let outcomes = scenario.log.iter().filter(|event| event.kind.as_str() == "observation.error").count();
    assert_eq!(outcomes, 2);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::TakeStep { step: StartStep::Runtime, .. })), "it is made anew");
}

#[test]
fn closing_ends_the_call_that_is_under_way() {
    let scenario = started(Scenario::agent_spec()).given(Command::Close { reason: "done".to_owned() });
    assert_eq!(scenario.session.model, None);
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Release { .. })));
}

#[test]
fn a_session_without_an_agent_does_not_go_on_by_itself() {
    let spec = Scenario::spec(rekindle::session::Origin::fresh(None));
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    let report = StepDone::Report(Report::default());
    scenario.when(Command::StepDone { step: StartStep::Runtime, attempt: 1, done: report }).unwrap();
    let refused = scenario.when(Command::Continue { limits: None });
    assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
}
