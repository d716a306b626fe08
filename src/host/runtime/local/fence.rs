//! One owner of a session per machine: a small file per session keeps the highest epoch seen and the first process of its runtime.
//!
//! An owner that was stopped for a while may wake up beside its successor. Whoever makes a runtime of a higher epoch first ends the
//! processes of the one before, and whoever has a lower one is refused, before each action.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::kill;
use super::launch::{self, KILL_WAIT};
use crate::engine::ports::Provision;
use crate::host::runtime::own_directory::{self, is_at};

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(5);

/// A session's place on this machine, as one owner holds it.
#[derive(Debug)]
pub(super) struct Fence {
    path: PathBuf,
    epoch: AtomicU64,
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    epoch: u64,
    pub(super) runtime: Option<Footprint>,
    /// The engine that holds it; unset by versions that did not say.
    #[serde(default)]
    pub(super) keeper: Option<FirstProcess>,
}

/// How the processes of a runtime are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footprint {
    /// The process that all the others end with, where there is one.
    pub(super) first: Option<FirstProcess>,
    /// The mark in their environment.
    pub(super) mark: String,
    /// A directory of the session's own outside of its workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<PathBuf>,
}

/// A process that no other is mistaken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FirstProcess {
    pid: i32,
    /// In clock ticks since boot.
    started: String,
    boot: String,
}

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It is another owner's.
    #[error("epoch {0} was taken over by epoch {1}")]
    TakenOver(u64, u64),
    /// The file is gone: somebody swept it away, since the session had no owner any more.
    #[error("nobody owns the session any more: its fence at {0} was swept away")]
    Swept(String),
    /// The file cannot be used.
    #[error("the fence at {0}: {1}")]
    File(String, io::Error),
}

impl Fence {
    /// Claims the session for the epoch of `request`, and ends what runs of the owner before.
    pub(super) fn claim(request: &Provision) -> Result<Self, Refused> {
        let directory = directory().map_err(|error| Refused::File("the directory for fences".to_owned(), error))?;
        let name = format!("{}-{}", request.session, request.birth.short());
        let fence = Self { path: directory.join(name), epoch: AtomicU64::new(request.epoch.0) };
        let mut file = fence.locked()?;
        let held = fence.admit(&mut file)?;
        if let Some(footprint) = &held.runtime {
            footprint.end().map_err(|error| fence.failed(error))?;
        }
        fence.write(&mut file, &fence.held(None))?;
        Ok(fence)
    }

    /// Notes what was started, so that the next owner can end it.
    pub(super) fn note(&self, runtime: Footprint) -> Result<(), Refused> {
        let mut file = self.locked()?;
        self.admit(&mut file)?;
        self.write(&mut file, &self.held(Some(runtime)))
    }

    /// Passes what runs on to a later owner in this process.
    pub(super) fn raise(&self, epoch: u64) -> Result<(), Refused> {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
        let mut file = self.locked()?;
        let held = self.admit(&mut file)?;
        self.write(&mut file, &self.held(held.runtime))
    }

    fn held(&self, runtime: Option<Footprint>) -> Held {
        Held { epoch: self.epoch(), runtime, keeper: FirstProcess::find(std::process::id().cast_signed()) }
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Refuses when the session was claimed by a later owner. Waits for one that is just claiming it.
    pub(super) fn check(&self) -> Result<(), Refused> {
        // Never made anew here: an owner that was stopped must not find an empty one in place of one that was swept away.
        let mut file = match options().open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Refused::Swept(self.path.display().to_string())),
            opened => opened.map_err(|error| self.failed(error))?,
        };
        file.lock_shared().map_err(|error| self.failed(error))?;
        self.admit(&mut file).map(drop)
    }

    fn admit(&self, file: &mut File) -> Result<Held, Refused> {
        let held = Held::read(file).map_err(|error| self.failed(error))?;
        let epoch = self.epoch();
        if held.epoch > epoch { Err(Refused::TakenOver(epoch, held.epoch)) } else { Ok(held) }
    }

    fn locked(&self) -> Result<File, Refused> {
        loop {
            let file = options().create(true).open(&self.path).map_err(|error| self.failed(error))?;
            file.lock().map_err(|error| self.failed(error))?;
            // Between the two it may have been swept away; nobody would see what is written to it then.
            if is_at(&file, &self.path) {
                return Ok(file);
            }
        }
    }

    fn write(&self, file: &mut File, held: &Held) -> Result<(), Refused> {
        let text = serde_json::to_vec(held).map_err(io::Error::other);
        let written = text.and_then(|text| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&text)
        });
        written.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Refused {
        Refused::File(self.path.display().to_string(), error)
    }
}

impl Held {
    pub(super) fn read(file: &mut File) -> io::Result<Self> {
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text))?;
        // One that was cut short by the end of the machine is as good as none: nothing of before has outlived that.
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

impl FirstProcess {
    /// The process `pid`, while it is there.
    pub(super) fn find(pid: i32) -> Option<Self> {
        Some(Self { pid, started: started(pid)?, boot: boot()? })
    }

    pub(super) fn is_there(&self) -> bool {
        boot().as_ref() == Some(&self.boot) && started(self.pid).as_ref() == Some(&self.started)
    }

    /// Kills it, if it is there.
    pub(super) fn kill(&self) {
        if self.is_there() {
            let _ = signal::kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Waits at most `limit` for its end; tells whether it has ended.
    pub(super) fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_there() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }
}

impl Footprint {
    /// Whether any process of the runtime is there.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        match &self.first {
            Some(first) => Ok(first.is_there()),
            None => kill::any_marked(&self.mark),
        }
    }

    /// Ends every process of the runtime and waits until they are gone.
    pub(super) fn end(&self) -> io::Result<()> {
        let Some(first) = &self.first else {
            kill::all_marked(&self.mark, KILL_WAIT)?;
            return launch::remove(self.own.as_deref());
        };
        let deadline = Instant::now() + KILL_WAIT;
        while first.is_there() {
            first.kill();
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the processes of the owner before cannot be ended"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// How a fence is opened; never through a link, since others may write beside the directory.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    options
}

/// Where the fences of this user are; nobody else can write there.
pub(super) fn directory() -> io::Result<PathBuf> {
    own_directory::directory(0o022)
}

fn boot() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// When a process started; `None` when it is gone, or dead but unreaped: then the kernel has ended all of its namespace.
fn started(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18).map(str::to_owned) }
}
