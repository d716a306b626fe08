//! The keys that sign audit logs: a file that only their user can read, one key a line, the newest of a log last.

use std::path::PathBuf;

use super::super::exit::CliError;
use crate::audit::{SignerKey, VerifierKey};
use crate::host::private::{self, PrivateFileError};

/// How long the file may be, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// What a new file begins with.
const HEADER: &str = "# Keys that sign audit logs: whoever has one can speak for its log.\n";

/// The file.
pub(super) struct Keys {
    path: PathBuf,
}

impl Keys {
    /// The file that `REKINDLE_AUDIT_KEYS` names, or the one in the user's configuration directory.
    pub(super) fn usual() -> Result<Self, CliError> {
        let path = private::usual_path("REKINDLE_AUDIT_KEYS", "audit-keys");
        let none = || CliError::Failed("there is no HOME to keep the key in; name a file in REKINDLE_AUDIT_KEYS".to_owned());
        Ok(Self { path: path.ok_or_else(none)? })
    }

    /// The keys of a log, the newest last.
    pub(super) fn of(&self, origin: &str) -> Result<Vec<SignerKey>, CliError> {
        let keys = self.read()?.into_iter().filter_map(|key| match key {
            Key::Signs(key) if key.verifier().name() == origin => Some(*key),
            Key::Signs(_) | Key::Verifies(_) => None,
        });
        Ok(keys.collect())
    }

    /// The public halves of the keys of a log, those of lost ones too; the one that signs now is the last.
    pub(super) fn verifiers_of(&self, origin: &str) -> Result<Vec<VerifierKey>, CliError> {
        let keys = self.read()?.into_iter().map(|key| match key {
            Key::Signs(key) => key.verifier().clone(),
            Key::Verifies(key) => key,
        });
        Ok(keys.filter(|key| key.name() == origin).collect())
    }

    /// Makes a key for a log. What the one before has signed, which is lost, is believed still.
    pub(super) fn make(&self, origin: &str, lost: Option<VerifierKey>) -> Result<SignerKey, CliError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| CliError::Failed(format!("no key can be made: {error}")))?;
        let key = SignerKey::from_seed(origin, seed)?;
        private::change(&self.path, FILE_BYTES_MAX, |_, text| {
            let mut text = text.unwrap_or_else(|| HEADER.to_owned());
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            let lines = lost.map(|lost| lost.to_string()).into_iter().chain([key.reveal()]);
            lines.for_each(|line| text.push_str(&format!("{line}\n")));
            Ok::<_, CliError>((text, ()))
        })?;
        Ok(key)
    }

    /// What to say when the key of a log is not here.
    pub(super) fn missing(&self, origin: &str) -> CliError {
        CliError::NotFound(format!(
            "the key of {origin} is not in {}; bring that file from where the log was begun, or seal with --new-key to sign with another \
             one from now on, which whoever checks must be told",
            self.path.display()
        ))
    }

    fn read(&self) -> Result<Vec<Key>, CliError> {
        let text = private::read(&self.path, FILE_BYTES_MAX)?.map(|(_, text)| text).unwrap_or_default();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
            // A key is a secret: what is wrong with it is said without it.
            let failed = |error| CliError::Failed(format!("line {number} of {}: {error}", self.path.display()));
            if line.starts_with("PRIVATE+KEY+") {
                line.parse().map(|key| Key::Signs(Box::new(key))).map_err(failed)
            } else {
                line.parse().map(Key::Verifies).map_err(failed)
            }
        });
        keys.collect()
    }
}

/// One line of the file.
enum Key {
    Signs(Box<SignerKey>),
    /// One that is lost, its public half.
    Verifies(VerifierKey),
}

impl From<PrivateFileError> for CliError {
    fn from(error: PrivateFileError) -> Self {
        Self::Failed(error.to_string())
    }
}
