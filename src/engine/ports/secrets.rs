//! Where the values of secrets are.

use std::fmt;

use async_trait::async_trait;

use crate::session::{SecretRef, SessionId};

/// Knows the values of secrets. They never enter the log.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// The values of these secrets of a session.
    ///
    /// # Errors
    /// [`SecretError::Missing`] naming those that are nowhere to be found.
    async fn values(&self, session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError>;

    /// Everything that must not be shown in this session, whether it uses it or not: the values of these secrets as far as they are
    /// known, and others that could be met, such as those that a secret had before. Asked before anything is written down, and again
    /// before each thing that is done; what was told once is hidden for as long as the session is run here.
    ///
    /// # Errors
    /// [`SecretError::Unavailable`] when it cannot be told: nothing is begun then.
    async fn hidden(&self, session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        let mut known = Vec::new();
        for secret in secrets {
            match self.values(session, std::slice::from_ref(secret)).await {
                Ok(values) => known.extend(values),
                Err(SecretError::Missing(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(known)
    }

    /// Tells values apart without telling them: the first 16 hexadecimal digits of a keyed digest; `None` without a key.
    fn fingerprint(&self, secret: &SecretValue) -> Option<String> {
        let _ = secret;
        None
    }
}

/// A secret and its value; the value is never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why values of secrets cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Nobody knows the values of these.
    #[error("no value is known of {}; set it with `rekindle secrets set NAME` or in the environment", .0.join(", "))]
    Missing(Vec<String>),
    /// The place where they are kept cannot be read.
    #[error("secrets cannot be read: {0}")]
    Unavailable(String),
}
