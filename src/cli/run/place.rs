//! Where actions run, from how it is said: a word on the command line, or a table of the configuration.

use super::config::RuntimeConfig;
use crate::cli::exit::CliError;
use crate::cli::sandbox::SandboxArgs;
use crate::host::runtime::command::{PRESETS, preset};
use crate::session::{Launcher, RuntimeSpec};

fn usage(what: impl Into<String>) -> CliError {
    CliError::Usage(what.into())
}

/// The runtime that is asked for; `local` is what it is on this machine.
///
/// # Errors
/// [`CliError::Usage`] naming what is missing or wrong, and what can be said.
pub fn runtime(config: &RuntimeConfig, local: SandboxArgs) -> Result<RuntimeSpec, CliError> {
    let RuntimeConfig { at, sandbox, network, key, command, stop, image, url } = config.clone();
    let at = at.unwrap_or_else(|| if command.is_empty() { "local" } else { "command" }.to_owned());
    let (kind, rest) = at.split_once(':').map_or((at.as_str(), None), |(kind, rest)| (kind, Some(rest)));
    let spec = match (kind, rest.filter(|rest| !rest.is_empty())) {
        ("local", None) => local.spec(sandbox.as_deref(), network)?,
        _ if local.is_said() || sandbox.is_some() || network.is_some() => {
            return Err(usage("a sandbox is one of the local runtime; others are kept from their machine by what launches them"));
        }
        ("remote", Some(url)) => {
            address(url)?;
            RuntimeSpec::Remote { url: url.trim_end_matches('/').to_owned(), key: key.clone() }
        }
        ("remote", None) => return Err(usage("say where the runtime is: remote:https://HOST")),
        ("command", rest) => {
            let said = rest.map(words).transpose()?.unwrap_or_default();
            let command = if said.is_empty() { command } else { said };
            if command.is_empty() {
                return Err(usage("say what launches the runtime: command:'PROGRAM ARGUMENTS…', with {port} in them"));
            }
            RuntimeSpec::Command(Launcher { command, stop, image, url })
        }
        (name, what) => match (what.and_then(|what| preset(name, what)), preset(name, "")) {
            // It would be taken for an option.
            (Some(_), _) if what.is_some_and(|what| what.starts_with('-')) => {
                return Err(usage(format!("`{}` is no image and no host", what.unwrap_or_default())));
            }
            (Some(launcher), _) => RuntimeSpec::Command(launcher),
            (None, Some(_)) => return Err(usage(format!("say which image or host: {name}:NAME"))),
            (None, None) => {
                let known: Vec<&str> = PRESETS.iter().map(|(name, ..)| *name).collect();
                return Err(usage(format!(
                    "there is no runtime `{kind}`; there are: local, remote, command, {}",
                    known.join(", ")
                )));
            }
        },
    };
    match spec {
        RuntimeSpec::Remote { .. } => Ok(spec),
        _ if key.is_some() => Err(usage("only a remote runtime takes a key; one that is launched gets one of its own")),
        _ => Ok(spec),
    }
}

/// Says whether an address can be one of a runtime server, and holds nothing secret.
fn address(url: &str) -> Result<(), CliError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() || url.contains(['?', '#']) {
        return Err(usage("that is no address of a runtime server: say remote:https://HOST"));
    }
    if host.contains('@') {
        return Err(usage(
            "an address holds no credentials: keep the key with `rekindle secrets set NAME` and name it with --runtime-key NAME",
        ));
    }
    Ok(())
}

/// The words of a line, as a shell tells them apart; nothing else in it means anything.
fn words(line: &str) -> Result<Vec<String>, CliError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            quote @ ('\'' | '"') => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == quote => break,
                        Some('\\') if quote == '"' => word.extend(chars.next()),
                        Some(char) => word.push(char),
                        None => return Err(usage("a quote of the launcher is not closed")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            char if char.is_whitespace() => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: &str) -> Result<RuntimeSpec, CliError> {
        runtime(&RuntimeConfig { at: Some(at.to_owned()), ..RuntimeConfig::default() }, SandboxArgs::default())
    }

    #[test]
    fn every_place_can_be_said() {
        assert_eq!(runtime(&RuntimeConfig::default(), SandboxArgs::default()).unwrap(), RuntimeSpec::default());
        assert_eq!(at("remote:https://h/x/").unwrap(), RuntimeSpec::Remote { url: "https://h/x".to_owned(), key: None });
        let RuntimeSpec::Command(launcher) = at("command:a 'b c' d\\ e \"f \\\" g\" ''").unwrap() else { panic!() };
        assert_eq!(launcher.command, ["a", "b c", "d e", "f \" g", ""]);
        let RuntimeSpec::Command(launcher) = at("docker:debian:13").unwrap() else { panic!() };
        assert_eq!((launcher.command[0].as_str(), launcher.image.as_deref()), ("docker", Some("debian:13")));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (said, word) in [
            ("lxc:x", "there are: local, remote, command, docker"),
            ("docker", "docker:NAME"),
            ("ssh:-oProxyCommand=x", "no host"),
            ("remote", "remote:https://HOST"),
            ("remote:ftp://x", "remote:https://HOST"),
            ("remote:https://me:pw@x", "no credentials"),
            ("command:a 'b", "not closed"),
            ("command", "what launches"),
        ] {
            let error = at(said).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("pw"), "{said}: {error}");
        }
        let keyed = RuntimeConfig { at: Some("docker:x".to_owned()), key: Some("K".to_owned()), ..RuntimeConfig::default() };
        let boxed = RuntimeConfig { at: Some("docker:x".to_owned()), network: Some(true), ..RuntimeConfig::default() };
        assert!(runtime(&boxed, SandboxArgs::default()).unwrap_err().to_string().contains("local runtime"));
        assert!(runtime(&keyed, SandboxArgs::default()).unwrap_err().to_string().contains("gets one of its own"));
    }
}
