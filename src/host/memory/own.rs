//! Microagents of the user's own, read from the disk of this machine.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::places::{self, Place};

/// How deep directories may be nested; links can make them endless.
const DEPTH_MAX: usize = 8;
/// The most files that are read.
const FILES_MAX: usize = 1000;
/// The most that is read of a file, in bytes: one more than is told, so that it is seen to be too long.
const READ_MAX: u64 = 256 * 1024;

/// A file of the user's own, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnFile {
    pub path: String,
    pub name: String,
    pub text: Result<String, String>,
}

/// The microagents in these directories, each in the order of its names. A directory that is not there holds none.
pub(super) fn read(directories: &[PathBuf]) -> Vec<OwnFile> {
    let mut files = Vec::new();
    for directory in directories {
        collect(directory, directory, DEPTH_MAX, &mut files);
    }
    files
}

fn collect(root: &Path, directory: &Path, depth: usize, files: &mut Vec<OwnFile>) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => {
            let (path, name) = (directory.display().to_string(), String::new());
            files.push(OwnFile { path, name, text: Err(format!("it cannot be read: {error}")) });
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if files.len() >= FILES_MAX {
            return;
        }
        if path.is_dir() {
            if depth > 0 {
                collect(root, &path, depth - 1, files);
            }
            continue;
        }
        let inside = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        if let Some(Place::Microagent(name)) = places::microagent(&inside) {
            files.push(OwnFile { path: path.display().to_string(), name, text: text(&path) });
        }
    }
}

fn text(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    // A pipe or a device would be read for ever.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(READ_MAX).read_to_end(&mut bytes)).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_read_in_order_and_bad_ones_are_named() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("b")).unwrap();
        for (name, text) in [("z.md", &b"z"[..]), ("b/a.md", b"a"), ("README.md", b"r"), ("notes.txt", b"n"), ("bad.md", b"\xff")]
        {
            fs::write(at(name), text).unwrap();
        }
        std::os::unix::fs::symlink(home.path(), at("b/loop")).unwrap();
        let files = read(&[at("missing"), home.path().to_owned()]);
        let firsts: Vec<&str> = files.iter().map(|file| file.name.as_str()).filter(|name| !name.contains("loop")).collect();
        assert_eq!(firsts, ["b/a", "bad", "z"]);
        assert!(files.len() < 100, "a loop ends");
        let bad = files.iter().find(|file| file.name == "bad").unwrap();
        assert_eq!(bad.text, Err("it is no UTF-8 text".to_owned()));
    }
}
