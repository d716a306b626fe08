//! The environment that a session's programs begin with.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The environment that commands find: what makes programs behave the same everywhere, what they need of the engine's own, and
/// nothing else, so that the engine's keys do not reach the agent.
pub(super) fn environment(name: &str, mark: &(String, String), extra: &[(String, String)]) -> Vec<(OsString, OsString)> {
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
