//! What the agent can rely on of its Python interpreter.

use rekindle::engine::ports::Timeout;
use rekindle::host::runtime::local::{Isolation, LocalOptions};
use rekindle::session::action::RunIpython;
use rekindle::session::{Action, Extras};
use serde_json::json;

use super::runtime_support::{Local, PATIENT, isolations, local, local_with, within};

fn cell(code: &str) -> RunIpython {
    serde_json::from_value(json!({ "code": code, "include_extra": false })).unwrap()
}

async fn py_within(local: &Local, code: &str, timeout: Timeout) -> String {
    let observation = local.execute(Action::RunIpython(cell(code)), timeout).await;
    assert!(matches!(observation.extras, Extras::RunIpython(_)), "{observation:?}");
    observation.content
}

async fn py(local: &Local, code: &str) -> String {
    py_within(local, code, PATIENT).await
}

#[tokio::test]
async fn variables_live_on_and_the_last_value_is_told() {
    for isolation in isolations() {
        let local = local(isolation).await;
        assert_eq!(py(&local, "x = 40\ndef f(): return x + 2").await, "[Code executed successfully with no output]");
        assert_eq!(py(&local, "print('sum'); f()").await, "sum\n42");
        assert_eq!(
            py(&local, "import os, subprocess\nsubprocess.call(['echo', 'grüße'])\nos.getcwd()").await,
            "grüße\n'/workspace'"
        );
        assert_eq!(py(&local, "open('/workspace/f', 'w').write('a')").await, "1");
        assert_eq!(local.ok("cat /workspace/f").await, "a");
        assert_eq!(py(&local, "import asyncio\nawait asyncio.sleep(0, 7)").await, "7");
        assert_eq!(py(&local, "!echo from a shell").await, "from a shell");
    }
}

#[tokio::test]
async fn the_interpreter_follows_the_shell_and_tells_where_it_is() {
    let local = local(Isolation::Auto).await;
    local.ok("mkdir d && cd d").await;
    let told =
        local.execute(Action::RunIpython(RunIpython { include_extra: true, ..cell("import os; os.getcwd()") }), PATIENT).await;
    let mut lines = told.content.lines();
    assert_eq!(lines.next(), Some("'/workspace/d'"));
    assert_eq!(lines.next(), Some("[Jupyter current working directory: /workspace/d]"));
    let interpreter = lines.next().unwrap();
    assert!(interpreter.starts_with("[Jupyter Python interpreter: /"), "{interpreter}");
}

#[tokio::test]
async fn errors_read_as_they_do_in_a_notebook() {
    let local = local(Isolation::Auto).await;
    let text = py(&local, "def f(n):\n    return 1 / n\n\nf(0)").await;
    let head = format!(
        "{}\nZeroDivisionError                         Traceback (most recent call last)\nCell In[1], line 4\n",
        "-".repeat(75)
    );
    assert!(text.starts_with(&head), "{text}");
    assert!(
        text.contains("----> 4 f(0)") && text.contains("Cell In[1], line 2, in f") && text.contains("----> 2     return 1 / n"),
        "{text}"
    );
    assert!(text.ends_with("\nZeroDivisionError: division by zero"), "{text}");
    assert!(!text.contains("rekindle"), "{text}");
    let text = py(&local, "print('hello").await;
    assert_eq!(
        text,
        "  Cell In[2], line 1\n    print('hello\n          ^\nSyntaxError: unterminated string literal (detected at line 1)"
    );
    assert_eq!(py(&local, "'alive'").await, "'alive'");
}

#[tokio::test]
async fn a_cell_past_its_time_is_interrupted_and_its_variables_stay() {
    for isolation in isolations() {
        let local = local(isolation).await;
        py(&local, "x = 1").await;
        let text = py_within(&local, "import time\nprint('begun')\ntime.sleep(300)", within(800, 60_000)).await;
        assert!(
            text.starts_with("begun\n[Execution timed out (0.8 seconds).]\n") && text.ends_with("KeyboardInterrupt:"),
            "{text}"
        );
        assert_eq!(py(&local, "x").await, "1", "{isolation:?}");
    }
}

#[tokio::test]
async fn an_interpreter_that_does_not_stop_or_dies_is_replaced() {
    for isolation in isolations() {
        let local = local(isolation).await;
        let deaf = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass";
        let text = py_within(&local, deaf, within(800, 60_000)).await;
        assert!(text.contains("It was ended and will be restarted; its variables are gone.]"), "{text}");
        assert_eq!(py(&local, "x = 5\nx").await, "5");
        let text = py(&local, "print('last words')\nimport os\nos._exit(3)").await;
        assert_eq!(text, "last words\n[The interpreter ended with exit code 3. It will be restarted; its variables are gone.]");
        assert!(py(&local, "x").await.contains("NameError"), "{isolation:?}");
    }
}

#[tokio::test]
async fn what_was_to_be_run_first_is_run_once() {
    let local = local(Isolation::Auto).await;
    let first = |code: &str| {
        Action::RunIpython(RunIpython { kernel_init_code: "print('quiet'); n = globals().get('n', 0) + 1".into(), ..cell(code) })
    };
    assert_eq!(local.execute(first("n"), PATIENT).await.content, "1");
    assert_eq!(local.execute(first("n"), PATIENT).await.content, "1");
}

#[tokio::test]
async fn a_cell_may_flood_and_be_long() {
    let local = local(Isolation::Auto).await;
    let text = py(&local, "print('x' * 20_000_000)\n'end'").await;
    assert!(text.ends_with("\n'end'") && text.len() < 31_000, "{}", text.len());
    let long = format!("s = '{}'\nlen(s)", "y".repeat(1 << 20));
    assert_eq!(py(&local, &long).await, "1048576");
}

#[tokio::test]
async fn a_machine_without_python_says_so() {
    let tools = tempfile::tempdir().unwrap();
    for tool in ["bash", "sh", "setsid", "cat", "grep"] {
        let real =
            ["/usr/bin", "/bin"].iter().map(|dir| std::path::Path::new(dir).join(tool)).find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(real, tools.path().join(tool)).unwrap();
    }
    let environment = vec![("PATH".to_owned(), tools.path().to_str().unwrap().to_owned())];
    let local = local_with(LocalOptions { isolation: Isolation::Plain, environment }).await;
    let observation = local.execute(Action::RunIpython(cell("1")), PATIENT).await;
    assert!(matches!(observation.extras, Extras::Error(_)));
    assert!(
        observation.content.starts_with("Python cells cannot be run: ") && observation.content.contains("python3"),
        "{}",
        observation.content
    );
    assert_eq!(local.ok("echo fine").await, "fine");
}
