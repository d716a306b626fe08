//! What came of an action: the observation vocabulary of OpenHands V0 (0.42, with the later additions), typed.
//!
//! Field names, order and defaults are those of the stored JSON (`extras`), so that a decoded observation encodes to the same text.

use serde::{Deserialize, Serialize};

use super::action::RecallType;
use super::json::{Dict, Json, Object};
use super::lax::integer;

/// One observation: its text and what is known beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What the agent is shown.
    pub content: String,
    /// The rest.
    pub extras: Extras,
}

/// What an observation says beside its text.
#[derive(Debug, Clone, PartialEq)]
pub enum Extras {
    /// Nothing happened.
    Null,
    /// A shell command ended, or went on past its time.
    Run(RunOutput),
    /// A Python cell ran.
    RunIpython(IpythonOutput),
    /// A page was visited.
    Browse(Box<BrowserOutput>),
    /// A file was read.
    Read(FileRead),
    /// A file was written.
    Write(FileWritten),
    /// A file was edited.
    Edit(Box<FileEdited>),
    /// Another agent came back.
    Delegate(Delegated),
    /// It worked.
    Success,
    /// It did not.
    Error(Failure),
    /// The agent's state changed.
    AgentStateChanged(AgentStateChanged),
    /// A person refused.
    UserRejected,
    /// A summary stands for what was forgotten.
    Condense,
    /// A thought was noted.
    Think,
    /// Memory answered.
    Recall(Box<Recalled>),
    /// An MCP tool answered.
    Mcp(McpResult),
    /// A file was downloaded (0.48 and later).
    Download(Downloaded),
    /// A task list was kept (0.62).
    TaskTracking(TaskList),
    /// A loop was found (0.62).
    LoopDetection,
}

/// What is known of a command that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOutput {
    /// The command.
    pub command: String,
    /// How it ended.
    #[serde(default)]
    pub metadata: CommandMetadata,
    /// Whether people see it.
    #[serde(default)]
    pub hidden: bool,
}

/// How a command ended, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandMetadata {
    /// -1 while it still runs or when unknown.
    #[serde(deserialize_with = "integer")]
    pub exit_code: i64,
    /// -1 when unknown.
    #[serde(deserialize_with = "integer")]
    pub pid: i64,
    /// Who ran it.
    pub username: Option<String>,
    /// Where.
    pub hostname: Option<String>,
    /// The directory after it.
    pub working_dir: Option<String>,
    /// The Python in force.
    pub py_interpreter_path: Option<String>,
    /// Said before the output.
    pub prefix: String,
    /// Said after the output.
    pub suffix: String,
}

impl Default for CommandMetadata {
    fn default() -> Self {
        Self {
            exit_code: -1,
            pid: -1,
            username: None,
            hostname: None,
            working_dir: None,
            py_interpreter_path: None,
            prefix: String::new(),
            suffix: String::new(),
        }
    }
}

/// What is known of a cell that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpythonOutput {
    /// The cell.
    pub code: String,
    /// Pictures it drew.
    #[serde(default)]
    pub image_urls: Option<Vec<String>>,
}

/// What is known of a visited page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the peer's own names for what its browser reports; nothing here reads them")]
pub struct BrowserOutput {
    pub url: String,
    pub trigger_by_action: String,
    #[serde(default)]
    pub screenshot: String,
    #[serde(default)]
    pub screenshot_path: Option<String>,
    #[serde(default)]
    pub set_of_marks: String,
    #[serde(default)]
    pub error: bool,
    #[serde(default)]
    pub goal_image_urls: Vec<Json>,
    #[serde(default)]
    pub open_pages_urls: Vec<String>,
    #[serde(default = "minus_one")]
    pub active_page_index: i64,
    #[serde(default)]
    pub dom_object: Object,
    #[serde(default)]
    pub axtree_object: Object,
    #[serde(default)]
    pub extra_element_properties: Object,
    #[serde(default)]
    pub last_browser_action: String,
    #[serde(default)]
    pub last_browser_action_error: String,
    #[serde(default)]
    pub focused_element_bid: String,
    /// 0.48 and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_visible_only: Option<bool>,
}

/// What is known of a file that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRead {
    /// The file or directory.
    pub path: String,
    /// Who read it.
    #[serde(default = "default_source")]
    pub impl_source: String,
}

/// What is known of a file that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileWritten {
    /// The file.
    pub path: String,
}

/// What is known of a file that was edited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEdited {
    /// The file.
    #[serde(default)]
    pub path: String,
    /// Whether it was there before.
    #[serde(default)]
    pub prev_exist: bool,
    /// Its text before.
    #[serde(default)]
    pub old_content: Option<String>,
    /// Its text after.
    #[serde(default)]
    pub new_content: Option<String>,
    /// Who edited it.
    #[serde(default = "llm_source")]
    pub impl_source: String,
    /// The difference.
    #[serde(default)]
    pub diff: Option<String>,
    /// A private field of the peer that leaks into its files.
    #[serde(default, rename = "_diff_cache")]
    pub diff_cache: Option<Json>,
}

/// What another agent brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegated {
    /// Results by name.
    pub outputs: Object,
}

/// What kind of error it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// A stable name, or empty.
    #[serde(default)]
    pub error_id: String,
}

/// The agent's new state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentStateChanged {
    /// The state; stored without a check by V0.
    pub agent_state: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A microagent whose trigger was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MicroagentKnowledge {
    /// Its name.
    pub name: String,
    /// The trigger.
    pub trigger: String,
    /// What it says.
    pub content: String,
}

/// What memory knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the peer's own names, plain enough")]
pub struct Recalled {
    pub recall_type: RecallType,
    #[serde(default)]
    pub repo_name: String,
    #[serde(default)]
    pub repo_directory: String,
    /// 0.62.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_branch: Option<String>,
    #[serde(default)]
    pub repo_instructions: String,
    #[serde(default)]
    pub runtime_hosts: Dict<i64>,
    #[serde(default)]
    pub additional_agent_instructions: String,
    #[serde(default)]
    pub date: String,
    #[serde(default)]
    pub custom_secrets_descriptions: Dict<String>,
    #[serde(default)]
    pub conversation_instructions: String,
    /// 0.62.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default)]
    pub microagent_knowledge: Vec<MicroagentKnowledge>,
}

/// What an MCP tool was asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpResult {
    /// The tool.
    #[serde(default)]
    pub name: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Object,
}

/// Where a downloaded file lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downloaded {
    /// The file.
    pub file_path: String,
}

/// The task list that was kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskList {
    /// `view` or `plan`.
    #[serde(default)]
    pub command: String,
    /// The tasks.
    #[serde(default)]
    pub task_list: Vec<Json>,
}

const fn minus_one() -> i64 {
    -1
}

fn default_source() -> String {
    "default".into()
}

fn llm_source() -> String {
    "llm_based_edit".into()
}

impl Observation {
    /// An error with a text and, where there is one, a stable id.
    pub fn error(content: impl Into<String>, error_id: impl Into<String>) -> Self {
        Self { content: content.into(), extras: Extras::Error(Failure { error_id: error_id.into() }) }
    }
}

impl Extras {
    /// The V0 tag, as in `"observation": "run"`.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Run(_) => "run",
            Self::RunIpython(_) => "run_ipython",
            Self::Browse(_) => "browse",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Edit(_) => "edit",
            Self::Delegate(_) => "delegate",
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::AgentStateChanged(_) => "agent_state_changed",
            Self::UserRejected => "user_rejected",
            Self::Condense => "condense",
            Self::Think => "think",
            Self::Recall(_) => "recall",
            Self::Mcp(_) => "mcp",
            Self::Download(_) => "download",
            Self::TaskTracking(_) => "task_tracking",
            Self::LoopDetection => "loop_detection",
        }
    }
}
