//! A snapshot, written out: into a directory beside its place first, which then takes that place.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use crate::engine::ports::{Contents, Listing, RestoredFiles, SnapshotError};
use crate::session::Digest;
use crate::session::workspace::Node;

/// What marks a directory that is not all there yet.
const PARTIAL: &str = ".rekindle-partial";

pub(super) async fn restore(listing: &Listing, contents: &dyn Contents, into: &Path) -> Result<RestoredFiles, SnapshotError> {
    let into = place(into)?;
    let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
        return Err(SnapshotError::NotEmpty(into.display().to_string()));
    };
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(PARTIAL);
    let partial = parent.join(beside);
    // What a restore left that was killed.
    let cleared = remove(&partial);
    let written = match cleared {
        Ok(()) => write(listing, contents, &partial).await,
        Err(error) => Err(unwritable(&partial, &error)),
    };
    let done = written.and_then(|restored| {
        // On disk before it can be seen, so that nobody finds empty files after a power cut.
        let synced = File::open(&partial).and_then(|directory| Ok(nix::unistd::syncfs(&directory)?));
        synced.and_then(|()| fs::rename(&partial, &into)).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                SnapshotError::NotEmpty(into.display().to_string())
            }
            _ => unwritable(&into, &error),
        })?;
        Ok(restored)
    });
    if done.is_err() {
        let _ = remove(&partial);
    }
    done
}

/// Where the directory will be. It is not there, or empty.
fn place(into: &Path) -> Result<PathBuf, SnapshotError> {
    let absolute = std::path::absolute(into).map_err(|error| unwritable(into, &error))?;
    match fs::read_dir(&absolute) {
        Ok(mut entries) => match entries.next() {
            None => absolute.canonicalize().map_err(|error| unwritable(into, &error)),
            Some(_) => Err(SnapshotError::NotEmpty(into.display().to_string())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = absolute.parent().unwrap_or(&absolute);
            fs::create_dir_all(parent).map_err(|error| unwritable(parent, &error))?;
            Ok(absolute)
        }
        Err(error) => Err(unwritable(into, &error)),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Every path of a listing lies in a directory that was just made here, so that none leads elsewhere.
async fn write(listing: &Listing, contents: &dyn Contents, to: &Path) -> Result<RestoredFiles, SnapshotError> {
    fs::create_dir(to).map_err(|error| unwritable(to, &error))?;
    let mut restored = RestoredFiles::default();
    for (path, node) in &listing.entries {
        let at = to.join(OsStr::from_bytes(path));
        let failed = |error: io::Error| unwritable(&at, &error);
        match node {
            Node::Directory { .. } => fs::create_dir(&at).map_err(failed)?,
            Node::Link { target } => {
                let target = OsString::from_vec(target.bytes().unwrap_or_default());
                std::os::unix::fs::symlink(target, &at).map_err(failed)?;
            }
            Node::File { content, executable, .. } => {
                let bytes = contents.content(*content).await?;
                if Digest::of(&bytes) != *content {
                    return Err(SnapshotError::Damaged(format!("the content {} is another one", content.short())));
                }
                let mut options = tokio::fs::OpenOptions::new();
                options.write(true).create_new(true).mode(if *executable { 0o777 } else { 0o666 });
                let mut file = options.open(&at).await.map_err(failed)?;
                file.write_all(&bytes).await.map_err(failed)?;
                file.flush().await.map_err(failed)?;
                restored.files += 1;
                restored.bytes += bytes.len() as u64;
            }
        }
    }
    Ok(restored)
}

fn unwritable(path: &Path, error: &io::Error) -> SnapshotError {
    SnapshotError::Unwritable(format!("{} cannot be written: {error}", path.display()))
}
