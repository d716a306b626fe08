//! What the agent can rely on of its shell.

use std::time::{Duration, Instant};

use rekindle::engine::ports::Runtimes;
use rekindle::host::runtime::local::{Isolation, LocalOptions, LocalRuntimes};
use rekindle::session::action::Run;
use rekindle::session::{Action, Extras, Observation};

use super::runtime_support::{
    Local, PATIENT, eventually, input, isolations, local, local_with, metadata, request, run, told, within,
};

const GOES_ON: &str = "You may wait longer to see additional output by sending empty command '', send other commands to interact with \
    the current process, send keys to interrupt/kill the command, or use the timeout parameter in execute_bash for future commands.";

/// Begins a command that goes on, and waits until it has said `word`.
async fn begin(local: &Local, command: &str, word: &str) {
    let mut heard = String::new();
    let mut next = Action::Run(run(command));
    while !heard.contains(word) {
        let observation = local.execute(next, within(60_000, 100)).await;
        assert_eq!(told(&observation).0, -1, "{observation:?}");
        heard.push_str(&observation.content);
        next = Action::Run(run(""));
    }
}

/// A program that says so and does not listen to the interrupt.
const DEAF: &str = "bash -c 'trap \"\" INT; echo deaf; while :; do sleep 0.1; done'";

/// What is told of a command with something deaf in it once its time is over.
async fn past_its_time(local: &Local, command: &str) -> Observation {
    begin(local, command, "deaf").await;
    local.execute(Action::Run(run("")), within(300, 60_000)).await
}

#[tokio::test]
async fn directory_environment_and_functions_live_on() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("mkdir -p 'a dir/b' && cd 'a dir/b' && export X=1 y=2 && f() { echo \"$X$y$1\"; }").await;
        let observation = local.sh("f 3; pwd").await;
        assert_eq!(told(&observation), (0, "123\n/workspace/a dir/b"), "{isolation:?}");
        let metadata = metadata(&observation);
        assert_eq!(metadata.working_dir.as_deref(), Some("/workspace/a dir/b"));
        assert_eq!(metadata.suffix, "\n[The command completed with exit code 0.]");
        assert!(metadata.username.is_some() && metadata.hostname.is_some());
        assert_eq!(local.ok("(exit 7); echo $?; false || true").await, "7");
        assert_eq!(told(&local.sh("(exit 9)").await).0, 9);
        assert_eq!(local.ok("echo $?").await, "9", "what the last command left is there");
    }
}

#[tokio::test]
async fn scripts_of_any_shape_run() {
    let local = local(Isolation::Auto).await;
    assert_eq!(local.ok("echo one\necho 'two\nthree'\nfor i in 4 5; do\n  echo $i\ndone").await, "one\ntwo\nthree\n4\n5");
    assert_eq!(local.ok("cat <<'EOF'\n$HOME `x` \\n \"q\" 'q'\nEOF").await, "$HOME `x` \\n \"q\" 'q'");
    assert_eq!(local.ok("echo 'grüße 🦀' ; printf '%s' \"it's !important\"").await, "grüße 🦀\nit's !important");
    let broken = local.sh("if then ((").await;
    assert_eq!(told(&broken).0, 2);
    assert!(broken.content.contains("syntax error"), "{}", broken.content);
    assert_eq!(local.ok("printf 'a\\0b\\377c'").await, "ab\u{fffd}c");
    assert_eq!(told(&local.sh("no-such-program").await).0, 127);
    assert_eq!(told(&local.sh("bash -c 'exit 300'").await).0, 44);
}

#[tokio::test]
async fn a_command_of_a_megabyte_runs() {
    let local = local(Isolation::Auto).await;
    let text = "x".repeat(1 << 20);
    assert_eq!(local.ok(&format!("v='{text}'; echo ${{#v}}")).await, "1048576");
    assert_eq!(local.ok("unset v; /bin/true && echo still").await, "still");
}

#[tokio::test]
async fn a_flood_is_cut_in_the_middle() {
    let local = local(Isolation::Auto).await;
    let begun = Instant::now();
    let text = local.ok("echo first; head -c 50000000 /dev/zero | tr '\\0' x; echo; echo last").await;
    assert!(text.starts_with("first\nxxx") && text.ends_with("xxx\nlast"), "{}", text.len());
    assert_eq!(text.matches("\n[... Observation truncated due to length ...]\n").count(), 1);
    assert!(text.len() < 31_000);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_background_job_returns_at_once_and_is_heard_later() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("mkfifo gate; (cat gate; touch done) & echo started").await;
        let text = local.ok("echo late > gate; while [ ! -e done ]; do sleep 0.01; done; echo now").await;
        assert!(text.contains("late") && text.ends_with("now"), "{text}");
        // A daemon that holds the output open does not hold the shell up.
        let begun = Instant::now();
        local.ok("setsid sleep 300 & disown; nohup sleep 300 & echo ok").await;
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_program_is_typed_at() {
    for isolation in isolations() {
        let local = local(isolation).await;
        let quick = within(20_000, 300);
        let asked = local.execute(Action::Run(run("read -p 'name? ' n; echo \"hello $n\"")), quick).await;
        assert_eq!(told(&asked), (-1, "name?"));
        assert_eq!(metadata(&asked).suffix, format!("\n[The command has no new output after 0.3 seconds. {GOES_ON}]"));
        let refused = local.execute(Action::Run(run("ls")), quick).await;
        assert_eq!(told(&refused), (-1, ""));
        assert_eq!(metadata(&refused).prefix, "[Below is the output of the previous command.]\n");
        assert!(
            metadata(&refused)
                .suffix
                .starts_with("\n[Your command \"ls\" is NOT executed. The previous command is still running")
        );
        let answered = local.execute(input("Ann"), quick).await;
        assert_eq!(told(&answered), (0, "hello Ann"));
        assert_eq!(local.ok("echo free").await, "free");
    }
}

#[tokio::test]
async fn keys_interrupt_suspend_and_end_input() {
    let local = local(Isolation::Auto).await;
    let quick = within(20_000, 500);
    local.execute(Action::Run(run("sleep 300")), quick).await;
    let ended = local.execute(input("C-c"), PATIENT).await;
    assert_eq!(told(&ended).0, 130);
    assert_eq!(metadata(&ended).suffix, "\n[The command completed with exit code 130. CTRL+C was sent.]");
    local.execute(Action::Run(run("cat")), quick).await;
    assert_eq!(local.execute(input("echo me"), quick).await.content, "echo me");
    assert_eq!(told(&local.execute(input("C-d"), PATIENT).await).0, 0);
    local.execute(Action::Run(run("sleep 300")), quick).await;
    let stopped = local.execute(input("C-z"), PATIENT).await;
    assert_eq!(told(&stopped).0, 148);
    assert_eq!(local.ok("jobs | grep -c Stopped").await, "1");
}

#[tokio::test]
async fn with_nothing_running_there_is_nothing_to_ask_or_type_at() {
    let local = local(Isolation::Auto).await;
    let empty = local.sh("").await;
    assert_eq!(told(&empty), (-1, "ERROR: No previous running command to retrieve logs from."));
    let typed = local.execute(input("y"), PATIENT).await;
    assert_eq!(told(&typed), (-1, "ERROR: No previous running command to interact with."));
}

#[tokio::test]
async fn an_empty_command_asks_for_more_output() {
    let local = local(Isolation::Auto).await;
    let quick = within(20_000, 300);
    let first = local.execute(Action::Run(run("mkfifo gate; echo one; cat gate; echo two; cat gate; echo three")), quick).await;
    assert_eq!(told(&first), (-1, "one"));
    let gate = local.workspace.join("gate");
    std::fs::write(&gate, "").unwrap();
    let second = local.execute(Action::Run(run("")), quick).await;
    assert_eq!(told(&second), (-1, "two"));
    assert_eq!(metadata(&second).prefix, "[Below is the output of the previous command.]\n");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(told(&local.sh("").await), (0, "three"));
}

#[tokio::test]
async fn what_ended_while_nobody_asked_is_told_and_the_next_command_runs() {
    let local = local(Isolation::Auto).await;
    let quick = within(20_000, 200);
    local.execute(Action::Run(run("mkfifo gate; cat gate; echo over; touch over")), quick).await;
    std::fs::write(local.workspace.join("gate"), "").unwrap();
    eventually("the command ends", || local.workspace.join("over").exists().then_some(()));
    // The record may be a moment behind the file; the empty command waits for it.
    assert_eq!(told(&local.sh("").await), (0, "over"));
    assert_eq!(local.ok("echo next").await, "next");
}

#[tokio::test]
async fn a_command_past_its_time_is_interrupted() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("X=kept").await;
        let late = local.execute(Action::Run(run("echo begun; sleep 300; echo never")), within(800, 60_000)).await;
        assert_eq!(told(&late), (-1, "begun"));
        let suffix = &metadata(&late).suffix;
        assert!(suffix.starts_with(&format!("\n[The command timed out after 0.8 seconds. {GOES_ON}]")), "{suffix}");
        assert!(suffix.ends_with("[The command was interrupted and ended with exit code 130.]"), "{suffix}");
        assert_eq!(local.ok("echo $X").await, "kept");
        let looping = local.execute(Action::Run(run("while :; do :; done")), within(300, 60_000)).await;
        assert_eq!(told(&looping).0, -1);
        assert_eq!(local.ok("echo $X").await, "kept");
    }
}

#[tokio::test]
async fn a_command_that_ignores_the_interrupt_is_killed() {
    let local = local(Isolation::Auto).await;
    local.ok("X=kept").await;
    let deaf = past_its_time(&local, DEAF).await;
    assert_eq!(told(&deaf).0, -1);
    assert!(metadata(&deaf).suffix.ends_with("ended with exit code 137.]"), "{}", metadata(&deaf).suffix);
    assert_eq!(local.ok("echo $X").await, "kept");
}

#[tokio::test]
async fn how_a_killed_program_ended_is_told_also_by_a_shell_that_takes_its_time() {
    let local = local(Isolation::Auto).await;
    local.ok("mkfifo never; exec 9<>never; slowly() { local code=$?; read -t 0.1 -u 9; return $code; }").await;
    let deaf = past_its_time(&local, &format!("{DEAF}; slowly")).await;
    assert!(metadata(&deaf).suffix.ends_with("ended with exit code 137.]"), "{}", metadata(&deaf).suffix);
}

#[tokio::test]
async fn a_shell_that_ignores_the_interrupt_is_replaced() {
    let local = local(Isolation::Auto).await;
    local.ok("mkdir d; cd d").await;
    let deaf = past_its_time(&local, "trap '' INT; echo deaf; while :; do :; done").await;
    assert_eq!(told(&deaf).0, -1);
    assert!(metadata(&deaf).suffix.contains("It was restarted in /workspace/d;"), "{}", metadata(&deaf).suffix);
    assert_eq!(local.ok("pwd").await, "/workspace/d");
}

#[tokio::test]
async fn a_server_comes_back_by_the_quiet_time() {
    let local = local(Isolation::Auto).await;
    begin(&local, "python3 -u -m http.server 0", "Serving HTTP").await;
    let ended = local.execute(input("C-c"), PATIENT).await;
    assert_ne!(told(&ended).0, -1);
}

#[tokio::test]
async fn a_blocking_command_may_be_quiet() {
    let local = local(Isolation::Auto).await;
    let patient = Action::Run(Run { blocking: true, ..run("sleep 0.6; echo done") });
    assert_eq!(told(&local.execute(patient, within(30_000, 100)).await), (0, "done"));
}

#[tokio::test]
async fn a_command_that_ends_the_shell_is_told_so_and_the_next_one_runs() {
    for isolation in isolations() {
        let local = local(isolation).await;
        for (command, code) in [("exit 3", 3), ("set -e; false", 1), ("exec bash -c 'exit 5'", 5), ("kill -9 $$", 137)] {
            local.ok("mkdir -p /workspace/d && cd /workspace/d && X=1").await;
            let ended = local.sh(command).await;
            assert_eq!(told(&ended).0, code, "{command} {isolation:?} {ended:?}");
            let suffix = &metadata(&ended).suffix;
            assert!(
                suffix.contains(&format!("exit code {code}.]\n[The command ended the shell. It was restarted in /workspace/d;")),
                "{suffix}"
            );
            assert_eq!(local.ok("echo \"$PWD:$X\"").await, "/workspace/d:");
        }
    }
}

#[tokio::test]
async fn a_shell_restarted_in_a_directory_that_is_gone_begins_above_it() {
    let local = local(Isolation::Auto).await;
    local.ok("mkdir -p a/b && cd a/b && rm -r ../b").await;
    local.sh("exit 1").await;
    assert_eq!(local.ok("pwd").await, "/workspace/a");
}

#[tokio::test]
async fn a_hostile_command_leaves_a_working_shell() {
    for isolation in isolations() {
        let local = local(isolation).await;
        for command in [
            "exec 198<&- 199>&-",
            "unset PROMPT_COMMAND",
            "PROMPT_COMMAND='echo prompt'; PS1='(venv) $ '",
            "PROMPT_COMMAND=(a b); PROMPT_COMMAND+=(c)",
            "trap 'echo bye' EXIT",
            "trap 'true' DEBUG",
            "trap - DEBUG",
            "stty -echo raw 2>/dev/null; stty -icanon",
            "set -u",
            "set -o pipefail",
            "printf '\\1\\0\\0\\1 1\\0'",
            "echo junk > /dev/tty",
            "IFS=abc; shopt -s extglob; set -f; set +f",
        ] {
            assert_eq!(told(&local.sh(command).await).0, 0, "{command}");
            assert_eq!(local.ok("unset IFS; echo alive").await, "alive", "{command} {isolation:?}");
        }
    }
}

#[tokio::test]
async fn typing_more_than_a_program_reads_does_not_hang() {
    let local = local(Isolation::Auto).await;
    local.execute(Action::Run(run("sleep 300")), within(20_000, 200)).await;
    let line = format!("{}\n", "y".repeat(1000)).repeat(200);
    local.execute(input(&line), within(20_000, 200)).await;
    assert_eq!(told(&local.execute(input("C-c"), PATIENT).await).0, 130);
    assert_eq!(local.ok("echo alive").await, "alive");
}

#[tokio::test]
async fn a_static_command_runs_beside_the_shell() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("mkdir d; X=shell").await;
        let fixed = |command: &str| Action::Run(Run { is_static: true, cwd: Some("/workspace/d".into()), ..run(command) });
        let observation = local.execute(fixed("pwd; echo \"[$X]\"; exit 4"), PATIENT).await;
        assert_eq!(told(&observation), (4, "/workspace/d\n[]"));
        assert_eq!(local.ok("pwd").await, "/workspace");
        let late = local.execute(fixed("echo a; sleep 300"), within(1000, 60_000)).await;
        assert_eq!(told(&late), (-1, "a"));
    }
}

#[tokio::test]
async fn a_dropped_call_ends_its_command_and_the_next_one_runs() {
    let local = local(Isolation::Auto).await;
    let (command, forever) = (Action::Run(run("sleep 300; echo never")), PATIENT);
    let dropped = tokio::time::timeout(Duration::from_millis(300), local.runtime.execute(&command, forever)).await;
    assert!(dropped.is_err());
    assert_eq!(local.ok("echo next").await, "next");
}

#[tokio::test]
async fn calls_at_the_same_time_run_one_after_the_other() {
    let local = local(Isolation::Auto).await;
    let command = Action::Run(run("n=$(cat n 2>/dev/null || echo 0); sleep 0.01; echo $((n + 1)) > n"));
    let calls = (0..10).map(|_| local.runtime.execute(&command, PATIENT));
    for observation in futures_util::future::join_all(calls).await {
        assert_eq!(told(&observation.unwrap()).0, 0);
    }
    assert_eq!(local.ok("cat n").await, "10");
}

#[tokio::test]
async fn the_environment_is_plain_and_holds_no_key_of_the_engine() {
    let local = local(Isolation::Auto).await;
    let text = local.ok("env").await;
    for line in ["PAGER=cat", "GIT_PAGER=cat", "TERM=dumb", "PYTHONUNBUFFERED=1", &format!("REKINDLE_SESSION={}", local.name)] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    // Cargo's own variables stand for whatever the engine was started with.
    assert!(!text.contains("CARGO_PKG_NAME") && !text.contains("__rekindle"), "{text}");
}

#[tokio::test]
async fn what_no_runtime_does_is_said() {
    let local = local(Isolation::Plain).await;
    let browse: rekindle::session::action::Browse = serde_json::from_value(serde_json::json!({ "url": "http://x" })).unwrap();
    let observation = local.execute(Action::Browse(browse), PATIENT).await;
    assert_eq!(observation.content, "Action browse is not supported in the current runtime.");
    assert!(matches!(observation.extras, Extras::Error(_)));
}

#[tokio::test]
async fn a_shell_that_stops_itself_is_woken_or_replaced() {
    for isolation in isolations() {
        let local = local(isolation).await;
        let stopped = local.execute(Action::Run(run("kill -STOP $$")), within(500, 60_000)).await;
        assert!(metadata(&stopped).suffix.contains("timed out"), "{stopped:?}");
        assert_eq!(local.ok("echo alive").await, "alive");
        assert_eq!(told(&local.sh("exit 3").await).0, 3);
    }
}

#[tokio::test]
async fn a_shell_that_is_killed_between_two_commands_is_replaced() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("(while [ ! -e go ]; do sleep 0.01; done; kill -9 $$; touch gone) & disown").await;
        local.put("go", "");
        eventually("the shell is killed", || local.workspace.join("gone").exists().then_some(()));
        let told = local.ok("echo alive").await;
        assert!(told.ends_with("alive") && told.contains("[The shell had ended and was restarted"), "{told}");
    }
}

#[tokio::test]
async fn tracing_shows_the_command_and_little_else() {
    let local = local(Isolation::Auto).await;
    local.ok("set -x").await;
    let traced = local.ok("echo hi").await;
    assert!(traced.contains("+ echo hi\nhi"), "{traced}");
    assert!(!traced.contains("printf"), "{traced}");
}

#[tokio::test]
async fn a_directory_may_be_called_anything() {
    for isolation in isolations() {
        let local = local(isolation).await;
        for name in ["$'a\\x01b\\x02'", "$'line\\nbreak\\n'", "'*?[x]'", "'-n'", "'ü $HOME'", "$'\\xff'"] {
            local.ok(&format!("cd /workspace && mkdir -- {name} && cd -- {name}")).await;
            assert_eq!(local.ok("cd .. && pwd").await, "/workspace", "{name}");
        }
    }
}

#[tokio::test]
async fn a_long_heredoc_runs_without_a_directory_for_temporary_files() {
    for isolation in isolations() {
        let environment = vec![("TMPDIR".to_owned(), "/nowhere/at/all".to_owned())];
        let local = local_with(LocalOptions { isolation, environment }).await;
        let text = "grüße\n".repeat(20_000);
        assert_eq!(local.ok(&format!("cat <<'END' | wc -l\n{text}END")).await, "20000");
    }
}

#[tokio::test]
async fn a_command_inherits_no_descriptor_of_the_engine_or_of_another_session() {
    // What every child of this process has: its own three, the directory that is listed, and what the tests were started with.
    let plain = std::process::Command::new("ls").arg("/proc/self/fd").output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    for isolation in isolations() {
        let (one, two) = (local(isolation).await, local(isolation).await);
        for local in [&one, &two] {
            assert_eq!(local.ok("ls /proc/self/fd").await, plain.trim(), "{isolation:?}");
        }
        let fixed = Action::Run(Run { is_static: true, ..run("ls /proc/self/fd") });
        assert_eq!(one.execute(fixed, PATIENT).await.content, plain.trim(), "{isolation:?}");
    }
}

#[tokio::test]
async fn a_machine_without_bash_says_so_and_where_it_was_looked_for() {
    for isolation in [Isolation::Auto, Isolation::Plain] {
        let directory = tempfile::tempdir().unwrap();
        let environment = vec![("PATH".to_owned(), "/nowhere/at/all".to_owned())];
        let asked = request("no-bash", directory.path().join("ws"));
        let Err(error) = LocalRuntimes::new(LocalOptions { isolation, environment }).provision(asked).await else {
            panic!("there is a bash")
        };
        assert_eq!(
            error.to_string(),
            "the runtime is unavailable: there is no program bash in PATH (/nowhere/at/all); install it or correct PATH"
        );
    }
}

#[test]
fn an_engine_without_any_environment_has_a_working_shell() {
    // Neither HOME nor PATH nor a language.
    let engine = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runtime_shell::directory_environment_and_functions_live_on"])
        .env_clear()
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&engine.stdout).contains("1 passed"), "{}", String::from_utf8_lossy(&engine.stdout));
}
