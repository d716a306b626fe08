//! Where the files lie, and what each of them is by its place.

use crate::engine::ports::WORKSPACE;
use crate::session::{Provider, RepositorySpec, SessionSpec};

/// Microagents of a repository.
const MICROAGENTS: &str = ".openhands/microagents";
/// The same in the repository of an organisation.
const OF_ORGANISATION: &str = "microagents";
/// Directories of skills.
const SKILLS: [&str; 3] = [".agents/skills", ".claude/skills", ".openhands/skills"];
/// Files that are told as they are, and the names that they go by.
const WHOLE: [(&str, &str); 6] = [
    (".openhands_instructions", "repo_legacy"),
    ("AGENTS.md", "agents"),
    ("agents.md", "agents"),
    ("AGENT.md", "agents"),
    ("agent.md", "agents"),
    (".cursorrules", "cursorrules"),
];

/// What a file is by its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Told as it is, under this name.
    Whole(&'static str),
    /// A microagent, by its path inside its directory.
    Microagent(String),
    /// A skill, by its directory.
    Skill(String),
}

/// The directories inside the workspace that may hold a repository: the workspace itself, and the clone in it.
fn roots(spec: &SessionSpec) -> Vec<String> {
    let clone = spec.repository.as_ref().and_then(RepositorySpec::directory).map(|name| format!("{name}/"));
    std::iter::once(String::new()).chain(clone).collect()
}

/// All paths that are looked at.
pub(super) fn looked_at(spec: &SessionSpec) -> Vec<String> {
    let names = || WHOLE.iter().map(|(path, _)| *path).chain([MICROAGENTS]).chain(SKILLS);
    roots(spec).iter().flat_map(|root| names().map(move |path| format!("{root}{path}"))).collect()
}

/// What the file at `path` is, from the workspace on; `None` when it is nothing of this kind.
pub(super) fn place(path: &str, spec: &SessionSpec) -> Option<Place> {
    // The clone first: the root is a prefix of everything.
    roots(spec).iter().rev().filter_map(|root| path.strip_prefix(root.as_str())).find_map(in_repository)
}

fn in_repository(path: &str) -> Option<Place> {
    if let Some((_, name)) = WHOLE.iter().find(|(whole, _)| *whole == path) {
        return Some(Place::Whole(name));
    }
    if let Some(inside) = path.strip_prefix(MICROAGENTS).and_then(|rest| rest.strip_prefix('/')) {
        return microagent(inside);
    }
    let skill = SKILLS.iter().find_map(|skills| path.strip_prefix(skills)?.strip_prefix('/'))?;
    let (directory, file) = skill.rsplit_once('/')?;
    (file == "SKILL.md").then(|| Place::Skill(directory.to_owned()))
}

/// What the file at `path` is, in the repository where an organisation keeps what all agents are told.
pub(super) fn of_organisation(path: &str) -> Option<Place> {
    microagent(path.strip_prefix(OF_ORGANISATION)?.strip_prefix('/')?)
}

/// The microagent that lies at `path` inside a directory of microagents.
pub(super) fn microagent(path: &str) -> Option<Place> {
    let file = path.rsplit('/').next()?;
    let name = path.strip_suffix(".md")?;
    (!file.eq_ignore_ascii_case("readme.md") && !file.starts_with('.')).then(|| Place::Microagent(name.to_owned()))
}

/// The name of the repository, as people say it: `owner/name`, or the last part of its address.
pub(super) fn repository_name(repository: &RepositorySpec) -> String {
    match repository.provider {
        Provider::Plain => repository.directory().unwrap_or(&repository.location).to_owned(),
        Provider::GitHub { .. } | Provider::GitLab { .. } | Provider::Bitbucket { .. } => {
            let location = repository.location.trim_end_matches('/');
            location.strip_suffix(".git").unwrap_or(location).to_owned()
        }
    }
}

/// Where commands find the clone.
pub(super) fn repository_directory(repository: &RepositorySpec) -> String {
    repository.directory().map_or_else(|| WORKSPACE.to_owned(), |name| format!("{WORKSPACE}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Origin;

    fn spec(repository: Option<RepositorySpec>) -> SessionSpec {
        SessionSpec { repository, ..SessionSpec::new(Origin::fresh(None), "/tmp/w") }
    }

    fn repository(provider: Provider, location: &str) -> RepositorySpec {
        RepositorySpec { provider, location: location.to_owned(), branch: None, token: None, depth: None }
    }

    #[test]
    fn a_file_is_what_it_is_by_its_place() {
        let bare = spec(None);
        let is = |path: &str| place(path, &bare);
        assert_eq!(is(".openhands/microagents/repo.md"), Some(Place::Microagent("repo".into())));
        assert_eq!(is(".openhands/microagents/knowledge/git.md"), Some(Place::Microagent("knowledge/git".into())));
        assert_eq!(is(".openhands_instructions"), Some(Place::Whole("repo_legacy")));
        assert_eq!(is("AGENTS.md"), Some(Place::Whole("agents")));
        assert_eq!(is(".claude/skills/pdf/SKILL.md"), Some(Place::Skill("pdf".into())));
        for other in [
            ".openhands/microagents/README.md",
            ".openhands/microagents/a/readme.md",
            ".openhands/microagents/notes.txt",
            ".openhands/microagents-old/a.md",
            ".agents/skills/pdf/reference.md",
            ".agents/skills/SKILL.md",
            "src/AGENTS.md",
            "r/AGENTS.md",
        ] {
            assert_eq!(is(other), None, "{other}");
        }
    }

    #[test]
    fn the_clone_is_looked_into_beside_the_workspace() {
        let with = spec(Some(repository(Provider::GitHub { host: None }, "o/r")));
        assert!(looked_at(&with).contains(&"r/.openhands/microagents".to_owned()));
        assert_eq!(place("r/AGENTS.md", &with), Some(Place::Whole("agents")));
        assert_eq!(place("AGENTS.md", &with), Some(Place::Whole("agents")));
        let names = |provider, location: &str| {
            let repository = repository(provider, location);
            (repository_name(&repository), repository_directory(&repository))
        };
        assert_eq!(names(Provider::GitHub { host: None }, "o/r"), ("o/r".into(), "/workspace/r".into()));
        assert_eq!(names(Provider::Plain, "https://h/a/b.git/"), ("b".into(), "/workspace/b".into()));
        assert_eq!(names(Provider::Plain, "git@h:b.git"), ("b".into(), "/workspace/b".into()));
    }
}
