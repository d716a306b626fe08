//! Requests to a runtime server: the key goes to it alone, and what can be sent again without harm is.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;
use uuid::Uuid;

use super::wire::{ANSWER_MAX, Detail, EPOCH_HEADER, KEY_HEADER, RUNTIME_HEADER};
use crate::engine::ports::{RuntimeError, SecretValue};
use crate::session::Epoch;

/// How long a connection may take to come about.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long an answer may take that is not waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// The pauses between tries, from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// What servers are told of who calls.
const USER_AGENT: &str = concat!("rekindle/", env!("CARGO_PKG_VERSION"));

/// A way to one session on one server.
#[derive(Clone)]
pub(super) struct Line {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    key_name: Option<String>,
}

/// What a server said.
pub(super) enum Said {
    /// That it is done, and what came of it.
    Done(Vec<u8>),
    /// That it runs.
    Runs,
    /// That it knows nothing of it.
    Missing(String),
    /// That it is gone.
    Gone(String),
}

/// What a server did not say.
pub(super) enum Unheard {
    /// Nothing, or nothing whole: it can be asked again.
    Unreachable(String),
    /// It will not do it.
    Refused(String),
    /// It does nothing for this owner any more.
    TakenOver(String),
}

/// Makes the client for a server at `url`.
pub(super) fn client(url: &Url) -> Result<reqwest::Client, RuntimeError> {
    // Whoever was first has installed one already, and any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_WAIT)
        // The key goes nowhere else.
        .redirect(reqwest::redirect::Policy::none());
    let builder = if is_here(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| RuntimeError::Unavailable(format!("no connections are possible: {}", innermost(&error))))
}

/// The address of a runtime server.
///
/// # Errors
/// [`RuntimeError::Unavailable`] when it is none, or holds what it must not.
pub(super) fn address(url: &str) -> Result<Url, RuntimeError> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let parsed =
        parsed.ok_or_else(|| RuntimeError::Unavailable("the runtime's address is no http:// or https:// one".to_owned()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(RuntimeError::Unavailable("the runtime's address holds credentials, and must not".to_owned()));
    }
    Ok(parsed)
}

/// Whether the server is on this machine.
pub(super) fn is_here(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

impl Line {
    /// A way to the session at `place`.
    pub(super) fn new(
        client: reqwest::Client,
        mut url: Url,
        place: &str,
        key: Option<&SecretValue>,
        epoch: Epoch,
    ) -> Result<Self, RuntimeError> {
        let path = format!("{}/v1/sessions/{place}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(None);
        url.set_fragment(None);
        let mut headers = HeaderMap::new();
        headers.insert(EPOCH_HEADER, HeaderValue::from(epoch.0));
        if let Some(key) = key {
            let unusable =
                |_| RuntimeError::Unavailable(format!("the secret {} holds characters that no key can have", key.name));
            let mut value = HeaderValue::from_str(key.value.trim()).map_err(unusable)?;
            value.set_sensitive(true);
            headers.insert(KEY_HEADER, value);
        }
        Ok(Self { client, url, headers, key_name: key.map(|key| key.name.clone()) })
    }

    /// The server, for people.
    pub(super) fn server(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// From now on this runtime of the session is meant.
    pub(super) fn meaning(mut self, runtime: Uuid) -> Self {
        if let Ok(value) = HeaderValue::from_str(&runtime.to_string()) {
            self.headers.insert(RUNTIME_HEADER, value);
        }
        self
    }

    /// Asks once. `wait` is how long the server is asked to wait with its answer.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&[u8]>, wait: Duration) -> Result<Said, Unheard> {
        let mut url = self.url.clone();
        if !path.is_empty() {
            let path = format!("{}/{path}", url.path());
            url.set_path(&path);
        }
        if !wait.is_zero() {
            url.set_query(Some(&format!("wait_ms={}", wait.as_millis())));
        }
        let mut request = self.client.request(method, url).headers(self.headers.clone()).timeout(wait + ANSWER_WAIT);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let unreachable = |error: reqwest::Error| Unheard::Unreachable(innermost(&error));
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if answer.len() + chunk.len() > ANSWER_MAX {
                return Err(Unheard::Refused("the server's answer is too long".to_owned()));
            }
            answer.extend_from_slice(&chunk);
        }
        self.understood(status, answer)
    }

    fn understood(&self, status: StatusCode, answer: Vec<u8>) -> Result<Said, Unheard> {
        let detail = serde_json::from_slice::<Detail>(&answer).ok().map(|detail| detail.detail);
        let is_ours = detail.is_some();
        let detail = detail.unwrap_or_else(|| format!("it answers with {status}"));
        match status {
            StatusCode::ACCEPTED => Ok(Said::Runs),
            status if status.is_success() => Ok(Said::Done(answer)),
            StatusCode::NOT_FOUND if is_ours => Ok(Said::Missing(detail)),
            StatusCode::GONE if is_ours => Ok(Said::Gone(detail)),
            StatusCode::PRECONDITION_FAILED if is_ours => Err(Unheard::TakenOver(detail)),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Err(Unheard::Unreachable(detail))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Unheard::Refused(match &self.key_name {
                Some(name) => format!("{} refuses the key that the secret {name} holds", self.server()),
                None => {
                    format!("{} asks for a key: keep it with `rekindle secrets set NAME`, and name it", self.server())
                }
            })),
            status if status.is_redirection() => {
                let server = self.server();
                Err(Unheard::Refused(format!("{server} points elsewhere ({status}); give the address that it points to")))
            }
            _ if is_ours => Err(Unheard::Refused(detail)),
            _ => Err(Unheard::Refused(format!("{} is no runtime server: {detail}", self.server()))),
        }
    }

    /// Asks until there is an answer, at most for `patience`.
    pub(super) async fn ask_again(
        &self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Said, Unheard> {
        let mut tries = Tries::new(patience);
        loop {
            match self.ask(method.clone(), path, body, Duration::ZERO).await {
                Err(Unheard::Unreachable(why)) => tries.pause(why).await.map_err(Unheard::Unreachable)?,
                heard => return heard,
            }
        }
    }
}

/// How long, and how often, it is tried to reach a server.
pub(super) struct Tries {
    patience: Duration,
    /// When it was last heard.
    heard: Instant,
    pause: Duration,
}

impl Tries {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, heard: Instant::now(), pause: PAUSES.0 }
    }

    /// Notes that the server answered.
    pub(super) fn heard(&mut self) {
        (self.heard, self.pause) = (Instant::now(), PAUSES.0);
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// What was wrong the last time, when the patience is at its end.
    pub(super) async fn pause(&mut self, why: String) -> Result<(), String> {
        if self.heard.elapsed() + self.pause > self.patience {
            return Err(why);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        Ok(())
    }
}

/// What went wrong at the bottom of `error`, which says most; never the address, which may be anything.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
