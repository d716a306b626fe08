//! The defects of V0, each with the test here that guarantees the contrary. A test of this file looks whether the others are there.

use rekindle::session::{
    AgentState, Command, Effect, Extras, Item, Observation, Origin, Phase, Report, SessionSpec, Source, StepDone,
};
use rekindle::testing::Scenario;

use crate::acceptance_table::assert_there;

/// Defect → what guarantees the contrary.
const REGISTER: &[(&str, &[&str])] = &[
    // Storage.
    ("cache pages are misaligned after a restart", &["a_page_is_bounded_and_says_that_there_is_more"]),
    (
        "an id is consumed when masking, decoding or writing fails",
        &["a_refused_append_leaves_nothing", "racing_appends_get_dense_seqs"],
    ),
    (
        "an unknown field or kind of a newer version makes a session unreadable",
        &["what_a_newer_version_wrote_is_kept_and_ends_nothing", "an_unknown_tag_is_kept"],
    ),
    ("writes are not atomic", &["a_kill_at_any_write_loses_nothing", "an_append_is_one_whole"]),
    ("two writers on one session", &["of_racing_writers_at_one_head_one_wins", "a_former_owner_is_fenced"]),
    ("a corrupt file aborts iteration", &["a_row_that_is_no_event_is_named_and_the_rest_of_the_page_is_read"]),
    // Secrets.
    (
        "lists are not masked",
        &[
            "strings_keys_and_numbers_at_every_depth_are_hidden_and_nothing_else_changes",
            "no_form_of_a_value_survives_at_any_place",
        ],
    ),
    (
        "a secret that equals an action's tag or a source crashes the append",
        &[
            "no_value_makes_an_event_of_any_kind_unreadable",
            "a_session_runs_to_its_end_whatever_the_value_is",
            "an_action_and_an_observation_stay_what_they_are",
        ],
    ),
    ("an empty secret crashes the append", &["what_cannot_be_hidden_is_told_and_left", "what_cannot_be_hidden_is_not_begun"]),
    (
        "provider secrets are replaced by custom ones and the other way round",
        &[
            "a_value_that_is_replaced_is_hidden_still_and_the_new_one_too",
            "each_providers_token_opens_its_repository_and_is_then_nowhere",
        ],
    ),
    (
        "override_provider_tokens always raises",
        &["a_repository_has_its_providers_token_and_a_secret_of_that_name_goes_before_it"],
    ),
    // State.
    (
        "start_id is overwritten by the last delegate's",
        &["a_parent_and_its_delegate_do_not_mix_their_states", "delegates_have_delegates_as_deep_as_is_allowed"],
    ),
    ("limits cannot be changed on restore", &["limits_are_folds_that_a_restart_does_not_reset_and_a_resume_can_raise"]),
    (
        "the state is a pickle",
        &["a_session_is_the_fold_of_its_log", "a_long_session_opens_from_a_snapshot_and_a_damaged_snapshot_is_passed_over"],
    ),
    (
        "metrics are counted twice",
        &["what_was_used_is_the_sum_of_all_calls_at_every_level", "what_a_delegate_used_is_added_to_its_parent_once"],
    ),
    (
        "resume_state is unused",
        &[
            "the_world_owes_the_same_before_and_after_reading_the_log_again",
            "a_model_call_that_a_crash_interrupted_is_made_again_without_counting_twice",
        ],
    ),
    ("the state at close differs by version", &["a_closed_session_says_how_its_agent_stood"]),
    // Controller.
    (
        "a pending action never times out",
        &[
            "every_effect_has_an_end",
            "a_runtime_that_never_answers_is_given_up_at_its_deadline",
            "a_model_or_memory_that_never_answers_is_given_up",
        ],
    ),
    ("a null action idles", &["an_answer_that_holds_nothing_is_told_to_the_model_and_counts_as_a_call"]),
    ("a runtime error leaves the action pending", &["a_lost_runtime_leaves_an_unknown_outcome_and_is_made_again"]),
    ("a delegate's states pollute its parent's", &["a_parent_and_its_delegate_do_not_mix_their_states"]),
    (
        "condensing by range forgets what is essential",
        &[
            "half_is_forgotten_and_the_task_is_not",
            "a_history_that_is_too_long_is_condensed_by_its_ids_and_the_agent_is_asked_again",
            "a_call_and_its_outcome_are_not_parted_whatever_was_said_between",
            "a_history_that_grows_too_long_is_summed_up_by_the_model_and_the_task_goes_on",
        ],
    ),
    ("one adjacent pair of condensations is a loop", &["ten_condensations_in_a_row_are_a_loop_and_nine_are_none"]),
    (
        "commands are compared by their exit code alone",
        &["the_same_command_with_other_output_is_progress_and_with_other_numbers_is_none"],
    ),
    // Replay.
    (
        "exports that begin with a system action cannot be replayed",
        &["a_recording_that_begins_with_a_prompt_and_asks_memory_is_performed_to_its_end"],
    ),
    (
        "recorded recalls, prompts, condensations and changes of state are replayed",
        &["what_a_recording_holds_beside_the_agents_own_doing_is_stepped_over_and_named"],
    ),
    (
        "a recording is refused only after the controller was made",
        &["a_recording_that_cannot_be_performed_fails_the_start_and_leaves_nothing"],
    ),
    ("outcomes are not compared, and a replay leaves no mark", &["a_divergence_ends_a_replay_that_stops_at_one_and_not_another"]),
    // Session.
    (
        "the loop that waits for a close is inverted",
        &["closing_while_starting_releases_what_was_reached", "a_close_keeps_its_deadline"],
    ),
    ("the stream is closed before the controller", &["a_closed_session_says_how_its_agent_stood"]),
    (
        "the close of the runtime is not awaited",
        &["closing_ends_an_action_that_hangs", "what_cannot_be_released_is_given_up_and_named"],
    ),
    ("a session that is closed while it starts leaks", &["closing_while_starting_releases_what_was_reached"]),
    ("a start goes on without its runtime", &["a_failed_start_releases_what_was_reached"]),
    ("the state before the start is an error", &["a_session_that_has_not_started_is_in_no_error"]),
    (
        "a start cannot be tried again",
        &["a_failed_step_fails_the_start_and_resuming_takes_the_steps_again", "a_start_that_failed_can_be_started_again"],
    ),
    // Security.
    (
        "the analyzer never runs, and its risk is not stored",
        &[
            "risk_and_reason_are_in_the_log_before_the_action_is_handed_out",
            "each_command_has_the_risk_that_it_is_and_the_rule_that_saw_it",
            "an_action_waits_through_a_kill_until_a_person_agrees_and_then_runs_once",
        ],
    ),
    // Serialization.
    ("a finish with an enum in task_completed cannot be written", &["what_v0_cannot_write_is_written_and_read_again"]),
    (
        "_diff_cache leaks",
        &["what_v0_wrote_is_read_and_written_again_the_same", "what_v0_cannot_write_is_written_and_read_again"],
    ),
    ("cutting to fewer than two characters fails", &["a_long_outcome_is_shown_by_both_its_ends_and_says_how_much_is_missing"]),
    ("an explicit null as tool_call_metadata fails", &["what_v0_cannot_write_is_written_and_read_again"]),
    ("a message's text is stored twice", &["a_text_is_stored_once"]),
    // API: what holds below any edge.
    (
        "events cannot be posted",
        &["a_running_agent_is_paused_told_something_and_stopped_from_another_terminal", "an_application_can_be_the_agent_itself"],
    ),
    ("a trajectory needs a live runtime", &["an_export_of_a_replay_can_be_replayed", "an_export_of_an_import_is_its_source"]),
    ("joining a session races with its history", &["a_subscriber_sees_history_then_live_without_gap_or_double"]),
    ("paging backwards is wrong in the nested store", &["a_page_from_the_end_is_newest_first", "a_page_has_both_its_bounds"]),
    (
        "a question to other nodes always waits its full time",
        &["a_command_for_a_session_of_another_node_is_carried_out_there_once"],
    ),
];

#[test]
fn every_entry_has_a_test_that_is_there() {
    assert_there(REGISTER);
}

fn ready() -> Scenario {
    let spec = Scenario::agent_spec();
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    while let Some(Effect::TakeStep { step, attempt, .. }) = scenario.session.next_effect() {
        scenario = scenario.given(Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) });
    }
    scenario
}

#[test]
fn a_session_that_has_not_started_is_in_no_error() {
    let scenario = Scenario::new();
    assert_eq!((&scenario.session.phase, scenario.session.agent), (&Phase::Unborn, AgentState::Loading));
    let spec = Box::new(Scenario::agent_spec());
    let scenario = scenario.given(Command::Create { spec, node: Scenario::node() });
    assert!(matches!(scenario.session.phase, Phase::Starting(_)));
    assert_eq!(scenario.session.agent, AgentState::Loading);
}

#[test]
fn a_closed_session_says_how_its_agent_stood() {
    let close = || Command::Close { reason: "enough".to_owned() };
    let closed = |scenario: Scenario| {
        let mut scenario = scenario.given(close());
        while let Some(Effect::Release { step, attempt, .. }) = scenario.session.next_effect() {
            scenario = scenario.given(Command::Released { step, attempt });
        }
        assert!(matches!(scenario.session.phase, Phase::Closed { .. }));
        let last = scenario.log.last().unwrap();
        assert_eq!(last.kind.as_str(), "session.closed", "nothing comes after the end");
        scenario.session.agent
    };
    assert_eq!(closed(ready()), AgentState::Stopped, "one that was at work was stopped");
    let paused = ready().given(Command::Pause);
    assert_eq!(closed(paused), AgentState::Paused, "and the others stay what they were");
}

#[test]
fn a_close_keeps_its_deadline() {
    let mut scenario = ready();
    let events = scenario.when(Command::Close { reason: "enough".to_owned() }).unwrap();
    let at = scenario.session.at;
    let Phase::Closing { deadline, .. } = scenario.session.phase else { panic!("it is closing: {events:?}") };
    let own = scenario.session.spec.as_ref().unwrap().deadlines.close_ms;
    assert_eq!(deadline.since(at).as_millis(), u128::from(own));
    let Some(Effect::Release { deadline: release, .. }) = scenario.session.next_effect() else { panic!("it releases") };
    assert_eq!(release, deadline, "what is released has no more time than that");
}

/// A step has its deadline with it, an action and a call of the model get theirs where they are performed.
#[test]
fn every_effect_has_an_end() {
    let scenario = Scenario::new().given(Command::Create { spec: Box::new(Scenario::agent_spec()), node: Scenario::node() });
    let Some(Effect::TakeStep { deadline, .. }) = scenario.session.next_effect() else { panic!("a step is under way") };
    assert!(deadline > scenario.session.at);
    // What went with the owner is no hang either: it is settled, or handed out again.
    let mut scenario = ready();
    scenario.crash_and_acquire().unwrap();
    while let Some(Effect::TakeStep { step, attempt, .. }) = scenario.session.next_effect() {
        scenario = scenario.given(Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) });
    }
    assert!(scenario.session.in_flight().is_some_and(|open| open.tag == "recall"), "memory is asked again");
}

#[test]
fn a_recording_that_cannot_be_performed_fails_the_start_and_leaves_nothing() {
    use rekindle::session::{OnDivergence, OnUnknown, StartStep};
    let origin = Scenario::replay(OnDivergence::Stop, OnUnknown::Stop);
    let spec = Box::new(Scenario::spec(origin));
    let scenario = Scenario::new().given(Command::Create { spec, node: Scenario::node() });
    let done = StepDone::Report(Report::default());
    let scenario = scenario.given(Command::StepDone { step: StartStep::Runtime, attempt: 1, done });
    let error = "the recording holds no message and no action to perform".to_owned();
    let scenario = scenario.given(Command::StepFailed { step: StartStep::Replay, attempt: 1, error });
    assert!(matches!(scenario.session.phase, Phase::StartFailed { step: StartStep::Replay, .. }));
    let Some(Effect::Release { step, attempt, .. }) = scenario.session.next_effect() else { panic!("it releases") };
    let scenario = scenario.given(Command::Released { step, attempt });
    assert_eq!(scenario.session.next_effect(), None);
}

#[test]
fn what_a_newer_version_wrote_is_kept_and_ends_nothing() {
    use rekindle::session::{Body, Event, EventId, Kind, Recorded, Seq, SessionId};
    let mut session = ready().session;
    let recorded = |kind: &str, body: &str| Recorded {
        session: SessionId::from_uuid(uuid::Uuid::nil()),
        seq: Seq(1000),
        id: EventId::from_uuid(uuid::Uuid::nil()),
        kind: Kind::new(kind),
        v: 1,
        at: session.at,
        source: Source::Environment,
        cause: None,
        must_understand: false,
        body: Body::Json(body.to_owned()),
    };
    let events = [
        recorded("action.teleport", r#"{"action":"teleport","args":{"to":"mars"}}"#),
        recorded("note.future", r#"{"anything":[1,2]}"#),
        recorded("turn.state_changed", r#"{"state":"running","mood":"good"}"#),
    ];
    for event in &events {
        session.apply(event);
    }
    assert_eq!(session.not_understood, None);
    assert!(matches!(Event::read(&events[0]), Event::Unknown(_)));
    assert!(rekindle::session::decide(&session, Command::Close { reason: "enough".to_owned() }, session.at).is_ok());
}

#[test]
fn what_v0_cannot_write_is_written_and_read_again() {
    for text in [
        r#"{"action":"finish","args":{"final_thought":"","task_completed":"partial","outputs":{},"thought":""}}"#,
        r#"{"action":"run","args":{"command":"ls"},"tool_call_metadata":null}"#,
        r#"{"observation":"edit","content":"x","extras":{"path":"a","prev_exist":true,"old_content":"a","new_content":"b","impl_source":"oh_aci","diff":null,"_diff_cache":null}}"#,
    ] {
        let item = Item::decode(text).unwrap();
        let again = Item::decode(&item.encode()).unwrap();
        assert_eq!(again.content, item.content);
    }
}

#[test]
fn a_text_is_stored_once() {
    let text = "a text of some length that stands nowhere else";
    let spec = SessionSpec { origin: Origin::fresh(Some("begin".to_owned())), ..Scenario::agent_spec() };
    let scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    let mut scenario = scenario;
    while let Some(Effect::TakeStep { step, attempt, .. }) = scenario.session.next_effect() {
        scenario = scenario.given(Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) });
    }
    let action = scenario.session.in_flight().unwrap().seq;
    let observation = Observation { content: text.to_owned(), extras: Extras::Success };
    let scenario = scenario.given(Command::Observe { action, observation: Box::new(observation), recorded: None });
    let times: usize = scenario.log.iter().map(|event| event.body.as_json().matches(text).count()).sum();
    assert_eq!(times, 1);
}
