//! The ground that a session's processes stand on: either namespaces of their own, or the machine itself with a watchdog.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::engine::ports::{Containment, Mount};

use super::Isolation;
use super::fence::{FirstProcess, Footprint};
use super::kill;

/// Builds the namespaces.
const INIT: &str = include_str!("init.sh");
/// Ends what is left when there are no namespaces.
const WATCHDOG: &str = include_str!("watchdog.sh");
/// How long building the namespaces may take.
const BUILD_WAIT: Duration = Duration::from_secs(20);
/// How long the end of all processes may take.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(10);

/// Where processes are started, and how they are all ended.
pub(super) struct Ground {
    kind: Kind,
    environment: Vec<(OsString, OsString)>,
    mark: String,
    /// Blocks in a read of a pipe that this struct holds open, so that it acts when the engine is gone.
    guard: Mutex<Option<Guard>>,
}

enum Kind {
    Namespaces { init: String, user: bool },
    Plain,
}

struct Guard {
    process: Child,
}

impl Ground {
    /// Makes the ground; with [`Isolation::Auto`] the reason why there are no namespaces comes back as the second value.
    pub(super) fn open(
        isolation: Isolation,
        workspace: &Path,
        environment: Vec<(OsString, OsString)>,
        mark: String,
    ) -> io::Result<(Self, Option<String>)> {
        match isolation {
            Isolation::Namespaces => Ok((Self::namespaces(workspace, environment, mark)?, None)),
            Isolation::Plain => Ok((Self::plain(environment, mark)?, None)),
            Isolation::Auto => match Self::namespaces(workspace, environment.clone(), mark.clone()) {
                Ok(ground) => Ok((ground, None)),
                Err(error) => Ok((Self::plain(environment, mark)?, Some(error.to_string()))),
            },
        }
    }

    fn namespaces(workspace: &Path, environment: Vec<(OsString, OsString)>, mark: String) -> io::Result<Self> {
        // Without nsenter they could be made, and not entered.
        if let Some(missing) = missing_program(&["unshare", "nsenter"], &environment) {
            return Err(io::Error::new(io::ErrorKind::NotFound, missing));
        }
        let user = !nix::unistd::geteuid().is_root();
        let mut command = Command::new("unshare");
        if user {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "bash", "--noprofile", "--norc", "-c", INIT]);
        command.arg("rekindle-init").arg(workspace);
        // A group of its own, so that a Ctrl-C at the engine's terminal does not end the session.
        command.process_group(0);
        let mut process = command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        match await_init(&mut process) {
            Ok(init) => {
                Ok(Self { kind: Kind::Namespaces { init, user }, environment, mark, guard: Mutex::new(Some(Guard { process })) })
            }
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    fn plain(environment: Vec<(OsString, OsString)>, mark: String) -> io::Result<Self> {
        // The watchdog must not carry the mark, and must not die with the engine's terminal.
        let process = Command::new("setsid")
            .args(["--", "sh", "-c", WATCHDOG, "rekindle-watchdog", &mark])
            .env_clear()
            .envs(environment.iter().filter(|(name, _)| name == "PATH").map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { kind: Kind::Plain, environment, mark, guard: Mutex::new(Some(Guard { process })) })
    }

    /// A command that runs on this ground in a session (in the sense of `setsid`) of its own, which takes standard input as its
    /// terminal if `terminal`.
    pub(super) fn command(&self, terminal: bool) -> Command {
        let mut command = match &self.kind {
            Kind::Namespaces { init, user } => {
                let mut command = Command::new("nsenter");
                command.args(["--target", init, "--mount", "--pid"]);
                if *user {
                    command.args(["--user", "--preserve-credentials"]);
                }
                command.args(["--", "setsid"]);
                // nsenter forks, so what it starts leads no group and setsid need not fork again.
                command.process_group(0);
                command
            }
            Kind::Plain => Command::new("setsid"),
        };
        if terminal {
            command.arg("--ctty");
        }
        command.arg("--");
        if ignores_signals() {
            // An engine that was started in the background ignores the interrupt, and everything it starts would too.
            command.args(["env", "--default-signal"]);
        }
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/");
        command
    }

    /// Whether `child`, which [`Ground::command`] started, is the program itself rather than its launcher.
    pub(super) const fn starts_directly(&self) -> bool {
        matches!(self.kind, Kind::Plain)
    }

    pub(super) const fn mount(&self) -> Mount {
        match self.kind {
            Kind::Namespaces { .. } => Mount::Namespace,
            Kind::Plain => Mount::PathMapping,
        }
    }

    pub(super) const fn containment(&self) -> Containment {
        match self.kind {
            Kind::Namespaces { .. } => Containment::PidNamespace,
            Kind::Plain => Containment::Watchdog,
        }
    }

    /// How the processes here are found by whoever comes after.
    pub(super) fn footprint(&self) -> Footprint {
        let first = match &self.kind {
            Kind::Namespaces { init, .. } => init.parse().ok().and_then(FirstProcess::find),
            Kind::Plain => None,
        };
        Footprint { first, mark: self.mark.clone() }
    }

    /// Whether processes can still be started here.
    pub(super) fn is_alive(&self) -> bool {
        let mut guard = lock(&self.guard);
        guard.as_mut().is_some_and(|guard| matches!(guard.process.try_wait(), Ok(None)))
    }

    /// Ends every process that stands on this ground and waits, at most [`KILL_WAIT`], until they are gone. Idempotent.
    pub(super) fn kill(&self) -> io::Result<()> {
        // Taken and put back on failure, so that a second call tries again instead of reporting success.
        let Some(mut guard) = lock(&self.guard).take() else { return Ok(()) };
        let ended = match self.kind {
            Kind::Namespaces { .. } => {
                // End of file makes the first process exit; its launcher ends when the kernel has ended all the others.
                drop(guard.process.stdin.take());
                let gone = wait(&mut guard.process, KILL_WAIT / 2)? || {
                    guard.process.kill()?;
                    wait(&mut guard.process, KILL_WAIT / 2)?
                };
                if gone { Ok(()) } else { Err(still_running("the namespace")) }
            }
            Kind::Plain => kill::all_marked(&self.mark, KILL_WAIT).and_then(|()| {
                guard.process.kill()?;
                guard.process.wait().map(drop)
            }),
        };
        if ended.is_err() {
            *lock(&self.guard) = Some(guard);
        }
        ended
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(%error, "processes of a session may have outlived it");
        }
    }
}

/// Whether this process ignores signals that programs are stopped with.
fn ignores_signals() -> bool {
    use nix::sys::signal::Signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok()).unwrap_or_default();
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGTSTP].iter().any(|signal| ignored & (1 << (*signal as u32 - 1)) != 0)
}

/// Reads the first process's id, or the reason why it could not be had.
fn await_init(process: &mut Child) -> io::Result<String> {
    let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
        return Err(io::Error::other("the launcher has no output"));
    };
    let (send, receive) = std::sync::mpsc::channel();
    // A mount can hang for ever, a pipe cannot be read with a deadline: so a thread reads.
    std::thread::Builder::new().name("rekindle-launch".into()).spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let answer = match read {
            Ok(_) if line.trim().parse::<u32>().is_ok() => Ok(line.trim().to_owned()),
            Ok(_) => {
                let mut why = String::new();
                let _ = errors.take(4096).read_to_string(&mut why);
                Err(io::Error::other(format!("namespaces cannot be made: {}", why.trim().replace('\n', "; "))))
            }
            Err(error) => Err(error),
        };
        let _ = send.send(answer);
    })?;
    receive
        .recv_timeout(BUILD_WAIT)
        .unwrap_or_else(|_| Err(io::Error::other("namespaces cannot be made: the launcher did not answer in time")))
}

/// Waits until `process` has ended, at most `limit`; tells whether it has.
pub(super) fn wait(process: &mut Child, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if process.try_wait()?.is_some() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn still_running(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} still has running processes after {} s", KILL_WAIT.as_secs()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Says which of `programs` a session with this environment cannot find, and where it was looked for.
pub(super) fn missing_program(programs: &[&str], environment: &[(OsString, OsString)]) -> Option<String> {
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str()).unwrap_or_default();
    let is_there = |program: &str| {
        std::env::split_paths(path).any(|directory| {
            fs::metadata(directory.join(program)).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
    };
    let missing = programs.iter().find(|program| !is_there(program))?;
    Some(format!("there is no program {missing} in PATH ({}); install it or correct PATH", path.display()))
}
