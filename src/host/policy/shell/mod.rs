//! Judges command lines: parsed, not matched.
//!
//! `parse → setting → wrap → rules`: a script becomes the simple commands that it may run; words become what programs get, as far
//! as that can be seen; programs that run others are taken off; what is left is judged by rules, and then by what flows where.

mod flow;
mod parse;
mod setting;
mod word;
mod wrap;

use std::rc::Rc;

use parse::{Assignment, Inside, Script, Simple, Step};
pub(super) use setting::{Arg, Setting};

use super::finding::Findings;
use super::place::UNSEEN;
use super::rules;
use flow::Flow;

/// How deep scripts may stand in scripts: `bash -c "bash -c …"`.
const DEPTH_MAX: usize = 8;
/// How many words that come from an input are judged as arguments.
pub(super) const WORDS_MAX: usize = 64;
/// How many commands are judged in all.
const COMMANDS_MAX: usize = 5_000;
/// Variables through which a program is made to run another one, or another's code.
const CODE_VARIABLES: &[&str] = &[
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "PS0",
    "PS4",
    "GIT_SSH_COMMAND",
    "GIT_SSH",
    "GIT_ASKPASS",
    "GIT_EXTERNAL_DIFF",
    "GIT_CONFIG_GLOBAL",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "PERL5OPT",
    "RUBYOPT",
];

/// Judges one shell's commands.
pub(super) struct Shell<'f> {
    /// What the rules say.
    pub findings: &'f mut Findings,
    /// What the shell knows.
    pub setting: Setting,
    depth: usize,
    left: usize,
    /// Files that were fetched by this script, and directories of them.
    pub fetched: Vec<String>,
    /// Whether what is written just now comes from the network.
    pub is_fetching: bool,
}

/// A command as the rules see it.
pub(super) struct Call<'a> {
    /// Its name without the directory.
    pub name: &'a str,
    /// What it is given.
    pub args: &'a [Arg],
    /// What is handed to it as input, where that stands in the script.
    pub input: Option<&'a str>,
    /// All of it, for people.
    pub text: &'a str,
}

/// What a command does with what it is given, for those that it is joined with.
#[derive(Debug, Clone, Default)]
pub(super) struct Does {
    /// Brings what comes from the network.
    pub fetches: bool,
    /// Turns text into other text that cannot be seen here.
    pub decodes: bool,
    /// Runs its input.
    pub runs_input: bool,
    /// Runs its arguments.
    pub runs_words: bool,
    /// Sends its input somewhere.
    pub sends_input: bool,
    /// Sends its arguments somewhere.
    pub sends_words: bool,
    /// Shows secrets.
    pub reveals: bool,
    /// Shows files or other state.
    pub shows: bool,
    /// Shows this text.
    pub prints: Option<String>,
    /// Takes further arguments from its input, behind these.
    pub takes_words: Option<Vec<Arg>>,
}

/// Puts what comes from the input where it belongs: for `{}`, or at the end. It is named from the directory on, for want of more.
fn take_words(args: &mut Vec<Arg>) {
    let unseen = format!("./{UNSEEN}");
    let mut is_named = false;
    for arg in args.iter_mut().filter(|arg| arg.text.contains("{}")) {
        is_named = true;
        arg.text = arg.text.replace("{}", &unseen);
    }
    if !is_named {
        args.push(Arg::plain(unseen));
    }
}

impl<'f> Shell<'f> {
    /// A shell that knows this.
    pub fn new(findings: &'f mut Findings, setting: Setting) -> Self {
        Self { findings, setting, depth: 0, left: COMMANDS_MAX, fetched: Vec::new(), is_fetching: false }
    }

    /// Judges a script.
    pub fn script(&mut self, text: &str) {
        if self.depth >= DEPTH_MAX {
            self.findings.high("hidden.depth", text, "is a script in a script in a script, too deep to be followed");
            return;
        }
        self.depth += 1;
        match parse::parse(text) {
            None => self.findings.high("hidden.length", text, "is too long or too tangled to be read"),
            Some(script) => self.steps(text, script),
        }
        self.depth -= 1;
    }

    /// Judges a script that runs somewhere else than in this shell: it changes neither directory nor variables here.
    pub fn script_beside(&mut self, text: &str, setting: Setting) {
        let mine = std::mem::replace(&mut self.setting, setting);
        self.script(text);
        self.setting = mine;
    }

    fn steps(&mut self, text: &str, script: Script) {
        if !script.whole {
            self.findings.medium("hidden.syntax", text, "is not understood in full");
            self.crudely(text);
        }
        let mut flow = Flow::default();
        let mut scopes: Vec<Setting> = Vec::new();
        let mut pipe = None;
        for step in script.steps {
            match step {
                Step::Enter => scopes.push(self.setting.clone()),
                Step::Leave => self.setting = scopes.pop().unwrap_or_else(|| self.setting.clone()),
                Step::Assign(assignments) => self.assign(&assignments),
                Step::Redirect { operator, target, inside } => self.redirect(&operator, &target, inside, &mut flow),
                Step::Function { name, text } => rules::system::function(self, &name, &text),
                Step::Command(simple) => {
                    let number = simple.inside.pipe.map(|(number, _)| number);
                    self.is_fetching &= number.is_some() && number == pipe;
                    pipe = number;
                    let does = self.simple(&simple);
                    self.is_fetching |= does.fetches;
                    flow.ran(simple.inside, does, simple.text);
                }
            }
        }
        flow.judge(self, &script.names);
    }

    /// What does not follow the grammar may still be run by a shell that is more lenient: every piece that could be a command is
    /// judged.
    fn crudely(&mut self, text: &str) {
        let narrow = text.split(['\n', ';', '|', '&', '(', ')', '{', '}', '`', '"', '\'']);
        // `{rm,-rf,/}` is a command, and no group.
        let wide = text.split(['\n', ';', '|', '&']).filter(|piece| piece.contains('{'));
        for piece in narrow.chain(wide).filter(|piece| !piece.trim().is_empty()).take(COMMANDS_MAX / 5) {
            let args: Vec<Arg> = piece.split_whitespace().take(64).flat_map(|raw| self.setting.args(raw)).collect();
            let mine = self.setting.clone();
            self.argv(args, None, piece);
            self.setting = mine;
        }
    }

    fn assign(&mut self, assignments: &[Assignment]) {
        for Assignment { name, value, adds } in assignments {
            self.code_variable(name, value.as_deref());
            self.setting.set(name, value.as_deref(), *adds);
        }
    }

    fn code_variable(&mut self, name: &str, value: Option<&str>) {
        let part = format!("{name}={}", value.unwrap_or_default());
        if CODE_VARIABLES.contains(&name) && value != Some("") {
            self.findings.medium("hidden.variable", &part, "makes later programs run other code");
            if matches!(name, "PROMPT_COMMAND" | "PS0" | "PS4" | "GIT_SSH_COMMAND") {
                let text = self.setting.text(value.unwrap_or_default());
                self.script_beside(&text, self.setting.clone());
            }
        }
        let is_path = name == "PATH" && value.is_some_and(|value| !value.contains("$PATH") && !value.contains("${PATH}"));
        if is_path || (name == "HISTFILE" && matches!(value, Some("" | "/dev/null"))) {
            let why = if is_path { "replaces where programs are looked for" } else { "hides what was done" };
            self.findings.medium("hidden.variable", &part, why);
        }
    }

    fn redirect(&mut self, operator: &str, target: &str, inside: Inside, flow: &mut Flow) {
        let part = format!("{operator} {target}");
        // `2>&1` goes where something goes already.
        if operator.ends_with('&') && target.chars().all(|char| char.is_ascii_digit() || char == '-') {
            return;
        }
        for arg in self.setting.args(target) {
            if operator.starts_with('<') && operator != "<>" {
                let reveals = rules::files::reads(self, &arg, &part);
                flow.ran(inside, Does { shows: true, reveals, ..Does::default() }, part.clone());
            } else {
                rules::files::writes(self, &arg, &part);
                if self.is_fetching {
                    self.fetch(&arg.text);
                }
            }
        }
    }

    /// Notes a file that comes from the network, so that running it later is known for what it is.
    pub fn fetch(&mut self, name: &str) {
        self.fetched.extend(super::place::absolute(name, self.setting.directory.as_deref()));
    }

    fn simple(&mut self, simple: &Simple) -> Does {
        for Assignment { name, value, .. } in &simple.assignments {
            self.code_variable(name, value.as_deref());
        }
        let args: Vec<Arg> = simple.words.iter().flat_map(|raw| self.setting.args(raw)).collect();
        if args.is_empty() && !simple.assignments.is_empty() {
            self.assign(&simple.assignments);
        }
        self.argv(args, simple.input.as_ref().map(Rc::as_ref), &simple.text)
    }

    /// Judges a command by what its program gets.
    pub fn argv(&mut self, args: Vec<Arg>, input: Option<&str>, text: &str) -> Does {
        if self.left == 0 {
            self.findings.high("hidden.length", text, "is too long to be read");
            return Does::default();
        }
        self.left -= 1;
        let mut taken = Vec::new();
        let directory = self.setting.directory.clone();
        let mut args = wrap::unwrapped(self, args, text, &mut taken);
        if args.is_empty() && taken.last() == Some(&"env") {
            args.push(Arg::plain("env"));
        }
        // `… | xargs rm`: its arguments come from what is before it.
        let takes_words = taken.contains(&"xargs") || taken.contains(&"parallel");
        let seen = args.clone();
        match input.filter(|_| takes_words && !args.is_empty()) {
            Some(input) => args.extend(self.setting.text(input).split_whitespace().take(WORDS_MAX).map(Arg::plain)),
            None if takes_words && !args.is_empty() => take_words(&mut args),
            None => {}
        }
        let Some((program, rest)) = args.split_first() else { return Does::default() };
        let name = program.text.rsplit('/').next().unwrap_or_default();
        let call = Call { name, args: rest, input, text };
        let mut does = if program.is_unseen() || program.pattern || name.is_empty() {
            rules::hidden(self, &call)
        } else {
            rules::judge(self, &program.text, &call)
        };
        // What a program before another one is told changes nothing for this shell.
        if taken.contains(&"env") {
            self.setting.directory = directory;
        }
        if takes_words {
            does.runs_input |= does.runs_words;
            does.takes_words = Some(seen);
        }
        does
    }

    /// A path as this shell understands it; everything is elsewhere on another machine.
    pub fn place(&self, arg: &Arg) -> super::place::Place {
        use super::place::{Place, place};
        match place(&arg.text, self.setting.directory.as_deref()) {
            Place::Workspace | Place::WorkspaceRoot | Place::Unseen if self.setting.remote && !arg.text.starts_with(UNSEEN) => {
                Place::Elsewhere
            }
            place => place,
        }
    }
}
