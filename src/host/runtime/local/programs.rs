//! The programs that a runtime is built with. They run with the engine's own rights, so none comes from where a session can write.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where only the system's own programs are.
const USUAL: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Where they are looked for.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// As the session has it, for people.
    path: OsString,
    /// Without what is in the workspace: a virtual environment there is one that commands can put programs into.
    trusted: OsString,
}

impl Programs {
    /// Those of an environment, for a session that can write to `workspace`.
    pub(super) fn of(environment: &[(OsString, OsString)], workspace: &Path) -> Self {
        let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()).unwrap_or_default();
        let is_trusted = |directory: &PathBuf| {
            directory.is_absolute() && !directory.canonicalize().is_ok_and(|directory| directory.starts_with(workspace))
        };
        // A path that came from a list can be put into one again.
        let trusted = env::join_paths(env::split_paths(&path).filter(is_trusted)).unwrap_or_default();
        Self { path, trusted }
    }

    /// Where a program of this name is.
    ///
    /// # Errors
    /// What to say when it is not there.
    pub(super) fn find(&self, program: &str) -> Result<PathBuf, String> {
        let is_there =
            |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        let found = env::split_paths(&self.trusted).map(|directory| directory.join(program)).find(is_there);
        found
            .ok_or_else(|| format!("there is no program {program} in PATH ({}); install it or correct PATH", self.path.display()))
    }

    /// What scripts find programs by: also where systems have the usual ones, as a session may well be given few.
    pub(super) fn search_path(&self) -> OsString {
        let usual = USUAL.iter().map(PathBuf::from);
        env::join_paths(env::split_paths(&self.trusted).filter(|path| path.is_absolute()).chain(usual)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_a_session_can_put_there_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = directory.path().canonicalize().unwrap();
        fs::create_dir(workspace.join("bin")).unwrap();
        for name in ["sh", "planted"] {
            let file = workspace.join("bin").join(name);
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}/bin:bin:/usr/bin:/bin", workspace.display());
        let programs = Programs::of(&[("PATH".into(), path.into())], &workspace);
        assert!(!programs.find("sh").unwrap().starts_with(&workspace));
        assert!(programs.find("planted").unwrap_err().contains("no program planted"));
        assert_eq!(programs.search_path(), "/usr/bin:/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        assert_eq!(Programs::of(&[], &workspace).search_path(), "/usr/sbin:/usr/bin:/sbin:/bin");
    }
}
