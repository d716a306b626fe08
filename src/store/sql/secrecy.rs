//! What an encrypted store hides beside bodies: titles and states; and that a session has its key before it has its first event.

use sqlx::Executor;

use super::SqlStore;
use crate::session::{Digest, SessionId};
use crate::store::cipher::What;
use crate::store::dialect::Dialect;
use crate::store::{Directory, PURGED, SessionRow, Snapshot, StoreError, purged};

impl<D: Dialect> SqlStore<D>
where
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
{
    /// Makes the key of a session of which nothing is there yet. One that is there has its key, or is never written to again.
    pub(super) async fn has_key(&self, session: SessionId) -> Result<(), StoreError> {
        let secrecy = self.dialect.secrecy();
        if secrecy.is_at_hand(session) {
            return Ok(());
        }
        let Err(lost) = secrecy.key(session) else { return Ok(()) };
        match self.dialect.session(session).await? {
            Some(row) if row.directory.phase == PURGED => Err(purged(session)),
            // Whoever began it meanwhile has made its key before.
            Some(_) => secrecy.key(session).map(drop).map_err(|_| lost),
            None => {
                let secrecy = secrecy.clone();
                // It waits for the disk.
                let task = tokio::task::spawn_blocking(move || secrecy.make_key(session));
                task.await.map_err(|error| StoreError::Unavailable(error.into()))?
            }
        }
    }

    /// Hides the title of a session that is to be written.
    pub(super) fn hide_title(&self, session: SessionId, directory: Option<&mut Directory>) -> Result<(), StoreError> {
        if let Some(title) = directory.and_then(|directory| directory.title.as_mut()) {
            *title = self.dialect.secrecy().hidden_title(session, std::mem::take(title))?;
        }
        Ok(())
    }

    /// A row with its title as it was.
    pub(super) fn with_title(&self, mut row: SessionRow) -> SessionRow {
        let title = row.directory.title.take();
        row.directory.title = title.and_then(|title| self.dialect.secrecy().shown_title(row.id, title));
        row
    }

    /// A state as it is to lie in the database.
    pub(super) fn hidden(&self, snapshot: Snapshot) -> Result<Snapshot, StoreError> {
        let Some(key) = self.dialect.secrecy().key(snapshot.session)? else { return Ok(snapshot) };
        let what = What::Snapshot(snapshot.seq, &snapshot.reducer);
        let bytes = key.seal(what, &snapshot.bytes).map_err(StoreError::Invalid)?;
        Ok(Snapshot { digest: Digest::of(&bytes), bytes, ..snapshot })
    }

    /// The state as it was; `None` when it cannot be read.
    pub(super) fn shown(&self, snapshot: Snapshot) -> Option<Snapshot> {
        let Some(key) = self.dialect.secrecy().key(snapshot.session).ok()? else { return Some(snapshot) };
        let bytes = key.open(What::Snapshot(snapshot.seq, &snapshot.reducer), &snapshot.bytes).ok()?;
        Some(Snapshot { digest: Digest::of(&bytes), bytes, ..snapshot })
    }
}
