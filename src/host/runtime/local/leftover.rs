//! What local runtimes have left on this machine: processes that run on without their engine, and fences that nobody needs any more.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::fence::{self, Held};
use crate::host::runtime::own_directory;
use crate::session::SessionId;

/// The fence of a session, and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The session.
    pub session: SessionId,
    /// The beginning of the chain hash of its first event, which tells sessions of the same id in different stores apart.
    pub birth: String,
    /// The file.
    pub fence: PathBuf,
    /// Whether processes of its runtime are there.
    pub is_running: bool,
    /// Whether the engine that made it is there.
    pub is_kept: bool,
}

/// The fences of this user on this machine, by name.
///
/// # Errors
/// When their directory cannot be read.
pub fn leftovers() -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(fence::directory()?)? {
        let path = entry?.path();
        match look(path) {
            Ok(leftover) => found.extend(leftover),
            // Swept away by another process meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by(|one, other| one.fence.cmp(&other.fence));
    Ok(found)
}

/// Looks at one file; `None` when its name is not that of a fence.
fn look(path: PathBuf) -> io::Result<Option<Leftover>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((session, birth)) = name.rsplit_once('-') else { return Ok(None) };
    let (Ok(session), birth) = (session.parse(), birth.to_owned()) else { return Ok(None) };
    let mut file = fence::options().open(&path)?;
    // Whoever is just claiming it is waited for.
    file.lock_shared()?;
    let (is_running, is_kept) = state(&Held::read(&mut file)?)?;
    Ok(Some(Leftover { session, birth, fence: path, is_running, is_kept }))
}

/// Whether the processes of the runtime are there, and whether its engine is.
fn state(held: &Held) -> io::Result<(bool, bool)> {
    let is_running = held.runtime.as_ref().map_or(Ok(false), fence::Footprint::is_there)?;
    Ok((is_running, held.keeper.as_ref().is_some_and(fence::FirstProcess::is_there)))
}

impl Leftover {
    /// Whether the processes run on though their engine is gone.
    pub const fn is_leaked(&self) -> bool {
        self.is_running && !self.is_kept
    }

    /// Whether nobody needs the file any more.
    pub const fn is_stale(&self) -> bool {
        !self.is_running && !self.is_kept
    }

    /// Ends the processes and removes the fence; false when an engine has claimed it meanwhile, and it was left as it is.
    ///
    /// # Errors
    /// When the processes cannot be ended, or the file cannot be removed.
    pub fn sweep(&self) -> io::Result<bool> {
        let mut file = match fence::options().open(&self.fence) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened?,
        };
        file.lock()?;
        let held = Held::read(&mut file)?;
        let (_, is_kept) = state(&held)?;
        if is_kept || !own_directory::is_at(&file, &self.fence) {
            return Ok(false);
        }
        if let Some(runtime) = &held.runtime {
            runtime.end()?;
        }
        fs::remove_file(&self.fence)?;
        Ok(true)
    }
}
