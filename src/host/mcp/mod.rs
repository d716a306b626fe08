//! Servers of the Model Context Protocol, which bring further tools: programs of this machine, and services over HTTP.
//!
//! `means → connection → names → calls → answer`: what a server needs, how it is reached, what its tools are called, what is asked of
//! it, and what it says.

mod answer;
mod calls;
mod connection;
mod launch;
mod means;
mod meter;
mod names;
mod schema;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::Mutex;

use crate::engine::ports::{Join, Joined, ToolServers, ToolsReport};
use calls::{Calls, Server};
pub use launch::Isolation;
use means::Web;
use names::Offer;

/// What is left of the time for all servers when one that is slow is given up.
const SPARE: Duration = Duration::from_secs(2);

/// Reaches MCP servers.
#[derive(Debug, Default)]
pub struct McpServers {
    isolation: Isolation,
    web: Web,
}

impl McpServers {
    /// Keeps what programs start from outliving them in this way.
    pub fn new(isolation: Isolation) -> Self {
        Self { isolation, web: Web::default() }
    }
}

#[async_trait]
impl ToolServers for McpServers {
    async fn join(&self, request: Join) -> Joined {
        let within = request.within.saturating_sub(SPARE).max(request.within / 2);
        let joining = request.servers.iter().map(|spec| async {
            let timeout = Duration::from_millis(spec.timeout_ms).min(within);
            let mut server = Server::new(spec.clone(), self.isolation);
            let offered = match means::of(spec, &request, &self.web) {
                Ok(means) => Box::pin(server.join(means, timeout)).await,
                Err(why) => Err(why),
            };
            (server, offered)
        });
        let joined = join_all(joining).await;
        let offers = joined.iter().filter_map(|(server, offered)| {
            let tools = offered.as_ref().ok()?;
            Some(Offer { server: server.name(), tools })
        });
        let named = names::assign(&offers.collect::<Vec<_>>(), &request.known);
        let mut servers = Vec::new();
        let mut report = Vec::new();
        for (server, offered) in joined {
            report.push(match offered {
                Ok(_) => {
                    let mut notes: Vec<String> = server.notes().map(str::to_owned).collect();
                    notes.extend(named.notes.iter().filter(|(of, _)| of == server.name()).map(|(_, note)| note.clone()));
                    let tools = named.tools.iter().filter(|tool| tool.server == server.name()).map(names::NamedTool::report);
                    ToolsReport { is: server.is(), tools: tools.collect(), notes, ..ToolsReport::new(server.name()) }
                }
                Err(why) => ToolsReport { error: Some(why), ..ToolsReport::new(server.name()) },
            });
            servers.push((server.name().to_owned(), Mutex::new(server)));
        }
        let definitions = named.tools.iter().map(|tool| tool.definition.clone()).collect();
        let down = report.iter().filter_map(|report| Some((report.server.clone(), report.error.clone()?))).collect();
        Joined { tools: Arc::new(Calls::new(servers, named.tools, down)), definitions, report }
    }
}
