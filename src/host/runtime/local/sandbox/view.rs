//! A session's own view of the machine, built of nothing but its places.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::places::{DEVICES, PRIVATE, Places};
use crate::engine::ports::WORKSPACE;

/// Builds it.
pub(in super::super) const SCRIPT: &str = include_str!("view.sh");
/// Where the new root can be built: anywhere where nothing lies that is mounted into it.
const STAGES: [&str; 6] = ["/mnt", "/media", "/srv", "/run", "/tmp", "/boot"];

/// The arguments of the script.
pub(in super::super) fn arguments(places: &Places, own_network: bool, is_root: bool) -> Option<Vec<OsString>> {
    let sources = || places.read.iter().chain([&places.workspace]);
    let is_free = |stage: &&Path| stage.is_dir() && !stage.is_symlink() && !sources().any(|source| source.starts_with(stage));
    let stage = STAGES.iter().map(Path::new).find(is_free)?;
    let mut plan = Plan { stage, table: Vec::new(), directories: Vec::new(), files: Vec::new() };
    plan.directories.extend(PRIVATE.iter().map(|path| relative(Path::new(path))));
    if let Some(home) = &places.home {
        plan.directories.push(relative(home));
    }
    // Landlock knows no right to change a file's mode or owner, and what lies in the home has the rights to the home, too.
    for path in &places.read {
        plan.bind(path, path, &format!("rbind,ro{}", kept(path)));
    }
    if let Some(home) = places.home.as_ref().filter(|home| places.home_is_within() && home.is_dir()) {
        plan.directories.push("proc/home".into());
        plan.bind(&stage.join("proc/home"), home, "bind");
    }
    for path in &places.hidden {
        let nothing = if path.is_dir() { stage.join("proc/none") } else { PathBuf::from("/dev/null") };
        plan.line(nothing.as_os_str(), path, "none", "bind");
    }
    for device in DEVICES {
        plan.bind(Path::new(device), Path::new(device), "bind");
    }
    if is_root {
        // Others have no user there that these could belong to.
        plan.directories.push("dev/pts".into());
        plan.line(OsStr::new("devpts"), Path::new("/dev/pts"), "devpts", "newinstance,ptmxmode=0666,mode=620,nosuid,noexec");
    }
    plan.bind(&places.workspace, Path::new(WORKSPACE), "rbind");
    if places.workspace != Path::new(WORKSPACE) {
        // What a build has written down may name it so.
        plan.bind(&places.workspace, &places.workspace, "rbind");
    }
    plan.line(OsStr::new("proc"), Path::new("/proc"), "proc", "nosuid,nodev,noexec");
    let mut arguments = vec![stage.as_os_str().to_owned(), OsString::from_vec(plan.table)];
    arguments.push(if own_network { "net".into() } else { OsString::new() });
    let links = places.links.iter().map(|link| link.clone().into_os_string()).collect();
    for list in [plan.directories, plan.files, links] {
        arguments.push(list.len().to_string().into());
        arguments.extend(list);
    }
    Some(arguments)
}

struct Plan<'a> {
    stage: &'a Path,
    /// Lines as in `fstab`.
    table: Vec<u8>,
    directories: Vec<OsString>,
    files: Vec<OsString>,
}

impl Plan<'_> {
    /// Shows `source` at `target`.
    fn bind(&mut self, source: &Path, target: &Path, options: &str) {
        if source.is_dir() || source.starts_with(self.stage) {
            self.directories.push(relative(target));
        } else {
            self.directories.extend(target.parent().map(relative));
            self.files.push(relative(target));
        }
        self.line(source.as_os_str(), target, "none", options);
    }

    fn line(&mut self, source: &OsStr, target: &Path, kind: &str, options: &str) {
        let target = self.stage.join(target.strip_prefix("/").unwrap_or(target));
        self.table.extend(escaped(source));
        self.table.push(b' ');
        self.table.extend(escaped(target.as_os_str()));
        self.table.extend(format!(" {kind} {options} 0 0\n").bytes());
    }
}

/// The flags of the mount that `path` is on, which an ordinary user may not leave out.
fn kept(path: &Path) -> String {
    use nix::sys::statvfs::FsFlags;
    let flags = nix::sys::statvfs::statvfs(path).map_or_else(|_| FsFlags::empty(), |stat| stat.flags());
    let known = [
        (FsFlags::ST_NOSUID, ",nosuid"),
        (FsFlags::ST_NODEV, ",nodev"),
        (FsFlags::ST_NOEXEC, ",noexec"),
        (FsFlags::ST_NOATIME, ",noatime"),
        (FsFlags::ST_NODIRATIME, ",nodiratime"),
        (FsFlags::ST_RELATIME, ",relatime"),
    ];
    known.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, word)| *word).collect()
}

fn relative(path: &Path) -> OsString {
    let inside = path.strip_prefix("/").unwrap_or(path);
    if inside.as_os_str().is_empty() { ".".into() } else { inside.as_os_str().to_owned() }
}

/// A path as a table of mounts holds it.
fn escaped(path: &OsStr) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' | b'\r' => format!("\\{byte:03o}").into_bytes(),
        byte => vec![*byte],
    };
    path.as_bytes().iter().flat_map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_is_one_field() {
        assert_eq!(escaped(OsStr::new("/a b\t\\#\n\u{fc}")), "/a\\040b\\011\\134\\043\\012\u{fc}".as_bytes());
    }
}
