//! The real program lets an agent work on a task, with a model behind real HTTP: to the end, through everything that can go wrong, and
//! with a person who has a say.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli_support::{Rig, lines, wait_until};
use crate::live_support::{answers, asked, assert_conversation, calls, finishes, following, log, messages, said, words};
use crate::model_server::{ModelAnswer, ModelServer, Reply};

fn kinds<'a>(log: &'a [Value], family: &str) -> Vec<&'a str> {
    log.iter().filter_map(|event| event["kind"].as_str()).filter(|kind| kind.starts_with(family)).collect()
}

/// A program with a bug, its test, and an agent that finds and mends it.
fn a_task() -> Vec<ModelAnswer> {
    let create = |n, path: &str, text: &str| {
        calls(n, "str_replace_editor", &json!({ "command": "create", "path": path, "file_text": text }))
    };
    let edit = json!({ "command": "str_replace", "path": "/workspace/sum.sh", "old_str": "$1 - $2", "new_str": "$1 + $2" });
    vec![
        create(1, "/workspace/sum.sh", "echo $(($1 - $2))\n"),
        create(2, "/workspace/test.sh", "[ \"$(sh sum.sh 2 3)\" = 5 ] && echo passed || { echo failed; exit 1; }\n"),
        calls(3, "bash", &json!({ "command": "cd /workspace && sh test.sh" })),
        calls(4, "think", &json!({ "thought": "It subtracts." })),
        calls(5, "str_replace_editor", &edit).calls("call_6", "bash", &json!({ "command": "sh test.sh" })),
        calls(7, "python", &json!({ "code": "open('/workspace/sum.sh').read()" })),
        finishes(8, "The sum is one now."),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_creates_edits_tests_and_finishes() {
    let (rig, model) = (Rig::new(), following(a_task()).await);
    let done = said(rig.live(&model, &["-o", "json", "make the sum a sum"])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let summary: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&summary["state"], &summary["agent"]["iterations"]), (&json!("finished"), &json!(7)), "{summary:#}");
    assert_eq!(summary["agent"]["cost_micro_usd"], Value::Null, "nobody knows what this model costs");
    assert_eq!(lines(&rig.path("work/sum.sh")), ["echo $(($1 + $2))"]);
    let requests = model.received();
    assert_eq!(requests.len(), 7);
    requests.iter().for_each(assert_conversation);
    let results: Vec<String> = messages(&requests[6]).iter().filter(|message| message["role"] == "tool").map(words).collect();
    assert!(results[2].contains("failed") && results[2].contains("exit code 1"), "{results:#?}");
    assert!(results[5].contains("passed") && results[5].contains("exit code 0"), "{results:#?}");
    assert!(results[6].contains("$1 + $2"), "{results:#?}");
    let log = log(&rig).await;
    assert_eq!(kinds(&log, "model.requested").len(), 7);
    assert_eq!(kinds(&log, "model.responded").len(), 7);
    assert_eq!(kinds(&log, "model.briefed").len(), 1, "prompt and tools are kept once");
    let verified = asked(&rig, &["verify", "live"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_grows_with_the_conversation_and_not_with_its_square() {
    let script = |rounds: usize| {
        let mut script: Vec<ModelAnswer> =
            (0..rounds).map(|n| calls(n, "bash", &json!({ "command": format!("printf '%0500d' {n}") }))).collect();
        script.push(finishes(rounds, "done"));
        script
    };
    let mut sizes = Vec::new();
    for rounds in [4, 8, 16] {
        let (rig, model) = (Rig::new(), following(script(rounds)).await);
        let done = said(rig.live(&model, &["count"])).await;
        assert_eq!(done.code, 0, "{done:?}");
        sizes.push(log(&rig).await.iter().map(|event| event.to_string().len()).sum::<usize>());
    }
    let [small, middle, large] = sizes[..] else { unreachable!() };
    let (first, second) = (middle - small, large - middle);
    assert!(second < first * 9 / 4, "four rounds more cost {first}, eight more {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_refuses_the_key_is_told_and_a_resume_goes_on_once_that_is_mended() {
    let rig = Rig::new();
    let model = ModelServer::replying(move |request| {
        let asked_for_words = answers(request) == 0;
        match request.headers.get("authorization").map(String::as_str) {
            Some("Bearer right") if asked_for_words => calls(1, "bash", &json!({ "command": "echo hi" })).into(),
            Some("Bearer right") => finishes(2, "said hi").into(),
            _ => Reply::error(401, "invalid_api_key", "Incorrect API key provided"),
        }
    })
    .await;
    let mut run = rig.live(&model, &["say hi"]);
    run.env("OPENAI_API_KEY", "wrong");
    let refused = said(run).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("401") && refused.out.contains("OPENAI_API_KEY"), "{refused:?}");
    let mut resume = rig.command(&["resume", "live"]);
    resume.env("OPENAI_API_KEY", "right").env("XDG_CONFIG_HOME", rig.home.path());
    let done = said(resume).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("finished"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_endpoint_does_wrong_for_good_ends_the_run_with_its_reason() {
    let failing: [(&str, Reply, &[&str]); 4] = [
        ("content policy", Reply::error(400, "content_policy_violation", "content policy"), &["content policy"]),
        ("no such model", Reply::error(404, "model_not_found", "no model fake"), &["404", "no model fake"]),
        ("unreadable answer", Reply::Raw("data: {nonsense\n\n".to_owned()), &["answer"]),
        ("never there", Reply::error(500, "server_error", "out of order"), &["out of order"]),
    ];
    for (what, reply, words) in failing {
        let (rig, model) = (Rig::new(), ModelServer::replying(move |_| reply.clone()).await);
        let config = rig.write("config.toml", "[model]\nretries = 0\n");
        let failed = said(rig.live(&model, &["--config", &config, "do it"])).await;
        assert_eq!(failed.code, 1, "{what}: {failed:?}");
        for word in words {
            assert!(failed.out.contains(word), "{what}: {word:?} is not in {failed:?}");
        }
        assert!(!failed.err.contains("panicked"), "{what}: {failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_asked_too_often_is_asked_again_when_it_says_so() {
    let rig = Rig::new();
    let limited = Reply::Error(429, vec![("retry-after", "1".into())], "{}".into());
    let model = ModelServer::scripted([limited, finishes(1, "done").into()]).await;
    let config = rig.write("config.toml", "[model]\nretries = 0\n");
    let done = said(rig.live(&model, &["--config", &config, "do it"])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let log = log(&rig).await;
    let limited = |event: &&Value| event["kind"] == "turn.state_changed" && event.to_string().contains("rate_limited");
    assert_eq!(log.iter().filter(limited).count(), 1, "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_read_and_a_tool_that_is_not_there_are_told_to_the_model_which_goes_on() {
    let mut malformed = ModelAnswer::default();
    malformed.calls.push(("call_1".to_owned(), "bash".to_owned(), "{\"command\": \"echo".to_owned()));
    let script = [malformed, calls(2, "fly", &json!({ "to": "the moon" })), ModelAnswer::default(), finishes(4, "enough")];
    let rig = Rig::new();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let model = ModelServer::replying(move |_| {
        let n = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        script.get(n).cloned().map_or_else(|| Reply::error(400, "script_ended", "ended"), Reply::from)
    })
    .await;
    let done = said(rig.live(&model, &["do it"])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let requests = model.received();
    requests.iter().for_each(assert_conversation);
    let told: String = messages(requests.last().unwrap()).iter().map(words).collect::<Vec<_>>().join("\n");
    assert!(told.contains("fly"), "the model is told which tool there is not: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_outgrows_the_window_is_condensed_and_the_task_goes_on() {
    const ROUNDS: usize = 8;
    let rig = Rig::new();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let model = ModelServer::replying(move |request| {
        let length = request.body["messages"].to_string().len();
        if length > 6000 {
            return Reply::error(400, "context_length_exceeded", "This model's maximum context length is 1500 tokens");
        }
        match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            n if n < ROUNDS => calls(n, "bash", &json!({ "command": format!("printf '%0900d' {n}") })).into(),
            n => finishes(n, "counted").into(),
        }
    })
    .await;
    let done = said(rig.live(&model, &["--condenser", "window", "count"])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let log = log(&rig).await;
    assert!(!kinds(&log, "action.condensation").is_empty(), "{:?}", kinds(&log, ""));
    model.received().iter().for_each(assert_conversation);
    let last = model.received().pop().unwrap();
    assert!(messages(&last).iter().any(|message| words(message).contains("count")), "the task is never forgotten");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_ends_the_run_and_a_resume_that_raises_it_goes_on() {
    let (rig, model) = (Rig::new(), following(a_task()).await);
    let stopped = said(rig.live(&model, &["--iterations", "2", "make the sum a sum"])).await;
    assert_eq!(stopped.code, 1, "{stopped:?}");
    assert!(stopped.out.contains("maximum iteration") && stopped.out.contains("resume"), "{stopped:?}");
    assert_eq!(model.received().len(), 2);
    let done = asked(&rig, &["resume", "live", "--iterations", "20"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(model.received().len(), 7, "nothing was asked twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_prepares_is_there_for_the_agent_and_again_after_a_resume() {
    let rig = Rig::new();
    let plugins = rig.path("rekindle/plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::write(plugins.join("tools.sh"), "export LEVEL=\"a 'b' $((1 + 1))\"\ntwice() { echo \"$1$1\"; }\n").unwrap();
    fs::write(plugins.join("broken.sh"), "echo no such luck\nreturn 7\n").unwrap();
    let ask = |n| calls(n, "bash", &json!({ "command": "twice \"$LEVEL;\"" }));
    let model = following(vec![ask(1), ask(2), finishes(3, "Done.")]).await;
    let broken = said(rig.live(&model, &["--plugin", "broken", "say it twice"])).await;
    assert_eq!(broken.code, 1, "{broken:?}");
    assert!(broken.out.contains("the plugin broken ended with exit code 7") && broken.out.contains("no such luck"), "{broken:?}");
    let near = said(rig.live(&model, &["--plugin", "tool", "say it twice"])).await;
    assert_eq!((near.code, near.err.contains("did you mean `tools`?")), (2, true), "{near:?}");
    let begun = rig.live_as("plugged", &model, &["--plugin", "tools", "--iterations", "1", "say it twice"]);
    let stopped = said(begun).await;
    assert_eq!(stopped.code, 1, "{stopped:?}");
    let done = asked(&rig, &["resume", "plugged", "--iterations", "9"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let requests = model.received();
    let last = messages(requests.last().unwrap());
    let results: Vec<String> = last.iter().filter(|message| message["role"] == "tool").map(words).collect();
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result.contains("a 'b' 2;a 'b' 2;")), "before the resume and after it: {results:#?}");
    let steps = asked(&rig, &["show", "plugged", "--steps", "-o", "json"]).await;
    assert!(steps.out.contains("\"plugin\""), "the log tells of it: {}", steps.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_before_a_person_agrees_and_what_they_refuse_is_told_to_the_model() {
    let (rig, model) = (Rig::new(), {
        following(vec![
            calls(1, "bash", &json!({ "command": "echo 1 >> journal" })).calls(
                "call_2",
                "bash",
                &json!({ "command": "echo 2 >> journal" }),
            ),
            calls(3, "bash", &json!({ "command": "echo 3 >> journal" })),
            finishes(4, "done"),
        ])
        .await
    });
    let waits = said(rig.live(&model, &["--confirm", "always", "write"])).await;
    assert_eq!(waits.code, 0, "{waits:?}");
    assert!(waits.out.contains("approve") && waits.out.contains("reject"), "the way on is told: {waits:?}");
    let journal = rig.path("work/journal");
    assert!(lines(&journal).is_empty());
    let state = asked(&rig, &["resume", "live"]).await;
    assert_eq!((state.code, lines(&journal).len()), (0, 0), "a resume agrees to nothing: {state:?}");
    let approved = asked(&rig, &["approve", "live"]).await;
    assert_eq!(approved.code, 0, "{approved:?}");
    assert_eq!(lines(&journal), ["1", "2"]);
    let refused = asked(&rig, &["reject", "live", "--reason", "two are enough"]).await;
    assert_eq!(refused.code, 0, "{refused:?}");
    assert_eq!(lines(&journal), ["1", "2"]);
    let requests = model.received();
    requests.iter().for_each(assert_conversation);
    assert!(messages(requests.last().unwrap()).iter().any(|message| words(message).contains("two are enough")));
    let nothing = asked(&rig, &["approve", "live"]).await;
    assert_eq!(nothing.code, 4, "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_delegate_would_do_waits_for_a_person_who_names_the_session_that_they_began() {
    let rig = Rig::new();
    let model = ModelServer::replying(|request| {
        let is_part = words(&messages(request)[1]).contains("write the part");
        match (is_part, answers(request)) {
            (false, 0) => calls(1, "delegate", &json!({ "agent": "helper", "task": "write the part" })).into(),
            (true, 0) => calls(2, "bash", &json!({ "command": "echo part >> /workspace/journal" })).into(),
            (_, n) => finishes(3 + n, "done").into(),
        }
    })
    .await;
    let config = rig.write("config.toml", "[agents.helper]\n");
    let waits = said(rig.live(&model, &["--confirm", "always", "--config", &config, "have it written"])).await;
    assert_eq!(waits.code, 0, "{waits:?}");
    assert!(waits.out.contains("approve") && waits.out.contains("reject"), "the way on is told: {waits:?}");
    let journal = rig.path("work/journal");
    assert!(lines(&journal).is_empty(), "nothing runs before");
    // It is agreed to by naming the parent, which goes on once it is run again.
    let approved = asked(&rig, &["approve", "live"]).await;
    assert_eq!(approved.code, 0, "{approved:?}");
    assert_eq!(lines(&journal), ["part"], "it runs at once");
    let resumed = asked(&rig, &["resume", "live"]).await;
    assert_eq!(resumed.code, 0, "{resumed:?}");
    assert_eq!(rig_state(&rig).await, "finished");
    assert_eq!(lines(&journal), ["part"], "it ran once");
    model.received().iter().for_each(assert_conversation);
    assert_eq!(asked(&rig, &["approve", "live"]).await.code, 4, "nothing waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_went_in_circles_is_led_out_by_a_resume_and_does_not_see_them_any_more() {
    let rig = Rig::new();
    let model = ModelServer::replying(|request| {
        let led_out = messages(request).iter().any(|message| words(message).contains("went in circles"));
        match answers(request) {
            n if led_out => finishes(100 + n, "another way").into(),
            n => calls(n, "bash", &json!({ "command": "echo round" })).into(),
        }
    })
    .await;
    let stuck = said(rig.live(&model, &["turn"])).await;
    assert_eq!(stuck.code, 1, "{stuck:?}");
    assert!(stuck.out.contains("stuck in a loop") && stuck.out.contains("--recover"), "the way out is told: {stuck:?}");
    assert_eq!(model.received().len(), 4, "it is stopped after the fourth time");
    let done = asked(&rig, &["resume", "live", "--recover", "before-loop"]).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(rig_state(&rig).await, "finished");
    let last = model.received().pop().unwrap();
    assert_conversation(&last);
    assert_eq!(answers(&last), 0, "the circles are not seen any more: {:#}", last.body);
    assert!(messages(&last).iter().any(|message| words(message).contains("turn")), "the task is");
    let again = asked(&rig, &["resume", "live", "--recover", "before-loop"]).await;
    assert_ne!(again.code, 0, "there is no loop to be led out of: {again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_agent_is_paused_told_something_and_stopped_from_another_terminal() {
    let rig = Rig::new();
    let model = ModelServer::replying(|request| {
        let told = messages(request).iter().any(|message| words(message).contains("that is enough"));
        let n = answers(request);
        if told {
            return finishes(n, "as you say").into();
        }
        calls(n, "bash", &json!({ "command": format!("echo {n} >> journal; sleep 0.1") })).into()
    })
    .await;
    let journal = rig.path("work/journal");
    let mut running = rig.live(&model, &["count for ever"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let path = journal.clone();
    tokio::task::spawn_blocking(move || wait_until("it counts", || lines(&path).len() > 2)).await.unwrap();
    let paused = asked(&rig, &["pause", "live"]).await;
    assert_eq!(paused.code, 0, "{paused:?}");
    let ended = tokio::task::spawn_blocking(move || running.wait().unwrap()).await.unwrap();
    assert!(ended.code().is_some(), "{ended}");
    let counted = lines(&journal).len();
    let state = rig_state(&rig).await;
    assert_eq!(state, "paused");
    let told = asked(&rig, &["send", "live", "that is enough"]).await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(lines(&journal).len() <= counted + 1, "at most what it was at");
    assert_eq!(rig_state(&rig).await, "finished");
    model.received().iter().for_each(assert_conversation);
}

async fn rig_state(rig: &Rig) -> String {
    let state = asked(rig, &["state", "live", "-o", "json"]).await;
    assert_eq!(state.code, 0, "{state:?}");
    let state: Value = serde_json::from_str(&state.out).unwrap();
    let agent = state["agent"].as_str().or_else(|| state["state"]["agent"].as_str());
    agent.unwrap_or_else(|| panic!("{state:#}")).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_a_command_that_hangs_and_a_model_that_does_not_answer() {
    for hangs_in_model in [false, true] {
        let rig = Rig::new();
        let model = ModelServer::replying(move |request| {
            let stopped = messages(request).iter().any(|message| words(message).contains("proceed, please"));
            match answers(request) {
                n if stopped => finishes(n, "gone on").into(),
                0 => calls(0, "bash", &json!({ "command": "echo begun > begun; sleep 1000", "timeout": 500 })).into(),
                _ => Reply::Hang,
            }
        })
        .await;
        let begun = rig.path("work/begun");
        let model_hangs = ModelServer::replying(|_| Reply::Hang).await;
        let endpoint = if hangs_in_model { &model_hangs } else { &model };
        let mut running = rig.live(endpoint, &["hang"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if hangs_in_model {
            while model_hangs.received().is_empty() {
                tokio::task::yield_now().await;
            }
        } else {
            tokio::task::spawn_blocking(move || wait_until("it has begun", || begun.exists())).await.unwrap();
        }
        let stopped = asked(&rig, &["stop", "live"]).await;
        assert_eq!(stopped.code, 0, "{stopped:?}");
        tokio::task::spawn_blocking(move || running.wait().unwrap()).await.unwrap();
        assert_eq!(rig_state(&rig).await, "stopped");
        if !hangs_in_model {
            let gone_on = asked(&rig, &["send", "live", "proceed, please"]).await;
            assert_eq!(gone_on.code, 0, "{gone_on:?}");
            assert_eq!(rig_state(&rig).await, "finished");
            model.received().iter().for_each(assert_conversation);
        }
    }
}
