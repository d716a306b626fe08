//! Where runtimes leave word for later processes of the same user: a directory that goes when the machine is started again, at the latest.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The directory, made where it is missing; refused where others than the user have any of these rights in it.
pub(super) fn directory(refused: u32) -> io::Result<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    make(
        match own {
            Some(own) => own.join("rekindle"),
            None => env::temp_dir().join(format!("rekindle-{}", nix::unistd::geteuid())),
        },
        refused,
    )
}

/// The same for a directory in it.
pub(super) fn make(directory: PathBuf, refused: u32) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&directory)?;
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & refused != 0 {
        let what = format!("{} is not a directory of this user's alone", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(directory)
}

/// Whether `file` is what stands at `path` now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let open = file.metadata().map(identity).ok();
    open.is_some() && fs::symlink_metadata(path).map(identity).ok() == open
}
