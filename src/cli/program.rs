//! How this program is called from where the user stands: every command that is told to be pasted begins with it.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::location::quoted;

/// What it is called where it is installed.
const NAME: &str = "rekindle";

/// The words that call this very program: its name where a shell finds it by that, else its path.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| match elsewhere() {
        None => NAME.to_owned(),
        Some(path) => quoted(&seen_from(env::current_dir().ok().as_deref(), &path)),
    })
}

/// The file of this program when a shell does not find it by its name.
pub fn elsewhere() -> Option<PathBuf> {
    // A file that was replaced while it runs has no path any more; its successor most likely has the name.
    let this = env::current_exe().and_then(|path| path.canonicalize()).ok()?;
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|dir| dir.join(NAME)).find(|path| path.is_file());
    let found = found.and_then(|path| path.canonicalize().ok());
    (found.as_deref() != Some(&*this)).then_some(this)
}

/// The path from `here` when it lies below, so that it can be read; with a slash, so that a shell takes it for a path.
fn seen_from(here: Option<&Path>, path: &Path) -> String {
    match here.and_then(|here| path.strip_prefix(here).ok()) {
        Some(below) if below.components().count() > 1 => below.display().to_string(),
        Some(below) => format!("./{}", below.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_that_a_shell_runs() {
        let path = Path::new("/home/me/rekindle/target/release/rekindle");
        for (here, seen) in [
            (Some("/home/me/rekindle"), "target/release/rekindle"),
            (Some("/home/me/rekindle/target/release"), "./rekindle"),
            (Some("/home/you"), "/home/me/rekindle/target/release/rekindle"),
            (None, "/home/me/rekindle/target/release/rekindle"),
        ] {
            assert_eq!(seen_from(here.map(Path::new), path), seen);
        }
    }
}
