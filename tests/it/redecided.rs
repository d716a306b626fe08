//! A log is decided again by today's code: what a changed rule changes is named at its first effect, and nothing is hidden by what
//! cannot be decided again.

use rekindle::session::model::{Judged, Judgement, ModelErrorClass};
use rekindle::session::replay::verify::{Decide, Redecided, Verifying};
use rekindle::session::{
    Along, Analyzer, Body, Command, ConfirmationPolicy, Decided, Digest, Event, Extras, Kind, Limits, Observation, Origin,
    Recorded, Rejection, Report, Risk, SecuritySpec, Seq, Session, SessionSpec, StartStep, StepDone, Timestamp, decide_along,
};
use rekindle::testing::Scenario;

fn decided_again(log: &[Recorded], decide: Decide) -> Redecided {
    let mut verifying = Verifying::deciding(None, decide);
    log.iter().for_each(|event| verifying.take(event.clone()));
    verifying.end()
}

fn observe(scenario: Scenario, content: &str) -> Scenario {
    let action = scenario.session.in_flight().unwrap().seq;
    let observation = Box::new(Observation { content: content.to_owned(), extras: Extras::Success });
    scenario.given(Command::Observe { action, observation, recorded: None })
}

/// An agent that is at work: it does `make`, which is of medium risk, as often as it is told.
fn working(security: SecuritySpec, turns: usize) -> Scenario {
    let spec = SessionSpec { security, ..Scenario::agent_spec() };
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    for step in [StartStep::Runtime, StartStep::SetupScript, StartStep::GitHooks, StartStep::Memory, StartStep::Controller] {
        scenario = scenario.given(Command::StepDone { step, attempt: 1, done: StepDone::Report(Report::default()) });
    }
    scenario = observe(scenario, "what memory says");
    for turn in 0..turns {
        scenario = answer(scenario, &format!(r#"{{"action":"run","args":{{"command":"make {turn}"}}}}"#));
        scenario = observe(scenario, &format!("made {turn}"));
    }
    scenario
}

fn answer(scenario: Scenario, action: &str) -> Scenario {
    let request = scenario.session.model.unwrap().request;
    let mut decision = Scenario::decision(&[action]);
    for Judged { judgement, .. } in &mut decision.actions {
        *judgement = Some(Judgement { risk: Risk::Medium, reasons: Vec::new(), by: vec!["rules/1".to_owned()] });
    }
    scenario.given(Command::Decide { request, decision: Box::new(decision) })
}

fn seqs(log: &[Recorded], kind: &str) -> Vec<Seq> {
    log.iter().filter(|event| event.kind.as_str() == kind).map(|event| event.seq).collect()
}

/// By other rules: `change` makes another spec of the session's own.
fn otherwise(
    session: &Session,
    command: Command,
    now: Timestamp,
    along: Along,
    change: fn(&mut SessionSpec),
) -> Result<Vec<Decided>, Rejection> {
    let mut session = session.clone();
    if let Some(spec) = &mut session.spec {
        change(spec);
    }
    decide_along(&session, command, now, along)
}

#[test]
fn a_stricter_limit_is_named_where_it_first_ends_something() {
    let scenario = working(SecuritySpec::default(), 5);
    assert!(decided_again(&scenario.log, decide_along).agrees());
    let found = decided_again(&scenario.log, |session, command, now, along| {
        otherwise(session, command, now, along, |spec| spec.limits = Limits { iterations: 3, budget_micro_usd: None })
    });
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.rule), (seqs(&scenario.log, "model.requested")[3], "limits"));
    assert_eq!(first.command, "the outcome of an action");
    assert_eq!(first.expected.as_ref().unwrap().kind.as_str(), "model.requested");
    let actual = first.actual.as_ref().unwrap();
    assert!(actual.body["reason"].as_str().unwrap().contains("maximum iteration"), "{actual:?}");
    assert_eq!(found.divergences.len(), 3, "and at each call behind it: each is told, and none hides another");
}

#[test]
fn another_policy_of_consent_is_named_where_it_first_asks() {
    let security = SecuritySpec { analyzers: vec![Analyzer::Rules], confirmation: ConfirmationPolicy::AtOrAbove(Risk::High) };
    let scenario = working(security, 2);
    assert!(decided_again(&scenario.log, decide_along).agrees());
    let found = decided_again(&scenario.log, |session, command, now, along| {
        otherwise(session, command, now, along, |spec| spec.security.confirmation = ConfirmationPolicy::AtOrAbove(Risk::Medium))
    });
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.command), (seqs(&scenario.log, "action.run")[0], "the model's answer"));
    assert_eq!(first.differences[0].field, "/args/confirmation_state");
    assert_eq!(first.differences[0].actual, "awaiting_confirmation");
}

#[test]
fn a_loop_that_was_not_seen_is_named() {
    let mut scenario = working(SecuritySpec::default(), 0);
    for _ in 0..4 {
        scenario = answer(scenario, r#"{"action":"run","args":{"command":"make"}}"#);
        scenario = observe(scenario, "the same");
    }
    let log = scenario.log;
    assert!(log.last().unwrap().kind.as_str() == "turn.ended" && decided_again(&log, decide_along).agrees());
    // What an older version would have done that did not look for loops.
    let until = seqs(&log, "turn.state_changed").last().copied().unwrap();
    let mut older: Vec<Recorded> = log.iter().filter(|event| event.seq < until).cloned().collect();
    let asked = log.iter().rfind(|event| event.kind.as_str() == "model.requested").unwrap();
    let body = asked.body.as_json().replace("\"iteration\":4", "\"iteration\":5");
    older.push(Recorded { seq: until, at: log[until.0 as usize - 1].at, body: Body::Json(body), ..asked.clone() });
    let found = decided_again(&older, decide_along);
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.rule), (until, "loops of the agent"));
}

#[test]
fn a_changed_event_is_named_with_what_differs_in_it() {
    let scenario = working(SecuritySpec::default(), 2).given(Command::Stop { reason: "enough".to_owned() });
    for (kind, from, to, field) in [
        ("action.dispatched", "\"attempt\":1", "\"attempt\":2", "/attempt"),
        ("model.requested", "\"iteration\":1", "\"iteration\":7", "/iteration"),
        ("turn.ended", "\"digest\":\"", "\"digest\":\"00", "body"),
        ("start.planned", "\"runtime\",", "", "/steps"),
    ] {
        let mut log = scenario.log.clone();
        let changed = log.iter_mut().find(|event| event.kind.as_str() == kind).unwrap();
        changed.body = Body::Json(changed.body.as_json().replacen(from, to, 1));
        let seq = changed.seq;
        let found = decided_again(&log, decide_along);
        let first = found.first().unwrap_or_else(|| panic!("{kind} was changed"));
        assert_eq!(first.seq, seq, "{kind}: {first:?}");
        if kind != "turn.ended" {
            assert_eq!(first.differences[0].field, field, "{first:?}");
        }
    }
}

#[test]
fn an_event_too_few_or_too_many_is_named() {
    let scenario = working(SecuritySpec::default(), 2);
    let dispatched = seqs(&scenario.log, "action.dispatched")[1];
    // The log ends in the middle of an append.
    let log: Vec<Recorded> = scenario.log.iter().filter(|event| event.seq < dispatched).cloned().collect();
    let found = decided_again(&log, decide_along);
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.expected.is_none()), (dispatched, true), "{first:?}");
    // One that nothing asked for.
    let mut log = scenario.log;
    let last = log.last().unwrap().clone();
    let twice = seqs(&log, "action.dispatched")[0];
    let twice = log[twice.0 as usize - 1].clone();
    log.push(Recorded { seq: last.seq.next(), at: Timestamp(last.at.0 + 1), ..twice });
    let found = decided_again(&log, decide_along);
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.actual.is_none()), (last.seq.next(), true), "{first:?}");
}

#[test]
fn what_this_version_does_not_know_is_stepped_over_and_named() {
    let scenario = working(SecuritySpec::default(), 1);
    let at = scenario.log.len();
    let mut log = scenario.log;
    let mut unknown = log.last().unwrap().clone();
    unknown.kind = Kind::new("future.thing");
    unknown.seq = unknown.seq.next();
    unknown.at = Timestamp(unknown.at.0 + 1);
    log.push(unknown);
    let found = decided_again(&log, decide_along);
    assert!(found.agrees(), "{found:?}");
    assert_eq!((found.unchecked[0].seq, found.unchecked[0].events), (Seq(at as u64 + 1), 1));
    // In the middle of an append, too.
    let mut log = working(SecuritySpec::default(), 1).log;
    let place = seqs(&log, "action.dispatched")[1];
    let place = place.0 as usize - 1;
    let mut unknown = log[place].clone();
    unknown.kind = Kind::new("future.thing");
    log.insert(place, unknown);
    log.truncate(place + 2);
    log[place + 1].seq = log[place + 1].seq.next();
    assert!(decided_again(&log, decide_along).agrees());
}

#[test]
fn what_must_be_understood_and_is_not_ends_what_can_be_told() {
    let mut log = working(SecuritySpec::default(), 2).log;
    let place = seqs(&log, "model.responded")[1].0 as usize - 1;
    log[place].v = Event::VERSION + 1;
    let found = decided_again(&log, decide_along);
    assert!(found.agrees(), "{found:?}");
    let unchecked: u64 = found.unchecked.iter().map(|unchecked| unchecked.events).sum();
    assert_eq!(unchecked, (log.len() - place) as u64);
}

#[test]
fn content_that_was_taken_out_is_named_and_the_rest_is_decided_again() {
    let scenario = working(SecuritySpec::default(), 2).given(Command::Say { content: "hello".to_owned() });
    let request = scenario.session.model.unwrap().request;
    let failure = Scenario::failure(ModelErrorClass::Authentication, "no");
    let mut log = scenario.given(Command::FailModel { request, failure, forget: Vec::new() }).log;
    let said = seqs(&log, "action.message")[1];
    log[said.0 as usize - 1].body = Body::Redacted;
    let found = decided_again(&log, decide_along);
    assert!(found.agrees(), "{:?}", found.divergences);
    assert_eq!(found.unchecked[0].seq, said);
    assert!(found.decided > said.0, "{found:?}");
}

#[test]
fn a_takeover_proves_the_state_that_today_folds() {
    let mut scenario = working(SecuritySpec::default(), 1);
    scenario.crash_and_acquire().unwrap();
    assert!(decided_again(&scenario.log, decide_along).agrees());
    let restored = seqs(&scenario.log, "session.restored")[0];
    let mut log = scenario.log.clone();
    let digest = scenario.log[restored.0 as usize - 1].body.as_json().to_owned();
    let other = Digest::of(b"another state").to_string();
    let there: serde_json::Value = serde_json::from_str(&digest).unwrap();
    log[restored.0 as usize - 1].body = Body::Json(digest.replace(there["digest"].as_str().unwrap(), &other));
    let found = decided_again(&log, decide_along);
    let first = found.first().unwrap();
    assert_eq!((first.seq, first.rule, first.differences[0].field.as_str()), (restored, "the fold of the state", "/digest"));
}

#[test]
fn a_session_without_an_agent_is_decided_again() {
    let act = |text: &str| Command::Act { actions: vec![rekindle::session::Item::decode(text).unwrap()] };
    let spec = Box::new(Scenario::spec(Origin::fresh(None)));
    let scenario = Scenario::new()
        .given(Command::Create { spec, node: Scenario::node() })
        .given(Command::StepDone { step: StartStep::Runtime, attempt: 1, done: StepDone::Report(Report::default()) })
        .given(Command::Show { content: "look".to_owned(), images: vec!["https://example.com/a.png".to_owned()] })
        .given(act(r#"{"action":"run","args":{"command":"ls"}}"#))
        .given(act(r#"{"action":"think","args":{"thought":"hm"}}"#))
        .given(Command::LoseRuntime { error: "gone".to_owned() })
        .given(Command::Close { reason: "done".to_owned() });
    let found = decided_again(&scenario.log, decide_along);
    assert_eq!(found.divergences, []);
    assert_eq!(found.commands, 7);
}

#[test]
fn a_second_stop_is_decided_again_as_it_stands() {
    let stop = |reason: &str| Command::Stop { reason: reason.to_owned() };
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(Scenario::agent_spec()), node: Scenario::node() });
    scenario = scenario.given(stop("while it starts"));
    for step in [StartStep::Runtime, StartStep::SetupScript, StartStep::GitHooks, StartStep::Memory, StartStep::Controller] {
        scenario = scenario.given(Command::StepDone { step, attempt: 1, done: StepDone::Report(Report::default()) });
    }
    assert!(scenario.session.in_flight().is_some(), "memory is still asked");
    scenario = scenario.given(stop("while it asks"));
    let found = decided_again(&scenario.log, decide_along);
    assert_eq!((found.divergences, found.unchecked.len()), (vec![], 0));
}
