//! Where each behaviour that V0's own tests expect is tested here.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Behaviour → tests.
const ACCEPTANCE: &[(&str, &[&str])] = &[
    // Event stream. V0's files and cache pages are rows of a database here, so that what is tested of pages is that they are right.
    ("1 an appended event can be read, with exactly its fields", &["events_come_back_as_they_were_appended"]),
    (
        "2 a stream that is opened again sees all events",
        &["a_kill_at_any_fsync_loses_nothing", "a_session_that_is_not_there_has_no_events"],
    ),
    (
        "3 events are found by kind, words, source, backwards and in pages",
        &["a_page_from_the_end_is_newest_first", "a_page_is_bounded_and_says_that_there_is_more"],
    ),
    ("4 memory stays bounded", &["pages_of_long_bodies_are_bounded", "the_trail_keeps_no_more_than_it_needs"]),
    ("5 pages are read", &["the_chain_verifies_across_pages"]),
    ("6 limits and windows of a search", &["a_page_has_both_its_bounds", "a_list_is_bounded"]),
    ("7 a subscriber that comes late", &["a_subscriber_sees_history_then_live_without_gap_or_double"]),
    (
        "8 a missing event does not break reading",
        &["missing_and_moved_events_are_named", "a_missing_event_is_shown_as_such_and_does_not_stop_the_rest"],
    ),
    (
        "9 secrets are masked, the envelope is not",
        &["no_form_of_a_value_survives_at_any_place", "no_value_makes_an_event_of_any_kind_unreadable"],
    ),
    // Serialization.
    ("10 every type round trips", &["an_unmodified_import_is_exported_as_its_source", "our_own_vectors_hold_every_type"]),
    (
        "11 old forms of actions",
        &["what_older_versions_wrote_is_read_as_v0_reads_it", "our_own_old_forms_are_read_as_v0_reads_them"],
    ),
    ("12 old forms of observations", &["what_older_versions_wrote_is_read_as_v0_reads_it"]),
    ("13 success by exit code", &["what_v0_wrote_is_read_and_written_again_the_same"]),
    ("14 metrics: none, simple, full", &["what_v0_wrote_is_read_and_written_again_the_same"]),
    (
        "15 recall observations",
        &["what_v0_wrote_is_read_and_written_again_the_same", "context_is_told_and_the_same_knowledge_only_once"],
    ),
    // State and view.
    ("16 a view is kept until the history grows", &["a_snapshot_at_any_event_and_the_events_behind_it_equal_the_full_fold"]),
    (
        "17 a view without what was forgotten and with its summary",
        &["what_was_forgotten_is_not_seen_and_its_summary_stands_there"],
    ),
    // Agent session.
    ("18 a session without a state begins anew", &["a_start_takes_its_steps_in_order_and_says_which_were_not_needed"]),
    ("19 a restored session keeps its limits", &["limits_are_folds_that_a_restart_does_not_reset_and_a_resume_can_raise"]),
    (
        "20 provider tokens overridden by secrets",
        &["a_repository_has_its_providers_token_and_a_secret_of_that_name_goes_before_it"],
    ),
    (
        "21 one place for metrics, and the budget follows",
        &["a_budget_that_is_reached_ends_the_work_and_going_on_adds_what_it_was_again_and_again"],
    ),
    // Controller.
    (
        "22 states are set",
        &[
            "a_message_of_the_user_sets_the_agent_running_from_every_state_in_which_it_rests",
            "no_state_is_set_that_is_set_already",
        ],
    ),
    ("23 a fatal error", &["a_fatal_error_of_the_agent_is_one_error_and_ends_the_run"]),
    ("24 a repeated error", &["an_action_that_fails_the_same_three_times_is_a_loop"]),
    ("25 the iteration limit", &["the_iteration_limit_ends_in_an_error_that_a_message_clears_for_a_person_and_never_headless"]),
    ("26 the budget", &["a_budget_that_is_reached_ends_the_work_and_going_on_adds_what_it_was_again_and_again"]),
    (
        "27 the reset of a pending action",
        &[
            "an_action_that_was_not_executed_gets_one_error_that_answers_it",
            "stopping_when_nothing_is_open_tells_the_agent_of_no_action",
        ],
    ),
    ("28 metrics after the limit", &["what_was_used_is_known_when_a_limit_ended_the_run"]),
    (
        "29 the context window",
        &[
            "a_history_that_is_too_long_is_condensed_by_its_ids_and_the_agent_is_asked_again",
            "with_condensing_turned_off_a_history_that_is_too_long_ends_in_an_error",
            "a_conversation_that_is_too_long_is_told_apart",
            "a_history_that_outgrows_the_models_window_is_summed_up_too",
        ],
    ),
    ("30 a memory that fails", &["a_memory_that_fails_is_told_to_the_agent_and_ends_nothing"]),
    (
        "31 metrics beside an action",
        &[
            "what_was_used_is_known_when_a_limit_ended_the_run",
            "a_summary_is_a_call_of_its_own_that_is_counted_and_is_no_iteration",
        ],
    ),
    ("32 the first message by its id", &["the_first_message_asks_memory_for_the_workspace_and_the_same_words_again_do_not"]),
    ("33 a null observation", &["an_answer_of_memory_that_holds_nothing_lets_the_agent_go_to_work"]),
    ("34 the system message", &["the_agent_is_briefed_once_and_again_only_when_what_it_is_told_changes"]),
    ("35 retries are told", &["an_endpoint_s_own_error_is_tried_again_and_told_when_it_stays"]),
    (
        "36 refused content",
        &["a_status_is_told_by_v0s_id_beside_the_reason", "refused_content_is_told_apart_as_an_error_and_as_an_answer"],
    ),
    // The rest, by file.
    (
        "history: what is essential is kept",
        &["half_is_forgotten_and_the_task_is_not", "when_only_the_task_is_left_nothing_is_forgotten"],
    ),
    ("history: no outcome without its action", &["calls_of_one_answer_are_kept_or_forgotten_together_with_their_outcomes"]),
    (
        "stuck",
        &[
            "too_little_is_no_loop_and_the_same_pair_four_times_is_one",
            "a_message_of_a_person_begins_the_count_anew",
            "the_same_cell_with_the_same_syntax_error_is_a_loop_and_with_another_one_is_none",
            "two_pairs_that_alternate_three_times_are_a_loop_and_others_are_none",
            "an_agent_that_says_the_same_three_times_is_stuck_unless_it_sees_something_between",
            "ten_condensations_in_a_row_are_a_loop_and_nine_are_none",
        ],
    ),
    // V0 calls the parent stuck with its delegate. Here the delegate ends, and its parent is told why and can do otherwise.
    ("stuck: a delegate that is stuck", &["an_error_of_a_delegate_is_told_to_its_parent_which_goes_on"]),
    ("iteration limit: raised by messages", &["a_message_before_the_limit_is_reached_does_not_move_it"]),
    ("traffic control: its words", &["limits_are_told_with_whole_iterations_and_two_decimals_of_money"]),
    (
        "control flags",
        &[
            "a_limit_that_is_not_reached_stays_where_it_is_when_the_agent_goes_on",
            "a_budget_that_is_reached_ends_the_work_and_going_on_adds_what_it_was_again_and_again",
        ],
    ),
    ("delegation: begun, followed, ended", &["a_delegate_is_a_session_of_its_own_and_its_outcome_an_observation_of_its_parent"]),
    (
        "delegation: in which states the parent goes on",
        &[
            "what_a_delegate_asks_it_asks_its_parent",
            "a_delegate_that_is_closed_or_stopped_from_outside_is_an_outcome_like_any_other",
        ],
    ),
    (
        "delegation: a global limit does not end it in silence",
        &["a_limit_holds_over_all_levels_and_raising_it_lets_the_delegate_go_on_where_it_was"],
    ),
    (
        "replay: to its end",
        &[
            "a_recorded_session_is_performed_again_without_divergence",
            "a_recording_that_begins_with_a_prompt_and_asks_memory_is_performed_to_its_end",
        ],
    ),
    ("replay: another beginning", &["a_recording_whose_files_are_missing_diverges_and_still_ends"]),
    ("replay: the user's messages", &["recorded_user_messages_enter_again_in_order"]),
    (
        "memory",
        &[
            "every_field_of_the_workspace_is_recalled",
            "whatever_is_asked_has_an_answer",
            "knowledge_is_told_once_in_a_session_and_by_the_first_trigger_of_its_file",
        ],
    ),
    // Below any edge: over HTTP they are the matter of whoever serves it.
    (
        "conversations and their API",
        &[
            "a_list_is_bounded",
            "lists_have_one_shape_in_json_and_ndjson",
            "a_page_from_the_end_is_newest_first",
            "a_subscriber_sees_history_then_live_without_gap_or_double",
            "a_running_agent_is_paused_told_something_and_stopped_from_another_terminal",
        ],
    ),
    (
        "providers and secrets",
        &[
            "a_value_is_kept_for_its_user_alone_and_never_shown",
            "a_value_that_is_replaced_is_hidden_still_and_the_new_one_too",
            "the_log_names_a_secret_and_its_fingerprint",
            "a_former_value_is_remembered_and_a_description_kept",
        ],
    ),
    (
        "git tokens, clones and hooks",
        &[
            "each_providers_token_opens_its_repository_and_is_then_nowhere",
            "a_refused_clone_is_a_failed_step_that_names_the_secret_and_not_its_value",
            "a_named_branch_is_worked_on_and_a_missing_one_names_those_that_are",
            "a_hook_that_is_there_is_kept_and_called_first",
        ],
    ),
    (
        "microagents",
        &[
            "a_file_is_what_it_is_by_its_place",
            "the_kind_is_inferred_whatever_the_file_calls_itself",
            "a_trigger_is_met_by_whole_words_in_any_case",
            "a_bad_file_is_named_and_takes_nothing_from_the_others",
            "what_the_owner_tells_all_agents_is_told_before_the_repositorys_own_which_wins",
        ],
    ),
    // Of V0's condensers there are the window and the summary; masking, attention and pipelines are not.
    (
        "condensers",
        &[
            "a_history_is_summed_up_unless_something_else_is_said",
            "what_is_missing_or_wrong_is_named_with_the_way_out",
            "so_much_is_forgotten_of_what_is_too_much_that_half_of_the_most_stay_with_the_summary",
            "the_summary_of_before_is_summed_up_with_the_rest",
            "a_summary_that_cannot_be_had_is_named_in_the_log_and_the_window_does_instead",
        ],
    ),
];

/// Fails unless every test that is named is somewhere in this project.
pub fn assert_there(table: &[(&str, &[&str])]) {
    let known = tests();
    for (what, places) in table {
        assert!(!places.is_empty(), "{what}: no test");
        for place in *places {
            assert!(known.contains(*place), "{what}: there is no test {place}");
        }
    }
}

/// The names of all functions of this project's sources and tests that stand behind a mark of a test, or in a kit of tests.
fn tests() -> HashSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = HashSet::new();
    for folder in ["src", "tests/it"] {
        read(&root.join(folder), &mut names);
    }
    names
}

fn read(folder: &Path, names: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let kit = path.components().any(|part| part.as_os_str() == "conformance");
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = kit;
            for line in text.lines().map(str::trim_start) {
                marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let bare = line.trim_start_matches("pub(super) ").trim_start_matches("pub ").trim_start_matches("async ");
                if let Some(name) = bare.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) {
                    if marked {
                        names.insert(name.to_owned());
                    }
                    marked = kit;
                }
            }
        }
    }
}

#[test]
fn every_behaviour_has_a_test_that_is_there() {
    assert_there(ACCEPTANCE);
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let missing: &[(&str, &[&str])] = &[("nothing", &["a_test_that_nobody_wrote"])];
    assert!(std::panic::catch_unwind(|| assert_there(missing)).is_err());
    assert!(!tests().contains("assert_there"), "what is no test does not count");
}
