//! What a workspace held at a moment, as directories and files by the digests of their contents; and what of that the log says.
//!
//! A snapshot is a [`Tree`] for each directory, kept under the digest of its JSON: what did not change is the same tree, and is kept
//! once. The digest of the topmost one names the whole.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{Digest, Seq};
use super::omit::{is_false, is_zero};

/// The most bytes of a file that is kept: larger ones are made by programs, and not by an agent.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The most bytes of all files of a snapshot.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most files and directories of a snapshot: what can be looked at in a few seconds.
const ENTRIES_MAX: u64 = 50_000;

/// How much of a workspace is kept. What exceeds it is left out, and named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotSpec {
    /// The most bytes of one file.
    pub file_bytes_max: u64,
    /// The most bytes of all files.
    pub bytes_max: u64,
    /// The most files, links and directories.
    pub entries_max: u64,
}

impl Default for SnapshotSpec {
    fn default() -> Self {
        Self { file_bytes_max: FILE_BYTES_MAX, bytes_max: BYTES_MAX, entries_max: ENTRIES_MAX }
    }
}

/// A path or a name as a file system has it: bytes, which are mostly UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    /// It is UTF-8.
    Text(String),
    /// It is not.
    Bytes {
        /// Its bytes in hexadecimal.
        hex: String,
    },
}

impl PathText {
    /// A path of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
    }

    /// Its bytes; `None` when they cannot be read from what stands here.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Bytes { hex } if hex.is_ascii() && hex.len() % 2 == 0 => {
                hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
            }
            Self::Bytes { .. } => None,
        }
    }

    /// As it is shown to people.
    pub fn lossy(&self) -> String {
        self.bytes().map_or_else(|| "?".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl fmt::Display for PathText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.lossy())
    }
}

/// What one directory held, in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tree {
    /// What is kept.
    pub entries: Vec<TreeEntry>,
    /// What is not, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How many more are not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_more: u64,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Its name.
    pub name: PathText,
    /// What it is.
    #[serde(flatten)]
    pub node: Node,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Node {
    /// A file.
    File {
        /// The blob that holds what is in it.
        content: Digest,
        /// Its length in bytes.
        size: u64,
        /// Whether it can be executed.
        #[serde(default, skip_serializing_if = "is_false")]
        executable: bool,
    },
    /// A symbolic link, as it is; nobody follows it.
    Link {
        /// Where it leads.
        target: PathText,
    },
    /// A directory.
    Directory {
        /// The blob that holds its tree.
        tree: Digest,
    },
}

/// Something that a snapshot does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its path; in a tree its name.
    pub path: PathText,
    /// Why not.
    pub why: LeftOutWhy,
}

/// Why something is not in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOutWhy {
    /// It is larger than a file may be.
    TooLarge,
    /// The snapshot is full.
    NoRoom,
    /// An ignore file says so.
    Ignored,
    /// It holds the value of a secret.
    Secret,
    /// It could not be read.
    Unreadable,
    /// It is no file, directory or link: a socket, a pipe, a device.
    Special,
    /// Parts of it could not be kept, and without them it is of no use.
    Incomplete,
}

impl LeftOutWhy {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too large",
            Self::NoRoom => "no room",
            Self::Ignored => "ignored",
            Self::Secret => "holds a secret",
            Self::Unreadable => "unreadable",
            Self::Special => "no file",
            Self::Incomplete => "not whole",
        }
    }
}

impl fmt::Display for LeftOutWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Tree {
    /// The JSON under whose digest it is kept.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a tree that was kept; every name in it is one that a directory can have, so that no path leads out of the snapshot.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let tree: Self = serde_json::from_slice(bytes).map_err(|error| format!("it is no tree of a snapshot: {error}"))?;
        for entry in &tree.entries {
            let name = entry.name.bytes().unwrap_or_default();
            if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
                return Err(format!("{:?} is no name in a directory", entry.name.lossy()));
            }
            if let Node::Link { target } = &entry.node
                && target.bytes().is_none_or(|target| target.is_empty() || target.contains(&0))
            {
                return Err(format!("the link {:?} leads to no path", entry.name.lossy()));
            }
        }
        Ok(tree)
    }
}

/// What a session knows of its snapshots. Only of those that keep some, so that the states of others are what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// When the next one is due.
    pub due: SnapshotDue,
    /// The newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSnapshot>,
    /// Whether its owner has yet to see that the workspace is as the newest says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unchecked: bool,
}

impl Snapshots {
    /// Nothing was kept yet.
    pub(super) const fn begin() -> Self {
        Self { due: SnapshotDue::Now, last: None, unchecked: false }
    }

    /// Something ran that may have changed the workspace.
    pub(super) fn touched(&mut self) {
        if self.due == SnapshotDue::NotYet {
            self.due = SnapshotDue::AtRest;
        }
    }
}

/// When a snapshot is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotDue {
    /// Before anything runs.
    Now,
    /// When the turn is over: something ran.
    AtRest,
    /// Nothing ran since the last one.
    NotYet,
    /// Never any more: it cannot be done here.
    Never,
}

/// The newest snapshot of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSnapshot {
    /// The event that recorded it.
    pub at: Seq,
    /// The digest that names it.
    pub manifest: Digest,
}

/// Body of `workspace.captured`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceCaptured {
    /// The blob that holds the tree of the workspace.
    pub manifest: Digest,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// What is not in it, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How many more are not in it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_more: u64,
}

/// Body of `workspace.not_captured`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceNotCaptured {
    /// Why not.
    pub error: String,
    /// Whether it is not tried again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub for_good: bool,
}

/// Body of `workspace.compared`: what a new owner found, against the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceCompared {
    /// The snapshot.
    pub manifest: Digest,
    /// The event that recorded it.
    pub since: Seq,
    /// Whether something ran in between, so that differences are to be expected.
    pub ran: bool,
    /// What was found.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// How a workspace compares with a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Comparison {
    /// It is as it was.
    Same,
    /// It is not.
    Differs(Differences),
    /// It could not be seen.
    Failed {
        /// Why.
        error: String,
    },
}

/// Where a workspace is not what a snapshot says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Differences {
    /// How many paths differ in all.
    pub count: u64,
    /// Those that are something else now, the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<PathText>,
    /// Those that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<PathText>,
    /// Those that are new.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<PathText>,
}

/// How many paths are named in one line.
const TOLD_MAX: usize = 5;

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.count == 1 { "1 file differs" } else { &format!("{} files differ", self.count) };
        write!(f, "{files} from the log's last claim: ")?;
        let named = |paths: &[PathText], word: &'static str| {
            paths.iter().map(move |path| format!("{} ({word})", path.lossy())).collect::<Vec<_>>()
        };
        let mut all = named(&self.changed, "changed");
        all.extend(named(&self.missing, "missing"));
        all.extend(named(&self.added, "added"));
        all.truncate(TOLD_MAX);
        let more = self.count.saturating_sub(all.len() as u64);
        f.write_str(&all.join(", "))?;
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_back_as_it_was_and_names_nothing_outside() {
        let file = Node::File { content: Digest::of(b"x"), size: 1, executable: true };
        let link = Node::Link { target: PathText::new(b"../\xff") };
        let entry = |name: &[u8], node: &Node| TreeEntry { name: PathText::new(name), node: node.clone() };
        let left_out = vec![LeftOut { path: PathText::new(b"target"), why: LeftOutWhy::Ignored }];
        let tree = Tree { entries: vec![entry(b"a\xfe", &file), entry("ü".as_bytes(), &link)], left_out, left_out_more: 3 };
        assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b"] {
            let tree = Tree { entries: vec![entry(name, &file)], ..Tree::default() };
            assert!(Tree::decode(&tree.encode()).is_err(), "{name:?}");
        }
        let hex = |hex: &str| PathText::Bytes { hex: hex.to_owned() };
        for name in ["2e2e", "2f", "f", "zz", "ü", ""] {
            let tree = Tree { entries: vec![TreeEntry { name: hex(name), node: file.clone() }], ..Tree::default() };
            assert!(Tree::decode(&tree.encode()).is_err(), "{name}");
        }
    }

    #[test]
    fn differences_are_named() {
        let path = |text: &str| PathText::new(text.as_bytes());
        let some = Differences { count: 3, changed: vec![path("src/a.rs")], missing: vec![path("b")], added: vec![path("c")] };
        assert_eq!(some.to_string(), "3 files differ from the log's last claim: src/a.rs (changed), b (missing), c (added)");
        let one = Differences { count: 1, changed: vec![path("a")], ..Differences::default() };
        assert_eq!(one.to_string(), "1 file differs from the log's last claim: a (changed)");
        let many = Differences { count: 9, changed: (0..9).map(|n| path(&n.to_string())).collect(), ..Differences::default() };
        assert!(many.to_string().ends_with("4 (changed) and 4 more"));
    }
}
