//! The HTTP clients that models are asked with.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Endpoint;
use crate::engine::ports::AgentError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What servers are told of who calls.
const USER_AGENT: &str = concat!("rekindle/", env!("CARGO_PKG_VERSION"));

/// HTTP clients, made when they are first needed and kept, since reading the machine's certificates takes its time.
#[derive(Debug, Default)]
pub struct Http {
    local: Mutex<Option<reqwest::Client>>,
    remote: Mutex<Option<reqwest::Client>>,
}

impl Http {
    /// The client for `endpoint`; nothing stands between it and an endpoint on this machine.
    ///
    /// # Errors
    /// [`AgentError::Misconfigured`] when this machine cannot open secure connections.
    pub fn client(&self, endpoint: &Endpoint) -> Result<reqwest::Client, AgentError> {
        let slot = if endpoint.is_local() { &self.local } else { &self.remote };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let client = build(endpoint.is_local())?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

fn build(local: bool) -> Result<reqwest::Client, AgentError> {
    // Whoever was first has installed one already, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        // A redirect would take the key of Anthropic's header to wherever it points.
        .redirect(reqwest::redirect::Policy::none());
    let builder = if local { builder.no_proxy() } else { builder };
    builder
        .build()
        .map_err(|error| AgentError::Misconfigured(format!("no secure connections are possible: {}", innermost(&error))))
}

/// What went wrong at the bottom of `error`, which says most.
pub fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
