//! What happens in the workspace before the agent begins, and what is read of it on the agent's behalf.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{LocalRuntime, files};
use crate::engine::ports::{Document, Preparation, Prepared, RuntimeError};
use crate::host::workspace;

impl LocalRuntime {
    pub(super) async fn prepare_workspace(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        self.admit().await?;
        workspace::prepare(self, &self.shared.report.workspace, preparation).await
    }

    pub(super) async fn read_documents(&self, paths: &[String], limit: u64) -> Result<Vec<Document>, RuntimeError> {
        if self.shared.released.load(Ordering::Acquire) {
            return Err(RuntimeError::Lost("the runtime was released".into()));
        }
        let (shared, paths) = (Arc::clone(&self.shared), paths.to_vec());
        let read = move || files::documents(&shared.report.workspace, &paths, limit);
        tokio::task::spawn_blocking(read).await.map_err(|error| RuntimeError::Lost(error.to_string()))
    }
}
