//! Stores over another store: each says what it does differently, and everything else is passed on, here, once.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Adoption, Alike, Append, Appended, Backup, Care, Compacted, Condition, Document, FeedCursor, FeedFlaw, FeedPage, Find, Hit,
    Inbox, Indexed, Keeping, Letter, NodeRow, Packed, Page, Paging, Pieces, Projected, ProjectionId, Quarantined, Read,
    ReadModels, SearchIndex, SessionFilter, SessionRow, Shard, Snapshot, Store, StoreError, StoreInfo, WakeUps,
};
use crate::session::{Digest, NodeId, Seq, SessionId, SessionName, Timestamp};

/// Makes [`Decorator`] of the methods of all traits, and each of these traits of it.
macro_rules! decorator {
    ($($of:ident {
        $(fn $now:ident(&self) -> $value:ty;)*
        $(async fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $answer:ty;)*
    })*) => {
        /// A store over another one, which it asks for all that it does not do itself.
        #[async_trait]
        pub(crate) trait Decorator: Send + Sync + 'static {
            /// The other store.
            fn inner(&self) -> &dyn Store;

            $(
                $(fn $now(&self) -> $value {
                    self.inner().$now()
                })*
                $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                    self.inner().$name($($argument),*).await
                })*
            )*
        }

        $(
            // A method that has a body of its own would be forgotten without a word, and not be asked of the other store.
            #[deny(clippy::missing_trait_methods)]
            #[async_trait]
            impl<T: Decorator> $of for T {
                $(fn $now(&self) -> $value {
                    Decorator::$now(self)
                })*
                $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                    Decorator::$name(self $(, $argument)*).await
                })*
            }
        )*
    };
}

decorator! {
    Store {
        fn paging(&self) -> Paging;
        fn wake_ups(&self) -> WakeUps;
        async fn append(&self, append: Append) -> Result<Appended, StoreError>;
        async fn read(&self, read: Read) -> Result<Page, StoreError>;
        async fn read_in_pieces(&self, read: Read, pieces: Pieces) -> Result<Page, StoreError>;
        async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError>;
        async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError>;
        async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError>;
        async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError>;
        async fn put_blobs(&self, session: SessionId, contents: Vec<Vec<u8>>) -> Result<(), StoreError>;
        async fn blob(&self, session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError>;
        async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError>;
        async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError>;
        async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError>;
        async fn feed_head(&self) -> Result<FeedCursor, StoreError>;
        async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError>;
        async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError>;
        async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;
        async fn end_lease(&self, node: NodeId) -> Result<(), StoreError>;
        async fn info(&self) -> Result<StoreInfo, StoreError>;
        async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError>;
        async fn close(&self) -> ();
    }
    Care {
        async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError>;
        async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError>;
        async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError>;
        async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError>;
        async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError>;
        async fn backup(&self, to: &Path) -> Result<Backup, StoreError>;
        async fn keyless(&self, sessions: Vec<SessionId>) -> Result<Vec<SessionId>, StoreError>;
        async fn condition(&self) -> Result<Condition, StoreError>;
        async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError>;
        async fn packable(&self, before: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError>;
        async fn pack(&self, session: SessionId) -> Result<Packed, StoreError>;
        async fn compact(&self) -> Result<Compacted, StoreError>;
    }
    Inbox {
        async fn post(&self, letter: Letter) -> Result<(), StoreError>;
        async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError>;
        async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError>;
        async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError>;
        async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError>;
        async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError>;
    }
    ReadModels {
        async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError>;
        async fn project(&self, projected: Projected) -> Result<(), StoreError>;
        async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError>;
        async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError>;
        async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError>;
        async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError>;
        async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError>;
    }
    SearchIndex {
        async fn indexed(&self) -> Result<FeedCursor, StoreError>;
        async fn index(&self, indexed: Indexed) -> Result<(), StoreError>;
        async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError>;
        async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError>;
    }
}
