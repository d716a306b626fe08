//! Servers from npm and `PyPI` are joined and called, over standard input and over HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rekindle::engine::ports::ToolServers;
use rekindle::host::mcp::{Isolation, McpServers};
use rekindle::session::{McpServer, McpTransport};
use serde_json::json;

use crate::mcp_support::{http, installed, join, node, stdio};

#[tokio::test]
async fn servers_of_node_and_python_are_joined_together_and_called() {
    let time = stdio("time", &installed("python/bin/mcp-server-time"), &["--local-timezone", "UTC"]);
    let bench = join(
        Isolation::Auto,
        vec![node("files", "server-filesystem", &["/workspace"]), node("all", "server-everything", &[]), time],
    )
    .await;
    for report in &bench.joined.report {
        assert_eq!((report.error.as_ref(), report.is.is_some()), (None, true), "{report:?}");
    }
    assert!(
        bench.names().contains(&"write_file") && bench.names().contains(&"echo") && bench.names().contains(&"get_current_time")
    );
    assert_eq!(bench.text("echo", &json!({"message": "hi"})).await, "Echo: hi");
    let time = bench.text("get_current_time", &json!({"timezone": "UTC"})).await;
    assert!(time.contains("\"timezone\": \"UTC\""), "{time}");
    // Both kinds of servers take a wrong call amiss, each in its way; the agent is told in one.
    for (tool, arguments) in [("echo", json!({"message": 7})), ("get_current_time", json!({"timezone": "Nowhere"}))] {
        assert_eq!(bench.ask(tool, &arguments).await["isError"], true, "{tool}");
    }
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn a_server_finds_the_workspace_where_the_agent_does() {
    let bench = join(Isolation::Auto, vec![node("files", "server-filesystem", &["/workspace"])]).await;
    let report = &bench.joined.report[0];
    assert_eq!(report.error, None);
    // A machine that permits no namespaces says so.
    let place = if report.notes.is_empty() { "/workspace".to_owned() } else { bench.workspace.path().display().to_string() };
    bench.text("write_file", &json!({"path": format!("{place}/a.txt"), "content": "grüße"})).await;
    assert_eq!(std::fs::read_to_string(bench.workspace.path().join("a.txt")).unwrap(), "grüße");
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn without_namespaces_an_argument_that_names_the_workspace_means_it_all_the_same() {
    let bench = join(Isolation::Plain, vec![node("files", "server-filesystem", &["/workspace"])]).await;
    let path = bench.workspace.path().canonicalize().unwrap().join("a.txt");
    bench.text("write_file", &json!({"path": path, "content": "x"})).await;
    assert_eq!(std::fs::read_to_string(path).unwrap(), "x");
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn pictures_and_structured_answers_are_kept() {
    let bench = join(Isolation::Auto, vec![node("all", "server-everything", &[])]).await;
    let picture = bench.ask("get-tiny-image", &json!({})).await;
    let kinds: Vec<_> = picture["content"].as_array().unwrap().iter().map(|part| part["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"image"), "{kinds:?}");
    let structured = bench.ask("get-structured-content", &json!({"location": "New York"})).await;
    assert!(structured["structuredContent"].is_object(), "{structured}");
    bench.joined.tools.close().await;
}

/// A server from npm that serves HTTP.
struct Service {
    child: Child,
    port: u16,
}

impl Service {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = installed("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
        let mut command = Command::new("node");
        command
            .args([script.as_str(), "streamableHttp"])
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it listened");
        }
        // It must not be held up by what nobody reads.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

#[tokio::test]
async fn a_service_over_http_is_joined_and_called_also_by_an_old_entry() {
    let mut service = Service::start();
    let old = McpServer { transport: McpTransport::Sse { url: service.url(), key: None }, ..http("old", "") };
    let bench = join(Isolation::Auto, vec![http("new", &service.url()), old]).await;
    assert_eq!((bench.error("new"), bench.error("old")), ("", ""));
    assert_eq!(bench.text("new_echo", &json!({"message": "a"})).await, "Echo: a");
    assert_eq!(bench.text("old_echo", &json!({"message": "b"})).await, "Echo: b");
    service.end();
    let gone = bench.observe("new_echo", &json!({"message": "c"})).await;
    assert!(gone.content.contains("The server new gave no answer: "), "{gone:?}");
    bench.joined.tools.close().await;
}

#[tokio::test]
async fn servers_that_cannot_be_reached_are_told_with_the_reason_and_the_others_are_there() {
    let old = McpServer { transport: McpTransport::Sse { url: "http://127.0.0.1:9/sse".into(), key: None }, ..http("old", "") };
    let locked = McpServer {
        transport: McpTransport::Http { url: "http://127.0.0.1:9/".into(), key: Some("NO_KEY".into()) },
        ..http("locked", "")
    };
    let servers = vec![
        stdio("missing", "no-such-program", &[]),
        http("refused", "http://127.0.0.1:9/mcp"),
        old,
        locked,
        node("all", "server-everything", &[]),
    ];
    let bench = join(Isolation::Auto, servers).await;
    assert!(bench.error("missing").contains("is it installed, and in PATH?"), "{}", bench.error("missing"));
    assert!(bench.error("refused").to_lowercase().contains("refused"), "{}", bench.error("refused"));
    assert!(bench.error("old").contains("the old HTTP+SSE is not spoken any more"), "{}", bench.error("old"));
    assert!(bench.error("locked").contains("asks for the secret NO_KEY"), "{}", bench.error("locked"));
    assert_eq!(bench.text("echo", &json!({"message": "hi"})).await, "Echo: hi");
    let unknown = bench.observe("elsewhere", &json!({})).await;
    assert!(
        unknown.content.starts_with("No server brings the tool elsewhere. The server missing was not reached: "),
        "{unknown:?}"
    );
    bench.joined.tools.close().await;
}

#[test]
fn an_engine_s_servers_can_be_shared() {
    fn assert_port<T: ToolServers>() {}
    assert_port::<McpServers>();
}
