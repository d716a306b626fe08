//! A server that hangs, dies, floods or talks nonsense is a recorded outcome; nothing that it started outlives it, nothing of the
//! engine's reaches it.

use std::time::{Duration, Instant};

use rekindle::host::mcp::Isolation;
use rekindle::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN};
use rekindle::session::{Extras, McpServer, McpTransport, Observation};
use serde_json::json;

use crate::mcp_support::{eventually, fake, http, join, join_with, running};

fn error_id(observation: &Observation) -> &str {
    match &observation.extras {
        Extras::Error(failure) => &failure.error_id,
        other => panic!("{other:?}"),
    }
}

fn hurried(server: McpServer) -> McpServer {
    McpServer { timeout_ms: 2000, ..server }
}

#[tokio::test]
async fn a_server_that_does_not_begin_is_given_up_within_its_time_and_the_others_are_there() {
    let begun = Instant::now();
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", deaf.local_addr().unwrap());
    let servers = vec![
        hurried(fake("hangs", "hang", &[])),
        fake("exits", "exit", &[]),
        hurried(fake("babbles", "garbage", &[])),
        hurried(http("deaf", &url)),
        fake("endless", "endless", &[]),
        fake("good", "well", &["echo"]),
    ];
    let bench = join(Isolation::Auto, servers).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "they are waited for at once, not one after the other");
    assert!(bench.error("hangs").starts_with("it did not answer within 2 s"), "{}", bench.error("hangs"));
    assert!(bench.error("hangs").contains("still waiting for nothing"), "{}", bench.error("hangs"));
    assert!(bench.error("exits").contains("it ended with exit code 7; it said: no licence found"), "{}", bench.error("exits"));
    assert!(bench.error("deaf").starts_with("it did not answer within 2 s"), "{}", bench.error("deaf"));
    let babble = bench.error("babbles");
    assert!(babble.contains("did not answer within 2 s") || babble.contains("without being asked"), "{babble}");
    assert_eq!(bench.names(), ["again", "echo"], "a list without an end is read as far as it is new");
    assert_eq!(bench.text("echo", &json!({"a": 1})).await, r#"{"a": 1}"#);
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_is_started_again_by_the_next_one_which_says_so() {
    for isolation in [Isolation::Auto, Isolation::Plain] {
        let bench = join(isolation, vec![fake("frail", "well", &["echo", "die"])]).await;
        let died = bench.observe("die", &json!({})).await;
        assert_eq!(error_id(&died), OUTCOME_UNKNOWN);
        assert!(
            died.content.contains("The server frail gave no answer: it ended with exit code 3; it said: I have had enough."),
            "{died:?}"
        );
        let again = bench.ask("echo", &json!({})).await;
        let texts: Vec<_> = again["content"].as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["[The server frail had ended and was started again; what it kept in memory is gone.]", "{}"]);
        assert_eq!(bench.text("echo", &json!({})).await, "{}", "it is said once");
        bench.joined.tools.close().await;
    }
}

#[tokio::test]
async fn a_call_ends_within_its_time_and_the_server_can_be_asked_again_once_it_listens() {
    let bench = join(Isolation::Auto, vec![hurried(fake("slow", "well", &["hang"])), fake("good", "well", &["echo"])]).await;
    let hung = bench.observe("hang", &json!({})).await;
    assert_eq!(error_id(&hung), OUTCOME_UNKNOWN);
    assert!(hung.content.contains("it did not answer within 2 s"), "{hung:?}");
    assert_eq!(bench.text("echo", &json!({})).await, "{}");
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn a_server_that_floods_is_not_listened_to_any_more() {
    for (tool, why) in
        [("flood", "it sent a message of more than 8 MiB"), ("chatter", "it sent more than 64 MiB without being asked")]
    {
        let bench = join(Isolation::Auto, vec![fake("loud", "well", &[tool, "echo"])]).await;
        let flooded = bench.observe(tool, &json!({})).await;
        assert_eq!(error_id(&flooded), OUTCOME_UNKNOWN);
        assert!(flooded.content.contains(why), "{flooded:?}");
        let again = bench.ask("echo", &json!({})).await;
        assert!(again["content"][0]["text"].as_str().unwrap().contains("was started again"), "{again}");
        bench.joined.tools.close().await;
    }
}

#[tokio::test]
async fn nonsense_between_answers_is_passed_over_and_long_answers_are_cut() {
    let bench = join(Isolation::Auto, vec![fake("odd", "well", &["garbage", "long", "fails", "none"])]).await;
    assert_eq!(bench.text("garbage", &json!({})).await, "after the garbage");
    let long = bench.text("long", &json!({})).await;
    assert!(long.len() < 70_000 && long.contains("[… 240000 characters were left out here …]"));
    assert_eq!(bench.ask("fails", &json!({})).await["isError"], true);
    let unknown = bench.ask("none", &json!({})).await;
    assert_eq!((&unknown["isError"], &unknown["content"][0]["text"]), (&json!(true), &json!("Unknown tool")));
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn nothing_of_the_engine_s_environment_reaches_a_server_but_what_it_is_given() {
    let mut server = fake("nosy", "well", &["env"]);
    if let McpTransport::Stdio { env, .. } = &mut server.transport {
        env.insert("TOKEN".to_owned(), "key-${SECRET}".to_owned());
    }
    for isolation in [Isolation::Auto, Isolation::Plain] {
        let bench = join_with(isolation, vec![server.clone()], &[("SECRET", "s$1'\"\nü")], &[]).await;
        let seen = bench.text("env", &json!({})).await;
        assert!(seen.contains("TOKEN=key-s$1'\"\nü"), "{seen}");
        assert!(!seen.contains("CARGO"), "the environment of this test is full of it: {seen}");
        bench.joined.tools.close().await;
    }
}

#[tokio::test]
async fn everything_that_a_server_started_ends_with_it() {
    for (isolation, seconds) in [(Isolation::Auto, "31415"), (Isolation::Plain, "31416")] {
        for closes in [true, false] {
            let bench = join(isolation, vec![fake("busy", "well", &["spawn", "hang"])]).await;
            bench.text("spawn", &json!({"seconds": seconds})).await;
            eventually("its helpers run", || running(&["sleep", seconds]).len() == 2).await;
            if closes {
                bench.joined.tools.close().await;
                assert_eq!(running(&["sleep", seconds]), [0; 0], "closing waits for the end");
            }
            drop(bench);
            eventually("its helpers are gone", || running(&["sleep", seconds]).is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_was_closed_is_not_started_again() {
    let bench = join(Isolation::Auto, vec![fake("good", "well", &["echo"])]).await;
    bench.joined.tools.close().await;
    bench.joined.tools.close().await;
    let late = bench.observe("echo", &json!({})).await;
    assert_eq!(error_id(&late), NOT_EXECUTED);
}
