//! Snapshots of workspaces: where their contents are kept, what they hold, and how one is written out again.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::EngineError;
use super::ports::{Capture, Contents, Listing, RestoredFiles, SnapshotError, Workspace};
use super::restore::{Trust, restore_at};
use super::{Engine, Shared};
use crate::session::workspace::{Differences, LastSnapshot, LeftOut, Node, PathText, Tree};
use crate::session::{Digest, Masker, RuntimeSpec, Seq, Session, SessionId, SessionSpec};
use crate::store::{SharedStore, Store};

/// The most directories and files that a snapshot is believed to have: what refers to more was not made here.
const LISTED_MAX: usize = 1_000_000;
/// The most that is listed of what a snapshot does not hold.
const LEFT_OUT_MAX: usize = 10_000;

/// The contents that a store keeps for one session.
#[derive(Clone)]
pub struct Kept {
    store: SharedStore,
    session: SessionId,
}

impl Kept {
    /// Those of `session`.
    pub const fn new(store: SharedStore, session: SessionId) -> Self {
        Self { store, session }
    }
}

#[async_trait]
impl Contents for Kept {
    async fn keep(&self, contents: Vec<Vec<u8>>) -> Result<(), SnapshotError> {
        self.store.put_blobs(self.session, contents).await.map_err(|error| SnapshotError::Contents(error.to_string()))
    }

    async fn content(&self, digest: Digest) -> Result<Vec<u8>, SnapshotError> {
        let found = self.store.blob(self.session, digest).await.map_err(|error| SnapshotError::Contents(error.to_string()))?;
        found.ok_or(SnapshotError::Missing(digest))
    }
}

/// The newest snapshot of a session at or before event `at`; `None` when there is none.
///
/// # Errors
/// As [`restore_at`].
pub async fn snapshot_at(store: &dyn Store, id: SessionId, at: Seq) -> Result<Option<LastSnapshot>, EngineError> {
    let restored = restore_at(store, id, at, Trust::Snapshot).await?;
    Ok(restored.session.snapshots.and_then(|snapshots| snapshots.last))
}

/// All that a snapshot holds.
///
/// # Errors
/// [`SnapshotError::Missing`] or [`SnapshotError::Damaged`] when it cannot be read whole.
pub async fn listing(contents: &dyn Contents, manifest: Digest) -> Result<Listing, SnapshotError> {
    let mut listing = Listing::default();
    let mut ahead = vec![(Vec::new(), manifest)];
    while let Some((at, tree)) = ahead.pop() {
        let bytes = contents.content(tree).await?;
        let tree = Tree::decode(&bytes).map_err(SnapshotError::Damaged)?;
        listing.left_out_more += tree.left_out_more;
        for LeftOut { path, why } in tree.left_out {
            if listing.left_out.len() < LEFT_OUT_MAX {
                let path = PathText::new(&below(&at, &path.bytes().unwrap_or_default()));
                listing.left_out.push(LeftOut { path, why });
            } else {
                listing.left_out_more += 1;
            }
        }
        for entry in tree.entries {
            let path = below(&at, &entry.name.bytes().unwrap_or_default());
            if let Node::Directory { tree } = &entry.node {
                ahead.push((path.clone(), *tree));
            }
            if listing.entries.insert(path, entry.node).is_some() {
                return Err(SnapshotError::Damaged("it holds a path twice".to_owned()));
            }
            if listing.entries.len() > LISTED_MAX {
                return Err(SnapshotError::Damaged(format!("it holds more than {LISTED_MAX} paths")));
            }
        }
    }
    listing.left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn below(at: &[u8], name: &[u8]) -> Vec<u8> {
    if at.is_empty() { name.to_vec() } else { [at, b"/", name].concat() }
}

impl Engine {
    /// The newest snapshot of the session's workspace at or before event `at`; `None` when there is none.
    ///
    /// # Errors
    /// [`EngineError::Unproven`] when the log does not prove its state there.
    pub async fn snapshot_at(&self, id: SessionId, at: Seq) -> Result<Option<LastSnapshot>, EngineError> {
        snapshot_at(self.shared.store.as_ref(), id, at).await
    }

    /// Writes a snapshot of a session into a directory that is not there or empty; there is all of it then, or nothing.
    ///
    /// # Errors
    /// [`SnapshotError::NotEmpty`] when something is there, else what could not be read or written.
    pub async fn restore_files(&self, id: SessionId, manifest: Digest, into: &Path) -> Result<RestoredFiles, SnapshotError> {
        let contents = Kept::new(Arc::clone(&self.shared.store), id);
        let listing = listing(&contents, manifest).await?;
        self.shared.ports.workspaces.restore(&listing, Arc::new(contents), into).await
    }

    /// Where the workspace of a session that nobody runs is not what its newest snapshot says; `None` when there is no snapshot, or
    /// the workspace is not on this machine. Writes nothing.
    ///
    /// # Errors
    /// [`EngineError::Snapshot`] when the snapshot or the workspace cannot be read.
    pub async fn compare_files(&self, id: SessionId, session: &Session) -> Result<Option<Differences>, EngineError> {
        let (Some(last), Some(spec)) = (session.snapshots.and_then(|snapshots| snapshots.last), &session.spec) else {
            return Ok(None);
        };
        let Some(workspace) = self.shared.workspace_of(spec) else {
            return Ok(None);
        };
        let mask = self.shared.mask(id, Some(spec)).await?;
        let looking = self.shared.looking(id, spec, mask.masker());
        let listing = listing(looking.contents.as_ref(), last.manifest).await?;
        Ok(Some(workspace.compare(looking, &listing).await?))
    }
}

impl Shared {
    /// The workspace of a session of this spec, where it is on this machine and this engine looks at workspaces.
    pub(super) fn workspace_of(&self, spec: &SessionSpec) -> Option<Arc<dyn Workspace>> {
        match spec.runtime {
            RuntimeSpec::Local { .. } => self.ports.workspaces.workspace(&spec.workspace),
            RuntimeSpec::Remote { .. } | RuntimeSpec::Command(_) => None,
        }
    }

    /// How a session of this spec looks at its workspace.
    pub(super) fn looking(&self, id: SessionId, spec: &SessionSpec, masker: Option<Arc<Masker>>) -> Capture {
        Capture {
            limits: spec.snapshots.unwrap_or_default(),
            masker,
            now: self.clock.now(),
            contents: Arc::new(Kept::new(Arc::clone(&self.store), id)),
        }
    }
}
