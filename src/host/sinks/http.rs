//! A server that takes checkpoints, each as the body of a POST. It is not asked what it holds.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Url, header};

use crate::engine::ports::{HeldText, Sink, SinkError};

/// How long a connection, and how long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that checkpoints are sent to.
pub struct HttpSink {
    name: String,
    url: Url,
}

/// Without what stands in the address beside the place.
impl fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpSink").field(&self.name).finish()
    }
}

impl HttpSink {
    /// The server at this address; its user, password and query are sent, and shown nowhere.
    ///
    /// # Errors
    /// What is wrong with the address, without repeating it.
    pub fn new(url: &str) -> Result<Self, String> {
        let url: Url = url.parse().map_err(|error| format!("this is no address of a server: {error}"))?;
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        let bare = shown.set_username("").and_then(|()| shown.set_password(None));
        if bare.is_err() || url.host_str().is_none() {
            return Err("this is no address of a server: it names none".to_owned());
        }
        Ok(Self { name: shown.to_string(), url })
    }

    fn client(&self) -> Result<Client, SinkError> {
        // Whoever was first has installed one already, and any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let builder = Client::builder()
            .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            // It would take what the address holds to wherever it points.
            .redirect(reqwest::redirect::Policy::none());
        let builder = if is_local { builder.no_proxy() } else { builder };
        builder.build().map_err(|error| SinkError(format!("no connections are possible: {}", innermost(&error))))
    }
}

#[async_trait]
impl Sink for HttpSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn held(&self) -> Result<HeldText, SinkError> {
        Ok(HeldText::Unknown)
    }

    async fn append(&self, text: &str) -> Result<(), SinkError> {
        let request = self.client()?.post(self.url.clone()).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
        match request.body(text.to_owned()).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(SinkError(format!("{} answers {}", self.name, answer.status()))),
            Err(error) => Err(SinkError(format!("{} cannot be reached: {}", self.name, innermost(&error.without_url())))),
        }
    }
}

/// What went wrong at the bottom, which says most.
fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
