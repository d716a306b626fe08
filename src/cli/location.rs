//! Where things lie: the store that is meant, and the directories of this user.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::exit::CliError;
use crate::host::private;
use crate::session::SessionId;
use crate::store::{Bodies, OpenError, OpenOptions, SharedStore, StoreError, connect};

/// The store that is meant.
#[derive(Debug, Clone)]
pub enum Location {
    /// Named on the command line or in the environment.
    Named(String),
    /// The user's own.
    Default(PathBuf),
}

/// What a command wants of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it; there is nothing to read when it is missing.
    Read,
    /// Write to a session that is in it.
    Write,
    /// Write to it, and make it when it is missing.
    Create,
}

impl Location {
    /// From what the command line or the environment says.
    ///
    /// # Errors
    /// [`CliError::Usage`] when nothing names a store and the user has no home.
    pub fn find(named: Option<&str>) -> Result<Self, CliError> {
        match named.filter(|named| !named.is_empty()) {
            Some(url) => Ok(Self::Named(url.to_owned())),
            None => Ok(Self::Default(data_dir("name a store with --store sqlite://PATH")?.join("rekindle.db"))),
        }
    }

    /// The address to connect to.
    pub fn url(&self) -> String {
        match self {
            Self::Named(url) => url.clone(),
            Self::Default(path) => format!("sqlite://{}", path.display()),
        }
    }

    /// Whether it is on a server, where other nodes may be using it.
    pub fn is_served(&self) -> bool {
        let url = self.url();
        url.starts_with("postgres://") || url.starts_with("postgresql://")
    }

    /// What to add to a command line so that it means this store.
    pub fn flag(&self) -> String {
        match self {
            Self::Named(url) if env::var("REKINDLE_STORE").is_ok_and(|set| set == *url) => String::new(),
            Self::Named(url) => format!(" --store {}", quoted(&without_password(url))),
            Self::Default(_) => String::new(),
        }
    }

    /// Opens the store; `None` when a command only reads and the user's own store is not there yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(&self, access: Access) -> Result<Option<SharedStore>, CliError> {
        self.open_with(access, usual_options()).await
    }

    /// The same, with options of the store's own.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open_with(&self, access: Access, options: OpenOptions) -> Result<Option<SharedStore>, CliError> {
        if let Self::Default(path) = self {
            if access == Access::Create {
                let dir = path.parent().unwrap_or(path);
                fs::create_dir_all(dir).map_err(|source| CliError::File { verb: "make", path: dir.to_owned(), source })?;
            } else if !path.exists() {
                return Ok(None);
            }
        }
        let options = OpenOptions { create: access == Access::Create, read_only: access == Access::Read, ..options };
        match connect(&self.url(), options.clone()).await {
            // Nobody else can be using a file with an older version, so that it may as well be brought to this one's format now.
            Err(StoreError::Open(OpenError::Older { .. })) if options.read_only && !self.is_served() => {
                connect(&self.url(), OpenOptions { read_only: false, ..options.clone() }).await?.close().await;
                Ok(Some(connect(&self.url(), options).await?))
            }
            opened => Ok(Some(opened?)),
        }
    }
}

/// How stores are opened: with the keys that the user has, for those that need them.
pub fn usual_options() -> OpenOptions {
    OpenOptions { keys: private::usual_path("REKINDLE_SESSION_KEYS", "session-keys"), ..OpenOptions::DEFAULT }
}

/// Who shall be able to read a copy of a store: no more people than can read the store, unless it is said that all may.
pub fn bodies_of_copy(encrypted: bool, decrypt: bool) -> Bodies {
    if encrypted && !decrypt { Bodies::Encrypted } else { Bodies::Readable }
}

/// An address as it may be shown: what stands between the user's name and the host is left away, to come from where it came from.
fn without_password(url: &str) -> String {
    let parts = url.split("://").enumerate().map(|(index, part)| match (index, part.rfind('@')) {
        (1.., Some(end)) => {
            let (user, host) = part.split_at(end);
            let user = user.split(':').next().unwrap_or_default();
            format!("{user}{host}")
        }
        _ => part.to_owned(),
    });
    if url.starts_with("postgres") { parts.collect::<Vec<_>>().join("://") } else { url.to_owned() }
}

/// The directory of this program's data.
///
/// # Errors
/// [`CliError::Usage`] when the user has no home.
fn data_dir(way_out: &str) -> Result<PathBuf, CliError> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let base = base.ok_or_else(|| CliError::Usage(format!("there is no HOME to keep sessions in; {way_out}")))?;
    Ok(base.join("rekindle"))
}

/// Where a session works when no directory is named.
///
/// # Errors
/// [`CliError::Usage`] when the user has no home.
pub fn workspace(session: SessionId) -> Result<PathBuf, CliError> {
    Ok(data_dir("name a directory to work in with --workspace DIR")?.join("workspaces").join(session.to_string()))
}

/// The same for a session whose files are yet to be brought: a place where nothing is. Whoever was killed over a session of that name may
/// have left some, or somebody may still work there for another store.
///
/// # Errors
/// As [`workspace`].
pub fn free_workspace(session: SessionId) -> Result<PathBuf, CliError> {
    let first = workspace(session)?;
    let others = (2_u32..).map(|number| first.with_file_name(format!("{session}.{number}")));
    let is_free = |place: &PathBuf| fs::read_dir(place).map_or(true, |mut entries| entries.next().is_none());
    Ok(std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first))
}

/// Where a runtime server keeps what is named so, when no directory is named.
///
/// # Errors
/// [`CliError::Usage`] when the user has no home.
pub fn of_runtime_server(what: &str) -> Result<PathBuf, CliError> {
    let way_out = "name directories with --state DIR and --workspace DIR";
    Ok(data_dir(way_out)?.join("runtime-server").join(what))
}

/// The path as seen from everywhere.
///
/// # Errors
/// When the current directory is gone.
pub fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|source| CliError::File { verb: "find", path: path.to_owned(), source })
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_never_repeats_a_password() {
        let shown = without_password("postgres://me:se@cret@one/db,postgres://me:secret@two:5433/db?pooler=session");
        assert_eq!(shown, "postgres://me@one/db,postgres://me@two:5433/db?pooler=session");
        assert_eq!(without_password("sqlite:///home/a:b@c/x.db"), "sqlite:///home/a:b@c/x.db");
    }
}
