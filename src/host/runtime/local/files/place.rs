//! Where a path leads, and reading and replacing what is there, never outside of the workspace.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use crate::engine::ports::WORKSPACE;

use super::FILE_MAX;

/// As many links in a row as the kernel follows.
const LINKS_MAX: u32 = 40;

/// A path that leads into the workspace.
#[derive(Debug)]
pub(super) struct Place {
    /// As the agent names it, made absolute.
    pub(super) shown: String,
    root: PathBuf,
    /// From the workspace, without links, `.` and `..`.
    inside: PathBuf,
}

/// Why a path is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It leads out of the workspace.
    #[error("You're not allowed to access this path: {0}. You can only access paths inside the workspace.")]
    Outside(String),
    /// It cannot be followed.
    #[error("{1}: {0}")]
    Unusable(String, io::Error),
}

/// What lies at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Directory,
    File {
        bytes: u64,
    },
    /// A device, a socket, a pipe: reading it may never end.
    Other,
}

impl Place {
    /// Follows `said`, which may be relative to `directory`.
    pub(super) fn find(root: &Path, said: &str, directory: &str) -> Result<Self, Refused> {
        // Collecting the components drops what a path does not need: double slashes, dots, a slash at the end.
        let absolute: PathBuf = Path::new(directory).join(said).components().collect();
        let shown = absolute.to_string_lossy().into_owned();
        let outside = || Refused::Outside(shown.clone());
        let mut ahead = components(inside(root, &absolute).ok_or_else(outside)?);
        let mut behind: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step == ".." {
                behind.pop().ok_or_else(outside)?;
                continue;
            }
            let here: PathBuf = root.iter().chain(behind.iter().map(OsString::as_os_str)).chain([step.as_os_str()]).collect();
            let target = match fs::symlink_metadata(&here) {
                Ok(meta) if meta.is_symlink() => fs::read_link(&here).map_err(|error| Refused::Unusable(shown.clone(), error))?,
                Ok(_) | Err(_) => {
                    behind.push(step);
                    continue;
                }
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(Refused::Unusable(shown, io::Error::from(nix::errno::Errno::ELOOP)));
            }
            let mut steps = if target.is_absolute() {
                behind.clear();
                components(inside(root, &target).ok_or_else(outside)?)
            } else {
                components(&target)
            };
            steps.append(&mut ahead);
            ahead = steps;
        }
        Ok(Self { shown, root: root.to_path_buf(), inside: behind.into_iter().collect() })
    }

    /// The path on this machine.
    pub(super) fn path(&self) -> PathBuf {
        self.root.join(&self.inside)
    }

    /// What is there now.
    pub(super) fn look(&self) -> io::Result<Found> {
        let looked = self.parent().and_then(|(parent, name)| fs::symlink_metadata(below(&parent, name)));
        match looked {
            Ok(meta) if meta.is_dir() => Ok(Found::Directory),
            Ok(meta) if meta.is_file() => Ok(Found::File { bytes: meta.len() }),
            Ok(_) => Ok(Found::Other),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(Found::Directory),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                // In a workspace that is gone nothing can be made either, so that nothing looks like a file that is missing.
                fs::metadata(&self.root)
                    .map(|_| Found::Nothing)
                    .map_err(|error| io::Error::new(error.kind(), format!("the workspace {} is gone", self.root.display())))
            }
            Err(error) => Err(error),
        }
    }

    /// Names what is in the directory, and what kind of thing each is.
    pub(super) fn list(&self) -> io::Result<Vec<(OsString, fs::FileType)>> {
        let root = open_directory(&self.root)?;
        let directory = self.inside.iter().try_fold(root, |directory, step| open_child(&directory, step))?;
        fs::read_dir(below(&directory, OsStr::new(".")))?
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
            .collect()
    }

    /// Reads the file.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let (parent, name) = self.parent()?;
        let file = OpenOptions::new()
            .read(true)
            // What was a file a moment ago may be a link or a pipe by now.
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
            .open(below(&parent, name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        // It may have grown since it was looked at.
        file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(bytes)
    }

    /// Puts `bytes` in the file's place, whole or not at all; mode and owner stay.
    pub(super) fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (parent, name) = self.parent()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = OsString::from(format!(".rekindle-{}-{count}.tmp", std::process::id()));
        let before = fs::symlink_metadata(below(&parent, name)).ok().filter(fs::Metadata::is_file);
        let written = (|| {
            // What only some may read is not shown to all meanwhile.
            let mode = if before.is_some() { 0o600 } else { 0o666 };
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(below(&parent, &temporary))?;
            file.write_all(bytes)?;
            if let Some(before) = &before {
                keep_owner(&file, before)?;
                file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
            }
            fs::rename(below(&parent, &temporary), below(&parent, name))
        })();
        if written.is_err() {
            let _ = fs::remove_file(below(&parent, &temporary));
        }
        written
    }

    /// Makes the directories above, one in the other, so that no link put there meanwhile leads astray.
    pub(super) fn make_parents(&self) -> io::Result<()> {
        let mut parent = open_directory(&self.root)?;
        for step in self.inside.parent().into_iter().flat_map(Path::iter) {
            match fs::create_dir(below(&parent, step)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => parent = open_child(&parent, step)?,
            }
        }
        Ok(())
    }

    /// The directory above, opened in a way that no link put there meanwhile can lead astray, and the name in it.
    fn parent(&self) -> io::Result<(OwnedFd, &OsStr)> {
        let Some(name) = self.inside.file_name() else { return Err(io::Error::from(io::ErrorKind::IsADirectory)) };
        let mut above = self.inside.parent().into_iter().flat_map(Path::iter);
        Ok((above.try_fold(open_directory(&self.root)?, |directory, step| open_child(&directory, step))?, name))
    }
}

/// Finds a directory, and nothing else.
const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, DIRECTORY, Mode::empty())?)
}

/// Opens the directory `name` of an opened one, unless it is a link.
fn open_child(directory: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(openat(directory, Path::new(name), DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?)
}

/// Root can give a file away, others need not.
fn keep_owner(file: &File, before: &fs::Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if (now.uid(), now.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    match std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid())) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

/// `name` in an opened directory, as a path.
fn below(directory: &OwnedFd, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
}

/// The part of an absolute path that is inside of the workspace, under either of its names.
fn inside<'a>(root: &Path, path: &'a Path) -> Option<&'a Path> {
    path.strip_prefix(WORKSPACE).or_else(|_| path.strip_prefix(root)).ok()
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir))
        .map(|step| step.as_os_str().to_owned())
        .collect()
}
