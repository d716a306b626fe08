//! Which event last wrote each line of a file, as far as the log knows.
//!
//! What an agent wrote and edited with its file tools is in the log, text and all, and so is what it was shown when it read. What
//! commands did to files is not: where a later look shows other lines than the log accounts for, these lines are said to come from
//! outside, and commands that ran since are named. Whatever else comes to know of a file's text, such as a capture of the workspace,
//! is one more `Evidence`.

use std::collections::BTreeMap;

use serde::Serialize;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::Projection;
use crate::session::action::EditFile;
use crate::session::{Action, Content, Event, Extras, Kind, Observation, Recorded, Seq, Source, Timestamp};

/// The directory that a session's files are found in by its agent.
const WORKSPACE: &str = "/workspace/";
/// Above this many pairs of lines a difference is not looked for: what is between the first and the last change counts as changed.
const PAIRS_MAX: usize = 16 << 20;
/// How much of a command is looked at to see which files it names, in bytes.
const COMMAND_MAX: usize = 4096;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum By {
    /// This action.
    Event {
        /// Its seq.
        seq: Seq,
    },
    /// It stood there when the log first saw the file.
    Before,
    /// Something that the log does not hold, such as a command, before this event showed it.
    Outside {
        /// The seq of the event that shows it.
        seen: Seq,
    },
}

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says, without its end; `None` where the log does not say.
    pub text: Option<String>,
    /// Who wrote it.
    pub by: By,
}

impl Line {
    const UNKNOWN: Self = Self { text: None, by: By::Before };
}

/// An event that wrote to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// What it was.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub source: Source,
}

/// What the log knows of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileLines {
    /// Its lines, as they stand between line breaks: the last one is empty where the file ends with a break.
    lines: Vec<Line>,
    /// Whether there is nothing behind them.
    whole: bool,
    last: Option<Seq>,
    shown: Option<Seq>,
}

impl FileLines {
    /// Its lines, as far as they are known.
    pub fn lines(&self) -> &[Line] {
        match self.lines.split_last() {
            Some((last, before)) if self.whole && last.text.as_deref() == Some("") => before,
            _ => &self.lines,
        }
    }

    /// Whether there is nothing behind them.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// The last event that wrote it or showed some of it.
    pub fn last_known(&self) -> Option<Seq> {
        self.last.max(self.shown)
    }

    /// All of its text, where all of it is known.
    fn text(&self) -> Option<String> {
        let lines: Option<Vec<&str>> = self.lines.iter().map(|line| line.text.as_deref()).collect();
        lines.filter(|_| self.whole).map(|lines| lines.join("\n"))
    }

    /// The file holds this text from now on; lines that are new in it are by `by`.
    fn becomes(&mut self, text: &str, by: By, same: Same) {
        let new: Vec<&str> = text.split('\n').collect();
        let kept = {
            let old: Vec<Option<&str>> = self.lines.iter().map(|line| line.text.as_deref().map(|text| same.part(text))).collect();
            same_lines(&old, &new.iter().map(|text| same.part(text)).collect::<Vec<_>>())
        };
        let old: Vec<By> = std::mem::take(&mut self.lines).into_iter().map(|line| line.by).collect();
        let line = |(text, from): (&&str, Option<usize>)| {
            let by = from.and_then(|from| old.get(from)).copied().unwrap_or(by);
            Line { text: Some((*text).to_owned()), by }
        };
        self.lines = new.iter().zip(kept).map(line).collect();
        self.whole = true;
    }

    /// Follows a difference as it was recorded: where lines went out and came in, by their numbers.
    fn follow(&mut self, diff: &str, by: By) {
        let mut within = None;
        for line in diff.split('\n') {
            if let Some(begin) = hunk(line) {
                within = Some(begin);
                self.reach(begin);
                continue;
            }
            // Before the first hunk stand the names of the file.
            let Some(at) = &mut within else { continue };
            if let Some(text) = line.strip_prefix('+') {
                let place = (*at).min(self.lines.len());
                self.lines.insert(place, Line { text: Some(text.to_owned()), by });
                *at += 1;
            } else if line.starts_with('-') {
                if *at < self.lines.len() {
                    self.lines.remove(*at);
                }
            } else if line.starts_with(' ') {
                *at += 1;
                self.reach(*at);
            }
        }
    }

    /// Some lines, the first of them the `first`th from 0, were seen to be these.
    fn shows(&mut self, first: usize, texts: &[&str], seen: Seq) {
        self.reach(first + texts.len());
        let differs =
            |(line, text): (&Line, &&str)| line.text.as_deref().is_some_and(|known| known.trim_end() != text.trim_end());
        let changed = self.lines.iter().skip(first).zip(texts).any(differs);
        if changed {
            // Lines may have moved: what is not seen is not known any more.
            let count = self.lines.len();
            self.whole = false;
            self.lines = vec![Line { text: None, by: By::Outside { seen } }; count];
        }
        for (line, text) in self.lines.iter_mut().skip(first).zip(texts) {
            line.text.get_or_insert_with(|| (*text).to_owned());
        }
    }

    fn reach(&mut self, count: usize) {
        if !self.whole && self.lines.len() < count {
            self.lines.resize(count, Line::UNKNOWN);
        }
    }
}

/// What makes two lines the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    /// All of their text.
    Exactly,
    /// Their text without blanks at its end, which recorded differences leave out.
    ButForBlanks,
}

impl Same {
    fn part(self, text: &str) -> &str {
        match self {
            Self::Exactly => text,
            Self::ButForBlanks => text.trim_end(),
        }
    }
}

/// Where the lines of `new` stand in `old`, as far as they are the same lines.
fn same_lines(old: &[Option<&str>], new: &[&str]) -> Vec<Option<usize>> {
    let same = |(old, new): &(&Option<&str>, &&str)| **old == Some(**new);
    let prefix = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (old.get(prefix..).unwrap_or_default(), new.get(prefix..).unwrap_or_default());
    let suffix = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let old_mid = old_rest.get(..old_rest.len() - suffix).unwrap_or_default();
    let new_mid: Vec<Option<&str>> = new_rest.iter().take(new_rest.len() - suffix).map(|line| Some(*line)).collect();
    let mut kept: Vec<Option<usize>> = (0..prefix).map(Some).collect();
    let mut middle = vec![None; new_mid.len()];
    if old_mid.len().saturating_mul(new_mid.len()) <= PAIRS_MAX {
        for change in capture_diff_slices(Algorithm::Myers, old_mid, &new_mid) {
            if let DiffOp::Equal { old_index, new_index, len } = change {
                middle.iter_mut().skip(new_index).take(len).zip(old_index..).for_each(|(to, from)| *to = Some(prefix + from));
            }
        }
    }
    kept.extend(middle);
    kept.extend((old.len() - suffix..old.len()).map(Some));
    kept
}

/// Where a hunk begins in the new file, from 0: the line number of `+c,d`, or the line after it where nothing comes in.
fn hunk(line: &str) -> Option<usize> {
    let new = line.strip_prefix("@@ ")?.split(' ').find_map(|word| word.strip_prefix('+'))?;
    match new.split_once(',') {
        Some((begin, "0")) => begin.parse().ok(),
        Some((begin, _)) => begin.parse::<usize>().ok()?.checked_sub(1),
        None => new.parse::<usize>().ok()?.checked_sub(1),
    }
}

/// What an event says of a file.
#[derive(Debug, Clone, PartialEq)]
enum Evidence<'a> {
    /// It holds this text from now on.
    Written(&'a str),
    /// These of its lines, from 0 and to before the second, are this text from now on.
    Spliced(i64, i64, &'a str),
    /// The editor tool changed it, and showed how.
    Edited(&'a EditFile, &'a str),
    /// It was seen to hold this text.
    Seen(&'a str),
    /// Some lines of it were seen, the first of them the nth from 0.
    SeenPart(usize, Vec<&'a str>),
}

/// A command that may have changed any file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Command {
    seq: Seq,
    words: String,
}

/// The files that a log tells of.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: BTreeMap<String, FileLines>,
    /// File actions without an outcome.
    open: BTreeMap<Seq, Action>,
    authors: BTreeMap<Seq, Author>,
    commands: Vec<Command>,
}

/// Why a file cannot be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoFile {
    /// The log knows of none with this name; these are the ones that it knows of.
    Unknown(Vec<String>),
    /// It knows of several.
    Several(Vec<String>),
}

impl Files {
    /// The file that is meant: by its whole path, by its path in the workspace, or by the end of it.
    ///
    /// # Errors
    /// [`NoFile`] when there is none, or more than one.
    pub fn find(&self, name: &str) -> Result<(&str, &FileLines), NoFile> {
        let wanted = within(name);
        if let Some((path, file)) = self.files.get_key_value(wanted) {
            return Ok((path, file));
        }
        let ends = |path: &str| path.strip_suffix(wanted).is_some_and(|before| before.ends_with('/'));
        let mut found = self.files.iter().filter(|(path, _)| ends(path));
        match (found.next(), found.next()) {
            (Some((path, file)), None) => Ok((path, file)),
            (None, _) => Err(NoFile::Unknown(self.files.keys().cloned().collect())),
            _ => Err(NoFile::Several(self.files.keys().filter(|path| ends(path)).cloned().collect())),
        }
    }

    /// The event that wrote a line.
    pub fn author(&self, seq: Seq) -> Option<&Author> {
        self.authors.get(&seq)
    }

    /// The commands that ran after `since`, and whether each names the file at `path`: what they did to files the log does not know.
    pub fn commands_since<'a>(&'a self, since: Seq, path: &'a str) -> impl Iterator<Item = (Seq, bool)> + 'a {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ran = self.commands.iter().filter(move |command| command.seq > since);
        ran.map(move |command| (command.seq, command.words.contains(name)))
    }

    fn acted(&mut self, event: &Recorded, action: Action) {
        let mut words = match &action {
            Action::Run(run) => run.command.clone(),
            Action::RunIpython(cell) => cell.code.clone(),
            Action::CallToolMcp(call) => call.name.clone(),
            Action::Write(_) | Action::Edit(_) | Action::Read(_) => {
                let author = Author { kind: event.kind.clone(), at: event.at, source: event.source };
                self.authors.insert(event.seq, author);
                self.open.insert(event.seq, action);
                return;
            }
            _ => return,
        };
        words.truncate(words.floor_char_boundary(COMMAND_MAX));
        self.commands.push(Command { seq: event.seq, words });
    }

    fn observed(&mut self, event: &Recorded, observation: &Observation) {
        let action = event.cause.and_then(|cause| self.open.remove(&cause).map(|action| (cause, action)));
        let by = action.as_ref().map_or(event.seq, |(seq, _)| *seq);
        let action = action.map(|(_, action)| action);
        let (path, evidence) = match (&observation.extras, &action) {
            (Extras::Write(written), Some(Action::Write(write))) => {
                let evidence = if write.start <= 0 && write.end == -1 {
                    Evidence::Written(&write.content)
                } else {
                    Evidence::Spliced(write.start, write.end, &write.content)
                };
                (full(&written.path, &write.path), evidence)
            }
            (Extras::Edit(_), _) if observation.content.starts_with("ERROR:") => return,
            (Extras::Edit(edited), Some(Action::Edit(edit))) if edit.command != "view" => {
                (full(&edited.path, &edit.path), Evidence::Edited(edit, edited.diff.as_deref().unwrap_or_default()))
            }
            (Extras::Read(read), _) => match seen(&observation.content, &read.impl_source, action.as_ref()) {
                Some(evidence) => (full(&read.path, ""), evidence),
                None => return,
            },
            _ => return,
        };
        let file = self.files.entry(path.to_owned()).or_default();
        let writes = file.learn(&evidence, by, event.seq);
        if writes {
            file.last = Some(by);
            self.authors.entry(by).or_insert_with(|| Author { kind: event.kind.clone(), at: event.at, source: event.source });
        } else {
            file.shown = Some(event.seq);
        }
    }
}

impl FileLines {
    /// Takes in what is known now; says whether it was a change.
    fn learn(&mut self, evidence: &Evidence<'_>, by: Seq, now: Seq) -> bool {
        let author = By::Event { seq: by };
        match evidence {
            // The tool ends every line of what it is given, also the empty one behind a last line end.
            Evidence::Written(text) => self.becomes(&format!("{}\n", text.replace("\r\n", "\n")), author, Same::Exactly),
            Evidence::Spliced(start, end, text) => self.splice(*start, *end, text, author),
            Evidence::Edited(edit, diff) => self.edited(edit, diff, author),
            Evidence::Seen(text) => {
                let known = self.last.is_some() || !self.lines.is_empty();
                let by = if known && self.text().is_some() { By::Outside { seen: now } } else { By::Before };
                if self.text().is_none() {
                    self.shows(0, &text.split('\n').collect::<Vec<_>>(), now);
                }
                self.becomes(text, by, Same::ButForBlanks);
                return false;
            }
            Evidence::SeenPart(first, texts) => {
                self.shows(*first, texts, now);
                return false;
            }
        }
        true
    }

    fn edited(&mut self, edit: &EditFile, diff: &str, by: By) {
        let unix = |text: &Option<String>| text.as_deref().unwrap_or_default().replace("\r\n", "\n");
        let after = match edit.command.as_str() {
            "create" => edit.file_text.clone(),
            "str_replace" => {
                let (old, new) = (unix(&edit.old_str), unix(&edit.new_str));
                self.text().filter(|text| text.matches(&old).count() == 1).map(|text| text.replacen(&old, &new, 1))
            }
            // The recorded difference says where lines came in, but not what stood at their ends.
            _ => None,
        };
        match after {
            Some(after) => self.becomes(&after.replace("\r\n", "\n"), by, Same::Exactly),
            None if diff.is_empty() => {
                // Something changed, and nothing says where.
                self.whole = false;
                self.lines.iter_mut().for_each(|line| *line = Line { text: None, by });
            }
            None => self.follow(diff, by),
        }
    }

    /// Replaces lines by their numbers, from 0; a last one of -1 is the end.
    fn splice(&mut self, start: i64, end: i64, text: &str, by: By) {
        let position = |line: i64| usize::try_from(line).unwrap_or(0);
        let begin = position(start);
        self.reach(begin);
        let begin = begin.min(self.lines.len());
        let behind = if self.whole && self.lines.last().is_some_and(|last| last.text.as_deref() == Some("")) { 1 } else { 0 };
        let count = self.lines.len() - behind;
        let begin = begin.min(count);
        let end = if end == -1 { count } else { position(end).clamp(begin, count) };
        let text = text.replace("\r\n", "\n");
        self.lines.splice(begin..end, text.split('\n').map(|line| Line { text: Some(line.to_owned()), by }));
        if !self.whole && position(start) == 0 && end == count {
            self.lines.push(Line { text: Some(String::new()), by });
            self.whole = true;
        }
    }
}

/// What was seen of a file by reading it.
fn seen<'a>(content: &'a str, tool: &str, action: Option<&Action>) -> Option<Evidence<'a>> {
    let read = match action {
        Some(Action::Read(read)) => Some(read),
        _ => None,
    };
    if tool != "oh_aci" {
        let all = read.is_some_and(|read| read.start <= 0 && read.end == -1);
        return all.then_some(Evidence::Seen(content));
    }
    let clipped = content.contains("<response clipped>");
    let body = content.strip_prefix("Here's the result of running `cat -n` on ")?;
    let (_, numbered) = body.split_once('\n')?;
    let numbered = numbered.strip_suffix('\n').unwrap_or(numbered);
    let mut first = None;
    let mut texts = Vec::new();
    for line in numbered.split('\n') {
        let (number, text) = line.split_once('\t')?;
        let number: usize = number.trim_start().parse().ok()?;
        let begin = *first.get_or_insert(number);
        if number != begin + texts.len() {
            return None;
        }
        texts.push(text);
    }
    if clipped {
        // The note stands in the last line.
        texts.pop();
    }
    Some(Evidence::SeenPart(first?.checked_sub(1)?, texts))
}

/// The path that is surer: what the tool says that it was, where that is a whole one.
fn full<'a>(told: &'a str, asked: &'a str) -> &'a str {
    within(if told.starts_with('/') || asked.is_empty() { told } else { asked })
}

/// A path as it stands in the workspace.
fn within(path: &str) -> &str {
    let path = path.strip_prefix(WORKSPACE).unwrap_or(path);
    path.strip_prefix("./").unwrap_or(path)
}

impl Projection for Files {
    fn apply(&mut self, event: &Recorded) {
        let told = match event.kind.family() {
            "action" => matches!(event.kind.tag(), "write" | "edit" | "read" | "run" | "run_ipython" | "call_tool_mcp"),
            "observation" => event.cause.is_some_and(|cause| self.open.contains_key(&cause)) || event.kind.tag() == "read",
            _ => false,
        };
        if !told {
            return;
        }
        let Event::Item(entry) = Event::read(event) else { return };
        match entry.item.content {
            Content::Action(action) => self.acted(event, action),
            Content::Observation(observation) => self.observed(event, &observation),
        }
    }
}
