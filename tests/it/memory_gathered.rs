//! What memory gathers from files, and what it answers: every field, every question, and every bad file by its name.

use std::fs;
use std::sync::Arc;

use rekindle::engine::ports::{About, Document, Memories, MemoryRequest, Remembered};
use rekindle::host::memory::MicroagentFiles;
use rekindle::session::action::{Recall, RecallType};
use rekindle::session::observation::Recalled;
use rekindle::session::{
    Extras, MemorySpec, Observation, OnBadFile, Provider, RepositorySpec, SecretRef, SecretUse, SessionId, SessionSpec, Timestamp,
};
use rekindle::testing::Scenario;
use uuid::Uuid;

/// 2026-11-26T23:59:59Z.
const NOW: Timestamp = Timestamp(1_795_737_599_000_000);

fn document(path: &str, text: &str) -> Document {
    Document { path: path.to_owned(), text: text.to_owned() }
}

fn request(spec: SessionSpec, documents: Vec<Document>) -> MemoryRequest {
    let session = SessionId::from_uuid(Uuid::from_u128(1));
    MemoryRequest { session, spec: Arc::new(spec), organisation: Vec::new(), documents, about: About::default() }
}

async fn gathered(documents: Vec<Document>) -> Remembered {
    MicroagentFiles::new().gather(request(Scenario::agent_spec(), documents)).await.unwrap()
}

fn ask(remembered: &Remembered, recall_type: RecallType, query: &str, said: &[String]) -> Observation {
    let recall = Recall { recall_type, query: query.to_owned(), thought: String::new() };
    remembered.memory.recall(&recall, said, NOW)
}

fn recalled(observation: Observation) -> Recalled {
    match observation.extras {
        Extras::Recall(recalled) => *recalled,
        other => panic!("{other:?}"),
    }
}

fn workspace(remembered: &Remembered, query: &str) -> Recalled {
    recalled(ask(remembered, RecallType::WorkspaceContext, query, &[]))
}

fn names(recalled: &Recalled) -> Vec<(&str, &str)> {
    recalled.microagent_knowledge.iter().map(|knowledge| (knowledge.name.as_str(), knowledge.trigger.as_str())).collect()
}

fn files() -> Vec<Document> {
    vec![
        document("AGENTS.md", "Use tabs."),
        document(".openhands_instructions", "Old instructions."),
        document(".openhands/microagents/repo.md", "---\ntype: repo\n---\nRun make test."),
        document(".openhands/microagents/knowledge/git.md", "---\ntriggers: [git, branch]\n---\nAbout git."),
        document(".openhands/microagents/README.md", "For people."),
        document(".openhands/microagents/release.md", "---\nname: release\ninputs: [{name: VERSION}]\n---\nRelease ${VERSION}."),
        document(".agents/skills/pdf/SKILL.md", "---\nname: pdf\ndescription: Reads PDF files.\n---\nSteps."),
        document(".agents/skills/pdf/reference.md", "Not told by itself."),
        document("src/main.rs", "fn main() {}"),
    ]
}

#[tokio::test]
async fn every_field_of_the_workspace_is_recalled() {
    let secret = |name: &str, used| SecretRef { name: name.into(), description: format!("the {name}"), used, fingerprint: None };
    let repository = RepositorySpec {
        provider: Provider::GitHub { host: None },
        location: "o/r".into(),
        branch: Some("main".into()),
        token: None,
        depth: None,
    };
    let spec = SessionSpec {
        repository: Some(repository),
        secrets: vec![
            secret("DB", SecretUse::Environment),
            secret("GH", SecretUse::ProviderToken),
            secret("MODEL_KEY", SecretUse::Engine),
        ],
        instructions: Some("Be brief.".into()),
        ..Scenario::agent_spec()
    };
    let mut documents = files();
    documents.push(document("r/AGENTS.md", "Use spaces in here."));
    let about = About { web_hosts: [("http://h:51000".into(), 51000)].into(), instructions: "There is no browser.".into() };
    let remembered = MicroagentFiles::new().gather(MemoryRequest { about, ..request(spec, documents) }).await.unwrap();
    let recalled = workspace(&remembered, "look at the GIT history");
    assert_eq!(recalled.recall_type, RecallType::WorkspaceContext);
    assert_eq!((recalled.repo_name.as_str(), recalled.repo_directory.as_str()), ("o/r", "/workspace/r"));
    assert_eq!((recalled.repo_branch.as_deref(), recalled.working_dir.as_deref()), (Some("main"), Some("/workspace/r")));
    assert_eq!(recalled.date, "2026-11-26");
    assert_eq!(recalled.runtime_hosts.get("http://h:51000"), Some(&51000));
    assert_eq!(recalled.additional_agent_instructions, "There is no browser.");
    assert_eq!(recalled.conversation_instructions, "Be brief.");
    let secrets: Vec<_> = recalled.custom_secrets_descriptions.iter().map(|(name, what)| (name, what.as_str())).collect();
    assert_eq!(secrets, [("DB", "the DB"), ("GH", "the GH")], "the engine's own are not told");
    assert_eq!(
        recalled.repo_instructions,
        "Old instructions.\n\nUse spaces in here.\n\nRun make test.\n\n\
         Skills, whose file you read before you do what it is about:\n\
         - pdf: Reads PDF files. (/workspace/.agents/skills/pdf/SKILL.md)"
    );
    assert_eq!(names(&recalled), [("knowledge/git", "git")]);
    assert_eq!(remembered.names, ["repo_legacy", "agents", "knowledge/git", "release", "repo", "pdf"]);
    assert!(remembered.problems.is_empty(), "{:?}", remembered.problems);
}

#[tokio::test]
async fn whatever_is_asked_has_an_answer() {
    for documents in [Vec::new(), files()] {
        let remembered = gathered(documents).await;
        for query in ["", "nothing of that kind", "git"] {
            for said in [&[][..], &["knowledge/git".to_owned()]] {
                let context = ask(&remembered, RecallType::WorkspaceContext, query, said);
                assert_eq!(context.content, "Added workspace context");
                assert!(matches!(context.extras, Extras::Recall(_)));
                let knowledge = ask(&remembered, RecallType::Knowledge, query, said);
                let tells = query == "git" && said.is_empty() && !remembered.names.is_empty();
                assert_eq!(matches!(knowledge.extras, Extras::Recall(_)), tells, "{query:?} {said:?}");
                assert_eq!(matches!(knowledge.extras, Extras::Null), !tells);
            }
        }
    }
}

#[tokio::test]
async fn knowledge_is_told_once_in_a_session_and_by_the_first_trigger_of_its_file() {
    let remembered = gathered(files()).await;
    let first = recalled(ask(&remembered, RecallType::Knowledge, "a branch of git", &[]));
    assert_eq!(names(&first), [("knowledge/git", "git")]);
    assert_eq!(first.microagent_knowledge[0].content, "About git.");
    let said = ["knowledge/git".to_owned()];
    assert!(matches!(ask(&remembered, RecallType::Knowledge, "git", &said).extras, Extras::Null));
    let task = recalled(ask(&remembered, RecallType::Knowledge, "/release 1.2 with git", &said));
    assert_eq!(names(&task), [("release", "/release")]);
    assert!(task.microagent_knowledge[0].content.contains("ask the user to provide them first"));
    let skill = recalled(ask(&remembered, RecallType::Knowledge, "please /pdf this", &said));
    assert!(skill.microagent_knowledge[0].content.starts_with("Steps."));
}

#[tokio::test]
async fn a_bad_file_is_named_and_takes_nothing_from_the_others() {
    let mut documents = files();
    documents.push(document(".openhands/microagents/bad.md", "---\ntriggers: {a: b\n---\nx"));
    documents.push(document(".openhands/microagents/wizard.md", "---\ntype: wizard\n---\nx"));
    documents.push(document(".claude/skills/bare/SKILL.md", "No front matter."));
    let spec = SessionSpec { memory: MemorySpec { on_bad_file: OnBadFile::Fail }, ..Scenario::agent_spec() };
    let remembered = gathered(documents.clone()).await;
    let problems: Vec<&str> = remembered.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(problems, [".openhands/microagents/bad.md", ".openhands/microagents/wizard.md", ".claude/skills/bare/SKILL.md"]);
    assert!(remembered.problems[1].why.contains("knowledge, repo, task"));
    assert_eq!(remembered.names.len(), 6);
    let Err(strict) = MicroagentFiles::new().gather(request(spec.clone(), documents)).await else { panic!("not strict") };
    assert!(strict.contains("bad.md") && strict.contains("wizard.md"), "{strict}");
    assert!(MicroagentFiles::new().gather(request(spec, files())).await.is_ok());
}

#[tokio::test]
async fn what_is_disabled_is_not_told() {
    let mut spec = Scenario::agent_spec();
    if let Some(agent) = &mut spec.agent {
        agent.config.disabled_microagents = vec!["knowledge/git".into(), "agents".into(), "pdf".into()];
    }
    let remembered = MicroagentFiles::new().gather(request(spec, files())).await.unwrap();
    let recalled = workspace(&remembered, "git");
    assert_eq!(names(&recalled), []);
    assert_eq!(recalled.repo_instructions, "Old instructions.\n\nRun make test.");
}

#[tokio::test]
async fn the_workspace_replaces_what_the_user_keeps_under_the_same_name() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("repo.md"), "Mine.").unwrap();
    fs::write(home.path().join("style.md"), "My style.").unwrap();
    fs::write(home.path().join("broken.md"), "---\nname: x\n").unwrap();
    let files = MicroagentFiles::new().with_own([home.path().to_owned()]);
    let documents = vec![document(".openhands/microagents/repo.md", "Theirs.")];
    let remembered = files.gather(request(Scenario::agent_spec(), documents)).await.unwrap();
    assert_eq!(workspace(&remembered, "").repo_instructions, "Theirs.\n\nMy style.");
    assert!(remembered.problems[0].path.ends_with("broken.md"));
}

#[tokio::test]
async fn the_repository_replaces_what_its_owner_tells_all_agents_under_the_same_name_and_that_what_the_user_keeps() {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in [("both.md", "The user's."), ("user.md", "The user's own.")] {
        fs::write(home.path().join(name), text).unwrap();
    }
    let provider = Provider::GitHub { host: None };
    let repository = RepositorySpec { provider, location: "o/r".into(), branch: None, token: None, depth: None };
    let spec = SessionSpec { repository: Some(repository), ..Scenario::agent_spec() };
    let organisation = vec![
        document("microagents/both.md", "The owner's."),
        document("microagents/repo.md", "The owner's way."),
        document("microagents/know/deploy.md", "---\ntriggers: [deploy]\n---\nBy the owner's script."),
        document("microagents/README.md", "For people."),
        document("microagents/bad.md", "---\nname: [\n"),
        document("other.md", "Not one of them."),
    ];
    let documents = vec![document("r/.openhands/microagents/repo.md", "The repository's.")];
    let files = MicroagentFiles::new().with_own([home.path().to_owned()]);
    let remembered = files.gather(MemoryRequest { organisation, ..request(spec, documents) }).await.unwrap();
    let recalled = workspace(&remembered, "how do I deploy");
    assert_eq!(recalled.repo_instructions, "The owner's.\n\nThe user's own.\n\nThe repository's.");
    assert_eq!(names(&recalled), [("know/deploy", "deploy")]);
    let bad: Vec<&str> = remembered.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(bad, ["o/.openhands/microagents/bad.md"]);
}

#[tokio::test]
async fn one_file_under_two_names_is_told_once_and_too_much_is_left_out_by_name() {
    let twice = gathered(vec![document("AGENTS.md", "Same."), document(".cursorrules", "Same.\n")]).await;
    assert_eq!(workspace(&twice, "").repo_instructions, "Same.");
    let long = |n: usize| document(&format!(".openhands/microagents/m{n}.md"), &n.to_string().repeat(100_000));
    let much = gathered((1..=4).map(long).collect()).await;
    assert_eq!(much.names, ["m1", "m2"]);
    assert_eq!(much.problems.len(), 2);
    assert!(much.problems[0].why.contains("256 KiB"));
}
