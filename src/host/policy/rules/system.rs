//! Programs that change the machine, other processes, and who may do what.

use super::names_secret;
use super::options::Options;
use crate::host::policy::shell::{Arg, Call, Does, Shell};

/// Programs of this family.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let text = call.text;
    let options = Options::of(call.args, "");
    let has = |word: &str| call.args.iter().any(|arg| arg.text == word);
    let mut does = Does::default();
    match call.name {
        "mkfs" | "mke2fs" | "mkswap" | "wipefs" | "fdisk" | "sfdisk" | "gdisk" | "sgdisk" | "parted" | "blkdiscard"
        | "hdparm" | "cryptsetup" | "lvremove" | "vgremove" | "pvremove" | "zpool" | "zfs" | "mdadm" | "badblocks" | "nvme"
        | "diskutil" | "format" => {
            shell.findings.high("disk.format", text, "changes disks");
        }
        name if name.starts_with("mkfs.") => shell.findings.high("disk.format", text, "changes disks"),
        "shutdown" | "reboot" | "halt" | "poweroff" | "init" | "telinit" | "kexec" => {
            shell.findings.high("system.power", text, "stops the machine");
        }
        "systemctl" | "service" | "rc-service" | "launchctl" | "loginctl" | "initctl" | "supervisorctl" => service(shell, call),
        "crontab" | "at" | "batch" | "systemd-run" | "atrm" => {
            if options.has('l', "list") {
                return Some(Does { shows: true, ..does });
            }
            shell.findings.high("outside.startup", text, "lets something be run later, or no more");
        }
        "useradd" | "adduser" | "usermod" | "userdel" | "deluser" | "groupadd" | "groupmod" | "gpasswd" | "passwd"
        | "chpasswd" | "visudo" | "vipw" | "chsh" | "chfn" | "newgrp" | "sudoedit" => {
            shell.findings.high("rights.users", text, "changes who may do what");
        }
        "mount" | "umount" | "losetup" | "swapon" | "swapoff" | "pivot_root" | "fusermount" => {
            if call.name == "mount" && call.args.is_empty() {
                return Some(Does { shows: true, ..does });
            }
            shell.findings.high("rights.mount", text, "changes what lies where on the machine");
        }
        "insmod" | "modprobe" | "rmmod" | "kmod" | "dkms" | "bpftool" | "bpftrace" => {
            shell.findings.high("rights.kernel", text, "changes the kernel");
        }
        "sysctl" => {
            if options.has('w', "write") || call.args.iter().any(|arg| arg.text.contains('=')) || options.has('p', "load") {
                shell.findings.high("rights.kernel", text, "changes the kernel");
            }
        }
        "iptables" | "ip6tables" | "nft" | "ufw" | "firewall-cmd" | "ipset" | "setenforce" | "aa-disable" | "auditctl"
        | "apparmor_parser" => {
            shell.findings.high("system.guard", text, "changes what protects the machine");
        }
        "gdb" | "lldb" => {
            if options.has('p', "pid") || options.is_given("-p") {
                shell.findings.high("rights.process", text, "looks into another process");
            } else {
                shell.findings.medium("program.runs", text, "runs a program that cannot be seen from here");
            }
        }
        "kill" => kill(shell, call),
        "pkill" | "killall" | "skill" | "fuser" => {
            shell.findings.medium("process.end", text, "ends processes by name, whosever they are")
        }
        "renice" | "prlimit" | "ulimit" | "umask" | "stty" | "set" | "shopt" | "bind" | "complete" | "compgen" | "unset"
        | "unalias" | "export" | "declare" | "local" | "typeset" | "readonly" | "let" | "dirs" | "disown" | "suspend"
        | "times" | "caller" | "enable" | "logger" => {
            does = shell_state(shell, call);
        }
        "env" | "printenv" => {
            does = Does { reveals: true, shows: true, ..does };
            let shown: Vec<&str> = options.operands().map(|arg| arg.text.as_str()).collect();
            let harmless = |name: &&str| {
                matches!(*name, "PATH" | "HOME" | "USER" | "LANG" | "SHELL" | "PWD" | "TERM" | "VIRTUAL_ENV" | "GOPATH")
            };
            if !shown.is_empty() && shown.iter().all(|name| harmless(name) || !names_secret(&format!("${name}"))) {
                does.reveals = false;
            } else {
                shell.findings.medium("secret.shown", text, "shows the environment, which holds secrets");
            }
        }
        "history" => {
            if options.has('c', "") || options.has('d', "") || options.has('w', "") {
                shell.findings.medium("hidden.traces", text, "hides what was done");
            }
            does.reveals = true;
        }
        "dmesg" | "journalctl" | "last" | "lastlog" | "w" | "who" | "users" | "finger" | "getfacl" | "lspci" | "lsusb"
        | "dmidecode" => {
            if has("--vacuum-size") || has("--rotate") || options.has('C', "clear") {
                shell.findings.medium("hidden.traces", text, "hides what was done");
            }
            does.shows = true;
        }
        "ssh-keygen" | "gpg" | "gpg2" | "ssh-add" | "ssh-copy-id" | "ssh-agent" | "age" | "pass" | "secret-tool" | "security"
        | "keyctl" | "op" | "vault" | "bw" => {
            let writes = options.values(Some('f'), "");
            let inside = !writes.is_empty() && writes.iter().all(|file| is_inside(shell, file));
            if !inside {
                shell.findings.high("secret.read", text, "works with keys or passwords");
            }
            does = Does { reveals: true, shows: true, ..does };
        }
        _ => return None,
    }
    Some(does)
}

fn is_inside(shell: &Shell<'_>, file: &Arg) -> bool {
    use crate::host::policy::place::Place;
    matches!(shell.place(file), Place::Workspace | Place::WorkspaceSecret | Place::Temporary)
}

fn service(shell: &mut Shell<'_>, call: &Call<'_>) {
    let reads = [
        "status",
        "list-units",
        "list-unit-files",
        "is-active",
        "is-enabled",
        "is-failed",
        "show",
        "cat",
        "list",
        "print",
        "list-timers",
    ];
    if !call.args.iter().any(|arg| reads.contains(&arg.text.as_str())) {
        shell.findings.high("system.service", call.text, "changes what runs on the machine");
    }
}

fn kill(shell: &mut Shell<'_>, call: &Call<'_>) {
    if call.args.iter().any(|arg| arg.text == "-l") {
        return;
    }
    // The first word with a dash is the signal; a later one is a group of processes.
    let targets =
        call.args.iter().filter(|arg| arg.text != "--").enumerate().filter(|(at, arg)| *at > 0 || !arg.text.starts_with('-'));
    let targets: Vec<&Arg> = targets.map(|(_, arg)| arg).collect();
    if targets.iter().any(|arg| matches!(arg.text.as_str(), "-1" | "1" | "0")) {
        shell.findings.high("process.end", call.text, "ends everything");
    } else if !targets.iter().all(|arg| arg.text.starts_with('%') || arg.is_unseen()) {
        shell.findings.medium("process.end", call.text, "ends a process that may be anybody's");
    }
}

/// Builtins that change the shell itself.
fn shell_state(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    match call.name {
        "unset" => call.args.iter().for_each(|arg| shell.setting.unset(&arg.text)),
        "enable" if call.args.iter().any(|arg| arg.text == "-f") => {
            shell.findings.medium("code.file", text, "loads code into the shell");
        }
        "export" | "declare" | "set" | "typeset" | "readonly" => {
            // With a name it is an assignment, which is looked at as such.
            let lists = call.args.iter().all(|arg| arg.text == "-p" || arg.text == "-x" || arg.text == "-px");
            if lists {
                shell.findings.medium("secret.shown", text, "shows the environment, which holds secrets");
                return Does { reveals: true, shows: true, ..Does::default() };
            }
        }
        _ => {}
    }
    Does::default()
}

/// A function that calls itself twice over grows until nothing else runs.
pub(in crate::host::policy) fn function(shell: &mut Shell<'_>, name: &str, text: &str) {
    let body = text.split_once('{').map_or("", |(_, body)| body);
    let tokens: Vec<&str> = body.split([' ', '\n', '\t', ';', '{', '}', '(', ')']).filter(|token| !token.is_empty()).collect();
    let joined = tokens.join(" ");
    let spaced = joined.replace('|', " | ").replace('&', " & ");
    let calls = spaced.split_whitespace().filter(|token| *token == name).count();
    if calls >= 2 && spaced.contains('|') {
        shell.findings.high("process.bomb", text, "starts itself twice, for ever");
    } else if calls >= 1 && spaced.contains('&') {
        shell.findings.medium("process.bomb", text, "starts itself in the background");
    }
}
