//! Commands of the session that prepare its project.

use std::time::Duration;

use crate::engine::ports::{Runtime, RuntimeError, Timeout};
use crate::session::action::{Confirmation, Run};
use crate::session::{Action, Extras};

/// How long a command may take that is not a script of somebody's. The step that it is part of may be given less.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of a command.
#[derive(Debug)]
pub(super) struct Ended {
    /// -1 when its time was up.
    pub(super) code: i64,
    pub(super) output: String,
}

impl Ended {
    /// What it printed, when it succeeded.
    pub(super) fn ok_or_said(self, what: &str) -> Result<String, RuntimeError> {
        match self.code {
            0 => Ok(self.output),
            -1 => Err(RuntimeError::Failed(format!("{what}: not done within {} s", PATIENCE.as_secs()))),
            _ => Err(RuntimeError::Failed(format!("{what}: {}", self.output.trim()))),
        }
    }
}

/// Runs a command in the session's shell.
pub(super) async fn in_session(runtime: &dyn Runtime, command: &str) -> Result<Ended, RuntimeError> {
    run(runtime, action(command, None), PATIENCE).await
}

/// Runs a script in the session's shell, however quiet it is.
pub(super) async fn at_length(runtime: &dyn Runtime, command: &str, within: Duration) -> Result<Ended, RuntimeError> {
    run(runtime, action(command, None), within).await
}

/// Runs a script beside the session's shell, with these arguments.
pub(super) async fn beside(
    runtime: &dyn Runtime,
    directory: &str,
    script: &str,
    arguments: &[&str],
) -> Result<Ended, RuntimeError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
    let command = format!("set -- {}\n{script}", arguments.join(" "));
    run(runtime, action(&command, Some(directory)), PATIENCE).await
}

fn action(command: &str, beside: Option<&str>) -> Run {
    Run {
        command: command.to_owned(),
        is_input: false,
        thought: String::new(),
        blocking: true,
        is_static: beside.is_some(),
        cwd: beside.map(str::to_owned),
        hidden: true,
        confirmation_state: Confirmation::Confirmed,
        security_risk: None,
    }
}

async fn run(runtime: &dyn Runtime, run: Run, within: Duration) -> Result<Ended, RuntimeError> {
    let observation = runtime.execute(&Action::Run(run), Timeout { hard: within, quiet: within }).await?;
    match observation.extras {
        Extras::Run(output) => Ok(Ended { code: output.metadata.exit_code, output: observation.content }),
        _ => Err(RuntimeError::Failed(observation.content)),
    }
}

/// `text` as one word of a shell's.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
