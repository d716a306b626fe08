//! A model's tool calls become actions, and what came of them reaches the model in the form that its API asks for.

use rekindle::engine::ports::{Delta, Response, ToolDefinition, Usage};
use rekindle::session::action::Action;
use rekindle::session::{Content, ModelApi, Price};
use serde_json::{Value, json};

use crate::agent_support::{Bench, History, KEY, model, request};
use crate::model_server::{ModelAnswer, ModelServer, Reply};

fn actions(response: &Response) -> Vec<&Action> {
    let action = |item: &'_ rekindle::session::Item| match &item.content {
        Content::Action(_) => (),
        Content::Observation(_) => panic!("an agent decided on an observation"),
    };
    response.actions.iter().for_each(action);
    response
        .actions
        .iter()
        .filter_map(|item| match &item.content {
            Content::Action(action) => Some(action),
            Content::Observation(_) => None,
        })
        .collect()
}

/// Two commands in one answer, their results, a word of the user, and the end.
async fn conversation(api: ModelApi) -> (ModelServer, Vec<Response>, Bench) {
    let look = ModelAnswer { reasoning: "It may be empty.".into(), ..ModelAnswer::says("I look first.") };
    let look = look.calls("call_a", "bash", &json!({"command": "ls -l"})).calls("call_b", "bash", &json!({"command": "pwd"}));
    let done = ModelAnswer::default().calls("call_c", "finish", &json!({"message": "All good.", "task_completed": "true"}));
    let server = ModelServer::scripted([look.into(), done.into()]).await;
    let bench = Bench::new(api, &server).await;
    let mut history = History::of("Look around.");
    let first = bench.step(&history.0).await.unwrap();
    let ran: Vec<_> = first.actions.iter().map(|item| history.push(item.clone(), None)).collect();
    history.says("And hurry.");
    history.printed(ran[1], "/workspace");
    history.printed(ran[0], "total 0");
    let second = bench.step(&history.0).await.unwrap();
    (server, vec![first, second], bench)
}

#[tokio::test]
async fn a_conversation_over_openai_s_api() {
    let (server, responses, bench) = conversation(ModelApi::OpenAi).await;
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|request| request.path == "/v1/chat/completions"));
    assert_eq!(received[0].headers["authorization"], format!("Bearer {KEY}"));
    assert!(received[0].headers["user-agent"].starts_with("rekindle/"));
    let body = &received[1].body;
    assert_eq!((&body["model"], &body["stream"]), (&json!("fake"), &json!(true)));
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0], json!({"role": "system", "content": bench.agent.briefing().prompt}));
    assert_eq!(messages[1], json!({"role": "user", "content": "Look around."}));
    assert_eq!(messages[2]["content"], "I look first.");
    let call = |id: &str, command: &str| {
        let arguments = json!({"command": command}).to_string();
        json!({"id": id, "type": "function", "function": {"name": "bash", "arguments": arguments}})
    };
    assert_eq!(messages[2]["tool_calls"], json!([call("call_a", "ls -l"), call("call_b", "pwd")]));
    assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "call_a", "content": "total 0"}));
    assert_eq!(messages[4], json!({"role": "tool", "tool_call_id": "call_b", "content": "/workspace"}));
    assert_eq!(messages[5], json!({"role": "user", "content": "And hurry."}));
    assert_eq!(messages.len(), 6);
    let tools: Vec<_> = body["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(tools, ["bash", "str_replace_editor", "python", "think", "finish", "delegate"]);
    assert_decided(&responses, "chatcmpl-1", "tool_calls");
}

#[tokio::test]
async fn a_conversation_over_anthropic_s_api() {
    let (server, responses, bench) = conversation(ModelApi::Anthropic).await;
    let received = server.received();
    assert!(received.iter().all(|request| request.path == "/v1/messages"));
    assert_eq!(received[0].headers["x-api-key"], KEY);
    assert_eq!(received[0].headers["anthropic-version"], "2023-06-01");
    assert!(!received[0].headers.contains_key("authorization"));
    let body = &received[1].body;
    let cached = json!({"type": "ephemeral"});
    let prompt = &bench.agent.briefing().prompt;
    assert_eq!(body["system"], json!([{"type": "text", "text": prompt, "cache_control": cached}]));
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0], json!({"role": "user", "content": "Look around."}));
    let used = |id: &str, command: &str| json!({"type": "tool_use", "id": id, "name": "bash", "input": {"command": command}});
    let said = json!([{"type": "text", "text": "I look first."}, used("call_a", "ls -l"), used("call_b", "pwd")]);
    assert_eq!(messages[1], json!({"role": "assistant", "content": said}));
    // The results of one answer stand in one message or in two in a row, which the API joins.
    let results: Vec<&Value> =
        messages[2..].iter().flat_map(|message| message["content"].as_array().into_iter().flatten()).collect();
    assert_eq!((&results[0]["tool_use_id"], &results[0]["content"]), (&json!("call_a"), &json!("total 0")));
    assert_eq!((&results[1]["tool_use_id"], &results[1]["content"]), (&json!("call_b"), &json!("/workspace")));
    assert_eq!(results[2]["cache_control"], cached, "the conversation so far is cached: {results:?}");
    assert_eq!(results[2]["text"], "And hurry.");
    assert!(body["max_tokens"].as_u64().unwrap() > 0);
    assert_eq!(body["tools"][0]["name"], "bash");
    assert_decided(&responses, "msg_1", "tool_use");
}

fn assert_decided(responses: &[Response], id: &str, reason: &str) {
    let [first, second] = responses else { panic!("{} responses", responses.len()) };
    let [Action::Run(ls), Action::Run(pwd)] = actions(first)[..] else { panic!("{first:?}") };
    assert_eq!((ls.command.as_str(), ls.thought.as_str()), ("ls -l", "I look first."));
    assert_eq!((pwd.command.as_str(), pwd.thought.as_str()), ("pwd", ""));
    assert_eq!(first.response_id.as_deref(), Some(id));
    assert_eq!(first.model, "fake-model-1");
    assert_eq!(first.finish_reason.as_deref(), Some(reason));
    assert_eq!(first.reasoning.as_deref(), Some("It may be empty."));
    assert_eq!(first.usage, Usage { prompt_tokens: 100, completion_tokens: 20, cached_tokens: 60, cost_micro_usd: None });
    let answer = first.answer.to_value();
    assert_eq!(answer["text"], "I look first.");
    assert_eq!(answer["tool_calls"][1], json!({"id": "call_b", "name": "bash", "arguments": r#"{"command":"pwd"}"#}));
    let [Action::Finish(finish)] = actions(second)[..] else { panic!("{second:?}") };
    assert_eq!(finish.final_thought, "All good.");
    assert_ne!(first.request, second.request, "another request has another digest");
}

#[tokio::test]
async fn an_answer_is_heard_while_it_is_written() {
    for api in [ModelApi::OpenAi, ModelApi::Anthropic] {
        let answer = ModelAnswer { reasoning: "Where am I?".into(), ..ModelAnswer::says("Grüße aus dem Arbeitsverzeichnis.") };
        let server = ModelServer::scripted([answer.calls("c", "bash", &json!({"command": "pwd"})).into()]).await;
        let bench = Bench::new(api, &server).await;
        bench.step(&History::of("hi").0).await.unwrap();
        let (mut text, mut reasoning, mut calls, mut pieces) = (String::new(), String::new(), Vec::new(), 0);
        for delta in bench.listener.heard() {
            match delta {
                Delta::Text(piece) => {
                    text.push_str(&piece);
                    pieces += 1;
                }
                Delta::Reasoning(piece) => reasoning.push_str(&piece),
                Delta::Call(tool) => calls.push(tool),
                Delta::Retry(why) => panic!("{why}"),
            }
        }
        assert_eq!((text.as_str(), reasoning.as_str()), ("Grüße aus dem Arbeitsverzeichnis.", "Where am I?"));
        assert_eq!(calls, ["bash"]);
        assert!(pieces > 1, "in pieces, not at once");
    }
}

#[tokio::test]
async fn the_same_request_has_the_same_digest_whatever_the_key() {
    let server = ModelServer::replying(|_| ModelAnswer::says("hello").into()).await;
    let history = History::of("hi");
    let with_key = Bench::new(ModelApi::OpenAi, &server).await.step(&history.0).await.unwrap();
    let mut keyless = request(model(ModelApi::OpenAi, &server));
    (keyless.key, keyless.config.model.key) = (None, None);
    let keyless = Bench::asking(keyless).await.step(&history.0).await.unwrap();
    assert_eq!(with_key.request, keyless.request);
    assert!(!server.received()[1].headers.contains_key("authorization"), "no key, no header, and none from the environment");
}

#[tokio::test]
async fn a_cost_is_the_endpoint_s_word_or_a_known_price_or_unknown() {
    let replies =
        [ModelAnswer { cost_usd: Some(0.0123), ..ModelAnswer::says("a") }, ModelAnswer::says("b"), ModelAnswer::says("c")];
    let server = ModelServer::scripted(replies.map(Reply::from)).await;
    let unknown = model(ModelApi::OpenAi, &server);
    let told = Price { input: 1_000_000, cached_input: 500_000, output: 2_000_000 };
    let mut costs = Vec::new();
    for price in [None, Some(told), None] {
        let spec = rekindle::session::ModelSpec { price, ..unknown.clone() };
        costs.push(Bench::asking(request(spec)).await.step(&History::of("hi").0).await.unwrap().usage.cost_micro_usd);
    }
    assert_eq!(costs, [Some(12_300), Some(40 + 30 + 40), None]);
}

#[tokio::test]
async fn tools_of_servers_are_offered_and_called() {
    let answer = ModelAnswer::default().calls("c", "add", &json!({"a": 1, "security_risk": "LOW"}));
    let server = ModelServer::scripted([answer.into()]).await;
    let mut request = request(model(ModelApi::OpenAi, &server));
    let parameters = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    request.tools = vec![ToolDefinition { name: "add".into(), description: "Adds.".into(), parameters }];
    request.asks_risk = true;
    let bench = Bench::asking(request).await;
    let response = bench.step(&History::of("1+1?").0).await.unwrap();
    let [Action::CallToolMcp(call)] = actions(&response)[..] else { panic!("{response:?}") };
    assert_eq!((call.name.as_str(), call.security_risk, call.arguments.len()), ("add", Some(0), 1));
    let offered = server.received()[0].body["tools"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(offered["function"]["name"], "add");
    assert_eq!(offered["function"]["parameters"]["required"], json!(["security_risk"]));
    assert_eq!(bench.agent.briefing().tools.last().map(|tool| tool.name.as_str()), Some("add"));
}

#[tokio::test]
async fn pictures_reach_both_apis() {
    for api in [ModelApi::OpenAi, ModelApi::Anthropic] {
        let server = ModelServer::scripted([ModelAnswer::says("A cat.").into()]).await;
        let mut history = History::of("What is this?");
        let urls = vec!["data:image/png;base64,iVBORw==".to_owned(), "https://x.test/cat.jpg".to_owned()];
        if let Content::Action(Action::Message(message)) = &mut history.0[0].item.content {
            message.image_urls = Some(urls);
        }
        Bench::new(api, &server).await.step(&history.0).await.unwrap();
        let body = &server.received()[0].body;
        let messages = body["messages"].as_array().unwrap();
        let parts = messages.last().unwrap()["content"].as_array().unwrap();
        assert_eq!(parts[0]["text"], "What is this?");
        match api {
            ModelApi::OpenAi => {
                assert_eq!(parts[1]["image_url"]["url"], "data:image/png;base64,iVBORw==");
                assert_eq!(parts[2]["image_url"]["url"], "https://x.test/cat.jpg");
            }
            ModelApi::Anthropic => {
                let source = json!({"type": "base64", "media_type": "image/png", "data": "iVBORw=="});
                assert_eq!(parts[1]["source"], source);
                assert_eq!(parts[2]["source"], json!({"type": "url", "url": "https://x.test/cat.jpg"}));
            }
        }
    }
}

#[tokio::test]
async fn settings_of_the_model_are_sent_and_its_name_is_not_changed() {
    for (api, name) in [(ModelApi::OpenAi, "o3-mini-high"), (ModelApi::Anthropic, "claude-x-low")] {
        let server = ModelServer::scripted([ModelAnswer::says("ok").into()]).await;
        let mut spec = model(api, &server);
        name.clone_into(&mut spec.name);
        (spec.temperature_milli, spec.max_output_tokens) = (Some(250), Some(1000));
        Bench::asking(request(spec)).await.step(&History::of("hi").0).await.unwrap();
        let body = &server.received()[0].body;
        assert_eq!((&body["model"], &body["temperature"]), (&json!(name), &json!(0.25)));
        let limit = body.get("max_tokens").or_else(|| body.get("max_completion_tokens"));
        assert_eq!(limit, Some(&json!(1000)));
    }
}

#[tokio::test]
async fn an_endpoint_that_leaves_out_the_mark_of_the_end_is_understood() {
    let frame = json!({"id": "x", "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}]});
    let server = ModelServer::scripted([Reply::Raw(format!("data: {frame}\n\n"))]).await;
    let response = Bench::new(ModelApi::OpenAi, &server).await.step(&History::of("hi").0).await.unwrap();
    let [Action::Message(message)] = actions(&response)[..] else { panic!("{response:?}") };
    assert_eq!(message.content, "hello");
}
