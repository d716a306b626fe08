//! All microagents that a session has, in the order in which they are told.

use super::microagent::{Microagent, Read, When, read};
use super::own::OwnFile;
use super::places::{self, Place};
use super::triggers::Triggers;
use crate::engine::ports::{Document, MemoryProblem};
use crate::session::observation::MicroagentKnowledge;
use crate::session::{RepositorySpec, SessionSpec};

/// What is told always may be this long in all, in bytes.
const ALWAYS_MAX: usize = 256 * 1024;
/// What one text brings may be this long in all, in bytes.
const KNOWLEDGE_MAX: usize = 256 * 1024;

/// All microagents that a session has.
#[derive(Debug)]
pub(super) struct Library {
    microagents: Vec<Microagent>,
    triggers: Triggers,
}

impl Library {
    /// The user's own, then those of the repository's owner, then those of the workspace; later ones replace what has the same name.
    /// Without those that are disabled.
    pub fn gather(
        spec: &SessionSpec,
        own: Vec<OwnFile>,
        organisation: &[Document],
        documents: &[Document],
        disabled: &[String],
    ) -> (Self, Vec<MemoryProblem>) {
        let mut gathering = Gathering::default();
        for OwnFile { path, name, text } in own {
            match text {
                Ok(text) => gathering.add(Place::Microagent(name), &path, &text),
                Err(why) => gathering.problems.push(MemoryProblem { path, why }),
            }
        }
        let owner = spec.repository.as_ref().and_then(RepositorySpec::organisation).map(|kept_in| kept_in.location);
        for document in organisation {
            let path = format!("{}/{}", owner.as_deref().unwrap_or_default(), document.path);
            if let Some(place) = places::of_organisation(&document.path) {
                gathering.add(place, &path, &document.text);
            }
        }
        // Instructions first, as in the peer, then microagents, whatever order they came in.
        let mut placed: Vec<(Place, &Document)> =
            documents.iter().filter_map(|document| Some((places::place(&document.path, spec)?, document))).collect();
        placed.sort_by(|(a, one), (b, other)| (rank(a), &one.path).cmp(&(rank(b), &other.path)));
        for (place, document) in placed {
            gathering.add(place, &document.path, &document.text);
        }
        let Gathering { mut microagents, mut problems } = gathering;
        microagents.retain(|(_, microagent)| !disabled.contains(&microagent.name));
        bound(&mut microagents, &mut problems);
        let microagents: Vec<Microagent> = microagents.into_iter().map(|(_, microagent)| microagent).collect();
        (Self { triggers: Triggers::of(&microagents), microagents }, problems)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.microagents.iter().map(|microagent| microagent.name.clone()).collect()
    }

    /// What is told with the first message, and which skills there are.
    pub fn instructions(&self) -> String {
        let mut parts: Vec<&str> = Vec::new();
        let mut skills = Vec::new();
        for microagent in &self.microagents {
            match &microagent.when {
                When::Always => parts.push(&microagent.content),
                When::Triggered(_) => {}
                When::Listed { description, file, .. } => {
                    let description: Vec<&str> = description.split_whitespace().collect();
                    skills.push(format!("- {}: {} ({file})", microagent.name, description.join(" ")));
                }
            }
        }
        let skills = match skills.is_empty() {
            true => String::new(),
            false => format!("Skills, whose file you read before you do what it is about:\n{}", skills.join("\n")),
        };
        parts.extend((!skills.is_empty()).then_some(skills.as_str()));
        parts.join("\n\n")
    }

    /// What `text` asks for, without those that were `said` before.
    pub fn knowledge(&self, text: &str, said: &[String]) -> Vec<MicroagentKnowledge> {
        let mut room = KNOWLEDGE_MAX;
        let mut knowledge = Vec::new();
        for (at, place) in self.triggers.met(text) {
            let Some(microagent) = self.microagents.get(at).filter(|microagent| !said.contains(&microagent.name)) else {
                continue;
            };
            // What does not fit now is told when it is asked for again.
            let Some(left) = room.checked_sub(microagent.content.len()) else { continue };
            room = left;
            knowledge.push(MicroagentKnowledge {
                name: microagent.name.clone(),
                trigger: microagent.triggers().get(place).cloned().unwrap_or_default(),
                content: microagent.content.clone(),
            });
        }
        knowledge
    }
}

const fn rank(place: &Place) -> u8 {
    match place {
        Place::Whole(_) => 0,
        Place::Microagent(_) => 1,
        Place::Skill(_) => 2,
    }
}

#[derive(Default)]
struct Gathering {
    /// Each with its file.
    microagents: Vec<(String, Microagent)>,
    problems: Vec<MemoryProblem>,
}

impl Gathering {
    fn add(&mut self, place: Place, path: &str, text: &str) {
        let Read { microagent, problem } = read(place, path, text);
        self.problems.extend(problem.map(|why| MemoryProblem { path: path.to_owned(), why }));
        let Some(microagent) = microagent else { return };
        // One file under two names, by a link or on a disk that does not tell `A` from `a`, is told once.
        let is_told = |(_, told): &(String, Microagent)| told.when == microagent.when && told.content == microagent.content;
        if self.microagents.iter().any(is_told) {
            return;
        }
        match self.microagents.iter_mut().find(|(_, told)| told.name == microagent.name) {
            Some(former) => *former = (path.to_owned(), microagent),
            None => self.microagents.push((path.to_owned(), microagent)),
        }
    }
}

/// Leaves out what would make the first message too long, and says so.
fn bound(microagents: &mut Vec<(String, Microagent)>, problems: &mut Vec<MemoryProblem>) {
    let mut room = ALWAYS_MAX;
    microagents.retain(|(path, microagent)| {
        let length = match &microagent.when {
            When::Always => microagent.content.len(),
            When::Listed { description, .. } => description.len(),
            When::Triggered(_) => 0,
        };
        if let Some(left) = room.checked_sub(length) {
            room = left;
            return true;
        }
        let why = format!("it is left out: what is told always would be longer than {} KiB", ALWAYS_MAX / 1024);
        problems.push(MemoryProblem { path: path.clone(), why });
        false
    });
}
