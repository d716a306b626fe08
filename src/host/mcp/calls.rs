//! Calls of tools: each goes to the server that brings the tool; one that has died is started again.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rmcp::model::{CallToolRequestParams, Tool};
use tokio::sync::Mutex;

use super::answer;
use super::connection::{Called, Connection};
use super::launch::Isolation;
use super::means::Means;
use super::names::NamedTool;
use crate::engine::ports::Tools;
use crate::session::action::CallToolMcp;
use crate::session::decide::{NOT_EXECUTED, OUTCOME_UNKNOWN};
use crate::session::{McpServer, McpTransport, Observation};

/// One server, and the connection to it while there is one.
pub(super) struct Server {
    spec: McpServer,
    isolation: Isolation,
    means: Option<Means>,
    connection: Option<Connection>,
}

impl Server {
    pub(super) const fn new(spec: McpServer, isolation: Isolation) -> Self {
        Self { spec, isolation, means: None, connection: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it says that it is.
    pub(super) fn is(&self) -> Option<String> {
        self.connection.as_ref()?.is()
    }

    /// What a person should know of how it runs.
    pub(super) fn notes(&self) -> impl Iterator<Item = &str> {
        self.connection.as_ref().and_then(Connection::note).into_iter()
    }

    /// Reaches it and asks for its tools.
    pub(super) async fn join(&mut self, means: Means, within: Duration) -> Result<Vec<Tool>, String> {
        let begun = tokio::time::Instant::now();
        let mut connection = Connection::open(&means, self.isolation, within).await?;
        let tools = match connection.tools(within.saturating_sub(begun.elapsed())).await {
            Ok(tools) => tools,
            Err(why) => {
                connection.close().await;
                return Err(why);
            }
        };
        (self.means, self.connection) = (Some(means), Some(connection));
        Ok(tools)
    }

    /// The connection; made anew when it broke, which the second value says then.
    async fn connected(&mut self, within: Duration) -> Result<(&mut Connection, Option<String>), String> {
        match self.connection.take() {
            Some(connection) if !connection.is_closed() => return Ok((self.connection.insert(connection), None)),
            Some(broken) => broken.close().await,
            None => {}
        }
        let means = self.means.as_ref().ok_or("it was not reached when the session began")?;
        let connection = Connection::open(means, self.isolation, within).await?;
        let again = match self.spec.transport {
            McpTransport::Stdio { .. } => "had ended and was started again; what it kept in memory is gone",
            McpTransport::Http { .. } | McpTransport::Sse { .. } => "had gone and was connected again; what it kept may be gone",
        };
        let word = format!("[The server {} {again}.]", self.spec.name);
        Ok((self.connection.insert(connection), Some(word)))
    }

    async fn call(&mut self, tool: &str, call: &CallToolMcp, timeout: Duration) -> Observation {
        let server = self.spec.name.clone();
        let within = Duration::from_millis(self.spec.timeout_ms).min(timeout);
        let (connection, again) = match Box::pin(self.connected(within)).await {
            Ok(connected) => connected,
            Err(why) => {
                let text = format!("The server {server} has gone and cannot be reached again: {why}. The tool was not called.");
                return Observation::error(text, NOT_EXECUTED);
            }
        };
        let arguments = call.arguments.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect();
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match connection.call(request, within).await {
            Called::Answered(result) => answer::observation(call, *result, again),
            Called::Refused(why) => answer::observation(call, answer::refusal(&why), again),
            Called::Unknown(why) => {
                let again = again.map(|word| format!("{word}\n")).unwrap_or_default();
                let text = format!(
                    "{again}The server {server} gave no answer: {why}. Whether the tool ran is unknown: check what it did before \
                     calling it again."
                );
                Observation::error(text, OUTCOME_UNKNOWN)
            }
        }
    }

    async fn close(&mut self) {
        self.means = None;
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}

/// All servers of a session, and which brings which tool.
pub(super) struct Calls {
    servers: HashMap<String, Mutex<Server>>,
    /// By the name that models know: the server, and its own name for it.
    tools: HashMap<String, (String, String)>,
    /// Those that were not reached, and why.
    down: Vec<(String, String)>,
}

impl Calls {
    pub(super) fn new(servers: Vec<(String, Mutex<Server>)>, tools: Vec<NamedTool>, down: Vec<(String, String)>) -> Self {
        let tools = tools.into_iter().map(|tool| (tool.definition.name, (tool.server, tool.tool))).collect();
        Self { servers: servers.into_iter().collect(), tools, down }
    }
}

#[async_trait]
impl Tools for Calls {
    async fn call(&self, call: &CallToolMcp, timeout: Duration) -> Observation {
        let found = self.tools.get(&call.name).and_then(|(server, tool)| Some((self.servers.get(server)?, tool)));
        let Some((server, tool)) = found else {
            let down = self.down.iter().map(|(server, why)| format!(" The server {server} was not reached: {why}."));
            let text = format!("No server brings the tool {}.{}", call.name, down.collect::<String>());
            return Observation::error(text, NOT_EXECUTED);
        };
        let mut server = server.lock().await;
        Box::pin(server.call(tool, call, timeout)).await
    }

    async fn close(&self) {
        join_all(self.servers.values().map(|server| async { server.lock().await.close().await })).await;
    }
}
