//! The real program, killed at every single write and flush of its first import, which also makes the store.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// More writes than the import makes; a test fails when it is not.
const WRITES_MAX: usize = 400;

fn import(url: &str) -> Command {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(["--store", url, "import"]).arg(recording).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}); the tests need strace: apt-get install strace"))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Kills the import at its `n`th call, imports again, and says whether the call came at all.
fn killed_at(call: &str, n: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("log.db").display());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
    strace.arg("-e").arg(format!("inject={call}:signal=KILL:when={n}"));
    let victim = import(&url);
    strace.arg(victim.get_program()).args(victim.get_args()).stdin(Stdio::null());
    let came = !run(strace).status.success();
    let again = run(import(&url));
    assert!(again.status.success(), "after a kill at {call} {n}: {}", text(&again));
    let mut verify = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    verify.args(["--store", &url, "verify", "--all"]);
    let verified = run(verify);
    assert!(verified.status.success(), "after a kill at {call} {n}: {}", text(&verified));
    let mut list = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    list.args(["--store", &url, "-o", "ndjson", "ls"]);
    let listed = text(&run(list));
    assert_eq!(listed.lines().filter(|line| line.contains("\"imported\"")).count(), 1, "after a kill at {call} {n}: {listed}");
    came
}

fn killed_at_every(call: &str) {
    let first_missing = (1..WRITES_MAX).find(|n| !killed_at(call, *n));
    assert!(first_missing.expect("the import ends before the last of them") > 2, "{call} was seen");
}

#[test]
fn an_import_killed_at_any_write_is_whole_once_it_is_repeated() {
    killed_at_every("pwrite64");
}

#[test]
fn an_import_killed_at_any_flush_is_whole_once_it_is_repeated() {
    killed_at_every("fsync,fdatasync");
}
