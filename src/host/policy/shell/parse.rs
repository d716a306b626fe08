//! A script as the simple commands that it may run, each with what surrounds it.

use std::ops::ControlFlow;
use std::rc::Rc;

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

/// How long parsing may go on, in the parser's own beats of a hundred steps or so. Never a time: a judgement must not depend on
/// how fast a machine is.
const BEATS_MAX: u32 = 2000;
/// How deep commands may stand in words of commands.
const SUBSTITUTIONS_MAX: u32 = 64;
/// How many nodes are looked at.
const NODES_MAX: usize = 400_000;

/// One thing of a script, in the order in which it stands there.
#[derive(Debug)]
pub(super) enum Step {
    /// A simple command.
    Command(Simple),
    /// Sets variables of the shell.
    Assign(Vec<Assignment>),
    /// Where output goes or input comes from.
    Redirect { operator: String, target: String, inside: Inside },
    /// A function, which may call itself.
    Function { name: String, text: String },
    /// What follows changes neither directory nor variables of what comes after its end.
    Enter,
    /// Its end.
    Leave,
}

/// A simple command, as it is written.
#[derive(Debug)]
pub(super) struct Simple {
    /// Its name and arguments.
    pub words: Vec<String>,
    /// What is set for it alone.
    pub assignments: Vec<Assignment>,
    /// What is handed to it as input, where that stands in the script.
    pub input: Option<Rc<str>>,
    /// All of it.
    pub text: String,
    /// What it is part of.
    pub inside: Inside,
}

/// What a command is part of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Inside {
    /// The innermost pipeline, and the place in it.
    pub pipe: Option<(usize, usize)>,
    /// The command, by its number, whose words or input it makes.
    pub words_of: Option<usize>,
    /// The variable, by its place among the names, whose value it makes.
    pub value_of: Option<usize>,
}

/// `NAME=value`.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub name: String,
    /// As it is written; unset when it is a list, or comes from elsewhere.
    pub value: Option<String>,
    /// Whether it is added to what is there.
    pub adds: bool,
}

/// What was read of a script.
#[derive(Debug)]
pub(super) struct Script {
    pub steps: Vec<Step>,
    /// Variables whose values commands make.
    pub names: Vec<String>,
    /// Whether all of it follows the grammar.
    pub whole: bool,
}

/// Reads a script; `None` when it is too long to be read.
pub(super) fn parse(text: &str) -> Option<Script> {
    let tree = tree(text)?;
    let mut reader = Reader { text, steps: Vec::new(), commands: 0, pipelines: 0, names: Vec::new() };
    reader.read(tree.root_node())?;
    Some(Script { steps: reader.steps, names: reader.names, whole: !tree.root_node().has_error() })
}

fn tree(text: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
    let mut beats = 0;
    let mut beat = |_: &ParseState| {
        beats += 1;
        if beats > BEATS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = text.as_bytes();
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    parser.parse_with_options(&mut read, None, Some(ParseOptions::new().progress_callback(&mut beat)))
}

/// What is handed down to the parts of a part.
#[derive(Debug, Clone, Default)]
struct Context {
    inside: Inside,
    input: Option<Rc<str>>,
    /// How many substitutions it stands in.
    depth: u32,
    /// Whether the assignments in it were noted with their command.
    noted: bool,
}

enum Work<'t> {
    Node(Node<'t>, Context),
    Leave,
}

struct Reader<'t> {
    text: &'t str,
    steps: Vec<Step>,
    names: Vec<String>,
    commands: usize,
    pipelines: usize,
}

impl<'t> Reader<'t> {
    /// Without recursion: a script can be nested as deep as it is long.
    fn read(&mut self, root: Node<'t>) -> Option<()> {
        let mut todo = vec![Work::Node(root, Context::default())];
        let mut nodes = 0;
        while let Some(work) = todo.pop() {
            nodes += 1;
            let depth = if let Work::Node(_, context) = &work { context.depth } else { 0 };
            if nodes > NODES_MAX || depth > SUBSTITUTIONS_MAX {
                return None;
            }
            match work {
                Work::Leave => self.steps.push(Step::Leave),
                Work::Node(node, context) => self.node(node, context, &mut todo),
            }
        }
        Some(())
    }

    fn node(&mut self, node: Node<'t>, context: Context, todo: &mut Vec<Work<'t>>) {
        let parts = children(node);
        match node.kind() {
            "command" => self.command(node, &parts, &context, todo),
            "declaration_command" => {
                self.steps.push(Step::Assign(parts.iter().filter_map(|part| self.assignment(*part)).collect()));
                // `export` and the like as commands, for what they show.
                let words = node.child(0).into_iter().chain(parts.iter().copied()).map(|part| self.source(part).to_owned());
                self.simple(node, words.collect(), Vec::new(), &context);
                push(todo, &parts, &Context { noted: true, ..context });
            }
            "variable_assignment" => {
                let assignment = self.assignment(node);
                self.names.push(assignment.as_ref().map(|assignment| assignment.name.clone()).unwrap_or_default());
                if !context.noted {
                    self.steps.push(Step::Assign(assignment.into_iter().collect()));
                }
                let inside = Inside { value_of: Some(self.names.len() - 1), ..context.inside };
                push(todo, &parts, &Context { inside, ..context });
            }
            "for_statement" => {
                let name = node.child_by_field_name("variable").map(|name| self.source(name).to_owned()).unwrap_or_default();
                let mut cursor = node.walk();
                let values = node.children_by_field_name("value", &mut cursor).map(|value| self.source(value));
                let values = values.collect::<Vec<_>>().join(" ");
                let value = (!values.is_empty()).then_some(values);
                self.steps.push(Step::Assign(vec![Assignment { name, value, adds: false }]));
                push(todo, &parts, &context);
            }
            "pipeline" => {
                self.pipelines += 1;
                let number = self.pipelines;
                for (place, part) in parts.iter().enumerate().rev() {
                    let inside = Inside { pipe: Some((number, place)), ..context.inside };
                    // What is handed to a pipeline is handed to its first command; a here-document behind it to its last.
                    todo.push(Work::Node(*part, Context { inside, ..context.clone() }));
                }
            }
            "redirected_statement" => self.redirected(&parts, context, todo),
            "file_redirect" => {
                let operator = node.children(&mut node.walk()).find(|part| !part.is_named()).map_or("", |part| part.kind());
                let target = node.child_by_field_name("destination").map_or("", |target| self.source(target));
                let (operator, target) = (operator.to_owned(), target.to_owned());
                self.steps.push(Step::Redirect { operator, target, inside: context.inside });
                push(todo, &parts, &context);
            }
            "function_definition" => {
                let name = node.child_by_field_name("name").map_or("", |name| self.source(name)).to_owned();
                self.steps.push(Step::Function { name, text: self.source(node).to_owned() });
                self.steps.push(Step::Enter);
                todo.push(Work::Leave);
                push(todo, &parts, &Context { input: None, ..context });
            }
            "subshell" | "command_substitution" | "process_substitution" => {
                self.steps.push(Step::Enter);
                todo.push(Work::Leave);
                let mut context = context;
                if node.kind() != "subshell" {
                    let inside = Inside { pipe: None, ..context.inside };
                    context = Context { inside, input: None, depth: context.depth + 1, noted: false };
                }
                push(todo, &parts, &context);
            }
            _ => push(todo, &parts, &context),
        }
    }

    fn command(&mut self, node: Node<'t>, parts: &[Node<'t>], context: &Context, todo: &mut Vec<Work<'t>>) {
        let (mut words, mut assignments, mut input) = (Vec::new(), Vec::new(), context.input.clone());
        for part in parts {
            match part.kind() {
                "variable_assignment" => assignments.extend(self.assignment(*part)),
                "herestring_redirect" => input = children(*part).last().map(|text| Rc::from(self.source(*text))),
                "file_redirect" | "heredoc_redirect" | "comment" => {}
                _ => words.push(self.source(*part).to_owned()),
            }
        }
        let number = self.commands;
        let context = Context { input, ..context.clone() };
        self.simple(node, words, assignments, &context);
        // What its words are made of runs in its name.
        let inside = Inside { pipe: None, words_of: Some(number), ..context.inside };
        push(todo, parts, &Context { inside, input: None, noted: true, ..context });
    }

    fn simple(&mut self, node: Node<'t>, words: Vec<String>, assignments: Vec<Assignment>, context: &Context) {
        self.commands += 1;
        let Context { inside, input, .. } = context.clone();
        self.steps.push(Step::Command(Simple { words, assignments, input, text: self.source(node).to_owned(), inside }));
    }

    fn redirected(&mut self, parts: &[Node<'t>], mut context: Context, todo: &mut Vec<Work<'t>>) {
        let mut after = Vec::new();
        let mut pipe = None;
        for part in parts {
            match part.kind() {
                "heredoc_redirect" => {
                    for inner in children(*part) {
                        match inner.kind() {
                            "heredoc_body" => {
                                context.input = Some(Rc::from(self.source(inner)));
                                // It stands behind the command that it is handed to, which comes next.
                                let inside = Inside { pipe: None, words_of: Some(self.commands), ..context.inside };
                                after.push((inner, Context { inside, input: None, ..context.clone() }));
                            }
                            // `cat <<EOF | sh`: what follows the word goes on from this command.
                            "pipeline" => {
                                self.pipelines += 1;
                                let number = self.pipelines;
                                pipe = Some((number, 0));
                                for (place, part) in children(inner).into_iter().enumerate() {
                                    let inside = Inside { pipe: Some((number, place + 1)), ..context.inside };
                                    after.push((part, Context { inside, input: None, ..context.clone() }));
                                }
                            }
                            _ => after.push((inner, context.clone())),
                        }
                    }
                }
                "herestring_redirect" => {
                    context.input = children(*part).last().map(|text| Rc::from(self.source(*text)));
                    after.push((*part, context.clone()));
                }
                "file_redirect" => after.push((*part, context.clone())),
                _ => {}
            }
        }
        for (part, context) in after.into_iter().rev() {
            todo.push(Work::Node(part, context));
        }
        context.inside.pipe = pipe.or(context.inside.pipe);
        let is_redirect = |part: &&Node<'_>| part.kind().ends_with("_redirect");
        for part in parts.iter().filter(|part| !is_redirect(part)).rev() {
            todo.push(Work::Node(*part, context.clone()));
        }
    }

    fn assignment(&self, node: Node<'t>) -> Option<Assignment> {
        if node.kind() != "variable_assignment" {
            return None;
        }
        let name = self.source(node.child_by_field_name("name")?).to_owned();
        let value = node.child_by_field_name("value");
        let value = match value {
            Some(value) if value.kind() == "array" => None,
            Some(value) => Some(self.source(value).to_owned()),
            None => Some(String::new()),
        };
        let adds = node.children(&mut node.walk()).any(|part| part.kind() == "+=");
        Some(Assignment { name, value, adds })
    }

    fn source(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

fn push<'t>(todo: &mut Vec<Work<'t>>, parts: &[Node<'t>], context: &Context) {
    todo.extend(parts.iter().rev().map(|part| Work::Node(*part, context.clone())));
}
