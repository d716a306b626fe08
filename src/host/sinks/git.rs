//! A git repository: one commit for what is published at once. What was written and not committed is committed with what comes next.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::file::{add, read_end};
use super::{blocking, failed};
use crate::engine::ports::{HeldText, Sink, SinkError};
use crate::host::workspace::git::{Git, Said};

/// The file in it.
const FILE: &str = "checkpoints";
/// Who commits, whoever runs this.
const WHO: [&str; 6] = ["-c", "user.name=Rekindle", "-c", "user.email=rekindle@localhost", "-c", "commit.gpgSign=false"];

/// A git repository that checkpoints are committed to.
#[derive(Debug)]
pub struct GitSink {
    name: String,
    directory: PathBuf,
}

impl GitSink {
    /// The repository at this absolute path; made when there is nothing.
    pub fn new(directory: PathBuf) -> Self {
        Self { name: format!("git:{}", directory.display()), directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    async fn git(&self, arguments: &[&str]) -> Result<Said, SinkError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Git::new(None).run(&self.directory, &arguments).await.map_err(|error| SinkError(format!("git cannot be run: {error}")))
    }

    async fn must(&self, arguments: &[&str]) -> Result<Said, SinkError> {
        let said = self.git(arguments).await?;
        if said.succeeded {
            return Ok(said);
        }
        let errors = said.errors.trim().lines().last().unwrap_or("it did not say why").to_owned();
        Err(SinkError(format!("git in {}: {errors}", self.directory.display())))
    }

    /// Makes the repository where there is nothing, and brings back a file that was committed and is gone.
    async fn settle(&self) -> Result<(), SinkError> {
        if !self.directory.join(".git").exists() {
            let is_empty = |path: PathBuf| {
                fs::create_dir_all(&path).map_err(|error| failed("make", &path, &error))?;
                let mut entries = fs::read_dir(&path).map_err(|error| failed("read", &path, &error))?;
                Ok(entries.next().is_none())
            };
            if !blocking(&self.directory, is_empty).await? {
                let directory = self.directory.display();
                return Err(SinkError(format!("{directory} is no git repository; `git init` makes it one")));
            }
            self.must(&["init", "-q"]).await?;
        }
        let is_committed = self.git(&["rev-parse", "-q", "--verify", &format!("HEAD:{FILE}")]).await?.succeeded;
        if is_committed && !self.file().exists() {
            self.must(&["checkout", "-q", "HEAD", "--", FILE]).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for GitSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn held(&self) -> Result<HeldText, SinkError> {
        self.settle().await?;
        blocking(&self.file(), |path: PathBuf| read_end(&path)).await.map(HeldText::End)
    }

    async fn append(&self, text: &str) -> Result<(), SinkError> {
        let text = text.to_owned();
        blocking(&self.file(), move |path: PathBuf| add(Path::new(&path), &text)).await?;
        self.must(&["add", "-f", "--", FILE]).await?;
        let mut commit = WHO.to_vec();
        commit.extend(["commit", "-q", "-m", "Checkpoint of the audit log", "--", FILE]);
        self.must(&commit).await.map(drop)
    }
}
