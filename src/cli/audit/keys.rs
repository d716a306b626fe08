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
        let text = private::read(&self.path, FILE_BYTES_MAX)?.map(|(_, text)| text).unwrap_or_default();
        self.parse(&text, origin)
    }

    /// The public halves of the keys of a log.
    pub(super) fn verifiers_of(&self, origin: &str) -> Result<Vec<VerifierKey>, CliError> {
        Ok(self.of(origin)?.iter().map(|key| key.verifier().clone()).collect())
    }

    /// Makes a key for a log.
    pub(super) fn make(&self, origin: &str) -> Result<SignerKey, CliError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| CliError::Failed(format!("no key can be made: {error}")))?;
        let key = SignerKey::from_seed(origin, seed)?;
        private::change(&self.path, FILE_BYTES_MAX, |_, text| {
            let mut text = text.unwrap_or_else(|| HEADER.to_owned());
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&key.reveal());
            text.push('\n');
            Ok::<_, CliError>((text, ()))
        })?;
        Ok(key)
    }

    /// What to say when the key of a log is not here.
    pub(super) fn missing(&self, origin: &str) -> CliError {
        CliError::NotFound(format!(
            "the key of {origin} is not in {}; bring that file from where the log was begun, or say --new-key to sign with another one \
             from now on, which whoever checks must be told",
            self.path.display()
        ))
    }

    fn parse(&self, text: &str, origin: &str) -> Result<Vec<SignerKey>, CliError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // A key is a secret: what is wrong with it is said without it.
            let key: SignerKey = line
                .parse()
                .map_err(|error| CliError::Failed(format!("line {} of {}: {error}", index + 1, self.path.display())))?;
            if key.verifier().name() == origin {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

impl From<PrivateFileError> for CliError {
    fn from(error: PrivateFileError) -> Self {
        Self::Failed(error.to_string())
    }
}
