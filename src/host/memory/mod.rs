//! What agents are told of the workspace and the task: microagents, skills, and the instructions that a repository keeps for
//! agents.
//!
//! `places → microagent → library → recall`: files are found by where they lie, each becomes a microagent or a named problem, all
//! of them make a library, and the library answers what is recalled. The formats are those of `OpenHands`; what differs is
//! deliberate:
//! - A trigger is met by whole words, in any case. There it is met inside words too, so that "digit" brings knowledge of git.
//! - A bad file is a problem with a name and takes nothing from the others, unless the session is told to be strict.
//! - Whatever is asked has an answer.
//! - A file of the workspace cannot start programs: `mcp_tools` is reported and not obeyed.

mod front_matter;
mod library;
mod microagent;
mod own;
mod places;
mod recall;
mod triggers;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::engine::ports::{Memories, MemoryRequest, Remembered};
use crate::session::{OnBadFile, SessionSpec};

use library::Library;
use recall::Recollection;

/// Reads microagents from the workspace, and from directories of the user's own.
#[derive(Debug, Clone, Default)]
pub struct MicroagentFiles {
    own: Vec<PathBuf>,
}

impl MicroagentFiles {
    /// Those of the workspace alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of `directories` too. A later directory, and then the workspace, replaces what has the same name.
    #[must_use]
    pub fn with_own(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.own.extend(directories);
        self
    }

    /// Those of the user too: in `~/.openhands/microagents` and `~/.config/rekindle/microagents`.
    pub fn of_user() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME");
        let config = set("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let peers = home.map(|home| home.join(".openhands/microagents"));
        let ours = config.map(|config| config.join("rekindle/microagents"));
        Self::new().with_own(peers.into_iter().chain(ours))
    }
}

#[async_trait]
impl Memories for MicroagentFiles {
    fn paths(&self, spec: &SessionSpec) -> Vec<String> {
        places::looked_at(spec)
    }

    async fn gather(&self, request: MemoryRequest) -> Result<Remembered, String> {
        let MemoryRequest { session: _, spec, organisation, documents, about } = request;
        let directories = self.own.clone();
        let own = tokio::task::spawn_blocking(move || own::read(&directories)).await.map_err(|error| error.to_string())?;
        let disabled = spec.agent.as_ref().map(|agent| agent.config.disabled_microagents.as_slice()).unwrap_or_default();
        let (library, problems) = Library::gather(&spec, own, &organisation, &documents, disabled);
        if spec.memory.on_bad_file == OnBadFile::Fail && !problems.is_empty() {
            let all: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.why)).collect();
            return Err(format!("the session is strict about microagents, and these cannot be used: {}", all.join("; ")));
        }
        let names = library.names();
        Ok(Remembered { memory: Arc::new(Recollection::new(library, &spec, about)), names, problems })
    }
}
