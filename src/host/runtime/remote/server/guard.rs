//! Who may ask: whoever knows the key; without a key, only who is on this machine.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Server;
use super::refusal::Refusal;
use crate::host::runtime::remote::wire::KEY_HEADER;

/// Lets through who may ask.
pub(super) async fn guard(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    match admit(server.options.key.as_deref(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn admit(key: Option<&str>, headers: &HeaderMap) -> Result<(), Refusal> {
    match key {
        Some(key) => {
            let said = headers.get(KEY_HEADER).map_or(&[][..], |value| value.as_bytes());
            if bool::from(said.ct_eq(key.as_bytes())) { Ok(()) } else { Err(Refusal::WrongKey) }
        }
        None => {
            let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            if matches!(name, "localhost" | "127.0.0.1" | "[::1]") { Ok(()) } else { Err(Refusal::ForeignHost) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_whole_key_opens() {
        assert!(admit(Some("secret"), &headers(&[("x-session-api-key", "secret")])).is_ok());
        for wrong in ["", "s", "secre", "secrets", "Secret"] {
            assert!(admit(Some("secret"), &headers(&[("x-session-api-key", wrong)])).is_err(), "{wrong}");
        }
        assert!(admit(Some("secret"), &headers(&[("host", "127.0.0.1")])).is_err());
    }

    #[test]
    fn without_a_key_a_page_in_a_browser_cannot_ask_by_a_name_of_its_own() {
        for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "localhost"] {
            assert!(admit(None, &headers(&[("host", host)])).is_ok(), "{host}");
        }
        for host in ["evil.example:3000", "evil.example", "127.0.0.1.evil.example:3000"] {
            assert!(admit(None, &headers(&[("host", host)])).is_err(), "{host}");
        }
    }
}
