//! Where this user's secrets are: a keyring file that only they can read, and the environment.

mod environment;
mod fingerprint;
mod keyring;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

pub use environment::USUAL;
pub use keyring::{Entry, Keyring, KeyringError, VALUE_BYTES_MAX, is_name};

use crate::engine::ports::{SecretError, SecretValue, Secrets};
use crate::session::{SecretRef, SecretUse, SessionId};

/// The secrets of the user who runs this process. A value of the keyring goes before one of the environment.
#[derive(Debug)]
pub struct UserSecrets {
    path: Option<PathBuf>,
    read: Mutex<Option<(keyring::Stamp, Arc<Keyring>)>>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the keyring.
    Keyring,
    /// In the environment of this process.
    Environment,
}

impl Kept {
    /// The word for lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Environment => "environment",
        }
    }
}

/// A secret whose value is known.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name, and its value.
    pub secret: SecretValue,
    /// Where its value comes from.
    pub kept: Kept,
    /// Whether another value of that name, of the environment, is not used.
    pub shadows: bool,
    /// How many values it had before, that are hidden still.
    pub former: usize,
}

impl Default for UserSecrets {
    /// Those of the keyring that `REKINDLE_SECRETS` names, or of the one in the user's configuration directory.
    fn default() -> Self {
        Self::at(Keyring::usual_path())
    }
}

impl UserSecrets {
    /// Those of the keyring at `path`, which need not be there.
    pub fn at(path: Option<PathBuf>) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// Where the keyring is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The keyring as it is now; read again only when it has changed.
    ///
    /// # Errors
    /// [`KeyringError`] when it is there and cannot be read, or others could read it.
    pub fn keyring(&self) -> Result<Arc<Keyring>, KeyringError> {
        let Some(path) = &self.path else { return Ok(Arc::default()) };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = keyring::Stamp::of(path)?;
        if let Some((known, keyring)) = read.as_ref()
            && *known == stamp
        {
            return Ok(Arc::clone(keyring));
        }
        let (stamp, keyring) = Keyring::read(path)?;
        let keyring = Arc::new(keyring);
        *read = Some((stamp, Arc::clone(&keyring)));
        Ok(keyring)
    }

    /// The secrets whose values are known here: all of the keyring, and the usual ones and `named` of the environment.
    ///
    /// # Errors
    /// When the keyring cannot be read.
    pub fn list(&self, named: &[String]) -> Result<Vec<Listed>, KeyringError> {
        let keyring = self.keyring()?;
        let mut listed: Vec<Listed> = keyring
            .secrets
            .iter()
            .map(|(name, entry)| Listed {
                secret: SecretValue { name: name.clone(), value: entry.value.clone() },
                kept: Kept::Keyring,
                shadows: environment::value(name).is_some_and(|value| value != entry.value),
                former: entry.former.len(),
            })
            .collect();
        for name in USUAL.iter().copied().chain(named.iter().map(String::as_str)) {
            if let Some(value) = environment::value(name)
                && !listed.iter().any(|known| known.secret.name == name)
            {
                let secret = SecretValue { name: name.to_owned(), value };
                listed.push(Listed { secret, kept: Kept::Environment, shadows: false, former: 0 });
            }
        }
        Ok(listed)
    }

    /// Everything that must not be shown: what [`list`](Self::list) has, what is shadowed by it, and what was there before.
    ///
    /// # Errors
    /// When the keyring cannot be read.
    pub fn everything(&self, named: &[String]) -> Result<Vec<SecretValue>, KeyringError> {
        let keyring = self.keyring()?;
        let mut all: Vec<SecretValue> = self.list(named)?.into_iter().map(|listed| listed.secret).collect();
        for (name, entry) in &keyring.secrets {
            all.extend(entry.former.iter().map(|value| SecretValue { name: name.clone(), value: value.clone() }));
            all.extend(environment::value(name).map(|value| SecretValue { name: name.clone(), value }));
        }
        Ok(all)
    }
}

/// The value of one secret. A provider's token is found in either case of its letters, as the peer names them; what the user has set
/// goes before what is in the environment.
fn value(keyring: &Keyring, secret: &SecretRef) -> Option<SecretValue> {
    let mut names = vec![secret.name.clone()];
    if secret.used == SecretUse::ProviderToken {
        names.extend([secret.name.to_lowercase(), secret.name.to_uppercase()]);
    }
    let kept = names.iter().find_map(|name| keyring.secrets.get(name).map(|entry| entry.value.clone()));
    let value = kept.or_else(|| names.iter().find_map(|name| environment::value(name)))?;
    Some(SecretValue { name: secret.name.clone(), value })
}

fn unavailable(error: &KeyringError) -> SecretError {
    SecretError::Unavailable(error.to_string())
}

#[async_trait]
impl Secrets for UserSecrets {
    async fn values(&self, _session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let keyring = self.keyring().map_err(|error| unavailable(&error))?;
        let (mut values, mut missing) = (Vec::new(), Vec::new());
        for secret in secrets {
            match value(&keyring, secret) {
                Some(value) => values.push(value),
                None => missing.push(secret.name.clone()),
            }
        }
        if missing.is_empty() { Ok(values) } else { Err(SecretError::Missing(missing)) }
    }

    async fn hidden(&self, _session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        let names: Vec<String> = secrets.iter().map(|secret| secret.name.clone()).collect();
        self.everything(&names).map_err(|error| unavailable(&error))
    }

    fn fingerprint(&self, secret: &SecretValue) -> Option<String> {
        let path = self.path.as_deref()?;
        let key = match self.keyring().ok()?.key() {
            Some(key) => key,
            // Made when it is first needed; where it cannot be kept there are no fingerprints.
            None => {
                Keyring::make_key(path).inspect_err(|error| tracing::debug!(%error, "there is no key for fingerprints")).ok()?
            }
        };
        Some(fingerprint::of(&key, &secret.name, &secret.value))
    }
}
