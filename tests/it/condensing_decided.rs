//! What is decided about a history that grows too long, without a store, a clock or a model.

use rekindle::session::model::{ModelErrorClass, Summary};
use rekindle::session::replay::verify::Verifying;
use rekindle::session::{
    Action, AgentState, Command, Condenser, Content, Effect, Event, Extras, Limits, Observation, Recorded, Rejection, Report,
    Seq, SessionSpec, StartStep, StepDone,
};
use rekindle::testing::Scenario;

use crate::scenario_support::{observed, request, started};

fn spec(condense: Condenser) -> SessionSpec {
    let mut spec = Scenario::agent_spec();
    spec.agent.as_mut().unwrap().config.condense = condense;
    spec
}

fn summing_up() -> SessionSpec {
    spec(Condenser::Summary { keep_first: 1, max: Some(8), model: None })
}

/// Commands and their outcomes until the agent sees more than it may.
fn grown(mut scenario: Scenario) -> Scenario {
    let mut turn = 0;
    while scenario.session.model.is_some() {
        let decision = Box::new(Scenario::decision(&[&format!(r#"{{"action":"run","args":{{"command":"echo {turn}"}}}}"#)]));
        scenario = scenario.clone().given(Command::Decide { request: request(&scenario), decision });
        scenario = observed(scenario, Observation { content: format!("{turn}"), extras: Extras::Success });
        turn += 1;
        assert!(turn < 20, "it never grows too long");
    }
    scenario
}

fn runs(scenario: &Scenario, count: usize) -> Vec<Seq> {
    let seen = scenario.log.iter().filter(|event| matches!(event.kind.as_str(), "action.run" | "observation.success"));
    seen.map(|event| event.seq).take(count).collect()
}

fn last_kinds(scenario: &Scenario, count: usize) -> Vec<&str> {
    scenario.log[scenario.log.len() - count..].iter().map(|event| event.kind.as_str()).collect()
}

fn summary(scenario: &Scenario) -> Command {
    let (text, offset, call) = ("in short".to_owned(), 1, Scenario::call());
    Command::Summarise { request: request(scenario), summary: Box::new(Summary { text, offset, call }) }
}

fn condensation(event: &Recorded) -> (Option<Vec<i64>>, Option<String>, Option<i64>) {
    let Event::Item(entry) = Event::read(event) else { panic!("{event:?}") };
    let Content::Action(Action::Condensation(condensation)) = entry.item.content else { panic!("{event:?}") };
    (condensation.forgotten_event_ids, condensation.summary, condensation.summary_offset)
}

#[track_caller]
fn assert_decided_again(scenario: &Scenario) {
    let mut verifying = Verifying::new(None);
    scenario.log.iter().for_each(|event| verifying.take(event.clone()));
    let found = verifying.end();
    assert_eq!((found.divergences, found.unchecked), (vec![], vec![]));
}

#[test]
fn a_summary_is_a_call_of_its_own_that_is_counted_and_is_no_iteration() {
    let scenario = grown(started(summing_up()));
    assert_eq!(scenario.session.next_effect(), Some(Effect::Condense));
    let (iterations, cost) = (scenario.session.iterations, scenario.session.usage.cost_micro_usd.unwrap());
    let forget = runs(&scenario, 4);
    let scenario = scenario.given(Command::Forget { forget: forget.clone() });
    assert_eq!(last_kinds(&scenario, 1), ["model.requested"]);
    assert_eq!(scenario.session.next_effect(), Some(Effect::Summarise { request: request(&scenario) }));
    assert_eq!((scenario.session.iterations, &scenario.session.forgetting), (iterations, &forget));
    let scenario = scenario.clone().given(summary(&scenario));
    assert_eq!(last_kinds(&scenario, 3), ["model.responded", "action.condensation", "model.requested"]);
    let ids = forget.iter().map(|seq| seq.0 as i64).collect();
    let told = (Some(ids), Some("in short".to_owned()), Some(1));
    assert_eq!(condensation(&scenario.log[scenario.log.len() - 2]), told);
    assert_eq!(scenario.session.usage.cost_micro_usd, Some(cost + 10_000));
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
    assert_eq!(scenario.session.iterations, iterations + 1);
    assert!(scenario.session.forgetting.is_empty());
    assert_decided_again(&scenario);
}

#[test]
fn a_summary_that_a_crash_interrupted_is_asked_for_again_and_an_answer_to_the_first_try_is_not_taken() {
    let scenario = grown(started(summing_up()));
    let forget = runs(&scenario, 4);
    let mut scenario = scenario.given(Command::Forget { forget: forget.clone() });
    let late = summary(&scenario);
    scenario.crash_and_acquire().unwrap();
    let mut scenario =
        scenario.given(Command::StepDone { step: StartStep::Runtime, attempt: 2, done: StepDone::Report(Report::default()) });
    assert_eq!(scenario.session.model.unwrap().attempt, 2);
    assert_eq!(scenario.session.next_effect(), Some(Effect::Summarise { request: request(&scenario) }));
    assert_eq!(scenario.session.forgetting, forget, "nothing is lost");
    assert!(matches!(scenario.when(late), Err(Rejection::Stale(_))));
    let scenario = scenario.clone().given(summary(&scenario));
    let condensations = scenario.log.iter().filter(|event| event.kind.as_str() == "action.condensation").count();
    assert_eq!(condensations, 1, "and nothing is repeated");
    assert_decided_again(&scenario);
}

#[test]
fn a_summary_is_no_decision_and_a_decision_no_summary() {
    let mut scenario = grown(started(summing_up()));
    let early = Command::Summarise {
        request: Seq(1),
        summary: Box::new(Summary { text: "x".into(), offset: 0, call: Scenario::call() }),
    };
    assert!(matches!(scenario.when(early), Err(Rejection::Stale(_))));
    let forget = runs(&scenario, 4);
    let mut scenario = scenario.given(Command::Forget { forget: forget.clone() });
    let decision = Box::new(Scenario::decision(&[r#"{"action":"finish","args":{}}"#]));
    let decided = scenario.when(Command::Decide { request: request(&scenario), decision });
    assert!(matches!(decided, Err(Rejection::Stale(_))), "{decided:?}");
    assert!(matches!(scenario.when(Command::Forget { forget }), Err(Rejection::Stale(_))), "once is enough");
    let mut scenario = scenario.clone().given(summary(&scenario));
    let late = summary(&scenario);
    assert!(matches!(scenario.when(late), Err(Rejection::Stale(_))));
}

#[test]
fn whatever_is_wrong_with_a_summary_the_events_are_forgotten_without_it_and_the_agent_is_asked() {
    for class in
        [ModelErrorClass::RateLimit, ModelErrorClass::Authentication, ModelErrorClass::ContextWindow, ModelErrorClass::BadAnswer]
    {
        let scenario = grown(started(summing_up()));
        let forget = runs(&scenario, 4);
        let scenario = scenario.given(Command::Forget { forget });
        let failure = Scenario::failure(class, "no");
        let asked = request(&scenario);
        let scenario = scenario.given(Command::FailModel { request: asked, failure, forget: Vec::new() });
        assert_eq!(last_kinds(&scenario, 3), ["model.failed", "action.condensation", "model.requested"], "{class:?}");
        let event = &scenario.log[scenario.log.len() - 2];
        assert_eq!((condensation(event).1, event.cause), (None, Some(asked)));
        assert_eq!(scenario.session.agent, AgentState::Running);
        assert_decided_again(&scenario);
    }
}

#[test]
fn when_nothing_can_be_forgotten_the_agent_is_asked_and_it_is_tried_again_later() {
    for condense in [summing_up(), spec(Condenser::Window { keep_first: 1, max: Some(8) })] {
        let scenario = grown(started(condense)).given(Command::Forget { forget: Vec::new() });
        assert_eq!(last_kinds(&scenario, 2), ["action.condensation", "model.requested"]);
        assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
        let seen = scenario.session.view.unwrap().seen;
        let again = grown(scenario);
        assert!(again.session.view.unwrap().seen > seen + 3);
        assert_eq!(again.session.next_effect(), Some(Effect::Condense));
        assert_decided_again(&again);
    }
}

#[test]
fn a_summary_ends_with_a_budget_that_is_used_up_before_it() {
    // Four answers cost what there is; with the fourth the history is too long.
    let limits = Limits { iterations: 100, budget_micro_usd: Some(40_000) };
    let scenario = grown(started(SessionSpec { limits, ..summing_up() }));
    assert_eq!(scenario.session.agent, AgentState::Error, "{:?}", scenario.session.next_effect());
    assert!(scenario.session.agent_reason.contains("maximum budget"));
    assert!(scenario.log.iter().all(|event| !event.body.as_json().contains("summarises")));
}

#[test]
fn one_that_is_held_sums_up_nothing_until_it_goes_on() {
    let scenario = started(summing_up()).given(Command::Pause);
    let failure = Scenario::failure(ModelErrorClass::ContextWindow, "too long");
    let asked = request(&scenario);
    let scenario = scenario.given(Command::FailModel { request: asked, failure, forget: vec![Seq(20)] });
    assert_eq!(scenario.session.agent, AgentState::Paused);
    assert!(scenario.session.model.is_none());
    assert_decided_again(&scenario);
    let scenario = scenario.given(Command::Continue { limits: None });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::AskAgent { .. })));
    let failure = Scenario::failure(ModelErrorClass::ContextWindow, "too long");
    let asked = request(&scenario);
    let scenario = scenario.given(Command::FailModel { request: asked, failure, forget: vec![Seq(20)] });
    assert!(matches!(scenario.session.next_effect(), Some(Effect::Summarise { .. })));
    assert_decided_again(&scenario);
}

#[test]
fn a_history_of_which_nothing_can_go_any_more_ends_the_work() {
    let scenario = started(summing_up());
    let failure = Scenario::failure(ModelErrorClass::ContextWindow, "too long");
    let asked = request(&scenario);
    let scenario = scenario.given(Command::FailModel { request: asked, failure, forget: Vec::new() });
    assert_eq!(scenario.session.agent, AgentState::Error);
    assert!(scenario.session.agent_reason.starts_with("LLMContextWindowExceedError"));
    assert_decided_again(&scenario);
}

#[test]
fn a_close_ends_the_wait_for_a_summary() {
    let scenario = grown(started(summing_up()));
    let forget = runs(&scenario, 4);
    let scenario = scenario.given(Command::Forget { forget }).given(Command::Close { reason: "enough".into() });
    assert!(scenario.session.model.is_none() && scenario.session.forgetting.is_empty());
    assert_decided_again(&scenario);
}
