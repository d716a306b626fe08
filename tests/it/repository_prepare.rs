//! What a project brings for its own preparation: its setup script, its pre-commit hook, and the files that tell an agent something.

use std::os::unix::fs::symlink;

use rekindle::engine::ports::RuntimeError;
use rekindle::host::runtime::local::Isolation;
use rekindle::session::{Command, Deadlines, OnSetupFailure, SessionId, SessionSpec, StartStep};
use serde_json::Value;

use crate::git_server::repository;
use crate::repository_support::{Bench, plain};
use crate::runtime_support::{isolations, local};

const SETUP: &str = ".openhands/setup.sh";
const HOOK: &str = ".openhands/pre-commit.sh";
const IDENTITY: &str = "git config user.name Test && git config user.email test@example.org && ";

/// A session whose project brings these files.
async fn session(bench: &Bench, files: &[(&str, &str)], change: impl FnOnce(&mut SessionSpec)) -> SessionId {
    let bare = repository(&bench.served(), files);
    let mut spec = bench.spec(Some(plain(bare)));
    change(&mut spec);
    bench.start(spec).await
}

async fn prepared(bench: &Bench, files: &[(&str, &str)]) -> SessionId {
    let id = session(bench, files, |_| {}).await;
    assert_eq!(bench.failure(id).await, None);
    id
}

#[tokio::test]
async fn what_the_setup_script_exports_and_defines_is_there_for_the_agent() {
    for isolation in isolations() {
        let bench = Bench::new(isolation);
        let script = "export GREETING='it'\"'\"'s $HOME\nand `more`'\nexport PATH=\"$PWD/bin:$PATH\"\nhello() { echo \"hi $1\"; }\n\
            LOCAL=gone\ncd /\necho prepared";
        let id = prepared(&bench, &[(SETUP, script), ("bin/tool", "#!/bin/sh\necho tool\n")]).await;
        let report = bench.step(id, StartStep::SetupScript).await.unwrap();
        assert_eq!((report["exit_code"].as_i64(), report["output"].as_str()), (Some(0), Some("prepared")), "{isolation:?}");
        assert_eq!(report.get("warnings"), None);
        let told = bench.sh(id, "pwd; echo \"$GREETING\"; hello you; echo \"${LOCAL-unset}\"; chmod +x bin/tool; tool").await;
        assert_eq!(told, (0, "/workspace/proj\nit's $HOME\nand `more`\nhi you\nunset\ntool".to_owned()), "{isolation:?}");
        assert_eq!(
            bench.sh(id, "compgen -v __rekindle_k; compgen -v __rekindle_c | grep -v command").await.0,
            1,
            "nothing else stays"
        );
    }
}

#[tokio::test]
async fn a_script_that_exits_or_wants_strictness_ends_no_shell() {
    let bench = Bench::default();
    let id = prepared(&bench, &[(SETUP, "set -euo pipefail\nexport KEPT=yes\nexit 0\n")]).await;
    assert_eq!(bench.sh(id, "false; echo \"$KEPT ${NONE-none} $-\" | grep -c 'yes none .*[eu]'").await, (1, "0".to_owned()));
    assert_eq!(bench.sh(id, "echo $KEPT").await.1, "yes");
}

#[tokio::test]
async fn a_failing_script_is_told_with_its_exit_code_and_last_words() {
    let bench = Bench::default();
    let id = prepared(&bench, &[(SETUP, "set -e\nseq 1 5000\necho nearly >&2\n(exit 7)\necho never\n")]).await;
    let report = bench.step(id, StartStep::SetupScript).await.unwrap();
    let output = report["output"].as_str().unwrap();
    assert_eq!(report["exit_code"], 7);
    assert!(output.ends_with("5000\nnearly") && output.chars().count() <= 4000, "{output}");
    assert!(report["warnings"][0].as_str().unwrap().contains("exit code 7"), "{report}");
    assert_eq!(bench.sh(id, "pwd").await, (0, "/workspace/proj".to_owned()));
}

#[tokio::test]
async fn a_failing_script_fails_the_start_where_that_was_asked() {
    let bench = Bench::default();
    let id = session(&bench, &[(SETUP, "echo no compiler\nexit 3\n")], |spec| spec.on_setup_failure = OnSetupFailure::Fail).await;
    let why = bench.failure(id).await.unwrap();
    assert!(why.contains("exit code 3") && why.contains("no compiler"), "{why}");
}

#[tokio::test]
async fn a_script_that_hangs_is_stopped_and_told_with_what_it_printed() {
    let bench = Bench::default();
    let deadlines = Deadlines { prepare_ms: 12_000, ..Deadlines::default() };
    let id = session(&bench, &[(SETUP, "echo begun; sleep 600\n")], |spec| spec.deadlines = deadlines).await;
    assert_eq!(bench.failure(id).await, None);
    let report = bench.step(id, StartStep::SetupScript).await.unwrap();
    assert_eq!((report["exit_code"].as_i64(), report["output"].as_str()), (Some(-1), Some("begun")), "{report}");
    assert!(report["warnings"][0].as_str().unwrap().contains("was stopped"), "{report}");
    assert_eq!(bench.sh(id, "pgrep -x sleep; pwd").await.1, "/workspace/proj");
}

#[tokio::test]
async fn what_a_script_leaves_running_holds_up_nothing_and_ends_with_the_session() {
    let bench = Bench::default();
    let id = prepared(&bench, &[(SETUP, "sleep 4711 &\nsetsid sleep 4712 &\n")]).await;
    assert_eq!(bench.sh(id, "pgrep -fc 'sleep 471[12]'").await.1, "2");
    bench.engine.submit(id, Command::Close { reason: "done".to_owned() }).await.unwrap();
    bench.engine.rest(id).await;
    assert!(crate::runtime_support::marked(&format!("{id}-runtime-1")).is_empty());
}

#[tokio::test]
async fn a_project_without_script_and_hook_skips_both() {
    let bench = Bench::default();
    let id = prepared(&bench, &[("README.md", "")]).await;
    assert_eq!(bench.step(id, StartStep::SetupScript).await, Err("there is no .openhands/setup.sh".to_owned()));
    assert_eq!(bench.step(id, StartStep::GitHooks).await, Err("there is no .openhands/pre-commit.sh".to_owned()));
}

#[tokio::test]
async fn the_projects_hook_runs_before_each_commit() {
    let bench = Bench::default();
    let id = prepared(&bench, &[(HOOK, "test ! -e forbidden || { echo forbidden; exit 1; }\n")]).await;
    let report = bench.step(id, StartStep::GitHooks).await.unwrap();
    assert_eq!((report["hook"].as_str(), &report["before"]), (Some("/workspace/proj/.git/hooks/pre-commit"), &Value::Null));
    assert_eq!(bench.sh(id, &format!("{IDENTITY} echo x > a && git add a && git commit -qm a && echo done")).await.1, "done");
    let (code, told) = bench.sh(id, "touch forbidden && git add . && git commit -qm b").await;
    assert_eq!((code, told.as_str()), (1, "forbidden"));
}

/// A project whose setup script brings a hook of its own, as tools do.
const OWN_HOOK: &str = "mkdir -p .git/hooks\ncat > .git/hooks/pre-commit <<'END'\n#!/bin/sh\necho own >>order\ntest ! -e stop\nEND\n\
    chmod +x .git/hooks/pre-commit\n";

#[tokio::test]
async fn a_hook_that_is_there_is_kept_and_called_first() {
    for isolation in isolations() {
        let bench = Bench::new(isolation);
        let id = prepared(&bench, &[(SETUP, OWN_HOOK), (HOOK, "echo project >>order\n")]).await;
        assert_eq!(bench.step(id, StartStep::GitHooks).await.unwrap()["before"], "pre-commit.local");
        let told = bench.sh(id, &format!("{IDENTITY} git commit -q --allow-empty -m a && cat order")).await;
        assert_eq!(told, (0, "own\nproject".to_owned()));
        let (code, order) =
            bench.sh(id, "touch stop && git commit -q --allow-empty -m b; code=$?; cat order; (exit $code)").await;
        assert_eq!((code, order.as_str()), (1, "own\nproject\nown"), "the first that refuses decides");
    }
}

#[tokio::test]
async fn installing_again_changes_nothing_and_loses_nothing() {
    let bench = Bench::default();
    let bare = repository(&bench.served(), &[(SETUP, OWN_HOOK), (HOOK, "true\n")]);
    let hooks = bench.project().join(".git/hooks");
    let look = || {
        let read = |name: &str| std::fs::read_to_string(hooks.join(name)).unwrap();
        (read("pre-commit"), read("pre-commit.local"), std::fs::read_dir(&hooks).unwrap().count())
    };
    bench.cloned(plain(&bare)).await;
    let first = look();
    assert!(first.1.contains("own"));
    // The setup script writes its own hook again: now there are two of them, and neither is overwritten.
    let id = bench.cloned(plain(&bare)).await;
    assert!(bench.step(id, StartStep::GitHooks).await.unwrap_err().contains("both"));
    // As a kill while the hook is written leaves it.
    std::fs::write(hooks.join(".pre-commit.rekindle-99999"), "#!/bin").unwrap();
    // As a crash between the two moves leaves it.
    std::fs::remove_file(hooks.join("pre-commit")).unwrap();
    std::fs::remove_file(bench.project().join(SETUP)).unwrap();
    for _ in 0..2 {
        let id = bench.cloned(plain(&bare)).await;
        assert_eq!(bench.step(id, StartStep::GitHooks).await.unwrap()["before"], "pre-commit.local");
        assert_eq!(look(), first);
    }
    // One of the peer's is replaced, not kept.
    std::fs::remove_file(hooks.join("pre-commit.local")).unwrap();
    std::fs::write(hooks.join("pre-commit"), "#!/bin/bash\n# This hook was installed by OpenHands\n").unwrap();
    let id = bench.cloned(plain(&bare)).await;
    assert_eq!(bench.step(id, StartStep::GitHooks).await.unwrap()["before"], Value::Null);
}

#[tokio::test]
async fn hooks_go_where_git_looks_for_them_and_never_out_of_the_workspace() {
    let bench = Bench::default();
    let inside = "git config core.hooksPath .husky/_\n";
    let id = prepared(&bench, &[(SETUP, inside), (HOOK, "echo project >>order\n")]).await;
    assert_eq!(bench.step(id, StartStep::GitHooks).await.unwrap()["hook"], "/workspace/proj/.husky/_/pre-commit");
    assert_eq!(bench.sh(id, &format!("{IDENTITY} git commit -q --allow-empty -m a && cat order")).await.1, "project");
    for outside in ["/tmp/rekindle-no-hooks", "../../elsewhere", ".git/link"] {
        let bench = Bench::default();
        let setup = format!("ln -s /tmp .git/link; git config core.hooksPath {outside}\n");
        let id = prepared(&bench, &[(SETUP, &setup), (HOOK, "true\n")]).await;
        let why = bench.step(id, StartStep::GitHooks).await.unwrap_err();
        assert!(why.contains("outside of the workspace"), "{outside}: {why}");
    }
    // A hook that is a file of the project is not the engine's to move.
    let bench = Bench::default();
    let tracked = [(SETUP, "git config core.hooksPath hooks\n"), (HOOK, "true\n"), ("hooks/pre-commit", "#!/bin/sh\n")];
    let id = prepared(&bench, &tracked).await;
    assert!(bench.step(id, StartStep::GitHooks).await.unwrap_err().contains("a file of the repository"));
    assert_eq!(bench.sh(id, "git status --short").await.1, "");
}

#[tokio::test]
async fn documents_are_the_text_files_below_the_paths_in_one_order() {
    let local = local(Isolation::Auto).await;
    for (path, text) in
        [("m/b.md", "b"), ("m/a.md", "a"), ("m/deep/er/c.md", "c"), ("m/.git/config", "no"), ("AGENTS.md", "agents")]
    {
        let path = local.workspace.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    local.put("m/binary", b"\0\x01");
    local.put("m/latin", b"caf\xe9");
    let paths = ["m", "none", "AGENTS.md", "m/a.md", "/workspace/AGENTS.md"].map(str::to_owned);
    let found = local.runtime.documents(&paths, 1000).await.unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|document| (document.path.as_str(), document.text.as_str())).collect();
    let wanted = [("m/a.md", "a"), ("m/b.md", "b"), ("m/deep/er/c.md", "c"), ("m/latin", "caf"), ("AGENTS.md", "agents")];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn documents_keep_within_their_limit_and_within_the_workspace() {
    let local = local(Isolation::Auto).await;
    let outside = local.workspace.parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret.md"), "secret").unwrap();
    let m = local.workspace.join("m");
    std::fs::create_dir(&m).unwrap();
    symlink(outside.join("secret.md"), m.join("a.md")).unwrap();
    symlink(&outside, m.join("b")).unwrap();
    symlink("..", m.join("c")).unwrap();
    symlink("d.md", m.join("e.md")).unwrap();
    std::fs::write(m.join("d.md"), "12345").unwrap();
    std::fs::write(m.join("f.md"), "123456789").unwrap();
    std::fs::write(m.join("g.md"), "123").unwrap();
    nix::unistd::mkfifo(&m.join("h.md"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let paths = ["m", "../outside", "/etc/passwd", "m/../../outside/secret.md"].map(str::to_owned);
    let found = local.runtime.documents(&paths, 10).await.unwrap();
    let texts: Vec<&str> = found.iter().map(|document| document.text.as_str()).collect();
    assert_eq!(texts, ["12345", "123"], "{found:?}");
    local.runtime.release().await.unwrap();
    assert!(matches!(local.runtime.documents(&paths, 10).await, Err(RuntimeError::Lost(_))));
}
