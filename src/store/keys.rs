//! The keys of sessions whose bodies lie encrypted in the database: one file a session, in a directory outside of it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::cipher::{KEY_BYTES, SessionKey};
use crate::private;
use crate::session::SessionId;

/// How many keys are kept at hand.
const KEPT_MAX: usize = 4096;

/// A directory of keys.
#[derive(Debug)]
pub(super) struct KeyRing {
    directory: PathBuf,
    kept: Mutex<HashMap<SessionId, Arc<SessionKey>>>,
}

impl KeyRing {
    /// The keys in this directory, which need not be there yet.
    pub(super) fn at(directory: PathBuf) -> Self {
        Self { directory, kept: Mutex::default() }
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The key of a session; `None` when there is none.
    pub(super) fn find(&self, session: SessionId) -> io::Result<Option<Arc<SessionKey>>> {
        if let Some(key) = self.kept().get(&session) {
            return Ok(Some(Arc::clone(key)));
        }
        match fs::read(self.file(session)) {
            Ok(bytes) => self.keep(session, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the key of a session is at hand, so that [`find`](Self::find) need not look for it.
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.kept().contains_key(&session)
    }

    /// Makes the key of a session, durably; where another process was first, its key is the one.
    pub(super) fn make(&self, session: SessionId) -> io::Result<Arc<SessionKey>> {
        let file = self.file(session);
        let folder = file.parent().unwrap_or(&self.directory);
        private::make_directory(folder)?;
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        // It appears under its name at once and whole, or not at all.
        let draft = folder.join(format!(".{}", uuid::Uuid::now_v7()));
        private::write_new(&draft, &bytes)?;
        let linked = fs::hard_link(&draft, &file);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        File::open(folder)?.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        self.find(session)?.ok_or_else(|| io::Error::other("the key is gone again"))
    }

    /// Destroys the key of a session: what was encrypted with it can be read by nobody any more, wherever it lies.
    pub(super) fn destroy(&self, session: SessionId) -> io::Result<()> {
        self.kept().remove(&session);
        let file = self.file(session);
        match OpenOptions::new().write(true).open(&file) {
            Ok(mut open) => {
                open.write_all(&[0; KEY_BYTES])?;
                open.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        fs::remove_file(&file)?;
        File::open(file.parent().unwrap_or(&self.directory))?.sync_all()
    }

    fn keep(&self, session: SessionId, bytes: &[u8]) -> io::Result<Arc<SessionKey>> {
        let bytes: &[u8; KEY_BYTES] = bytes
            .try_into()
            .map_err(|_| io::Error::other(format!("{} is no key of {KEY_BYTES} bytes", self.file(session).display())))?;
        let key = Arc::new(SessionKey::new(session, bytes).ok_or_else(|| io::Error::other("the key cannot be used"))?);
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(session, Arc::clone(&key));
        Ok(key)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<SessionKey>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In folders by the last digits of the id, so that none holds too many; the first ones are much the same for years.
    fn file(&self, session: SessionId) -> PathBuf {
        let name = session.to_string();
        let folder = name.get(name.len().saturating_sub(2)..).unwrap_or_default();
        self.directory.join(folder).join(format!("{name}.key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cipher::What;
    use crate::store::conformance::new_session;

    #[test]
    fn a_key_is_made_once_and_is_gone_once_it_was_destroyed() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (KeyRing::at(directory.path().join("keys")), KeyRing::at(directory.path().join("keys")));
        let session = new_session();
        assert!(one.find(session).unwrap().is_none());
        let sealed = one.make(session).unwrap().seal(What::Content, b"a text").unwrap();
        let opened = other.make(session).unwrap().open(What::Content, &sealed).unwrap();
        assert_eq!(opened, b"a text");
        one.destroy(session).unwrap();
        one.destroy(session).unwrap();
        assert!(one.find(session).unwrap().is_none());
        let again = KeyRing::at(directory.path().join("keys"));
        assert!(again.find(session).unwrap().is_none());
        assert!(again.make(session).unwrap().open(What::Content, &sealed).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_and_left() {
        let directory = tempfile::tempdir().unwrap();
        let ring = KeyRing::at(directory.path().to_owned());
        let session = new_session();
        ring.make(session).unwrap();
        fs::write(ring.file(session), b"short").unwrap();
        let fresh = KeyRing::at(directory.path().to_owned());
        assert!(fresh.find(session).is_err() && fresh.make(session).is_err());
        assert_eq!(fs::read(fresh.file(session)).unwrap(), b"short");
    }
}
