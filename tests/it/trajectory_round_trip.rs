//! What goes in comes out: items of every type, and whole recordings.

use std::path::Path;

use proptest::prelude::*;
use rekindle::session::action::*;
use rekindle::session::json::Dict;
use rekindle::session::metrics::*;
use rekindle::session::observation::*;
use rekindle::session::{Content, Item, Json, Object, Source};
use rekindle::trajectory::{Entry, parse, read_file};
use serde_json::Value;

fn text() -> BoxedStrategy<String> {
    prop_oneof!["[a-z/ .]{0,8}", any::<String>(), Just("it's \"q\" \u{0}\u{1b}é😀\n".to_owned())].boxed()
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..3)
}

fn json() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    tree.prop_map(Json::from).boxed()
}

/// A JSON value where the key may also be missing; a null there is read as missing.
fn some_json() -> impl Strategy<Value = Option<Json>> {
    prop::option::of(json().prop_filter("null is none", |json| json.get() != "null"))
}

fn dict<V: std::fmt::Debug + 'static>(value: impl Strategy<Value = V> + 'static) -> BoxedStrategy<Dict<V>> {
    // Keys come unsorted, so that an order that is lost is seen.
    prop::collection::vec((text(), value), 0..4).prop_map(|entries| entries.into_iter().collect()).boxed()
}

fn object() -> impl Strategy<Value = Object> {
    dict(json())
}

fn risk() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(-1_i64..=2)
}

fn confirmation() -> impl Strategy<Value = Confirmation> {
    prop::sample::select(vec![Confirmation::Confirmed, Confirmation::Rejected, Confirmation::AwaitingConfirmation])
}

fn recall_type() -> impl Strategy<Value = RecallType> {
    prop::sample::select(vec![RecallType::WorkspaceContext, RecallType::Knowledge])
}

fn maybe<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(value)
}

fn executed() -> BoxedStrategy<Action> {
    let flags = || any::<(bool, bool, bool, bool)>();
    prop_oneof![
        (text(), text(), flags(), maybe(text()), confirmation(), risk()).prop_map(
            |(command, thought, flags, cwd, state, risk)| {
                Action::Run(Run {
                    command,
                    is_input: flags.0,
                    thought,
                    blocking: flags.1,
                    is_static: flags.2,
                    cwd,
                    hidden: flags.3,
                    confirmation_state: state,
                    security_risk: risk,
                })
            }
        ),
        (text(), text(), any::<bool>(), confirmation(), risk(), text()).prop_map(|(code, thought, extra, state, risk, init)| {
            Action::RunIpython(RunIpython {
                code,
                thought,
                include_extra: extra,
                confirmation_state: state,
                security_risk: risk,
                kernel_init_code: init,
            })
        }),
        (text(), text(), maybe(any::<bool>()), risk()).prop_map(|(url, thought, return_axtree, security_risk)| {
            Action::Browse(Browse { url, thought, return_axtree, security_risk })
        }),
        (text(), text(), text(), maybe(any::<bool>()), risk()).prop_map(
            |(actions, thought, send, return_axtree, security_risk)| {
                let browser_actions = actions;
                let browsergym_send_msg_to_user = send;
                let all =
                    BrowseInteractive { browser_actions, thought, browsergym_send_msg_to_user, return_axtree, security_risk };
                Action::BrowseInteractive(all)
            }
        ),
        (text(), any::<(i64, i64)>(), text(), risk(), text(), maybe(prop::collection::vec(any::<i64>(), 0..3))).prop_map(
            |(path, (start, end), thought, security_risk, impl_source, view_range)| {
                Action::Read(ReadFile { path, start, end, thought, security_risk, impl_source, view_range })
            }
        ),
        (text(), text(), any::<(i64, i64)>(), text(), risk()).prop_map(
            |(path, content, (start, end), thought, security_risk)| {
                Action::Write(WriteFile { path, content, start, end, thought, security_risk })
            }
        ),
        (
            (text(), text(), maybe(text()), maybe(text()), maybe(text()), maybe(any::<i64>())),
            (text(), any::<(i64, i64)>(), text(), risk(), text())
        )
            .prop_map(|((path, command, file_text, old_str, new_str, insert_line), rest)| {
                let (content, (start, end), thought, security_risk, impl_source) = rest;
                Action::Edit(EditFile {
                    path,
                    command,
                    file_text,
                    old_str,
                    new_str,
                    insert_line,
                    content,
                    start,
                    end,
                    thought,
                    security_risk,
                    impl_source,
                })
            }),
        (text(), object(), text(), risk()).prop_map(|(name, arguments, thought, security_risk)| {
            Action::CallToolMcp(CallToolMcp { name, arguments, thought, security_risk })
        }),
    ]
    .boxed()
}

fn condensation() -> impl Strategy<Value = Action> {
    let summary = || maybe((text(), any::<i64>()));
    prop_oneof![
        (prop::collection::vec(any::<i64>(), 0..4), summary()).prop_map(|(ids, summary)| Condensation {
            forgotten_event_ids: Some(ids),
            summary_offset: summary.as_ref().map(|summary| summary.1),
            summary: summary.map(|summary| summary.0),
            ..Condensation::default()
        }),
        (any::<(i64, i64)>(), summary()).prop_map(|((start, end), summary)| Condensation {
            forgotten_events_start_id: Some(start),
            forgotten_events_end_id: Some(end),
            summary_offset: summary.as_ref().map(|summary| summary.1),
            summary: summary.map(|summary| summary.0),
            ..Condensation::default()
        }),
    ]
    .prop_map(Action::Condensation)
}

fn said() -> BoxedStrategy<Action> {
    prop_oneof![
        Just(Action::Null),
        Just(Action::CondensationRequest),
        text().prop_map(|thought| Action::Think(Think { thought })),
        (text(), some_json(), object(), text()).prop_map(|(final_thought, task_completed, outputs, thought)| {
            Action::Finish(Finish { final_thought, task_completed, outputs, thought })
        }),
        (object(), text()).prop_map(|(outputs, thought)| Action::Reject(Reject { outputs, thought })),
        (text(), object(), text()).prop_map(|(agent, inputs, thought)| Action::Delegate(Delegate { agent, inputs, thought })),
        (recall_type(), text(), text())
            .prop_map(|(recall_type, query, thought)| { Action::Recall(Recall { recall_type, query, thought }) }),
        (text(), text()).prop_map(|(agent_state, thought)| Action::ChangeAgentState(ChangeAgentState { agent_state, thought })),
        (text(), maybe(maybe(texts())), maybe(texts()), any::<bool>(), risk()).prop_map(
            |(content, files, images, wait, risk)| {
                Action::Message(Message {
                    content,
                    file_urls: files,
                    image_urls: images,
                    wait_for_response: wait,
                    security_risk: risk,
                })
            }
        ),
        (text(), some_json(), maybe(text()), maybe(text())).prop_map(|(content, tools, openhands_version, agent_class)| {
            Action::System(SystemMessage { content, tools, openhands_version, agent_class })
        }),
        condensation(),
        (text(), prop::collection::vec(json(), 0..3), text())
            .prop_map(|(command, task_list, thought)| { Action::TaskTracking(TaskTracking { command, task_list, thought }) }),
        any::<i64>().prop_map(|option| Action::LoopRecovery(LoopRecovery { option })),
    ]
    .boxed()
}

fn metadata() -> BoxedStrategy<CommandMetadata> {
    let words = (maybe(text()), maybe(text()), maybe(text()), maybe(text()));
    (any::<(i64, i64)>(), words, text(), text())
        .prop_map(|((exit_code, pid), words, prefix, suffix)| CommandMetadata {
            exit_code,
            pid,
            username: words.0,
            hostname: words.1,
            working_dir: words.2,
            py_interpreter_path: words.3,
            prefix,
            suffix,
        })
        .boxed()
}

fn page() -> BoxedStrategy<BrowserOutput> {
    let about = (text(), text(), text(), maybe(text()), text(), any::<(bool, i64)>());
    let inside = (object(), object(), object(), prop::collection::vec(json(), 0..3), texts());
    (about, inside, text(), text(), text(), maybe(any::<bool>()))
        .prop_map(|(about, inside, action, error, bid, visible)| BrowserOutput {
            url: about.0,
            trigger_by_action: about.1,
            screenshot: about.2,
            screenshot_path: about.3,
            set_of_marks: about.4,
            error: about.5.0,
            goal_image_urls: inside.3,
            open_pages_urls: inside.4,
            active_page_index: about.5.1,
            dom_object: inside.0,
            axtree_object: inside.1,
            extra_element_properties: inside.2,
            last_browser_action: action,
            last_browser_action_error: error,
            focused_element_bid: bid,
            filter_visible_only: visible,
        })
        .boxed()
}

fn recalled() -> BoxedStrategy<Recalled> {
    let knowledge = (text(), text(), text()).prop_map(|(name, trigger, content)| MicroagentKnowledge { name, trigger, content });
    let repo = (text(), text(), maybe(text()), text());
    let notes = (text(), text(), text(), maybe(text()));
    let maps = (dict(any::<i64>()), dict(text()), prop::collection::vec(knowledge, 0..3));
    (recall_type(), repo, notes, maps)
        .prop_map(|(recall_type, repo, notes, maps)| Recalled {
            recall_type,
            repo_name: repo.0,
            repo_directory: repo.1,
            repo_branch: repo.2,
            repo_instructions: repo.3,
            runtime_hosts: maps.0,
            additional_agent_instructions: notes.0,
            date: notes.1,
            custom_secrets_descriptions: maps.1,
            conversation_instructions: notes.2,
            working_dir: notes.3,
            microagent_knowledge: maps.2,
        })
        .boxed()
}

fn extras() -> BoxedStrategy<Extras> {
    let bare = prop::sample::select(vec![
        Extras::Null,
        Extras::Success,
        Extras::UserRejected,
        Extras::Condense,
        Extras::Think,
        Extras::LoopDetection,
    ]);
    let edited = (text(), any::<bool>(), maybe(text()), maybe(text()), text(), maybe(text()), some_json());
    prop_oneof![
        bare,
        (text(), metadata(), any::<bool>())
            .prop_map(|(command, metadata, hidden)| { Extras::Run(RunOutput { command, metadata, hidden }) }),
        (text(), maybe(texts())).prop_map(|(code, image_urls)| Extras::RunIpython(IpythonOutput { code, image_urls })),
        page().prop_map(|page| Extras::Browse(Box::new(page))),
        (text(), text()).prop_map(|(path, impl_source)| Extras::Read(FileRead { path, impl_source })),
        text().prop_map(|path| Extras::Write(FileWritten { path })),
        edited.prop_map(|(path, prev_exist, old_content, new_content, impl_source, diff, diff_cache)| {
            let edited = FileEdited { path, prev_exist, old_content, new_content, impl_source, diff, diff_cache };
            Extras::Edit(Box::new(edited))
        }),
        object().prop_map(|outputs| Extras::Delegate(Delegated { outputs })),
        text().prop_map(|error_id| Extras::Error(Failure { error_id })),
        (text(), text()).prop_map(|(agent_state, reason)| Extras::AgentStateChanged(AgentStateChanged { agent_state, reason })),
        recalled().prop_map(|recalled| Extras::Recall(Box::new(recalled))),
        (text(), object()).prop_map(|(name, arguments)| Extras::Mcp(McpResult { name, arguments })),
        text().prop_map(|file_path| Extras::Download(Downloaded { file_path })),
        (text(), prop::collection::vec(json(), 0..3))
            .prop_map(|(command, task_list)| { Extras::TaskTracking(TaskList { command, task_list }) }),
    ]
    .boxed()
}

fn metrics() -> BoxedStrategy<Metrics> {
    let money = || 0.0..1e9_f64;
    let usage = || {
        (text(), any::<[i64; 6]>(), text()).prop_map(|(model, n, response_id)| TokenUsage {
            model,
            prompt_tokens: n[0],
            completion_tokens: n[1],
            cache_read_tokens: n[2],
            cache_write_tokens: n[3],
            context_window: n[4],
            per_turn_token: n[5],
            response_id,
        })
    };
    let cost = (text(), money(), maybe(money())).prop_map(|(model, cost, timestamp)| Cost { model, cost, timestamp });
    let latency =
        (text(), money(), text()).prop_map(|(model, latency, response_id)| ResponseLatency { model, latency, response_id });
    (
        money(),
        maybe(maybe(money())),
        usage().prop_map(Some),
        prop::collection::vec(cost, 0..3),
        prop::collection::vec(latency, 0..3),
        prop::collection::vec(usage(), 0..3),
    )
        .prop_map(|(cost, budget, usage, costs, response_latencies, token_usages)| Metrics {
            accumulated_cost: cost,
            max_budget_per_task: budget,
            accumulated_token_usage: usage,
            costs,
            response_latencies,
            token_usages,
        })
        .boxed()
}

prop_compose! {
    fn item()(
        content in prop_oneof![
            executed().prop_map(Content::Action),
            said().prop_map(Content::Action),
            (text(), extras()).prop_map(|(content, extras)| Content::Observation(Observation { content, extras })),
        ],
        id in maybe(0..i64::MAX),
        timestamp in maybe(text()),
        source in maybe(prop::sample::select(vec![Source::User, Source::Agent, Source::Environment])),
        cause in maybe(any::<i64>()),
        timeout in maybe(0.0..1e6_f64),
        tool_call in maybe(object()),
        llm_metrics in maybe(metrics()),
    ) -> Item {
        let tool_call_metadata = tool_call.map(|object| serde_json::value::to_raw_value(&object).unwrap());
        let timeout = timeout.filter(|_| matches!(content, Content::Action(_)));
        Item { id, timestamp, source, cause, timeout, tool_call_metadata, llm_metrics, content }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_item_is_read_back_as_it_was_written(item in item()) {
        let text = item.encode();
        let again = Item::decode(&text).unwrap();
        prop_assert_eq!(&again.content, &item.content);
        prop_assert_eq!(&again.llm_metrics, &item.llm_metrics);
        prop_assert_eq!(again.encode(), text);
    }

    #[test]
    fn an_export_without_a_browser_is_the_stored_form_or_less(item in item()) {
        let exported = item.encode_trajectory(false);
        prop_assert!(exported.len() <= item.encode().len());
        if matches!(item.content, Content::Action(_)) {
            prop_assert_eq!(exported, item.encode());
        } else {
            Item::decode(&exported).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
    }

    #[test]
    fn a_recording_is_read_back_as_it_was_written(items in prop::collection::vec(item(), 1..8)) {
        let elements: Vec<String> = items.iter().map(Item::encode).collect();
        let trajectory = parse(&format!(" [{}] ", elements.join(" ,\n"))).unwrap();
        prop_assert_eq!(trajectory.entries.iter().map(Entry::raw).collect::<Vec<_>>(), elements.iter().collect::<Vec<_>>());
        let again = parse(&trajectory.to_json()).unwrap();
        prop_assert_eq!(again.entries.iter().map(Entry::raw).collect::<Vec<_>>(), elements);
        for (entry, item) in again.entries.iter().zip(&items) {
            prop_assert_eq!(entry.kind(), &item.content.kind());
            prop_assert_eq!(entry.source(), item.source);
        }
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in any::<String>()) {
        let _ = Item::decode(&text);
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_makes_the_readers_panic(item in item(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let mut text: Vec<char> = item.encode().chars().collect();
        let at = at.index(text.len());
        text[at] = with;
        let text: String = text.into_iter().collect();
        if let Ok(item) = Item::decode(&text) {
            let _ = item.encode_trajectory(true);
        }
        let _ = parse(&format!("[{text}]"));
    }
}

fn shared(file: &str) -> std::path::PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/trajectories")).join(file)
}

#[test]
fn an_unmodified_import_is_exported_as_its_source() {
    for file in ["basic.json", "basic_interactions.json", "wrong_initial_state.json", "pony_parser_49.json"] {
        let source: Value = serde_json::from_str(&std::fs::read_to_string(shared(file)).unwrap()).unwrap();
        let trajectory = read_file(&shared(file)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&trajectory.to_json()).unwrap(), source, "{file}");
        for entry in &trajectory.entries {
            entry.item().unwrap_or_else(|error| panic!("{file} {}: {error}", entry.index()));
        }
    }
}

#[test]
fn the_demo_is_in_the_form_that_v0_exports() {
    let trajectory = read_file(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/demo.json"))).unwrap();
    for entry in &trajectory.entries {
        let recorded: Json = serde_json::from_str(entry.raw()).unwrap();
        assert_eq!(entry.item().unwrap().encode_trajectory(false), recorded.get());
    }
    let kinds: Vec<_> = trajectory.entries.iter().take(4).map(|entry| entry.kind().as_str()).collect();
    assert_eq!(kinds, ["action.system", "action.message", "action.recall", "observation.recall"]);
}

#[test]
fn a_stored_session_is_read_whole() {
    let trajectory = read_file(&shared("sessions/3396c6f9bc024b81ad9bd57d9b9a6768")).unwrap();
    assert_eq!(trajectory.name.as_ref().map(|name| name.as_str()), Some("3396c6f9bc024b81ad9bd57d9b9a6768"));
    assert_eq!(trajectory.title.as_deref(), Some("Conversation 3396c"));
    assert_eq!(trajectory.entries.len(), 4);
    assert!(trajectory.damaged.is_empty());
    assert_eq!(trajectory.entries[0].timestamp().unwrap().to_string(), "2025-07-09T13:49:35.979902Z");
    for entry in &trajectory.entries {
        // This message was made from the name of a Python enum, of which the event itself keeps only the value.
        let raw = entry.raw().replace("AgentState.AWAITING_USER_INPUT", "awaiting_user_input");
        let stored: Json = serde_json::from_str(&raw).unwrap();
        assert_eq!(entry.item().unwrap().encode(), stored.get());
    }
}
