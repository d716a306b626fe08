//! The answer of a model as actions, and back.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::catalogue::{self, RISK};
use super::chat::{Answer, AnsweredCall};
use super::history::object;
use super::metadata::CallMetadata;
use crate::engine::ports::ToolDefinition;
use crate::session::action::{
    Action, CallToolMcp, Confirmation, Delegate, EditFile, Finish, Message, ReadFile, Run, RunIpython, Think,
};
use crate::session::{Item, Json, Object, Risk, Source, Tool};

/// Who views and edits files when an agent does.
const EDITOR_SOURCE: &str = "oh_aci";

/// The tools that an answer may call.
#[derive(Debug, Clone)]
pub struct Toolbox {
    /// The agent's own.
    pub own: Vec<Tool>,
    /// Those of servers, as the servers describe them.
    pub servers: Vec<ToolDefinition>,
    /// Whether the model was asked how risky each call is.
    pub asks_risk: bool,
    /// The agents that work may be handed to; any when empty.
    pub delegates: Vec<String>,
}

impl Toolbox {
    /// What models are told of all of them.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let own = self.own.iter().map(|tool| catalogue::definition(*tool, self.asks_risk, &self.delegates));
        own.chain(self.servers.iter().map(|tool| catalogue::of_server(tool, self.asks_risk))).collect()
    }

    fn names(&self) -> String {
        let own = self.own.iter().map(|tool| catalogue::name(*tool));
        own.chain(self.servers.iter().map(|tool| tool.name.as_str())).collect::<Vec<_>>().join(", ")
    }

    /// What `answer` wants done, in order. `response` is the id of the answer, `taken` the ids of earlier calls.
    ///
    /// # Errors
    /// For the model: what is wrong with its answer, and what to do.
    pub fn actions(&self, answer: &Answer, response: &str, mut taken: HashSet<String>) -> Result<Vec<Item>, String> {
        if answer.calls.is_empty() {
            return words(answer).map(|item| vec![item]);
        }
        let cut_off = matches!(answer.finish_reason.as_deref(), Some("length" | "max_tokens"));
        let mut items = Vec::with_capacity(answer.calls.len());
        for (at, call) in answer.calls.iter().enumerate() {
            let (mut action, timeout) = self.action(call).map_err(|why| bad_call(&why, answer.calls.len(), cut_off))?;
            if at == 0 {
                set_thought(&mut action, answer.text.trim());
            }
            let id = unique_id(call, response, at, &mut taken);
            let metadata = CallMetadata::new(&call.name, &id, response, answer.text.trim(), answer.calls.len());
            let mut item = Item::from(action);
            item.source = Some(Source::Agent);
            item.timeout = timeout;
            item.tool_call_metadata = metadata.write();
            items.push(item);
        }
        Ok(items)
    }

    fn action(&self, call: &AnsweredCall) -> Result<(Action, Option<f64>), String> {
        let own = self.own.iter().find(|tool| catalogue::name(**tool) == call.name);
        let server = self.servers.iter().find(|tool| tool.name == call.name);
        let unknown = || format!("there is no tool `{}`; there are: {}", call.name, self.names());
        let mut arguments = Arguments::parse(&call.name, &call.arguments)?;
        match (own, server) {
            (Some(tool), _) => own_action(*tool, &arguments, risk(arguments.optional_text(RISK)?.as_deref())),
            (None, Some(tool)) => {
                let asked = self.asks_risk && catalogue::is_asked_of(tool);
                let declared = if asked { arguments.take(RISK) } else { None };
                let security_risk = risk(declared.as_ref().and_then(Value::as_str));
                let arguments: Object = arguments.into_values().into_iter().map(|(key, value)| (key, value.into())).collect();
                let name = call.name.clone();
                Ok((Action::CallToolMcp(CallToolMcp { name, arguments, thought: String::new(), security_risk }), None))
            }
            (None, None) => Err(unknown()),
        }
    }
}

/// An answer without a call is said to the user, who answers.
fn words(answer: &Answer) -> Result<Item, String> {
    let content = answer.text.trim().to_owned();
    if content.is_empty() {
        return Err(
            "Your last answer was empty. Call a tool to go on with the task, or call `finish` when it is done.".to_owned()
        );
    }
    let mut item = Item::from(Action::Message(Message { content, wait_for_response: true, ..Message::default() }));
    item.source = Some(Source::Agent);
    Ok(item)
}

fn bad_call(why: &str, calls: usize, cut_off: bool) -> String {
    let nothing = if calls == 1 { "The call was not run." } else { "None of the calls of that answer was run." };
    let advice = if cut_off {
        "The answer was cut off because it was too long: do it in smaller steps, for example create a file with its first part and \
         insert the rest."
    } else {
        "Call again with what is expected."
    };
    format!("Your last answer could not be used: {why}. {nothing} {advice}")
}

/// The risk that a model names: unset when it names none, unknown when it names none that there is.
fn risk(declared: Option<&str>) -> Option<i64> {
    declared.map(|word| {
        let risk = match word.trim().to_ascii_uppercase().as_str() {
            "LOW" => Risk::Low,
            "MEDIUM" => Risk::Medium,
            "HIGH" => Risk::High,
            _ => Risk::Unknown,
        };
        risk.number()
    })
}

fn own_action(tool: Tool, given: &Arguments<'_>, security_risk: Option<i64>) -> Result<(Action, Option<f64>), String> {
    let thought = String::new();
    let action = match tool {
        Tool::Bash => {
            let run = Run {
                command: given.text("command")?,
                is_input: given.flag("is_input")?,
                thought,
                blocking: false,
                is_static: false,
                cwd: None,
                hidden: false,
                confirmation_state: Confirmation::default(),
                security_risk,
            };
            return Ok((Action::Run(run), given.positive("timeout")?));
        }
        Tool::Editor => editor_action(given, security_risk)?,
        Tool::Python => Action::RunIpython(RunIpython {
            code: given.text("code")?,
            thought,
            include_extra: true,
            confirmation_state: Confirmation::default(),
            security_risk,
            kernel_init_code: String::new(),
        }),
        Tool::Think => Action::Think(Think { thought: given.text("thought")? }),
        Tool::Finish => Action::Finish(Finish {
            final_thought: given.text("message")?,
            task_completed: completed(given)?,
            outputs: Object::default(),
            thought,
        }),
        Tool::Delegate => {
            let inputs = [("task", given.text("task")?.as_str().into())].into_iter().collect();
            Action::Delegate(Delegate { agent: given.text("agent")?, inputs, thought })
        }
    };
    Ok((action, None))
}

/// Whether the task is done: `true`, `partial` or `false`, as a text.
fn completed(given: &Arguments<'_>) -> Result<Option<Json>, String> {
    match given.optional_text("task_completed") {
        Ok(None) => Ok(None),
        Ok(Some(word)) if word == "partial" => Ok(Some("partial".into())),
        Ok(Some(_)) | Err(_) => match given.flag("task_completed") {
            Ok(done) => Ok(Some(if done { "true" } else { "false" }.into())),
            Err(_) => Err("`task_completed` of `finish` must be true, partial or false".to_owned()),
        },
    }
}

fn editor_action(given: &Arguments<'_>, security_risk: Option<i64>) -> Result<Action, String> {
    let (command, path) = (given.text("command")?, given.text("path")?);
    let thought = String::new();
    let mut edit = EditFile {
        path: path.clone(),
        command: command.clone(),
        file_text: None,
        old_str: None,
        new_str: None,
        insert_line: None,
        content: String::new(),
        start: 1,
        end: -1,
        thought: thought.clone(),
        security_risk,
        impl_source: EDITOR_SOURCE.to_owned(),
    };
    match command.as_str() {
        "view" => {
            let impl_source = EDITOR_SOURCE.to_owned();
            let view_range = given.pair("view_range")?;
            return Ok(Action::Read(ReadFile { path, start: 0, end: -1, thought, security_risk, impl_source, view_range }));
        }
        "create" => edit.file_text = Some(given.text("file_text")?),
        "str_replace" => {
            edit.old_str = Some(given.text("old_str")?);
            edit.new_str = given.optional_text("new_str")?;
        }
        "insert" => {
            edit.insert_line = Some(given.whole("insert_line")?.ok_or("`insert` of `str_replace_editor` needs `insert_line`")?);
            edit.new_str = Some(given.text("new_str")?);
        }
        "undo_edit" => {}
        other => {
            return Err(format!(
                "`command` of `str_replace_editor` must be view, create, str_replace, insert or undo_edit, got {other:?}"
            ));
        }
    }
    Ok(Action::Edit(edit))
}

/// What the model said beside its calls is the thought of the first of them.
fn set_thought(action: &mut Action, words: &str) {
    let thought = match action {
        Action::Run(run) => &mut run.thought,
        Action::RunIpython(cell) => &mut cell.thought,
        Action::Read(read) => &mut read.thought,
        Action::Edit(edit) => &mut edit.thought,
        Action::Finish(finish) => &mut finish.thought,
        Action::Delegate(delegate) => &mut delegate.thought,
        Action::CallToolMcp(call) => &mut call.thought,
        _ => return,
    };
    words.clone_into(thought);
}

/// The call's own id, unless an endpoint gave none or gives the same again: results are told apart by it.
fn unique_id(call: &AnsweredCall, response: &str, at: usize, taken: &mut HashSet<String>) -> String {
    let candidates = std::iter::once(call.id.clone())
        .chain(std::iter::once(format!("{response}-{at}")))
        .chain((1..).map(|n| format!("{response}-{at}-{n}")));
    for id in candidates {
        if !id.is_empty() && taken.insert(id.clone()) {
            return id;
        }
    }
    call.id.clone()
}

/// The arguments with which a model would ask for `action`.
pub fn arguments(action: &Action) -> Value {
    match action {
        Action::Run(run) if run.is_input => json!({ "command": run.command, "is_input": true }),
        Action::Run(run) => json!({ "command": run.command }),
        Action::RunIpython(cell) => json!({ "code": cell.code }),
        Action::Read(read) => object([
            ("command", "view".into()),
            ("path", read.path.as_str().into()),
            ("view_range", read.view_range.clone().into()),
        ]),
        Action::Edit(edit) => object([
            ("command", edit.command.as_str().into()),
            ("path", edit.path.as_str().into()),
            ("file_text", edit.file_text.clone().into()),
            ("old_str", edit.old_str.clone().into()),
            ("new_str", edit.new_str.clone().into()),
            ("insert_line", edit.insert_line.into()),
        ]),
        Action::Think(think) => json!({ "thought": think.thought }),
        Action::Finish(finish) => object([
            ("message", finish.final_thought.as_str().into()),
            ("task_completed", finish.task_completed.as_ref().map(Json::to_value).into()),
        ]),
        Action::Delegate(delegate) => {
            let task = delegate.inputs.get("task").map(Json::to_value);
            object([("agent", delegate.agent.as_str().into()), ("task", task.into())])
        }
        Action::CallToolMcp(call) => {
            Value::Object(call.arguments.iter().map(|(key, value)| (key.to_owned(), value.to_value())).collect())
        }
        Action::Message(message) => json!({ "content": message.content }),
        Action::Write(write) => json!({ "path": write.path, "content": write.content }),
        Action::Browse(browse) => json!({ "url": browse.url }),
        Action::BrowseInteractive(browse) => json!({ "code": browse.browser_actions }),
        Action::TaskTracking(tasks) => json!({ "command": tasks.command }),
        Action::Null
        | Action::Reject(_)
        | Action::Recall(_)
        | Action::ChangeAgentState(_)
        | Action::System(_)
        | Action::Condensation(_)
        | Action::CondensationRequest
        | Action::LoopRecovery(_) => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Content;

    fn toolbox() -> Toolbox {
        let add = ToolDefinition { name: "add".into(), description: "Adds.".into(), parameters: json!({"type": "object"}) };
        let mut own = Tool::all();
        own.push(Tool::Delegate);
        Toolbox { own, servers: vec![add], asks_risk: true, delegates: Vec::new() }
    }

    fn calling(calls: &[(&str, &str, &str)]) -> Answer {
        let call = |(id, name, arguments): &(&str, &str, &str)| AnsweredCall {
            id: (*id).to_owned(),
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
        };
        Answer { text: "I look first.".into(), calls: calls.iter().map(call).collect(), ..Answer::default() }
    }

    fn done(items: &[Item]) -> Vec<Action> {
        let action = |item: &Item| match &item.content {
            Content::Action(action) => action.clone(),
            Content::Observation(_) => panic!("an observation"),
        };
        items.iter().map(action).collect()
    }

    fn error(answer: &Answer) -> String {
        toolbox().actions(answer, "r", HashSet::new()).unwrap_err()
    }

    #[test]
    fn each_tool_becomes_its_action_and_back() {
        for (tool, arguments) in [
            ("bash", json!({"command": "ls"})),
            ("bash", json!({"command": "C-c", "is_input": true})),
            ("str_replace_editor", json!({"command": "view", "path": "/workspace/a", "view_range": [1, -1]})),
            ("str_replace_editor", json!({"command": "create", "path": "/workspace/a", "file_text": ""})),
            ("str_replace_editor", json!({"command": "str_replace", "path": "/a", "old_str": "x", "new_str": "y"})),
            ("str_replace_editor", json!({"command": "insert", "path": "/a", "new_str": "y", "insert_line": 0})),
            ("str_replace_editor", json!({"command": "undo_edit", "path": "/a"})),
            ("python", json!({"code": "1+1"})),
            ("think", json!({"thought": "hm"})),
            ("finish", json!({"message": "done", "task_completed": "true"})),
            ("delegate", json!({"agent": "coder", "task": "read"})),
            ("add", json!({"a": 1, "b": [2]})),
        ] {
            let items = toolbox().actions(&calling(&[("c", tool, &arguments.to_string())]), "r", HashSet::new()).unwrap();
            assert_eq!(super::arguments(&done(&items)[0]), arguments, "{tool}");
        }
    }

    #[test]
    fn all_calls_of_an_answer_are_actions_and_its_words_the_thought_of_the_first() {
        let answer = calling(&[("a", "bash", r#"{"command":"ls","timeout":5}"#), ("b", "bash", r#"{"command":"pwd"}"#)]);
        let items = toolbox().actions(&answer, "r1", HashSet::new()).unwrap();
        let thoughts: Vec<_> = done(&items)
            .into_iter()
            .map(|action| match action {
                Action::Run(run) => run.thought,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(thoughts, ["I look first.", ""]);
        assert_eq!(items.iter().map(|item| item.timeout).collect::<Vec<_>>(), [Some(5.0), None]);
        let metadata: Vec<_> = items.iter().filter_map(|item| CallMetadata::read(item.tool_call_metadata.as_ref()?)).collect();
        assert_eq!(metadata.iter().map(|call| call.tool_call_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(metadata.iter().all(|call| call.response() == Some("r1") && call.total_calls_in_response == 2));
    }

    #[test]
    fn words_alone_are_said_to_the_user_who_answers() {
        let answer = Answer { text: " What is the name? ".into(), ..Answer::default() };
        let items = toolbox().actions(&answer, "r", HashSet::new()).unwrap();
        let [Action::Message(message)] = &done(&items)[..] else { panic!("{items:?}") };
        assert_eq!((message.content.as_str(), message.wait_for_response), ("What is the name?", true));
    }

    #[test]
    fn the_risk_that_a_model_names_goes_with_the_action_and_not_to_the_server() {
        let risk_of = |tool: &str, arguments: &str| {
            let items = toolbox().actions(&calling(&[("c", tool, arguments)]), "r", HashSet::new()).unwrap();
            match done(&items).remove(0) {
                Action::Run(run) => run.security_risk,
                Action::CallToolMcp(call) => {
                    assert!(call.arguments.get(RISK).is_none());
                    call.security_risk
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(risk_of("bash", r#"{"command":"ls","security_risk":"LOW"}"#), Some(0));
        assert_eq!(risk_of("bash", r#"{"command":"ls","security_risk":"medium"}"#), Some(1));
        assert_eq!(risk_of("add", r#"{"security_risk":"HIGH"}"#), Some(2));
        assert_eq!(risk_of("bash", r#"{"command":"ls","security_risk":"harmless"}"#), Some(-1));
        assert_eq!(risk_of("bash", r#"{"command":"ls"}"#), None);
    }

    #[test]
    fn a_bad_answer_is_told_what_is_wrong_and_what_to_do() {
        let unknown = error(&calling(&[("c", "browse", "{}")]));
        assert!(unknown.contains("there is no tool `browse`; there are: bash, str_replace_editor, python"), "{unknown}");
        let missing = error(&calling(&[("a", "bash", r#"{"command":"ls"}"#), ("b", "bash", "{}")]));
        assert!(missing.contains("`bash` needs `command`. None of the calls of that answer was run."), "{missing}");
        let other = error(&calling(&[("c", "str_replace_editor", r#"{"command":"delete","path":"/a"}"#)]));
        assert!(other.contains("view, create, str_replace, insert or undo_edit"), "{other}");
        let cut = Answer { finish_reason: Some("length".into()), ..calling(&[("c", "bash", r#"{"command":"cat <<"#)]) };
        assert!(error(&cut).contains("in smaller steps"));
        assert!(error(&Answer { text: "\n".into(), ..Answer::default() }).contains("Your last answer was empty."));
    }

    #[test]
    fn ids_that_repeat_or_are_missing_are_replaced() {
        let answer = calling(&[("call_0", "bash", r#"{"command":"a"}"#), ("", "bash", r#"{"command":"b"}"#)]);
        let taken = HashSet::from(["call_0".to_owned()]);
        let items = toolbox().actions(&answer, "r7", taken).unwrap();
        let ids: Vec<_> = items.iter().filter_map(|item| CallMetadata::read(item.tool_call_metadata.as_ref()?)).collect();
        assert_eq!(ids.iter().map(|call| call.tool_call_id.as_str()).collect::<Vec<_>>(), ["r7-0", "r7-1"]);
    }
}
