//! The project that a session works on: its repository, its setup script, its hook.
//!
//! Only what comes fresh from a server is touched from outside, by a git that knows nothing of the user's configuration. Everything
//! that concerns files which are there already (an agent may have written them) runs as a command of the session.

mod address;
mod attach;
mod clone;
pub(in crate::host) mod git;
mod hooks;
mod organisation;
mod report;
mod setup;
mod shell;
mod wanted;

use std::path::{Path, PathBuf};

use crate::engine::ports::{Preparation, Prepared, Runtime, RuntimeError, WORKSPACE};
use crate::session::{RepositorySpec, SessionId};

use clone::Cloned;
use shell::quoted;
use wanted::Wanted;

/// Looks whether a repository can be asked for so, before anything is made: its address, its name, its branch.
///
/// # Errors
/// What is wrong, without any credentials that are in it.
pub fn check(repository: &RepositorySpec) -> Result<(), String> {
    let nobody = SessionId::from_uuid(uuid::Uuid::nil());
    Wanted::new(nobody, repository, None).map(drop).map_err(|error| error.to_string())
}

/// Takes a step of the start in the workspace at `root`, where `runtime` runs commands.
pub(super) async fn prepare(runtime: &dyn Runtime, root: &Path, preparation: Preparation) -> Result<Prepared, RuntimeError> {
    match preparation {
        Preparation::Repository { session, repository, token } => {
            let wanted = Wanted::new(session, &repository, token.as_ref()).map_err(failed)?;
            let checkout = match clone::clone(&wanted, root).await.map_err(failed)? {
                Cloned::Fresh(checkout) => checkout,
                Cloned::SomethingIsThere => attach::attach(runtime, &wanted, root).await?,
            };
            // So that the first command finds itself where the work is.
            let directory = wanted.directory();
            let command = format!("cd -- {}", quoted(&directory));
            shell::in_session(runtime, &command).await?.ok_or_said(&format!("the shell cannot go to {directory}"))?;
            Ok(Prepared::Done(checkout.report()))
        }
        Preparation::Organisation { session, repository, token, within } => {
            let wanted = Wanted::new(session, &repository, token.as_ref()).map_err(failed)?;
            organisation::read(&wanted, root, within).await
        }
        Preparation::SetupScript { directory, within } => setup::run(runtime, root, &directory, within).await,
        Preparation::Plugin { plugin, within } => setup::plug_in(runtime, &plugin, within).await,
        Preparation::GitHooks { directory } => hooks::install(runtime, root, &directory).await,
    }
}

fn failed(error: impl std::fmt::Display) -> RuntimeError {
    RuntimeError::Failed(error.to_string())
}

/// Whether there is a file at `path` of the project in `directory`. Only a look: what uses it runs where the session's commands do.
fn has_file(root: &Path, directory: &str, path: &str) -> bool {
    std::fs::metadata(on_machine(root, directory).join(path)).is_ok_and(|found| found.is_file())
}

/// Where on this machine the directory is that commands know by this name.
fn on_machine(root: &Path, directory: &str) -> PathBuf {
    match Path::new(directory).strip_prefix(WORKSPACE) {
        Ok(rest) if rest.as_os_str().is_empty() => root.to_path_buf(),
        Ok(rest) => root.join(rest),
        Err(_) => PathBuf::from(directory),
    }
}
