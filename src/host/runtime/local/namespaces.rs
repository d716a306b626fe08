//! Namespaces of a session's own: how they are built, and how programs are started in them.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};

use super::fence::FirstProcess;
use super::programs::Programs;
use super::sandbox::places::Places;
use super::sandbox::{bwrap, view};

/// Builds namespaces in which the whole machine is found.
const OPEN: &str = concat!(include_str!("../machine.sh"), include_str!("init.sh"));
/// How long building the namespaces may take.
const BUILD_WAIT: Duration = Duration::from_secs(20);
/// The first of the descriptors by which a program enters; programs close them before anything of the session's runs.
const FIRST_DESCRIPTOR: i32 = 190;

/// Namespaces that are there, and the way into them.
pub(super) struct Namespaces {
    /// The process that all the others in them end with.
    pub(super) first: FirstProcess,
    /// Where their root directory is found.
    pub(super) root: PathBuf,
    /// Whether they have a network of their own.
    pub(super) own_network: bool,
    /// Whether the session's own servers can be reached in it.
    pub(super) has_loopback: bool,
    doors: Vec<(&'static str, OwnedFd)>,
    nsenter: PathBuf,
}

/// What they are to be.
pub(super) enum View<'a> {
    /// The whole machine, and the workspace at its name.
    Open(&'a Path),
    /// The session's places.
    Places { places: &'a Places, own_network: bool },
    /// The same, by bubblewrap.
    Bubblewrap { places: &'a Places, own_network: bool },
}

impl Namespaces {
    /// Builds them; also gives the process that they hang on, which goes when its standard input is closed.
    pub(super) fn build(view: &View<'_>, programs: &Programs) -> io::Result<(Self, Child)> {
        let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
        // Without nsenter they could be made, and not entered.
        let nsenter = programs.find("nsenter").map_err(missing)?;
        let bash = programs.find("bash").map_err(missing)?;
        let is_root = nix::unistd::geteuid().is_root();
        let own_network = matches!(view, View::Places { own_network: true, .. } | View::Bubblewrap { own_network: true, .. });
        let mut info = None;
        let mut command = if let View::Bubblewrap { places, .. } = view {
            let mut command = Command::new(programs.find("bwrap").map_err(missing)?);
            command.args(bwrap::arguments(places, own_network, is_root, &bash));
            let (reader, writer) = io::pipe()?;
            info = Some(reader);
            command.fd_mappings(vec![FdMapping { parent_fd: writer.into(), child_fd: bwrap::INFO }]).map_err(io::Error::other)?;
            command
        } else {
            let mut command = Command::new(programs.find("unshare").map_err(missing)?);
            if !is_root {
                command.args(["--user", "--map-current-user", "--keep-caps"]);
            }
            command.args(["--mount", "--pid", "--fork", "--kill-child"]);
            if let View::Places { .. } = view {
                command.arg("--ipc");
            }
            if own_network {
                command.arg("--net");
            }
            command.arg("--").arg(&bash).args(["--noprofile", "--norc", "-c"]);
            match view {
                View::Open(workspace) => command.args([OPEN, "rekindle-init"]).arg(workspace),
                View::Places { places, own_network } | View::Bubblewrap { places, own_network } => {
                    let arguments = view::arguments(places, *own_network, is_root);
                    let arguments =
                        arguments.ok_or_else(|| io::Error::other("there is no directory to build a root directory on"))?;
                    command.args([view::SCRIPT, "rekindle-init"]).args(arguments)
                }
            };
            command
        };
        // A group of its own, so that a Ctrl-C at the engine's terminal does not end the session.
        let mut process = command
            .process_group(0)
            .env_clear()
            .env("PATH", programs.search_path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(command);
        let built = await_ready(&mut process).and_then(|said| {
            let mut words = said.split_whitespace();
            let first = match info {
                None => words.next().and_then(|pid| pid.parse().ok()),
                Some(mut info) => {
                    let mut told = String::new();
                    info.read_to_string(&mut told)?;
                    bwrap::first_process(&told)
                }
            };
            let first = first.ok_or_else(|| io::Error::other("namespaces cannot be made: their first process is not known"))?;
            Self::of(first, nsenter, own_network, words.next() != Some("down"))
        });
        match built {
            Ok(namespaces) => Ok((namespaces, process)),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// Those of the process `pid`.
    fn of(pid: i32, nsenter: PathBuf, own_network: bool, has_loopback: bool) -> io::Result<Self> {
        let gone = || io::Error::other("namespaces cannot be made: their first process has ended");
        let first = FirstProcess::find(pid).ok_or_else(gone)?;
        let mut doors = Vec::new();
        for (option, name) in [("--user", "user"), ("--mount", "mnt"), ("--pid", "pid"), ("--net", "net"), ("--ipc", "ipc")] {
            // A namespace that is the engine's own cannot, or need not, be entered.
            if std::fs::read_link(format!("/proc/{pid}/ns/{name}"))? != std::fs::read_link(format!("/proc/self/ns/{name}"))? {
                doors.push((option, File::open(format!("/proc/{pid}/ns/{name}"))?.into()));
            }
        }
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        Ok(Self { first, root, own_network, has_loopback, doors, nsenter })
    }

    /// The beginning of a command line that goes on in these namespaces, and the descriptors that it takes.
    pub(super) fn enter(&self) -> io::Result<(Vec<OsString>, Vec<FdMapping>)> {
        let mut words = vec![self.nsenter.clone().into_os_string()];
        let mut descriptors = Vec::new();
        for ((option, door), number) in self.doors.iter().zip(FIRST_DESCRIPTOR..) {
            words.push(format!("{option}=/proc/self/fd/{number}").into());
            descriptors.push(FdMapping { parent_fd: door.try_clone()?, child_fd: number });
            if *option == "--user" {
                words.push("--preserve-credentials".into());
            }
        }
        words.push("--".into());
        Ok((words, descriptors))
    }
}

/// Reads what the first process says when all is there, or the reason why it could not be had.
fn await_ready(process: &mut Child) -> io::Result<String> {
    let (Some(output), Some(errors)) = (process.stdout.take(), process.stderr.take()) else {
        return Err(io::Error::other("the launcher has no output"));
    };
    let (send, receive) = channel();
    // A mount can hang for ever, a pipe cannot be read with a deadline: so a thread reads.
    std::thread::Builder::new().name("rekindle-launch".into()).spawn(move || {
        let mut line = String::new();
        let answer = match BufReader::new(output).read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            Ok(_) => {
                let mut why = String::new();
                let _ = errors.take(4096).read_to_string(&mut why);
                Err(io::Error::other(format!("namespaces cannot be made: {}", why.trim().replace('\n', "; "))))
            }
            Err(error) => Err(error),
        };
        let _ = send.send(answer);
    })?;
    told(&receive)
}

fn told(receive: &Receiver<io::Result<String>>) -> io::Result<String> {
    let late = || io::Error::other("namespaces cannot be made: the launcher did not answer in time");
    receive.recv_timeout(BUILD_WAIT).unwrap_or_else(|_| Err(late()))
}
