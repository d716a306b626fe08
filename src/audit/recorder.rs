//! A store that is read on the record: who reads what stands in its audit log before it is handed out.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::access::AccessLedger;
use crate::session::{Digest, Seq, SessionId};
use crate::store::{
    Alike, Backup, Decorator, Document, FeedCursor, FeedPage, Find, Hit, Page, Pieces, ProjectionId, Read, SessionFilter,
    SessionRow, Shard, SharedStore, Snapshot, Store, StoreError,
};

/// Passes everything on to a store, and writes down before anything of a session is handed out that it is.
///
/// Once for each ledger, that is for each process: of a session with the event that was its last one then, of the list of sessions, and
/// of all sessions, which says the rest, too. Whoever goes on reading a session meanwhile, as `tail --follow` does, reads what is appended
/// to it without a further word. What a fork shares is read as the fork's. Of the audit log the same is written down; what writes it down
/// reads below this, and so writes nothing down of itself.
///
/// Passed on without a word: writing, the row of one session that whoever asks can name, leases, the letters between nodes, and what a
/// store says of itself.
///
/// Reading fails where it cannot be written down: with [`StoreError::ReadOnly`] that names the way out where the store cannot be written
/// at all.
pub struct Recorder {
    inner: SharedStore,
    ledger: Arc<AccessLedger>,
}

impl Recorder {
    /// Over a store that can be written.
    pub const fn new(inner: SharedStore, ledger: Arc<AccessLedger>) -> Self {
        Self { inner, ledger }
    }
}

#[async_trait]
impl Decorator for Recorder {
    fn inner(&self) -> &dyn Store {
        self.inner.as_ref()
    }

    async fn read(&self, read: Read) -> Result<Page, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[read.session]).await?;
        self.inner.read(read).await
    }

    async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[read.session]).await?;
        self.inner.read_in_pieces(read, pieces).await
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.ledger.list(self.inner.as_ref()).await?;
        self.inner.sessions(filter, limit).await
    }

    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[session]).await?;
        self.inner.blob(session, digest).await
    }

    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[session]).await?;
        self.inner.snapshot(session, reducer, upto).await
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.feed(after, limit).await
    }

    async fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.backup(to).await
    }

    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.document(projection, shard, key).await
    }

    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.documents(projection, prefix).await
    }

    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError> {
        let hits = self.inner.find(find).await?;
        let sessions: Vec<SessionId> = hits.iter().map(|hit| hit.session).collect();
        self.ledger.sessions(self.inner.as_ref(), &sessions).await?;
        Ok(hits)
    }

    async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError> {
        self.ledger.list(self.inner.as_ref()).await?;
        self.inner.sessions_alike(alike).await
    }
}
