//! Snapshots of workspaces on this machine: walked, kept by content, compared, written out again.
//!
//! Nothing is read through a symbolic link, whoever swaps one in meanwhile: each directory is opened as itself and everything in it
//! through that. `.git` is a part of the snapshot, since a repository without it is of little use; it is kept whole or not at all.

mod compare;
mod git;
mod ignored;
mod restore;
mod seen;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::engine::ports::{Capture, Contents, Listing, RestoredFiles, SnapshotError, Workspace, Workspaces};
use crate::session::workspace::{Differences, WorkspaceCaptured};
use seen::{Kept, Seen};
use walk::{Batch, Sink, Walk, Walked};

/// How many batches of contents wait to be written while the next is read.
const BATCHES_MAX: usize = 1;

/// Workspaces on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalWorkspaces;

#[async_trait]
impl Workspaces for LocalWorkspaces {
    fn workspace(&self, directory: &Path) -> Option<Arc<dyn Workspace>> {
        Some(Arc::new(LocalWorkspace { root: directory.to_owned(), seen: Arc::default(), kept: Arc::default() }))
    }

    async fn restore(&self, listing: &Listing, contents: Arc<dyn Contents>, into: &Path) -> Result<RestoredFiles, SnapshotError> {
        restore::restore(listing, contents.as_ref(), into).await
    }
}

/// One of them, and what was seen of it.
#[derive(Debug)]
struct LocalWorkspace {
    root: PathBuf,
    seen: Arc<Mutex<Seen>>,
    kept: Kept,
}

impl LocalWorkspace {
    /// Walks through the workspace on a thread of its own, which ends soon after this future is dropped.
    async fn walk(&self, capture: &Capture, keeps: bool) -> Result<Walked, SnapshotError> {
        let (sender, mut batches) = mpsc::channel::<Batch>(BATCHES_MAX);
        let (root, seen, kept) = (self.root.clone(), Arc::clone(&self.seen), Arc::clone(&self.kept));
        let looking = capture.clone();
        let task = tokio::task::spawn_blocking(move || {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            Walk::new(&looking, &mut seen, Sink::new(sender, kept, keeps)).through(&root)
        });
        while let Some(batch) = batches.recv().await {
            let (digests, contents): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            capture.contents.keep(contents).await?;
            // Only what is certainly there need not be kept again.
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).extend(digests);
        }
        task.await.map_err(|error| SnapshotError::Unreadable(error.to_string()))?
    }
}

#[async_trait]
impl Workspace for LocalWorkspace {
    async fn capture(&self, request: Capture) -> Result<WorkspaceCaptured, SnapshotError> {
        Ok(self.walk(&request, true).await?.captured)
    }

    async fn compare(&self, request: Capture, with: &Listing) -> Result<Differences, SnapshotError> {
        Ok(compare::differences(with, &self.walk(&request, false).await?))
    }
}
