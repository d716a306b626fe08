//! What a node measures can be scraped, means what the log means, and has the names that are documented; traces say whose session it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;
use rekindle::engine::measure;
use rekindle::session::{Command, SessionSpec};
use rekindle::store::{MemoryStore, SharedStore};
use serde_json::json;

use crate::cli_support::Rig;
use crate::mcp_sessions::{engine, finish, spec};
use crate::mcp_support::fake;
use crate::model_server::{ModelAnswer, ModelServer, Reply};
use crate::node_support::{prepare, sqlite_url};

/// The samples of a page, by name and labels; labels are in order.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample).collect()
}

fn scrape(address: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), page.to_owned())
}

#[tokio::test]
async fn a_node_tells_what_it_did_to_whoever_scrapes_it() {
    let rig = Rig::new();
    let url = sqlite_url(rig.home.path());
    let sessions = prepare(&url, rig.home.path(), 3, 4, "0").await;
    let mut node = rig.spawn(&["--store", &url, "serve", "--metrics", "0"]);
    let mut said = BufReader::new(node.stderr.take().unwrap()).lines();
    let address = loop {
        let line = said.next().unwrap().unwrap();
        if let Some(at) = line.strip_prefix("metrics at http://") {
            break at.strip_suffix("/metrics").unwrap().to_owned();
        }
    };
    assert!(address.starts_with("127.0.0.1:"), "a port alone is this machine's: {address}");
    let mut rested = 0;
    while rested < sessions.len() {
        rested += usize::from(said.next().unwrap().unwrap().starts_with("rests "));
    }
    let (head, page) = scrape(&address);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let found = samples(&page);
    for (name, value) in [
        ("rekindle_sessions_live", 3.0),
        ("rekindle_sessions_started_total", 3.0),
        ("rekindle_session_start_seconds_count{outcome=\"started\"}", 3.0),
        ("rekindle_takeovers_total", 3.0),
        ("rekindle_restores_total{snapshot=\"no\"}", 3.0),
        ("rekindle_actions_total{kind=\"run\",outcome=\"ok\"}", 12.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {page}");
    }
    assert!(found["rekindle_events_appended_total{family=\"replay\"}"] >= 15.0, "{page}");
    assert!(found["rekindle_append_seconds_count"] >= found["rekindle_sessions_started_total"], "{page}");
    let documented: BTreeSet<&str> = measure::ALL.iter().map(|measure| measure.name).chain(["rekindle_build_info"]).collect();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(documented.contains(name), "{name} is measured and not documented");
    }
    let help = rig.run(&["serve", "--help"]);
    assert!(measure::ALL.iter().all(|measure| help.out.contains(measure.name)), "{}", help.out);
    node.kill().unwrap();
    node.wait().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    rig.run(&["--store", &url, "serve", "--metrics", &address]).assert_refused(1, &["metrics cannot be served at", &address]);
}

#[tokio::test]
async fn models_tools_and_servers_are_counted_by_how_they_came_out() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _local = metrics::set_default_local_recorder(&recorder);
    measure::begin();
    let calls = ModelAnswer { cost_usd: Some(0.5), ..ModelAnswer::default() };
    let calls = calls.calls("c1", "echo", &json!({})).calls("c2", "fails", &json!({})).calls("c3", "die", &json!({}));
    let model = ModelServer::scripted([calls.into(), Reply::error(401, "invalid_api_key", "no"), finish("c4")]).await;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let engine = engine(&store);
    let id = engine.new_session_id();
    let servers = vec![fake("s", "well", &["echo", "fails", "die"]), fake("bad", "exit", &[])];
    engine.create(id, None, spec(&model, "begin <secret_hidden>", servers)).await.unwrap();
    engine.rest(id).await;
    engine.submit(id, Command::Close { reason: "done".to_owned() }).await.unwrap();
    engine.rest(id).await;
    engine.shutdown().await;
    let page = handle.render();
    let found = samples(&page);
    for (name, value) in [
        ("rekindle_model_calls_total{outcome=\"ok\"}", 1.0),
        ("rekindle_model_calls_total{outcome=\"authentication\"}", 1.0),
        ("rekindle_model_tokens_total{kind=\"prompt\"}", 100.0),
        ("rekindle_model_tokens_total{kind=\"cached\"}", 60.0),
        ("rekindle_model_tokens_total{kind=\"completion\"}", 20.0),
        ("rekindle_model_cost_micro_usd_total", 500_000.0),
        ("rekindle_actions_total{kind=\"call_tool_mcp\",outcome=\"ok\"}", 1.0),
        ("rekindle_actions_total{kind=\"call_tool_mcp\",outcome=\"failed\"}", 1.0),
        ("rekindle_actions_total{kind=\"call_tool_mcp\",outcome=\"unknown\"}", 1.0),
        ("rekindle_servers_joined_total{outcome=\"joined\"}", 1.0),
        ("rekindle_servers_joined_total{outcome=\"failed\"}", 1.0),
        ("rekindle_sessions_closed_total", 1.0),
        ("rekindle_sessions_live", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {page}");
    }
    assert!(found["rekindle_secrets_hidden_total"] >= 1.0, "{page}");
}

/// What was traced.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn traces_say_whose_session_it_is_and_once_how_its_start_ended() {
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("rekindle=trace")
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let calls = ModelAnswer::default().calls("c1", "echo", &json!({}));
    let model = ModelServer::scripted([calls.into(), finish("c2")]).await;
    let store: SharedStore = Arc::new(MemoryStore::new());
    let engine = engine(&store);
    let id = engine.new_session_id();
    let spec = SessionSpec { user: Some("ada".to_owned()), ..spec(&model, "begin", vec![fake("s", "well", &["echo"])]) };
    engine.create(id, None, spec).await.unwrap();
    engine.rest(id).await;
    engine.shutdown().await;
    let text = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    let ours = format!("session.id={id} user.id=\"ada\"");
    for span in ["session{", "start.step{", "action.execute{", "model.call{"] {
        assert!(text.contains(&format!("{span}{ours}")), "{span} in {text}");
    }
    assert!(text.contains("tool.call{tool=\"echo\"}"), "{text}");
    let ends: Vec<&str> = text.lines().filter(|line| line.contains("a start ended")).collect();
    assert_eq!(ends.len(), 1, "{text}");
    assert!(ends[0].contains("outcome=\"started\"") && ends[0].contains("seconds="), "{ends:?}");
}
