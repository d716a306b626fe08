//! Where checkpoints are published: a file, a git repository, a server.

mod file;
mod git;
mod http;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::ports::{Sink, SinkError};

pub use file::FileSink;
pub use git::GitSink;
pub use http::HttpSink;

/// The sink that is written so: `file:PATH`, `git:DIRECTORY`, `https://…` or `http://…`.
///
/// # Errors
/// What can be written instead.
pub fn sink(text: &str) -> Result<Arc<dyn Sink>, String> {
    let wrong = || "say file:PATH, git:DIRECTORY or https://…".to_owned();
    let path = |path: &str| match path {
        "" => Err(wrong()),
        path => std::path::absolute(path).map_err(|error| format!("{path}: {error}")),
    };
    match text.split_once(':') {
        Some(("file", at)) => Ok(Arc::new(FileSink::new(path(at)?))),
        Some(("git", at)) => Ok(Arc::new(GitSink::new(path(at)?))),
        Some(("https" | "http", _)) => Ok(Arc::new(HttpSink::new(text)?)),
        _ => Err(wrong()),
    }
}

fn failed(verb: &str, path: &Path, error: &dyn std::error::Error) -> SinkError {
    SinkError(format!("cannot {verb} {}: {error}", path.display()))
}

/// Runs what waits for a disk where it holds nobody up.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(path)).await.unwrap_or_else(|error| Err(SinkError(error.to_string())))
}
