//! What was seen of a workspace before, so that a file that did not change is not read again.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use crate::session::{Digest, Masker, Timestamp};

/// The digests that are certainly in the store.
pub(super) type Kept = Arc<Mutex<HashSet<Digest>>>;

/// A file that changed within this many microseconds can change again without another time: its times do not tell.
const TOO_LATE: i64 = 2_000_000;

/// Files by their paths, as they were when they were read last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: HashMap<Vec<u8>, File>,
    /// What they were searched for.
    masker: Option<Arc<Masker>>,
    walk: u64,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    verdict: Verdict,
    walk: u64,
}

/// What is known of what is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has this digest, and may be kept.
    Content(Digest),
    /// It holds a secret.
    Secret,
}

/// What of a file changes when its content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn tells(&self, now: Timestamp) -> bool {
        let latest = self.modified.max(self.changed);
        let micros = latest.0.saturating_mul(1_000_000).saturating_add(latest.1 / 1000);
        micros.saturating_add(TOO_LATE) < now.0
    }
}

impl Seen {
    /// Begins a walk. What is searched for now must have been searched for then.
    pub(super) fn begin(&mut self, masker: Option<&Arc<Masker>>) {
        self.walk += 1;
        let same = match (&self.masker, masker) {
            (None, None) => true,
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        if !same {
            self.files.clear();
            self.masker = masker.cloned();
        }
    }

    /// What is known of the file, when it is as it was.
    pub(super) fn known(&mut self, path: &[u8], stamp: Stamp) -> Option<Verdict> {
        let file = self.files.get_mut(path).filter(|file| file.stamp == stamp)?;
        file.walk = self.walk;
        Some(file.verdict)
    }

    pub(super) fn note(&mut self, path: &[u8], stamp: Stamp, verdict: Verdict, now: Timestamp) {
        if stamp.tells(now) {
            self.files.insert(path.to_vec(), File { stamp, verdict, walk: self.walk });
        }
    }

    /// Forgets what a whole walk has not met.
    pub(super) fn end(&mut self) {
        let walk = self.walk;
        self.files.retain(|_, file| file.walk == walk);
    }
}
