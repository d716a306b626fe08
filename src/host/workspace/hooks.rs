//! The project's own `.openhands/pre-commit.sh` as the hook that git runs before a commit.

use std::path::Path;

use serde_json::json;

use super::has_file;
use super::shell::beside;
use crate::engine::ports::{Prepared, Runtime, RuntimeError, WORKSPACE};
use crate::session::Report;

/// Where it is, from the project on.
const SCRIPT: &str = ".openhands/pre-commit.sh";
/// The hook that runs it.
const HOOK: &str = include_str!("pre-commit.sh");
const INSTALL: &str = include_str!("hooks.sh");
/// How the script says that there is nothing to do.
const NOTHING: i64 = 10;

/// Installs the hook of the project in `directory`; one that is there is kept, and called first.
pub(super) async fn install(runtime: &dyn Runtime, root: &Path, directory: &str) -> Result<Prepared, RuntimeError> {
    if !has_file(root, directory, SCRIPT) {
        return Ok(Prepared::Skipped(format!("there is no {SCRIPT}")));
    }
    let ended = beside(runtime, directory, INSTALL, &[HOOK, WORKSPACE]).await?;
    if ended.code == NOTHING {
        return Ok(Prepared::Skipped(ended.output.trim().to_owned()));
    }
    let output = ended.ok_or_said("the pre-commit hook cannot be installed")?;
    let mut lines = output.lines();
    let (hook, before) = (lines.next().unwrap_or_default(), lines.next().filter(|before| *before != "none"));
    Ok(Prepared::Done(Report(json!({ "hook": hook, "runs": SCRIPT, "before": before }))))
}
