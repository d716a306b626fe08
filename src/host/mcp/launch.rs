//! A server that is a program of this machine: started with a clean environment, watched by a warden, ended with all that it started.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::tail::Tail;

/// Watches over the server.
const WARDEN: &str =
    concat!(include_str!("../runtime/machine.sh"), include_str!("../runtime/sweep.sh"), include_str!("warden.sh"));
/// Where the warden has the pipe that only the engine holds open.
const GUARD_FD: i32 = 3;
/// Where the warden tells how far it has come.
const STATUS_FD: i32 = 5;
/// How long a namespace may take to be built.
const BUILD_WAIT: Duration = Duration::from_secs(20);
/// How long a server may take to end by itself once its input has ended.
const END_WAIT: Duration = Duration::from_secs(2);
/// How long the end of everything that it started may take.
const KILL_WAIT: Duration = Duration::from_secs(10);
/// How long the word about its end may take once its output has ended.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// How what a server starts is kept from outliving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// By namespaces of its own, in which the session's workspace is at `/workspace`; where there can be none, by a watchdog.
    #[default]
    Auto,
    /// By a watchdog, which finds processes by a mark in their environment.
    Plain,
}

/// What is started. Its environment holds secrets, so it is never shown.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) command: String,
    pub(super) args: Vec<String>,
    /// All of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// The session's directory on this machine.
    pub(super) workspace: PathBuf,
}

/// A server that was started, and the ends of its pipes.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
}

/// A running server. Dropping it ends everything that it started.
pub(super) struct Process {
    warden: Child,
    /// The warden acts when this is closed, however that comes about.
    guard: Option<PipeWriter>,
    /// How the server ended.
    ended: watch::Receiver<Option<String>>,
    said: Tail,
    note: Option<String>,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// In words, when neither namespaces nor a watchdog can be had.
    pub(super) async fn start(&self, isolation: Isolation) -> Result<Started, String> {
        if isolation == Isolation::Auto {
            match self.start_in(true).await {
                Ok(started) => return Ok(started),
                Err(why) => {
                    let mut started = self.start_in(false).await?;
                    started.process.note = Some(format!(
                        "it runs without namespaces, so that the workspace is not at /workspace for it but at {}: {why}",
                        self.workspace.display()
                    ));
                    return Ok(started);
                }
            }
        }
        self.start_in(false).await
    }

    async fn start_in(&self, namespaces: bool) -> Result<Started, String> {
        let cannot = |error: io::Error| format!("cannot start {}: {error}", self.command);
        let (guarded, guard) = io::pipe().map_err(cannot)?;
        let (status, told) = io::pipe().map_err(cannot)?;
        let mut warden = self.command(namespaces, guarded, told).map_err(cannot)?.spawn().map_err(cannot)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (warden.stdin.take(), warden.stdout.take(), warden.stderr.take()) else {
            return Err(format!("cannot start {}: it has no pipes", self.command));
        };
        let said = Tail::of(stderr);
        let status = pipe::Receiver::from_owned_fd(OwnedFd::from(status)).map_err(cannot)?;
        let mut status = BufReader::new(status).lines();
        match tokio::time::timeout(BUILD_WAIT, status.next_line()).await {
            Ok(Ok(Some(line))) if line == "ready" => {}
            Ok(_) => {
                // What it said comes a moment after its end.
                let _ = tokio::time::timeout(KILL_WAIT, warden.wait()).await;
                return Err(said.one_line().await.unwrap_or_else(|| "it ended at once".to_owned()));
            }
            Err(_) => return Err(format!("nothing was ready within {} s", BUILD_WAIT.as_secs())),
        }
        let (tell, ended) = watch::channel(None);
        tokio::spawn(follow(status, tell));
        Ok(Started { process: Process { warden, guard: Some(guard), ended, said, note: None }, stdin, stdout })
    }

    fn command(&self, namespaces: bool, guard: PipeReader, status: PipeWriter) -> io::Result<Command> {
        // A session of its own, so that no terminal of the engine reaches it.
        let mut command = std::process::Command::new("setsid");
        command.arg("--");
        if namespaces {
            command.arg("unshare");
            if !nix::unistd::geteuid().is_root() {
                command.args(["--user", "--map-current-user", "--keep-caps"]);
            }
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--"]);
        }
        command.args(["bash", "--noprofile", "--norc", "-c", WARDEN, "rekindle-warden"]);
        command.arg(if namespaces { "namespaces" } else { "plain" }).arg(&self.workspace).arg(mark()?);
        command.arg(&self.command);
        command.args(self.args.iter().map(|arg| if namespaces { OsString::from(arg) } else { self.on_this_machine(arg) }));
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value))).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mappings = vec![
            FdMapping { parent_fd: guard.into(), child_fd: GUARD_FD },
            FdMapping { parent_fd: status.into(), child_fd: STATUS_FD },
        ];
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        Ok(command)
    }

    /// An argument that names the workspace as commands see it, as it is on this machine.
    fn on_this_machine(&self, arg: &str) -> OsString {
        match arg.strip_prefix(crate::engine::ports::WORKSPACE) {
            Some("") => self.workspace.clone().into_os_string(),
            Some(rest) if rest.starts_with('/') => self.workspace.join(rest.trim_start_matches('/')).into_os_string(),
            _ => OsString::from(arg),
        }
    }
}

/// Hears how the server ends.
async fn follow(mut status: Lines<BufReader<pipe::Receiver>>, tell: watch::Sender<Option<String>>) {
    while let Ok(Some(line)) = status.next_line().await {
        if let Some(code) = line.strip_prefix("ended ") {
            tell.send_replace(Some(code.to_owned()));
        }
    }
}

/// What the processes of one server carry in their environment, and of no other.
fn mark() -> io::Result<String> {
    let chance = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("REKINDLE_SERVER={}-{chance:016x}", std::process::id()))
}

impl Process {
    /// What a person should know of how it runs.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What can be said of a server that does not answer any more: how it ended, and what it said last.
    pub(super) async fn last_words(&mut self) -> String {
        let ended = tokio::time::timeout(STATUS_WAIT, self.ended.wait_for(Option::is_some)).await;
        let code = ended.ok().and_then(Result::ok).and_then(|code| code.clone());
        let how = match code.as_deref().map(str::parse::<i32>) {
            Some(Ok(0)) => "it ended".to_owned(),
            Some(Ok(127)) => "it cannot be found: is it installed, and in PATH?".to_owned(),
            Some(Ok(signal @ 129..=192)) => format!("it was ended by signal {}", signal - 128),
            Some(Ok(code)) => format!("it ended with exit code {code}"),
            _ => "it still runs".to_owned(),
        };
        match self.said.one_line().await {
            Some(said) => format!("{how}; it said: {said}"),
            None => how,
        }
    }

    /// Waits a little for it to end by itself, then ends it and all that it started.
    pub(super) async fn end(mut self) {
        if tokio::time::timeout(END_WAIT, self.warden.wait()).await.is_ok() {
            return;
        }
        drop(self.guard.take());
        if tokio::time::timeout(KILL_WAIT, self.warden.wait()).await.is_err() {
            tracing::warn!("a server could not be ended in time; its warden is killed");
            let _ = self.warden.start_kill();
        }
    }
}

/// The part of this process' environment that a server may see: nothing of what the engine holds.
pub(super) fn plain_environment(mine: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    const PASSED: [&str; 12] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    let mut environment: Vec<_> = mine.filter(|(name, _)| PASSED.iter().any(|passed| name == OsStr::new(passed))).collect();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
    }
    environment
}
