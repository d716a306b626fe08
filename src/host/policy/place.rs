//! Where a path leads.

use crate::engine::ports::WORKSPACE;

/// Stands in a text for a part that cannot be seen before the command runs.
pub(super) const UNSEEN: char = '\u{fffc}';
/// Stands for the home directory, whose real place nobody here knows.
pub(super) const HOME: &str = "/~";

/// Directories of the system, which anybody may look at.
const SYSTEM: &[&str] = &[
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "nix", "opt", "proc", "run", "sbin", "srv", "sys", "usr", "var", "snap",
];
/// Directories of the system that others put things into.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];
/// Devices that hold nothing.
const STREAMS: &[&str] = &["null", "zero", "full", "stdin", "stdout", "stderr", "tty", "random", "urandom", "ptmx"];
/// Beginnings of the names of devices that hold everything.
const DISKS: &[&str] = &[
    "sd", "hd", "vd", "xvd", "nvme", "mmcblk", "disk", "mapper", "dm-", "md", "loop", "mem", "kmem", "port", "sr", "sg", "zd",
    "nbd",
];
/// Names of files that hold secrets, wherever they lie.
const SECRET_NAMES: &[&str] = &[
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".vault-token",
    "credentials.json",
    "service-account.json",
    ".htpasswd",
    "shadow",
    "gshadow",
    "keyring",
];
/// The same, outside of a workspace: inside they are settings of the project.
const SECRET_NAMES_OUTSIDE: &[&str] = &[
    ".npmrc",
    ".pypirc",
    ".bash_history",
    ".zsh_history",
    ".python_history",
    ".psql_history",
    ".mysql_history",
    ".dockercfg",
    "hosts.yml",
    "credentials",
    "sudoers",
    "token",
];
/// Directories of secrets.
const SECRET_DIRECTORIES: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".password-store",
    ".mozilla",
    "gcloud",
    "keyrings",
    "secrets",
    "gh",
];
/// Endings of files that hold keys.
const SECRET_ENDINGS: &[&str] = &[".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk", ".ovpn"];

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the workspace.
    Workspace,
    /// The workspace itself.
    WorkspaceRoot,
    /// Into a directory for temporary files.
    Temporary,
    /// Such a directory itself.
    TemporaryRoot,
    /// A device that holds nothing.
    Stream,
    /// A disk, or the memory of the machine.
    Disk,
    /// A connection: the shell's own `/dev/tcp`.
    Socket,
    /// The root of everything.
    Root,
    /// Directories of the system.
    System,
    /// A home directory itself.
    HomeRoot,
    /// Into a home directory.
    Home,
    /// Anywhere else outside.
    Elsewhere,
    /// Secrets outside of the workspace.
    Secret,
    /// Secrets inside.
    WorkspaceSecret,
    /// Nobody can tell.
    Unseen,
}

/// The absolute path without `.` and `..`; unset when it begins with what cannot be seen.
pub(super) fn absolute(path: &str, directory: Option<&str>) -> Option<String> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let home;
    let path = match path.strip_prefix('~') {
        Some("") => HOME,
        Some(rest) if rest.starts_with('/') => {
            home = format!("{HOME}{rest}");
            &home
        }
        // The home of somebody else.
        Some(rest) => {
            home = format!("/home/{rest}");
            &home
        }
        None => path,
    };
    let from = if path.starts_with('/') { "" } else { directory? };
    if path.starts_with(UNSEEN) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            // What cannot be seen may hold any number of `..`.
            part if part.contains(UNSEEN) && parts.is_empty() => return None,
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Where `path`, as it is said in `directory`, leads.
pub(super) fn place(path: &str, directory: Option<&str>) -> Place {
    absolute(path, directory).map_or(Place::Unseen, |path| of_absolute(&path))
}

fn of_absolute(path: &str) -> Place {
    let inside = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if path == "/" {
        return Place::Root;
    }
    if path == WORKSPACE {
        return Place::WorkspaceRoot;
    }
    let is_inside = inside(WORKSPACE);
    if is_secret(path, is_inside) {
        return if is_inside { Place::WorkspaceSecret } else { Place::Secret };
    }
    if is_inside {
        return Place::Workspace;
    }
    if TEMPORARY.contains(&path) {
        return Place::TemporaryRoot;
    }
    if TEMPORARY.iter().any(|root| inside(root)) {
        return Place::Temporary;
    }
    if let Some(device) = path.strip_prefix("/dev/") {
        return of_device(device);
    }
    if path.starts_with("/proc/self/fd/") {
        return Place::Stream;
    }
    let mut parts = path.split('/').skip(1);
    match (parts.next().unwrap_or_default(), parts.next()) {
        ("~" | "root" | "Users" | "home", None) => Place::HomeRoot,
        ("home" | "Users", Some(_)) if parts.next().is_none() => Place::HomeRoot,
        ("~" | "root" | "Users" | "home", Some(_)) => Place::Home,
        (top, _) if SYSTEM.contains(&top) => Place::System,
        // A pattern at the top may be any of them.
        (top, _) if top.contains(['*', '?', '[']) => Place::Root,
        _ => Place::Elsewhere,
    }
}

fn of_device(device: &str) -> Place {
    let first = device.split('/').next().unwrap_or_default();
    if matches!(first, "tcp" | "udp") {
        return Place::Socket;
    }
    if STREAMS.contains(&first) || matches!(first, "fd" | "pts") || first.starts_with("tty") {
        return Place::Stream;
    }
    if DISKS.iter().any(|disk| first.starts_with(disk)) || device.contains(UNSEEN) || first.contains(['*', '?', '[']) {
        return Place::Disk;
    }
    Place::System
}

fn is_secret(path: &str, inside: bool) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    if SECRET_NAMES.contains(&name.as_str()) || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return true;
    }
    // Samples are there to be read.
    let is_sample = [".example", ".sample", ".template", ".dist", ".schema", ".d.ts"].iter().any(|ending| name.ends_with(ending));
    if (name == ".env" || name.starts_with(".env.")) && !is_sample {
        return true;
    }
    if inside {
        return false;
    }
    if name.ends_with(".pub") || name == "known_hosts" {
        return false;
    }
    let in_directory = path.split('/').any(|part| SECRET_DIRECTORIES.contains(&part));
    let of_process =
        path.starts_with("/proc/") && (path.ends_with("/environ") || path.ends_with("/mem") || path == "/proc/kcore");
    in_directory || of_process || SECRET_NAMES_OUTSIDE.contains(&name.as_str()) || path.starts_with("/etc/ssl/private")
}

/// Whether what lies there is run later, by itself or by others than the session.
pub(super) fn runs_later(path: &str, directory: Option<&str>) -> bool {
    let Some(path) = absolute(path, directory) else { return false };
    let name = path.rsplit('/').next().unwrap_or_default();
    let beginning = [
        "/etc/cron",
        "/etc/profile",
        "/etc/init",
        "/etc/systemd",
        "/etc/rc",
        "/etc/sudoers",
        "/etc/pam",
        "/etc/ld.so",
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/ssh",
        "/etc/apt",
        "/etc/hosts",
        "/etc/bash",
        "/etc/xdg/autostart",
        "/etc/udev",
        "/var/spool/cron",
        "/usr/lib/systemd",
        "/lib/systemd",
        "/boot",
    ];
    let names = [
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".bash_aliases",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".inputrc",
        ".gitconfig",
        ".vimrc",
        ".emacs",
        ".pam_environment",
        ".xinitrc",
        ".xprofile",
        ".tmux.conf",
        "authorized_keys",
        "config.fish",
        ".netrc",
    ];
    let is_outside = !path.starts_with(WORKSPACE);
    is_outside
        && (beginning.iter().any(|beginning| path.starts_with(beginning))
            || names.contains(&name)
            || ["/.config/autostart/", "/.config/systemd/", "/.local/bin/", "/LaunchAgents/", "/.ssh/"]
                .iter()
                .any(|part| path.contains(part)))
}

/// Whether it is inside a repository's own directory, or such a directory.
pub(super) fn is_history(path: &str, directory: Option<&str>) -> bool {
    absolute(path, directory).is_some_and(|path| path.split('/').any(|part| part == ".git"))
}

/// Whether git runs what lies there.
pub(super) fn is_hook(path: &str, directory: Option<&str>) -> bool {
    absolute(path, directory).is_some_and(|path| path.contains("/.git/hooks") || path.ends_with("/.git/config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_before_it_is_judged() {
        for (path, expected) in [
            ("src/a.rs", Place::Workspace),
            (".", Place::WorkspaceRoot),
            ("src/..", Place::WorkspaceRoot),
            ("src/../../etc/passwd", Place::System),
            ("../..", Place::Root),
            ("/workspace/../workspace/a", Place::Workspace),
            ("/workspaces/a", Place::Elsewhere),
            ("//etc//passwd", Place::System),
            ("~/.ssh/id_rsa", Place::Secret),
            ("~/.ssh/id_rsa.pub", Place::Home),
            ("~/notes", Place::Home),
            ("~", Place::HomeRoot),
            ("~mallory", Place::HomeRoot),
            ("/home/x/notes", Place::Home),
            ("/root", Place::HomeRoot),
            (".env", Place::WorkspaceSecret),
            (".env.example", Place::Workspace),
            ("/etc/shadow", Place::Secret),
            ("/proc/self/environ", Place::Secret),
            ("/tmp/x", Place::Temporary),
            ("/tmp", Place::TemporaryRoot),
            ("/dev/null", Place::Stream),
            ("/dev/sda1", Place::Disk),
            ("/dev/tcp/1.2.3.4/80", Place::Socket),
            ("/*", Place::Root),
            ("/data/x", Place::Elsewhere),
            ("\u{fffc}/x", Place::Unseen),
            ("/\u{fffc}/x", Place::Unseen),
            ("/workspace/\u{fffc}", Place::Workspace),
            ("file:///etc/shadow", Place::Secret),
        ] {
            assert_eq!(place(path, Some(WORKSPACE)), expected, "{path}");
        }
        assert_eq!(place("a", None), Place::Unseen);
        assert_eq!(place("passwd", Some("/etc")), Place::System);
    }
}
