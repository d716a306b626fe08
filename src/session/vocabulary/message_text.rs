//! The `message` that V0 writes beside every event: its content in words, computed from its type.

use std::borrow::Cow;

use super::action::{Action, Condensation, RecallType, TaskTracking};
use super::item::Content;
use super::observation::{Extras, Observation};
use super::python_repr;

/// A range of forgotten ids longer than this is named by its ends; V0 writes out every id.
const FORGOTTEN_NAMED_MAX: i64 = 10_000;

/// How much of a query its message shows.
const QUERY_SHOWN_CHARS: usize = 50;

impl Content {
    /// The text of `message`.
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Action(action) => of_action(action),
            Self::Observation(observation) => of_observation(observation),
        }
    }
}

fn of_action(action: &Action) -> Cow<'_, str> {
    match action {
        Action::Null => "No action".into(),
        Action::Run(run) => format!("Running command: {}", run.command).into(),
        Action::RunIpython(cell) => format!("Running Python code interactively: {}", cell.code).into(),
        Action::Browse(browse) => format!("I am browsing the URL: {}", browse.url).into(),
        Action::BrowseInteractive(browse) => {
            format!("I am interacting with the browser:\n```\n{}\n```", browse.browser_actions).into()
        }
        Action::Read(read) => format!("Reading file: {}", read.path).into(),
        Action::Write(write) => format!("Writing file: {}", write.path).into(),
        Action::Edit(_) | Action::LoopRecovery(_) => "".into(),
        Action::Think(think) => format!("I am thinking...: {}", think.thought).into(),
        Action::Finish(finish) if finish.thought.is_empty() => "All done! What's next on the agenda?".into(),
        Action::Finish(finish) => finish.thought.as_str().into(),
        Action::Reject(reject) => match reject.outputs.get("reason") {
            Some(reason) => format!("Task is rejected by the agent. Reason: {}", python_repr::str_of(reason.get())).into(),
            None => "Task is rejected by the agent.".into(),
        },
        Action::Delegate(delegate) => format!("I'm asking {} for help with this task.", delegate.agent).into(),
        Action::Recall(recall) => {
            let shown: String = recall.query.chars().take(QUERY_SHOWN_CHARS).collect();
            format!("Retrieving content for: {shown}").into()
        }
        Action::ChangeAgentState(change) => format!("Agent state changed to {}", change.agent_state).into(),
        Action::Message(message) => message.content.as_str().into(),
        Action::System(system) => system.content.as_str().into(),
        Action::Condensation(condensation) => of_condensation(condensation).into(),
        Action::CondensationRequest => "Requesting a condensation of the conversation history.".into(),
        Action::CallToolMcp(call) => {
            let entries: Vec<_> = call.arguments.iter().map(|(key, value)| python_repr::repr_entry(key, value.get())).collect();
            let (name, arguments) = (&call.name, entries.join(", "));
            let name_part = format!("I am interacting with the MCP server with name:\n```\n{name}\n```");
            format!("{name_part}\nand arguments:\n```\n{{{arguments}}}\n```").into()
        }
        Action::TaskTracking(TaskTracking { task_list, .. }) => match task_list.len() {
            0 => "Clearing the task list.".into(),
            1 => "Managing 1 task item.".into(),
            count => format!("Managing {count} task items.").into(),
        },
    }
}

fn of_condensation(condensation: &Condensation) -> String {
    if let Some(summary) = condensation.summary.as_deref().filter(|summary| !summary.is_empty()) {
        return format!("Summary: {summary}");
    }
    let named = |ids: &[i64]| format!("Condenser is dropping the events: {ids:?}.");
    match condensation {
        Condensation { forgotten_event_ids: Some(ids), .. } => named(ids),
        Condensation { forgotten_events_start_id: Some(start), forgotten_events_end_id: Some(end), .. } => {
            if end.saturating_sub(*start) < FORGOTTEN_NAMED_MAX {
                named(&(*start..=*end).collect::<Vec<_>>())
            } else {
                format!("Condenser is dropping the events: {start} to {end}.")
            }
        }
        Condensation { .. } => named(&[]),
    }
}

fn of_observation(observation: &Observation) -> Cow<'_, str> {
    match &observation.extras {
        Extras::Null => "No observation".into(),
        Extras::Run(run) => format!("Command `{}` executed with exit code {}.", run.command, run.metadata.exit_code).into(),
        Extras::RunIpython(_) => "Code executed in IPython cell.".into(),
        Extras::Browse(page) => format!("Visited {}", page.url).into(),
        Extras::Read(file) => format!("I read the file {}.", file.path).into(),
        Extras::Write(file) => format!("I wrote to the file {}.", file.path).into(),
        Extras::Edit(file) => format!("I edited the file {}.", file.path).into(),
        Extras::Delegate(_) | Extras::AgentStateChanged(_) | Extras::LoopDetection => "".into(),
        Extras::Success
        | Extras::Error(_)
        | Extras::UserRejected
        | Extras::Condense
        | Extras::Think
        | Extras::Mcp(_)
        | Extras::TaskTracking(_) => observation.content.as_str().into(),
        Extras::Recall(recalled) => match recalled.recall_type {
            RecallType::WorkspaceContext => "Added workspace context".into(),
            RecallType::Knowledge => "Added microagent knowledge".into(),
        },
        Extras::Download(file) => format!("Downloaded the file at location: {}", file.file_path).into(),
    }
}
