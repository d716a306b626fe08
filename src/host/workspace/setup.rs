//! The project's own preparation, `.openhands/setup.sh`: a command of the session, in its shell.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::has_file;
use super::shell::{at_length, quoted};
use crate::engine::ports::{Prepared, Runtime, RuntimeError};
use crate::session::Report;

/// Where it is, from the project on.
const SCRIPT: &str = ".openhands/setup.sh";
const RUN: &str = include_str!("setup.sh");
/// How much of its output is kept: the end, in characters.
const OUTPUT_MAX: usize = 4000;

/// Runs the script of the project in `directory`. That it fails is told, and no error.
pub(super) async fn run(runtime: &dyn Runtime, root: &Path, directory: &str, within: Duration) -> Result<Prepared, RuntimeError> {
    if !has_file(root, directory, SCRIPT) {
        return Ok(Prepared::Skipped(format!("there is no {SCRIPT}")));
    }
    let command = format!("__rekindle_directory={}\n{RUN}", quoted(directory));
    let ended = at_length(runtime, &command, within).await?;
    let mut report = json!({ "script": SCRIPT, "exit_code": ended.code, "output": end_of(&ended.output) });
    let failed = match ended.code {
        0 => None,
        -1 => Some(format!("the setup script {SCRIPT} was not done within {} s and was stopped", within.as_secs())),
        code => Some(format!("the setup script {SCRIPT} ended with exit code {code}")),
    };
    if let (Some(failed), Some(report)) = (failed, report.as_object_mut()) {
        report.insert("failed".to_owned(), failed.clone().into());
        report.insert("warnings".to_owned(), vec![failed].into());
    }
    Ok(Prepared::Done(Report(report)))
}

fn end_of(text: &str) -> &str {
    let text = text.trim();
    text.char_indices().nth_back(OUTPUT_MAX - 1).and_then(|(start, _)| text.get(start..)).unwrap_or(text)
}
