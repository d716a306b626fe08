//! The tools that a tool-calling agent has: what models are told of them.

use serde_json::{Value, json};

use crate::engine::ports::ToolDefinition;
use crate::session::Tool;

/// The argument in which a model says how risky a call is.
pub const RISK: &str = "security_risk";

/// The name under which models know a tool.
pub const fn name(tool: Tool) -> &'static str {
    match tool {
        Tool::Bash => "bash",
        Tool::Editor => "str_replace_editor",
        Tool::Python => "python",
        Tool::Think => "think",
        Tool::Finish => "finish",
        Tool::Delegate => "delegate",
    }
}

/// Whether a call of it is executed somewhere, so that it can do harm.
const fn acts(tool: Tool) -> bool {
    match tool {
        Tool::Bash | Tool::Editor | Tool::Python => true,
        Tool::Think | Tool::Finish | Tool::Delegate => false,
    }
}

/// What a model is told of a tool; `delegates` are the agents that it may hand work to.
pub fn definition(tool: Tool, asks_risk: bool, delegates: &[String]) -> ToolDefinition {
    let (description, mut parameters) = match tool {
        Tool::Bash => bash(),
        Tool::Editor => editor(),
        Tool::Python => python(),
        Tool::Think => think(),
        Tool::Finish => finish(),
        Tool::Delegate => delegate(delegates),
    };
    if asks_risk && acts(tool) {
        ask_risk(&mut parameters);
    }
    ToolDefinition { name: name(tool).to_owned(), description: description.to_owned(), parameters }
}

/// The tool of a server, with the question about its risk where it has no argument of that name.
pub fn of_server(tool: &ToolDefinition, asks_risk: bool) -> ToolDefinition {
    let mut tool = tool.clone();
    if !tool.parameters.is_object() {
        tool.parameters = object(json!({}), &[]);
    }
    if asks_risk && is_asked_of(&tool) {
        ask_risk(&mut tool.parameters);
    }
    tool
}

/// Whether a server's tool, as the server describes it, leaves the name of the argument about risk free.
pub fn is_asked_of(tool: &ToolDefinition) -> bool {
    tool.parameters.pointer("/properties").and_then(|properties| properties.get(RISK)).is_none()
}

fn ask_risk(parameters: &mut Value) {
    let Some(parameters) = parameters.as_object_mut() else { return };
    let risk = json!({
        "type": "string",
        "enum": ["LOW", "MEDIUM", "HIGH"],
        "description": "How much harm this call could do.",
    });
    if let Some(properties) = parameters.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
        properties.insert(RISK.to_owned(), risk);
    }
    if let Some(required) = parameters.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.push(RISK.into());
    }
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn bash() -> (&'static str, Value) {
    let properties = json!({
        "command": {
            "type": "string",
            "description": "The command line. With is_input: what to type into the program that runs; C-c, C-d and C-z are keys; \
                            empty to see what it has printed since.",
        },
        "is_input": {
            "type": "boolean",
            "description": "Whether `command` is typed into the program that is still running. Default false.",
        },
        "timeout": {
            "type": "number",
            "description": "After this many seconds the command is interrupted. Set it for what takes long.",
        },
    });
    ("Runs a command line in a persistent bash and returns its output and exit code.", object(properties, &["command"]))
}

fn editor() -> (&'static str, Value) {
    let properties = json!({
        "command": {
            "type": "string",
            "enum": ["view", "create", "str_replace", "insert", "undo_edit"],
            "description": "What to do.",
        },
        "path": { "type": "string", "description": "The absolute path of a file, or of a directory to view." },
        "view_range": {
            "type": "array",
            "items": { "type": "integer" },
            "description": "view: first and last line, from 1; a last line of -1 is the end of the file.",
        },
        "file_text": { "type": "string", "description": "create: the whole text of the new file." },
        "old_str": {
            "type": "string",
            "description": "str_replace: the text to replace, with its white space, as it stands in the file exactly once.",
        },
        "new_str": { "type": "string", "description": "str_replace: what replaces it, nothing when left out. insert: the new lines." },
        "insert_line": { "type": "integer", "description": "insert: the line after which the new lines go; 0 for the top." },
    });
    let description = "Views files and directories, and creates and edits files. create does not overwrite; undo_edit takes back the \
                       last change of a file.";
    (description, object(properties, &["command", "path"]))
}

fn python() -> (&'static str, Value) {
    let properties =
        json!({ "code": { "type": "string", "description": "The code to run; the value of its last expression is shown." } });
    ("Runs Python code in a persistent interpreter and returns what it prints.", object(properties, &["code"]))
}

fn think() -> (&'static str, Value) {
    let properties = json!({ "thought": { "type": "string", "description": "The thought." } });
    ("Notes a thought. Changes nothing and finds nothing out.", object(properties, &["thought"]))
}

fn finish() -> (&'static str, Value) {
    let properties = json!({
        "message": { "type": "string", "description": "For the user: what was done, how it was checked, what is left." },
        "task_completed": {
            "type": "string",
            "enum": ["true", "partial", "false"],
            "description": "Whether the task is done.",
        },
    });
    ("Ends the task.", object(properties, &["message", "task_completed"]))
}

fn delegate(agents: &[String]) -> (&'static str, Value) {
    let description = "Which agent.";
    let agent = if agents.is_empty() {
        json!({ "type": "string", "description": description })
    } else {
        json!({ "type": "string", "description": description, "enum": agents })
    };
    let properties = json!({
        "agent": agent,
        "task": { "type": "string", "description": "Everything that the agent must know to do it, and what it is to report." },
    });
    ("Hands a part of the task to another agent and returns its result.", object(properties, &["agent", "task"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn risk_is_asked_of_what_acts_and_only_when_it_is_wanted() {
        let asked = |tool, wanted| definition(tool, wanted, &[]).parameters.pointer("/properties/security_risk").is_some();
        assert!(asked(Tool::Bash, true) && asked(Tool::Editor, true) && asked(Tool::Python, true));
        assert!(!asked(Tool::Bash, false) && !asked(Tool::Think, true) && !asked(Tool::Finish, true));
        assert_eq!(definition(Tool::Bash, true, &[]).parameters["required"], json!(["command", "security_risk"]));
    }

    #[test]
    fn a_tool_of_a_server_keeps_an_argument_of_that_name() {
        let own = json!({"type": "object", "properties": {"security_risk": {"type": "integer"}}});
        let tool = ToolDefinition { name: "scan".into(), description: String::new(), parameters: own.clone() };
        assert_eq!(of_server(&tool, true).parameters, own);
        let plain = ToolDefinition { name: "add".into(), description: String::new(), parameters: json!({"type": "object"}) };
        assert_eq!(of_server(&plain, true).parameters["required"], json!(["security_risk"]));
        let none = ToolDefinition { name: "now".into(), description: String::new(), parameters: Value::Null };
        assert_eq!(of_server(&none, false).parameters["type"], "object");
    }
}
