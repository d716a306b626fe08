//! What a sandboxed session finds of the machine: which places it may read, which it may write, and which it is not shown.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Programs, and what they need. All else of the machine is not there: other homes, mounted disks, logs, data of services.
const SYSTEM: [&str; 19] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/snap",
    "/sys/devices",
    "/sys/class",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/cache/fontconfig",
];
/// What root could read in them, and commands need not.
const SECRET: [&str; 12] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/etc/letsencrypt",
    "/etc/wireguard",
    "/etc/kubernetes",
    "/etc/NetworkManager/system-connections",
    "/etc/krb5.keytab",
];
/// Devices that are everyone's.
pub(in super::super) const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
/// Directories of the session's own, gone with it.
pub(in super::super) const PRIVATE: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];
/// Tools that people keep in their homes; nothing in these places is a credential.
const TOOLS: [&str; 10] = [
    ".rustup",
    ".cargo/registry",
    ".nvm",
    ".volta",
    ".pyenv",
    ".rbenv",
    ".sdkman",
    ".local/lib",
    ".local/share/uv",
    ".local/share/pipx",
];
/// Variables that name further ones: lists of directories, or files.
const NAMED: [&str; 13] = [
    "RUSTUP_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "GOROOT",
    "JAVA_HOME",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PYTHONPATH",
    "LD_LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
];
/// Too much to be shown for a variable's sake.
const BROAD: [&str; 14] =
    ["/", "/home", "/root", "/tmp", "/var", "/run", "/dev", "/proc", "/sys", "/mnt", "/media", "/srv", "/boot", "/var/lib"];

/// The places of one session.
#[derive(Debug, Clone)]
pub(in super::super) struct Places {
    /// What it may read and execute; those above others come first.
    pub(in super::super) read: Vec<PathBuf>,
    /// Links in the root directory.
    pub(in super::super) links: Vec<PathBuf>,
    /// Within them: what it is not shown.
    pub(in super::super) hidden: Vec<PathBuf>,
    /// Its workspace, which it may write.
    pub(in super::super) workspace: PathBuf,
    /// The home by its real name; the session finds another one there.
    pub(in super::super) home: Option<PathBuf>,
}

impl Places {
    /// The places of a session with this environment and workspace.
    pub(in super::super) fn of(environment: &[(OsString, OsString)], workspace: &Path, network: bool) -> Self {
        let value = |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let home = value("HOME").map(PathBuf::from).filter(|home| home.is_absolute() && *home != Path::new("/"));
        let (links, mut read): (Vec<PathBuf>, Vec<PathBuf>) =
            SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists()).partition(|path| path.is_symlink());
        let mut more: Vec<PathBuf> = Vec::new();
        for directory in env::split_paths(&value("PATH").unwrap_or_default()) {
            // Programs find their libraries beside their own directory.
            if let (true, Some(parent)) = (directory.ends_with("bin"), directory.parent()) {
                more.extend(["lib", "lib64", "libexec"].map(|name| parent.join(name)));
            }
            more.push(directory);
        }
        more.extend(NAMED.iter().filter_map(|name| value(name)).flat_map(|list| env::split_paths(&list).collect::<Vec<_>>()));
        more.extend(home.iter().flat_map(|home| TOOLS.map(|tool| home.join(tool))));
        if network {
            // Often a link to where the resolver writes it.
            more.extend(Path::new("/etc/resolv.conf").canonicalize());
        }
        for path in more {
            if let Some(path) = worth_showing(path, workspace, home.as_deref())
                && !read.iter().chain(&links).any(|known| path.starts_with(known))
            {
                read.push(path);
            }
        }
        read.sort();
        let hidden = SECRET.iter().map(PathBuf::from).filter(|path| File::open(path).is_ok()).collect();
        Self { read, links, hidden, workspace: workspace.to_owned(), home }
    }

    /// Whether the home lies in what the session may read, as that of a service may.
    pub(in super::super) fn home_is_within(&self) -> bool {
        self.home.as_ref().is_some_and(|home| self.read.iter().any(|read| home.starts_with(read)))
    }

    /// Whether the workspace holds the home, which then is open with it.
    pub(in super::super) fn home_is_open(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.canonicalize().is_ok_and(|home| home.starts_with(&self.workspace)))
    }
}

/// The path, unless it is not there, is there anyway, or holds far more than tools.
fn worth_showing(path: PathBuf, workspace: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let real = fs::canonicalize(&path).ok()?;
    let holds = |other: &Path| other.starts_with(&path) || other.starts_with(&real);
    let broad = BROAD.iter().any(|broad| path == Path::new(broad) || real == Path::new(broad));
    let clean = path.is_absolute() && !path.components().any(|step| matches!(step, std::path::Component::ParentDir));
    (clean && !broad && !holds(workspace) && !home.is_some_and(holds) && !real.starts_with(workspace)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_in_a_home_are_shown_and_the_home_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().canonicalize().unwrap().join("me");
        for made in [".cargo/bin", ".rustup", ".ssh", "node/bin", "node/lib", "work/.venv/bin"] {
            fs::create_dir_all(home.join(made)).unwrap();
        }
        let path = format!(
            "{h}/.cargo/bin:{h}/node/bin:{h}/work/.venv/bin:{h}:/:relative:{h}/node/../.ssh:/usr/bin",
            h = home.display()
        );
        let environment = [("PATH".into(), path.into()), ("HOME".into(), home.clone().into()), ("GOROOT".into(), "/home".into())];
        let places = Places::of(&environment, &home.join("work"), false);
        let of_home: Vec<_> = places.read.iter().filter_map(|path| path.strip_prefix(&home).ok()).collect();
        assert_eq!(of_home, [".cargo/bin", ".rustup", "node/bin", "node/lib"].map(Path::new));
        assert!(places.read.contains(&PathBuf::from("/usr")) && !places.read.contains(&PathBuf::from("/home")));
        assert!(!places.home_is_open() && Places::of(&environment, directory.path(), false).home_is_open());
    }
}
