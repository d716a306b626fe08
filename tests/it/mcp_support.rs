//! MCP servers, real ones and one that misbehaves, and short ways to say what they are asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rekindle::engine::ports::{Join, Joined, SecretValue, ToolServers, ToolsReport};
use rekindle::host::mcp::{Isolation, McpServers};
use rekindle::session::action::CallToolMcp;
use rekindle::session::{Extras, McpServer, McpTransport, Observation, SessionId};
use serde_json::{Value, json};
use uuid::Uuid;

/// Longer than anything takes on a machine that is busy.
pub const PATIENT: Duration = Duration::from_secs(120);

/// Where `.ci/test` puts the servers of npm and `PyPI`.
pub fn installed(path: &str) -> String {
    let root =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = root.join("mcp-servers").join(path);
    assert!(path.exists(), "{} is not there: `.ci/mcp-servers` installs it", path.display());
    path.display().to_string()
}

pub fn stdio(name: &str, command: &str, args: &[&str]) -> McpServer {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let transport = McpTransport::Stdio { command: command.to_owned(), args, env: Default::default() };
    McpServer { name: name.to_owned(), transport, timeout_ms: 60_000 }
}

/// A server of an npm package.
pub fn node(name: &str, package: &str, args: &[&str]) -> McpServer {
    let script = installed(&format!("node_modules/@modelcontextprotocol/{package}/dist/index.js"));
    stdio(name, "node", &[&[script.as_str()], args].concat())
}

/// The server that misbehaves.
pub fn fake(name: &str, how: &str, tools: &[&str]) -> McpServer {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mcp_server.py");
    stdio(name, "python3", &[&["-u", script.to_str().unwrap(), how], tools].concat())
}

pub fn http(name: &str, url: &str) -> McpServer {
    let transport = McpTransport::Http { url: url.to_owned(), key: None };
    McpServer { name: name.to_owned(), transport, timeout_ms: 60_000 }
}

/// Servers that were joined, and the directory that they work in.
pub struct Bench {
    pub joined: Joined,
    pub workspace: tempfile::TempDir,
}

pub async fn join(isolation: Isolation, servers: Vec<McpServer>) -> Bench {
    join_with(isolation, servers, &[], &[]).await
}

pub async fn join_with(isolation: Isolation, servers: Vec<McpServer>, secrets: &[(&str, &str)], known: &[ToolsReport]) -> Bench {
    let workspace = tempfile::tempdir().unwrap();
    let secret = |(name, value): &(&str, &str)| SecretValue { name: (*name).to_owned(), value: (*value).to_owned() };
    let request = Join {
        session: SessionId::from_uuid(Uuid::now_v7()),
        servers,
        secrets: secrets.iter().map(secret).collect(),
        workspace: workspace.path().to_owned(),
        within: PATIENT,
        known: known.to_vec(),
    };
    Bench { joined: McpServers::new(isolation).join(request).await, workspace }
}

impl Bench {
    pub fn names(&self) -> Vec<&str> {
        self.joined.definitions.iter().map(|tool| tool.name.as_str()).collect()
    }

    pub async fn observe(&self, tool: &str, arguments: &Value) -> Observation {
        let call: CallToolMcp = serde_json::from_value(json!({ "name": tool, "arguments": arguments })).unwrap();
        self.joined.tools.call(&call, PATIENT).await
    }

    /// What the server answered, which it must have done.
    pub async fn ask(&self, tool: &str, arguments: &Value) -> Value {
        let observation = self.observe(tool, arguments).await;
        assert!(matches!(observation.extras, Extras::Mcp(_)), "{observation:?}");
        serde_json::from_str(&observation.content).unwrap()
    }

    /// The text that the server answered with.
    pub async fn text(&self, tool: &str, arguments: &Value) -> String {
        let answer = self.ask(tool, arguments).await;
        assert_eq!(answer["isError"], false, "{answer}");
        answer["content"][0]["text"].as_str().unwrap().to_owned()
    }

    pub fn error(&self, server: &str) -> &str {
        let report = self.joined.report.iter().find(|report| report.server == server).unwrap();
        report.error.as_deref().unwrap_or_default()
    }
}

/// The processes that were started with exactly these words.
pub fn running(words: &[&str]) -> Vec<i32> {
    let wanted = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<_>>();
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let is = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted);
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(pid).filter(is).collect()
}

/// Waits until something is so.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}
