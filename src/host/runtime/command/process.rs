//! The processes of a launcher: started without a shell, found again by a mark in their environment, and ended in any case.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::host::runtime::remote::API_KEY_VARIABLE;
use crate::private;

/// The variable that holds the mark.
const MARK_VARIABLE: &str = "REKINDLE_LAUNCHED";
/// How long the words that end it may take.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// How long processes have to end by themselves, and then how long to be gone.
const END_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How much of what was written last is told, in bytes.
const TAIL_MAX: u64 = 1500;
/// How much is kept of what is written, in bytes.
const LOG_MAX: u64 = 1024 * 1024;

/// A launcher that was started here.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    key: String,
}

impl Process {
    /// Starts `words`.
    pub(super) async fn start(words: &[String], key: &str, mark: &str, log: PathBuf) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("the launcher has no words"))?;
        // A file, since a pipe would end with this engine, and what is launched may outlive it.
        let _ = fs::remove_file(&log);
        let file = private::options().append(true).create_new(true).open(&log)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env(API_KEY_VARIABLE, key)
            .env(MARK_VARIABLE, mark)
            // Models' keys are nothing for it.
            .env_remove("OPENAI_API_KEY")
            .env_remove("ANTHROPIC_API_KEY")
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            // So that a Ctrl-C at the engine's terminal does not end the session.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{program} cannot be started: {error}")))?;
        if let Some(mut input) = child.stdin.take() {
            // Whoever does not read it has it from its environment. It fits into the pipe, so nobody is waited for.
            let _ = input.write_all(format!("{key}\n").as_bytes()).await;
        }
        Ok(Self { child, log, key: key.to_owned() })
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it wrote last, in one line and without the key.
    pub(super) fn tail(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_MAX)))?;
            let mut bytes = Vec::new();
            file.take(TAIL_MAX).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default().replace(&self.key, "***");
        let printable = |line: &str| line.chars().filter(|char| !char.is_control()).collect::<String>();
        text.lines().map(printable).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("; ")
    }
}

/// Keeps the log at `path` short as long as it is there.
pub(super) async fn keep_short(path: PathBuf) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if length > LOG_MAX {
            // It is appended to, so that this leaves no hole.
            let _ = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0));
        }
    }
}

/// The processes that carry the mark and have not ended.
pub(super) fn marked(mark: &str) -> io::Result<Vec<Pid>> {
    let variable = format!("{MARK_VARIABLE}={mark}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Another user's cannot be read, and is none of ours.
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|each| each == variable.as_bytes()) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Runs the words that end what was launched, then ends every process that carries the mark. Waits.
///
/// # Errors
/// When a process cannot be ended.
pub(super) fn end(mark: &str, stop: &[String]) -> io::Result<()> {
    self::stop(stop);
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let deadline = Instant::now() + END_WAIT;
        loop {
            // Those that were started meanwhile, too.
            let left = marked(mark)?;
            if left.is_empty() {
                return Ok(());
            }
            for pid in left {
                let _ = kill(pid, signal);
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "processes of a launcher cannot be ended"))
}

/// Runs the words that end what was launched; that they fail is no more than worth a word. Waits.
pub(super) fn stop(words: &[String]) {
    if let Some((program, arguments)) = words.split_first()
        && let Err(error) = run_briefly(program, arguments)
    {
        tracing::warn!(%error, program, "what a launcher has started could not be ended by its own words");
    }
}

fn run_briefly(program: &str, arguments: &[String]) -> io::Result<()> {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let deadline = Instant::now() + STOP_WAIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) };
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not done within {} s", STOP_WAIT.as_secs())));
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether a program of this name can be started.
pub(super) fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|directory| directory.join(program).is_file())
}
