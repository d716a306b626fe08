//! The connection that was read through last, for whoever reads next: the pool asks the server about each one that comes back, which
//! takes as long as a short read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use tokio::time::Instant;

use super::servers::TRUSTED;

/// At most one connection of the pool.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Option<(PoolConnection<Postgres>, Instant)>>);

impl Kept {
    /// The connection, if it is still believed to be one; else it goes back to the pool, which asks.
    pub(super) fn take(&self) -> Option<PoolConnection<Postgres>> {
        let (connection, since) = self.slot().take()?;
        (since.elapsed() < TRUSTED).then_some(connection)
    }

    /// Keeps a connection with nothing under way in it; the one that was kept goes back to the pool.
    pub(super) fn put(&self, connection: PoolConnection<Postgres>, pool: &PgPool) {
        let mut slot = self.slot();
        // One that is closing waits for all of its connections.
        if !pool.is_closed() {
            *slot = Some((connection, Instant::now()));
        }
    }

    /// Gives back what is kept.
    pub(super) fn let_go(&self) {
        self.slot().take();
    }

    fn slot(&self) -> MutexGuard<'_, Option<(PoolConnection<Postgres>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((connection, _)) = self.slot().take() {
            // To go back to the pool it would need a runtime, and there may be none any more.
            drop(connection.detach());
        }
    }
}
