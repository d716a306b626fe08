//! Programs that read, write and delete files.

use super::files::{deletes, reads, writes};
use super::options::Options;
use crate::host::policy::place::{Place, UNSEEN, absolute};
use crate::host::policy::shell::{Arg, Call, Does, Shell};

/// Programs of these families; others are none of this file's business.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let (args, text) = (call.args, call.text);
    match call.name {
        "rm" | "unlink" | "rmdir" | "trash" | "srm" | "shred" => delete(shell, call),
        "cp" | "mv" | "ln" | "install" | "link" => copy(shell, call),
        "touch" | "mkdir" | "mkfifo" | "tee" | "truncate" | "fallocate" | "mktemp" | "split" | "csplit" => {
            let options = Options::of(args, "mSsrdtlopbnaC");
            for arg in options.operands() {
                writes(shell, arg, text);
                if call.name == "tee" && shell.is_fetching {
                    shell.fetch(&arg.text);
                }
            }
        }
        "chmod" | "chown" | "chgrp" | "chattr" | "setfacl" | "setcap" | "chcon" => permissions(shell, call),
        "cd" | "pushd" => change_directory(shell, args),
        "popd" => shell.setting.directory = None,
        "find" => return Some(find(shell, call)),
        "sed" | "gsed" => return Some(sed(shell, call)),
        "dd" => dd(shell, call),
        "tar" | "bsdtar" | "unzip" | "zip" | "7z" | "7za" | "gzip" | "gunzip" | "bzip2" | "bunzip2" | "xz" | "unxz" | "zstd"
        | "unzstd" | "cpio" | "ar" => return Some(archive(shell, call)),
        "patch" | "dos2unix" | "unix2dos" | "ex" | "ed" | "vi" | "vim" | "nvim" | "nano" | "emacs" => {
            Options::of(args, "ipdDc").operands().for_each(|arg| writes(shell, arg, text));
        }
        "mapfile" | "readarray" | "read" => {
            Options::of(args, "adinNptu").operands().for_each(|arg| shell.setting.unset(&arg.text));
        }
        _ => return None,
    }
    Some(Does::default())
}

/// Programs that read all their operands.
pub(super) fn reading(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "nABCmefgtdkwcLIojsqS");
    let mut operands: Vec<&Arg> = options.operands().collect();
    // A pattern or a program is no file.
    let has_pattern = matches!(
        call.name,
        "grep" | "egrep" | "fgrep" | "zgrep" | "rg" | "ag" | "ack" | "jq" | "yq" | "tr" | "fd" | "fdfind" | "locate"
    );
    if has_pattern && !options.is_given("-e") && !options.is_given("-f") && !operands.is_empty() {
        operands.remove(0);
    }
    let no_files = matches!(
        call.name,
        "tr" | "ps" | "pgrep" | "pstree" | "top" | "htop" | "vmstat" | "iostat" | "lscpu" | "lsblk" | "lsmod" | "lsof"
    );
    let mut reveals = false;
    if !no_files {
        for arg in operands {
            // What a directory holds is no secret, only what its files hold.
            if matches!(call.name, "ls" | "stat" | "file" | "du" | "df" | "tree" | "readlink" | "realpath" | "dir") {
                lists(shell, arg, call.text);
            } else {
                reveals |= reads(shell, arg, call.text);
            }
        }
    }
    for output in options.values(None, "output").into_iter().chain(match call.name {
        "sort" | "tree" => options.values(Some('o'), ""),
        _ => Vec::new(),
    }) {
        writes(shell, &output, call.text);
    }
    if call.name == "yq" && options.has('i', "inplace") {
        Options::of(call.args, "").operands().skip(1).for_each(|arg| writes(shell, arg, call.text));
    }
    // `fd -x`, `rg --pre`: they run programs.
    if (matches!(call.name, "fd" | "fdfind") && (options.has('x', "exec") || options.has('X', "exec-batch")))
        || (call.name == "rg" && options.is_given("--pre"))
    {
        shell.findings.medium("hidden.program", call.text, "runs a program for each file");
    }
    let decodes = matches!(call.name, "base64" | "base32") && (options.has('d', "decode") || options.has('D', "decode"))
        || matches!(call.name, "xxd") && options.has('r', "revert")
        || matches!(call.name, "rev" | "tr" | "zcat" | "bzcat" | "xzcat");
    // `cat <<EOF | sh`.
    let prints =
        call.input.filter(|_| matches!(call.name, "cat" | "tac") && options.operands().next().is_none()).map(str::to_owned);
    Does { decodes, reveals, shows: true, prints, ..Does::default() }
}

fn lists(shell: &mut Shell<'_>, arg: &Arg, text: &str) {
    if matches!(shell.place(arg), Place::Home | Place::HomeRoot | Place::Secret | Place::Elsewhere) {
        shell.findings.medium("outside.read", text, "looks outside of the workspace");
    } else if shell.place(arg) == Place::Unseen {
        shell.findings.medium("hidden.path", text, "looks at what cannot be seen");
    }
}

fn delete(shell: &mut Shell<'_>, call: &Call<'_>) {
    let options = Options::of(call.args, "ns");
    let recursive = options.has('r', "recursive") || options.has('R', "recursive");
    if options.is_given("--no-preserve-root") {
        shell.findings.high("delete.root", call.text, "may delete everything");
    }
    for arg in options.operands() {
        if call.name == "shred" {
            writes(shell, arg, call.text);
        }
        deletes(shell, arg, recursive, call.text);
    }
}

fn copy(shell: &mut Shell<'_>, call: &Call<'_>) {
    let options = Options::of(call.args, "tmogSZ");
    let targets = options.values(Some('t'), "target-directory");
    let mut operands: Vec<&Arg> = options.operands().filter(|arg| !targets.contains(arg)).collect();
    let target = match targets.first() {
        Some(target) => target.clone(),
        None if operands.len() > 1 => operands.pop().cloned().unwrap_or_default(),
        None => Arg::plain("."),
    };
    let is_mode = call.name == "install" && options.has('m', "mode");
    let mode = options.values(Some('m'), "mode");
    if is_mode && mode.iter().any(|mode| sets_user(&mode.text)) {
        shell.findings.high("rights.setuid", call.text, "lets others take the owner's rights");
    }
    for source in operands {
        match call.name {
            "mv" => {
                if !matches!(shell.place(source), Place::Workspace | Place::WorkspaceSecret | Place::Temporary) {
                    deletes(shell, source, true, call.text);
                } else if target.text == "/dev/null" {
                    shell.findings.high("delete.outside", call.text, "moves files to where nothing is kept");
                }
            }
            "ln" if !source.text.starts_with('/') && !source.text.starts_with('~') && !source.text.contains("..") => {}
            "ln" if matches!(shell.place(source), Place::Root | Place::Secret | Place::HomeRoot | Place::Disk) => {
                shell.findings.high("outside.link", call.text, "makes a way out of the workspace that later paths hide");
            }
            "ln" if !matches!(
                shell.place(source),
                Place::Workspace | Place::WorkspaceRoot | Place::Temporary | Place::System
            ) =>
            {
                shell.findings.medium("outside.link", call.text, "makes a way out of the workspace that later paths hide");
            }
            _ => {
                reads(shell, source, call.text);
            }
        }
    }
    writes(shell, &target, call.text);
}

fn sets_user(mode: &str) -> bool {
    let is_number = mode.chars().all(|char| char.is_ascii_digit());
    if is_number {
        let special = mode.trim_start_matches('0');
        return special.len() == 4 && special.starts_with(['2', '4', '6', '7']);
    }
    mode.split(',').any(|part| part.split_once(['+', '=']).is_some_and(|(_, rights)| rights.contains('s')))
}

fn permissions(shell: &mut Shell<'_>, call: &Call<'_>) {
    let text = call.text;
    let options = Options::of(call.args, "");
    let recursive = options.has('R', "recursive");
    // `chmod -x f`, `chmod +s f`: a mode may look like an option.
    let mut operands = call.args.iter().filter(|arg| arg.text != "-R" && !arg.text.starts_with("--"));
    let mode = operands.next().map_or("", |arg| arg.text.as_str());
    if call.name == "setcap" || (call.name == "chmod" && sets_user(mode)) {
        shell.findings.high("rights.setuid", text, "lets others take the owner's rights");
    }
    for arg in operands {
        match shell.place(arg) {
            Place::Root | Place::System | Place::HomeRoot if recursive => {
                shell.findings.high("rights.open", text, "changes who may do what in whole parts of the system");
            }
            _ => writes(shell, arg, text),
        }
    }
    if call.name == "chown" && mode.starts_with("root") {
        shell.findings.medium("rights.owner", text, "gives files to root");
    }
}

fn change_directory(shell: &mut Shell<'_>, args: &[Arg]) {
    let target = Options::of(args, "").operands().next().map_or("~", |arg| arg.text.as_str());
    let target = if target == "-" { UNSEEN.to_string() } else { target.to_owned() };
    shell.setting.directory = absolute(&target, shell.setting.directory.as_deref()).filter(|path| !path.contains(UNSEEN));
}

fn find(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    let is_test = |arg: &&Arg| arg.text.starts_with('-') || matches!(arg.text.as_str(), "(" | "!" | ")");
    let mut starts: Vec<Arg> = call
        .args
        .iter()
        .skip_while(|arg| matches!(arg.text.as_str(), "-L" | "-P" | "-H"))
        .take_while(|arg| !is_test(arg))
        .cloned()
        .collect();
    if starts.is_empty() {
        starts.push(Arg::plain("."));
    }
    // Anything narrower than everything below the start.
    let narrows = ["-name", "-iname", "-path", "-wholename", "-regex", "-mtime", "-mmin", "-size", "-newer", "-empty", "-type"];
    let is_narrow = call.args.iter().any(|arg| narrows.contains(&arg.text.as_str()) && arg.text != "-type");
    for start in &starts {
        lists(shell, start, text);
    }
    let mut does = Does { shows: true, ..Does::default() };
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        match arg.text.as_str() {
            "-delete" => {
                for start in &starts {
                    let start = if is_narrow { below(start) } else { start.clone() };
                    deletes(shell, &start, true, text);
                }
            }
            "-exec" | "-execdir" | "-ok" | "-okdir" => {
                let command: Vec<Arg> =
                    args.by_ref().take_while(|arg| !matches!(arg.text.as_str(), ";" | "+")).cloned().collect();
                for start in &starts {
                    let found = if is_narrow { below(start).text } else { start.text.clone() };
                    let with = |arg: &Arg| Arg { text: arg.text.replace("{}", &found), pattern: arg.pattern };
                    let inner = shell.argv(command.iter().map(with).collect(), None, text);
                    does.reveals |= inner.reveals;
                }
            }
            "-fprint" | "-fprintf" | "-fls" | "-fprint0" => {
                if let Some(target) = args.next() {
                    writes(shell, target, text);
                }
            }
            _ => {}
        }
    }
    does
}

/// Something below a directory, by a name that is not known.
fn below(start: &Arg) -> Arg {
    // Inside of a directory names are unlike its own, so a marker of a name stands for them.
    Arg { text: format!("{}/found", start.text.trim_end_matches('/')), pattern: false }
}

fn sed(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "efl");
    let in_place = options.has('i', "in-place");
    let scripts = options.values(Some('e'), "expression");
    let mut operands: Vec<&Arg> = options.operands().collect();
    let mut script = scripts.iter().map(|script| script.text.clone()).collect::<Vec<_>>().join("\n");
    if scripts.is_empty() && !options.has('f', "file") && !operands.is_empty() {
        script = operands.remove(0).text.clone();
    }
    // GNU sed runs programs by `e`, and writes files by `w`.
    let runs = script.trim_start_matches(|char: char| char.is_ascii_digit() || matches!(char, ' ' | '$' | ',')).starts_with("e ")
        || script.trim() == "e"
        || script
            .split(['/', '|', '#'])
            .next_back()
            .is_some_and(|flags| flags.len() <= 4 && flags.contains('e') && script.starts_with('s'));
    if runs {
        shell.findings.medium("hidden.program", call.text, "may run a program from a sed script");
    }
    let mut reveals = false;
    for arg in operands {
        if in_place { writes(shell, arg, call.text) } else { reveals |= reads(shell, arg, call.text) }
    }
    Does { shows: true, reveals, ..Does::default() }
}

fn dd(shell: &mut Shell<'_>, call: &Call<'_>) {
    for arg in call.args {
        let of = |text: &str| Arg { text: text.to_owned(), pattern: false };
        if let Some(target) = arg.text.strip_prefix("of=") {
            writes(shell, &of(target), call.text);
        } else if let Some(source) = arg.text.strip_prefix("if=") {
            reads(shell, &of(source), call.text);
        }
    }
}

fn archive(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let text = call.text;
    let options = Options::of(call.args, "fCdTXobPp");
    if call.args.iter().any(|arg| {
        ["--checkpoint-action", "--to-command", "--use-compress-program", "--rsh-command", "-TT", "--unzip-command"]
            .iter()
            .any(|option| arg.text.starts_with(option))
    }) || (call.name == "tar" && options.has('I', ""))
    {
        shell.findings.medium("hidden.program", text, "runs a program from an option");
    }
    if options.has('P', "absolute-names") && call.name.ends_with("tar") {
        shell.findings.medium("outside.write", text, "unpacks to wherever the archive says");
    }
    for directory in options.values(Some('C'), "directory").into_iter().chain(match call.name {
        "unzip" => options.values(Some('d'), ""),
        _ => Vec::new(),
    }) {
        writes(shell, &directory, text);
    }
    // The old style has no dash: `tar czf out.tgz dir`.
    let cluster = call.args.first().map_or("", |arg| arg.text.trim_start_matches('-'));
    let is_old = call.name.ends_with("tar") && call.args.first().is_some_and(|arg| !arg.text.starts_with('-'));
    let packs =
        cluster.contains('c') || matches!(call.name, "zip" | "gzip" | "bzip2" | "xz" | "zstd") || options.is_given("--create");
    let mut operands: Vec<Arg> = options.operands().skip(usize::from(is_old)).cloned().collect();
    if is_old && cluster.contains('f') && !operands.is_empty() {
        writes(shell, &operands.remove(0), text);
    }
    options.values(Some('f'), "file").iter().filter(|file| file.text != "-").for_each(|file| {
        if packs {
            writes(shell, file, text);
        } else {
            reads(shell, file, text);
        }
    });
    let mut reveals = false;
    for arg in operands.iter().filter(|arg| arg.text != "-") {
        if packs {
            reveals |= reads(shell, arg, text);
        }
    }
    Does { shows: true, reveals, decodes: !packs, ..Does::default() }
}
