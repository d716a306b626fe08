//! What the owner of a repository tells all agents: found at the provider, read with the repository's own token, kept in the log.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::cli_support::{Rig, Said};
use crate::git_server::{GitServer, Manners, git, repository};
use crate::live_support::{answers, finishes, messages, said, words};
use crate::model_server::ModelServer;
use crate::repository_support::holding;

const TOKEN: &str = "ghp_q7ZkLmN0Vt9yR4wB8xX2";

/// Makes `root/owner/NAME.git`, with these files on its one branch.
pub fn organisation(root: &Path, name: &str, files: &[(&str, &str)]) {
    let work = root.join("organisation");
    fs::create_dir_all(work.join("microagents")).unwrap();
    git(&work, &["init", "--quiet"]);
    for (path, text) in files {
        fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
        fs::write(work.join(path), text).unwrap();
    }
    symlink("/etc/passwd", work.join("microagents/link.md")).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "first"]);
    let bare = root.join(format!("owner/{name}.git"));
    git(root, &["clone", "--quiet", "--bare", "organisation", bare.to_str().unwrap()]);
}

struct Trial {
    rig: Rig,
    git: GitServer,
    model: ModelServer,
}

impl Trial {
    /// A private repository at this provider.
    async fn new(provider: &str) -> Self {
        let rig = Rig::new();
        let files = [(".openhands/microagents/style.md", "The repository's style."), ("README.md", "read me\n")];
        repository(&rig.path("served"), &files);
        let user = if provider == "gitlab" { "oauth2" } else { "x-access-token" };
        let login = Some((user.to_owned(), TOKEN.to_owned()));
        let git = GitServer::start(&rig.path("served"), Manners { login, ..Manners::default() });
        let model = ModelServer::replying(|request| finishes(answers(request), "done").into()).await;
        let repository = format!(
            "[repository]\nlocation = \"owner/proj\"\nprovider = \"{provider}\"\nhost = \"{}\"\ntoken = \"GIT_TOKEN\"\n[timeouts]\nprepare = 20\n",
            git.url()
        );
        rig.write("config.toml", repository);
        Self { rig, git, model }
    }

    async fn run(&self, name: &str) -> Said {
        let mut command = self.rig.live_as(name, &self.model, &["--config"]);
        command.arg(self.rig.path("config.toml")).arg("look");
        self.said(command).await
    }

    async fn said(&self, mut command: Command) -> Said {
        command.env("GIT_TOKEN", TOKEN);
        said(command).await
    }

    /// What the report of the step says of it.
    fn report(&self, name: &str) -> Value {
        let steps = self.rig.json(&["show", name, "--steps", "-o", "json"]);
        let step = steps["start"].as_array().unwrap().iter().find(|step| step["step"] == "repository").unwrap();
        step["outcome"]["report"]["organisation"].clone()
    }

    /// All that the model was told in its last call.
    fn told(&self) -> String {
        let last = self.model.received().pop().unwrap();
        messages(&last).iter().map(words).collect::<Vec<_>>().join("\n")
    }

    fn assert_token_nowhere(&self) {
        let told = [TOKEN.to_owned(), BASE64_STANDARD.encode(format!("x-access-token:{TOKEN}"))];
        for place in ["rekindle", "work"] {
            assert_eq!(holding(&self.rig.path(place), &told), Vec::<std::path::PathBuf>::new());
        }
    }

    fn left_over(&self) -> Vec<String> {
        let names = fs::read_dir(self.rig.path("work")).unwrap().flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name != "proj").collect()
    }
}

const MICROAGENTS: [(&str, &str); 5] = [
    ("microagents/style.md", "The owner's style."),
    ("microagents/care.md", "Take care of the owner's things."),
    ("microagents/know/deploy.md", "---\ntriggers: [deploy]\n---\nDeploy by the owner's script."),
    ("microagents/README.md", "For people."),
    ("elsewhere.md", "Nothing for agents."),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_owner_tells_all_agents_is_told_before_the_repositorys_own_which_wins() {
    for (provider, name) in [("github", ".openhands"), ("gitlab", "openhands-config")] {
        let trial = Trial::new(provider).await;
        organisation(&trial.rig.path("served"), name, &MICROAGENTS);
        let done = trial.run("live").await;
        assert_eq!(done.code, 0, "{done:?}");
        let told = trial.told();
        let (care, style) = (told.find("Take care of the owner's things."), told.find("The repository's style."));
        assert!(care.is_some() && care < style, "{told}");
        for nothing in ["The owner's style.", "Deploy by", "For people.", "Nothing for agents.", "root:", "/etc/passwd"] {
            assert!(!told.contains(nothing), "{nothing}: {told}");
        }
        let report = trial.report("live");
        assert_eq!(report["repository"], format!("{}/owner/{name}.git", trial.git.url()));
        let commit = git(&trial.rig.path("served/organisation"), &["rev-parse", "HEAD"]);
        assert_eq!(report["commit"], commit);
        let files = ["microagents/README.md", "microagents/care.md", "microagents/know/deploy.md"];
        assert!(files.iter().all(|file| report["files"].as_array().unwrap().contains(&json!(file))), "{report:#}");
        trial.assert_token_nowhere();
        crate::cli_support::wait_until("no clone of it is left", || trial.left_over().is_empty());
        // What it said is in the log: a new owner of the session tells it without the provider.
        trial.git.behave(Manners { refuse: Some((503, "closed".to_owned())), ..Manners::default() });
        let sent = trial.said(trial.rig.command(&["send", "live", "now deploy it"])).await;
        assert_eq!(sent.code, 0, "{sent:?}");
        assert!(trial.told().contains("Deploy by the owner's script."), "{}", trial.told());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_who_tells_nothing_is_no_failure_and_neither_is_one_who_cannot_be_asked() {
    let trial = Trial::new("github").await;
    let done = trial.run("live").await;
    assert_eq!(done.code, 0, "{done:?}");
    let report = trial.report("live");
    assert!(report["absent"].as_str().unwrap().contains("there is no repository"), "{report:#}");
    assert!(trial.told().contains("The repository's style."));
    // The checkout is there, so that only the owner is asked: by a server that sends half of it and then nothing.
    organisation(&trial.rig.path("served"), ".openhands", &MICROAGENTS);
    let login = Some(("x-access-token".to_owned(), TOKEN.to_owned()));
    trial.git.behave(Manners { login, stall_after: Some(64), ..Manners::default() });
    let config = fs::read_to_string(trial.rig.path("config.toml")).unwrap().replace("prepare = 20", "prepare = 12");
    let branch = git(&trial.rig.path("work/proj"), &["branch", "--show-current"]);
    trial.rig.write("config.toml", config.replace("[timeouts]", &format!("branch = \"{branch}\"\n[timeouts]")));
    let done = trial.run("again").await;
    assert_eq!(done.code, 0, "{done:?}");
    let report = trial.report("again");
    assert!(report["problem"].as_str().unwrap().contains("was not read within"), "{report:#}");
    assert!(trial.told().contains("The repository's style."));
    trial.assert_token_nowhere();
    crate::cli_support::wait_until("git is gone", || trial.git.clients().is_empty());
    crate::cli_support::wait_until("no clone of it is left", || trial.left_over().is_empty());
}
