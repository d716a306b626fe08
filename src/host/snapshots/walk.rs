//! One walk through a workspace, from the leaves up: files, then the tree of their directory.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use nix::fcntl::OFlag;
use tokio::sync::mpsc;

use super::git::{self, Part};
use super::ignored::Rules;
use super::seen::{Kept, Seen, Stamp, Verdict};
use crate::engine::ports::{Capture, SnapshotError};
use crate::session::Digest;
use crate::session::workspace::{LeftOut, LeftOutWhy, Node, PathText, Tree, TreeEntry, WorkspaceCaptured};

/// How deep directories are followed: each holds a file descriptor open.
const DEPTH_MAX: usize = 100;
/// How many names of a directory's own things that are left out stand in its tree.
const LEFT_OUT_IN_TREE: usize = 100;
/// How many of all that is left out are remembered during a walk.
const LEFT_OUT_MAX: usize = 10_000;
/// How many of them the log names.
const LEFT_OUT_TOLD: usize = 20;
/// How much is handed over at a time, in bytes and in contents.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const BATCH_CONTENTS: usize = 512;

/// Contents on their way to the store.
pub(super) type Batch = Vec<(Digest, Vec<u8>)>;

/// Where contents go.
pub(super) struct Sink {
    sender: mpsc::Sender<Batch>,
    kept: Kept,
    keeps: bool,
    sent: HashSet<Digest>,
    batch: Batch,
    bytes: usize,
}

/// Whoever wanted the walk is gone.
struct Unwanted;

impl Sink {
    /// With `keeps` unset nothing goes anywhere, and everything counts as being there.
    pub(super) fn new(sender: mpsc::Sender<Batch>, kept: Kept, keeps: bool) -> Self {
        Self { sender, kept, keeps, sent: HashSet::new(), batch: Vec::new(), bytes: 0 }
    }

    fn has(&self, digest: Digest) -> bool {
        !self.keeps || self.sent.contains(&digest) || self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest)
    }

    fn put(&mut self, digest: Digest, bytes: Vec<u8>) -> Result<(), Unwanted> {
        if self.has(digest) {
            return Ok(());
        }
        self.sent.insert(digest);
        self.bytes += bytes.len();
        self.batch.push((digest, bytes));
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_CONTENTS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        self.bytes = 0;
        match std::mem::take(&mut self.batch) {
            batch if batch.is_empty() => Ok(()),
            batch => self.sender.blocking_send(batch).map_err(|_| Unwanted),
        }
    }

    fn is_wanted(&self) -> Result<(), Unwanted> {
        if self.sender.is_closed() { Err(Unwanted) } else { Ok(()) }
    }
}

/// What a walk found.
pub(super) struct Walked {
    pub(super) captured: WorkspaceCaptured,
    /// Every file and link by its path, where nothing was to be kept.
    pub(super) found: BTreeMap<Vec<u8>, Node>,
    pub(super) left_out: Vec<LeftOut>,
}

pub(super) struct Walk<'a> {
    capture: &'a Capture,
    seen: &'a mut Seen,
    sink: Sink,
    rules: Rules,
    count: Count,
    found: BTreeMap<Vec<u8>, Node>,
    left_out: Vec<LeftOut>,
    left_out_more: u64,
}

/// How much a snapshot holds so far.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    files: u64,
    bytes: u64,
    entries: u64,
}

/// A directory on the way.
struct Place<'a> {
    /// Through its own file descriptor.
    opened: &'a Path,
    /// Its path from the workspace on.
    at: &'a [u8],
    depth: usize,
    in_git: bool,
}

/// What came of one name.
enum Met {
    Kept(Node),
    LeftOut(LeftOutWhy),
    /// It was gone when it was looked at.
    Gone,
}

impl<'a> Walk<'a> {
    pub(super) fn new(capture: &'a Capture, seen: &'a mut Seen, sink: Sink) -> Self {
        seen.begin(capture.masker.as_ref());
        Self {
            capture,
            seen,
            sink,
            rules: Rules::default(),
            count: Count::default(),
            found: BTreeMap::new(),
            left_out: Vec::new(),
            left_out_more: 0,
        }
    }

    pub(super) fn through(mut self, root: &Path) -> Result<Walked, SnapshotError> {
        let unreadable = |error: io::Error| SnapshotError::Unreadable(format!("{}: {error}", root.display()));
        // Its own path may lead through links: that is where the person said.
        let directory = File::open(root).map_err(unreadable)?;
        let opened = descriptor(&directory);
        fs::read_dir(&opened).map_err(unreadable)?;
        let place = Place { opened: &opened, at: b"", depth: 0, in_git: false };
        let walked = self.directory(&place).and_then(|manifest| self.sink.flush().map(|()| manifest));
        let manifest = walked.map_err(|Unwanted| SnapshotError::Unreadable("nobody waits for it".to_owned()))?;
        self.seen.end();
        // What a person must know of comes first.
        self.left_out.sort_by_key(|left| left.why == LeftOutWhy::Ignored);
        let told = self.left_out.iter().take(LEFT_OUT_TOLD).cloned().collect::<Vec<_>>();
        let left_out_more = self.left_out_more + (self.left_out.len() - told.len()) as u64;
        let Count { files, bytes, .. } = self.count;
        let captured = WorkspaceCaptured { manifest, files, bytes, left_out: told, left_out_more };
        Ok(Walked { captured, found: self.found, left_out: self.left_out })
    }

    /// Walks through an opened directory and returns the digest of its tree.
    fn directory(&mut self, place: &Place<'_>) -> Result<Digest, Unwanted> {
        self.sink.is_wanted()?;
        let before = if place.in_git { usize::MAX } else { self.rules.enter(place.opened, place.at) };
        let mut tree = Tree::default();
        for name in names(place.opened) {
            let path = if place.at.is_empty() { name.clone() } else { [place.at, b"/", &name].concat() };
            match self.meet(place, &name, &path)? {
                Met::Gone => {}
                Met::Kept(node) => tree.entries.push(TreeEntry { name: PathText::new(&name), node }),
                Met::LeftOut(why) => self.leave_out(&mut tree, &name, &path, why),
            }
        }
        self.rules.leave(before);
        tree.entries.sort_by_cached_key(|entry| entry.name.bytes());
        let bytes = tree.encode();
        let digest = Digest::of(&bytes);
        self.sink.put(digest, bytes)?;
        Ok(digest)
    }

    fn leave_out(&mut self, tree: &mut Tree, name: &[u8], path: &[u8], why: LeftOutWhy) {
        if tree.left_out.len() < LEFT_OUT_IN_TREE {
            tree.left_out.push(LeftOut { path: self.shown(name), why });
        } else {
            tree.left_out_more += 1;
        }
        if self.left_out.len() < LEFT_OUT_MAX {
            let path = self.shown(path);
            self.left_out.push(LeftOut { path, why });
        } else {
            self.left_out_more += 1;
        }
    }

    /// A path without values.
    fn shown(&self, path: &[u8]) -> PathText {
        match &self.capture.masker {
            Some(masker) if self.holds_secret(path) => PathText::Text(masker.text(&String::from_utf8_lossy(path)).into_owned()),
            _ => PathText::new(path),
        }
    }

    fn meet(&mut self, place: &Place<'_>, name: &[u8], path: &[u8]) -> Result<Met, Unwanted> {
        let opened = place.opened.join(std::ffi::OsStr::from_bytes(name));
        let meta = match fs::symlink_metadata(&opened) {
            Ok(meta) => meta,
            Err(error) => return Ok(missed(&error)),
        };
        let is_git = name == b".git";
        if !place.in_git && !is_git && self.rules.ignore(path, meta.is_dir()) {
            return Ok(Met::LeftOut(LeftOutWhy::Ignored));
        }
        // What git holds only while it is at something.
        if place.in_git && name.ends_with(b".lock") {
            return Ok(Met::Gone);
        }
        if self.holds_secret(name) {
            return Ok(Met::LeftOut(LeftOutWhy::Secret));
        }
        if self.count.entries >= self.capture.limits.entries_max {
            return Ok(Met::LeftOut(LeftOutWhy::NoRoom));
        }
        let kind = meta.file_type();
        let met = if kind.is_symlink() {
            self.link(&opened)
        } else if kind.is_dir() {
            self.below(place, &opened, path, is_git)?
        } else if kind.is_file() {
            self.file(&opened, path, &meta, place.in_git)?
        } else {
            Met::LeftOut(LeftOutWhy::Special)
        };
        if let Met::Kept(node) = &met {
            self.count.entries += 1;
            if !self.sink.keeps && !matches!(node, Node::Directory { .. }) {
                self.found.insert(path.to_vec(), node.clone());
            }
        }
        Ok(met)
    }

    fn link(&self, opened: &Path) -> Met {
        match fs::read_link(opened) {
            Ok(target) => {
                let target = target.into_os_string().into_vec();
                if self.holds_secret(&target) {
                    return Met::LeftOut(LeftOutWhy::Secret);
                }
                Met::Kept(Node::Link { target: PathText::new(&target) })
            }
            Err(error) => missed(&error),
        }
    }

    fn below(&mut self, place: &Place<'_>, opened: &Path, path: &[u8], is_git: bool) -> Result<Met, Unwanted> {
        if place.depth >= DEPTH_MAX {
            return Ok(Met::LeftOut(LeftOutWhy::NoRoom));
        }
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits();
        let directory = match OpenOptions::new().read(true).custom_flags(flags).open(opened) {
            Ok(directory) => directory,
            Err(error) => return Ok(missed(&error)),
        };
        let opened = descriptor(&directory);
        let below = Place { opened: &opened, at: path, depth: place.depth + 1, in_git: place.in_git || is_git };
        let (count, left_out, more) = (self.count, self.left_out.len(), self.left_out_more);
        let tree = self.directory(&below)?;
        // Half of a repository is none.
        if is_git && (self.left_out.len() > left_out || self.left_out_more > more) {
            let first = self.left_out.get(left_out).map(|left| left.why);
            self.left_out.truncate(left_out);
            self.left_out_more = more;
            self.count = count;
            self.found.retain(|found, _| !(found.starts_with(path) && found.get(path.len()) == Some(&b'/')));
            let why = first.filter(|why| matches!(why, LeftOutWhy::Secret | LeftOutWhy::NoRoom));
            return Ok(Met::LeftOut(why.unwrap_or(LeftOutWhy::Incomplete)));
        }
        Ok(Met::Kept(Node::Directory { tree }))
    }

    fn file(&mut self, opened: &Path, path: &[u8], meta: &Metadata, in_git: bool) -> Result<Met, Unwanted> {
        let limits = self.capture.limits;
        // Git packs many files into one.
        let most = if in_git { limits.file_bytes_max.max(limits.bytes_max / 4) } else { limits.file_bytes_max };
        if meta.len() > most {
            return Ok(Met::LeftOut(LeftOutWhy::TooLarge));
        }
        if self.count.bytes.saturating_add(meta.len()) > limits.bytes_max {
            return Ok(Met::LeftOut(LeftOutWhy::NoRoom));
        }
        let known = self.seen.known(path, Stamp::of(meta));
        let (verdict, size, executable) = match known {
            Some(Verdict::Secret) => return Ok(Met::LeftOut(LeftOutWhy::Secret)),
            Some(verdict @ Verdict::Content(digest)) if self.sink.has(digest) => (verdict, meta.len(), is_executable(meta)),
            _ => {
                let (bytes, meta) = match read(opened, most) {
                    Ok(read) => read,
                    Err(met) => return Ok(met),
                };
                let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
                let verdict = if self.is_secret(path, &bytes, in_git) {
                    Verdict::Secret
                } else {
                    self.sink.put(digest, bytes)?;
                    Verdict::Content(digest)
                };
                self.seen.note(path, Stamp::of(&meta), verdict, self.capture.now);
                (verdict, size, is_executable(&meta))
            }
        };
        let Verdict::Content(content) = verdict else { return Ok(Met::LeftOut(LeftOutWhy::Secret)) };
        self.count.files += 1;
        self.count.bytes += size;
        Ok(Met::Kept(Node::File { content, size, executable }))
    }

    /// Whether a file holds a value, or cannot be seen not to.
    fn is_secret(&self, path: &[u8], bytes: &[u8], in_git: bool) -> bool {
        let Some(masker) = &self.capture.masker else { return false };
        if self.holds_secret(bytes) {
            return true;
        }
        let mut holds = false;
        let looked = in_git.then(|| {
            git::parts(path, bytes, &mut |part| {
                holds |= match part {
                    Part::Whole(bytes) => self.holds_secret(bytes),
                    // The rest of a value may be in what it was put between.
                    Part::Between(bytes) => matches!(masker.cut_text(&String::from_utf8_lossy(bytes)), Cow::Owned(_)),
                };
            })
        });
        holds || looked.is_some_and(|looked| looked.is_err())
    }

    fn holds_secret(&self, bytes: &[u8]) -> bool {
        let masker = self.capture.masker.as_ref();
        masker.is_some_and(|masker| !masker.find(&String::from_utf8_lossy(bytes)).is_empty())
    }
}

/// The path of an opened directory, which nobody can make another one.
fn descriptor(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// The names in a directory, in order; `.git` comes last, so that it takes no room from what is worked on.
fn names(opened: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(opened).into_iter().flatten().flatten();
    let mut names: Vec<Vec<u8>> = entries.map(|entry| entry.file_name().into_vec()).collect();
    names.sort_by(|a, b| (a == b".git").cmp(&(b == b".git")).then_with(|| a.cmp(b)));
    names
}

/// Reads a file that is not longer than `most`.
fn read(opened: &Path, most: u64) -> Result<(Vec<u8>, Metadata), Met> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(opened).map_err(|error| missed(&error))?;
    let meta = file.metadata().map_err(|error| missed(&error))?;
    if !meta.is_file() {
        return Err(Met::LeftOut(LeftOutWhy::Special));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| missed(&error))?;
    if bytes.len() as u64 > most {
        return Err(Met::LeftOut(LeftOutWhy::TooLarge));
    }
    Ok((bytes, meta))
}

fn missed(error: &io::Error) -> Met {
    if error.kind() == io::ErrorKind::NotFound { Met::Gone } else { Met::LeftOut(LeftOutWhy::Unreadable) }
}

fn is_executable(meta: &Metadata) -> bool {
    meta.mode() & 0o111 != 0
}
