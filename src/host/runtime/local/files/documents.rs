//! The text files that tell an agent something, read on its behalf and within bounds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::place::{Found, Place};
use crate::engine::ports::{Document, WORKSPACE};

/// How deep directories are looked through.
const DEPTH_MAX: usize = 12;
/// How many files and directories are looked at.
const LOOKED_MAX: usize = 10_000;

/// The text files under `paths` of the workspace at `root`, at most `limit` bytes in all: in the order of the paths, below each by
/// name, and each once. What leads out of the workspace, is no text, or does not fit any more is left out.
pub(in crate::host) fn documents(root: &Path, paths: &[String], limit: u64) -> Vec<Document> {
    let mut looking = Looking { root, left: limit, looked: 0, seen: BTreeSet::new(), found: Vec::new() };
    for path in paths {
        let path = Path::new(path);
        let relative = path.strip_prefix(WORKSPACE).unwrap_or(path);
        looking.look(relative, 0);
    }
    looking.found
}

struct Looking<'a> {
    root: &'a Path,
    left: u64,
    looked: usize,
    /// Where links lead together, one way is enough.
    seen: BTreeSet<PathBuf>,
    found: Vec<Document>,
}

impl Looking<'_> {
    fn look(&mut self, path: &Path, depth: usize) {
        self.looked += 1;
        if depth > DEPTH_MAX || self.looked > LOOKED_MAX {
            return;
        }
        let Some(said) = path.to_str() else { return };
        let Ok(place) = Place::find(self.root, said, WORKSPACE) else {
            tracing::warn!(path = said, "a document leads out of the workspace and is not read");
            return;
        };
        if !self.seen.insert(place.path()) {
            return;
        }
        match place.look() {
            Ok(Found::Directory) => {
                let mut names: Vec<OsString> = place.list().into_iter().flatten().map(|(name, _)| name).collect();
                names.sort();
                names.into_iter().filter(|name| name != ".git").for_each(|name| self.look(&path.join(name), depth + 1));
            }
            Ok(Found::File { bytes }) if bytes <= self.left => self.read(said, &place),
            Ok(Found::File { .. }) => tracing::warn!(path = said, "a document is too large and is not read"),
            Ok(Found::Nothing | Found::Other) | Err(_) => {}
        }
    }

    fn read(&mut self, said: &str, place: &Place) {
        let Ok(bytes) = place.read() else { return };
        // It may have grown meanwhile.
        if bytes.len() as u64 > self.left || bytes.contains(&0) {
            return;
        }
        let valid = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => bytes.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default(),
        };
        self.left -= bytes.len() as u64;
        self.found.push(Document { path: said.to_owned(), text: valid.to_owned() });
    }
}
