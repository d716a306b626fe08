//! The code that a session works on.

use serde::{Deserialize, Serialize};

/// A repository, cloned into the workspace when the session starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositorySpec {
    /// Where it is kept.
    pub provider: Provider,
    /// `owner/name` with a provider, else a URL or a path. Never holds credentials.
    pub location: String,
    /// The branch to work on; when unset a fresh one is made from the default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The name of the secret that holds the token; none is sent when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How many commits are fetched; all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
}

/// Where repositories are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Provider {
    /// GitHub, or a server of the same kind.
    GitHub {
        /// `github.com` when unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// GitLab, or a server of the same kind.
    GitLab {
        /// `gitlab.com` when unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Bitbucket.
    Bitbucket {
        /// `bitbucket.org` when unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Any other: the location is a URL or a path.
    Plain,
}
