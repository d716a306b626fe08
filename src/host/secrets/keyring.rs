//! The keyring: a file that only its user can read, replaced whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::private::{self, PrivateFileError};

/// How long a value may be, in bytes: the longest that a variable of an environment may be is twice that.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// How long a file is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a name may be.
const NAME_MAX: usize = 128;
/// How many values of a secret are remembered that it had before.
const FORMER_MAX: usize = 8;
/// The version of the file's form.
const VERSION: u32 = 1;

/// What a keyring holds.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    version: u32,
    /// Makes fingerprints, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The secrets, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, Entry>,
}

/// A secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its value.
    pub value: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The values that it had before, the latest first. They are never given out again, and hidden for as long as they stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("names", &self.secrets.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("description", &self.description).finish_non_exhaustive()
    }
}

/// Why a keyring cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The user has no place for one.
    #[error("there is no HOME to keep secrets in; name a file in REKINDLE_SECRETS")]
    NoPlace,
    /// Others than its user could read or change it.
    #[error("{path} is {what}; `chmod 600 {path}` makes it the user's own, and values that others may have read should be replaced", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// How open it is.
        what: String,
    },
    /// It is another user's.
    #[error("{} belongs to another user (uid {owner}), so that it is not read; name another file in REKINDLE_SECRETS", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It is not what a keyring looks like.
    #[error("{} is no keyring: {why}; move it away, or name another file in REKINDLE_SECRETS", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without what it holds.
        why: String,
    },
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

/// What tells whether a file has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<[i64; 7]>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Result<Self, KeyringError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self::from(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(source) => Err(KeyringError::File { verb: "read", path: path.to_owned(), source }),
        }
    }

    fn from(metadata: &Metadata) -> Self {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (file, size, mode) = (metadata.ino(), metadata.size(), u64::from(metadata.mode()));
        Self(Some([
            number(metadata.dev()),
            number(file),
            number(size),
            number(mode),
            i64::from(metadata.uid()),
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()),
        ]))
    }
}

/// Whether a secret may be called so: as a variable of an environment may be.
pub fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|char| char.is_ascii_alphabetic() || char == '_');
    first && name.len() <= NAME_MAX && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}

impl Keyring {
    /// The file that `REKINDLE_SECRETS` names, or the one in the user's configuration directory; `None` without a home.
    pub fn usual_path() -> Option<PathBuf> {
        private::usual_path("REKINDLE_SECRETS", "secrets.json")
    }

    /// Reads the file; an empty keyring where there is none.
    pub(super) fn read(path: &Path) -> Result<(Stamp, Self), KeyringError> {
        match private::read(path, FILE_BYTES_MAX)? {
            Some((metadata, text)) => Ok((Stamp::from(&metadata), Self::parse(path, &text)?)),
            None => Ok((Stamp(None), Self::default())),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyringError> {
        let unreadable = |why: String| KeyringError::Unreadable { path: path.to_owned(), why };
        // What a parser says of a file that it cannot read may quote it.
        let keyring: Self = serde_json::from_str(text)
            .map_err(|error| unreadable(format!("line {}, column {} is not as it should be", error.line(), error.column())))?;
        if keyring.version > VERSION {
            return Err(unreadable(format!("it was written by a newer version (form {})", keyring.version)));
        }
        Ok(keyring)
    }

    /// The key that makes fingerprints.
    pub(super) fn key(&self) -> Option<[u8; 32]> {
        let digits = self.key.as_ref()?;
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok()?;
        }
        Some(key)
    }

    /// Makes a key where there is none yet.
    pub(super) fn make_key(path: &Path) -> Result<[u8; 32], KeyringError> {
        Self::change(path, |keyring| keyring.key())?
            .ok_or_else(|| KeyringError::Unreadable { path: path.to_owned(), why: "its key is none".to_owned() })
    }

    /// Gives a secret a value; the one that it had is remembered, to be hidden still.
    pub fn set(&mut self, name: &str, value: String, description: Option<String>) {
        let known = self.secrets.remove(name);
        let mut entry = Entry { value, description: String::new(), former: Vec::new() };
        if let Some(known) = known {
            entry.description = known.description;
            entry.former = std::iter::once(known.value).chain(known.former).collect();
            entry.former.retain(|former| *former != entry.value);
            entry.former.truncate(FORMER_MAX);
        }
        if let Some(description) = description {
            entry.description = description;
        }
        self.secrets.insert(name.to_owned(), entry);
    }

    /// Changes the file at `path`: made when it is missing, replaced whole, one change after the other.
    ///
    /// # Errors
    /// [`KeyringError`]; the file is as it was then.
    pub fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, KeyringError> {
        private::change(path, FILE_BYTES_MAX, |path, text| {
            let mut keyring = text.map_or_else(|| Ok(Self::default()), |text| Self::parse(path, &text))?;
            if keyring.key.is_none() {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| KeyringError::File {
                    verb: "make a key for",
                    path: path.to_owned(),
                    source: io::Error::other(error),
                })?;
                keyring.key = Some(key.iter().map(|byte| format!("{byte:02x}")).collect());
            }
            let done = change(&mut keyring);
            keyring.version = VERSION;
            let mut text = serde_json::to_string_pretty(&keyring)
                .map_err(|error| KeyringError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
            text.push('\n');
            Ok((text, done))
        })
    }
}

impl From<PrivateFileError> for KeyringError {
    fn from(error: PrivateFileError) -> Self {
        match error {
            PrivateFileError::Open { path, what } => Self::Open { path, what },
            PrivateFileError::Foreign { path, owner } => Self::Foreign { path, owner },
            PrivateFileError::NoFile(path) => Self::Unreadable { path, why: "it is no file".to_owned() },
            PrivateFileError::File { verb, path, source } => Self::File { verb, path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config/rekindle/secrets.json");
        (home, path)
    }

    #[test]
    fn only_its_user_can_read_what_is_written() {
        let (_home, path) = place();
        Keyring::change(&path, |keyring| keyring.set("A", "value-of-a".to_owned(), None)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "the file and its lock: {left:?}");
        let (_, keyring) = Keyring::read(&path).unwrap();
        assert_eq!(keyring.secrets["A"].value, "value-of-a");
        assert!(keyring.key().is_some());
        assert!(!format!("{keyring:?}").contains("value-of-a"));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_way_out() {
        let (_home, path) = place();
        Keyring::change(&path, |keyring| keyring.set("A", "value-of-a".to_owned(), None)).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Keyring::read(&path).unwrap_err();
            assert!(matches!(error, KeyringError::Open { .. }));
            assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
            assert!(Keyring::change(&path, |_| ()).is_err(), "nor is it replaced");
        }
    }

    #[test]
    fn a_file_that_is_no_keyring_is_named_without_what_it_holds() {
        let (home, path) = place();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for text in [
            "{\"version\":1,\"secrets\":{\"A\":{\"value\":\"my-secret-value\"",
            "my-secret-value",
            "{\"my-secret-value\":1}",
            "{\"version\":9}",
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Keyring::read(&path).unwrap_err().to_string();
            assert!(error.contains("is no keyring") && !error.contains("my-secret-value"), "{error}");
        }
        assert!(Keyring::read(home.path()).is_err(), "a directory");
        assert!(Keyring::read(&home.path().join("nowhere")).unwrap().1.secrets.is_empty());
    }

    #[test]
    fn a_former_value_is_remembered_and_a_description_kept() {
        let mut keyring = Keyring::default();
        keyring.set("A", "one".to_owned(), Some("what for".to_owned()));
        for value in ["two", "three", "two"] {
            keyring.set("A", value.to_owned(), None);
        }
        let entry = &keyring.secrets["A"];
        assert_eq!((entry.value.as_str(), entry.description.as_str()), ("two", "what for"));
        assert_eq!(entry.former, ["three", "one"]);
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let (_home, path) = place();
        let path = &path;
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    for m in 0..5 {
                        Keyring::change(path, |keyring| keyring.set(&format!("S_{n}_{m}"), format!("value {n} {m}"), None))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(Keyring::read(path).unwrap().1.secrets.len(), 40);
    }

    #[test]
    fn a_link_to_it_stays_one() {
        let (home, path) = place();
        Keyring::change(&path, |keyring| keyring.set("A", "one".to_owned(), None)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Keyring::change(&link, |keyring| keyring.set("B", "two".to_owned(), None)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(Keyring::read(&path).unwrap().1.secrets.len(), 2);
    }
}
