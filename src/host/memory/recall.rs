//! What is recalled.

use super::library::Library;
use super::places::{repository_directory, repository_name};
use crate::engine::ports::{About, Memory, WORKSPACE};
use crate::session::action::{Recall, RecallType};
use crate::session::json::Dict;
use crate::session::observation::Recalled;
use crate::session::{Extras, Observation, SecretUse, SessionSpec, Timestamp};

/// Answers of a library, and of what the session was told.
#[derive(Debug)]
pub(super) struct Recollection {
    library: Library,
    /// Everything but the date and the knowledge.
    workspace: Recalled,
}

impl Recollection {
    pub fn new(library: Library, spec: &SessionSpec, about: About) -> Self {
        let repository = spec.repository.as_ref();
        let directory = repository.map(repository_directory);
        // Those that the engine alone uses are none of the agent's business.
        let told = spec.secrets.iter().filter(|secret| secret.used != SecretUse::Engine);
        let workspace = Recalled {
            recall_type: RecallType::WorkspaceContext,
            repo_name: repository.map(repository_name).unwrap_or_default(),
            repo_directory: directory.clone().unwrap_or_default(),
            repo_branch: repository.and_then(|repository| repository.branch.clone()),
            repo_instructions: library.instructions(),
            runtime_hosts: about.web_hosts.into_iter().map(|(host, port)| (host, i64::from(port))).collect(),
            additional_agent_instructions: about.instructions,
            date: String::new(),
            custom_secrets_descriptions: told.map(|secret| (secret.name.clone(), secret.description.clone())).collect(),
            conversation_instructions: spec.instructions.clone().unwrap_or_default(),
            working_dir: Some(directory.unwrap_or_else(|| WORKSPACE.to_owned())),
            microagent_knowledge: Vec::new(),
        };
        Self { library, workspace }
    }
}

impl Memory for Recollection {
    /// The context of the workspace is always worth telling; where nothing is known of a text, that is the answer.
    fn recall(&self, recall: &Recall, said: &[String], now: Timestamp) -> Observation {
        let microagent_knowledge = self.library.knowledge(&recall.query, said);
        match recall.recall_type {
            RecallType::WorkspaceContext => {
                let date = now.to_utc().map(|moment| moment.format("%Y-%m-%d").to_string()).unwrap_or_default();
                let recalled = Recalled { date, microagent_knowledge, ..self.workspace.clone() };
                Observation { content: "Added workspace context".to_owned(), extras: Extras::Recall(Box::new(recalled)) }
            }
            RecallType::Knowledge if microagent_knowledge.is_empty() => {
                Observation { content: String::new(), extras: Extras::Null }
            }
            RecallType::Knowledge => {
                let recalled = Recalled { microagent_knowledge, ..nothing() };
                let content = "Retrieved knowledge from microagents".to_owned();
                Observation { content, extras: Extras::Recall(Box::new(recalled)) }
            }
        }
    }
}

fn nothing() -> Recalled {
    Recalled {
        recall_type: RecallType::Knowledge,
        repo_name: String::new(),
        repo_directory: String::new(),
        repo_branch: None,
        repo_instructions: String::new(),
        runtime_hosts: Dict::default(),
        additional_agent_instructions: String::new(),
        date: String::new(),
        custom_secrets_descriptions: Dict::default(),
        conversation_instructions: String::new(),
        working_dir: None,
        microagent_knowledge: Vec::new(),
    }
}
