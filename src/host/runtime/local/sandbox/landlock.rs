//! Landlock: a thread gives up all rights but those of the session, and everything that is started on it has only these.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};

use super::places::{DEVICES, PRIVATE, Places};

/// The newest version whose rights are known and asked for; of an older kernel, what it has.
const ABI_MAX: ABI = ABI::V10;

/// Which places of whom may be used.
pub(in super::super) struct Rules<'a> {
    /// Where the session's root directory is found: `/proc/N/root`, or `/` without a view of its own.
    pub(in super::super) root: &'a Path,
    pub(in super::super) places: &'a Places,
    /// Directories that the session may write beside its workspace, as it names them.
    pub(in super::super) private: Vec<PathBuf>,
    /// Whether TCP is to be shut: where there is no network of the session's own.
    pub(in super::super) shut_tcp: bool,
    /// Whether the pseudo-terminals there are the session's own.
    pub(in super::super) own_terminals: bool,
}

/// Runs programs with the rights of a session.
pub(in super::super) struct Spawner {
    jobs: Mutex<Sender<Job>>,
}

struct Job {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// Which version of Landlock this machine has; found out by a thread that restricts itself, and ends.
pub(in super::super) fn version() -> Option<u32> {
    let restrict =
        || Ruleset::default().handle_access(AccessFs::Execute).and_then(Ruleset::create).and_then(RulesetCreated::restrict_self);
    let tried = std::thread::Builder::new().name("rekindle-version".into()).spawn(restrict).ok()?.join().ok()?;
    match tried.ok()?.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.and_then(|abi| u32::try_from(abi).ok()).unwrap_or(effective_abi as u32))
        }
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => None,
    }
}

impl Rules<'_> {
    fn ruleset(&self) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
        let mut ruleset =
            Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(ABI_MAX))?;
        if self.shut_tcp {
            ruleset = ruleset.handle_access(AccessNet::from_all(ABI_MAX))?;
        }
        let mut created = ruleset.scope(Scope::from_all(ABI_MAX))?.create()?;
        let read = AccessFs::from_read(ABI_MAX);
        // All but making devices, which would be ways to the machine's disks.
        let write = AccessFs::from_all(ABI_MAX) & !make_bitflags!(AccessFs::{MakeChar | MakeBlock});
        let device = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
        for path in &self.places.read {
            // A view of its own has nothing in these places.
            let hidden = if self.root == Path::new("/") { self.places.hidden.as_slice() } else { &[] };
            let (whole, listed) = without(path, hidden);
            for path in whole {
                created = self.allow(created, &path, read)?;
            }
            for path in listed {
                created = self.allow(created, &path, AccessFs::ReadDir.into())?;
            }
        }
        created = self.allow(created, Path::new("/proc"), make_bitflags!(AccessFs::{ReadFile | ReadDir}))?;
        for path in DEVICES {
            created = self.allow(created, Path::new(path), device)?;
        }
        if self.own_terminals {
            created = self.allow(created, Path::new("/dev/pts"), device | AccessFs::ReadDir)?;
        }
        for path in &self.private {
            created = self.allow(created, path, write)?;
        }
        created = self.allow(created, &self.places.workspace, write)?;
        if self.root != Path::new("/") {
            // Names only, and only of what is in the session's view.
            created = self.allow(created, Path::new("/"), AccessFs::ReadDir.into())?;
            created = self.allow(created, Path::new(crate::engine::ports::WORKSPACE), write)?;
        }
        Ok(created)
    }

    /// What is not there needs no rule.
    fn allow(
        &self,
        created: RulesetCreated,
        path: &Path,
        access: BitFlags<AccessFs>,
    ) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
        let Ok(opened) = PathFd::new(self.root.join(path.strip_prefix("/").unwrap_or(path))) else { return Ok(created) };
        // Rights to directories mean nothing for a file, and best effort leaves them out.
        Ok(created.add_rule(PathBeneath::new(opened, access))?)
    }
}

impl Spawner {
    /// Starts the thread.
    pub(in super::super) fn start(rules: &Rules<'_>) -> io::Result<Self> {
        let refused = |error: &dyn fmt::Display| io::Error::other(format!("Landlock refused the session's rules: {error}"));
        let ruleset = rules.ruleset().map_err(|error| refused(&error))?;
        let (jobs, waiting) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        std::thread::Builder::new().name("rekindle-sandbox".into()).spawn(move || {
            let restricted = ruleset.restrict_self();
            let is_restricted = restricted.as_ref().is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced);
            let told = restricted
                .map_err(|error| error.to_string())
                .and_then(|status| if is_restricted { Ok(()) } else { Err(format!("{:?}", status.landlock)) });
            if tell.send(told).is_err() || !is_restricted {
                return;
            }
            for mut job in waiting {
                let child = job.command.spawn();
                // It holds the child's ends of pipes, whose other ends would not see the child end.
                drop(job.command);
                let _ = job.reply.send(child);
            }
        })?;
        told.recv().map_err(|error| refused(&error))?.map_err(|error| refused(&error))?;
        Ok(Self { jobs: Mutex::new(jobs) })
    }

    /// Starts a program.
    pub(in super::super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let ended = || io::Error::other("the thread of the sandbox has ended");
        let (reply, answer) = mpsc::channel();
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(Job { command, reply });
        sent.map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

/// What of `path` is left without `hidden`: what may be read as a whole, and directories of which only the names may be.
fn without(path: &Path, hidden: &[PathBuf]) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if hidden.iter().any(|hidden| hidden == path) {
        return (Vec::new(), Vec::new());
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
        return (vec![path.to_owned()], Vec::new());
    }
    let (mut whole, mut listed) = (Vec::new(), vec![path.to_owned()]);
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        // What a link leads to is judged by where it lies.
        if !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            let (more, names) = without(&entry.path(), hidden);
            whole.extend(more);
            listed.extend(names);
        }
    }
    (whole, listed)
}

/// The private directories of a session that has a view of its own.
pub(in super::super) fn private(places: &Places) -> Vec<PathBuf> {
    PRIVATE.iter().map(PathBuf::from).chain(places.home.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_hidden_is_left_out_of_what_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["ssl/private", "ssl/certs", "other"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("shadow"), "").unwrap();
        std::os::unix::fs::symlink("shadow", at("link")).unwrap();
        let (mut whole, mut listed) = without(directory.path(), &[at("shadow"), at("ssl/private")]);
        whole.sort();
        listed.sort();
        assert_eq!((whole, listed), (vec![at("other"), at("ssl/certs")], vec![directory.path().to_owned(), at("ssl")]));
        assert_eq!(without(&at("other"), &[at("shadow")]).0, [at("other")]);
    }
}
