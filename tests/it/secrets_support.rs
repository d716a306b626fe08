//! Secrets whose values a test sets, a runtime that really runs commands with them, and what finds a value wherever it is.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rekindle::engine::ports::{
    Containment, Mount, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes,
    SecretError, SecretValue, Secrets, Timeout,
};
use rekindle::session::observation::Extras;
use rekindle::session::{Action, Observation, SecretRef, SecretUse, SessionId};

/// Secrets of a test. Clones share them.
#[derive(Clone, Default)]
pub struct Values(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    values: Vec<SecretValue>,
    broken: bool,
}

impl Values {
    pub fn of(values: &[(&str, &str)]) -> Self {
        let all = Self::default();
        values.iter().for_each(|(name, value)| all.set(name, value));
        all
    }

    /// Gives a secret another value; the former one is known to nobody any more.
    pub fn set(&self, name: &str, value: &str) {
        let mut kept = self.0.lock().unwrap();
        kept.values.retain(|secret| secret.name != name);
        kept.values.push(SecretValue { name: name.to_owned(), value: value.to_owned() });
    }

    /// From now on nobody can be told anything.
    pub fn break_down(&self) {
        self.0.lock().unwrap().broken = true;
    }
}

#[async_trait]
impl Secrets for Values {
    async fn values(&self, _session: SessionId, secrets: &[SecretRef]) -> Result<Vec<SecretValue>, SecretError> {
        let kept = self.0.lock().unwrap();
        if kept.broken {
            return Err(SecretError::Unavailable("the test broke them".to_owned()));
        }
        let known = |secret: &SecretRef| kept.values.iter().find(|known| known.name == secret.name).cloned();
        let missing: Vec<String> =
            secrets.iter().filter(|secret| known(secret).is_none()).map(|secret| secret.name.clone()).collect();
        if missing.is_empty() { Ok(secrets.iter().filter_map(known).collect()) } else { Err(SecretError::Missing(missing)) }
    }

    fn fingerprint(&self, secret: &SecretValue) -> Option<String> {
        Some(format!("{:016x}", secret.value.len()))
    }
}

pub fn secret(name: &str) -> SecretRef {
    let description = "what the test is about".to_owned();
    SecretRef { name: name.to_owned(), description, used: SecretUse::Environment, fingerprint: None }
}

/// Runs commands with `bash`, with the environment that the engine asks for, and tells about it what it should not.
pub struct Bash;

struct Started {
    environment: Vec<SecretValue>,
}

#[async_trait]
impl Runtimes for Bash {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        let told = request.environment.iter().map(|secret| format!("{}={}", secret.name, secret.value)).collect();
        let report = RuntimeReport {
            runtime: "bash".to_owned(),
            workspace: request.workspace,
            mount: Mount::Namespace,
            sandbox: None,
            containment: Containment::PidNamespace,
            warnings: told,
        };
        Ok(Provisioned { runtime: Arc::new(Started { environment: request.environment }), report })
    }
}

#[async_trait]
impl Runtime for Started {
    async fn execute(&self, action: &Action, _timeout: Timeout) -> Result<Observation, RuntimeError> {
        let Action::Run(run) = action else {
            return Ok(Observation::error("not a command", ""));
        };
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", &run.command]).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|secret| (&secret.name, &secret.value)));
        let output = command.output().await.map_err(|error| RuntimeError::Lost(error.to_string()))?;
        let content = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let extras = serde_json::json!({"command": run.command, "metadata": {"exit_code": output.status.code().unwrap_or(-1)}});
        Ok(Observation { content, extras: Extras::Run(serde_json::from_value(extras).unwrap()) })
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        match preparation {
            Preparation::Repository { token, .. } => {
                let token = token.map(|token| token.value).unwrap_or_default();
                Err(RuntimeError::Unavailable(format!("fatal: unable to access 'https://x:{token}@example.org/': 403")))
            }
            _ => Ok(Prepared::Skipped("there is none".to_owned())),
        }
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        Ok(())
    }
}

/// Every way to write a value that nobody may find. Made without the code that hides them.
pub fn written(value: &str) -> Vec<(&'static str, String)> {
    let json = |text: &str| {
        let quoted = serde_json::to_string(text).unwrap();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    let mut all = vec![
        ("plain", value.to_owned()),
        ("json", json(value)),
        ("json in json", json(&json(value))),
        ("hex", hex.clone()),
        ("HEX", hex.to_uppercase()),
        ("percent", percent),
    ];
    all.extend(inside_base64(value).into_iter().map(|text| ("base64", text)));
    all
}

/// What of a value's Base64 is the same whatever stands around it, by the three places that it may begin at.
fn inside_base64(value: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let inside = |before: usize, engine: &base64::engine::GeneralPurpose| {
        // The same with zeros and with ones around it: what differs depends on them.
        let [zeros, ones] = [0x00, 0xff].map(|fill| {
            let bytes: Vec<u8> = std::iter::repeat_n(fill, before).chain(value.bytes()).chain([fill; 3]).collect();
            engine.encode(bytes)
        });
        let same = zeros.chars().zip(ones.chars()).map(|(a, b)| (a == b).then_some(a));
        same.skip_while(Option::is_none).map_while(|char| char).collect()
    };
    (0..3).flat_map(|before| [inside(before, &STANDARD_NO_PAD), inside(before, &URL_SAFE_NO_PAD)]).collect()
}

/// Fails when a value stands in any file below `directory`, in any form; returns how many bytes were looked through.
#[track_caller]
pub fn assert_nowhere(directory: &Path, value: &str) -> usize {
    let forms = written(value);
    let mut looked = 0;
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            looked += assert_nowhere(&entry.path(), value);
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        looked += bytes.len();
        for (form, text) in &forms {
            assert!(!holds(&bytes, text), "{} holds {value:?} as {form}", entry.path().display());
        }
    }
    looked
}

pub fn holds(bytes: &[u8], text: &str) -> bool {
    // A plain search; `windows` takes minutes for a store in a debug build.
    aho_corasick::AhoCorasick::new([text]).unwrap().is_match(bytes)
}
