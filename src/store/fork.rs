//! Forks: sessions whose log goes on where that of another one was left. What lies before is never copied; reads cross over to it.

use super::{Base, PURGED, Store, StoreError};
use crate::session::{Digest, Seq, SessionId};

/// How many sessions a fork may lie on, each a fork of the next: more means that the store is damaged.
pub(super) const DEPTH_MAX: usize = 10_000;

/// The session that really holds the event `base.seq` of `base.session`: itself, or one that it was forked from.
///
/// # Errors
/// [`StoreError::Invalid`] when there is no such session, or it was purged.
pub async fn holder(store: &dyn Store, base: Base) -> Result<Base, StoreError> {
    let mut held = base;
    for _ in 0..DEPTH_MAX {
        let row = store.session(held.session).await?.ok_or_else(|| super::no_session(held.session))?;
        match row.base {
            _ if row.directory.phase == PURGED => return Err(purged_base(held)),
            Some(below) if held.seq <= below.seq => held.session = below.session,
            _ => return Ok(held),
        }
    }
    Err(endless(base.session))
}

/// What a fork of a purged session is told.
pub(super) fn purged_base(base: Base) -> StoreError {
    StoreError::Invalid(format!("session {} was purged; nothing can be forked from it any more", base.session))
}

/// What a fork is told whose event is not there, or is another one.
pub(super) fn no_base(base: Base, hash: Digest) -> StoreError {
    let Base { session, seq } = base;
    StoreError::Invalid(format!("session {session} has no event {seq} with the hash {}; nothing was forked", hash.short()))
}

/// Why the events of a session must stay.
pub(super) fn has_fork(session: SessionId, fork: SessionId) -> StoreError {
    StoreError::Invalid(format!("session {session} is read by its fork {fork}; purge that first"))
}

/// A fork that lies on itself.
pub(super) fn endless(session: SessionId) -> StoreError {
    StoreError::Damaged { session, seq: Seq::ZERO, what: "it is said to be forked from itself".to_owned() }
}
