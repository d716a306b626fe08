//! One microagent: what it says, and when it is told.

use std::fmt::Write as _;

use super::front_matter::{self, Head};
use super::places::Place;
use crate::engine::ports::WORKSPACE;

/// The longest file that is told, in bytes: more would leave no room for the task.
const FILE_MAX: usize = 128 * 1024;
/// The most triggers of one file, and the longest of them in bytes.
const TRIGGERS_MAX: usize = 256;
const TRIGGER_MAX: usize = 256;

/// One microagent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Microagent {
    pub name: String,
    pub when: When,
    pub content: String,
}

/// When a microagent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum When {
    /// With the first message.
    Always,
    /// With the first message that holds one of these.
    Triggered(Vec<String>),
    /// Its description with the first message, the rest when it is asked for by these or read from its file.
    Listed { description: String, file: String, triggers: Vec<String> },
}

/// A file as far as it can be used, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub microagent: Option<Microagent>,
    pub problem: Option<String>,
}

impl Read {
    fn bad(problem: impl Into<String>) -> Self {
        Self { microagent: None, problem: Some(problem.into()) }
    }
}

/// What the file at `path`, which is in this place, says.
pub(super) fn read(place: Place, path: &str, text: &str) -> Read {
    if text.len() > FILE_MAX {
        return Read::bad(format!("it is longer than {} KiB, too long to be told", FILE_MAX / 1024));
    }
    let (name, skill) = match place {
        // These are no microagents, so a line of dashes in them is a line of dashes.
        Place::Whole(name) => return whole(name, text),
        Place::Microagent(name) => (name, false),
        Place::Skill(name) => (name, true),
    };
    let (head, body) = match front_matter::read(text) {
        Ok(read) => read,
        Err(problem) => return Read::bad(problem),
    };
    if head.triggers.len() > TRIGGERS_MAX || head.triggers.iter().any(|trigger| trigger.len() > TRIGGER_MAX) {
        return Read::bad(format!("it has more than {TRIGGERS_MAX} triggers, or one longer than {TRIGGER_MAX} bytes"));
    }
    let problem = head
        .wants_servers
        .then(|| "its `mcp_tools` are not started: name servers in the configuration of the session".to_owned());
    let microagent = if skill { of_skill(name, path, head, body) } else { Ok(of_kind(name, head, body)) };
    match microagent {
        Ok(microagent) => Read { microagent: Some(microagent).filter(|microagent| !microagent.content.is_empty()), problem },
        Err(problem) => Read::bad(problem),
    }
}

fn whole(name: &str, text: &str) -> Read {
    let content = text.trim();
    let microagent = Microagent { name: name.to_owned(), when: When::Always, content: content.to_owned() };
    Read { microagent: (!content.is_empty()).then_some(microagent), problem: None }
}

/// The kind is inferred, as in the peer: with inputs it is a task, with triggers knowledge, else it is told always.
fn of_kind(name: String, head: Head, body: &str) -> Microagent {
    let Head { name: called, mut triggers, inputs, .. } = head;
    let mut content = body.to_owned();
    let is_task = !inputs.is_empty();
    if is_task {
        // The peer calls all that have no name of their own `/default`.
        let called = called.unwrap_or_else(|| name.rsplit('/').next().unwrap_or_default().to_owned());
        add_command(&mut triggers, &called);
        content.push_str(
            "\n\nIf the user didn't provide any of these variables, ask the user to provide them first before you \
                          proceed with the task:",
        );
        for input in &inputs {
            let _ = write!(content, "\n- `{}`", input.name);
            if !input.description.is_empty() {
                let _ = write!(content, ": {}", input.description);
            }
        }
    }
    let when = if triggers.is_empty() { When::Always } else { When::Triggered(triggers) };
    Microagent { name, when, content }
}

/// A skill with triggers is knowledge; the others are listed, and read when they are needed.
fn of_skill(directory: String, path: &str, head: Head, body: &str) -> Result<Microagent, String> {
    let Head { name, description, mut triggers, .. } = head;
    let name = name.unwrap_or(directory);
    let is_knowledge = !triggers.is_empty();
    add_command(&mut triggers, &name);
    let content = format!("{body}\n\n(This is {WORKSPACE}/{path}; the files that it names lie beside it.)");
    let when = match description {
        _ if is_knowledge => When::Triggered(triggers),
        Some(description) => When::Listed { description, file: format!("{WORKSPACE}/{path}"), triggers },
        None => return Err("it has no `description`, by which an agent would know when to use it".to_owned()),
    };
    Ok(Microagent { name, when, content })
}

/// By `/name` a user can ask for it.
fn add_command(triggers: &mut Vec<String>, name: &str) {
    let command = format!("/{name}");
    if !triggers.contains(&command) {
        triggers.push(command);
    }
}

impl Microagent {
    /// What brings it, in the order of its file.
    pub fn triggers(&self) -> &[String] {
        match &self.when {
            When::Always => &[],
            When::Triggered(triggers) | When::Listed { triggers, .. } => triggers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Microagent {
        let place = super::super::places::microagent(path).unwrap();
        let Read { microagent, problem } = read(place, path, text);
        assert_eq!(problem, None);
        microagent.unwrap()
    }

    #[test]
    fn the_kind_is_inferred_whatever_the_file_calls_itself() {
        let repo = of("repo.md", "---\nname: other\ntype: knowledge\nagent: CodeActAgent\nversion: 1.0.0\n---\nBe kind.");
        assert_eq!(repo, Microagent { name: "repo".into(), when: When::Always, content: "Be kind.".into() });
        let knowledge = of("know/git.md", "---\ntype: repo\ntriggers: [git, branch]\n---\nUse it.");
        assert_eq!(knowledge.when, When::Triggered(vec!["git".into(), "branch".into()]));
        assert_eq!(of("plain.md", "Just text.").when, When::Always);
    }

    #[test]
    fn a_task_is_asked_for_by_its_name_and_asks_for_what_is_missing() {
        let text = "---\nname: update_test\ninputs:\n- name: BRANCH\n  description: the branch\n- name: CMD\n---\nRun ${CMD}.";
        let task = of("tasks/update.md", text);
        assert_eq!(task.when, When::Triggered(vec!["/update_test".into()]));
        assert!(task.content.starts_with("Run ${CMD}.\n\nIf the user didn't provide any of these variables"));
        assert!(task.content.ends_with("- `BRANCH`: the branch\n- `CMD`"), "{}", task.content);
        let unnamed = of("tasks/update.md", "---\ninputs: [{name: A}]\ntriggers: [renew]\n---\nx");
        assert_eq!(unnamed.when, When::Triggered(vec!["renew".into(), "/update".into()]));
    }

    #[test]
    fn a_skill_is_listed_with_its_file_and_needs_a_description() {
        let skill = |text| read(Place::Skill("pdf".into()), ".agents/skills/pdf/SKILL.md", text);
        let listed = skill("---\nname: pdf\ndescription: Reads PDF files.\n---\nSteps.").microagent.unwrap();
        let file = "/workspace/.agents/skills/pdf/SKILL.md".to_owned();
        assert_eq!(listed.when, When::Listed { description: "Reads PDF files.".into(), file, triggers: vec!["/pdf".into()] });
        assert!(skill("Steps.").problem.unwrap().contains("no `description`"));
        let triggered = skill("---\ntriggers: [pdf]\n---\nSteps.").microagent.unwrap();
        assert_eq!(triggered.when, When::Triggered(vec!["pdf".into(), "/pdf".into()]));
    }

    #[test]
    fn servers_are_not_started_by_a_file_which_is_still_told() {
        let read = read(Place::Microagent("a".into()), "a.md", "---\nmcp_tools: {stdio_servers: [{name: x}]}\n---\nUse fetch.");
        assert!(read.problem.unwrap().contains("mcp_tools"));
        assert_eq!(read.microagent.unwrap().content, "Use fetch.");
    }

    #[test]
    fn a_file_that_would_leave_no_room_is_a_problem_and_an_empty_one_is_nothing() {
        let long = read(Place::Whole("agents"), "AGENTS.md", &"x".repeat(FILE_MAX + 1));
        assert!(long.microagent.is_none() && long.problem.unwrap().contains("128 KiB"));
        let empty = read(Place::Whole("agents"), "AGENTS.md", " \n");
        assert!(empty.microagent.is_none() && empty.problem.is_none());
        let dashes = read(Place::Whole("agents"), "AGENTS.md", "---\nnot yaml: [\n");
        assert!(dashes.problem.is_none() && dashes.microagent.is_some());
    }
}
