//! Judges Python: its words and texts, taken apart; what it computes cannot be seen.

mod token;

use super::finding::Findings;
use super::place::{Place, place};
use super::rules::files;
use super::shell::{Arg, Setting, Shell};
use crate::session::Risk;
use token::{Token, dotted, text_of, tokens};

/// Longer code is not read whole, in bytes.
const CODE_MAX: usize = 256 * 1024;
/// How many texts are looked at as command lines.
const SCRIPTS_MAX: usize = 64;

/// Names of modules and functions, and what they mean.
const MEANINGS: &[(&str, Risk, &str, &str)] = &[
    ("subprocess", Risk::Medium, "python.process", "runs other programs"),
    ("os.system", Risk::Medium, "python.process", "runs other programs"),
    ("os.popen", Risk::Medium, "python.process", "runs other programs"),
    ("os.exec", Risk::Medium, "python.process", "runs other programs"),
    ("os.spawn", Risk::Medium, "python.process", "runs other programs"),
    ("os.posix_spawn", Risk::Medium, "python.process", "runs other programs"),
    ("pty", Risk::Medium, "python.process", "runs other programs"),
    ("pexpect", Risk::Medium, "python.process", "runs other programs"),
    ("sh", Risk::Medium, "python.process", "runs other programs"),
    ("commands", Risk::Medium, "python.process", "runs other programs"),
    ("multiprocessing", Risk::Low, "python.process", "starts processes"),
    ("os.kill", Risk::Medium, "process.end", "ends processes"),
    ("os.fork", Risk::Medium, "python.process", "starts processes"),
    ("os.setuid", Risk::High, "rights.other-user", "takes the rights of another user"),
    ("os.chown", Risk::Medium, "rights.owner", "changes owners of files"),
    ("ctypes", Risk::Medium, "python.native", "runs native code, which cannot be seen"),
    ("cffi", Risk::Medium, "python.native", "runs native code, which cannot be seen"),
    ("socket", Risk::Medium, "network.socket", "opens connections"),
    ("requests", Risk::Medium, "network.reach", "reaches the network"),
    ("httpx", Risk::Medium, "network.reach", "reaches the network"),
    ("aiohttp", Risk::Medium, "network.reach", "reaches the network"),
    ("urllib.request", Risk::Medium, "network.reach", "reaches the network"),
    ("urllib3", Risk::Medium, "network.reach", "reaches the network"),
    ("http.client", Risk::Medium, "network.reach", "reaches the network"),
    ("http.server", Risk::Medium, "network.serve", "opens files to the network"),
    ("ftplib", Risk::Medium, "network.reach", "reaches the network"),
    ("smtplib", Risk::Medium, "network.reach", "sends mail"),
    ("telnetlib", Risk::Medium, "network.reach", "reaches the network"),
    ("paramiko", Risk::Medium, "network.remote", "works on another machine"),
    ("fabric", Risk::Medium, "network.remote", "works on another machine"),
    ("boto3", Risk::Medium, "service.reach", "works on what runs elsewhere"),
    ("websocket", Risk::Medium, "network.reach", "reaches the network"),
    ("websockets", Risk::Medium, "network.reach", "reaches the network"),
    ("pickle", Risk::Medium, "python.hidden", "may run code that data holds"),
    ("marshal", Risk::Medium, "python.hidden", "may run code that data holds"),
    ("importlib", Risk::Medium, "python.hidden", "imports what cannot be seen"),
    ("__import__", Risk::Medium, "python.hidden", "imports what cannot be seen"),
    ("__builtins__", Risk::Medium, "python.hidden", "reaches what is built in by other ways"),
    ("__subclasses__", Risk::Medium, "python.hidden", "reaches what is built in by other ways"),
    ("builtins", Risk::Medium, "python.hidden", "reaches what is built in by other ways"),
    ("keyring", Risk::High, "secret.read", "reads kept passwords"),
    ("os.environ", Risk::Medium, "secret.shown", "reads the environment, which holds secrets"),
    ("os.getenv", Risk::Low, "secret.shown", "reads the environment"),
    ("webbrowser", Risk::Medium, "network.reach", "opens a browser"),
];

/// Judges code in the eyes of `shell`, which knows where it is run.
pub(super) fn judge(shell: &mut Shell<'_>, code: &str) {
    if code.len() > CODE_MAX {
        shell.findings.high("hidden.length", code, "is too long to be read");
        return;
    }
    let code = &magics(shell, code);
    let tokens = tokens(code);
    let mut scripts = 0;
    for statement in tokens.split(|token| *token == Token::Break) {
        one(shell, statement, &mut scripts);
    }
}

/// IPython's `!ls` and `%%bash`; what is left is Python.
fn magics(shell: &mut Shell<'_>, code: &str) -> String {
    if let Some(rest) = code.trim_start().strip_prefix("%%") {
        let (magic, body) = rest.split_once('\n').unwrap_or((rest, ""));
        if matches!(magic.split_whitespace().next(), Some("bash" | "sh" | "script" | "!" | "sx" | "system")) {
            let setting = shell.setting.clone();
            shell.script_beside(body, setting);
            return String::new();
        }
    }
    let mut python = String::with_capacity(code.len());
    for line in code.lines() {
        let trimmed = line.trim_start();
        let script =
            trimmed.strip_prefix('!').or_else(|| trimmed.strip_prefix("%sx ")).or_else(|| trimmed.strip_prefix("%system "));
        let script = script.or_else(|| trimmed.split_once("= !").map(|(_, script)| script));
        match script {
            Some(script) => {
                let setting = shell.setting.clone();
                shell.script_beside(script.trim_start_matches('!'), setting);
            }
            None if trimmed.starts_with("%pip") || trimmed.starts_with("%conda") => {
                shell.findings.medium("install", trimmed, "installs what others wrote, which runs on its own");
            }
            None => python.push_str(line),
        }
        python.push('\n');
    }
    python
}

/// One statement.
fn one(shell: &mut Shell<'_>, statement: &[Token], scripts: &mut usize) {
    let dotted = dotted(statement);
    let is_import = matches!(statement.first(), Some(Token::Name(word)) if word == "import" || word == "from");
    let part = text_of(statement);
    for name in &dotted {
        meaning(shell.findings, name, is_import, &part);
    }
    let has = |word: &str| dotted.iter().any(|name| name == word || name.rsplit('.').next() == Some(word));
    let texts = || statement.iter().filter_map(|token| if let Token::Text(text) = token { Some(text.as_str()) } else { None });
    if has("eval") || has("exec") || has("compile") {
        let decodes = dotted.iter().any(|name| {
            ["b64decode", "decompress", "fromhex", "decode", "loads", "rot13", "unhexlify"]
                .iter()
                .any(|word| name.ends_with(word))
        });
        let fetches =
            dotted.iter().any(|name| ["urlopen", "requests", "httpx", "urllib", "recv"].iter().any(|word| name.contains(word)));
        if fetches {
            shell.findings.high("code.fetched", &part, "runs what the network sends");
        } else if decodes {
            shell.findings.high("code.decoded", &part, "runs what was made unreadable");
        } else {
            shell.findings.medium("python.hidden", &part, "runs code that is made as it goes");
        }
        // What it runs may stand there.
        let inner: Vec<String> = texts().map(str::to_owned).collect();
        for text in inner.iter().take(4).filter(|text| text.contains('(') && text.len() < part.len()) {
            judge(shell, text);
        }
    }
    // Only a call is one: `getattr(os, "system")` hides its name.
    if has("getattr")
        && dotted.iter().any(|name| matches!(name.as_str(), "os" | "sys" | "subprocess" | "shutil" | "builtins" | "__builtins__"))
    {
        shell.findings.medium("python.hidden", &part, "calls a function by a name that is made as it goes");
    }
    if has("rmtree") || has("removedirs") {
        paths(shell, statement, |shell, path| files::deletes(shell, &Arg::plain(path), true, &part), &part);
    } else if has("remove") || has("unlink") || has("rmdir") {
        for text in texts().filter(|text| looks_like_path(text)) {
            files::deletes(shell, &Arg::plain(text), false, &part);
        }
    } else {
        opened(shell, statement, &dotted, &part);
    }
    let runs = [
        "system",
        "popen",
        "run",
        "call",
        "check_call",
        "check_output",
        "Popen",
        "getoutput",
        "getstatusoutput",
        "spawn",
        "execvp",
        "execv",
        "execl",
        "execlp",
        "create_subprocess_shell",
        "create_subprocess_exec",
        "posix_spawn",
    ];
    if runs.iter().any(|word| has(word)) {
        command_lines(shell, statement, scripts);
    }
    let all = texts().collect::<Vec<_>>();
    let reverse = dotted.iter().any(|name| name.contains("socket"))
        && (has("dup2") || all.iter().any(|text| text.contains("/bin/sh") || text.contains("/bin/bash")));
    if reverse || (has("dup2") && has("fileno")) {
        shell.findings.high("network.shell", &part, "opens a shell to the network");
    }
    let sends = dotted.iter().any(|name| {
        ["requests.post", "requests.put", "httpx.post", "httpx.put", "urlopen", "requests.get", "requests.request", "httpx.get"]
            .iter()
            .any(|word| name.ends_with(word))
    });
    let reveals = dotted.iter().any(|name| name.starts_with("os.environ"))
        || all.iter().any(|text| matches!(place(text, None), Place::Secret));
    if sends && (reveals || has("open")) {
        shell.findings.high("send.data", &part, "sends files or the environment away");
    }
}

fn meaning(findings: &mut Findings, name: &str, is_import: bool, part: &str) {
    for &(word, risk, rule, why) in MEANINGS {
        let met = name == word
            || name.strip_prefix(word).is_some_and(|rest| rest.starts_with('.'))
            || (matches!(word, "os.exec" | "os.spawn") && name.starts_with(word))
            || (word.starts_with("__") && name.split('.').any(|part| part == word));
        // A plain word such as `sh` or `requests` is a module where it is imported or has something of it called.
        let is_module = is_import || word.contains('.') || word.starts_with("__") || name.len() > word.len();
        if met && is_module && risk > Risk::Low {
            findings.add(risk, rule, part, why);
        }
    }
}

/// Files that are opened, read or written.
fn opened(shell: &mut Shell<'_>, statement: &[Token], dotted: &[String], part: &str) {
    let has = |word: &str| dotted.iter().any(|name| name == word || name.rsplit('.').next() == Some(word));
    let opens = [
        "open",
        "Path",
        "read_text",
        "read_csv",
        "read_bytes",
        "listdir",
        "copy",
        "copyfile",
        "copytree",
        "move",
        "rename",
        "symlink",
        "chmod",
        "makedirs",
        "mkdir",
        "loadtxt",
        "glob",
        "walk",
        "scandir",
    ];
    let writes = [
        "write_text",
        "write_bytes",
        "to_csv",
        "copy",
        "copyfile",
        "copytree",
        "move",
        "rename",
        "symlink",
        "chmod",
        "makedirs",
        "mkdir",
        "touch",
        "replace",
        "savetxt",
    ];
    let texts: Vec<&str> =
        statement.iter().filter_map(|token| if let Token::Text(text) = token { Some(text.as_str()) } else { None }).collect();
    let is_mode = |text: &&str| {
        text.len() <= 3 && text.starts_with(['w', 'a', 'x', 'r']) && text.chars().all(|char| "rwaxbt+".contains(char))
    };
    let is_written =
        writes.iter().any(|word| has(word)) || texts.iter().any(|text| is_mode(text) && !matches!(*text, "r" | "rb" | "rt"));
    let is_opened = is_written || opens.iter().any(|word| has(word));
    for text in texts.iter().filter(|text| looks_like_path(text)) {
        let arg = Arg::plain(*text);
        // A text that names a bad place counts whatever is done with it.
        if matches!(shell.place(&arg), Place::Secret | Place::Disk) || is_opened {
            if is_written {
                files::writes(shell, &arg, part);
            } else {
                files::reads(shell, &arg, part);
            }
        }
    }
}

fn paths(shell: &mut Shell<'_>, statement: &[Token], mut each: impl FnMut(&mut Shell<'_>, &str), part: &str) {
    let mut any = false;
    for token in statement {
        if let Token::Text(text) = token {
            any = true;
            each(shell, text);
        }
    }
    if !any {
        shell.findings.medium("hidden.path", part, "deletes directories whose names cannot be seen");
    }
}

fn looks_like_path(text: &str) -> bool {
    text.len() < 1024 && !text.contains(['\n', ' ']) && (text.starts_with(['/', '~', '.']) || text.contains('/'))
}

/// Texts of a call that runs programs: each as a command line, and all together as one.
fn command_lines(shell: &mut Shell<'_>, statement: &[Token], scripts: &mut usize) {
    let texts: Vec<&String> =
        statement.iter().filter_map(|token| if let Token::Text(text) = token { Some(text) } else { None }).collect();
    if *scripts >= SCRIPTS_MAX || texts.is_empty() {
        return;
    }
    *scripts += 1;
    let setting = shell.setting.clone();
    if texts.iter().any(|text| text.contains(' ')) {
        for text in texts.iter().take(16) {
            shell.script_beside(text, setting.clone());
        }
    }
    if statement.contains(&Token::Sign('[')) || texts.len() > 1 {
        let args = texts.iter().map(|text| Arg::plain(text.as_str())).collect();
        shell.argv(args, None, &text_of(statement));
        shell.setting = setting;
    } else if let [only] = texts.as_slice()
        && !only.contains(' ')
    {
        shell.script_beside(only, setting);
    }
}

/// A text of some language that may be a command line: only what would be bad is told of it.
pub(super) fn script_in_text(shell: &mut Shell<'_>, text: &str) {
    let mut inner = Findings::default();
    Shell::new(&mut inner, Setting::workspace()).script(text);
    if inner.risk() == Risk::High {
        shell.findings.high("code.inline", text, "stands in the code, and would do harm as a command");
    }
}
