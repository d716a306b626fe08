//! The user's plugins: scripts that a session's shell is prepared with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::config::{directory, nearest_of};
use crate::cli::exit::CliError;
use crate::session::PluginSpec;

/// The plugins of these names, in this order, each once.
///
/// # Errors
/// [`CliError::Usage`] naming the one that is not there, or is no text of a reasonable length.
pub(super) fn read(names: &[String]) -> Result<Vec<PluginSpec>, CliError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let home = directory().ok_or_else(|| usage("plugins are kept in ~/.config/rekindle/plugins, and there is no HOME"))?;
    read_in(&home.join("plugins"), names)
}

fn read_in(home: &Path, names: &[String]) -> Result<Vec<PluginSpec>, CliError> {
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).map(|name| plugin(home, name)).collect()
}

fn plugin(home: &Path, name: &str) -> Result<PluginSpec, CliError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fits) {
        return Err(usage(format!("`{name}` is no name of a plugin: letters, digits, `-`, `_` and `.` make one")));
    }
    let path = home.join(format!("{name}.sh"));
    let script = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(unknown(home, name)),
        Err(source) => return Err(CliError::File { verb: "read", path, source }),
    };
    let path = path.display();
    if script.len() > PluginSpec::SCRIPT_MAX {
        let most = PluginSpec::SCRIPT_MAX / 1024;
        return Err(usage(format!("the plugin {path} is longer than {most} KiB; let it source what it needs from a file")));
    }
    let script = String::from_utf8(script).map_err(|_| usage(format!("the plugin {path} is no UTF-8 text")))?;
    if script.contains('\0') {
        return Err(usage(format!("the plugin {path} holds a NUL, which no shell reads")));
    }
    Ok(PluginSpec { name: name.to_owned(), script })
}

fn unknown(home: &Path, name: &str) -> CliError {
    let mut known: Vec<String> =
        fs::read_dir(home).into_iter().flatten().flatten().filter_map(|entry| named(&entry.path())).collect();
    known.sort();
    let there = match (nearest_of(name, known.iter().map(String::as_str)), known.is_empty()) {
        (Some(nearest), _) => format!("did you mean `{nearest}`?"),
        (None, true) => format!("none is kept there; put it into {}", home.join(format!("{name}.sh")).display()),
        (None, false) => format!("there are: {}", known.join(", ")),
    };
    usage(format!("there is no plugin `{name}` in {}; {there}", home.display()))
}

fn named(path: &Path) -> Option<String> {
    let is_script = path.extension().is_some_and(|extension| extension == "sh");
    is_script.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
}

fn usage(what: impl Into<String>) -> CliError {
    CliError::Usage(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_read_once_and_one_that_is_not_there_names_the_nearest() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("proxy.sh"), "export A=1\n").unwrap();
        fs::write(home.path().join("long.sh"), "#".repeat(PluginSpec::SCRIPT_MAX + 1)).unwrap();
        fs::write(home.path().join("bytes.sh"), b"\xff").unwrap();
        let read = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            read_in(home.path(), &names).map_err(|error| error.to_string())
        };
        let proxy = PluginSpec { name: "proxy".to_owned(), script: "export A=1\n".to_owned() };
        assert_eq!(read(&["proxy", "proxy"]), Ok(vec![proxy]));
        assert!(read(&["proxi"]).unwrap_err().contains("did you mean `proxy`?"));
        assert!(read(&["zzz"]).unwrap_err().contains("there are: bytes, long, proxy"));
        assert!(read(&["long"]).unwrap_err().contains("longer than 64 KiB"));
        assert!(read(&["bytes"]).unwrap_err().contains("no UTF-8"));
        for name in ["", "..", "../proxy", "a b", ".hidden"] {
            assert!(read(&[name]).unwrap_err().contains("no name of a plugin"), "{name}");
        }
    }
}
