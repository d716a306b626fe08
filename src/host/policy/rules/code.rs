//! Programs that run code: shells and interpreters.

use super::options::Options;
use super::{files, like_delete};
use crate::host::policy::place::{UNSEEN, absolute};
use crate::host::policy::python;
use crate::host::policy::shell::{Arg, Call, Does, Setting, Shell};

/// Programs of this family.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let runs = Does { runs_words: true, ..Does::default() };
    let version_free: &str = call.name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    Some(match (call.name, version_free) {
        ("bash" | "sh" | "zsh" | "dash" | "ksh" | "ash" | "fish" | "rbash" | "mksh" | "pwsh" | "csh" | "tcsh", _) => {
            run_shell(shell, call)
        }
        ("eval", _) => {
            let words: Vec<&str> = call.args.iter().map(|arg| arg.text.as_str()).collect();
            script(shell, &words.join(" "), call, false);
            // It may have set anything.
            shell.setting.forget();
            Does { runs_input: call.args.iter().any(Arg::is_unseen), ..runs }
        }
        ("source" | ".", _) => {
            if let Some(file) = call.args.first() {
                runs_path(shell, file, call, "runs a file in this shell");
            }
            shell.setting.forget();
            runs
        }
        ("trap", _) => {
            if let Some(handler) = call.args.first().filter(|arg| arg.text != "-" && !arg.text.starts_with("--")) {
                script(shell, &handler.text.clone(), call, true);
            }
            Does::default()
        }
        ("alias", _) => {
            for (_, meaning) in call.args.iter().filter_map(|arg| arg.text.split_once('=')) {
                script(shell, meaning, call, true);
            }
            Does::default()
        }
        (_, "python" | "pypy" | "ipython") => run_python(shell, call),
        (
            _,
            "perl" | "ruby" | "node" | "nodejs" | "php" | "lua" | "deno" | "bun" | "Rscript" | "julia" | "tclsh" | "osascript"
            | "groovy",
        ) => interpreter(shell, call),
        ("awk" | "gawk" | "mawk" | "nawk", _) => awk(shell, call),
        _ => return None,
    })
}

/// A text that a shell runs; `beside` keeps what it sets out of this shell.
fn script(shell: &mut Shell<'_>, text: &str, call: &Call<'_>, beside: bool) {
    if text.contains(UNSEEN) {
        shell.findings.medium("hidden.script", call.text, "runs a script that cannot be seen");
    }
    let visible = text.replace(UNSEEN, "$HIDDEN");
    if beside {
        let setting = shell.setting.clone();
        shell.script_beside(&visible, setting);
    } else {
        shell.script(&visible);
    }
}

fn run_shell(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let mut args = call.args.iter().peekable();
    let mut is_command = false;
    while let Some(arg) = args.next_if(|arg| arg.text.starts_with(['-', '+']) && arg.text.len() > 1) {
        match arg.text.as_str() {
            "--rcfile" | "--init-file" | "-o" | "+o" | "-O" | "+O" => drop(args.next()),
            text if text.starts_with("--") => {}
            "-Command" | "-c" => is_command = true,
            text => is_command |= text.contains('c'),
        }
        if is_command {
            break;
        }
    }
    // `bash -c -e '…'`: further options may stand before the script.
    while is_command && args.next_if(|arg| arg.text.starts_with('-') && arg.text.len() > 1).is_some() {}
    match (args.next(), is_command) {
        (Some(text), true) => {
            script(shell, &text.text.clone(), call, true);
            Does { runs_words: true, runs_input: text.is_unseen(), ..Does::default() }
        }
        (Some(file), false) if file.text != "-" && file.text != "/dev/stdin" => {
            runs_path(shell, file, call, "runs a script");
            Does { runs_words: true, ..Does::default() }
        }
        _ => {
            if let Some(input) = call.input {
                let text = if input.starts_with(['"', '\'', '$']) { shell.setting.text(input) } else { input.to_owned() };
                script(shell, &text, call, true);
            } else if call.args.iter().any(|arg| arg.text == "-i") {
                shell.findings.medium("hidden.input", call.text, "opens a shell that takes commands from elsewhere");
            }
            Does { runs_input: true, runs_words: true, ..Does::default() }
        }
    }
}

/// A file that is run as a program, by its path.
pub(super) fn runs_file(shell: &mut Shell<'_>, program: &str, call: &Call<'_>) -> Does {
    runs_path(shell, &Arg::plain(program), call, "runs a program from a file");
    like_delete(shell, call);
    Does { runs_words: true, shows: true, ..Does::default() }
}

fn runs_path(shell: &mut Shell<'_>, file: &Arg, call: &Call<'_>, what: &str) {
    let directory = shell.setting.directory.clone();
    let path = absolute(&file.text, directory.as_deref());
    let is_fetched = |path: &String| {
        shell
            .fetched
            .iter()
            .any(|fetched| path.strip_prefix(fetched.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    if path.as_ref().is_some_and(is_fetched) {
        shell.findings.high("code.fetched", call.text, "runs what the network sent just before");
    } else {
        shell.findings.medium("code.file", call.text, format!("{what}, which cannot be seen from here"));
    }
}

fn run_python(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let mut args = call.args.iter();
    while let Some(arg) = args.next() {
        match arg.text.as_str() {
            "-c" => {
                let code = args.next().map(|arg| arg.text.clone()).unwrap_or_default();
                code_of_python(shell, &code, call);
                return Does { runs_words: true, shows: true, ..Does::default() };
            }
            "-m" => {
                module(shell, args.as_slice(), call);
                return Does { shows: true, ..Does::default() };
            }
            "-" | "/dev/stdin" => break,
            "-V" | "--version" | "-h" | "--help" => return Does::default(),
            "-W" | "-X" => drop(args.next()),
            text if text.starts_with('-') => {}
            _ => {
                runs_path(shell, arg, call, "runs a script");
                return Does { runs_words: true, shows: true, ..Does::default() };
            }
        }
    }
    if let Some(input) = call.input {
        code_of_python(shell, input, call);
        return Does { shows: true, ..Does::default() };
    }
    Does { runs_input: true, runs_words: true, shows: true, ..Does::default() }
}

fn code_of_python(shell: &mut Shell<'_>, code: &str, call: &Call<'_>) {
    if code.contains(UNSEEN) {
        shell.findings.medium("hidden.script", call.text, "runs a script that cannot be seen in full");
    }
    python::judge(shell, code);
}

/// `python -m …`.
fn module(shell: &mut Shell<'_>, args: &[Arg], call: &Call<'_>) {
    let Some((module, rest)) = args.split_first() else { return };
    match module.text.as_str() {
        "pytest" | "unittest" | "doctest" | "mypy" | "ruff" | "black" | "isort" | "flake8" | "pylint" | "coverage"
        | "compileall" | "py_compile" | "json.tool" | "venv" | "timeit" | "pdb" | "tabnanny" | "tokenize" | "ast" | "dis"
        | "build" | "tox" | "nox" | "this" | "calendar" => {}
        "pip" | "ensurepip" | "pipx" => {
            let call = Call { name: "pip", args: rest, input: None, text: call.text };
            super::build::judge(shell, &call);
        }
        "http.server" => shell.findings.medium("network.serve", call.text, "opens files to the network"),
        _ => shell.findings.medium("code.file", call.text, "runs a module, which cannot be seen from here"),
    }
}

fn interpreter(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let inline = [
        "-e", "-E", "-ne", "-pe", "-nE", "-pi", "-i", "-r", "-p", "-n", "--eval", "--print", "eval", "-lne", "-lane", "-0pe",
        "-0777",
    ];
    let is_inline = call.args.iter().any(|arg| inline.contains(&arg.text.as_str()) || arg.text.starts_with("--eval="));
    if matches!(call.args, [only] if matches!(only.text.as_str(), "-v" | "--version" | "--help" | "-h" | "-V")) {
        return Does::default();
    }
    if is_inline {
        let code: Vec<&str> = call.args.iter().map(|arg| arg.text.as_str()).collect();
        let code = code.join(" ");
        let words = [
            "system",
            "exec",
            "spawn",
            "unlink",
            "rmtree",
            "rmSync",
            "rm_rf",
            "child_process",
            "socket",
            "Socket",
            "fetch(",
            "http",
            "eval",
            "`",
        ];
        match words.iter().find(|word| code.contains(*word)) {
            Some(word) => {
                shell.findings.medium(
                    "code.inline",
                    call.text,
                    format!("runs code that says {word}, which the rules cannot read"),
                );
            }
            None => shell.findings.medium("code.inline", call.text, "runs code that the rules cannot read"),
        }
        if (code.contains("/dev/tcp") || code.to_ascii_lowercase().contains("socket"))
            && (code.contains("/bin/") || code.contains("exec"))
        {
            shell.findings.high("network.shell", call.text, "opens a shell to the network");
        }
        quoted_scripts(shell, &code);
        return Does { runs_words: true, shows: true, ..Does::default() };
    }
    match Options::of(call.args, "").operands().find(|arg| !matches!(arg.text.as_str(), "run" | "test")) {
        Some(file) if file.text != "-" => {
            runs_path(shell, file, call, "runs a script");
            Does { runs_words: true, shows: true, ..Does::default() }
        }
        _ if call.input.is_some() => {
            shell.findings.medium("code.inline", call.text, "runs code that the rules cannot read");
            quoted_scripts(shell, call.input.unwrap_or_default());
            Does { shows: true, ..Does::default() }
        }
        _ => Does { runs_input: true, runs_words: true, ..Does::default() },
    }
}

/// Texts in quotes may be command lines: those that would be bad ones count.
fn quoted_scripts(shell: &mut Shell<'_>, code: &str) {
    for quote in ['"', '\'', '`'] {
        let inner = code.split(quote).skip(1).step_by(2).filter(|text| text.contains(' ')).take(16);
        for text in inner {
            python::script_in_text(shell, text);
        }
    }
}

fn awk(shell: &mut Shell<'_>, call: &Call<'_>) -> Does {
    let options = Options::of(call.args, "Fvf");
    let mut operands: Vec<&Arg> = options.operands().collect();
    let mut reveals = false;
    if options.has('f', "file") {
        shell.findings.medium("code.file", call.text, "runs a script, which cannot be seen from here");
    } else if !operands.is_empty() {
        let program = operands.remove(0).text.clone();
        if program.contains("system(")
            || program.contains("| getline")
            || program.contains("|getline")
            || program.contains("| \"")
        {
            shell.findings.medium("code.inline", call.text, "runs programs from an awk script");
            quoted_scripts(shell, &program);
        }
        if program.contains("/inet/") {
            shell.findings.high("network.socket", call.text, "opens a connection from a script");
        }
        if let Some(target) =
            program.split('>').nth(1).and_then(|rest| rest.split('"').nth(1)).filter(|target| target.contains('/'))
        {
            files::writes(shell, &Arg::plain(target), call.text);
        }
    }
    for arg in operands.iter().filter(|arg| !arg.text.contains('=')) {
        reveals |= files::reads(shell, arg, call.text);
    }
    Does { shows: true, reveals, ..Does::default() }
}

/// What a shell on another machine knows.
pub(super) fn remote(shell: &mut Shell<'_>, text: &str) {
    shell.script_beside(text, Setting::elsewhere());
}
