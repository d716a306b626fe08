//! Bubblewrap: the same view of the machine, built by a program that is made for it and mounts what is only read as such.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::places::{DEVICES, PRIVATE, Places};
use crate::engine::ports::WORKSPACE;

/// The first process in it: says that all is there, then waits for the engine to go. With it the kernel ends every other one.
const WAIT: &str = "echo ready; exec >/dev/null 2>&1; while read -r _; do :; done";
/// The descriptor over which bubblewrap says what it has started.
pub(in super::super) const INFO: i32 = 190;

/// The arguments of `bwrap`.
pub(in super::super) fn arguments(places: &Places, own_network: bool, is_root: bool, bash: &Path) -> Vec<OsString> {
    let mut line = Line(Vec::new());
    // A first process of bubblewrap's own would wait for all the others instead of ending them.
    line.words(&["--unshare-pid", "--as-pid-1", "--unshare-ipc", "--info-fd", &INFO.to_string()]);
    if own_network {
        line.words(&["--unshare-net"]);
    }
    if !is_root {
        line.words(&["--unshare-user"]);
    }
    for path in &places.read {
        line.mount("--ro-bind", path, path);
    }
    for link in &places.links {
        if let Ok(target) = link.read_link() {
            line.mount("--symlink", &target, link);
        }
    }
    if is_root {
        line.one("--dev", Path::new("/dev"));
    } else {
        // Terminals of its own take a further user namespace, which nobody could enter from outside.
        for device in DEVICES.map(Path::new) {
            line.mount("--dev-bind", device, device);
        }
        for (at, name) in ["fd", "fd/0", "fd/1", "fd/2"].iter().zip(["fd", "stdin", "stdout", "stderr"]) {
            line.mount("--symlink", &Path::new("/proc/self").join(at), &Path::new("/dev").join(name));
        }
    }
    for path in PRIVATE.map(Path::new) {
        line.words(&["--perms", if path == Path::new("/run") { "0755" } else { "1777" }]);
        line.one("--dir", path);
    }
    if let Some(home) = &places.home {
        line.one(if places.home_is_within() { "--tmpfs" } else { "--dir" }, home);
    }
    // What lies in the home lies behind it, so it comes again.
    for path in places
        .read
        .iter()
        .filter(|path| places.home_is_within() && places.home.as_ref().is_some_and(|home| path.starts_with(home)))
    {
        line.mount("--ro-bind", path, path);
    }
    for path in &places.hidden {
        if path.is_dir() {
            line.one("--tmpfs", path);
        } else {
            line.mount("--ro-bind", Path::new("/dev/null"), path);
        }
    }
    line.mount("--bind", &places.workspace, Path::new(WORKSPACE));
    if places.workspace != Path::new(WORKSPACE) {
        line.mount("--bind", &places.workspace, &places.workspace);
    }
    line.one("--proc", Path::new("/proc"));
    line.words(&["--chdir", "/", "--"]);
    line.0.push(bash.into());
    line.words(&["--noprofile", "--norc", "-c", WAIT, "rekindle-init"]);
    line.0
}

/// The process that everything in the sandbox ends with, as bubblewrap tells it.
pub(in super::super) fn first_process(info: &str) -> Option<i32> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Info {
        child_pid: i32,
    }
    serde_json::from_str::<Info>(info).ok().map(|info| info.child_pid)
}

struct Line(Vec<OsString>);

impl Line {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn one(&mut self, option: &str, path: &Path) {
        self.0.extend([OsStr::new(option), path.as_os_str()].map(OsStr::to_owned));
    }

    fn mount(&mut self, option: &str, source: &Path, target: &Path) {
        self.one(option, source);
        self.0.push(PathBuf::from(target).into_os_string());
    }
}
