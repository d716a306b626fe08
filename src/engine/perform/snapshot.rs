//! Snapshots of the workspace. Whatever goes wrong with one is recorded, and holds nothing up for longer than a while.

use std::sync::Arc;
use std::time::Duration;

use super::Performing;
use crate::engine::ports::{SnapshotError, Workspace};
use crate::engine::snapshots::listing;
use crate::session::workspace::{Comparison, Differences, LastSnapshot, WorkspaceNotCaptured};
use crate::session::{Command, SessionSpec};

/// How long keeping or comparing a workspace may take: what was kept until then need not be kept again the next time.
const CAPTURE_WAIT: Duration = Duration::from_secs(20);

impl Performing {
    pub(super) async fn capture(&mut self) -> Command {
        let Some((workspace, spec)) = self.workspace() else {
            let error = "the workspace is not on this machine, or nothing was brought that keeps it".to_owned();
            return Command::MissSnapshot(WorkspaceNotCaptured { error, for_good: true });
        };
        let looking = self.shared.looking(self.id, &spec, self.mask.masker());
        match tokio::time::timeout(CAPTURE_WAIT, workspace.capture(looking)).await {
            Ok(Ok(captured)) => Command::KeepSnapshot(captured),
            Ok(Err(error)) => {
                let for_good = error == SnapshotError::Unsupported;
                Command::MissSnapshot(WorkspaceNotCaptured { error: error.to_string(), for_good })
            }
            Err(_) => Command::MissSnapshot(WorkspaceNotCaptured { error: late(), for_good: false }),
        }
    }

    pub(super) async fn compare(&mut self, last: LastSnapshot) -> Command {
        let manifest = last.manifest;
        let compared = tokio::time::timeout(CAPTURE_WAIT, self.differences(last)).await;
        let comparison = match compared {
            Ok(Ok(differences)) if differences.count == 0 => Comparison::Same,
            Ok(Ok(differences)) => Comparison::Differs(differences),
            Ok(Err(error)) => Comparison::Failed { error: error.to_string() },
            Err(_) => Comparison::Failed { error: late() },
        };
        Command::CompareWorkspace { manifest, comparison }
    }

    async fn differences(&mut self, last: LastSnapshot) -> Result<Differences, SnapshotError> {
        let (workspace, spec) = self.workspace().ok_or(SnapshotError::Unsupported)?;
        let looking = self.shared.looking(self.id, &spec, self.mask.masker());
        let listing = listing(looking.contents.as_ref(), last.manifest).await?;
        workspace.compare(looking, &listing).await
    }

    /// The workspace, and what the session was told; `None` when it is not on this machine.
    fn workspace(&mut self) -> Option<(Arc<dyn Workspace>, SessionSpec)> {
        let spec = self.session.spec.clone()?;
        if self.holding.workspace.is_none() {
            self.holding.workspace = self.shared.workspace_of(&spec);
        }
        Some((self.holding.workspace.clone()?, spec))
    }
}

fn late() -> String {
    format!("it was not done within {} s", CAPTURE_WAIT.as_secs())
}
