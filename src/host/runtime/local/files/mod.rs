//! Reading, writing and editing files of the workspace, on the agent's behalf.

mod diff;
mod documents;
mod editor;
mod place;
mod text;
mod view;

use std::io;
use std::path::PathBuf;

use crate::session::action::{EditFile, ReadFile, WriteFile};
use crate::session::observation::{FileEdited, FileRead, FileWritten};
use crate::session::{Extras, Observation};

pub(in crate::host) use documents::documents;

use editor::Editor;
use place::{Found, Place};
use text::Text;

/// The editor tool's name in actions and observations.
const EDITOR: &str = "oh_aci";
/// Largest file that is read or edited, in bytes.
const FILE_MAX: u64 = 10 << 20;

/// The files of one session.
pub(super) struct Files {
    root: PathBuf,
    editor: Editor,
}

impl Files {
    /// The files below `root`.
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, editor: Editor::default() }
    }

    /// Reads a file, or views it.
    pub(super) fn read(&self, action: &ReadFile, directory: &str) -> Observation {
        let place = match Place::find(&self.root, &action.path, directory) {
            Ok(place) => place,
            Err(refused) => return Observation::error(refused.to_string(), ""),
        };
        if action.impl_source == EDITOR {
            if matches!(place.look(), Ok(Found::File { bytes }) if bytes <= FILE_MAX)
                && place.read().is_ok_and(|bytes| Text::decode(&bytes).is_none())
            {
                return Observation::error("ERROR_BINARY_FILE", "");
            }
            let content = editor::view(&self.root, &place, action.view_range.as_deref())
                .unwrap_or_else(|complaint| format!("ERROR:\n{complaint}"));
            return Observation {
                content,
                extras: Extras::Read(FileRead { path: action.path.clone(), impl_source: EDITOR.into() }),
            };
        }
        let path = &place.shown;
        let bytes = match place.look() {
            Ok(Found::Directory) => {
                return Observation::error(format!("Path is a directory: {path}. You can only read files"), "");
            }
            Ok(Found::Nothing) => {
                let text = format!("File not found: {path}. Your current working directory is {directory}.");
                return Observation::error(text, "");
            }
            Ok(Found::File { bytes }) if bytes > FILE_MAX => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            Ok(Found::File { .. } | Found::Other) => place.read(),
            Err(error) => Err(error),
        };
        let text = match bytes.map(|bytes| Text::decode(&bytes)) {
            Ok(Some(text)) if text.is_utf8() => text,
            Ok(Some(_)) => return Observation::error(format!("File could not be decoded as utf-8: {path}."), ""),
            Ok(None) => return Observation::error("ERROR_BINARY_FILE", ""),
            Err(error) => return Observation::error(format!("File {path} cannot be read: {error}"), ""),
        };
        let text = text.shown();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        Observation {
            content: range(&lines, action.start, action.end).concat(),
            extras: Extras::Read(FileRead { path: path.clone(), impl_source: action.impl_source.clone() }),
        }
    }

    /// Writes a file, or some lines of it.
    pub(super) fn write(&self, action: &WriteFile, directory: &str) -> Observation {
        let place = match Place::find(&self.root, &action.path, directory) {
            Ok(place) => place,
            Err(refused) => return Observation::error(refused.to_string(), ""),
        };
        let path = place.shown.clone();
        match self.write_lines(&place, action) {
            Ok(Ok(())) => Observation { content: String::new(), extras: Extras::Write(FileWritten { path }) },
            Ok(Err(complaint)) => Observation::error(complaint, ""),
            Err(error) => Observation::error(format!("File {path} cannot be written: {error}"), ""),
        }
    }

    fn write_lines(&self, place: &Place, action: &WriteFile) -> io::Result<Result<(), String>> {
        let path = &place.shown;
        // The peer ends every line of the content, also the empty one behind a last line end.
        let new = format!("{}\n", action.content);
        let text = match place.look()? {
            Found::Nothing => {
                place.make_parents()?;
                return place.replace(new.as_bytes()).map(Ok);
            }
            Found::Directory => return Ok(Err(format!("Path is a directory: {path}. You can only write to files"))),
            Found::Other => return Ok(Err(format!("File {path} is not a regular file."))),
            Found::File { .. } if action.start <= 0 && action.end == -1 => return place.replace(new.as_bytes()).map(Ok),
            Found::File { .. } => Text::decode(&place.read()?).filter(Text::is_utf8),
        };
        let Some(text) = text else { return Ok(Err(format!("File could not be decoded as utf-8: {path}"))) };
        let shown = text.shown();
        let lines: Vec<&str> = shown.split_inclusive('\n').collect();
        let offset = |line: i64| -> usize { lines.iter().take(position(line, lines.len())).map(|line| line.len()).sum() };
        let start = offset(action.start);
        let end = if action.end == -1 { shown.len() } else { offset(action.end).max(start) };
        match text.splice(start, end, &text::unix(&new)).encode() {
            Ok(bytes) => place.replace(&bytes).map(Ok),
            Err(char) => Ok(Err(format!("File {path} cannot hold {char:?} in its encoding."))),
        }
    }

    /// Edits a file with the editor tool.
    pub(super) fn edit(&mut self, action: &EditFile, directory: &str) -> Observation {
        if action.impl_source != EDITOR {
            return Observation::error("Action edit by a model is not supported in the current runtime.", "");
        }
        let edited = match Place::find(&self.root, &action.path, directory) {
            Ok(place) => self.editor.edit(&self.root, &place, action).map(|edited| (edited, place.shown)),
            Err(refused) => Err(refused.to_string()),
        };
        let (content, existed, diff) = match edited {
            Ok((edited, path)) => {
                let diff = diff::unified(&edited.old, &edited.new, &path);
                (edited.message, edited.existed, diff)
            }
            Err(complaint) => (format!("ERROR:\n{complaint}"), false, String::new()),
        };
        let extras = FileEdited {
            path: action.path.clone(),
            prev_exist: existed,
            // As the peer: what was asked to be replaced, not the whole file, which would grow the log with every edit.
            old_content: action.old_str.clone(),
            new_content: action.new_str.clone(),
            impl_source: EDITOR.into(),
            diff: Some(diff),
            diff_cache: None,
        };
        Observation { content, extras: Extras::Edit(Box::new(extras)) }
    }
}

/// A line number of the peer's as a position: negative ones count from the end.
fn position(line: i64, count: usize) -> usize {
    let magnitude = usize::try_from(line.unsigned_abs()).unwrap_or(usize::MAX);
    if line < 0 { count.saturating_sub(magnitude) } else { magnitude.min(count) }
}

/// The lines from `start` to before `end`, as the peer reads them: at least one where there is one.
fn range<'a, 'b>(lines: &'b [&'a str], start: i64, end: i64) -> &'b [&'a str] {
    let first = position(start.max(0), lines.len());
    if end == -1 {
        return lines.get(first..).unwrap_or_default();
    }
    let first = first.min(lines.len().saturating_sub(2));
    let end = position(end.max(0), lines.len()).max(first + 1).min(lines.len());
    lines.get(first..end).unwrap_or_default()
}
