//! What it takes to reach a server: its environment, its key, the HTTP client.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::launch::{Program, plain_environment};
use crate::engine::ports::{Join, SecretValue};
use crate::session::{McpServer, McpTransport};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How many redirects are followed, all within one origin.
const REDIRECTS_MAX: usize = 5;

/// How one server is reached.
#[derive(Clone)]
pub(super) enum Means {
    Program(Program),
    Http {
        url: String,
        key: Option<SecretValue>,
        client: reqwest::Client,
        /// Whether it is told of by the old transport, which is not spoken any more.
        old: bool,
    },
}

/// What `server` needs.
///
/// # Errors
/// In words: a secret that the session has not, or a machine without certificates.
pub(super) fn of(server: &McpServer, request: &Join, web: &Web) -> Result<Means, String> {
    let secret = |name: &str| request.secrets.iter().find(|secret| secret.name == name);
    match &server.transport {
        McpTransport::Stdio { command, args, env } => {
            let mut environment = plain_environment(std::env::vars_os());
            for (name, value) in filled(env, secret)? {
                environment.retain(|(known, _)| *known != name);
                environment.push((name, value));
            }
            let workspace = if request.workspace.is_dir() { request.workspace.clone() } else { Default::default() };
            Ok(Means::Program(Program { command: command.clone(), args: args.clone(), environment, workspace }))
        }
        McpTransport::Http { url, key } | McpTransport::Sse { url, key } => {
            let key = match key {
                None => None,
                Some(name) => Some(secret(name).cloned().ok_or_else(|| missing("its key", name))?),
            };
            let old = matches!(server.transport, McpTransport::Sse { .. });
            Ok(Means::Http { url: url.clone(), key, client: web.client(url)?, old })
        }
    }
}

/// The variables with the values of secrets in place of their names.
fn filled<'a>(
    env: &BTreeMap<String, String>,
    secret: impl Fn(&str) -> Option<&'a SecretValue>,
) -> Result<Vec<(OsString, OsString)>, String> {
    let mut variables = Vec::new();
    for (variable, written) in env {
        let mut value = String::new();
        let mut rest = written.as_str();
        while let Some((before, (name, after))) =
            rest.split_once("${").and_then(|(before, at)| Some((before, at.split_once('}')?)))
        {
            let secret = secret(name).ok_or_else(|| missing(&format!("the variable {variable}"), name))?;
            value.push_str(before);
            value.push_str(&secret.value);
            rest = after;
        }
        value.push_str(rest);
        if variable.is_empty() || variable.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("{variable:?} cannot be a variable of the environment"));
        }
        variables.push((variable.into(), value.into()));
    }
    Ok(variables)
}

fn missing(what: &str, name: &str) -> String {
    format!("{what} asks for the secret {name}, which the session has not; name it under [secrets] or by --secret {name}")
}

/// HTTP clients, made when they are first needed and kept, since reading the machine's certificates takes its time.
#[derive(Debug, Default)]
pub(super) struct Web {
    local: Mutex<Option<reqwest::Client>>,
    remote: Mutex<Option<reqwest::Client>>,
}

impl Web {
    /// The client for `url`; nothing stands between it and a server on this machine.
    fn client(&self, url: &str) -> Result<reqwest::Client, String> {
        let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url} is no address: {error}"))?;
        let host = parsed.host_str().unwrap_or_default();
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let mut slot = if local { &self.local } else { &self.remote }.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = build(local)?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

fn build(local: bool) -> Result<reqwest::Client, String> {
    // Whoever was first has installed one already, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A redirect to elsewhere would take the session and what is asked with it.
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let stays = attempt.previous().last().is_some_and(|before| before.origin() == attempt.url().origin());
        if stays && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
    });
    let builder = reqwest::Client::builder()
        .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirects);
    let builder = if local { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| format!("no secure connections are possible: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(variable: &str, written: &str) -> Result<String, String> {
        let secrets =
            [SecretValue { name: "A".into(), value: "${B}$x".into() }, SecretValue { name: "B".into(), value: "b".into() }];
        let env = BTreeMap::from([(variable.to_owned(), written.to_owned())]);
        let filled = filled(&env, |name| secrets.iter().find(|secret| secret.name == name))?;
        Ok(filled.into_iter().map(|(_, value)| value.into_string().unwrap()).collect())
    }

    #[test]
    fn a_secret_stands_where_its_name_is_and_is_not_looked_into() {
        assert_eq!(fill("KEY", "Bearer ${A}:${B}").unwrap(), "Bearer ${B}$x:b");
        assert_eq!(fill("KEY", "$A ${ }").unwrap_err(), missing("the variable KEY", " "));
        assert_eq!(fill("KEY", "$A ${open").unwrap(), "$A ${open");
        assert!(fill("KEY", "${C}").unwrap_err().contains("asks for the secret C"));
        assert!(fill("A=B", "x").is_err() && fill("A", "x\0").is_err());
    }
}
