//! The environment that a session's programs begin with.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::engine::ports::SecretValue;

/// The environment that commands find: what makes programs behave the same everywhere, what they need of the engine's own, and
/// nothing else, so that the engine's keys do not reach the agent.
///
/// In a sandbox what names places outside of it is left out: programs find their usual ones then.
pub(super) fn environment(
    name: &str,
    mark: &(String, String),
    extra: &[(String, String)],
    is_confined: bool,
) -> Vec<(OsString, OsString)> {
    const KEPT: [&str; 40] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "PIP_CONFIG_FILE",
        "PIP_INDEX_URL",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "GOPATH",
        "GOROOT",
        "GOPROXY",
        "JAVA_HOME",
        "NVM_DIR",
        "PYENV_ROOT",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "LD_LIBRARY_PATH",
        "PKG_CONFIG_PATH",
        "DOCKER_HOST",
        "XDG_RUNTIME_DIR",
        "NIX_PATH",
    ];
    const OUTSIDE: [&str; 5] = ["TMPDIR", "DOCKER_HOST", "XDG_RUNTIME_DIR", "CARGO_HOME", "GOPATH"];
    const FIXED: [(&str, &str); 8] = [
        ("TERM", "dumb"),
        ("PAGER", "cat"),
        ("GIT_PAGER", "cat"),
        ("MANPAGER", "cat"),
        ("SYSTEMD_PAGER", "cat"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("PYTHONUNBUFFERED", "1"),
        ("PYTHONIOENCODING", "utf-8:surrogateescape"),
    ];
    let mut environment = BTreeMap::new();
    environment.insert(OsString::from("PATH"), OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if is_confined && OUTSIDE.contains(&text.as_ref()) {
            continue;
        }
        if KEPT.contains(&text.as_ref()) || text.starts_with("LC_") {
            environment.insert(name, value);
        } else if let Some(rest) = text.strip_prefix("SANDBOX_ENV_").filter(|rest| !rest.is_empty()) {
            // The peer's way to hand a variable to commands.
            environment.insert(OsString::from(rest), value);
        }
    }
    let fixed = FIXED.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    for (name, value) in fixed.chain(extra.iter().cloned()) {
        environment.insert(name.into(), value.into());
    }
    environment.insert("REKINDLE_SESSION".into(), name.into());
    environment.insert(mark.0.clone().into(), mark.1.clone().into());
    environment.into_iter().collect()
}

/// The variables that a session's secrets are found in.
///
/// # Errors
/// The name of one that would change what programs outside of the sandbox do, or that no variable can have.
pub(super) fn secrets(values: &[SecretValue]) -> Result<Vec<(OsString, OsString)>, String> {
    const FORBIDDEN: [&str; 8] = ["PATH", "HOME", "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "GCONV_PATH", "GLIBC_TUNABLES"];
    let variable = |secret: &SecretValue| {
        let (name, value) = (secret.name.as_str(), secret.value.as_str());
        let starts = |part: &str| name.starts_with(part);
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("a variable cannot hold the secret {name:?}: no NUL may be in it, and no `=` in its name"));
        }
        if FORBIDDEN.contains(&name) || starts("LD_") || starts("BASH_FUNC_") || starts("REKINDLE_") {
            return Err(format!(
                "a secret cannot be called {name}: that variable changes how programs are started; give it another name"
            ));
        }
        Ok((name.into(), value.into()))
    };
    values.iter().map(variable).collect()
}
