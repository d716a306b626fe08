//! What a session wants of its repository.

use crate::engine::ports::{SecretValue, WORKSPACE};
use crate::session::{RepositorySpec, SessionId};

use super::address::{Address, AddressError};
use super::git::{Credential, Git};

/// A repository, checked.
pub(super) struct Wanted {
    pub(super) session: SessionId,
    pub(super) address: Address,
    /// Its directory in the workspace.
    pub(super) name: String,
    pub(super) branch: Branch,
    pub(super) depth: Option<u32>,
    /// The name of the secret that holds the token.
    pub(super) secret: Option<String>,
    pub(super) credential: Option<Credential>,
}

/// The branch to work on.
pub(super) enum Branch {
    /// One that is there.
    Named(String),
    /// One of the session's own.
    Fresh(String),
}

/// Why nobody can want that.
#[derive(Debug, thiserror::Error)]
pub(super) enum WantedError {
    /// It cannot be addressed.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// There would be no name for its directory.
    #[error("`{0}` does not end in the name of a repository")]
    NoDirectory(String),
    /// It is no branch.
    #[error("`{0}` cannot be the name of a branch")]
    Branch(String),
    /// It can be no token.
    #[error(
        "the value of the secret {0} is no token: it is empty, or has more than one line; set it again with `rekindle secrets set {0}`"
    )]
    Token(String),
}

impl Wanted {
    pub(super) fn new(session: SessionId, spec: &RepositorySpec, token: Option<&SecretValue>) -> Result<Self, WantedError> {
        let address = Address::of(spec)?;
        let name = spec.directory().ok_or_else(|| WantedError::NoDirectory(address.url.clone()))?.to_owned();
        let branch = match &spec.branch {
            Some(branch) if is_branch(branch) => Branch::Named(branch.clone()),
            Some(branch) => return Err(WantedError::Branch(branch.clone())),
            None => Branch::Fresh(fresh(session)),
        };
        let credential = match (token, &address.server) {
            (Some(token), Some(server)) => Some(credential(token, server, address.user)?),
            _ => None,
        };
        let secret = token.map(|token| token.name.clone());
        Ok(Self { session, address, name, branch, depth: spec.depth, secret, credential })
    }

    /// Where commands find it.
    pub(super) fn directory(&self) -> String {
        format!("{WORKSPACE}/{}", self.name)
    }

    pub(super) fn git(&self) -> Git {
        Git::new(self.credential.clone())
    }
}

impl Branch {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Named(name) | Self::Fresh(name) => name,
        }
    }
}

/// The branch of a session's own: named by the end of its id, since ids of one time begin alike.
fn fresh(session: SessionId) -> String {
    let id = session.as_uuid().simple().to_string();
    format!("rekindle-{}", id.get(20..).unwrap_or(&id))
}

fn credential(token: &SecretValue, server: &str, user: &str) -> Result<Credential, WantedError> {
    let value = token.value.trim();
    if value.is_empty() || value.contains(char::is_control) {
        return Err(WantedError::Token(token.name.clone()));
    }
    // Bitbucket also gives passwords to its users' apps.
    let (user, value) = value.split_once(':').filter(|_| user == "x-token-auth").unwrap_or((user, value));
    Ok(Credential { server: server.to_owned(), user: user.to_owned(), token: value.to_owned() })
}

/// As far as it matters here; git knows the rest.
fn is_branch(name: &str) -> bool {
    let is_fine = |char: char| !char.is_control() && !char.is_whitespace() && !"~^:?*[\\".contains(char);
    !name.is_empty() && !name.starts_with('-') && !name.contains("..") && name.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Provider;

    fn spec(branch: Option<&str>) -> RepositorySpec {
        RepositorySpec {
            provider: Provider::Bitbucket { host: None },
            location: "o/n".to_owned(),
            branch: branch.map(str::to_owned),
            token: Some("T".to_owned()),
            depth: None,
        }
    }

    fn token(value: &str) -> SecretValue {
        SecretValue { name: "T".to_owned(), value: value.to_owned() }
    }

    fn id(number: u128) -> SessionId {
        SessionId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_fresh_branch_is_the_sessions_own_and_always_the_same() {
        let name = |number| Wanted::new(id(number), &spec(None), None).unwrap().branch.name().to_owned();
        assert_eq!(name(0x0193_aaaa_bbbb_7ccc_8ddd_1234_5678_9abc), "rekindle-123456789abc");
        assert_eq!(name(7), name(7));
        assert_ne!(name(7), name(8));
    }

    #[test]
    fn what_is_no_branch_and_what_is_no_token_is_refused_by_name() {
        for branch in ["--upload-pack=id", "", "a b", "a..b", "a:b", "a\nb"] {
            assert!(Wanted::new(id(1), &spec(Some(branch)), None).is_err(), "{branch}");
        }
        for value in ["", " \n", "a\nb"] {
            let error = Wanted::new(id(1), &spec(None), Some(&token(value))).err().unwrap().to_string();
            assert!(error.contains("secrets set T"), "{error}");
        }
    }

    #[test]
    fn a_token_that_brings_its_user_along_keeps_it() {
        let of = |value| Wanted::new(id(1), &spec(None), Some(&token(value))).unwrap().credential.unwrap();
        assert_eq!((of("abc\n").user.as_str(), of("abc\n").token.as_str()), ("x-token-auth", "abc"));
        assert_eq!((of("me:abc").user.as_str(), of("me:abc").token.as_str()), ("me", "abc"));
    }
}
