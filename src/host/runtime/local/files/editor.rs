//! The editor tool: `create`, `str_replace`, `insert`, `undo_edit`, `view`, with the peer's words.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use crate::session::action::EditFile;

use super::FILE_MAX;
use super::place::{Found, Place};
use super::text::{Text, unix};
use super::view;

/// How many edits of one file can be undone.
const UNDO_MAX: usize = 10;
/// Lines shown around an edit.
const AROUND: usize = 4;
/// Documents that the peer converts and we do not.
const DOCUMENTS: [&str; 8] = ["docx", "xlsx", "pptx", "pdf", "mp3", "wav", "m4a", "flac"];

/// What an edit did.
#[derive(Debug, Default)]
pub(super) struct Edited {
    pub(super) message: String,
    pub(super) existed: bool,
    pub(super) old: String,
    pub(super) new: String,
}

/// What the agent did wrong, in words for it.
type Complaint = String;

/// The editor, with what it can undo.
#[derive(Debug, Default)]
pub(super) struct Editor {
    history: HashMap<PathBuf, VecDeque<String>>,
}

impl Editor {
    /// Does what `action` says.
    pub(super) fn edit(&mut self, root: &Path, place: &Place, action: &EditFile) -> Result<Edited, Complaint> {
        let found = check_path(place, &action.command)?;
        let missing = |name: &str| format!("Parameter `{name}` is required for command: {}.", action.command);
        match action.command.as_str() {
            "view" => Ok(Edited { message: view(root, place, None)?, existed: true, ..Edited::default() }),
            "create" => self.create(place, action.file_text.as_ref().ok_or_else(|| missing("file_text"))?),
            "str_replace" => {
                let old = action.old_str.as_ref().ok_or_else(|| missing("old_str"))?;
                if action.new_str.as_ref() == Some(old) {
                    return Err(format!(
                        "Invalid `new_str` parameter: {old}. No replacement was performed. `new_str` and `old_str` must be different."
                    ));
                }
                if old.is_empty() {
                    return Err("Invalid `old_str` parameter: . It must not be empty.".into());
                }
                self.str_replace(place, found, &unix(old), &unix(action.new_str.as_deref().unwrap_or_default()))
            }
            "insert" => {
                let line = action.insert_line.ok_or_else(|| missing("insert_line"))?;
                self.insert(place, found, line, &unix(action.new_str.as_ref().ok_or_else(|| missing("new_str"))?))
            }
            "undo_edit" => self.undo(place, found),
            command => Err(format!(
                "Unrecognized command {command}. The allowed commands for the oh_editor tool are: view, create, str_replace, insert, \
                 undo_edit"
            )),
        }
    }

    fn create(&mut self, place: &Place, text: &str) -> Result<Edited, Complaint> {
        place.replace(text.as_bytes()).map_err(|error| write_failed(place, &error))?;
        self.remember(place, text.to_owned());
        let message = format!("File created successfully at: {}", place.shown);
        Ok(Edited { message, existed: false, old: String::new(), new: text.to_owned() })
    }

    fn str_replace(&mut self, place: &Place, found: Found, old: &str, new: &str) -> Result<Edited, Complaint> {
        let file = load(place, found)?;
        let text = file.shown();
        let path = &place.shown;
        let mut matches = text.match_indices(old).map(|(at, _)| at);
        let Some(at) = matches.next() else {
            return Err(format!("No replacement was performed, old_str `{old}` did not appear verbatim in {path}."));
        };
        let line_of = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        if matches.next().is_some() {
            let mut lines: Vec<usize> = text.match_indices(old).map(|(at, _)| line_of(at)).collect();
            lines.dedup();
            return Err(format!(
                "No replacement was performed. Multiple occurrences of old_str `{old}` in lines {lines:?}. Please ensure it is unique."
            ));
        }
        let edited = file.splice(at, at + old.len(), new);
        self.store(place, &file, &edited)?;
        let line = line_of(at);
        let first = line.saturating_sub(AROUND);
        let result = edited.shown();
        let snippet = view::lines(&result, first + 1, line + AROUND + new.matches('\n').count());
        let message = format!(
            "The file {path} has been edited. {}Review the changes and make sure they are as expected. Edit the file again if necessary.",
            view::numbered(&snippet, &format!("a snippet of {path}"), first + 1)
        );
        Ok(Edited { message, existed: true, old: text, new: result })
    }

    fn insert(&mut self, place: &Place, found: Found, line: i64, new: &str) -> Result<Edited, Complaint> {
        let file = load(place, found)?;
        let text = file.shown();
        let path = &place.shown;
        let count = view::count(&text);
        let Some(line) = usize::try_from(line).ok().filter(|line| *line <= count) else {
            return Err(format!(
                "Invalid `insert_line` parameter: {line}. It should be within the range of allowed values: [0, {count}]"
            ));
        };
        let at: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        // A last line without an end gets one, so that the new text does not become a part of it.
        let unfinished = text.get(..at).is_some_and(|before| !before.is_empty() && !before.ends_with('\n'));
        let edited = file.splice(at, at, &format!("{}{new}\n", if unfinished { "\n" } else { "" }));
        self.store(place, &file, &edited)?;
        let added = new.matches('\n').count() + 1;
        let first = line.saturating_sub(AROUND);
        let result = edited.shown();
        let snippet = view::lines(&result, first + 1, (count + added).min(line + AROUND + added));
        let message = format!(
            "The file {path} has been edited. {}Review the changes and make sure they are as expected (correct indentation, no \
             duplicate lines, etc). Edit the file again if necessary.",
            view::numbered(&snippet, "a snippet of the edited file", first + 1)
        );
        Ok(Edited { message, existed: true, old: text, new: result })
    }

    fn undo(&mut self, place: &Place, found: Found) -> Result<Edited, Complaint> {
        let file = load(place, found)?;
        let path = &place.shown;
        let Some(before) = self.history.get_mut(&place.path()).and_then(VecDeque::pop_back) else {
            return Err(format!("No edit history found for {path}."));
        };
        let edited = file.with_raw(before);
        save(place, &edited)?;
        let result = edited.shown();
        let message = format!("Last edit to {path} undone successfully. {}", view::numbered(&result, path, 1));
        Ok(Edited { message, existed: true, old: file.shown(), new: result })
    }

    fn store(&mut self, place: &Place, before: &Text, after: &Text) -> Result<(), Complaint> {
        save(place, after)?;
        self.remember(place, before.raw().to_owned());
        Ok(())
    }

    fn remember(&mut self, place: &Place, text: String) {
        let versions = self.history.entry(place.path()).or_default();
        versions.push_back(text);
        if versions.len() > UNDO_MAX {
            versions.pop_front();
        }
    }
}

/// What the `view` command shows.
pub(super) fn view(root: &Path, place: &Place, range: Option<&[i64]>) -> Result<String, Complaint> {
    let range = range.filter(|range| !range.is_empty());
    let path = &place.shown;
    let found = check_path(place, "view")?;
    let invalid = |range: &[i64], hint: String| Err(format!("Invalid `view_range` parameter: {range:?}. {hint}"));
    if found == Found::Directory {
        if let Some(range) = range {
            return invalid(range, "The `view_range` parameter is not allowed when `path` points to a directory.".into());
        }
        return view::directory(root, place).map_err(|error| read_failed(place, &error));
    }
    if is_document(path) {
        return Err(format!(
            "Error in converting file to Markdown: it is not supported by this runtime. Please use Python code to read {path}"
        ));
    }
    let text = load(place, found)?.shown();
    let Some(range) = range else { return Ok(view::numbered(&text, path, 1)) };
    let [first, last] = *range else { return invalid(range, "It should be a list of two integers.".into()) };
    let count = i64::try_from(view::count(&text)).unwrap_or(i64::MAX);
    if first < 1 || first > count {
        let hint = format!("Its first element `{first}` should be within the range of lines of the file: [1, {count}].");
        return invalid(range, hint);
    }
    if last > count {
        let hint = format!("Its second element `{last}` should be smaller than the number of lines in the file: `{count}`.");
        return invalid(range, hint);
    }
    if last != -1 && last < first {
        let hint = format!("Its second element `{last}` should be greater than or equal to the first element `{first}`.");
        return invalid(range, hint);
    }
    let last = if last == -1 { count } else { last };
    let (first, last) = (usize::try_from(first).unwrap_or(1), usize::try_from(last).unwrap_or(usize::MAX - 1));
    let part = view::lines(&text, first, last);
    Ok(view::numbered(part.strip_suffix('\n').unwrap_or(&part), path, first))
}

/// Whether path and command go together.
fn check_path(place: &Place, command: &str) -> Result<Found, Complaint> {
    let path = &place.shown;
    let found = place.look().map_err(|error| read_failed(place, &error))?;
    let invalid = |hint: String| Err(format!("Invalid `path` parameter: {path}. {hint}"));
    match found {
        Found::Nothing if command != "create" => invalid(format!("The path {path} does not exist. Please provide a valid path.")),
        Found::Directory | Found::File { .. } | Found::Other if command == "create" => {
            invalid(format!("File already exists at: {path}. Cannot overwrite files using command `create`."))
        }
        Found::Directory if command != "view" => {
            invalid(format!("The path {path} is a directory and only the `view` command can be used on directories."))
        }
        Found::Other => Err(format!("File validation failed for {path}: It is not a regular file.")),
        Found::Nothing | Found::Directory | Found::File { .. } if command != "view" && is_document(path) => invalid(format!(
            "The path {path} points to a binary file (.{}) and only the `view` command can be used on supported binary files.",
            path.rsplit('.').next().unwrap_or_default()
        )),
        Found::Nothing | Found::Directory | Found::File { .. } => Ok(found),
    }
}

fn load(place: &Place, found: Found) -> Result<Text, Complaint> {
    let path = &place.shown;
    if let Found::File { bytes } = found
        && bytes > FILE_MAX
    {
        let tenths = bytes * 10 / (1 << 20);
        return Err(format!(
            "File validation failed for {path}: File is too large ({}.{}MB). Maximum allowed size is {}MB.",
            tenths / 10,
            tenths % 10,
            FILE_MAX >> 20
        ));
    }
    let bytes = place.read().map_err(|error| read_failed(place, &error))?;
    Text::decode(&bytes).ok_or_else(|| {
        format!("File validation failed for {path}: File appears to be binary and this file type cannot be read or edited by this tool.")
    })
}

fn save(place: &Place, text: &Text) -> Result<(), Complaint> {
    let bytes = text.encode().map_err(|char| {
        format!("Ran into a character that the file's encoding does not have ({char:?}) while trying to write to {}", place.shown)
    })?;
    place.replace(&bytes).map_err(|error| write_failed(place, &error))
}

fn read_failed(place: &Place, error: &io::Error) -> Complaint {
    format!("Ran into {} while trying to read {}", errno(place, error), place.shown)
}

fn write_failed(place: &Place, error: &io::Error) -> Complaint {
    format!("Ran into {} while trying to write to {}", errno(place, error), place.shown)
}

/// An error as Python writes it.
fn errno(place: &Place, error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    format!("[Errno {code}] {}: '{}'", nix::errno::Errno::from_raw(code).desc(), place.shown)
}

fn is_document(path: &str) -> bool {
    Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| DOCUMENTS.contains(&extension.to_lowercase().as_str()))
}
