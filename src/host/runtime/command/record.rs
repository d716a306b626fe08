//! What was launched is on this machine's disk, so that a later engine finds it, and `doctor` what nobody needs any more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process;
use crate::host::runtime::own_directory::{self, is_at};
use crate::private;
use crate::session::{Digest, Epoch, SessionId};

/// Something that was launched.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) session: SessionId,
    pub(super) birth: Digest,
    pub(super) epoch: Epoch,
    pub(super) url: String,
    pub(super) key: String,
    /// What its processes have in their environment.
    pub(super) mark: String,
    /// The words that end it.
    pub(super) stop: Vec<String>,
}

/// A record as its engine holds it.
pub(super) struct Held {
    pub(super) record: Record,
    path: PathBuf,
    /// Locked as long as the engine lives.
    file: File,
}

/// Where the record of a session is.
pub(super) fn path(session: SessionId, birth: Digest) -> io::Result<PathBuf> {
    Ok(directory()?.join(format!("{session}-{}.json", birth.short())))
}

impl Record {
    /// The record at `path`, if there is one that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Puts the record at `path` in place of what is there.
    pub(super) fn hold(self, path: PathBuf) -> io::Result<Held> {
        let new = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&new);
        let mut file = private::options().create_new(true).open(&new)?;
        file.lock()?;
        file.write_all(&serde_json::to_vec(&self)?)?;
        fs::rename(&new, &path)?;
        Ok(Held { record: self, path, file })
    }
}

impl Held {
    /// Whether no other engine has put its own in place of it.
    pub(super) fn is_ours(&self) -> bool {
        is_at(&self.file, &self.path)
    }

    /// Removes it, and what was written beside it.
    pub(super) fn remove(&self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(log(&self.path));
        }
    }

    /// Where the launched processes write.
    pub(super) fn log(&self) -> PathBuf {
        log(&self.path)
    }
}

fn log(path: &Path) -> PathBuf {
    path.with_extension("log")
}

/// Where the records of this user are; nobody else can read them.
fn directory() -> io::Result<PathBuf> {
    const REFUSED: u32 = 0o077;
    own_directory::make(own_directory::directory(REFUSED)?.join("launched"), REFUSED)
}

/// A runtime that was launched and is still on record.
#[derive(Clone)]
pub struct Launched {
    /// Whose it is.
    pub session: SessionId,
    /// The beginning of the chain hash of the session's first event.
    pub birth: String,
    /// Whether processes of it are there, or something that its launcher can end.
    pub is_running: bool,
    /// Whether the engine that launched it is there.
    pub is_kept: bool,
    path: PathBuf,
    record: Record,
}

impl std::fmt::Debug for Launched {
    /// Leaves the record out, which holds the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { session, birth, is_running, is_kept, path, .. } = self;
        f.debug_struct("Launched")
            .field("session", session)
            .field("birth", birth)
            .field("is_running", is_running)
            .field("is_kept", is_kept)
            .field("path", path)
            .finish_non_exhaustive()
    }
}

/// What this user has launched on this machine.
///
/// # Errors
/// When the records cannot be read.
pub fn launched() -> io::Result<Vec<Launched>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory()?)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let (Ok(file), Some(record)) = (File::open(&path), Record::read(&path)) else { continue };
        let is_kept = file.try_lock_shared().is_err();
        let is_running = !record.stop.is_empty() || !process::marked(&record.mark)?.is_empty();
        let (session, birth) = (record.session, record.birth.short());
        found.push(Launched { session, birth, is_running, is_kept, path, record });
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

impl Launched {
    /// Whether it runs on though its engine is gone.
    pub const fn is_leaked(&self) -> bool {
        self.is_running && !self.is_kept
    }

    /// Ends it; false when an engine holds it by now, and it was left as it is. Waits.
    ///
    /// # Errors
    /// When something cannot be ended.
    pub fn sweep(&self) -> io::Result<bool> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            file => file?,
        };
        if file.try_lock().is_err() || !is_at(&file, &self.path) {
            return Ok(false);
        }
        process::end(&self.record.mark, &self.record.stop)?;
        let _ = fs::remove_file(log(&self.path));
        fs::remove_file(&self.path)?;
        Ok(true)
    }
}
