//! Reading, writing and deleting files, by where they lie.

use crate::host::policy::place::{Place, UNSEEN, is_history, is_hook, runs_later};
use crate::host::policy::shell::{Arg, Shell};
use crate::session::Risk;

/// Reading one file; says whether it holds a secret.
pub(in crate::host::policy) fn reads(shell: &mut Shell<'_>, arg: &Arg, text: &str) -> bool {
    match shell.place(arg) {
        Place::Workspace
        | Place::WorkspaceRoot
        | Place::Temporary
        | Place::TemporaryRoot
        | Place::Stream
        | Place::System
        | Place::Root => {}
        Place::Secret => {
            shell.findings.high("secret.read", text, "reads secrets outside of the workspace");
            return true;
        }
        Place::WorkspaceSecret => {
            shell.findings.medium("secret.read", text, "reads what may hold secrets");
            return true;
        }
        Place::Disk => shell.findings.high("disk.read", text, "reads a whole disk, or memory"),
        Place::Socket => shell.findings.high("network.socket", text, "opens a connection from the shell itself"),
        Place::Home | Place::HomeRoot | Place::Elsewhere => {
            shell.findings.medium("outside.read", text, "reads outside of the workspace")
        }
        Place::Unseen => shell.findings.medium("hidden.path", text, "reads a file whose name cannot be seen"),
    }
    false
}

/// Writing one file.
pub(in crate::host::policy) fn writes(shell: &mut Shell<'_>, arg: &Arg, text: &str) {
    let directory = shell.setting.directory.clone();
    if runs_later(&arg.text, directory.as_deref()) {
        shell.findings.high("outside.startup", text, "changes what is run, or who is let in, later");
        return;
    }
    match shell.place(arg) {
        Place::Workspace | Place::WorkspaceRoot if is_hook(&arg.text, directory.as_deref()) => {
            shell.findings.medium("git.hook", text, "changes what git runs");
        }
        Place::Workspace
        | Place::WorkspaceRoot
        | Place::WorkspaceSecret
        | Place::Temporary
        | Place::TemporaryRoot
        | Place::Stream => {}
        Place::Disk => shell.findings.high("disk.write", text, "overwrites a disk, or memory"),
        Place::Socket => shell.findings.high("network.socket", text, "opens a connection from the shell itself"),
        Place::Secret => shell.findings.high("secret.write", text, "changes keys or passwords"),
        Place::Root | Place::System | Place::Home | Place::HomeRoot | Place::Elsewhere => {
            shell.findings.medium("outside.write", text, "writes outside of the workspace");
        }
        Place::Unseen => shell.findings.medium("hidden.path", text, "writes a file whose name cannot be seen"),
    }
}

/// Deleting one file or tree.
pub(in crate::host::policy) fn deletes(shell: &mut Shell<'_>, arg: &Arg, recursive: bool, text: &str) {
    // `dir/*` is all of `dir`.
    let mut whole = arg.clone();
    if arg.pattern && whole.text.len() > 1 {
        whole.text.truncate(whole.text.trim_end_matches('/').len());
    }
    let mut is_whole = recursive;
    if arg.pattern
        && let Some(last) = whole.text.clone().rsplit('/').next()
        && last.contains('*')
        && last.chars().all(|char| matches!(char, '*' | '.' | '?' | '!' | '[' | ']'))
    {
        whole.text = whole.text.strip_suffix(last).unwrap_or_default().to_owned();
        if whole.text.is_empty() {
            whole.text.push('.');
        }
        is_whole = true;
    }
    let directory = shell.setting.directory.clone();
    if is_history(&whole.text, directory.as_deref()) && recursive {
        shell.findings.high("delete.history", text, "deletes a repository's history");
        return;
    }
    if whole.text.trim_start_matches(UNSEEN).chars().all(|char| char == '/') && whole.text.ends_with('/') && whole.is_unseen() {
        shell.findings.high("delete.root", text, "deletes everything when the variable is empty");
        return;
    }
    let (risk, rule, why) = match (shell.place(&whole), is_whole) {
        (Place::Root, _) => (Risk::High, "delete.root", "deletes everything"),
        (Place::WorkspaceRoot, true) => (Risk::High, "delete.workspace", "deletes the whole workspace"),
        (Place::HomeRoot, true) => (Risk::High, "delete.outside", "deletes a home directory"),
        (Place::System, true) => (Risk::High, "delete.outside", "deletes parts of the system"),
        (Place::Secret, _) => (Risk::High, "delete.outside", "deletes keys or passwords"),
        (Place::Disk, _) => (Risk::High, "disk.write", "deletes a disk"),
        (Place::Home | Place::Elsewhere, true) => (Risk::High, "delete.outside", "deletes directories outside of the workspace"),
        (Place::Home | Place::Elsewhere | Place::System | Place::HomeRoot, false) => {
            (Risk::Medium, "delete.outside", "deletes outside of the workspace")
        }
        (Place::TemporaryRoot, true) => (Risk::Medium, "delete.outside", "deletes what others keep in there"),
        (Place::Unseen, true) => (Risk::Medium, "hidden.path", "deletes directories whose names cannot be seen"),
        (Place::Unseen, false) => (Risk::Medium, "hidden.path", "deletes files whose names cannot be seen"),
        (Place::Workspace, true) if whole.is_unseen() => {
            (Risk::Medium, "hidden.path", "deletes directories whose names cannot be seen")
        }
        (
            Place::Workspace
            | Place::WorkspaceRoot
            | Place::WorkspaceSecret
            | Place::Temporary
            | Place::TemporaryRoot
            | Place::Stream
            | Place::Socket,
            _,
        ) => return,
    };
    shell.findings.add(risk, rule, text, why);
}
