//! What happened, in words for a model.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::session::action::Action;
use crate::session::observation::{Extras, Recalled, RunOutput};
use crate::session::{Content, Observation};

/// An outcome longer than this is shown by its beginning and its end, in characters.
pub const OUTCOME_CHARS_MAX: usize = 30_000;

/// The outcome of an action; `None` when there is nothing that a model should hear.
pub fn outcome(observation: &Observation) -> Option<String> {
    let content = observation.content.as_str();
    let text = match &observation.extras {
        Extras::Null | Extras::AgentStateChanged(_) | Extras::Recall(_) => return None,
        Extras::Run(run) => command(content, run),
        Extras::RunIpython(cell) => match cell.image_urls.as_deref().unwrap_or_default().len() {
            0 => content.to_owned(),
            count => format!("{content}\n[pictures that were drawn and are not shown: {count}]"),
        },
        Extras::Error(_) => format!("Error: {content}"),
        Extras::UserRejected if content.is_empty() => "The user refused this.".to_owned(),
        Extras::UserRejected => format!("The user refused this: {content}"),
        Extras::Mcp(_) => tool_answer(content),
        Extras::Condense => format!("What happened before, in short:\n{content}"),
        Extras::Success
        | Extras::Browse(_)
        | Extras::Read(_)
        | Extras::Write(_)
        | Extras::Edit(_)
        | Extras::Delegate(_)
        | Extras::Think
        | Extras::Download(_)
        | Extras::TaskTracking(_)
        | Extras::LoopDetection => content.to_owned(),
    };
    // A result that is empty reads as if it were missing, and some endpoints refuse it.
    let text = if text.trim().is_empty() { "(no output)".to_owned() } else { text };
    Some(shortened(text))
}

fn command(content: &str, run: &RunOutput) -> String {
    let metadata = &run.metadata;
    let mut text = format!("{}{content}{}", metadata.prefix, metadata.suffix);
    if let Some(directory) = &metadata.working_dir {
        let _ = write!(text, "\n[directory: {directory}]");
    }
    // The suffix of a runtime says how the command ended; recordings come without one.
    if metadata.suffix.is_empty() && metadata.exit_code != -1 {
        let _ = write!(text, "\n[exit code: {}]", metadata.exit_code);
    }
    text
}

/// The texts in what an MCP server answered; the answer itself when it has another shape.
fn tool_answer(content: &str) -> String {
    let Ok(answer) = serde_json::from_str::<Value>(content) else { return content.to_owned() };
    let Some(parts) = answer.get("content").and_then(Value::as_array) else { return content.to_owned() };
    let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some("text") => part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        Some(kind @ ("image" | "audio")) => format!("[{kind}, not shown]"),
        _ => part.to_string(),
    };
    let text = parts.iter().map(part).collect::<Vec<_>>().join("\n");
    if answer.get("isError").and_then(Value::as_bool) == Some(true) { format!("Error: {text}") } else { text }
}

/// `text` by its beginning and its end when it is too long.
pub fn shortened(text: String) -> String {
    shortened_to(text, OUTCOME_CHARS_MAX)
}

/// `text` by its beginning and its end when it has more than `max` characters.
pub fn shortened_to(text: String, max: usize) -> String {
    let chars = text.chars().count();
    if chars <= max {
        return text;
    }
    let half = max / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(chars - half).collect();
    format!("{head}\n[… {} characters were left out here …]\n{tail}", chars - 2 * half)
}

/// An action that no tool call of this conversation asked for.
pub fn action(action: &Action) -> Option<String> {
    match action {
        Action::Null
        | Action::System(_)
        | Action::Recall(_)
        | Action::ChangeAgentState(_)
        | Action::CondensationRequest
        | Action::LoopRecovery(_) => None,
        Action::Edit(edit) => Some(format!("Editing file: {} ({})", edit.path, edit.command)),
        Action::Finish(finish) => Some(format!("Finished: {}", finish.final_thought)),
        other => Some(Content::Action(other.clone()).message().into_owned()),
    }
}

/// What memory told; `told` are the names of the microagents that were shown before, and those shown now are added.
pub fn recalled(recalled: &Recalled, told: &mut HashSet<String>) -> Option<String> {
    let mut text = String::new();
    if !recalled.repo_name.is_empty() {
        let _ = write!(text, "The repository {} is at {}", recalled.repo_name, recalled.repo_directory);
        if let Some(branch) = recalled.repo_branch.as_deref().filter(|branch| !branch.is_empty()) {
            let _ = write!(text, ", on branch {branch}");
        }
        text.push_str(".\n");
    }
    if let Some(directory) = recalled.working_dir.as_deref().filter(|directory| !directory.is_empty()) {
        let _ = writeln!(text, "The working directory is {directory}.");
    }
    if !recalled.date.is_empty() {
        let _ = writeln!(text, "Today is {}.", recalled.date);
    }
    for (host, port) in recalled.runtime_hosts.iter() {
        let _ = writeln!(text, "A web server on port {port} of the workspace is reached at {host}.");
    }
    if !recalled.custom_secrets_descriptions.is_empty() {
        text.push_str("These environment variables hold secrets; use them by name, and never print or store their values:\n");
        for (name, description) in recalled.custom_secrets_descriptions.iter() {
            let _ = writeln!(text, "- {name}{}{description}", if description.is_empty() { "" } else { ": " });
        }
    }
    for (title, section) in [
        ("Instructions of the repository", &recalled.repo_instructions),
        ("Instructions for this conversation", &recalled.conversation_instructions),
        ("Further instructions", &recalled.additional_agent_instructions),
    ] {
        if !section.trim().is_empty() {
            let _ = write!(text, "\n# {title}\n{}\n", section.trim());
        }
    }
    for knowledge in &recalled.microagent_knowledge {
        if told.insert(knowledge.name.clone()) {
            let (name, trigger) = (&knowledge.name, &knowledge.trigger);
            let _ = write!(text, "\n# {name}, which may help because of \"{trigger}\"\n{}\n", knowledge.content.trim());
        }
    }
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::observation::{CommandMetadata, McpResult};

    #[test]
    fn a_long_outcome_is_shown_by_both_its_ends_and_says_how_much_is_missing() {
        let long = format!("{}{}{}", "a".repeat(15_000), "é".repeat(7), "z".repeat(15_000));
        let shown = shortened(long);
        assert!(shown.starts_with("aaa") && shown.ends_with("zzz") && shown.contains("[… 7 characters were left out here …]"));
        assert!(!shown.contains('é'));
        assert_eq!(shortened("é".repeat(OUTCOME_CHARS_MAX)).chars().count(), OUTCOME_CHARS_MAX);
    }

    #[test]
    fn a_command_says_how_it_ended_once() {
        let metadata = CommandMetadata { exit_code: 2, working_dir: Some("/workspace".into()), ..CommandMetadata::default() };
        let run = |metadata| Extras::Run(RunOutput { command: "make".into(), metadata, hidden: false });
        let recorded = Observation { content: "no rule".into(), extras: run(metadata.clone()) };
        assert_eq!(outcome(&recorded).unwrap(), "no rule\n[directory: /workspace]\n[exit code: 2]");
        let suffix = "\n[The command completed with exit code 2.]".to_owned();
        let live =
            Observation { content: "no rule".into(), extras: run(CommandMetadata { suffix, working_dir: None, ..metadata }) };
        assert_eq!(outcome(&live).unwrap(), "no rule\n[The command completed with exit code 2.]");
    }

    #[test]
    fn nothing_printed_and_nothing_to_say_are_two_things() {
        let of = |content: &str, extras| outcome(&Observation { content: content.into(), extras });
        assert_eq!(of("", Extras::Success).as_deref(), Some("(no output)"));
        assert_eq!(of("", Extras::Null), None);
        assert_eq!(of("not today", Extras::UserRejected).as_deref(), Some("The user refused this: not today"));
    }

    #[test]
    fn the_answer_of_a_server_is_its_texts() {
        let mcp = |content: &str| Observation { content: content.into(), extras: Extras::Mcp(McpResult::default()) };
        let answer =
            r#"{"content":[{"type":"text","text":"a"},{"type":"image","data":"…"},{"type":"text","text":"b"}],"isError":true}"#;
        assert_eq!(outcome(&mcp(answer)).unwrap(), "Error: a\n[image, not shown]\nb");
        assert_eq!(outcome(&mcp("plain")).unwrap(), "plain");
    }
}
