//! The code that a session works on: cloned once, whole or not at all, with credentials that only its server sees.

use std::os::unix::fs::MetadataExt;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rekindle::session::{Command, Phase, Provider, RepositorySpec, RuntimeSpec, Sandbox, StartStep};
use serde_json::json;

use crate::git_server::{GitServer, Manners, git, repository};
use crate::repository_support::{Bench, TOKEN, holding, plain};
use crate::runtime_support::isolations;

const FILES: &[(&str, &str)] = &[("README.md", "read me\n"), ("src/lib.rs", "// code\n")];

fn asking(user: &str) -> Manners {
    Manners { login: Some((user.to_owned(), TOKEN.to_owned())), ..Manners::default() }
}

fn with_token(provider: Provider, location: &str) -> RepositorySpec {
    RepositorySpec { provider, location: location.to_owned(), token: Some("GIT_TOKEN".to_owned()), ..plain("") }
}

#[tokio::test]
async fn a_repository_is_cloned_and_the_shell_begins_in_it_on_a_branch_of_the_sessions_own() {
    for isolation in isolations() {
        let bench = Bench::new(isolation);
        let bare = repository(&bench.served(), FILES);
        let id = bench.cloned(plain(&bare)).await;
        let own = format!("rekindle-{}", &id.as_uuid().simple().to_string()[20..]);
        let report = bench.step(id, StartStep::Repository).await.unwrap();
        assert_eq!(report["directory"], "/workspace/proj");
        assert_eq!((&report["branch"], &report["from"], &report["was_there"]), (&json!(own), &json!("main"), &json!(false)));
        assert_eq!(report["commit"], git(&bare, &["rev-parse", "main"]));
        let (_, told) = bench.sh(id, "pwd; git status --short --branch; cat README.md").await;
        assert_eq!(told, format!("/workspace/proj\n## {own}\nread me"), "{isolation:?}");
        assert_eq!(bench.leftovers(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn after_a_restart_the_shell_is_in_the_repository_again() {
    let bench = Bench::default();
    let id = bench.cloned(plain(repository(&bench.served(), FILES))).await;
    bench.engine.shutdown().await;
    let isolation = rekindle::host::runtime::local::Isolation::Auto;
    let bench = Bench { engine: crate::repository_support::engine(&bench.store, isolation), ..bench };
    bench.engine.resume(id).await.unwrap();
    bench.engine.rest(id).await;
    assert_eq!(bench.sh(id, "pwd").await, (0, "/workspace/proj".to_owned()));
}

#[tokio::test]
async fn each_providers_token_opens_its_repository_and_is_then_nowhere() {
    for (user, provider) in [
        ("x-access-token", (|host| Provider::GitHub { host }) as fn(Option<String>) -> Provider),
        ("oauth2", |host| Provider::GitLab { host }),
        ("x-token-auth", |host| Provider::Bitbucket { host }),
    ] {
        let bench = Bench::default();
        repository(&bench.served(), FILES);
        let server = GitServer::start(&bench.served(), asking(user));
        let id = bench.cloned(with_token(provider(Some(server.url())), "owner/proj")).await;
        assert!(server.shown().contains(&Some(format!("{user}:{TOKEN}"))), "{user}: {:?}", server.shown());
        let report = bench.step(id, StartStep::Repository).await.unwrap();
        assert_eq!(report["origin"], format!("{}/owner/proj.git", server.url()));
        let forms = [TOKEN.to_owned(), "tok%2Ben".to_owned(), BASE64_STANDARD.encode(format!("{user}:{TOKEN}"))];
        assert_eq!(holding(&bench.workspace(), &forms), Vec::<std::path::PathBuf>::new());
        let log = format!("{:?}", bench.events(id).await);
        assert!(forms.iter().all(|form| !log.contains(form)), "{log}");
        // Commands do not have it either.
        let (_, told) = bench.sh(id, "env; git config --list; git reflog; cat .git/config .git/logs/HEAD").await;
        assert!(forms.iter().all(|form| !told.contains(form)), "{told}");
    }
}

#[tokio::test]
async fn the_sessions_own_git_pushes_where_it_is_given_the_token() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    git(&bare, &["config", "http.receivepack", "true"]);
    let server = GitServer::start(&bench.served(), asking("oauth2"));
    let mut spec = bench.spec(Some(with_token(Provider::Plain, &format!("{}/owner/proj.git", server.url()))));
    spec.runtime = RuntimeSpec::Local { sandbox: Sandbox::default(), network: true };
    let id = bench.start(spec).await;
    assert_eq!(bench.failure(id).await, None);
    let (code, told) = bench.sh(id, "git push -q origin HEAD").await;
    assert_ne!(code, 0, "{told}");
    // From a file: a value that a command spells out is hidden before the command runs.
    std::fs::write(bench.workspace().join("token"), TOKEN).unwrap();
    let (code, told) = bench.sh(id, "GIT_TOKEN=$(cat /workspace/token) git push -q origin HEAD:pushed").await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(git(&bare, &["rev-parse", "pushed"]), git(&bare, &["rev-parse", "main"]));
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_never_shown_the_token() {
    let bench = Bench::default();
    repository(&bench.served(), FILES);
    let other = GitServer::start(&bench.served(), asking("oauth2"));
    let first = GitServer::start(&bench.served(), Manners { redirect: Some(other.url()), ..Manners::default() });
    let wanted = with_token(Provider::Plain, &format!("{}/owner/proj.git", first.url()));
    let why = bench.refused(wanted.clone()).await;
    assert!(why.contains("GIT_TOKEN") && !why.contains(TOKEN), "{why}");
    assert!(!other.shown().is_empty(), "the redirect was followed");
    assert!(other.shown().iter().all(Option::is_none), "{:?}", other.shown());
    assert!(!bench.project().exists());
    // Where nobody asks for it, the clone goes on without.
    other.behave(Manners::default());
    bench.cloned(wanted).await;
    assert!(other.shown().iter().all(Option::is_none), "{:?}", other.shown());
}

#[tokio::test]
async fn a_refused_clone_is_a_failed_step_that_names_the_secret_and_not_its_value() {
    let bench = Bench::default();
    repository(&bench.served(), FILES);
    let server = GitServer::start(
        &bench.served(),
        Manners { login: Some(("oauth2".to_owned(), "right".to_owned())), ..Manners::default() },
    );
    let url = format!("{}/owner/proj.git", server.url());
    let why = bench.refused(with_token(Provider::Plain, &url)).await;
    assert!(why.contains("secrets set GIT_TOKEN") && why.contains("does not let git in"), "{why}");
    let why = bench.refused(plain(&url)).await;
    assert!(why.contains("--repo-token NAME"), "{why}");
    let why = bench.refused(plain(format!("{}/owner/none.git", server.url()))).await;
    assert!(why.contains("does not let git in"), "{why}");
    server.behave(Manners::default());
    let why = bench.refused(plain(format!("{}/owner/none.git", server.url()))).await;
    assert!(why.contains("no repository at") && why.contains("if it is private"), "{why}");
    // A server that sends the token back does not get it into the log.
    let echo = format!("no {TOKEN} {} http://x:{TOKEN}@host/", BASE64_STANDARD.encode(format!("oauth2:{TOKEN}")));
    server.behave(Manners { refuse: Some((403, echo)), ..asking("oauth2") });
    let id = bench.start(bench.spec(Some(with_token(Provider::Plain, &url)))).await;
    let log = format!("{:?}", bench.events(id).await);
    assert!(log.contains("step_failed") && !log.contains(TOKEN), "{log}");
    assert!(!log.contains(&BASE64_STANDARD.encode(format!("oauth2:{TOKEN}"))), "{log}");
    assert!(!bench.project().exists() && bench.leftovers().is_empty());
}

#[tokio::test]
async fn a_session_is_not_even_created_with_credentials_in_its_repositorys_address() {
    let bench = Bench::default();
    let id = bench.engine.new_session_id();
    let created = bench.engine.create(id, None, bench.spec(Some(plain("https://me:hunter2@git.example/o/n")))).await;
    let error = created.unwrap_err().to_string();
    assert!(error.contains("holds credentials") && !error.contains("hunter2"), "{error}");
    assert!(bench.store.session(id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_named_branch_is_worked_on_and_a_missing_one_names_those_that_are() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    let why = bench.refused(RepositorySpec { branch: Some("othr".to_owned()), ..plain(&bare) }).await;
    assert!(why.contains("no branch `othr`") && why.contains("main, other"), "{why}");
    let shallow = RepositorySpec { branch: Some("other".to_owned()), depth: Some(1), ..plain(&bare) };
    let id = bench.cloned(shallow).await;
    assert_eq!(bench.sh(id, "git branch --show-current; git log --oneline | wc -l; cat other.txt").await.1, "other\n1\nother");
}

#[tokio::test]
async fn a_repository_without_commits_can_be_worked_on() {
    let bench = Bench::default();
    let bare = bench.served().join("proj");
    std::fs::create_dir_all(&bare).unwrap();
    git(&bare, &["init", "--quiet", "--bare"]);
    let id = bench.cloned(plain(&bare)).await;
    let report = bench.step(id, StartStep::Repository).await.unwrap();
    assert!(report["branch"].as_str().unwrap().starts_with("rekindle-") && report.get("commit").is_none(), "{report}");
}

#[tokio::test]
async fn a_clone_shares_no_file_with_the_repository_that_it_came_from() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    bench.cloned(plain(&bare)).await;
    let mut ahead = vec![bench.project()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            match entry.metadata().unwrap() {
                found if found.is_dir() => ahead.push(entry.path()),
                found => assert_eq!(found.nlink(), 1, "{}", entry.path().display()),
            }
        }
    }
    assert!(!bench.project().join(".git/objects/info/alternates").exists());
}

#[tokio::test]
async fn a_repository_of_another_user_can_be_named() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    let given = std::process::Command::new("chown").args(["-R", "nobody"]).arg(&bare).status().unwrap();
    assert!(given.success());
    bench.cloned(plain(&bare)).await;
}

#[tokio::test]
async fn what_a_clone_has_not_brought_is_told() {
    let bench = Bench::default();
    let modules = "[submodule \"x\"]\n\tpath = x\n\turl = https://git.example/x\n";
    let bare = repository(&bench.served(), &[(".gitmodules", modules), (".gitattributes", "*.bin filter=lfs\n")]);
    let id = bench.cloned(plain(&bare)).await;
    let report = bench.step(id, StartStep::Repository).await.unwrap();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("git submodule update --init") && warnings.contains("git lfs pull"), "{warnings}");
}

#[tokio::test]
async fn files_that_are_not_of_this_repository_are_left_as_they_are() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    let project = bench.project();
    std::fs::create_dir_all(&project).unwrap();
    std::fs::write(project.join("mine.txt"), "mine").unwrap();
    let why = bench.refused(plain(&bare)).await;
    assert!(
        why.contains("left as it is") && why.contains("--workspace DIR") && why.contains(&project.display().to_string()),
        "{why}"
    );
    // A checkout of something else.
    git(&project, &["init", "--quiet"]);
    git(&project, &["remote", "add", "origin", "https://me:hunter2@git.example/else"]);
    let why = bench.refused(plain(&bare)).await;
    assert!(why.contains("comes from https://git.example/else") && !why.contains("hunter2"), "{why}");
    assert_eq!(std::fs::read_to_string(project.join("mine.txt")).unwrap(), "mine");
    // A file, and a link to elsewhere.
    std::fs::remove_dir_all(&project).unwrap();
    std::fs::write(&project, "a file").unwrap();
    assert!(bench.refused(plain(&bare)).await.contains("no directory"));
    std::fs::remove_file(&project).unwrap();
    let elsewhere = bench.home.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &project).unwrap();
    assert!(bench.refused(plain(&bare)).await.contains("no directory"));
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(bench.leftovers().is_empty());
}

#[tokio::test]
async fn a_checkout_of_the_same_origin_is_attached_to_and_loses_nothing() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    std::fs::create_dir_all(bench.workspace()).unwrap();
    git(&bench.workspace(), &["clone", "--quiet", bare.to_str().unwrap(), "proj"]);
    std::fs::write(bench.project().join("README.md"), "changed\n").unwrap();
    std::fs::write(bench.project().join("new.txt"), "new\n").unwrap();
    let id = bench.cloned(plain(&bare)).await;
    let report = bench.step(id, StartStep::Repository).await.unwrap();
    assert_eq!((&report["was_there"], &report["from"]), (&json!(true), &json!("main")));
    let (_, told) = bench.sh(id, "pwd; git status --short; git branch --show-current").await;
    assert_eq!(told, format!("/workspace/proj\n M README.md\n?? new.txt\n{}", report["branch"].as_str().unwrap()));
    // A branch that cannot be had without losing something is refused, and nothing is lost.
    git(&bench.project(), &["checkout", "--quiet", "main"]);
    std::fs::write(bench.project().join("other.txt"), "mine").unwrap();
    let why = bench.refused(RepositorySpec { branch: Some("other".to_owned()), ..plain(&bare) }).await;
    assert!(why.contains("cannot go to the branch `other`"), "{why}");
    assert_eq!(std::fs::read_to_string(bench.project().join("other.txt")).unwrap(), "mine");
    let why = bench.refused(RepositorySpec { branch: Some("none".to_owned()), ..plain(&bare) }).await;
    assert!(why.contains("its branches are:") && why.contains("origin/other"), "{why}");
}

#[tokio::test]
async fn who_names_the_repository_that_is_in_the_workspace_works_in_it() {
    for isolation in isolations() {
        let bench = Bench::new(isolation);
        std::fs::create_dir_all(bench.project()).unwrap();
        git(&bench.project(), &["init", "--quiet"]);
        git(&bench.project(), &["commit", "--quiet", "--allow-empty", "-m", "first"]);
        std::fs::write(bench.project().join("new.txt"), "new\n").unwrap();
        let id = bench.cloned(plain(bench.project())).await;
        let (_, told) = bench.sh(id, "pwd; cat new.txt; git branch --show-current").await;
        assert!(told.starts_with("/workspace/proj\nnew\nrekindle-"), "{told}");
    }
}

/// What an agent of before has written to a checkout must not run as the engine.
#[tokio::test]
async fn a_checkout_that_is_there_can_run_its_own_code_only_where_commands_run() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), FILES);
    std::fs::create_dir_all(bench.workspace()).unwrap();
    git(&bench.workspace(), &["clone", "--quiet", bare.to_str().unwrap(), "proj"]);
    let ran = bench.workspace().join("ran");
    let script = bench.workspace().join("evil.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"of $REKINDLE_SESSION\" >>\"${0%/*}/ran\"\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).unwrap();
    git(&bench.project(), &["config", "core.fsmonitor", "/workspace/evil.sh"]);
    std::fs::create_dir_all(bench.project().join(".git/hooks")).unwrap();
    std::os::unix::fs::symlink("../../../evil.sh", bench.project().join(".git/hooks/post-checkout")).unwrap();
    let id = bench.start(bench.spec(Some(plain(&bare)))).await;
    let text = std::fs::read_to_string(ran).unwrap_or_default();
    assert!(!text.is_empty(), "the checkout runs what it is told to");
    assert!(text.lines().all(|line| line.starts_with(&format!("of {id}"))), "{text}");
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_clone_ends_git_and_leaves_nothing() {
    let bench = Bench::default();
    repository(&bench.served(), FILES);
    let server = GitServer::start(&bench.served(), Manners { stall_after: Some(64), ..Manners::default() });
    let id = bench.engine.new_session_id();
    let spec = bench.spec(Some(plain(format!("{}/owner/proj.git", server.url()))));
    bench.engine.create(id, None, spec).await.unwrap();
    while server.stalled() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bench.engine.submit(id, Command::Close { reason: "enough".to_owned() }).await.unwrap();
    bench.engine.rest(id).await;
    assert!(matches!(bench.engine.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
    crate::runtime_support::eventually("git is gone", || server.clients().is_empty().then_some(()));
    crate::runtime_support::eventually("the half clone is gone", || bench.leftovers().is_empty().then_some(()));
    assert!(!bench.project().exists());
}
