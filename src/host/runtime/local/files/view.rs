//! What the editor shows: numbered lines, and directories.

use std::path::Path;

use super::place::{Found, Place};

/// Longest content shown, in characters.
const SHOWN_MAX: usize = 16_000;
const FILE_CUT: &str = "<response clipped><NOTE>Due to the max output limit, only part of this file has been shown to you. You should retry \
    this tool after you have searched inside the file with `grep -n` in order to find the line numbers of what you are looking for.</NOTE>";
const DIRECTORY_CUT: &str = "<response clipped><NOTE>Due to the max output limit, only part of this directory has been shown to you. You \
    should use `ls -la` instead to view large directories incrementally.</NOTE>";

/// `text` with line numbers from `first` on, under the peer's heading.
pub(super) fn numbered(text: &str, description: &str, first: usize) -> String {
    let text = clip(text, FILE_CUT);
    let lines: Vec<String> = text.split('\n').enumerate().map(|(at, line)| format!("{:6}\t{line}", at + first)).collect();
    format!("Here's the result of running `cat -n` on {description}:\n{}\n", lines.join("\n"))
}

/// The lines from `first` to `last`, counted from 1, with their ends.
pub(super) fn lines(text: &str, first: usize, last: usize) -> String {
    text.split_inclusive('\n').skip(first.saturating_sub(1)).take((last + 1).saturating_sub(first)).collect()
}

/// How many lines there are.
pub(super) fn count(text: &str) -> usize {
    text.split_inclusive('\n').count()
}

/// What is in a directory and in the directories in it.
pub(super) fn directory(root: &Path, place: &Place) -> std::io::Result<String> {
    let shown = &place.shown;
    let mut entries = vec![(shown.clone(), true)];
    let mut hidden = 0;
    for (name, is_directory) in children(root, place)? {
        if name.starts_with('.') {
            hidden += 1;
            continue;
        }
        let path = format!("{}/{name}", shown.trim_end_matches('/'));
        if is_directory && let Ok(below) = Place::find(root, &path, shown) {
            // One that cannot be read is listed all the same.
            for (name, is_directory) in children(root, &below).unwrap_or_default() {
                if !name.starts_with('.') {
                    entries.push((format!("{path}/{name}"), is_directory));
                }
            }
        }
        entries.push((path, is_directory));
    }
    entries.sort();
    let lines: Vec<String> =
        entries.into_iter().map(|(path, is_directory)| if is_directory { format!("{path}/") } else { path }).collect();
    let listing = lines.join("\n");
    let mut text = format!(
        "Here's the files and directories up to 2 levels deep in {shown}, excluding hidden items:\n{}",
        clip(&listing, DIRECTORY_CUT)
    );
    if hidden > 0 {
        text.push_str(&format!(
            "\n\n{hidden} hidden files/directories in this directory are excluded. You can use 'ls -la {shown}' to see them."
        ));
    }
    Ok(text)
}

/// Names, and whether each is a directory or a link to one inside of the workspace.
fn children(root: &Path, directory: &Place) -> std::io::Result<Vec<(String, bool)>> {
    let is_directory = |name: &str, kind: std::fs::FileType| {
        kind.is_dir()
            || kind.is_symlink()
                && Place::find(root, name, &directory.shown).is_ok_and(|place| matches!(place.look(), Ok(Found::Directory)))
    };
    let named = directory.list()?.into_iter().map(|(name, kind)| (name.to_string_lossy().into_owned(), kind));
    Ok(named
        .map(|(name, kind)| {
            let is_directory = is_directory(&name, kind);
            (name, is_directory)
        })
        .collect())
}

fn clip(text: &str, notice: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}{notice}", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}
