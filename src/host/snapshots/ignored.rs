//! What ignore files leave out: `.gitignore`, `.ignore` and `.git/info/exclude`, the deeper before the higher.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use nix::fcntl::OFlag;

/// The most that is read of an ignore file, in bytes.
const IGNORE_FILE_MAX: u64 = 1024 * 1024;

/// The ignore files in one directory, in the order in which they count.
const NAMES: [&str; 3] = [".ignore", ".gitignore", ".git/info/exclude"];

/// The rules that hold in a directory: its own and those of the directories above.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(usize, Gitignore)>);

impl Rules {
    /// Adds what is said in the directory that is opened at `opened`, whose path is `at`. Returns how many there were before.
    pub(super) fn enter(&mut self, opened: &Path, at: &[u8]) -> usize {
        let before = self.0.len();
        for name in NAMES.iter().rev() {
            if let Some(text) = read(&opened.join(name)) {
                let mut builder = GitignoreBuilder::new("");
                for line in text.lines() {
                    // A line that means nothing hides nothing, as for git.
                    let _ = builder.add_line(None, line);
                }
                let below = if at.is_empty() { 0 } else { at.len() + 1 };
                self.0.extend(builder.build().ok().filter(|rules| !rules.is_empty()).map(|rules| (below, rules)));
            }
        }
        before
    }

    /// Forgets what was said since there were `before`.
    pub(super) fn leave(&mut self, before: usize) {
        self.0.truncate(before);
    }

    /// Whether the path is left out.
    pub(super) fn ignore(&self, path: &[u8], is_directory: bool) -> bool {
        let said = self.0.iter().rev().find_map(|(below, rules)| {
            let path = OsStr::from_bytes(path.get(*below..).unwrap_or_default());
            match rules.matched(Path::new(path), is_directory) {
                Match::None => None,
                Match::Ignore(_) => Some(true),
                Match::Whitelist(_) => Some(false),
            }
        });
        said.unwrap_or(false)
    }
}

fn read(path: &Path) -> Option<String> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(IGNORE_FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
