//! `rekindle run --repo`: what the person at the terminal sees, and what is left when the process is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cli_support::{Rig, Said, wait_until};
use crate::git_server::{GitServer, Manners, git, repository};

/// A rig in which `rekindle run` asks a model that is not there, once.
fn rig() -> Rig {
    let rig = Rig::new();
    rig.write("config.toml", "[model]\nname = \"none\"\nbase-url = \"http://127.0.0.1:1/v1\"\nretries = 0\n");
    repository(&rig.path("served"), &[("README.md", "read me\n")]);
    rig
}

/// `rekindle run` on this repository, in the workspace `ws`.
fn run(rig: &Rig, location: &str, more: &[&str]) -> Command {
    let config = rig.path("config.toml").display().to_string();
    let mut arguments = vec!["run", "look", "--headless", "--config", &config, "-w", "ws", "--repo", location];
    arguments.extend(more);
    rig.command(&arguments)
}

fn step(rig: &Rig, session: &str, name: &str) -> Value {
    let steps = rig.json(&["show", session, "--steps", "-o", "json"]);
    steps["start"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap().clone()
}

#[test]
fn a_repository_in_a_directory_is_cloned_into_the_workspace_and_said() {
    let rig = rig();
    let said = Said::of(run(&rig, "./served/work", &["-v"]));
    assert!(said.err.contains("repository in /workspace/work on branch rekindle-"), "{said:?}");
    assert_eq!(fs::read_to_string(rig.path("ws/work/README.md")).unwrap(), "read me\n");
    assert_eq!(git(&rig.path("served/work"), &["branch", "--list", "rekindle-*"]), "", "the original is left alone");
}

#[test]
fn a_repository_that_cannot_be_had_ends_the_run_with_the_reason() {
    let rig = rig();
    for (location, more, words) in [
        ("./none", &[][..], &["no repository at", "/none"][..]),
        ("./served/work", &["--branch", "nope"], &["no branch `nope`", "main, other"]),
        ("http://127.0.0.1:1/x.git", &[], &["http://127.0.0.1:1/x.git cannot be cloned"]),
    ] {
        let said = Said::of(run(&rig, location, more));
        assert_eq!(said.code, 1, "{said:?}");
        assert!(words.iter().all(|word| said.out.contains(word)), "{said:?}");
    }
    // What can be seen at once is said at once, and nothing is made.
    let said = Said::of(run(&rig, "https://me:hunter2@git.example/x", &[]));
    said.assert_refused(2, &["no credentials", "rekindle secrets set NAME"]);
    assert!(!said.err.contains("hunter2"));
}

#[test]
fn a_kill_in_the_middle_of_a_clone_ends_git_and_a_resume_clones_anew() {
    let rig = rig();
    let server = GitServer::start(&rig.path("served"), Manners { stall_after: Some(64), ..Manners::default() });
    let location = format!("{}/owner/proj.git", server.url());
    for round in 1..=3 {
        let mut child = match round {
            1 => run(&rig, &location, &["--name", "s1"]).spawn().unwrap(),
            _ => rig.command(&["resume", "s1"]).spawn().unwrap(),
        };
        wait_until("the pack stalls", || server.stalled() == round);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("git is gone", || server.clients().is_empty());
        assert!(!rig.path("ws/proj").exists(), "there is no half clone");
    }
    server.behave(Manners::default());
    rig.run(&["resume", "s1"]);
    let step = step(&rig, "s1", "repository");
    assert_eq!(step["outcome"]["report"]["was_there"], false, "{step}");
    assert_eq!(fs::read_to_string(rig.path("ws/proj/README.md")).unwrap(), "read me\n");
    let names: Vec<_> = fs::read_dir(rig.path("ws")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["proj"], "the half clones are gone");
}

/// However far the start came, the next one goes on from there.
#[test]
fn a_start_that_is_killed_anywhere_ends_with_one_whole_checkout() {
    let rig = rig();
    let work = rig.path("served/work");
    fs::create_dir_all(work.join(".openhands")).unwrap();
    fs::write(work.join(".openhands/setup.sh"), "export READY=1\nsleep 0.2\n").unwrap();
    fs::write(work.join(".openhands/pre-commit.sh"), "true\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-qm", "prepared"]);
    for kill in 0..14_u64 {
        let mut child = match kill {
            0 => run(&rig, "./served/work", &["--name", "s1"]),
            _ => rig.command(&["resume", "s1"]),
        };
        let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(if kill == 0 { 400 } else { 100 * kill }));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = rig.run(&["resume", "s1"]);
    assert!(!said.out.contains("start_failed"), "{said:?}");
    for name in ["repository", "setup_script", "git_hooks"] {
        let step = step(&rig, "s1", name);
        assert_eq!(step["outcome"]["type"], "done", "{step}");
    }
    let names: Vec<_> = fs::read_dir(rig.path("ws")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["work"]);
    let checkout = rig.path("ws/work");
    git(&checkout, &["fsck", "--strict"]);
    assert_eq!(git(&checkout, &["status", "--short"]), "");
    assert_eq!(hooks_of(&checkout), ["pre-commit"]);
    assert_eq!(git(&checkout, &["branch", "--format=%(refname:short)"]).lines().count(), 2, "its own and the default one");
}

#[test]
fn a_machine_without_git_is_told_so() {
    let rig = rig();
    let bin = rig.path("bin");
    fs::create_dir(&bin).unwrap();
    for directory in ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with("git") {
                // The first of a name wins.
                let _ = std::os::unix::fs::symlink(entry.path(), bin.join(entry.file_name()));
            }
        }
    }
    let mut command = run(&rig, "./served/work", &[]);
    let said = Said::of({
        command.env("PATH", &bin);
        command
    });
    assert!(said.out.contains("there is no program git in PATH"), "{said:?}");
}

/// A program that says that it ran.
fn tattler(rig: &Rig, path: &str) -> String {
    let path = rig.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let ran = rig.path("ran");
    fs::write(&path, format!("#!/bin/sh\necho \"$0 $*\" >>'{}'\ncat\n", ran.display())).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn nothing_of_the_users_own_git_configuration_runs_asks_or_lends_credentials() {
    let rig = rig();
    let served = rig.path("served");
    fs::write(served.join("work/.gitattributes"), "* filter=evil\n").unwrap();
    git(&served.join("work"), &["add", "."]);
    git(&served.join("work"), &["commit", "-qm", "filtered"]);
    git(&served.join("work"), &["push", "-q", "../owner/proj.git", "main"]);
    let tattler = |path: &str| tattler(&rig, path);
    tattler("template/hooks/post-checkout");
    tattler("hooks/post-checkout");
    tattler("hooks/reference-transaction");
    let (filter, helper, ask, monitor) = (tattler("filter"), tattler("helper"), tattler("ask"), tattler("monitor"));
    let home = rig.home.path().display();
    let config = format!(
        "[core]\nhooksPath={home}/hooks\nfsmonitor={monitor}\naskPass={ask}\n[credential]\nhelper={helper}\n[init]\n\
         templateDir={home}/template\n[filter \"evil\"]\nsmudge={filter}\nclean={filter}\n[url \"ext::{filter} \"]\n\
         insteadOf=https://elsewhere/\n"
    );
    rig.write(".gitconfig", &config);
    rig.write(".netrc", "machine 127.0.0.1 login me password hunter2\n");
    let server = GitServer::start(&served, Manners { login: Some(("a".to_owned(), "b".to_owned())), ..Manners::default() });
    let location = format!("{}/owner/proj.git", server.url());
    let run = |name: &str| {
        let mut command = run(&rig, &location, &["--name", name]);
        command.env("HOME", rig.home.path()).env("GIT_ASKPASS", &ask).env("SSH_ASKPASS", &ask).env("DISPLAY", ":0");
        command.env("GIT_TEMPLATE_DIR", rig.path("template")).env("GIT_TRACE_CURL", rig.path("trace"));
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "core.hooksPath")
            .env("GIT_CONFIG_VALUE_0", rig.path("hooks"));
        Said::of(command)
    };
    let refused = run("s1");
    assert!(refused.out.contains("does not let git in"), "{refused:?}");
    server.behave(Manners::default());
    run("s2");
    assert_eq!(step(&rig, "s2", "repository")["outcome"]["type"], "done");
    assert_eq!(fs::read_to_string(rig.path("ran")).unwrap_or_default(), "");
    assert!(!rig.path("trace").exists());
    assert!(server.shown().iter().all(Option::is_none), "{:?}", server.shown());
    assert_eq!(hooks_of(&rig.path("ws/proj")), Vec::<String>::new());
}

fn hooks_of(checkout: &Path) -> Vec<String> {
    let hooks = fs::read_dir(checkout.join(".git/hooks")).into_iter().flatten().flatten();
    hooks.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
