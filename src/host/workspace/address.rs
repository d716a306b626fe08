//! From a repository as it is named to what git is told.

use crate::session::{Provider, RepositorySpec};

/// Where a repository is. Holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The URL or path.
    pub(super) url: String,
    /// The server, where it is one that takes tokens: scheme, host and port.
    pub(super) server: Option<String>,
    /// The name that goes with a token there.
    pub(super) user: &'static str,
}

/// Why a repository's name cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    /// It has a password in it.
    #[error("a repository's address holds no credentials: keep the token with `rekindle secrets set NAME`, and name it")]
    Credentials,
    /// It is not what the provider calls a repository.
    #[error("`{0}` names no repository: say owner/name")]
    NoName(String),
    /// It is no host.
    #[error("`{0}` is no host of repositories: say git.example.org, or https://git.example.org")]
    NoHost(String),
    /// It is nothing that git is let near.
    #[error("`{0}` is no address of a repository: say https://HOST/PATH, ssh://HOST/PATH, HOST:PATH, or an absolute path")]
    Unknown(String),
    /// A token would be sent for all to read.
    #[error("the secret {1} is not sent to {0} over plain http: use https, or name no token")]
    Unencrypted(String, String),
}

impl Address {
    pub(super) fn of(spec: &RepositorySpec) -> Result<Self, AddressError> {
        let url = match &spec.provider {
            Provider::Plain => spec.location.clone(),
            _ if spec.location.contains("://") => spec.location.clone(),
            Provider::GitHub { host } => hosted(host.as_deref().unwrap_or("github.com"), &spec.location)?,
            Provider::GitLab { host } => hosted(host.as_deref().unwrap_or("gitlab.com"), &spec.location)?,
            Provider::Bitbucket { host } => hosted(host.as_deref().unwrap_or("bitbucket.org"), &spec.location)?,
        };
        let server = server(&url)?;
        let user = match (&spec.provider, server.as_deref()) {
            (Provider::GitHub { .. }, _) | (Provider::Plain, Some("https://github.com")) => "x-access-token",
            (Provider::Bitbucket { .. }, _) | (Provider::Plain, Some("https://bitbucket.org")) => "x-token-auth",
            (Provider::GitLab { .. } | Provider::Plain, _) => "oauth2",
        };
        if let (Some(token), Some(server)) = (&spec.token, &server)
            && !is_private(server)
        {
            return Err(AddressError::Unencrypted(server.clone(), token.clone()));
        }
        Ok(Self { url, server, user })
    }

    /// Whether it is on this machine.
    pub(super) fn is_path(&self) -> bool {
        self.url.starts_with('/') || self.url.starts_with("file://")
    }

    /// Whether a checkout that names `url` as its origin is one of this repository.
    pub(super) fn is_at(&self, url: &str) -> bool {
        plain(&self.url) == plain(url)
    }
}

/// The URL of `owner/name` at a provider's host.
fn hosted(host: &str, location: &str) -> Result<String, AddressError> {
    let location = location.trim_matches('/');
    let fine = |part: &str| {
        !matches!(part, "" | "." | "..") && part.chars().all(|char| char.is_alphanumeric() || "._-~+".contains(char))
    };
    if !location.contains('/') || !location.split('/').all(fine) {
        return Err(AddressError::NoName(location.to_owned()));
    }
    let base = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
    let fine = |char: char| char.is_alphanumeric() || ".-:[]/_".contains(char);
    if rest.is_none_or(|rest| rest.is_empty() || !rest.chars().all(fine)) {
        return Err(if host.contains('@') { AddressError::Credentials } else { AddressError::NoHost(host.to_owned()) });
    }
    Ok(format!("{}/{}.git", base.trim_end_matches('/'), location.strip_suffix(".git").unwrap_or(location)))
}

/// The server that a URL names, where it takes tokens.
fn server(url: &str) -> Result<Option<String>, AddressError> {
    let unknown = || AddressError::Unknown(without_credentials(url));
    if url.starts_with('-') || url.contains(|char: char| char.is_control()) {
        return Err(unknown());
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        let colon = url.find(':');
        // What ssh is told. `ext::` and its like would run a program.
        let is_ssh = colon.is_some_and(|at| at > 0 && !url.get(..at).unwrap_or_default().contains('/'));
        return if url.starts_with('/') || is_ssh && !url.contains("::") { Ok(None) } else { Err(unknown()) };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    match scheme {
        "http" | "https" if login.is_some() => Err(AddressError::Credentials),
        "http" | "https" if host.is_empty() => Err(unknown()),
        "http" | "https" => Ok(Some(format!("{scheme}://{}", host.to_lowercase()))),
        "ssh" if login.is_some_and(|login| login.contains(':')) => Err(AddressError::Credentials),
        "ssh" | "git" if !host.is_empty() => Ok(None),
        "file" => Ok(None),
        _ => Err(unknown()),
    }
}

/// Whether nobody between here and the server reads along.
fn is_private(server: &str) -> bool {
    let Some(host) = server.strip_prefix("http://") else { return true };
    let name = host.strip_prefix('[').and_then(|host| host.split(']').next()).or_else(|| host.split(':').next());
    let name = name.unwrap_or_default();
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL or path in the form in which two that mean the same are equal.
fn plain(url: &str) -> String {
    let url = without_credentials(url);
    let url = url.strip_prefix("file://").unwrap_or(&url).trim_end_matches('/');
    let url = url.strip_suffix("/.git").or_else(|| url.strip_suffix(".git")).unwrap_or(url).trim_end_matches('/');
    if url.starts_with('/') {
        return std::fs::canonicalize(url).map_or_else(|_| url.to_owned(), |path| path.display().to_string());
    }
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("{}://{}/{path}", scheme.to_lowercase(), host.to_lowercase())
        }
        None => url.to_owned(),
    }
}

/// A text in which no URL has a login any more.
pub(super) fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|char: char| char.is_whitespace() || "/?#'\"<>".contains(char)).unwrap_or(after.len());
        let authority = after.get(..end).unwrap_or_default();
        rest = authority.rfind('@').and_then(|at| after.get(at + 1..)).unwrap_or(after);
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(provider: Provider, location: &str, token: bool) -> Result<Address, AddressError> {
        let token = token.then(|| "TOKEN".to_owned());
        Address::of(&RepositorySpec { provider, location: location.to_owned(), branch: None, token, depth: None })
    }

    fn github(host: Option<&str>) -> Provider {
        Provider::GitHub { host: host.map(str::to_owned) }
    }

    #[test]
    fn each_provider_has_its_host_and_the_name_that_goes_with_a_token() {
        for (provider, url, user) in [
            (github(None), "https://github.com/o/n.git", "x-access-token"),
            (github(Some("git.corp:8443")), "https://git.corp:8443/o/n.git", "x-access-token"),
            (Provider::GitLab { host: None }, "https://gitlab.com/o/n.git", "oauth2"),
            (Provider::GitLab { host: Some("http://localhost:80/git/".to_owned()) }, "http://localhost:80/git/o/n.git", "oauth2"),
            (Provider::Bitbucket { host: None }, "https://bitbucket.org/o/n.git", "x-token-auth"),
        ] {
            let address = of(provider, "o/n", true).unwrap();
            assert_eq!((address.url.as_str(), address.user), (url, user));
        }
        assert_eq!(
            of(Provider::GitLab { host: None }, "group/sub/n.git", false).unwrap().url,
            "https://gitlab.com/group/sub/n.git"
        );
        assert_eq!(of(Provider::Plain, "https://github.com/o/n", true).unwrap().user, "x-access-token");
        assert_eq!(of(Provider::Plain, "https://Git.Example:8/o/n", true).unwrap().server.unwrap(), "https://git.example:8");
    }

    #[test]
    fn no_address_holds_credentials_and_no_error_shows_them() {
        for (provider, location) in [
            (Provider::Plain, "https://hunter2@git.example/o/n"),
            (Provider::Plain, "https://me:hunter2@git.example/o/n"),
            (Provider::Plain, "ssh://me:hunter2@git.example/o/n"),
            (Provider::Plain, "ftp://me:hunter2@git.example/o/n"),
            (Provider::Plain, "ext::https://me:hunter2@x"),
            (github(None), "https://hunter2@github.com/o/n"),
            (github(Some("hunter2@github.com")), "o/n"),
            (github(Some("https://me:hunter2@github.com")), "o/n"),
        ] {
            let error = of(provider, location, false).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_would_run_a_program_or_is_nothing_is_refused() {
        for location in ["ext::sh -c id", "ext::/bin/id", "--upload-pack=id", "-u", "fd::17", "https://", "", "some/path", "a\nb"]
        {
            assert!(of(Provider::Plain, location, false).is_err(), "{location}");
        }
        for location in ["a", "../b", "a/../b", "a//b", "a b/c", "a/b?x", "a/b#x"] {
            assert!(of(github(None), location, false).is_err(), "{location}");
        }
        for location in ["git@git.example:o/n.git", "ssh://git@git.example/o/n", "/srv/n.git", "file:///srv/n.git", "git://h/n"] {
            assert_eq!(of(Provider::Plain, location, true).unwrap().server, None, "{location}");
        }
    }

    #[test]
    fn a_token_is_sent_in_the_clear_to_this_machine_only() {
        for location in ["http://git.example/o/n", "http://127.0.0.1.evil.example/o/n", "http://localhost.evil.example/o/n"] {
            assert!(matches!(of(Provider::Plain, location, true), Err(AddressError::Unencrypted(..))), "{location}");
            assert!(of(Provider::Plain, location, false).is_ok(), "{location}");
        }
        for location in ["http://127.0.0.1:8080/o/n", "http://localhost/o/n", "http://[::1]:80/o/n", "https://git.example/o/n"] {
            assert!(of(Provider::Plain, location, true).is_ok(), "{location}");
        }
    }

    #[test]
    fn one_repository_is_known_by_all_its_addresses() {
        let address = of(Provider::Plain, "https://git.example/o/n", false).unwrap();
        for url in ["https://git.example/o/n.git", "https://GIT.example/o/n/", "https://x:y@git.example/o/n"] {
            assert!(address.is_at(url), "{url}");
        }
        for url in ["https://git.example/o/N", "https://git.example.org/o/n", "http://git.example/o/n", "/o/n", ""] {
            assert!(!address.is_at(url), "{url}");
        }
    }

    #[test]
    fn no_text_keeps_a_login() {
        assert_eq!(without_credentials("fatal: 'https://a:b@h/x' and http://t@h:1"), "fatal: 'https://h/x' and http://h:1");
        assert_eq!(without_credentials("https://h/x@y mail a@b"), "https://h/x@y mail a@b");
        assert_eq!(without_credentials("https://a@b@h/x ://"), "https://h/x ://");
    }
}
