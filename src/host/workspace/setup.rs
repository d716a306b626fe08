//! Scripts that prepare the session's shell, as a command of the session: the project's own `.openhands/setup.sh`, and plugins.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::has_file;
use super::shell::{Ended, at_length, quoted};
use crate::engine::ports::{Prepared, Runtime, RuntimeError};
use crate::session::{PluginSpec, Report};

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
    let ended = source(runtime, directory, &format!("source ./{SCRIPT}"), within).await?;
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

/// Sources a plugin of the user's.
pub(super) async fn plug_in(runtime: &dyn Runtime, plugin: &PluginSpec, within: Duration) -> Result<Prepared, RuntimeError> {
    let name = &plugin.name;
    let ended = source(runtime, ".", &plugin.script, within).await?;
    let output = end_of(&ended.output);
    match ended.code {
        0 => Ok(Prepared::Done(Report(json!({ "plugin": name, "output": output })))),
        -1 => Err(RuntimeError::Failed(format!("the plugin {name} was not done within {} s and was stopped", within.as_secs()))),
        code => Err(RuntimeError::Failed(format!("the plugin {name} ended with exit code {code}; it printed:\n{output}"))),
    }
}

/// Sources `script` in `directory`; the session's shell has what it exports and defines, and stays where it is.
async fn source(runtime: &dyn Runtime, directory: &str, script: &str, within: Duration) -> Result<Ended, RuntimeError> {
    let command = format!("__rekindle_directory={}\n__rekindle_script={}\n{RUN}", quoted(directory), quoted(script));
    at_length(runtime, &command, within).await
}

fn end_of(text: &str) -> &str {
    let text = text.trim();
    text.char_indices().nth_back(OUTPUT_MAX - 1).and_then(|(start, _)| text.get(start..)).unwrap_or(text)
}
