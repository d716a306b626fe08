//! Files that only their user can read: never read when others could have, replaced whole or not at all, by one after the other.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::private;

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateFileError {
    /// Others than its user could read or change it.
    #[error("{path} is {what}; `chmod 600 {path}` makes it the user's own, and what others may have read should be replaced", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// How open it is.
        what: String,
    },
    /// It is another user's.
    #[error("{} belongs to another user (uid {owner}), so that it is not read", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Something else than a file.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// It cannot be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The file that the variable names, or the one called `name` in the user's configuration directory; `None` without a home.
pub fn usual_path(variable: &str, name: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set(variable) {
        return Some(path);
    }
    let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("rekindle").join(name))
}

/// Reads the file, at most `bytes_max` of it; `None` where there is none.
///
/// # Errors
/// [`PrivateFileError`], also when others could read it.
pub fn read(path: &Path, bytes_max: u64) -> Result<Option<(Metadata, String)>, PrivateFileError> {
    let failed = |source| PrivateFileError::File { verb: "read", path: path.to_owned(), source };
    // A pipe in its place must not be waited for.
    let mut file = match OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let metadata = file.metadata().map_err(failed)?;
    guard(path, &metadata)?;
    let mut text = String::new();
    (&mut file).take(bytes_max).read_to_string(&mut text).map_err(failed)?;
    Ok(Some((metadata, text)))
}

/// Changes the file at `path`: made when it is missing, replaced whole, one change after the other. `change` is told where the file is
/// and what it holds, and says what it holds from now on.
///
/// # Errors
/// Those of `change`, and [`PrivateFileError`]; the file is as it was then.
pub fn change<T, E: From<PrivateFileError>>(
    path: &Path,
    bytes_max: u64,
    change: impl FnOnce(&Path, Option<String>) -> Result<(String, T), E>,
) -> Result<T, E> {
    let failed = |verb: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| PrivateFileError::File { verb, path, source }
    };
    // A link is followed, so that it stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    private::make_directory(directory).map_err(failed("make", directory))?;
    let beside = |suffix: &str| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(suffix);
        directory.join(name)
    };
    let lock = beside(".lock");
    let held = private::options().create(true).truncate(false).open(&lock).map_err(failed("open", &lock))?;
    held.lock().map_err(failed("lock", &lock))?;
    let (text, done) = change(path, read(path, bytes_max)?.map(|(_, text)| text))?;
    // What an earlier one left that was cut off is no use to anybody; nobody else writes here while the lock is held.
    let new = beside(".new");
    let written = fs::remove_file(&new).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    let written = written.and_then(|()| private::write_new(&new, text.as_bytes()));
    written.and_then(|()| fs::rename(&new, path)).map_err(failed("write", path))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("write", directory))?;
    Ok(done)
}

/// Refuses a file that others could read or change.
fn guard(path: &Path, metadata: &Metadata) -> Result<(), PrivateFileError> {
    let path = path.to_owned();
    if !metadata.is_file() {
        return Err(PrivateFileError::NoFile(path));
    }
    let (owner, user) = (metadata.uid(), nix::unistd::geteuid());
    if owner != user.as_raw() && !user.is_root() {
        return Err(PrivateFileError::Foreign { path, owner });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Open { path, what: format!("open to others (mode {mode:o})") });
    }
    Ok(())
}
