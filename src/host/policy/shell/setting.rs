//! What a shell knows while a script runs, and what its words become by it.

use std::collections::HashMap;

use super::word::{Piece, words};
use crate::engine::ports::WORKSPACE;
use crate::host::policy::place::{HOME, UNSEEN};

/// How long a value may be that is followed, in bytes: a script can double a variable for ever.
const VALUE_MAX: usize = 4096;
/// How many values of a variable, or readings of a word, are followed.
const VALUES_MAX: usize = 16;
/// How many variables are followed.
const VARIABLES_MAX: usize = 256;

/// What a shell knows.
#[derive(Debug, Clone)]
pub(in crate::host::policy) struct Setting {
    /// Where it stands; unset when nobody can tell.
    pub directory: Option<String>,
    /// Whether it is a shell of another machine, where no workspace is.
    pub remote: bool,
    variables: HashMap<String, Vec<String>>,
}

/// A word as the program gets it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::host::policy) struct Arg {
    /// Its text, with [`UNSEEN`] for what cannot be seen.
    pub text: String,
    /// Whether it is a pattern of file names.
    pub pattern: bool,
}

impl Arg {
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), pattern: false }
    }

    pub fn is_unseen(&self) -> bool {
        self.text.contains(UNSEEN)
    }
}

impl Setting {
    /// A shell in `directory`.
    pub fn new(directory: Option<String>) -> Self {
        let known = [("HOME", HOME), ("TMPDIR", "/tmp"), ("IFS", " ")];
        let variables = known.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into_iter().collect();
        Self { directory, remote: false, variables }
    }

    /// A shell in the workspace.
    pub fn workspace() -> Self {
        Self::new(Some(WORKSPACE.to_owned()))
    }

    /// A shell of another machine.
    pub fn elsewhere() -> Self {
        Self { remote: true, ..Self::new(None) }
    }

    /// Nobody knows any more what variables hold.
    pub fn forget(&mut self) {
        self.variables.clear();
    }

    /// A variable that comes from elsewhere.
    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Sets `name` to what `raw` may be.
    pub fn set(&mut self, name: &str, raw: Option<&str>, adds: bool) {
        let values: Option<Vec<String>> = raw.map(|raw| self.split(raw).into_iter().map(|arg| arg.text).collect());
        let values = values.filter(|values| {
            values.len() <= VALUES_MAX && values.iter().all(|value| value.len() <= VALUE_MAX && !value.contains(UNSEEN))
        });
        let former = if adds { self.variables.get(name).cloned() } else { None };
        let values = match (values, former) {
            (Some(values), Some(former)) => former
                .first()
                .zip(values.first())
                .map(|(former, value)| format!("{former}{value}"))
                .filter(|value| value.len() <= VALUE_MAX)
                .map(|value| vec![value]),
            (Some(values), None) if !adds => Some(if values.is_empty() { vec![String::new()] } else { values }),
            _ => None,
        };
        match values {
            Some(values) if self.variables.len() < VARIABLES_MAX || self.variables.contains_key(name) => {
                self.variables.insert(name.to_owned(), values);
            }
            _ => self.unset(name),
        }
    }

    /// The words of a list that is written so: of a loop, or one value.
    fn split(&self, raw: &str) -> Vec<Arg> {
        // A value that holds quotes or is one word is one word; the words of a loop are told apart by spaces.
        match raw.contains(['\'', '"', '$', '`', '\\']) {
            true => self.args(raw),
            false => raw.split_whitespace().flat_map(|raw| self.args(raw)).collect(),
        }
    }

    /// What `raw` becomes.
    pub fn args(&self, raw: &str) -> Vec<Arg> {
        words(raw).iter().flat_map(|pieces| self.resolve(pieces)).collect()
    }

    /// `raw` as one text, whatever spaces are in it.
    pub fn text(&self, raw: &str) -> String {
        let pieces: Vec<Piece> = words(raw).into_iter().flatten().map(quoted).collect();
        self.resolve(&pieces).pop().map(|arg| arg.text).unwrap_or_default()
    }

    fn resolve(&self, pieces: &[Piece]) -> Vec<Arg> {
        let mut readings = vec![Reading::default()];
        for piece in pieces {
            match piece {
                Piece::Text { text, quoted } => readings.iter_mut().for_each(|reading| reading.add(text, *quoted)),
                Piece::Unseen => readings.iter_mut().for_each(|reading| reading.unseen()),
                Piece::Directory => {
                    let directory = self.directory.clone().unwrap_or_else(|| UNSEEN.to_string());
                    readings.iter_mut().for_each(|reading| reading.add(&directory, true));
                }
                Piece::Variable { name, quoted, or } => self.variable(name, *quoted, or.as_deref(), &mut readings),
            }
        }
        readings.into_iter().flat_map(Reading::end).collect()
    }

    fn variable(&self, name: &str, quoted: bool, or: Option<&str>, readings: &mut Vec<Reading>) {
        let values = match (name, self.variables.get(name)) {
            ("PWD", _) => self.directory.clone().map(|directory| vec![directory]),
            (_, Some(values)) => Some(values.clone()),
            // It may have a value from before; that it has none is the worse of what can be told.
            (_, None) => or.filter(|or| !or.is_empty()).map(|or| vec![or.to_owned()]),
        };
        let Some(values) = values.filter(|values| values.len() * readings.len() <= VALUES_MAX) else {
            readings.iter_mut().for_each(Reading::unseen);
            return;
        };
        let with = |reading: &Reading, value: &String| {
            let mut reading = reading.clone();
            if quoted {
                reading.add(value, true)
            } else {
                reading.split(value)
            }
            reading
        };
        *readings = readings.iter().flat_map(|reading| values.iter().map(move |value| with(reading, value))).collect();
    }
}

fn quoted(piece: Piece) -> Piece {
    match piece {
        Piece::Text { text, .. } => Piece::Text { text, quoted: true },
        Piece::Variable { name, or, .. } => Piece::Variable { name, quoted: true, or },
        other => other,
    }
}

/// One way to read a word.
#[derive(Debug, Clone, Default)]
struct Reading {
    done: Vec<Arg>,
    now: Option<Arg>,
}

impl Reading {
    fn add(&mut self, text: &str, quoted: bool) {
        let now = self.now.get_or_insert_default();
        match now.text.len() + text.len() <= VALUE_MAX || now.text.is_empty() {
            true => now.text.push_str(text),
            false if now.is_unseen() => {}
            false => now.text.push(UNSEEN),
        }
        now.pattern |= !quoted && text.contains(['*', '?', '[']);
    }

    fn unseen(&mut self) {
        self.now.get_or_insert_default().text.push(UNSEEN);
    }

    /// An unquoted value falls into words.
    fn split(&mut self, value: &str) {
        let mut parts = value.split(char::is_whitespace);
        if let Some(first) = parts.next().filter(|first| !first.is_empty()) {
            self.add(first, false);
        }
        for part in parts {
            self.done.extend(self.now.take());
            if !part.is_empty() {
                self.add(part, false);
            }
        }
    }

    fn end(mut self) -> Vec<Arg> {
        self.done.extend(self.now);
        self.done
    }
}
