//! Where a model is, and the key that opens it.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::engine::ports::{AgentError, SecretValue};
use crate::session::{ModelApi, ModelSpec};

const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com/v1";
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// What stands where a key stood.
const MASK: &str = "<key>";

/// Where a model is, and the key that opens it, which nothing here shows.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    api: ModelApi,
    key: Option<SecretValue>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url.as_str()).field("api", &self.api).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The endpoint that `spec` names.
    ///
    /// # Errors
    /// [`AgentError::Misconfigured`] for an address that is none or holds credentials, and for a key that is missing or cannot be sent.
    pub fn new(spec: &ModelSpec, key: Option<SecretValue>) -> Result<Self, AgentError> {
        let wrong = |why: String| AgentError::Misconfigured(format!("the model `{}`: {why}", spec.name));
        if spec.name.trim().is_empty() {
            return Err(AgentError::Misconfigured("the model has no name".to_owned()));
        }
        let default = match spec.api {
            ModelApi::OpenAi => OPENAI,
            ModelApi::Anthropic => ANTHROPIC,
        };
        let address = spec.base_url.as_deref().unwrap_or(default);
        // The address is not repeated: what cannot be read might hold a password.
        let mut url = Url::parse(address).map_err(|error| wrong(format!("its base URL cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong("its base URL must begin with http:// or https:// and name a host".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("its base URL holds credentials; put the key into a secret and name that as the key".to_owned()));
        }
        if let (Some(name), None) = (&spec.key, &key) {
            return Err(wrong(format!("its key, the secret `{name}`, is not known; set it with `rekindle secrets set {name}`")));
        }
        if let Some(key) = &key
            && (key.value.is_empty() || !key.value.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(wrong(format!(
                "its key, the secret `{}`, is empty or holds white space or letters that are no ASCII",
                key.name
            )));
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&match spec.api {
            ModelApi::OpenAi if path.ends_with("/chat/completions") => path,
            ModelApi::OpenAi => format!("{path}/chat/completions"),
            ModelApi::Anthropic if path.ends_with("/messages") => path,
            ModelApi::Anthropic if path.ends_with("/v1") => format!("{path}/messages"),
            ModelApi::Anthropic => format!("{path}/v1/messages"),
        });
        url.set_fragment(None);
        Ok(Self { url, api: spec.api, key })
    }

    /// The address that requests are sent to.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// How it is spoken to.
    pub const fn api(&self) -> ModelApi {
        self.api
    }

    /// For people.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether it is on this machine, where no proxy stands in between.
    pub fn is_local(&self) -> bool {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether what it asks for is said to cost in each answer, once it is asked to.
    pub fn tells_cost_on_request(&self) -> bool {
        self.host() == "openrouter.ai"
    }

    /// The headers of a request, the key among them.
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        if self.api == ModelApi::Anthropic {
            headers.push(("anthropic-version".to_owned(), ANTHROPIC_VERSION.to_owned()));
        }
        if let Some(key) = &self.key {
            headers.push(match self.api {
                ModelApi::OpenAi => ("authorization".to_owned(), format!("Bearer {}", key.value)),
                ModelApi::Anthropic => ("x-api-key".to_owned(), key.value.clone()),
            });
        }
        headers
    }

    /// `text` without the key, which some servers repeat when they refuse it.
    pub fn masked(&self, text: &str) -> String {
        match &self.key {
            Some(key) => text.replace(&key.value, MASK),
            None => text.to_owned(),
        }
    }

    /// How to name the key to a person.
    pub fn key_name(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(api: ModelApi, base: Option<&str>) -> Result<Endpoint, AgentError> {
        let key = SecretValue { name: "KEY".into(), value: "sk-secret".into() };
        Endpoint::new(&ModelSpec { base_url: base.map(str::to_owned), ..ModelSpec::new(api, "m") }, Some(key))
    }

    #[test]
    fn an_address_is_taken_in_the_forms_in_which_people_have_it() {
        use ModelApi::{Anthropic, OpenAi};
        for (api, base, url) in [
            (OpenAi, None, "https://api.openai.com/v1/chat/completions"),
            (OpenAi, Some("http://localhost:11434/v1/"), "http://localhost:11434/v1/chat/completions"),
            (OpenAi, Some("https://x.test/v1/chat/completions"), "https://x.test/v1/chat/completions"),
            (OpenAi, Some("https://x.test/v1?api-version=2"), "https://x.test/v1/chat/completions?api-version=2"),
            (Anthropic, None, "https://api.anthropic.com/v1/messages"),
            (Anthropic, Some("https://x.test"), "https://x.test/v1/messages"),
            (Anthropic, Some("https://x.test/anthropic/v1/"), "https://x.test/anthropic/v1/messages"),
        ] {
            assert_eq!(endpoint(api, base).unwrap().url(), url);
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let endpoint = endpoint(ModelApi::OpenAi, None).unwrap();
        assert!(!format!("{endpoint:?}").contains("sk-secret"));
        assert_eq!(endpoint.masked("wrong key sk-secret!"), "wrong key <key>!");
        assert!(endpoint.headers().iter().any(|(_, value)| value == "Bearer sk-secret"));
    }

    #[test]
    fn what_cannot_work_is_refused_and_says_what_to_do() {
        let refused = |base: &str| endpoint(ModelApi::OpenAi, Some(base)).unwrap_err().to_string();
        let credentials = refused("https://me:pw@x.test/v1");
        assert!(credentials.contains("put the key into a secret") && !credentials.contains("pw"));
        assert!(refused("ftp://x.test").contains("http:// or https://"));
        assert!(refused("x.test/v1").contains("base URL"));
        let spec = ModelSpec { key: Some("KEY".into()), ..ModelSpec::new(ModelApi::OpenAi, "m") };
        assert!(Endpoint::new(&spec, None).unwrap_err().to_string().contains("`rekindle secrets set KEY`"));
        let broken = SecretValue { name: "KEY".into(), value: "sk\n".into() };
        let error = Endpoint::new(&spec, Some(broken)).unwrap_err().to_string();
        assert!(error.contains("white space") && !error.contains("sk\n"));
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        let local = |base| endpoint(ModelApi::OpenAi, Some(base)).unwrap().is_local();
        assert!(local("http://localhost/v1") && local("http://127.0.0.1:1/v1") && local("http://[::1]:1/v1"));
        assert!(!local("http://10.0.0.1/v1") && !local("https://x.test/v1"));
    }
}
