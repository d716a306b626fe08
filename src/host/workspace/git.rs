//! Git, as it is run for the engine: it asks nobody, obeys no configuration of the user's, shows its credentials to one server, and
//! ends with the engine.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::address::without_credentials;

/// Holds git, and lets nothing of it outlive the engine.
const GUARD: &str = include_str!("guard.sh");
/// Prints the credentials that are in the environment of this git alone.
const HELPER: &str =
    "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$REKINDLE_GIT_USER\" \"$REKINDLE_GIT_TOKEN\"; }; f";
/// How a shell says that it has not found a program.
const NOT_FOUND: i32 = 127;
/// The most that is read of what git prints, in bytes.
const PRINTED_MAX: u64 = 256 * 1024;
/// What of the engine's environment git needs, to find programs, servers and keys.
const PASSED: [&str; 17] = [
    "PATH",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];
/// Nothing of the user's: neither what runs programs nor what asks nor what lends credentials.
const ALONE: [(&str, &str); 11] = [
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ALLOW_PROTOCOL", "https:http:ssh:git:file"),
    ("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    ("GIT_LFS_SKIP_SMUDGE", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
];
/// Wins over what stands in the repository itself.
const CONFIG: [(&str, &str); 8] = [
    // Only what was just cloned is looked at, whoever owns what is written there.
    ("safe.directory", "*"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("credential.helper", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
];

/// What git shows to one server.
#[derive(Clone)]
pub(in crate::host) struct Credential {
    /// Scheme, host and port.
    pub(in crate::host) server: String,
    pub(in crate::host) user: String,
    pub(in crate::host) token: String,
}

impl Credential {
    /// What makes a session's own git show the same token to the same server, where commands find it in the variable `name`. Holds
    /// the name and no value. `None` where that is not the name of a variable.
    pub(in crate::host) fn for_session(&self, name: &str) -> Option<(String, String)> {
        let is_name = !name.is_empty() && name.chars().all(|char| char == '_' || char.is_ascii_alphanumeric());
        if !is_name || name.starts_with(|char: char| char.is_ascii_digit()) {
            return None;
        }
        let (server, user) = (&self.server, &self.user);
        let prints = format!("printf 'username={user}\\npassword=%s\\n' \"${name}\"");
        let helper = format!("!f() {{ test \"$1\" = get && test -n \"${{{name}-}}\" && {prints}; }}; f");
        Some((format!("credential.{server}.helper"), helper))
    }
}

/// Runs git.
pub(in crate::host) struct Git {
    credential: Option<Credential>,
}

/// What git said.
#[derive(Debug)]
pub(in crate::host) struct Said {
    pub(in crate::host) succeeded: bool,
    pub(in crate::host) out: String,
    pub(in crate::host) errors: String,
}

impl Git {
    pub(in crate::host) const fn new(credential: Option<Credential>) -> Self {
        Self { credential }
    }

    /// Runs git with these arguments. Dropping the future ends git and all that it has started.
    pub(in crate::host) async fn run(&self, directory: &Path, arguments: &[OsString]) -> io::Result<Said> {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "rekindle-git", "git"]).args(arguments).current_dir(directory).process_group(0).env_clear();
        let passed = PASSED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        command.envs(passed).envs(ALONE).envs(self.config());
        if let Some(Credential { user, token, .. }) = &self.credential {
            command.env("REKINDLE_GIT_USER", user).env("REKINDLE_GIT_TOKEN", token);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // While this is held, git lives.
        let held = child.stdin.take();
        let (out, errors) = (child.stdout.take(), child.stderr.take());
        let (out, errors, status) = tokio::join!(printed(out), printed(errors), child.wait());
        drop(held);
        let status = status?;
        if status.code() == Some(NOT_FOUND) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no program git in PATH"));
        }
        Ok(Said { succeeded: status.success(), out: self.scrubbed(&out?), errors: self.scrubbed(&errors?) })
    }

    fn config(&self) -> Vec<(String, String)> {
        let mut config: Vec<(String, String)> =
            CONFIG.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Some(Credential { server, .. }) = &self.credential {
            config.push((format!("credential.{server}.helper"), HELPER.to_owned()));
        }
        let mut environment = vec![("GIT_CONFIG_COUNT".to_owned(), config.len().to_string())];
        for (index, (key, value)) in config.into_iter().enumerate() {
            environment.push((format!("GIT_CONFIG_KEY_{index}"), key));
            environment.push((format!("GIT_CONFIG_VALUE_{index}"), value));
        }
        environment
    }

    /// What was printed, without credentials, also when a server sends them back.
    fn scrubbed(&self, printed: &[u8]) -> String {
        let mut text = without_credentials(&String::from_utf8_lossy(printed));
        if let Some(Credential { user, token, .. }) = &self.credential {
            for form in forms(user, token) {
                text = text.replace(&form, "<secret_hidden>");
            }
        }
        text
    }
}

/// The forms in which a server could send a token back, the longest first.
fn forms(user: &str, token: &str) -> Vec<String> {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine as _};
    let percent = token.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    let mut forms = vec![
        BASE64_STANDARD.encode(format!("{user}:{token}")),
        BASE64_STANDARD_NO_PAD.encode(format!("{user}:{token}")),
        BASE64_STANDARD.encode(token),
        BASE64_STANDARD_NO_PAD.encode(token),
        percent.collect(),
        token.to_owned(),
    ];
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms
}

/// Reads what is printed: the beginning is kept, the rest is read so that nobody waits.
async fn printed(source: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut source) = source {
        (&mut source).take(PRINTED_MAX).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
