//! A store that is read on the record: who reads what stands in its audit log before it is handed out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::access::AccessLedger;
use crate::session::{Digest, NodeId, Seq, SessionId, SessionName, Timestamp};
use crate::store::{
    Adoption, Alike, Append, Appended, Backup, Care, Compacted, Condition, Document, FeedCursor, FeedFlaw, FeedPage, Find, Hit,
    Inbox, Indexed, Keeping, Letter, NodeRow, Packed, Page, Pieces, Projected, ProjectionId, Quarantined, Read, ReadModels,
    SearchIndex, SessionFilter, SessionRow, Shard, SharedStore, Snapshot, Store, StoreError, StoreInfo, WakeUps,
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
impl SearchIndex for Recorder {
    async fn indexed(&self) -> Result<FeedCursor, StoreError> {
        self.inner.indexed().await
    }

    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        self.inner.index(indexed).await
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

#[async_trait]
impl ReadModels for Recorder {
    async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError> {
        self.inner.checkpoint(projection).await
    }

    async fn project(&self, projected: Projected) -> Result<(), StoreError> {
        self.inner.project(projected).await
    }

    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.document(projection, shard, key).await
    }

    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.documents(projection, prefix).await
    }

    async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError> {
        self.inner.quarantined(projection).await
    }

    async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError> {
        self.inner.drop_projection(projection).await
    }

    async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError> {
        self.inner.projections().await
    }
}

#[async_trait]
impl Store for Recorder {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        self.inner.append(append).await
    }

    fn page_rows(&self) -> u32 {
        self.inner.page_rows()
    }

    async fn read(&self, read: Read) -> Result<Page, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[read.session]).await?;
        self.inner.read(read).await
    }

    async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[read.session]).await?;
        self.inner.read_in_pieces(read, pieces).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.inner.session(id).await
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        self.ledger.list(self.inner.as_ref()).await?;
        self.inner.sessions(filter, limit).await
    }

    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError> {
        self.inner.name(id, name).await
    }

    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        self.inner.put_blob(session, bytes).await
    }

    async fn put_blobs(&self, session: SessionId, contents: Vec<Vec<u8>>) -> Result<(), StoreError> {
        self.inner.put_blobs(session, contents).await
    }

    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[session]).await?;
        self.inner.blob(session, digest).await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.inner.put_snapshot(snapshot).await
    }

    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError> {
        self.ledger.sessions(self.inner.as_ref(), &[session]).await?;
        self.inner.snapshot(session, reducer, upto).await
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.feed(after, limit).await
    }

    async fn feed_head(&self) -> Result<FeedCursor, StoreError> {
        self.inner.feed_head().await
    }

    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError> {
        self.inner.renew_lease(node, address, ttl).await
    }

    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        self.inner.node(node).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.inner.nodes().await
    }

    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError> {
        self.inner.end_lease(node).await
    }

    fn wake_ups(&self) -> WakeUps {
        self.inner.wake_ups()
    }

    async fn info(&self) -> Result<StoreInfo, StoreError> {
        self.inner.info().await
    }

    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError> {
        self.inner.redact(session, seq).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl Inbox for Recorder {
    async fn post(&self, letter: Letter) -> Result<(), StoreError> {
        self.inner.post(letter).await
    }

    async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError> {
        self.inner.letters(node, limit).await
    }

    async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        self.inner.begin(node, letter).await
    }

    async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError> {
        self.inner.answer(node, letter, answer).await
    }

    async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError> {
        self.inner.take_answer(node, letter).await
    }

    async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        self.inner.withdraw(node, letter).await
    }
}

#[async_trait]
impl Care for Recorder {
    async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError> {
        self.inner.adopt(adoptions).await
    }

    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError> {
        self.inner.settle(row, keeping).await
    }

    async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError> {
        self.inner.keeping(session).await
    }

    async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError> {
        self.inner.hold(session, reason).await
    }

    async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError> {
        self.inner.purge(session, at).await
    }

    async fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        self.ledger.all(self.inner.as_ref()).await?;
        self.inner.backup(to).await
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.inner.condition().await
    }

    async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError> {
        self.inner.feed_flaws().await
    }

    async fn packable(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        self.inner.packable(before, limit).await
    }

    async fn pack(&self, session: SessionId) -> Result<Packed, StoreError> {
        self.inner.pack(session).await
    }

    async fn compact(&self) -> Result<Compacted, StoreError> {
        self.inner.compact().await
    }
}
