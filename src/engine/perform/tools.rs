//! Servers that bring tools: joined by each owner anew, and compared with what they brought to the one before.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Performing;
use crate::engine::ports::{Join, ReportedTool, ToolsReport};
use crate::session::event::StepFinished;
use crate::session::start::StepOutcome;
use crate::session::{Event, Report, StepDone};
use crate::store::{Read, Row};

/// How many tools are named to the agent when they have changed.
const NAMED_MAX: usize = 20;

/// What the log says of a session's servers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Servers {
    servers: Vec<ToolsReport>,
    /// What a person should know, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// How their tools differ from those that they brought before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
}

/// How tools differ from those before, by their names.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
}

impl Performing {
    pub(super) async fn join_servers(&mut self, within: Duration) -> Result<StepDone, String> {
        if let Some(former) = self.holding.tools.take() {
            former.tools.close().await;
        }
        let before = self.servers_before().await;
        let spec = self.spec()?;
        let request = Join {
            session: self.id,
            servers: spec.mcp.clone(),
            secrets: self.secrets(|_| true).await?,
            workspace: spec.workspace.clone(),
            within,
            known: before.as_ref().map(|before| before.servers.clone()).unwrap_or_default(),
        };
        let joined = self.shared.ports.tools.join(request).await;
        let changes = before.map(|before| Changes::between(&before.servers, &joined.report)).filter(|changes| !changes.is_none());
        // Who was told nothing yet need not be told that it is something else now.
        let told = changes.as_ref().filter(|_| self.session.briefing.is_some()).map(Changes::told);
        let report = serde_json::to_value(Servers {
            warnings: warnings(&joined.report, changes.as_ref()),
            servers: joined.report.clone(),
            changes,
        })
        .map_err(|error| error.to_string())?;
        self.holding.tools = Some(joined);
        // It was told of other tools, perhaps.
        (self.holding.agent, self.holding.briefed) = (None, None);
        Ok(StepDone::Tools { report: Report(report), told })
    }

    /// What the servers brought to the owner before.
    async fn servers_before(&self) -> Option<Servers> {
        let at = self.session.tools_at?;
        let read = Read::one(self.id, at);
        let page = self.shared.store.read(read).await.ok()?;
        let Some(Row::Event { event, .. }) = page.rows.first() else { return None };
        match Event::read(event) {
            Event::StepFinished(StepFinished { outcome: StepOutcome::Done { report }, .. }) => {
                serde_json::from_value(report.0).ok()
            }
            _ => None,
        }
    }
}

/// What a person should know of servers.
fn warnings(servers: &[ToolsReport], changes: Option<&Changes>) -> Vec<String> {
    let of = |server: &ToolsReport| {
        let down = server.error.iter().map(|why| format!("the server {} was not reached: {why}", server.server));
        let notes = server.notes.iter().map(|note| format!("the server {}: {note}", server.server));
        down.chain(notes).collect::<Vec<_>>()
    };
    servers.iter().flat_map(of).chain(changes.map(Changes::told)).collect()
}

impl Changes {
    fn between(before: &[ToolsReport], now: &[ToolsReport]) -> Self {
        let by_name = |reports: &[ToolsReport]| -> BTreeMap<String, ReportedTool> {
            reports.iter().flat_map(|report| &report.tools).map(|tool| (tool.name.clone(), tool.clone())).collect()
        };
        let (before, now) = (by_name(before), by_name(now));
        let missing = |from: &BTreeMap<String, ReportedTool>, of: &BTreeMap<String, ReportedTool>| {
            of.keys().filter(|name| !from.contains_key(*name)).cloned().collect()
        };
        let differs = |(name, tool): &(&String, &ReportedTool)| before.get(*name).is_some_and(|before| before != *tool);
        Self {
            added: missing(&before, &now),
            removed: missing(&now, &before),
            changed: now.iter().filter(differs).map(|(name, _)| name.clone()).collect(),
        }
    }

    const fn is_none(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// The same for the agent.
    fn told(&self) -> String {
        let named = |what: &str, names: &[String]| {
            let shown = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = names.len().saturating_sub(NAMED_MAX);
            match (names.len(), more) {
                (0, _) => None,
                (_, 0) => Some(format!("{what}: {shown}.")),
                (_, more) => Some(format!("{what}: {shown} and {more} more.")),
            }
        };
        let parts = [named("New", &self.added), named("Gone", &self.removed), named("Changed", &self.changed)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("[The tools of servers are not what they were. {}]", parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tools: &[(&str, &str)]) -> Vec<ToolsReport> {
        let tool = |(name, digest): &(&str, &str)| ReportedTool { name: (*name).into(), of: None, digest: (*digest).into() };
        vec![ToolsReport { tools: tools.iter().map(tool).collect(), ..ToolsReport::new("s") }]
    }

    #[test]
    fn tools_that_came_went_and_changed_are_told_apart() {
        let before = report(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let changes = Changes::between(&before, &report(&[("b", "2"), ("c", "1"), ("d", "1")]));
        assert_eq!(changes.told(), "[The tools of servers are not what they were. New: d. Gone: a. Changed: b.]");
        assert!(Changes::between(&before, &before).is_none());
        let many: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        assert!(Changes::between(&report(&[]), &report(&many)).told().contains("t19 and 5 more."));
    }
}
