//! Nothing that a session has started outlives it, however it or its engine ends.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rekindle::engine::ports::{RuntimeError, Runtimes};
use rekindle::host::runtime::local::{Isolation, LocalRuntimes};
use rekindle::session::action::RunIpython;
use rekindle::session::{Action, RuntimeSpec, Sandbox};
use serde_json::json;

use super::runtime_support::{PATIENT, eventually, isolations, local, marked, options, request, run, within};

/// Starts everything that is known to outlive a shell.
const SURVIVORS: &str = "sleep 301 & nohup sleep 302 >/dev/null 2>&1 & setsid sleep 303 >/dev/null 2>&1 & \
    (setsid bash -c 'trap \"\" HUP TERM INT; sleep 304 & sleep 305' >/dev/null 2>&1 &) ; disown -a; echo started";

const VICTIM: &str = "REKINDLE_TEST_VICTIM";

/// Waits until `count` processes carry the mark: the shell goes on before what it has started has become the other program, and
/// on the way there a process shows no environment for a moment.
fn all_have_started(name: &str, count: usize) {
    eventually("all have started", || (marked(name).len() >= count).then_some(()));
}

/// Ends an engine also when the test fails, so that nothing outlives it.
struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn release_ends_everything_and_can_be_repeated() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok(SURVIVORS).await;
        let cell: RunIpython =
            serde_json::from_value(json!({ "code": "import subprocess; p = subprocess.Popen(['sleep', '306'])" })).unwrap();
        local.execute(Action::RunIpython(cell), PATIENT).await;
        local.execute(Action::Run(run("sleep 307")), within(60_000, 100)).await;
        all_have_started(&local.name, 6);
        local.runtime.release().await.unwrap();
        assert_eq!(marked(&local.name), Vec::<String>::new(), "{isolation:?}");
        local.runtime.release().await.unwrap();
        assert!(matches!(local.try_execute(Action::Run(run("true")), PATIENT).await, Err(RuntimeError::Lost(_))));
    }
}

#[tokio::test]
async fn release_does_not_wait_for_the_command_that_runs() {
    for isolation in isolations() {
        let local = local(isolation).await;
        let begun = Instant::now();
        let (running, ()) = tokio::join!(local.try_execute(Action::Run(run("touch begun; sleep 300")), PATIENT), async {
            while !local.workspace.join("begun").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            local.runtime.release().await.unwrap();
        });
        assert!(matches!(running, Err(RuntimeError::Lost(_))), "{running:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(marked(&local.name), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_runtime_that_is_dropped_ends_everything() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok(SURVIVORS).await;
        let name = local.name.clone();
        drop(local);
        eventually("all have ended", || marked(&name).is_empty().then_some(()));
    }
}

/// The ways that a session is held here, by name; one is without the programs that end its processes in its own PATH.
fn holds() -> Vec<&'static str> {
    let mut holds = vec!["plain", "bare"];
    if isolations().contains(&Isolation::Namespaces) {
        holds.push("namespaces");
        let is_there = Command::new("bwrap").arg("--version").output().is_ok_and(|output| output.status.success());
        holds.extend(is_there.then_some("bubblewrap"));
    }
    holds
}

#[test]
fn a_setsid_child_dies_with_an_engine_that_was_killed() {
    for isolation in holds() {
        let directory = tempfile::tempdir().unwrap();
        let name = format!("victim-{}", uuid::Uuid::now_v7());
        let engine = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runtime_containment::an_engine_that_waits_to_be_killed", "--nocapture", "--include-ignored"])
            .env(VICTIM, format!("{isolation} {name} {}", directory.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut engine = Engine(engine);
        let started = BufReader::new(engine.0.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("victim is ready"));
        assert!(started);
        all_have_started(&name, 5);
        let own = own_directories(&name);
        assert_eq!(own.is_empty(), matches!(isolation, "namespaces" | "bubblewrap"), "{isolation}: {own:?}");
        drop(engine);
        eventually(&format!("all of {isolation} have ended"), || marked(&name).is_empty().then_some(()));
        eventually("what was theirs on the machine is gone", || own.iter().all(|own| !own.exists()).then_some(()));
    }
}

/// The directories outside of the workspace that the processes of a runtime have for themselves.
fn own_directories(name: &str) -> Vec<PathBuf> {
    let mark = format!("REKINDLE_SESSION={name}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let variables: Vec<&str> = environment.split(|byte| *byte == 0).filter_map(|one| std::str::from_utf8(one).ok()).collect();
        if variables.contains(&mark.as_str()) {
            found.extend(
                variables.iter().filter_map(|one| one.strip_prefix("TMPDIR=")).map(PathBuf::from).filter(|own| own.exists()),
            );
        }
    }
    found
}

#[test]
#[ignore = "is the engine that the test above kills"]
fn an_engine_that_waits_to_be_killed() {
    let Ok(victim) = std::env::var(VICTIM) else { return };
    let [isolation, name, directory] = victim.split(' ').collect::<Vec<_>>()[..] else { panic!("{victim}") };
    let directory = PathBuf::from(directory);
    let mut options = options(if matches!(isolation, "plain" | "bare") { Isolation::Plain } else { Isolation::Namespaces });
    if isolation == "bare" {
        let tools = directory.join("tools");
        std::fs::create_dir(&tools).unwrap();
        for tool in ["bash", "sh", "setsid", "sleep", "nohup"] {
            let real =
                ["/usr/bin", "/bin"].iter().map(|at| std::path::Path::new(at).join(tool)).find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(real, tools.join(tool)).unwrap();
        }
        options.environment = vec![("PATH".into(), tools.display().to_string())];
    }
    let mut asked = request(name, directory.join("ws"));
    if isolation == "bubblewrap" {
        asked.runtime = RuntimeSpec::Local { sandbox: Sandbox::Bubblewrap, network: false };
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let made = LocalRuntimes::new(options).provision(asked).await.unwrap();
        let told = made.runtime.execute(&Action::Run(run(SURVIVORS)), PATIENT).await.unwrap();
        assert!(told.content.contains("started"));
        println!("victim is ready");
        // In the middle of a command, as an engine usually is when it is killed.
        made.runtime.execute(&Action::Run(run("sleep 308")), PATIENT).await.unwrap();
    });
}

#[tokio::test]
async fn other_sessions_go_on_when_one_ends() {
    for isolation in isolations() {
        let (one, two) = (local(isolation).await, local(isolation).await);
        two.ok("sleep 309 & echo").await;
        one.runtime.release().await.unwrap();
        assert_eq!(two.ok("jobs | grep -c Running").await, "1");
    }
}

#[test]
fn an_engine_in_the_background_can_still_interrupt() {
    // What a script starts with `&` ignores the interrupt from the keyboard.
    let engine = Command::new("sh")
        .args(["-c", "trap '' INT QUIT; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "runtime_shell::keys_interrupt_suspend_and_end_input",
            "runtime_shell::a_command_past_its_time_is_interrupted",
        ])
        .output()
        .unwrap();
    assert!(engine.status.success(), "{}", String::from_utf8_lossy(&engine.stdout));
    assert!(String::from_utf8_lossy(&engine.stdout).contains("2 passed"));
}

const CROWD: &str = "REKINDLE_TEST_CROWD";

#[test]
fn twelve_sessions_at_once_are_kept_apart_and_leave_nothing_behind() {
    // In a process of its own, as descriptors and threads are counted.
    let engine = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runtime_containment::an_engine_with_twelve_sessions", "--include-ignored"])
        .env(CROWD, "1")
        .output()
        .unwrap();
    assert!(engine.status.success(), "{}{}", String::from_utf8_lossy(&engine.stdout), String::from_utf8_lossy(&engine.stderr));
}

#[tokio::test]
#[ignore = "is the engine that the test above looks at"]
async fn an_engine_with_twelve_sessions() {
    if std::env::var(CROWD).is_err() {
        return;
    }
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let children = || {
        let of_thread = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        std::fs::read_dir("/proc/self/task").unwrap().flatten().map(of_thread).collect::<String>()
    };
    // What is made once and kept.
    local(Isolation::Plain).await.runtime.release().await.unwrap();
    for isolation in isolations() {
        let session_threads = || {
            let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            std::fs::read_dir("/proc/self/task").unwrap().flatten().map(name).filter(|name| name.starts_with("rekindle-")).count()
        };
        eventually("the first session's thread has ended", || (session_threads() == 0).then_some(()));
        let before = count("fd");
        let sessions = futures_util::future::join_all((0..12).map(|_| local(isolation))).await;
        let filled = sessions.iter().enumerate().map(|(at, local)| async move {
            local
                .ok(&format!(
                    "echo {at} > /workspace/f; export N={at}; f() {{ echo f{at}; }}; setsid sleep 310 & sleep 311 & disown -a"
                ))
                .await;
            let cell: RunIpython = serde_json::from_value(json!({ "code": format!("n = {at}") })).unwrap();
            local.execute(Action::RunIpython(cell), PATIENT).await;
        });
        futures_util::future::join_all(filled).await;
        let asked = sessions.iter().enumerate().map(|(at, local)| async move {
            assert_eq!(local.ok("cat /workspace/f; echo $N; f; ls").await, format!("{at}\n{at}\nf{at}\nf"));
            let cell: RunIpython = serde_json::from_value(json!({ "code": "n", "include_extra": false })).unwrap();
            assert_eq!(local.execute(Action::RunIpython(cell), PATIENT).await.content, at.to_string());
        });
        futures_util::future::join_all(asked).await;
        let released = sessions.iter().map(|local| async move {
            local.runtime.release().await.unwrap();
            assert_eq!(marked(&local.name), Vec::<String>::new());
        });
        futures_util::future::join_all(released).await;
        drop(sessions);
        eventually("threads have ended", || (session_threads() == 0).then_some(()));
        eventually("no descriptor and no ended child is left", || (count("fd") == before && children().is_empty()).then_some(()));
    }
}
