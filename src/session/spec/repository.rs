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

impl RepositorySpec {
    /// The name of its directory in the workspace: the last part of its location, without `.git`. `None` where that names nothing.
    pub fn directory(&self) -> Option<&str> {
        let location = self.location.trim_end_matches('/');
        let location = location.strip_suffix("/.git").unwrap_or(location).trim_end_matches('/');
        let last = location.rsplit('/').next().unwrap_or_default();
        // What ssh is told: `host:name.git`.
        let last = if location.contains('/') { last } else { last.rsplit(':').next().unwrap_or_default() };
        let name = last.strip_suffix(".git").unwrap_or(last);
        let names_something = !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
        // Of an address only the host would be left.
        let is_host = location.split("://").nth(1).is_some_and(|rest| !rest.contains('/'));
        (names_something && !is_host).then_some(name)
    }

    /// The repository in which its owner keeps what all agents are told, by the peer's names: `OWNER/.openhands`, on GitLab
    /// `OWNER/openhands-config`. `None` where it is at no provider, or is that repository itself.
    pub fn organisation(&self) -> Option<Self> {
        let location = self.location.trim_end_matches('/');
        let (owner, name) = location.strip_suffix(".git").unwrap_or(location).rsplit_once('/')?;
        let is_gitlab = match &self.provider {
            Provider::GitHub { .. } | Provider::Bitbucket { .. } => false,
            Provider::GitLab { .. } => true,
            Provider::Plain => match owner.strip_prefix("https://")?.split_once('/')?.0.to_ascii_lowercase().as_str() {
                "github.com" | "bitbucket.org" => false,
                "gitlab.com" => true,
                _ => return None,
            },
        };
        let kept_in = if is_gitlab { "openhands-config" } else { ".openhands" };
        let location = (name != kept_in && !owner.is_empty()).then(|| format!("{owner}/{kept_in}"))?;
        let (provider, token) = (self.provider.clone(), self.token.clone());
        Some(Self { provider, location, branch: None, token, depth: Some(1) })
    }

    /// Whether a password or a token stands in what is said of it, where the log would keep it.
    pub fn holds_credentials(&self) -> bool {
        let host = match &self.provider {
            Provider::GitHub { host } | Provider::GitLab { host } | Provider::Bitbucket { host } => host.as_deref(),
            Provider::Plain => None,
        };
        let has_login = |url: &str| {
            let (scheme, rest) = url.split_once("://").unwrap_or(("ssh", url));
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // Over ssh a user is named, and what opens is a key.
            authority.rsplit_once('@').is_some_and(|(login, _)| scheme != "ssh" || login.contains(':'))
        };
        has_login(&self.location) || host.is_some_and(|host| host.contains('@'))
    }
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

/// What is done when the project's setup script fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSetupFailure {
    /// It is told, and the start goes on.
    #[default]
    GoOn,
    /// The start fails.
    Fail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_the_log_would_keep_is_seen() {
        let holds = |provider: Provider, location: &str| {
            RepositorySpec { provider, location: location.to_owned(), branch: None, token: None, depth: None }.holds_credentials()
        };
        for location in ["https://t@h/o/n", "http://u:t@h/n", "ssh://u:t@h/n", "ftp://u:t@h/n", "u:t@h:o/n", "https://a@b@h/n"] {
            assert!(holds(Provider::Plain, location), "{location}");
        }
        for location in ["https://h/o/n@v", "ssh://git@h/o/n", "git@h:o/n", "/a@b:c/n", "o/n", "https://h/?a@b"] {
            assert!(!holds(Provider::Plain, location), "{location}");
        }
        assert!(holds(Provider::GitHub { host: Some("t@h".to_owned()) }, "o/n"));
        assert!(!holds(Provider::GitHub { host: Some("https://h".to_owned()) }, "o/n"));
    }

    #[test]
    fn an_owner_keeps_what_all_agents_are_told_where_the_provider_has_it() {
        let github = || Provider::GitHub { host: None };
        let gitlab = || Provider::GitLab { host: Some("git.corp".to_owned()) };
        for (provider, location, kept_in) in [
            (github(), "o/n", Some("o/.openhands")),
            (github(), "https://github.com/o/n.git", Some("https://github.com/o/.openhands")),
            (github(), "o/.openhands", None),
            (gitlab(), "group/sub/n", Some("group/sub/openhands-config")),
            (gitlab(), "group/openhands-config.git", None),
            (Provider::Bitbucket { host: None }, "o/n/", Some("o/.openhands")),
            (Provider::Plain, "https://github.com/o/n", Some("https://github.com/o/.openhands")),
            (Provider::Plain, "https://gitlab.com/o/n", Some("https://gitlab.com/o/openhands-config")),
            (Provider::Plain, "https://github.com/n", None),
            (Provider::Plain, "https://git.example/o/n", None),
            (Provider::Plain, "/srv/o/n", None),
        ] {
            let (location, token) = (location.to_owned(), Some("T".to_owned()));
            let spec = RepositorySpec { provider, location, branch: Some("b".to_owned()), token, depth: None };
            let found = spec.organisation();
            assert_eq!(found.as_ref().map(|found| found.location.as_str()), kept_in, "{spec:?}");
            assert!(found.is_none_or(|found| found.token == spec.token && found.branch.is_none() && found.depth == Some(1)));
        }
    }

    #[test]
    fn a_repository_is_found_under_its_own_name() {
        for (location, name) in [
            ("owner/name", Some("name")),
            ("https://git.example/group/sub/name.git", Some("name")),
            ("https://git.example/name/", Some("name")),
            ("git@git.example:owner/name.git", Some("name")),
            ("git.example:name.git", Some("name")),
            ("/home/me/a:b", Some("a:b")),
            ("/home/me/proj/.git", Some("proj")),
            ("https://git.example/", None),
            ("https://git.example", None),
            ("/", None),
            ("..", None),
            ("/a/..", None),
            (".git", None),
            ("/a/b\nc", None),
        ] {
            let spec = RepositorySpec {
                provider: Provider::Plain,
                location: location.to_owned(),
                branch: None,
                token: None,
                depth: None,
            };
            assert_eq!(spec.directory(), name, "{location}");
        }
    }
}
