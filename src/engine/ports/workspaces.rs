//! What a workspace on this machine holds: kept, compared, written out again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::session::workspace::{Differences, LeftOut, Node, WorkspaceCaptured};
use crate::session::{Digest, Masker, SnapshotSpec, Timestamp};

/// Looks at workspaces on this machine, and makes new ones.
#[async_trait]
pub trait Workspaces: Send + Sync + 'static {
    /// The workspace in `directory`, for as long as a session works there: what was seen of it is remembered, so that only what
    /// changed is read again. `None` when this engine keeps nothing of workspaces.
    fn workspace(&self, directory: &Path) -> Option<Arc<dyn Workspace>>;

    /// Writes a snapshot into a directory that is not there or empty; there is all of it then, or nothing.
    ///
    /// # Errors
    /// [`SnapshotError::NotEmpty`] when something is there, else what could not be read or written.
    async fn restore(&self, listing: &Listing, contents: Arc<dyn Contents>, into: &Path) -> Result<RestoredFiles, SnapshotError>;
}

/// The workspace of one session.
#[async_trait]
pub trait Workspace: Send + Sync + 'static {
    /// Keeps what it holds now. Files that vanish meanwhile are no failure; dropping the future ends the looking.
    ///
    /// # Errors
    /// [`SnapshotError::Unreadable`] when the workspace itself cannot be read, [`SnapshotError::Contents`] when nothing can be kept.
    async fn capture(&self, request: Capture) -> Result<WorkspaceCaptured, SnapshotError>;

    /// Where it is not what a snapshot says.
    ///
    /// # Errors
    /// [`SnapshotError::Unreadable`] when the workspace itself cannot be read.
    async fn compare(&self, request: Capture, with: &Listing) -> Result<Differences, SnapshotError>;
}

/// How a workspace is looked at.
#[derive(Clone)]
pub struct Capture {
    /// How much of it is kept.
    pub limits: SnapshotSpec,
    /// Files that hold one of these values are left out.
    pub masker: Option<Arc<Masker>>,
    /// The time, to know which files changed too lately for their times to tell.
    pub now: Timestamp,
    /// Where contents are kept.
    pub contents: Arc<dyn Contents>,
}

/// Where the contents of one session's snapshots are kept.
#[async_trait]
pub trait Contents: Send + Sync + 'static {
    /// Keeps these by their digests.
    ///
    /// # Errors
    /// [`SnapshotError::Contents`] when they cannot be written.
    async fn keep(&self, contents: Vec<Vec<u8>>) -> Result<(), SnapshotError>;

    /// What has this digest.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`] when it is not there, [`SnapshotError::Contents`] when it cannot be read.
    async fn content(&self, digest: Digest) -> Result<Vec<u8>, SnapshotError>;
}

/// All that a snapshot holds, by path from the workspace on, as the bytes that paths are made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Files, links and directories; a directory comes before what is in it.
    pub entries: BTreeMap<Vec<u8>, Node>,
    /// What it does not hold, with its whole path.
    pub left_out: Vec<LeftOut>,
    /// How many more it does not hold.
    pub left_out_more: u64,
}

/// What was written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoredFiles {
    /// How many files.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// Why a snapshot could not be taken, read or written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The workspace cannot be read.
    #[error("the workspace cannot be read: {0}")]
    Unreadable(String),
    /// The store does not take contents, or gives none.
    #[error("the store failed: {0}")]
    Contents(String),
    /// What a snapshot refers to is not kept.
    #[error("the content {} of the snapshot is not in the store; it went with the session that had it, or was never copied", .0.short())]
    Missing(Digest),
    /// What is kept is no snapshot.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// Where it should be written out is something.
    #[error("{0} is not empty; name a directory that is not there yet")]
    NotEmpty(String),
    /// It could not be written out.
    #[error("{0}")]
    Unwritable(String),
    /// The engine was given nothing that could do it.
    #[error("this engine keeps nothing of workspaces")]
    Unsupported,
}
