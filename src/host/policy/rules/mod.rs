//! What programs do, by name and arguments.

pub(super) mod build;
pub(super) mod code;
pub(super) mod files;
pub(super) mod git;
pub(super) mod network;
pub(super) mod options;
mod programs;
pub(super) mod services;
pub(super) mod system;

use super::place::{Place, absolute};
use super::shell::{Arg, Call, Does, Shell};
use options::Options;

/// Directories whose programs are what they are called.
const PROGRAMS: &[&str] =
    &["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/snap/bin"];

/// Programs that show what they are told, or nothing, and change nothing.
const SPEAKING: &[&str] = &[
    "echo", "printf", "true", "false", ":", "test", "[", "sleep", "seq", "yes", "expr", "bc", "dc", "date", "cal", "whoami",
    "id", "groups", "hostname", "uname", "arch", "nproc", "uptime", "free", "pwd", "basename", "dirname", "type", "which",
    "whereis", "hash", "help", "man", "info", "tty", "tput", "clear", "reset", "wait", "jobs", "fg", "bg", "return", "exit",
    "break", "continue", "shift", "getopts",
];

/// Programs that only read the files that they are told.
const READING: &[&str] = &[
    "ls",
    "dir",
    "vdir",
    "cat",
    "tac",
    "nl",
    "head",
    "tail",
    "less",
    "more",
    "bat",
    "batcat",
    "grep",
    "egrep",
    "fgrep",
    "zgrep",
    "rg",
    "ag",
    "ack",
    "wc",
    "sort",
    "uniq",
    "cut",
    "paste",
    "join",
    "comm",
    "diff",
    "cmp",
    "diff3",
    "colordiff",
    "tr",
    "rev",
    "fold",
    "fmt",
    "column",
    "expand",
    "unexpand",
    "od",
    "xxd",
    "hexdump",
    "strings",
    "file",
    "stat",
    "du",
    "df",
    "tree",
    "exa",
    "eza",
    "readlink",
    "realpath",
    "fd",
    "fdfind",
    "locate",
    "jq",
    "yq",
    "xmllint",
    "md5sum",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "sum",
    "base64",
    "base32",
    "zcat",
    "bzcat",
    "xzcat",
    "lsof",
    "ps",
    "pgrep",
    "pstree",
    "top",
    "htop",
    "vmstat",
    "iostat",
    "lscpu",
    "lsblk",
    "lsmod",
    "ldd",
    "nm",
    "objdump",
    "readelf",
];

/// Judges a program by its name.
pub(super) fn judge(shell: &mut Shell<'_>, program: &str, call: &Call<'_>) -> Does {
    if program.contains('/') {
        let path = absolute(program, shell.setting.directory.as_deref());
        let directory = path.as_deref().and_then(|path| path.rsplit_once('/')).map_or("", |(directory, _)| directory);
        if !PROGRAMS.contains(&directory) {
            return code::runs_file(shell, program, call);
        }
    }
    let name = call.name;
    if SPEAKING.contains(&name) {
        return speaking(call, shell);
    }
    if asks_for_help(call) {
        return Does { shows: true, ..Does::default() };
    }
    if READING.contains(&name) {
        return programs::reading(shell, call);
    }
    let families = [programs::judge, code::judge, git::judge, build::judge, network::judge, system::judge, services::judge];
    for family in families {
        if let Some(does) = family(shell, call) {
            return does;
        }
    }
    shell.findings.medium("program.unknown", call.text, "is a program that the rules do not know");
    Does { shows: true, runs_words: true, ..Does::default() }
}

fn asks_for_help(call: &Call<'_>) -> bool {
    matches!(call.args, [only] if matches!(only.text.as_str(), "--version" | "--help" | "-V" | "-h" | "version" | "help"))
}

fn speaking(call: &Call<'_>, shell: &mut Shell<'_>) -> Does {
    if call.name == "printf"
        && let [flag, name, ..] = call.args
        && flag.text == "-v"
    {
        shell.setting.unset(&name.text);
        return Does::default();
    }
    if !matches!(call.name, "echo" | "printf") {
        return Does { shows: matches!(call.name, "id" | "whoami" | "hostname" | "uname"), ..Does::default() };
    }
    let words: Vec<&str> = call.args.iter().map(|arg| arg.text.as_str()).collect();
    let text = words.join(" ");
    let is_seen = !call.args.iter().any(Arg::is_unseen);
    // `printf '\x72\x6d'`, `echo -e '\0162'`.
    let decodes = text.contains("\\x") || text.contains("\\0") || text.contains("\\u") || text.contains("\\1");
    if names_secret(call.text) {
        shell.findings.medium("secret.shown", call.text, "shows the value of a secret");
    }
    let words: Vec<&str> =
        words.iter().copied().skip_while(|word| matches!(*word, "-e" | "-n" | "-en" | "-ne" | "-E" | "--")).collect();
    let prints = words.join(" ").replace("\\n", "\n");
    Does { decodes, reveals: names_secret(call.text), prints: (is_seen && !decodes).then_some(prints), ..Does::default() }
}

/// Whether a text names a variable that holds a secret by its name.
pub(super) fn names_secret(text: &str) -> bool {
    text.split('$').skip(1).any(|after| {
        let name: String =
            after.trim_start_matches(['{', '!', '#']).chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
        let name = name.to_ascii_uppercase();
        ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY", "CREDENTIAL"]
            .iter()
            .any(|word| name.contains(word))
            || name.ends_with("_KEY")
            || name.ends_with("_PAT")
    })
}

/// A program whose name only running it can tell.
pub(super) fn hidden(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    shell.findings.medium("hidden.program", call.text, "runs a program whose name cannot be seen");
    like_delete(shell, call);
    // It may itself be what comes through a pipe.
    Does { runs_words: true, runs_input: true, ..Does::default() }
}

/// Arguments that no harmless program takes.
pub(super) fn like_delete(shell: &mut Shell<'_>, call: &Call<'_>) {
    let options = Options::of(call.args, "");
    let is_recursive = options.has('r', "recursive") || options.has('R', "recursive");
    let hits = |place: Place| matches!(place, Place::Root | Place::System | Place::HomeRoot | Place::WorkspaceRoot);
    if is_recursive && options.has('f', "force") && options.operands().any(|arg| hits(shell.place(arg))) {
        shell.findings.high("hidden.program", call.text, "may delete all of it: it is given what `rm` is given for that");
    }
}
