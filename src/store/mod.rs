//! Layer 2 · the log. [`Store`] is the contract; the in-memory store is its readable reference, [`SqlStore`] the durable one.

mod append;
pub mod chain;
mod error;
mod read;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use append::{Append, Appended, Directory, Expected, SessionRow, Writer};
pub use error::{BoxError, OpenError, StoreError};
pub use read::{FeedCursor, FeedPage, NodeRow, Order, Page, Read, Row, SessionFilter, Snapshot, StoreInfo, WakeUps};

use crate::session::{Digest, NodeId, Seq, SessionId, SessionName};

/// The log of all sessions.
///
/// What every implementation promises, and the conformance kit checks:
///
/// 1. An acknowledged append is durable and visible, whole and in order; a failed one left nothing.
/// 2. [`Expected`] is honoured under any concurrency; a loser gets [`StoreError::Conflict`] with the head.
/// 3. Per session `seq` is dense, and a reader that sees n has seen everything below n.
/// 4. The [feed](Store::feed) delivers every event of every session, in commit order, gap-free.
/// 5. A writer whose epoch has passed gets [`StoreError::Fenced`], whatever its clock says.
/// 6. Damage is named by session and seq, and makes nothing else unreadable.
/// 7. After a failed write to disk the handle refuses to write ([`StoreError::Poisoned`]).
/// 8. Appending the same events again (same ids, same content) answers what the first time did.
///
/// Dropping the future of an append does not undo it: the append happens, or not, as if nobody had asked for the answer.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Appends all events of `append`, durably, or none.
    async fn append(&self, append: Append) -> Result<Appended, StoreError>;

    /// Reads one bounded page of one session's events. A page may end before `read.limit`; [`Page::more`] says whether to go on.
    async fn read(&self, read: Read) -> Result<Page, StoreError>;

    /// Reads the directory row of one session.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Lists sessions, the most recently changed first, at most `limit`.
    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError>;

    /// Names a session; fails with [`StoreError::Invalid`] when another session has the name.
    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError>;

    /// Stores content by its digest, once, beside `session`.
    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError>;

    /// Reads content by its digest.
    async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keeps a snapshot; older ones of the same reducer may go. Losing one loses time, never data.
    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError>;

    /// Finds the newest snapshot that `reducer` made at or before `upto`.
    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError>;

    /// Reads events of all sessions in commit order.
    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError>;

    /// Says that `node` lives at `address` until `ttl` from now, by the store's clock.
    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError>;

    /// What is known of a node.
    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError>;

    /// Gives up the lease of `node`, so that others need not wait for it to pass.
    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError>;

    /// Rings after each commit, here or elsewhere; may ring for nothing, and rings may merge.
    fn wake_ups(&self) -> WakeUps;

    /// What the store says about itself, for `doctor`.
    async fn info(&self) -> Result<StoreInfo, StoreError>;

    /// Blanks the body of one event, for ever; its digest stays, so that the chain still verifies.
    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError>;

    /// Finishes what was accepted and closes the store. Later calls fail with [`StoreError::Unavailable`].
    async fn close(&self);
}

/// The one shared handle that everything above the log holds.
pub type SharedStore = Arc<dyn Store>;
