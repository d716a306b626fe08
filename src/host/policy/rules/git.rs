//! Git, and what it can lose.

use super::files;
use super::options::Options;
use crate::host::policy::shell::{Arg, Call, Does, Setting, Shell};

/// Settings through which git runs programs.
const CODE_SETTINGS: &[&str] = &[
    "core.hookspath",
    "core.sshcommand",
    "core.pager",
    "core.editor",
    "core.fsmonitor",
    "core.gitproxy",
    "core.askpass",
    "alias.",
    "credential",
    "diff.external",
    "filter.",
    "gpg.program",
    "protocol.ext",
];

/// Git; others are none of this file's business.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    match call.name {
        "git" => {}
        "git-filter-repo" | "bfg" => {
            shell.findings.high("git.rewrite", call.text, "rewrites history");
            return Some(Does::default());
        }
        "gh" | "glab" | "hub" => return Some(forge(shell, call)),
        _ => return None,
    }
    let args = global_options(shell, call);
    let Some((command, rest)) = args.split_first() else { return Some(Does::default()) };
    let options = Options::of(rest, "mCcbBufoS");
    let (findings, text) = (&mut *shell.findings, call.text);
    let operands: Vec<&str> = options.operands().map(|arg| arg.text.as_str()).collect();
    match command.text.as_str() {
        "status" | "diff" | "show" | "blame" | "grep" | "shortlog" | "describe" | "rev-parse" | "rev-list" | "ls-files"
        | "ls-tree" | "cat-file" | "merge-base" | "cherry" | "range-diff" | "whatchanged" | "name-rev" | "count-objects"
        | "check-ignore" | "check-attr" | "var" | "help" | "version" | "for-each-ref" | "show-ref" | "symbolic-ref"
        | "verify-commit" | "fsck" | "log" | "annotate" | "bisect" | "hash-object" => {
            for output in options.values(None, "output") {
                files::writes(shell, &output, text);
            }
        }
        "add" | "commit" | "init" | "mv" | "merge" | "cherry-pick" | "revert" | "apply" | "am" | "notes" | "format-patch"
        | "switch" | "worktree" | "bundle" | "archive" | "sparse-checkout" | "update-index" | "write-tree" | "commit-tree"
        | "rm" | "maintenance" | "repack" | "pack-refs" => {
            if command.text == "commit" && options.has('\0', "no-verify") {
                findings.medium("git.no-verify", text, "goes round the checks of the repository");
            }
            if command.text == "switch" && (options.has('f', "force") || options.is_given("--discard-changes")) {
                findings.medium("git.discard", text, "throws away changes that are not committed");
            }
        }
        "branch" | "tag" | "remote" | "stash" | "reflog" | "checkout" | "restore" | "reset" | "clean" | "rebase" | "gc"
        | "prune" | "update-ref" | "filter-branch" | "filter-repo" | "replace" => {
            lossy(shell, &command.text, &options, &operands, text)
        }
        "push" => push(shell, &options, &operands, text),
        "fetch" | "pull" | "clone" | "ls-remote" | "submodule" | "lfs" | "svn" | "send-email" | "request-pull" | "daemon" => {
            let is_local =
                matches!(operands.as_slice(), [place, ..] if place.starts_with(['/', '.']) || place.starts_with("file://"));
            if command.text == "submodule" && matches!(operands.first(), None | Some(&"status" | &"summary")) {
                return Some(Does { shows: true, ..Does::default() });
            }
            if operands.iter().any(|place| place.starts_with("ext::")) {
                findings.high("git.code", text, "runs a program that an address names");
            } else if !is_local {
                findings.medium("network.reach", text, "reaches the network");
            }
            if command.text == "clone"
                && let Some(place) = operands.first().filter(|_| !is_local)
            {
                let last = place.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
                shell.fetch(operands.get(1).copied().unwrap_or_else(|| last.trim_end_matches(".git")));
            }
            if command.text == "submodule" && operands.first() == Some(&"foreach") {
                let script = operands.iter().skip(1).copied().collect::<Vec<_>>().join(" ");
                let setting = shell.setting.clone();
                shell.script_beside(&script, setting);
            }
            return Some(Does { fetches: true, shows: true, sends_words: true, ..Does::default() });
        }
        "config" => config(shell, &options, &operands, text),
        "credential" | "credential-store" | "credential-cache" => {
            findings.high("secret.read", text, "reads or changes kept passwords");
            return Some(Does { reveals: true, ..Does::default() });
        }
        other => findings.medium("program.unknown", text, format!("is git's `{other}`, which the rules do not know")),
    }
    Some(Does { shows: true, ..Does::default() })
}

/// What stands between `git` and its command.
fn global_options(shell: &mut Shell<'_>, call: &Call<'_>) -> Vec<Arg> {
    let mut args = call.args.iter();
    while let Some(arg) = args.as_slice().first().filter(|arg| arg.text.starts_with('-')) {
        args.next();
        match arg.text.as_str() {
            "-C" | "--git-dir" | "--work-tree" | "--namespace" => drop(args.next()),
            "-c" => {
                let setting = args.next().map(|arg| arg.text.clone()).unwrap_or_default();
                code_setting(shell, &setting, call.text);
            }
            "--exec-path" | "--config-env" => {
                shell.findings.medium("git.code", call.text, "makes git run other programs");
            }
            text if text.starts_with("--exec-path=") => {
                shell.findings.medium("git.code", call.text, "makes git run other programs");
            }
            _ => {}
        }
    }
    args.cloned().collect()
}

fn code_setting(shell: &mut Shell<'_>, setting: &str, text: &str) {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let name = name.to_ascii_lowercase();
    if !CODE_SETTINGS.iter().any(|code| name.starts_with(code)) || matches!(value, "" | "cat" | "true" | "false" | "less") {
        return;
    }
    shell.findings.medium("git.code", text, "makes git run a program");
    let script = value.strip_prefix('!').unwrap_or(value);
    shell.script_beside(script, Setting::workspace());
}

fn config(shell: &mut Shell<'_>, options: &Options<'_>, operands: &[&str], text: &str) {
    let reads = options.has('l', "list") || options.is_given("--get") || options.is_given("--get-all") || operands.len() < 2;
    if reads && !options.is_given("--unset") {
        return;
    }
    if options.is_given("--global") || options.is_given("--system") {
        shell.findings.medium("outside.write", text, "changes git's settings outside of the workspace");
    }
    if let [name, value, ..] = operands {
        code_setting(shell, &format!("{name}={value}"), text);
    }
}

fn push(shell: &mut Shell<'_>, options: &Options<'_>, operands: &[&str], text: &str) {
    let findings = &mut *shell.findings;
    let is_forced = options.has('f', "force") || options.is_given("--force-with-lease") || options.is_given("--mirror");
    if is_forced || operands.iter().skip(1).any(|target| target.starts_with('+')) {
        findings.high("git.force-push", text, "overwrites history that others have");
    } else if options.has('d', "delete")
        || options.is_given("--prune")
        || operands.iter().skip(1).any(|target| target.starts_with(':'))
    {
        findings.high("git.delete-remote", text, "deletes branches that others have");
    } else if options.is_given("--dry-run") {
        findings.medium("network.reach", text, "reaches the network");
    } else {
        findings.medium("git.push", text, "publishes commits");
    }
}

/// Commands that can lose what is not kept anywhere else.
fn lossy(shell: &mut Shell<'_>, command: &str, options: &Options<'_>, operands: &[&str], text: &str) {
    let findings = &mut *shell.findings;
    let discards = match command {
        "filter-branch" | "filter-repo" => {
            findings.high("git.rewrite", text, "rewrites history");
            false
        }
        "reflog" => matches!(operands.first(), Some(&"expire" | &"delete")),
        "gc" => options.has('\0', "prune") || options.is_given("--aggressive"),
        "prune" | "replace" => true,
        "update-ref" => options.has('d', ""),
        "branch" => options.has('D', "") || (options.has('d', "delete") && options.has('f', "force")),
        "tag" => options.has('d', "delete") || options.has('f', "force"),
        "remote" => {
            if matches!(operands.first(), Some(&"add" | &"set-url")) {
                findings.medium("git.remote", text, "changes where commits are sent");
            }
            if operands.first() == Some(&"update") {
                findings.medium("network.reach", text, "reaches the network");
            }
            false
        }
        "stash" => matches!(operands.first(), Some(&"drop" | &"clear")),
        "reset" => options.is_given("--hard") || options.is_given("--merge") || options.is_given("--keep"),
        "clean" => options.has('f', "force") && !options.has('n', "dry-run"),
        "rebase" => {
            let goes_on = ["--continue", "--abort", "--skip", "--quit"].iter().any(|option| options.is_given(option));
            if !goes_on {
                findings.medium("git.rewrite", text, "rewrites commits");
            }
            for script in options.values(Some('x'), "exec") {
                let setting = shell.setting.clone();
                shell.script_beside(&script.text, setting);
            }
            return;
        }
        "checkout" => options.has('f', "force") || operands.iter().any(|operand| matches!(*operand, "." | "./" | "*" | ":/")),
        "restore" => !options.has('S', "staged") || options.has('W', "worktree"),
        _ => false,
    };
    if discards {
        findings.medium("git.discard", text, "throws away what is not committed, or kept anywhere else");
    }
}

/// The programs of GitHub and GitLab.
fn forge(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let words: Vec<&str> = call.args.iter().map(|arg| arg.text.as_str()).collect();
    let deletes = words.iter().any(|word| matches!(*word, "delete" | "archive" | "DELETE" | "transfer" | "remove"));
    let reveals = matches!(words.as_slice(), ["auth", "token", ..]);
    if deletes {
        shell.findings.high("service.delete", call.text, "deletes what others have");
    } else if reveals {
        shell.findings.high("secret.read", call.text, "shows a token");
    } else {
        shell.findings.medium("network.reach", call.text, "reaches the network");
    }
    Does { fetches: true, shows: true, reveals, sends_words: true, sends_input: true, ..Does::default() }
}
