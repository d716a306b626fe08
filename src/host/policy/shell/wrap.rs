//! Programs that run other programs: taken off, so that what is run is judged.

use super::{Arg, Shell};
use crate::host::policy::place::absolute;
use crate::session::Risk;

/// How many may stand before a program.
const WRAPPERS_MAX: usize = 16;

/// A program that runs the one behind it.
struct Wrapper {
    name: &'static str,
    /// Its short options that take a value.
    valued: &'static str,
    /// How many operands stand before the program.
    operands: usize,
    /// What it does by itself.
    itself: Option<(Risk, &'static str, &'static str)>,
}

const fn plain(name: &'static str, valued: &'static str, operands: usize) -> Wrapper {
    Wrapper { name, valued, operands, itself: None }
}

const fn privileged(name: &'static str, valued: &'static str) -> Wrapper {
    Wrapper { name, valued, operands: 0, itself: Some((Risk::High, "rights.other-user", "takes the rights of another user")) }
}

const fn entering(name: &'static str, valued: &'static str, operands: usize) -> Wrapper {
    Wrapper {
        name,
        valued,
        operands,
        itself: Some((Risk::High, "rights.namespace", "leaves the place that commands are kept in")),
    }
}

const WRAPPERS: &[Wrapper] = &[
    privileged("sudo", "ugpCcrtTDRUh"),
    privileged("doas", "uC"),
    privileged("pkexec", ""),
    privileged("run0", "u"),
    privileged("gosu", ""),
    privileged("setpriv", ""),
    entering("nsenter", "tSG", 0),
    entering("chroot", "", 1),
    plain("unshare", "RwSG", 0),
    plain("env", "uC", 0),
    plain("nohup", "", 0),
    plain("setsid", "", 0),
    plain("time", "fo", 0),
    plain("nice", "n", 0),
    plain("ionice", "cnpPu", 0),
    plain("chrt", "TPD", 1),
    plain("taskset", "", 1),
    plain("timeout", "ks", 1),
    plain("gtimeout", "ks", 1),
    plain("stdbuf", "ioe", 0),
    plain("unbuffer", "", 0),
    plain("command", "", 0),
    plain("builtin", "", 0),
    plain("exec", "a", 0),
    plain("coproc", "", 0),
    plain("then", "", 0),
    plain("do", "", 0),
    plain("else", "", 0),
    plain("if", "", 0),
    plain("!", "", 0),
    plain("while", "", 0),
    plain("until", "", 0),
    plain("xargs", "IiLlnPsdEea", 0),
    plain("parallel", "jNIL", 0),
    plain("watch", "n", 0),
    plain("strace", "eoEpPsSuaIX", 0),
    plain("ltrace", "eoElnsupaAD", 0),
    plain("busybox", "", 0),
    plain("toybox", "", 0),
    plain("faketime", "", 1),
    plain("flock", "wEc", 1),
    plain("xvfb-run", "efnps", 0),
    plain("caffeinate", "tw", 0),
];

/// Programs that run their arguments as a command too, and must be known by name.
const SWITCH_USER: &[&str] = &["su", "runuser"];
/// Programs that take a command line in an option, and run it as who they are.
const WITH_SCRIPT: &[&str] = &["script", "flock"];

/// `args` without the programs that only run the next one; their names go to `taken`.
pub(super) fn unwrapped(shell: &mut Shell<'_>, mut args: Vec<Arg>, text: &str, taken: &mut Vec<&'static str>) -> Vec<Arg> {
    for _ in 0..WRAPPERS_MAX {
        // `X=1 command`, behind `sudo` or `env`.
        while args.first().is_some_and(|arg| !taken.is_empty() && is_assignment(&arg.text)) {
            let removed = args.remove(0);
            if let Some((name, value)) = removed.text.split_once('=') {
                shell.code_variable(name, Some(value));
            }
        }
        let Some(first) = args.first() else { return args };
        let name = first.text.rsplit('/').next().unwrap_or_default();
        if SWITCH_USER.contains(&name) {
            shell.findings.high("rights.other-user", text, "takes the rights of another user");
            return in_option(shell, &args);
        }
        if WITH_SCRIPT.contains(&name) && args.iter().any(|arg| matches!(arg.text.as_str(), "-c" | "--command")) {
            return in_option(shell, &args);
        }
        let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) else { return args };
        if wrapper.name == "command" && args.get(1).is_some_and(|arg| matches!(arg.text.as_str(), "-v" | "-V")) {
            return vec![Arg::plain("type")];
        }
        if let Some((risk, rule, why)) = wrapper.itself {
            shell.findings.add(risk, rule, text, why);
        }
        taken.push(wrapper.name);
        args = behind(shell, wrapper, &args);
    }
    if args.first().is_some_and(|arg| WRAPPERS.iter().any(|wrapper| wrapper.name == arg.text)) {
        shell.findings.high(
            "hidden.depth",
            text,
            "is a program that runs a program that runs a program, too deep to be followed",
        );
    }
    args
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|char: char| char.is_ascii_digit())
            && name.chars().all(|char| char.is_alphanumeric() || char == '_')
    })
}

/// What stands behind a wrapper, its options and its operands.
fn behind(shell: &mut Shell<'_>, wrapper: &Wrapper, args: &[Arg]) -> Vec<Arg> {
    let mut rest = args.iter().skip(1).peekable();
    while let Some(arg) = rest.next_if(|arg| arg.text.starts_with('-') && arg.text.len() > 1) {
        if arg.text == "--" {
            break;
        }
        if wrapper.name == "env"
            && let Some(script) = arg.text.strip_prefix("-S").or_else(|| arg.text.strip_prefix("--split-string="))
        {
            let script = if script.is_empty() { rest.next().map_or("", |arg| arg.text.as_str()) } else { script };
            let mut split: Vec<Arg> = script.split_whitespace().map(Arg::plain).collect();
            split.extend(rest.cloned());
            return split;
        }
        if let Some(directory) = arg.text.strip_prefix("--chdir=") {
            shell.setting.directory = absolute(directory, shell.setting.directory.as_deref());
        }
        if let Some(short) = arg.text.strip_prefix('-').filter(|short| !short.starts_with('-')) {
            // `-n5` has its value with it, `-n 5` behind it.
            let place = short.find(|char| wrapper.valued.contains(char));
            let value = if place.is_some_and(|place| place + 1 == short.len()) { rest.next() } else { None };
            if wrapper.name == "env"
                && let Some(directory) = value.filter(|_| short.ends_with('C'))
            {
                shell.setting.directory = absolute(&directory.text, shell.setting.directory.as_deref());
            }
        }
    }
    for _ in 0..wrapper.operands {
        // `env X=1 timeout 5 …`: assignments are no operands.
        rest.next();
    }
    let left: Vec<Arg> = rest.cloned().collect();
    // A command line in one word, as `watch` and `parallel` take it.
    if let [only] = left.as_slice()
        && matches!(wrapper.name, "watch" | "parallel" | "unbuffer")
        && only.text.contains(char::is_whitespace)
    {
        let setting = shell.setting.clone();
        shell.script_beside(&only.text.clone(), setting);
        return Vec::new();
    }
    left
}

/// `su -c '…' user`.
fn in_option(shell: &mut Shell<'_>, args: &[Arg]) -> Vec<Arg> {
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        if matches!(arg.text.as_str(), "-c" | "--command")
            && let Some(script) = rest.next()
        {
            let setting = shell.setting.clone();
            shell.script_beside(&script.text, setting);
        }
    }
    let behind = args.iter().position(|arg| arg.text == "--");
    behind.map(|at| args.iter().skip(at + 1).cloned().collect()).unwrap_or_default()
}
