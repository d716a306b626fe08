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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::HeldText;

    #[test]
    fn a_sink_is_called_by_its_place_and_by_nothing_secret() {
        assert_eq!(sink("file:/a/b").unwrap().name(), "file:/a/b");
        assert_eq!(sink("git:/a").unwrap().name(), "git:/a");
        let server = sink("https://user:geheim@log.example:8443/a?token=geheim#geheim").unwrap();
        assert_eq!(server.name(), "https://log.example:8443/a");
        assert!(!format!("{server:?}").contains("geheim"));
        for wrong in ["", "file:", "git:", "/a/b", "ftp://log.example/", "https://", "https://user:geheim@"] {
            let error = sink(wrong).unwrap_err();
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(sink("file:a").unwrap().name().ends_with("/a"), "wherever it is started");
    }

    #[tokio::test]
    async fn of_a_long_file_the_last_lines_are_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoints");
        let sink = FileSink::new(path.clone());
        assert_eq!(sink.held().await.unwrap(), HeldText::End(String::new()));
        let line = format!("— {}\n", "ä".repeat(100));
        for _ in 0..10 {
            sink.append(&line.repeat(100)).await.unwrap();
        }
        let HeldText::End(end) = sink.held().await.unwrap() else { panic!("it can be read") };
        assert!(end.len() > 60_000 && end.len() <= 64 * 1024, "{}", end.len());
        assert_eq!(end, line.repeat(end.len() / line.len()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line.repeat(1000));
        assert!(FileSink::new(directory.path().to_owned()).held().await.is_err(), "a directory");
    }

    #[tokio::test]
    async fn a_directory_that_holds_something_else_is_no_repository() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes"), "mine").unwrap();
        let sink = GitSink::new(directory.path().to_owned());
        let error = sink.held().await.unwrap_err();
        assert!(error.to_string().contains("git init"), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was made in it");
    }

    #[tokio::test]
    async fn a_repository_gets_back_what_was_removed_and_commits_what_was_not() {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("new");
        let sink = GitSink::new(repository.clone());
        assert_eq!(sink.held().await.unwrap(), HeldText::End(String::new()));
        sink.append("one\n").await.unwrap();
        std::fs::remove_file(repository.join("checkpoints")).unwrap();
        assert_eq!(sink.held().await.unwrap(), HeldText::End("one\n".to_owned()));
        // Killed between the file and the commit.
        file::add(&repository.join("checkpoints"), "two\n").unwrap();
        assert_eq!(sink.held().await.unwrap(), HeldText::End("one\ntwo\n".to_owned()));
        sink.append("three\n").await.unwrap();
        let git = |args: &[&str]| {
            let said = std::process::Command::new("git").arg("-C").arg(&repository).args(args).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        };
        assert_eq!(git(&["show", "HEAD:checkpoints"]), "one\ntwo\nthree\n");
        assert_eq!((git(&["rev-list", "--count", "HEAD"]), git(&["status", "--porcelain"])), ("2\n".to_owned(), String::new()));
    }
}
