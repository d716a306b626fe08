//! Whatever a model's endpoint does wrong ends in an answer after all, or in a failure that says what it is; never in a hang, and
//! never with the key in it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rekindle::engine::ports::{AgentError, Agents, Delta, ModelErrorClass, ModelFailure};
use rekindle::host::agent::AgentRegistry;
use rekindle::session::ModelApi;
use serde_json::json;

use crate::agent_support::{Bench, History, KEY, model, request};
use crate::model_server::{ModelAnswer, ModelServer, Reply};

const BOTH: [ModelApi; 2] = [ModelApi::OpenAi, ModelApi::Anthropic];

/// What becomes of a step to which these replies are given, how often was asked, and how long was waited.
async fn failing(api: ModelApi, replies: Vec<Reply>) -> (ModelFailure, usize, Vec<Duration>) {
    let server = ModelServer::scripted(replies).await;
    let bench = Bench::new(api, &server).await;
    let failure = bench.step(&History::of("hi").0).await.unwrap_err();
    assert!(!failure.message.contains(KEY), "{failure}");
    (failure, server.received().len(), bench.pause.asked())
}

#[tokio::test]
async fn a_refused_key_is_told_at_once_and_without_the_key() {
    for api in BOTH {
        let said = format!("Incorrect API key provided: {KEY}.");
        let (failure, asked, _) = failing(api, vec![Reply::error(401, "invalid_api_key", &said)]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::Authentication, 1));
        assert!(
            failure.message.contains("HTTP 401") && failure.message.contains("check the key in the secret `MODEL_KEY`"),
            "{failure}"
        );
        assert!(!format!("{failure:?}").contains(KEY));
    }
}

#[tokio::test]
async fn a_limit_of_calls_is_waited_for_as_the_endpoint_asks() {
    for api in BOTH {
        let limited =
            Reply::Error(429, vec![("retry-after", "7".into())], json!({"error": {"message": "slow down"}}).to_string());
        let server = ModelServer::scripted([limited, ModelAnswer::says("here").into()]).await;
        let bench = Bench::new(api, &server).await;
        let response = bench.step(&History::of("hi").0).await.unwrap();
        let [wait] = bench.pause.asked()[..] else { panic!("one wait") };
        assert!((Duration::from_secs(7)..Duration::from_millis(7200)).contains(&wait), "{wait:?}");
        assert_eq!(response.retries.len(), 1);
        assert!(response.retries[0].contains("HTTP 429: slow down"), "{:?}", response.retries);
        let retried = |delta: &Delta| matches!(delta, Delta::Retry(why) if why.contains("slow down") && why.contains("(1/2)"));
        assert!(bench.listener.heard().iter().any(retried), "{:?}", bench.listener.heard());
    }
}

#[tokio::test]
async fn a_limit_that_lasts_too_long_is_left_to_whoever_runs_the_session() {
    let limited = Reply::Error(429, vec![("retry-after", "3600".into())], "{}".into());
    let (failure, asked, waits) = failing(ModelApi::OpenAi, vec![limited]).await;
    assert_eq!((failure.class, asked, waits.len()), (ModelErrorClass::RateLimit, 1, 0));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn an_endpoint_s_own_error_is_tried_again_and_told_when_it_stays() {
    for api in BOTH {
        let broken = Reply::error(500, "server_error", "oops");
        let (failure, asked, waits) = failing(api, vec![broken.clone(), broken.clone(), broken]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::Internal, 3));
        assert!(failure.message.contains("oops") && failure.message.ends_with("(tried 3 times)"), "{failure}");
        assert!(waits.len() == 2 && waits[1] >= Duration::from_secs(1), "waits grow: {waits:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up() {
    for api in BOTH {
        let server = ModelServer::replying(|_| Reply::Hang).await;
        let mut spec = model(api, &server);
        (spec.timeout_ms, spec.retries) = (50, 1);
        let bench = Bench::asking(request(spec)).await;
        let failure = bench.step(&History::of("hi").0).await.unwrap_err();
        assert_eq!(failure.class, ModelErrorClass::Timeout);
        assert!(failure.message.contains("within 0.05 s"), "{failure}");
        assert_eq!(bench.pause.asked().len(), 1, "a timeout may not be one the next time");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_tried_again_and_named() {
    let server = ModelServer::scripted([]).await;
    let spec = model(ModelApi::OpenAi, &server);
    drop(server);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = Some(format!("http://{}/v1", closed.local_addr().unwrap()));
    drop(closed);
    let bench = Bench::asking(request(rekindle::session::ModelSpec { base_url, ..spec })).await;
    let failure = bench.step(&History::of("hi").0).await.unwrap_err();
    assert_eq!(failure.class, ModelErrorClass::Unavailable);
    assert!(failure.message.contains("127.0.0.1: it cannot be reached"), "{failure}");
    assert_eq!(bench.pause.asked().len(), 2);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_no_half_of_it_is_used() {
    for api in BOTH {
        let half = ModelAnswer::says("I was about to say").calls("c", "bash", &json!({"command": "rm -rf build"}));
        let whole = ModelAnswer::default().calls("d", "bash", &json!({"command": "ls"}));
        let server = ModelServer::scripted([Reply::BreakOff(half), whole.into()]).await;
        let response = Bench::new(api, &server).await.step(&History::of("hi").0).await.unwrap();
        assert_eq!(response.actions.len(), 1);
        let answer = response.answer.to_value();
        assert_eq!((&answer["text"], &answer["tool_calls"][0]["id"]), (&json!(""), &json!("d")));
        assert_eq!(response.retries.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_without_a_broken_connection_is_no_answer_either() {
    let frame = json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "I will"}, "finish_reason": null}]});
    let reply = Reply::Raw(format!("data: {frame}\n\n"));
    let (failure, asked, _) = failing(ModelApi::OpenAi, vec![reply.clone(), reply.clone(), reply]).await;
    assert_eq!((failure.class, asked), (ModelErrorClass::Unavailable, 3));
    assert!(failure.message.contains("broke off in the middle"), "{failure}");
}

#[tokio::test]
async fn an_error_in_the_middle_of_an_answer_is_an_error() {
    let openai = format!("data: {}\n\n", json!({"error": {"message": "Provider disconnected", "code": 502}}));
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let anthropic = format!("event: error\ndata: {overloaded}\n\n");
    for (api, raw, said) in [(ModelApi::OpenAi, openai, "Provider disconnected"), (ModelApi::Anthropic, anthropic, "Overloaded")]
    {
        let (failure, asked, _) = failing(api, vec![Reply::Raw(raw); 3]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::Unavailable, 3), "{failure}");
        assert!(failure.message.contains(said), "{failure}");
    }
}

#[tokio::test]
async fn what_is_no_event_stream_is_told_as_such() {
    for api in BOTH {
        let page = Reply::Raw("<html>It works!</html>".into());
        let (failure, _, _) = failing(api, vec![page.clone(), page.clone(), page]).await;
        assert_eq!(failure.class, ModelErrorClass::Internal);
        assert!(failure.message.contains("no event stream"), "{failure}");
    }
}

#[tokio::test]
async fn a_malformed_call_goes_back_to_the_model_and_nothing_is_run() {
    for api in BOTH {
        let mut answer = ModelAnswer::default().calls("a", "bash", &json!({"command": "ls"}));
        answer.calls.push(("b".into(), "bash".into(), r#"{"command": "echo "hi""}"#.into()));
        let (failure, asked, _) = failing(api, vec![answer.into()]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::BadAnswer, 1));
        assert!(failure.message.contains("the arguments of `bash` are no JSON object"), "{failure}");
        assert!(failure.message.contains("None of the calls of that answer was run."), "{failure}");
        assert_eq!(failure.usage.completion_tokens, 20, "it was paid for all the same");
    }
}

#[tokio::test]
async fn an_unknown_tool_goes_back_to_the_model_with_those_that_there_are() {
    for api in BOTH {
        let answer = ModelAnswer::default().calls("a", "browser", &json!({"url": "https://x.test"}));
        let (failure, _, _) = failing(api, vec![answer.into()]).await;
        assert_eq!(failure.class, ModelErrorClass::BadAnswer);
        assert!(failure.message.contains("there is no tool `browser`; there are: bash, str_replace_editor"), "{failure}");
    }
}

#[tokio::test]
async fn an_empty_answer_goes_back_to_the_model() {
    for api in BOTH {
        let (failure, _, _) = failing(api, vec![ModelAnswer::says(" \n").into()]).await;
        assert_eq!(failure.class, ModelErrorClass::BadAnswer);
        assert!(failure.message.contains("Your last answer was empty."), "{failure}");
    }
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_told_to_be_shorter() {
    for api in BOTH {
        let mut answer = ModelAnswer { finish_reason: Some("length"), ..ModelAnswer::default() };
        answer.calls.push(("a".into(), "bash".into(), r#"{"command": "cat > long.txt <<EOF"#.into()));
        let (failure, _, _) = failing(api, vec![answer.into()]).await;
        assert_eq!(failure.class, ModelErrorClass::BadAnswer);
        assert!(failure.message.contains("in smaller steps"), "{failure}");
    }
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_told_apart() {
    let openai = Reply::error(400, "context_length_exceeded", "This model's maximum context length is 8192 tokens.");
    let anthropic = Reply::error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum");
    for (api, reply) in [(ModelApi::OpenAi, openai), (ModelApi::Anthropic, anthropic)] {
        let (failure, asked, _) = failing(api, vec![reply]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::ContextWindow, 1));
    }
}

#[tokio::test]
async fn refused_content_is_told_apart_as_an_error_and_as_an_answer() {
    let openai = Reply::error(400, "content_policy_violation", "Your request was rejected.");
    let filtered = ModelAnswer { finish_reason: Some("content_filter"), ..ModelAnswer::default() };
    let refused = ModelAnswer { finish_reason: Some("refusal"), ..ModelAnswer::says("I cannot help with that.") };
    for (api, reply) in [(ModelApi::OpenAi, openai), (ModelApi::OpenAi, filtered.into()), (ModelApi::Anthropic, refused.into())] {
        let (failure, asked, _) = failing(api, vec![reply]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::ContentPolicy, 1), "{failure}");
    }
}

#[tokio::test]
async fn no_money_left_is_told_apart() {
    let openai = Reply::error(429, "insufficient_quota", "You exceeded your current quota.");
    let anthropic = Reply::error(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.");
    for (api, reply) in [(ModelApi::OpenAi, openai), (ModelApi::Anthropic, anthropic)] {
        let (failure, asked, _) = failing(api, vec![reply]).await;
        assert_eq!((failure.class, asked), (ModelErrorClass::OutOfCredits, 1));
    }
}

#[tokio::test]
async fn a_redirect_takes_the_key_nowhere() {
    for api in BOTH {
        let elsewhere = ModelServer::replying(|_| ModelAnswer::says("got you").into()).await;
        let redirect = Reply::Error(307, vec![("location", elsewhere.base_url())], String::new());
        let (failure, _, _) = failing(api, vec![redirect]).await;
        assert_eq!(failure.class, ModelErrorClass::BadRequest);
        assert!(failure.message.contains("correct the base URL"), "{failure}");
        assert!(elsewhere.received().is_empty());
    }
}

/// Writes down every event and span, with all fields.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<String>>);

impl tracing::Subscriber for Written {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for Written {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = writeln!(self.0.lock().unwrap(), "{field}={value:?}");
    }
}

#[tokio::test]
async fn neither_key_nor_request_nor_the_endpoint_s_words_enter_the_traces() {
    let written = Written::default();
    let _guard = tracing::subscriber::set_default(written.clone());
    tracing::info!("the traces are read");
    for api in BOTH {
        let echo = format!("Bearer {KEY} is wrong, and so is your TASKTEXT");
        let broken = Reply::Raw(format!("event: error\ndata: {}\n\n", json!({"error": {"message": echo}})));
        let malformed = ModelAnswer { calls: vec![("a".into(), "bash".into(), "TASKTEXT {".into())], ..ModelAnswer::default() };
        for reply in [Reply::error(500, "x", &echo), broken, malformed.into(), Reply::error(401, "x", &echo)] {
            failing_with_task(api, reply).await;
        }
    }
    let written = written.0.lock().unwrap().clone();
    assert!(written.contains("the traces are read"));
    assert!(!written.contains(KEY) && !written.contains("TASKTEXT"), "{written}");
}

async fn failing_with_task(api: ModelApi, reply: Reply) {
    let server = ModelServer::scripted([reply]).await;
    let bench = Bench::new(api, &server).await;
    let failure = bench.step(&History::of("TASKTEXT").0).await.unwrap_err();
    assert!(!failure.message.contains(KEY), "{failure}");
}

#[tokio::test]
async fn an_agent_that_cannot_be_had_says_why() {
    let server = ModelServer::scripted([]).await;
    let agents = AgentRegistry::new();
    let mut unknown = request(model(ModelApi::OpenAi, &server));
    "codr".clone_into(&mut unknown.name);
    let error = agents.agent(unknown).await.err().unwrap();
    assert_eq!(error, AgentError::Unknown { name: "codr".into(), known: "coder".into() });
    let mut keyless = request(model(ModelApi::OpenAi, &server));
    keyless.key = None;
    let error = agents.agent(keyless).await.err().unwrap().to_string();
    assert!(error.contains("`rekindle secrets set MODEL_KEY`"), "{error}");
    let mut twice = request(model(ModelApi::OpenAi, &server));
    let parameters = json!({"type": "object"});
    twice.tools = vec![rekindle::engine::ports::ToolDefinition { name: "bash".into(), description: String::new(), parameters }];
    let error = agents.agent(twice).await.err().unwrap().to_string();
    assert!(error.contains("two tools are called `bash`"), "{error}");
}
