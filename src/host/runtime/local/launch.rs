//! The ground that a session's processes stand on: either namespaces of their own, or the machine itself with a watchdog.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use crate::engine::ports::{Containment, Mount, SandboxReport};
use crate::session::Sandbox;

use super::Isolation;
use super::fence::{FirstProcess, Footprint};
use super::kill;
use super::namespaces::{Namespaces, View};
use super::programs::Programs;
use super::sandbox::landlock::{self, Rules, Spawner};
use super::sandbox::places::Places;
use super::sandbox::{self, Asked, Made};

/// Ends what is left when there are no namespaces.
const WATCHDOG: &str = concat!(include_str!("../sweep.sh"), include_str!("watchdog.sh"));
/// How long the end of all processes may take.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(10);
/// What root keeps in a sandbox: power over the session's own files and processes.
const KEPT: &str = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+net_bind_service,+sys_chroot";

/// What a ground is to be.
pub(super) struct Plan<'a> {
    pub(super) isolation: Isolation,
    pub(super) asked: Asked,
    pub(super) workspace: &'a Path,
    /// What programs begin with.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// What the session's own programs find beside it, and those that start them do not.
    pub(super) secrets: Vec<(OsString, OsString)>,
    /// `NAME=value` in the environment of all of them.
    pub(super) mark: String,
    pub(super) programs: Programs,
}

/// Where processes are started, and how they are all ended.
pub(super) struct Ground {
    kind: Kind,
    /// What the session's programs begin with.
    environment: Vec<(OsString, OsString)>,
    mark: String,
    starters: Starters,
    /// What is started here has only the session's rights.
    spawner: Option<Spawner>,
    report: SandboxReport,
    home_is_open: bool,
    /// Blocks in a read of a pipe that this struct holds open, so that it acts when the engine is gone.
    guard: Mutex<Option<Child>>,
}

enum Kind {
    Namespaces(Namespaces),
    /// The machine itself, and the directory there that is the session's own.
    Plain(Option<PathBuf>),
}

/// Programs that others are started with.
struct Starters {
    setsid: PathBuf,
    /// Takes away what root may do; unset where there is nothing to take, or no way to.
    setpriv: Option<PathBuf>,
    env: Option<PathBuf>,
}

/// A program to be started.
pub(super) struct Launch {
    command: Command,
    descriptors: Vec<FdMapping>,
}

impl Launch {
    /// Adds words to the command line.
    pub(super) fn args(&mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(words);
        self
    }

    /// Sets a variable of the program's environment.
    pub(super) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// Says what it reads from and writes to.
    pub(super) fn streams(&mut self, input: Stdio, output: Stdio, errors: Stdio) -> &mut Self {
        self.command.stdin(input).stdout(output).stderr(errors);
        self
    }

    /// Hands a descriptor over, under this number.
    pub(super) fn pass(&mut self, descriptor: impl Into<OwnedFd>, number: i32) -> &mut Self {
        self.descriptors.push(FdMapping { parent_fd: descriptor.into(), child_fd: number });
        self
    }
}

impl Ground {
    /// Makes the ground; with [`Isolation::Auto`] the reason why there are no namespaces comes back as the second value.
    pub(super) fn open(plan: Plan<'_>) -> io::Result<(Self, Option<String>)> {
        let asked = plan.asked;
        let abi = if asked.is_confined() { landlock::version() } else { None };
        if asked.sandbox == Sandbox::Landlock && abi.is_none() {
            return Err(sandbox::no_landlock());
        }
        let places = Places::of(&plan.environment, plan.workspace, asked.network);
        if asked.is_confined() && plan.workspace == Path::new("/") {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the whole machine cannot be a workspace; say --unsafe-local for that",
            ));
        }
        let bubblewrap = |own_network| Namespaces::build(&View::Bubblewrap { places: &places, own_network }, &plan.programs);
        let own = |own_network| Namespaces::build(&View::Places { places: &places, own_network }, &plan.programs);
        let built = match (asked.sandbox, plan.isolation) {
            (Sandbox::Bubblewrap, _) => bubblewrap(asked.shuts_network()).map(Some).map_err(no_bubblewrap)?,
            (_, Isolation::Plain) => None,
            (Sandbox::Unsafe, Isolation::Namespaces) => Some(Namespaces::build(&View::Open(plan.workspace), &plan.programs)?),
            (Sandbox::Landlock, Isolation::Namespaces) => Some(own(asked.shuts_network())?),
            (Sandbox::Unsafe | Sandbox::Landlock, Isolation::Auto) => {
                let tried = match asked.sandbox {
                    Sandbox::Unsafe => Namespaces::build(&View::Open(plan.workspace), &plan.programs),
                    // Some machines permit all but a network of one's own.
                    _ => own(asked.shuts_network()).or_else(|error| if asked.shuts_network() { own(false) } else { Err(error) }),
                };
                match tried {
                    Ok(built) => Some(built),
                    Err(error) => return Ok((Self::on(plan, None, &places, abi)?, Some(error.to_string()))),
                }
            }
        };
        Ok((Self::on(plan, built, &places, abi)?, None))
    }

    /// The ground of these namespaces, or the machine itself.
    fn on(plan: Plan<'_>, built: Option<(Namespaces, Child)>, places: &Places, abi: Option<u32>) -> io::Result<Self> {
        let Plan { asked, environment, secrets, mark, programs, .. } = plan;
        let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
        let setpriv = programs.find("setpriv").ok().filter(|_| asked.is_confined() && may_give_up());
        let env = if ignores_signals() { Some(programs.find("env").map_err(missing)?) } else { None };
        let starters = Starters { setsid: programs.find("setsid").map_err(missing)?, setpriv, env };
        let is_root = nix::unistd::geteuid().is_root();
        let mut made = Made { landlock: abi, tamed: !is_root || starters.setpriv.is_some(), ..Made::default() };
        let (kind, guard) = if let Some((namespaces, guard)) = built {
            (made.own_view, made.own_network) = (true, namespaces.own_network);
            (Kind::Namespaces(namespaces), guard)
        } else {
            let own = if asked.is_confined() { Some(own_directory(&mark)?) } else { None };
            // It is there before what it is to remove, so that no kill of the engine finds the one without the other.
            let guard = watchdog(&mark, own.as_deref(), &programs)?;
            (Kind::Plain(own), guard)
        };
        let report = sandbox::report(asked, made);
        let home_is_open = asked.is_confined() && places.home_is_open();
        let guard = Mutex::new(Some(guard));
        let mut ground = Self { kind, environment, mark, starters, spawner: None, report, home_is_open, guard };
        // What fails from here on drops the ground, which ends what was started.
        if let Kind::Plain(Some(own)) = &ground.kind {
            furnish(own, &mut ground.environment)?;
        }
        ground.environment.extend(secrets);
        if abi.is_some() {
            ground.spawner = Some(Spawner::start(&ground.rules(places, is_root && asked.sandbox != Sandbox::Unsafe))?);
        }
        Ok(ground)
    }

    fn rules<'a>(&'a self, places: &'a Places, own_terminals: bool) -> Rules<'a> {
        match &self.kind {
            Kind::Namespaces(namespaces) => Rules {
                root: &namespaces.root,
                places,
                private: landlock::private(places),
                shut_tcp: !self.report.network && !namespaces.own_network,
                own_terminals,
            },
            Kind::Plain(own) => Rules {
                root: Path::new("/"),
                places,
                private: own.iter().cloned().collect(),
                shut_tcp: !self.report.network,
                own_terminals: false,
            },
        }
    }

    /// A command that runs on this ground in a session (in the sense of `setsid`) of its own, which takes standard input as its
    /// terminal if `terminal`.
    pub(super) fn command(&self, terminal: bool) -> io::Result<Launch> {
        let (mut words, descriptors) = match &self.kind {
            Kind::Namespaces(namespaces) => namespaces.enter()?,
            Kind::Plain(_) => (Vec::new(), Vec::new()),
        };
        if let Some(setpriv) = &self.starters.setpriv {
            words.push(setpriv.into());
            words.extend(["--no-new-privs", "--inh-caps", "-all", "--bounding-set", KEPT, "--"].map(OsString::from));
        }
        words.push(self.starters.setsid.clone().into());
        words.extend(terminal.then(|| "--ctty".into()));
        words.push("--".into());
        if let Some(env) = &self.starters.env {
            // An engine that was started in the background ignores the interrupt, and everything it starts would too.
            words.extend([env.into(), "--default-signal".into()]);
        }
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value))).current_dir("/");
        if let Kind::Namespaces(_) = self.kind {
            // nsenter forks, so what it starts leads no group and setsid need not fork again.
            command.process_group(0);
        }
        Ok(Launch { command, descriptors })
    }

    /// Starts it, with the session's rights and no others.
    pub(super) fn spawn(&self, launch: Launch) -> io::Result<Child> {
        let Launch { mut command, descriptors } = launch;
        command.fd_mappings(descriptors).map_err(io::Error::other)?;
        match &self.spawner {
            Some(spawner) => spawner.spawn(command),
            None => command.spawn(),
        }
    }

    /// Whether what [`Ground::spawn`] gives is the program itself rather than its launcher.
    pub(super) const fn starts_directly(&self) -> bool {
        matches!(self.kind, Kind::Plain(_))
    }

    pub(super) const fn mount(&self) -> Mount {
        match self.kind {
            Kind::Namespaces(_) => Mount::Namespace,
            Kind::Plain(_) => Mount::PathMapping,
        }
    }

    pub(super) const fn containment(&self) -> Containment {
        match self.kind {
            Kind::Namespaces(_) => Containment::PidNamespace,
            Kind::Plain(_) => Containment::Watchdog,
        }
    }

    /// What keeps the session from the rest of the machine.
    pub(super) const fn sandbox(&self) -> &SandboxReport {
        &self.report
    }

    /// What a person should know of it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if matches!(&self.kind, Kind::Namespaces(namespaces) if !namespaces.has_loopback) {
            warnings.push(
                "servers of the session's own cannot be reached: there is no program ip, ifconfig, perl or python3".to_owned(),
            );
        }
        if let Kind::Plain(Some(own)) = &self.kind {
            let own = own.display();
            warnings.push(format!(
                "/tmp and /dev/shm cannot be used: temporary files and the home are in {own}, gone with the session"
            ));
        }
        if self.home_is_open {
            warnings.push("the workspace holds the home, which is open with it to commands".to_owned());
        }
        warnings
    }

    /// How the processes here are found by whoever comes after.
    pub(super) fn footprint(&self) -> Footprint {
        let (first, own) = match &self.kind {
            Kind::Namespaces(namespaces) => (Some(namespaces.first.clone()), None),
            Kind::Plain(own) => (None, own.clone()),
        };
        Footprint { first, mark: self.mark.clone(), own }
    }

    /// Whether processes can still be started here.
    pub(super) fn is_alive(&self) -> bool {
        let mut guard = lock(&self.guard);
        guard.as_mut().is_some_and(|guard| matches!(guard.try_wait(), Ok(None)))
    }

    /// Ends every process that stands on this ground and waits, at most [`KILL_WAIT`], until they are gone. Idempotent.
    pub(super) fn kill(&self) -> io::Result<()> {
        // Taken and put back on failure, so that a second call tries again instead of reporting success.
        let Some(mut guard) = lock(&self.guard).take() else { return Ok(()) };
        let ended = match &self.kind {
            Kind::Namespaces(namespaces) => end_namespaces(&namespaces.first, &mut guard),
            Kind::Plain(own) => kill::all_marked(&self.mark, KILL_WAIT).and_then(|()| {
                remove(own.as_deref())?;
                guard.kill()?;
                guard.wait().map(drop)
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

fn end_namespaces(first: &FirstProcess, guard: &mut Child) -> io::Result<()> {
    // End of file makes the first process exit, which ends when the kernel has ended all the others.
    drop(guard.stdin.take());
    if wait(guard, KILL_WAIT / 2)? && first.ends_within(KILL_WAIT / 2) {
        return Ok(());
    }
    first.kill();
    guard.kill()?;
    if wait(guard, KILL_WAIT / 2)? && first.ends_within(KILL_WAIT / 2) { Ok(()) } else { Err(still_running("the namespace")) }
}

/// Starts what ends the session's processes when the engine cannot.
fn watchdog(mark: &str, own: Option<&Path>, programs: &Programs) -> io::Result<Child> {
    let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
    // The watchdog must not carry the mark, and must not die with the engine's terminal.
    Command::new(programs.find("setsid").map_err(missing)?)
        .arg("--")
        .arg(programs.find("sh").map_err(missing)?)
        .args(["-c", WATCHDOG, "rekindle-watchdog", mark])
        .args(own)
        .env_clear()
        .env("PATH", programs.search_path())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// Where the directory of a session's own is, where there is no view in which its parts could have their usual names.
fn own_directory(mark: &str) -> io::Result<PathBuf> {
    let name = mark.rsplit('=').next().unwrap_or_default();
    Ok(std::env::temp_dir().canonicalize()?.join(format!("rekindle-own-{name}")))
}

/// Makes it, with a home and a directory for temporary files.
fn furnish(own: &Path, environment: &mut Vec<(OsString, OsString)>) -> io::Result<()> {
    // Made, never found: nobody else can have put something there.
    DirBuilder::new().mode(0o700).create(own)?;
    for (variable, name) in [("HOME", "home"), ("TMPDIR", "tmp")] {
        let directory = own.join(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        let before = environment.iter().position(|(name, _)| name == variable).map(|at| environment.swap_remove(at).1);
        environment.push((variable.into(), directory.into()));
        if let (Some(home), "HOME") = (before.map(PathBuf::from), variable) {
            // What is looked for in the home is named where it is.
            for (variable, name) in [("RUSTUP_HOME", ".rustup"), ("PYENV_ROOT", ".pyenv"), ("NVM_DIR", ".nvm")] {
                if home.join(name).is_dir() && !environment.iter().any(|(known, _)| known == variable) {
                    environment.push((variable.into(), home.join(name).into()));
                }
            }
        }
    }
    Ok(())
}

/// Removes a directory of a session's own.
pub(super) fn remove(own: Option<&Path>) -> io::Result<()> {
    match own.map(fs::remove_dir_all) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether this process is root and may take rights away from what it starts.
fn may_give_up() -> bool {
    /// `CAP_SETPCAP`.
    const RIGHT: u64 = 1 << 8;
    nix::unistd::geteuid().is_root() && status("CapEff:") & RIGHT != 0
}

/// Whether this process ignores signals that programs are stopped with.
fn ignores_signals() -> bool {
    use nix::sys::signal::Signal::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    let ignored = status("SigIgn:");
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGTSTP].iter().any(|signal| ignored & (1 << (*signal as u32 - 1)) != 0)
}

/// A set of bits from what the kernel says of this process.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix(field)?.trim(), 16).ok()).unwrap_or_default()
}

fn no_bubblewrap(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!("{error} (for bwrap, the package is called bubblewrap); or use --sandbox landlock, which needs no program"),
        ),
        kind => io::Error::new(kind, format!("bubblewrap cannot be used here: {error}; --sandbox landlock may work")),
    }
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
