//! Drives the real program in a home of its own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program, and a home that nobody else has.
pub struct Rig {
    pub home: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Rig {
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("rekindle/rekindle.db")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.args(args).current_dir(self.home.path()).stdin(Stdio::null());
        for name in
            ["XDG_RUNTIME_DIR", "REKINDLE_STORE", "REKINDLE_LOG", "REKINDLE_AUDIT_KEYS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]
        {
            command.env_remove(name);
        }
        for name in [
            "REKINDLE_SESSION_KEYS",
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "GITHUB_TOKEN",
            "GITLAB_TOKEN",
            "BITBUCKET_TOKEN",
            "REKINDLE_CONFIG",
        ] {
            command.env_remove(name);
        }
        command.env("XDG_DATA_HOME", self.home.path()).env("TMPDIR", self.home.path());
        command.env("REKINDLE_SECRETS", self.home.path().join("secrets.json")).env("XDG_CONFIG_HOME", self.home.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        Said::of(self.command(args))
    }

    /// Runs a line of shell as a person who pastes it does.
    pub fn paste(&self, line: &str) -> Said {
        self.through(&["sh", "-c", line], &[])
    }

    /// Runs the program with a program before it that changes its world.
    pub fn through(&self, before: &[&str], args: &[&str]) -> Said {
        let program = self.command(args);
        let mut command = Command::new(before[0]);
        command.args(&before[1..]);
        if !args.is_empty() {
            command.arg(program.get_program()).args(program.get_args());
        }
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.home.path()).stdin(Stdio::null());
        Said::of(command)
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{args:?}: {error}: {}", said.out))
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A recording of these commands, each with its output and exit code.
    pub fn recording(&self, name: &str, commands: &[(&str, &str, i64)]) -> String {
        self.write(name, recording(commands).to_string())
    }
}

/// Another process with an open transaction on the store.
pub struct Other(Child);

impl Other {
    /// Opens one with these statements, separated by semicolons.
    pub fn open(rig: &Rig, begin: &str) -> Self {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            [c.execute(each).fetchall() for each in sys.argv[2].split(';')]\n\
            print('open', flush=True)\n\
            sys.stdin.readline()\n\
            c.execute('rollback')\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(rig.store()).arg(begin).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is needed");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        Self(child)
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub fn end(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Said {
    pub fn of(mut command: Command) -> Self {
        let output = command.output();
        Self::of_output(output.unwrap_or_else(|error| panic!("{command:?} cannot be started, is it installed? {error}")))
    }

    pub fn of_output(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the command ended so and told why in one line that holds all of `words`.
    #[track_caller]
    pub fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.err.matches("error:").count(), 1, "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:?}");
        }
    }
}

pub fn recording(commands: &[(&str, &str, i64)]) -> Value {
    let stamp = |id: usize| format!("2025-01-01T00:00:{:02}.000001", id % 60);
    let mut events = vec![json!({
        "id": 0, "timestamp": stamp(0), "source": "user", "message": "Do it.", "action": "message",
        "args": {"content": "Do it.", "image_urls": null, "wait_for_response": false},
    })];
    for (command, output, exit_code) in commands {
        let id = events.len();
        events.push(json!({
            "id": id, "timestamp": stamp(id), "source": "agent", "message": "", "action": "run",
            "args": {"command": command, "thought": "", "blocking": false, "is_input": false, "hidden": false,
                     "confirmation_state": "confirmed"},
        }));
        events.push(json!({
            "id": id + 1, "timestamp": stamp(id + 1), "source": "agent", "message": "", "cause": id, "observation": "run",
            "content": output,
            "extras": {"command": command, "hidden": false, "metadata": {"exit_code": exit_code, "pid": -1}},
        }));
    }
    let id = events.len();
    events.push(json!({
        "id": id, "timestamp": stamp(id), "source": "agent", "message": "", "action": "finish",
        "args": {"final_thought": "Done.", "task_completed": "true", "outputs": {}, "thought": ""},
    }));
    Value::Array(events)
}

pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Waits until something is so; what waits for the world waits for a sign, not for a time.
#[track_caller]
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("never: {what}");
}
