//! What an agent or a user can do: the action vocabulary of OpenHands V0 (0.42, with the later additions), typed.
//!
//! Field names, order and defaults are those of the stored JSON (`args`), so that a decoded action encodes to the same text.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json::{Json, Object};
use super::lax::present;

/// One action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Nothing.
    Null,
    /// A shell command, or input for the one that runs.
    Run(Run),
    /// Python code in the session's interpreter.
    RunIpython(RunIpython),
    /// Visiting a URL.
    Browse(Browse),
    /// Driving the browser.
    BrowseInteractive(BrowseInteractive),
    /// Reading a file or listing a directory.
    Read(ReadFile),
    /// Writing a file.
    Write(WriteFile),
    /// Editing a file.
    Edit(EditFile),
    /// Thinking aloud.
    Think(Think),
    /// Being done.
    Finish(Finish),
    /// Declining the task.
    Reject(Reject),
    /// Handing a part of the task to another agent.
    Delegate(Delegate),
    /// Asking memory.
    Recall(Recall),
    /// Setting the agent's state from outside.
    ChangeAgentState(ChangeAgentState),
    /// Saying something.
    Message(Message),
    /// The system prompt and the tool catalogue.
    System(SystemMessage),
    /// Forgetting a part of the history.
    Condensation(Condensation),
    /// Asking for a condensation (0.44 and later).
    CondensationRequest,
    /// Calling a tool of an MCP server.
    CallToolMcp(CallToolMcp),
    /// Keeping a task list (0.62).
    TaskTracking(TaskTracking),
    /// Leaving a loop (0.62).
    LoopRecovery(LoopRecovery),
}

/// Whether a person has agreed to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// Agreed, or nobody had to.
    #[default]
    Confirmed,
    /// Refused.
    Rejected,
    /// Still to be asked.
    AwaitingConfirmation,
}

/// What a `run` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The command line, or what to type when `is_input`.
    pub command: String,
    /// Whether `command` is input for the program that runs.
    #[serde(default)]
    pub is_input: bool,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// Whether to wait for the end, however quiet the program is.
    #[serde(default)]
    pub blocking: bool,
    /// Whether to run outside the persistent shell.
    #[serde(default)]
    pub is_static: bool,
    /// The directory of a static command.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Whether people see it.
    #[serde(default)]
    pub hidden: bool,
    /// Whether a person has agreed.
    #[serde(default)]
    pub confirmation_state: Confirmation,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
}

/// What a `run_ipython` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIpython {
    /// The cell.
    pub code: String,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// Whether directory and interpreter are told after the output.
    #[serde(default = "yes")]
    pub include_extra: bool,
    /// Whether a person has agreed.
    #[serde(default)]
    pub confirmation_state: Confirmation,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
    /// Run once before the first cell.
    #[serde(default)]
    pub kernel_init_code: String,
}

/// What a `browse` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Browse {
    /// Where to.
    pub url: String,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
    /// 0.48 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_axtree: Option<bool>,
}

/// What a `browse_interactive` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrowseInteractive {
    /// The program for the browser.
    pub browser_actions: String,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// What to tell the user.
    #[serde(default)]
    pub browsergym_send_msg_to_user: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
    /// 0.48 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_axtree: Option<bool>,
}

/// What a `read` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// The file or directory.
    pub path: String,
    /// First line, from 0, of the default source.
    #[serde(default)]
    pub start: i64,
    /// Line after the last, -1 for all, of the default source.
    #[serde(default = "minus_one")]
    pub end: i64,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
    /// `default` reads plainly, `oh_aci` views with line numbers.
    #[serde(default = "default_source")]
    pub impl_source: String,
    /// First and last line, from 1, of the `oh_aci` source; last -1 for the end.
    #[serde(default)]
    pub view_range: Option<Vec<i64>>,
}

/// What a `write` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// The file.
    pub path: String,
    /// The new text.
    pub content: String,
    /// First line to replace, from 0.
    #[serde(default)]
    pub start: i64,
    /// Line after the last to replace, -1 for all.
    #[serde(default = "minus_one")]
    pub end: i64,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
}

/// What an `edit` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditFile {
    /// The file.
    pub path: String,
    /// `create`, `str_replace`, `insert`, `undo_edit`, `view`; empty for an edit by a model.
    #[serde(default)]
    pub command: String,
    /// The text of `create`.
    #[serde(default)]
    pub file_text: Option<String>,
    /// What `str_replace` looks for.
    #[serde(default)]
    pub old_str: Option<String>,
    /// What `str_replace` and `insert` put in.
    #[serde(default)]
    pub new_str: Option<String>,
    /// The line after which `insert` puts it; 0 for the top.
    #[serde(default)]
    pub insert_line: Option<i64>,
    /// The draft of an edit by a model.
    #[serde(default)]
    pub content: String,
    /// First line, from 1, of an edit by a model.
    #[serde(default = "one")]
    pub start: i64,
    /// Last line, -1 for the end, of an edit by a model.
    #[serde(default = "minus_one")]
    pub end: i64,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
    /// `oh_aci`, or `llm_based_edit` for an edit by a model.
    #[serde(default = "aci_source")]
    pub impl_source: String,
}

/// What a `think` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Think {
    /// The thought.
    #[serde(default)]
    pub thought: String,
}

/// What a `finish` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// The closing words.
    #[serde(default)]
    pub final_thought: String,
    /// `true`, `partial` or `false`.
    #[serde(default)]
    pub task_completed: Option<Json>,
    /// Results by name.
    #[serde(default)]
    pub outputs: Object,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What a `reject` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Results by name; `reason` says why.
    #[serde(default)]
    pub outputs: Object,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What a `delegate` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Which agent.
    pub agent: String,
    /// What it is given.
    pub inputs: Object,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What memory is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecallType {
    /// Repository, runtime, instructions.
    WorkspaceContext,
    /// Microagents whose trigger the query holds.
    Knowledge,
}

/// What a `recall` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// What for.
    pub recall_type: RecallType,
    /// The text to look for triggers in.
    #[serde(default)]
    pub query: String,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What a `change_agent_state` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeAgentState {
    /// The state asked for; stored without a check by V0.
    pub agent_state: String,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What a `message` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The text.
    pub content: String,
    /// 0.48 and later. The outer `None` is a key that was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub file_urls: Option<Option<Vec<String>>>,
    /// Pictures.
    #[serde(default)]
    pub image_urls: Option<Vec<String>>,
    /// Whether the speaker waits for an answer.
    #[serde(default)]
    pub wait_for_response: bool,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
}

/// What a `system` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemMessage {
    /// The prompt.
    pub content: String,
    /// The tool catalogue, as it was sent.
    #[serde(default)]
    pub tools: Option<Json>,
    /// The version of the peer that wrote it.
    #[serde(default)]
    pub openhands_version: Option<String>,
    /// The agent's class.
    #[serde(default)]
    pub agent_class: Option<String>,
}

/// What a `condensation` action holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condensation {
    /// Ids to forget; or
    #[serde(default)]
    pub forgotten_event_ids: Option<Vec<i64>>,
    /// the first and
    #[serde(default)]
    pub forgotten_events_start_id: Option<i64>,
    /// the last id to forget.
    #[serde(default)]
    pub forgotten_events_end_id: Option<i64>,
    /// What stands for what was forgotten.
    #[serde(default)]
    pub summary: Option<String>,
    /// Where it stands.
    #[serde(default)]
    pub summary_offset: Option<i64>,
}

/// What a `call_tool_mcp` action holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallToolMcp {
    /// The tool.
    pub name: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Object,
    /// Why.
    #[serde(default)]
    pub thought: String,
    /// -1 unknown, 0 low, 1 medium, 2 high.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_risk: Option<i64>,
}

/// What a `task_tracking` action holds (0.62).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTracking {
    /// `view` or `plan`.
    #[serde(default = "view_command")]
    pub command: String,
    /// The tasks.
    #[serde(default)]
    pub task_list: Vec<Json>,
    /// Why.
    #[serde(default)]
    pub thought: String,
}

/// What a `loop_recovery` action holds (0.62).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopRecovery {
    /// 1 restart before the loop, 2 from the last user prompt, 3 stop.
    #[serde(default = "one")]
    pub option: i64,
}

const fn yes() -> bool {
    true
}

const fn one() -> i64 {
    1
}

const fn minus_one() -> i64 {
    -1
}

fn default_source() -> String {
    "default".into()
}

fn aci_source() -> String {
    "oh_aci".into()
}

fn view_command() -> String {
    "view".into()
}

/// What may be done with an action whose outcome is unknown after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// Changes nothing: dispatched again.
    Pure,
    /// Doing it twice is doing it once: dispatched again.
    Idempotent,
    /// Whoever was handed it remembers its key: asked what came of it, and handed it again only where it never arrived.
    Keyed,
    /// May not be repeated: its outcome stays unknown, and is said to be.
    Unsafe,
}

impl EffectClass {
    /// The class of the actions with this V0 tag.
    pub fn of(tag: &str) -> Self {
        match tag {
            "read" | "recall" => Self::Pure,
            // A delegate is begun once, under an id that follows from the action; trying again finds it.
            "write" | "delegate" => Self::Idempotent,
            _ => Self::Unsafe,
        }
    }

    /// The class in a runtime that remembers what it was handed.
    pub fn of_remembered(tag: &str) -> Self {
        match Self::of(tag) {
            Self::Unsafe if Action::RUNNABLE.contains(&tag) && tag != "call_tool_mcp" => Self::Keyed,
            class => class,
        }
    }

    /// Whether an action that may have run may be handed out again.
    pub const fn repeatable(self) -> bool {
        match self {
            Self::Pure | Self::Idempotent | Self::Keyed => true,
            Self::Unsafe => false,
        }
    }
}

impl Action {
    /// The V0 tags of the actions that a runtime executes.
    pub const RUNNABLE: &'static [&'static str] =
        &["run", "run_ipython", "browse", "browse_interactive", "read", "write", "edit", "call_tool_mcp"];

    /// The V0 tag, as in `"action": "run"`.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Run(_) => "run",
            Self::RunIpython(_) => "run_ipython",
            Self::Browse(_) => "browse",
            Self::BrowseInteractive(_) => "browse_interactive",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Edit(_) => "edit",
            Self::Think(_) => "think",
            Self::Finish(_) => "finish",
            Self::Reject(_) => "reject",
            Self::Delegate(_) => "delegate",
            Self::Recall(_) => "recall",
            Self::ChangeAgentState(_) => "change_agent_state",
            Self::Message(_) => "message",
            Self::System(_) => "system",
            Self::Condensation(_) => "condensation",
            Self::CondensationRequest => "condensation_request",
            Self::CallToolMcp(_) => "call_tool_mcp",
            Self::TaskTracking(_) => "task_tracking",
            Self::LoopRecovery(_) => "loop_recovery",
        }
    }

    /// Whether a person refused it, so that it is not executed.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Run(run) => run.confirmation_state == Confirmation::Rejected,
            Self::RunIpython(cell) => cell.confirmation_state == Confirmation::Rejected,
            _ => false,
        }
    }

    /// Whether a runtime executes it, so that an observation must follow.
    pub const fn is_runnable(&self) -> bool {
        match self {
            Self::Run(_)
            | Self::RunIpython(_)
            | Self::Browse(_)
            | Self::BrowseInteractive(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::Edit(_)
            | Self::CallToolMcp(_) => true,
            Self::Null
            | Self::Think(_)
            | Self::Finish(_)
            | Self::Reject(_)
            | Self::Delegate(_)
            | Self::Recall(_)
            | Self::ChangeAgentState(_)
            | Self::Message(_)
            | Self::System(_)
            | Self::Condensation(_)
            | Self::CondensationRequest
            | Self::TaskTracking(_)
            | Self::LoopRecovery(_) => false,
        }
    }
}

/// JSON that is carried but not looked into.
pub type Opaque = Box<RawValue>;
