//! What the tools of servers are called: uniquely, as endpoints of models take it, and the same after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};

use rmcp::model::Tool as Offered;

use super::schema;
use crate::engine::ports::{ReportedTool, ToolDefinition, ToolsReport};
use crate::host::agent::tool_name;
use crate::session::{Digest, Tool};

/// The most characters that a name may have.
const NAME_MAX: usize = 64;
/// The most tools that all servers of a session may bring; endpoints refuse more than 128 in all.
const TOOLS_MAX: usize = 120;

/// The tools of one server.
pub(super) struct Offer<'a> {
    pub(super) server: &'a str,
    pub(super) tools: &'a [Offered],
}

/// The tools of all servers, each with its name.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) tools: Vec<NamedTool>,
    /// What a person should know, by server.
    pub(super) notes: Vec<(String, String)>,
}

/// A tool that models are told of.
#[derive(Debug)]
pub(super) struct NamedTool {
    pub(super) server: String,
    /// As the server calls it.
    pub(super) tool: String,
    pub(super) definition: ToolDefinition,
}

impl NamedTool {
    /// What the log says of it.
    pub(super) fn report(&self) -> ReportedTool {
        let ToolDefinition { name, description, parameters } = &self.definition;
        let content = serde_json::to_vec(&(description, parameters)).unwrap_or_default();
        let of = (*name != self.tool).then(|| self.tool.clone());
        ReportedTool { name: name.clone(), of, digest: Digest::of(&content).short() }
    }
}

/// Names the tools. A tool that was told of before keeps its name, so that a name never comes to mean another tool; one whose own
/// name is free and fit has that; all others have the name of their server before their own.
pub(super) fn assign(offers: &[Offer<'_>], known: &[ToolsReport]) -> Named {
    let mut named = Named::default();
    let before: HashMap<(&str, &str), &str> = known.iter().flat_map(former).collect();
    let own = [Tool::Bash, Tool::Editor, Tool::Python, Tool::Think, Tool::Finish, Tool::Delegate].map(tool_name);
    let mut taken: HashSet<String> = own.iter().map(|name| (*name).to_owned()).collect();
    taken.extend(before.values().map(|name| (*name).to_owned()));
    let mut tools = Vec::new();
    for offer in offers {
        tools.extend(fit(offer, &mut named.notes));
    }
    let mut wanted: HashMap<String, usize> = HashMap::new();
    for (_, tool, _) in &tools {
        *wanted.entry(tool.clone()).or_default() += 1;
    }
    for (server, tool, definition) in tools {
        let name = match before.get(&(server.as_str(), tool.as_str())) {
            Some(name) => (*name).to_owned(),
            None if wanted.get(&tool) == Some(&1) && is_fit(&tool) && !taken.contains(&tool) => tool.clone(),
            None => prefixed(&server, &tool, &taken),
        };
        if !taken.insert(name.clone()) && !before.contains_key(&(server.as_str(), tool.as_str())) {
            named.notes.push((server, format!("its tool {tool} is left out: no name is free for it")));
        } else if named.tools.len() < TOOLS_MAX {
            named.tools.push(NamedTool { server, tool, definition: ToolDefinition { name, ..definition } });
        } else {
            named.notes.push((server, format!("its tool {tool} is left out: a session takes {TOOLS_MAX} tools of servers")));
        }
    }
    named
}

/// The names of one server's tools as they were.
fn former(report: &ToolsReport) -> impl Iterator<Item = ((&str, &str), &str)> {
    report.tools.iter().map(|tool| ((report.server.as_str(), tool.of.as_deref().unwrap_or(&tool.name)), tool.name.as_str()))
}

/// The tools of a server that a model can be told of, in the order of their names.
fn fit(offer: &Offer<'_>, notes: &mut Vec<(String, String)>) -> Vec<(String, String, ToolDefinition)> {
    let mut fit = BTreeMap::new();
    for tool in offer.tools {
        let own = tool.name.to_string();
        let mut note = |why: String| {
            let shown: String = own.chars().take(NAME_MAX).collect();
            notes.push((offer.server.to_owned(), format!("its tool {shown} is left out: {why}")));
        };
        match schema::parameters(tool) {
            _ if own.is_empty() || own.len() > 4 * NAME_MAX => note("it has no usable name".to_owned()),
            _ if fit.contains_key(&own) => note("there is one of that name already".to_owned()),
            Err(why) => note(why),
            Ok(parameters) => {
                let definition = ToolDefinition { name: String::new(), description: schema::description(tool), parameters };
                fit.insert(own, definition);
            }
        }
    }
    fit.into_iter().map(|(tool, definition)| (offer.server.to_owned(), tool, definition)).collect()
}

fn is_fit(name: &str) -> bool {
    name.len() <= NAME_MAX && name.chars().all(is_taken_by_endpoints)
}

const fn is_taken_by_endpoints(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// A free name that is made of both, always the same one for the same two and the same names that are taken.
fn prefixed(server: &str, tool: &str, taken: &HashSet<String>) -> String {
    let written = format!("{server}_{tool}");
    let clean: String = written.chars().map(|c| if is_taken_by_endpoints(c) { c } else { '_' }).collect();
    if clean.len() <= NAME_MAX && !taken.contains(&clean) {
        return clean;
    }
    let whole = Digest::of(format!("{server}\0{tool}").as_bytes()).to_string();
    let short: String = clean.chars().take(NAME_MAX - 9).collect();
    format!("{short}_{}", whole.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offered(names: &[&str]) -> Vec<Offered> {
        let tool = |name: &&str| serde_json::from_value(json!({"name": name, "inputSchema": {"type": "object"}})).unwrap();
        names.iter().map(tool).collect()
    }

    fn names(servers: &[(&str, &[&str])], known: &[ToolsReport]) -> (Vec<String>, Vec<ToolsReport>) {
        let tools: Vec<_> = servers.iter().map(|(server, names)| (*server, offered(names))).collect();
        let offers: Vec<_> = tools.iter().map(|(server, tools)| Offer { server, tools }).collect();
        let named = assign(&offers, known);
        let report = |server: &str| {
            let tools = named.tools.iter().filter(|tool| tool.server == server).map(NamedTool::report).collect();
            ToolsReport { tools, ..ToolsReport::new(server) }
        };
        let reports = servers.iter().map(|(server, _)| report(server)).collect();
        (named.tools.iter().map(|tool| tool.definition.name.clone()).collect(), reports)
    }

    #[test]
    fn a_name_that_is_free_and_fit_is_kept_and_any_other_is_prefixed() {
        let (named, _) = names(&[("a", &["add", "search", "bash"]), ("b", &["search", "web.get", "größe"])], &[]);
        assert_eq!(named, ["add", "a_bash", "a_search", "b_gr__e", "b_search", "b_web_get"]);
        assert!(named.iter().all(|name| is_fit(name)));
    }

    #[test]
    fn a_tool_keeps_its_name_whichever_servers_come_and_go() {
        let (first, known) = names(&[("a", &["search"])], &[]);
        assert_eq!(first, ["search"]);
        let (both, known) = names(&[("a", &["search"]), ("b", &["search"])], &known);
        assert_eq!(both, ["search", "b_search"]);
        let (alone, _) = names(&[("b", &["search"])], &known);
        assert_eq!(alone, ["b_search"], "what was another server's name is not taken over");
    }

    #[test]
    fn names_that_become_the_same_are_told_apart() {
        let long = "x".repeat(80);
        let (named, _) = names(&[("s", &["a.b", "a:b", &long, &format!("{long}y")])], &[]);
        let unique: HashSet<_> = named.iter().collect();
        assert_eq!(unique.len(), 4, "{named:?}");
        assert!(named.iter().all(|name| is_fit(name)), "{named:?}");
        assert_eq!(names(&[("s", &["a.b", "a:b", &long, &format!("{long}y")])], &[]).0, named, "and always so");
    }

    #[test]
    fn a_tool_that_comes_twice_and_one_too_many_are_left_out_with_a_word() {
        let tools = offered(&["add", "add"]);
        let named = assign(&[Offer { server: "s", tools: &tools }], &[]);
        assert_eq!(named.tools.len(), 1);
        assert_eq!(named.notes[0].1, "its tool add is left out: there is one of that name already");
        let many: Vec<String> = (0..TOOLS_MAX + 1).map(|n| format!("t{n:03}")).collect();
        let tools = offered(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let named = assign(&[Offer { server: "s", tools: &tools }], &[]);
        assert_eq!((named.tools.len(), named.notes.len()), (TOOLS_MAX, 1));
    }
}
