//! Who judges actions before they run: analyzers by name, of whom the strictest counts.
//!
//! `Rules` reads what would run: command lines as a shell parses them, Python as far as its words go, paths by where they lead.
//! What it cannot see is at least of medium risk, and it says so; it never guesses that something hidden is harmless. `Model`
//! takes the model's own word. A judgement depends on nothing but the question, so that the same question has the same answer
//! everywhere.

mod finding;
mod place;
mod python;
mod rules;
mod shell;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::engine::ports::{Judge, Judgement, Question};
use crate::session::{Action, Analyzer, Content, Item, Risk};

use finding::Findings;
use shell::{Arg, Setting, Shell};

/// What the rules are called in the log. Raised whenever they may judge an action otherwise.
pub const RULES: &str = "rules/1";
/// What the model's own word is called in the log.
const MODEL: &str = "model";

/// What one analyzer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opinion {
    /// Who says so, with its version.
    pub by: String,
    /// How risky it is; unknown when it cannot tell.
    pub risk: Risk,
    /// Why, one line each.
    pub reasons: Vec<String>,
}

/// Somebody who judges actions.
pub trait Analyze: Send + Sync + 'static {
    /// What it says of an action. Pure, and bounded whatever the action holds.
    fn analyze(&self, question: &Question<'_>) -> Opinion;
}

/// Analyzers by name.
#[derive(Clone)]
pub struct Analyzers {
    known: BTreeMap<&'static str, Arc<dyn Analyze>>,
}

impl fmt::Debug for Analyzers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Analyzers").field("known", &self.known.keys()).finish()
    }
}

impl Default for Analyzers {
    fn default() -> Self {
        Self::new()
    }
}

impl Analyzers {
    /// The rules, and the model's own word.
    pub fn new() -> Self {
        Self { known: BTreeMap::new() }.with(Analyzer::Rules, Arc::new(Rules)).with(Analyzer::Model, Arc::new(ModelWord))
    }

    /// With `analyze` in the place of the one of this name.
    #[must_use]
    pub fn with(mut self, name: Analyzer, analyze: Arc<dyn Analyze>) -> Self {
        self.known.insert(key(name), analyze);
        self
    }
}

const fn key(name: Analyzer) -> &'static str {
    match name {
        Analyzer::Rules => "rules",
        Analyzer::Model => "model",
    }
}

impl Judge for Analyzers {
    /// The highest risk that anybody sees counts; that one cannot tell hides nothing that another sees. Only when nobody can tell
    /// the risk is unknown.
    fn judge(&self, question: Question<'_>) -> Judgement {
        let mut judgement = Judgement { risk: Risk::Unknown, reasons: Vec::new(), by: Vec::new() };
        for name in &question.spec.analyzers {
            let Some(analyze) = self.known.get(key(*name)) else { continue };
            let opinion = analyze.analyze(&question);
            if judgement.by.contains(&opinion.by) {
                continue;
            }
            judgement.risk = judgement.risk.max(opinion.risk);
            judgement.reasons.extend(opinion.reasons);
            judgement.by.push(opinion.by);
        }
        judgement
    }
}

/// What the model itself says of each call.
#[derive(Debug, Clone, Copy)]
struct ModelWord;

impl Analyze for ModelWord {
    fn analyze(&self, question: &Question<'_>) -> Opinion {
        let risk = question.declared.unwrap_or(Risk::Unknown);
        let reason = match risk {
            Risk::Unknown => "model: it did not say how risky this is".to_owned(),
            risk => format!("model: it says {risk}"),
        };
        Opinion { by: MODEL.to_owned(), risk, reasons: vec![reason] }
    }
}

/// Rules over what would run.
#[derive(Debug, Clone, Copy)]
struct Rules;

impl Analyze for Rules {
    fn analyze(&self, question: &Question<'_>) -> Opinion {
        let mut findings = Findings::default();
        let setting = before(question);
        if let Content::Action(action) = &question.action.content {
            judge(&mut findings, setting, action);
        }
        let reasons = findings.lines();
        Opinion { by: RULES.to_owned(), risk: findings.risk(), reasons }
    }
}

/// What the shell will know when the action runs.
fn before(question: &Question<'_>) -> Setting {
    let setting = question.directory.map_or_else(Setting::workspace, |directory| Setting::new(Some(directory.to_owned())));
    // What these do is judged in its own place; here only what they leave in the shell counts.
    let mut unheard = Findings::default();
    let mut shell = Shell::new(&mut unheard, setting);
    for item in question.before {
        if let Item { content: Content::Action(Action::Run(run)), .. } = item
            && !run.is_input
            && !run.is_static
        {
            shell.script(&run.command);
        }
    }
    shell.setting
}

fn judge(findings: &mut Findings, setting: Setting, action: &Action) {
    let mut shell = Shell::new(findings, setting);
    match action {
        Action::Run(run) if run.is_input => input(&mut shell, &run.command),
        Action::Run(run) => {
            if let Some(directory) = &run.cwd {
                shell.setting.directory = place::absolute(directory, shell.setting.directory.as_deref());
            }
            shell.script(&run.command);
        }
        Action::RunIpython(cell) => {
            // The interpreter stands where it was started, whatever the shell does.
            shell.setting = Setting::workspace();
            python::judge(&mut shell, &cell.code);
            python::judge(&mut shell, &cell.kernel_init_code);
        }
        Action::Read(read) => {
            shell.setting = Setting::workspace();
            rules::files::reads(&mut shell, &Arg::plain(&read.path), &format!("view {}", read.path));
        }
        Action::Write(write) => {
            shell.setting = Setting::workspace();
            rules::files::writes(&mut shell, &Arg::plain(&write.path), &format!("write {}", write.path));
        }
        Action::Edit(edit) => {
            shell.setting = Setting::workspace();
            let part = format!("{} {}", edit.command, edit.path);
            if edit.command == "view" {
                rules::files::reads(&mut shell, &Arg::plain(&edit.path), &part);
            } else {
                rules::files::writes(&mut shell, &Arg::plain(&edit.path), &part);
            }
        }
        Action::CallToolMcp(call) => tool(&mut shell, &call.name),
        Action::Browse(browse) => shell.findings.medium("network.reach", &browse.url, "reaches the network"),
        Action::BrowseInteractive(browse) => {
            shell.findings.medium("network.reach", &browse.browser_actions, "reaches the network");
        }
        Action::Null
        | Action::Think(_)
        | Action::Finish(_)
        | Action::Reject(_)
        | Action::Delegate(_)
        | Action::Recall(_)
        | Action::ChangeAgentState(_)
        | Action::Message(_)
        | Action::System(_)
        | Action::Condensation(_)
        | Action::CondensationRequest
        | Action::TaskTracking(_)
        | Action::LoopRecovery(_) => {}
    }
}

/// What is typed into a program that runs: keys are harmless, a line may be for a shell or for anything else.
fn input(shell: &mut Shell<'_>, text: &str) {
    let is_key = text.is_empty() || (text.len() == 3 && text.starts_with("C-"));
    if is_key {
        return;
    }
    // For a shell it would be a command; only what would do harm there counts.
    let mut inner = Findings::default();
    Shell::new(&mut inner, shell.setting.clone()).script(text);
    if inner.risk() == Risk::High {
        let setting = shell.setting.clone();
        shell.script_beside(text, setting);
    }
    shell.findings.medium("hidden.input", text, "is typed into a program that cannot be seen from here");
}

/// A tool of a server: by its name, since nobody here knows what it does.
fn tool(shell: &mut Shell<'_>, name: &str) {
    let words: Vec<String> = words(name);
    let says = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if says(&["delete", "drop", "destroy", "remove", "purge", "truncate", "wipe", "kill", "terminate"]) {
        shell.findings.high("tool.name", name, "destroys, by its name");
    } else {
        shell.findings.medium("tool.unknown", name, "is a tool of a server; what it does cannot be seen");
    }
}

/// The words of `someToolName` and `some_tool-name`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for char in name.chars() {
        if !char.is_alphanumeric() || (was_lower && char.is_uppercase()) {
            words.push(String::new());
        }
        was_lower = char.is_lowercase();
        if char.is_alphanumeric()
            && let Some(last) = words.last_mut()
        {
            last.extend(char.to_lowercase());
        }
    }
    words
}
