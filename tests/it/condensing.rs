//! The real program with a history that grows too long: a model behind real HTTP sums it up, or cannot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle::session::mask::HIDDEN;
use serde_json::{Value, json};

use crate::cli_support::Rig;
use crate::live_support::{asked, assert_conversation, calls, finishes, is_summary, log, messages, said, words};
use crate::model_server::{ModelAnswer, ModelServer, Received, Reply};
use crate::repository_support::holding;

/// How many commands the task takes.
const ROUNDS: usize = 14;
const SUMMARY: &str = "The user wants it counted; some of it is.";
/// Room for ten events, of which the first two stay; half as many stay at each time.
const SMALL: &str = "[condenser]\nkeep-first = 2\nmax = 10\n[model]\nretries = 0\nprice = { input = 10.0, output = 10.0 }\n";

/// A model that counts to the end whatever it is shown, and sums up as `summing_up` says.
async fn counting(summing_up: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> ModelServer {
    let turn = AtomicUsize::new(0);
    ModelServer::replying(move |request| {
        if is_summary(request) {
            return summing_up(request);
        }
        match turn.fetch_add(1, Ordering::SeqCst) {
            n if n < ROUNDS => calls(n, "bash", &json!({ "command": format!("echo round {n}") })).into(),
            n => finishes(n, "counted").into(),
        }
    })
    .await
}

fn of_kind<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["kind"] == kind).collect()
}

/// The requests for summaries in the log.
fn summaries(log: &[Value]) -> Vec<&Value> {
    of_kind(log, "model.requested").into_iter().filter(|event| event["body"]["summarises"].is_array()).collect()
}

/// What answers an event.
fn answering<'a>(log: &'a [Value], request: &Value) -> Vec<&'a Value> {
    log.iter().filter(|event| event["cause"] == request["seq"]).collect()
}

fn kinds<'a>(events: &[&'a Value]) -> Vec<&'a str> {
    events.iter().filter_map(|event| event["kind"].as_str()).collect()
}

async fn assert_decided_again(rig: &Rig) {
    let again = asked(rig, &["replay", "live", "--mode", "verify"]).await;
    assert!(again.code == 0 && !again.out.contains("unchecked"), "today's code decides it as it stands: {again:?}");
    let verified = asked(rig, &["verify", "live"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_grows_too_long_is_summed_up_by_the_model_and_the_task_goes_on() {
    let number = AtomicUsize::new(0);
    let model = counting(move |_| {
        let n = number.fetch_add(1, Ordering::SeqCst);
        ModelAnswer::says(&format!("{SUMMARY} ({n})")).into()
    })
    .await;
    let rig = Rig::new();
    let config = rig.write("config.toml", SMALL);
    let done = said(rig.live(&model, &["--config", &config, "-o", "json", "count"])).await;
    assert_eq!(done.code, 0, "{done:?}");
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(shown["agent"]["iterations"], ROUNDS + 1, "a summary is no iteration: {shown:#}");
    let requests = model.received();
    requests.iter().for_each(assert_conversation);
    let (summed_up, steps): (Vec<_>, Vec<_>) = requests.iter().partition(|request| is_summary(request));
    assert!(summed_up.len() > 1, "one summary is summed up with the next");
    // 120 tokens of ten dollars a million, each time.
    assert_eq!(shown["agent"]["cost_micro_usd"], 1200 * requests.len(), "each call is counted: {shown:#}");
    for (n, request) in summed_up.iter().enumerate() {
        assert!(request.body.get("tools").is_none(), "no tools are offered: {:#}", request.body);
        let told = words(&messages(request)[1]);
        assert!(told.contains("calls bash with") && told.contains("round"), "{told}");
        assert_eq!(n > 0, told.contains(&format!("{SUMMARY} ({})", n.saturating_sub(1))), "{told}");
    }
    let last = steps.last().unwrap();
    let texts: Vec<String> = messages(last).iter().map(words).collect();
    assert_eq!(texts.concat().matches(SUMMARY).count(), 1, "one message, the newest: {texts:#?}");
    assert!(texts[1].starts_with("count"), "the task stays: {texts:#?}");
    let place = texts.iter().position(|text| text.contains(SUMMARY)).unwrap();
    assert!(place < texts.len() - 2, "it stands where the events stood: {texts:#?}");
    assert!(steps.iter().all(|request| messages(request).len() < 14), "it does not grow any more");
    let log = log(&rig).await;
    let asked_for = summaries(&log);
    assert_eq!(asked_for.len(), summed_up.len());
    for request in asked_for {
        let answers = answering(&log, request);
        assert_eq!(kinds(&answers), ["model.responded", "action.condensation"]);
        assert_eq!(answers[1]["body"]["args"]["forgotten_event_ids"], request["body"]["summarises"]);
        assert!(answers[1]["body"]["args"]["summary"].as_str().unwrap().starts_with(SUMMARY));
        assert_eq!(answers[0]["body"]["prompt"].as_str().unwrap().len(), 64, "what it was told is kept by its digest");
    }
    let prompts: std::collections::HashSet<String> =
        of_kind(&log, "model.responded").iter().map(|event| event["body"]["prompt"].to_string()).collect();
    assert_eq!(prompts.len(), 2, "one for all summaries, and none for the agent's own");
    assert_decided_again(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_that_cannot_be_had_is_named_in_the_log_and_the_window_does_instead() {
    let wrong: [(&str, Reply, &str); 5] = [
        ("limited", Reply::Error(429, Vec::new(), "{}".into()), "rate_limit"),
        ("out of order", Reply::error(500, "server_error", "out of order"), "internal"),
        ("empty", ModelAnswer::says("  \n").into(), "bad_answer"),
        ("a call instead", calls(99, "bash", &json!({ "command": "echo no > /workspace/no" })).into(), "bad_answer"),
        ("too long", Reply::error(400, "context_length_exceeded", "maximum context length"), "context_window"),
    ];
    for (what, reply, class) in wrong {
        let (rig, model) = (Rig::new(), counting(move |_| reply.clone()).await);
        let config = rig.write("config.toml", SMALL);
        let done = said(rig.live(&model, &["--config", &config, "count"])).await;
        assert_eq!(done.code, 0, "{what}: {done:?}");
        assert!(!rig.path("work/no").exists(), "{what}: what is no summary is not done either");
        model.received().iter().for_each(assert_conversation);
        let log = log(&rig).await;
        let asked_for = summaries(&log);
        assert!(asked_for.len() > 1, "{what}");
        for request in asked_for {
            let answers = answering(&log, request);
            assert_eq!(kinds(&answers), ["model.failed", "action.condensation"], "{what}");
            assert_eq!(answers[0]["body"]["class"], class, "{what}: {:#}", answers[0]);
            assert_eq!(answers[1]["body"]["args"]["forgotten_event_ids"], request["body"]["summarises"], "{what}");
            assert!(answers[1]["body"]["args"]["summary"].is_null(), "{what}");
        }
        assert!(of_kind(&log, "turn.state_changed").iter().all(|event| event["body"]["state"] != "rate_limited"), "{what}");
        assert_decided_again(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_outgrows_the_models_window_is_summed_up_too() {
    for (summing_up, summed_up) in [(Reply::from(ModelAnswer::says(SUMMARY)), true), (Reply::error(500, "x", "no"), false)] {
        let turn = AtomicUsize::new(0);
        let model = ModelServer::replying(move |request| {
            if is_summary(request) {
                return summing_up.clone();
            }
            if request.body["messages"].to_string().len() > 6000 {
                return Reply::error(400, "context_length_exceeded", "This model's maximum context length is 1500 tokens");
            }
            match turn.fetch_add(1, Ordering::SeqCst) {
                n if n < 8 => calls(n, "bash", &json!({ "command": format!("printf '%0900d' {n}") })).into(),
                n => finishes(n, "counted").into(),
            }
        })
        .await;
        let rig = Rig::new();
        let config = rig.write("config.toml", "[condenser]\nmax = 0\n[model]\nretries = 0\n");
        let done = said(rig.live(&model, &["--config", &config, "--condenser", "summary", "count"])).await;
        assert_eq!(done.code, 0, "{done:?}");
        model.received().iter().for_each(assert_conversation);
        let log = log(&rig).await;
        assert!(!summaries(&log).is_empty());
        for condensation in of_kind(&log, "action.condensation") {
            assert_eq!(condensation["body"]["args"]["summary"].is_string(), summed_up, "{condensation:#}");
        }
        let last = model.received().pop().unwrap();
        let told: String = messages(&last).iter().map(words).collect();
        assert!(told.contains("count") && told.contains(SUMMARY) == summed_up, "{told}");
        assert_decided_again(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_its_own_sums_up_with_a_key_of_its_own() {
    let small = ModelServer::replying(|_| ModelAnswer::says(SUMMARY).into()).await;
    let (rig, model) = (Rig::new(), counting(|_| Reply::error(500, "x", "the agent's model is not asked")).await);
    let own = format!("[condenser.model]\nname = \"small\"\nbase-url = \"{}\"\nkey = \"SMALL_KEY\"\n", small.base_url());
    let config = rig.write("config.toml", format!("{SMALL}{own}"));
    let mut run = rig.live(&model, &["--config", &config, "count"]);
    run.env("SMALL_KEY", "sk-small-0123456789");
    let done = said(run).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert!(model.received().iter().all(|request| !is_summary(request)));
    let asked = small.received();
    assert!(!asked.is_empty());
    for request in &asked {
        assert!(is_summary(request));
        assert_eq!(request.body["model"], "small");
        assert_eq!(request.headers["authorization"], "Bearer sk-small-0123456789");
    }
    assert!(holding(&rig.path("rekindle"), &["sk-small-0123456789".to_owned()]).is_empty());
    assert_decided_again(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_stands_in_a_summary_is_hidden_in_the_log_and_from_the_model() {
    const KEY: &str = "deploy-0a1b2c3d4e5f60718293";
    let model = counting(|_| ModelAnswer::says(&format!("{SUMMARY} The key is {KEY}.")).into()).await;
    let rig = Rig::new();
    let config = rig.write("config.toml", SMALL);
    let mut run = rig.live(&model, &["--config", &config, "--secret", "DEPLOY_KEY", "count"]);
    run.env("DEPLOY_KEY", KEY);
    let done = said(run).await;
    assert_eq!(done.code, 0, "{done:?}");
    let log = log(&rig).await;
    let condensations = of_kind(&log, "action.condensation");
    assert!(!condensations.is_empty());
    for condensation in condensations {
        let summary = condensation["body"]["args"]["summary"].as_str().unwrap();
        assert_eq!(summary, format!("{SUMMARY} The key is {HIDDEN}."));
    }
    assert!(model.received().iter().all(|request| !request.body.to_string().contains(KEY)));
    assert!(holding(&rig.path("rekindle"), &[KEY.to_owned()]).is_empty());
    assert_decided_again(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_forgets_without_asking_anybody_and_none_forgets_nothing() {
    for (condenser, forgets) in [("window", true), ("none", false)] {
        let (rig, model) = (Rig::new(), counting(|_| Reply::error(500, "x", "nobody is asked")).await);
        let config = rig.write("config.toml", SMALL);
        let mut run = rig.live(&model, &["--config", &config, "count"]);
        run.env("REKINDLE_CONDENSER", condenser);
        let done = said(run).await;
        assert_eq!(done.code, 0, "{done:?}");
        let requests = model.received();
        assert_eq!(requests.len(), ROUNDS + 1, "{condenser}");
        requests.iter().for_each(assert_conversation);
        assert!(requests.iter().all(|request| words(&messages(request)[1]).contains("count")), "the task is never forgotten");
        let longest = requests.iter().map(|request| messages(request).len()).max().unwrap();
        assert_eq!(longest < 14, forgets, "{condenser}: {longest}");
        let log = log(&rig).await;
        assert_eq!(of_kind(&log, "action.condensation").is_empty(), !forgets);
        assert_decided_again(&rig).await;
    }
    let refused = asked(&Rig::new(), &["run", "--model", "openai/x", "--condenser", "sumary", "x"]).await;
    refused.assert_refused(2, &["did you mean `summary`?"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_the_wait_for_a_summary_which_is_asked_for_again_when_the_agent_goes_on() {
    let hangs = Arc::new(AtomicUsize::new(0));
    let asked_for = Arc::clone(&hangs);
    let model = counting(move |_| match asked_for.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Hang,
        _ => ModelAnswer::says(SUMMARY).into(),
    })
    .await;
    let rig = Rig::new();
    let config = rig.write("config.toml", SMALL);
    let mut running = rig.live(&model, &["--config", &config, "count"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    while hangs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = asked(&rig, &["stop", "live"]).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    tokio::task::spawn_blocking(move || running.wait().unwrap()).await.unwrap();
    let gone_on = asked(&rig, &["resume", "live"]).await;
    assert_eq!(gone_on.code, 0, "{gone_on:?}");
    let log = log(&rig).await;
    let asked_for = summaries(&log);
    assert_eq!(kinds(&answering(&log, asked_for[0])), ["model.failed"]);
    assert_eq!(kinds(&answering(&log, asked_for[1])), ["model.responded", "action.condensation"]);
    assert_eq!(of_kind(&log, "action.finish").len(), 1);
    assert_decided_again(&rig).await;
}
