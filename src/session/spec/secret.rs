//! Which secrets a session has. Their values live outside the log.

use serde::{Deserialize, Serialize};

/// A secret, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Its name, which is also the environment variable that commands find it in.
    pub name: String,
    /// For the agent: what it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is used for.
    #[serde(rename = "use")]
    pub used: SecretUse,
    /// The first 16 hexadecimal digits of a keyed digest of its value, which tells that it is another one now and not what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What a secret is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretUse {
    /// Commands find it in their environment.
    Environment,
    /// A provider's token: for its repositories, and in the environment of commands.
    ProviderToken,
    /// The engine alone uses it; commands never see it.
    Engine,
}
