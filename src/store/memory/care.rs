//! The care of a log in memory.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;

use super::{Entry, MemoryStore, unborn};
use crate::session::{Epoch, Seq, SessionId, Timestamp};
use crate::store::care::{Adoption, Backup, Care, Keeping};
use crate::store::chain::Verifier;
use crate::store::fork::has_fork;
use crate::store::{
    Compacted, Condition, ENDED, FeedFlaw, PURGED, Packed, Row, SessionRow, Store, StoreError, no_event, no_session, not_ended,
};

#[async_trait]
impl Care for MemoryStore {
    async fn adopt(&self, adoptions: Vec<Adoption>) -> Result<(), StoreError> {
        for Adoption { session, base, rows } in adoptions {
            let mut guard = self.state()?;
            let state = &mut *guard;
            let begun = match (state.sessions.get(&session), base) {
                (Some(entry), _) => entry.row.clone(),
                (None, None) => unborn(session),
                (None, Some(base)) => match state.event(base.session, base.seq) {
                    Some(Row::Event { hash, .. }) => {
                        SessionRow { head: base.seq, hash: *hash, base: Some(base), ..unborn(session) }
                    }
                    _ => return Err(no_event(base.session, base.seq)),
                },
            };
            let (head, hash) = (begun.head, begun.hash);
            let (here, new): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.seq() <= head);
            if let Some(Row::Event { event, hash: theirs, .. }) = here.last()
                && !matches!(state.event(session, event.seq), Some(Row::Event { hash, .. }) if hash == theirs)
            {
                return Err(StoreError::Conflict { session, head });
            }
            let mut verifier = Verifier::from_anchor(session, head, hash);
            for row in &new {
                verifier.check(row).map_err(|flaw| flaw.of_session(session))?;
            }

            // From here on nothing can fail.
            if new.is_empty() {
                continue;
            }
            let entry = state.sessions.entry(session).or_insert_with(|| Entry { row: begun, events: Vec::new() });
            for row in new {
                if let Row::Event { event, hash, .. } = &row {
                    if entry.events.is_empty() {
                        entry.row.created_at = event.at;
                    }
                    entry.row.updated_at = event.at;
                    entry.row.head = event.seq;
                    entry.row.hash = *hash;
                    state.ids.insert(event.id, (session, event.seq));
                    state.feed.push((session, event.seq));
                }
                entry.events.push(row);
            }
        }
        Ok(())
    }

    async fn settle(&self, row: &SessionRow, keeping: &Keeping) -> Result<(), StoreError> {
        let mut guard = self.state()?;
        let state = &mut *guard;
        match state.sessions.get_mut(&row.id) {
            Some(entry) if (entry.row.head, entry.row.hash) == (row.head, row.hash) => entry.row = row.clone(),
            None if keeping.purged_at.is_some() => {
                state.sessions.insert(row.id, Entry { row: row.clone(), events: Vec::new() });
            }
            other => {
                let head = other.map_or(Seq::ZERO, |entry| entry.row.head);
                return Err(StoreError::Conflict { session: row.id, head });
            }
        }
        state.keepings.insert(row.id, keeping.clone());
        Ok(())
    }

    async fn keeping(&self, session: SessionId) -> Result<Option<Keeping>, StoreError> {
        let state = self.state()?;
        let nothing = Keeping { hold: None, purged_at: None };
        Ok(state.sessions.contains_key(&session).then(|| state.keepings.get(&session).cloned().unwrap_or(nothing)))
    }

    async fn hold(&self, session: SessionId, reason: Option<&str>) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if !state.sessions.contains_key(&session) {
            return Err(no_session(session));
        }
        let keeping = state.keepings.entry(session).or_insert(Keeping { hold: None, purged_at: None });
        keeping.hold = reason.map(str::to_owned);
        Ok(())
    }

    async fn purge(&self, session: SessionId, at: Timestamp) -> Result<(), StoreError> {
        let mut guard = self.state()?;
        let state = &mut *guard;
        let reads =
            |entry: &&Entry| entry.row.base.is_some_and(|base| base.session == session) && entry.row.directory.phase != PURGED;
        if let Some(fork) = state.sessions.values().find(reads) {
            return Err(has_fork(session, fork.row.id));
        }
        let entry = state.sessions.get_mut(&session).ok_or_else(|| no_session(session))?;
        let keeping = state.keepings.entry(session).or_insert(Keeping { hold: None, purged_at: None });
        if let Some(reason) = &keeping.hold {
            return Err(StoreError::Invalid(format!("session {session} is held ({reason}); release it first")));
        }
        if entry.row.directory.due {
            return Err(StoreError::Invalid(format!("session {session} has something left to do; close it first")));
        }
        keeping.purged_at.get_or_insert(at);
        entry.events.clear();
        entry.row.epoch = Epoch(entry.row.epoch.0 + 1);
        entry.row.directory.phase = PURGED.to_owned();
        entry.row.directory.title = None;
        state.ids.retain(|_, (of, _)| *of != session);
        state.snapshots.retain(|(of, ..), _| *of != session);
        state.kept.retain(|(of, _)| *of != session);
        let kept: BTreeSet<_> = state.kept.iter().map(|(_, digest)| *digest).collect();
        state.blobs.retain(|digest, _| kept.contains(digest));
        state.models.values_mut().for_each(|model| model.forget(session));
        Ok(())
    }

    async fn backup(&self, _to: &Path) -> Result<Backup, StoreError> {
        Ok(Backup::ByCopy)
    }

    async fn keyless(&self, _sessions: Vec<SessionId>) -> Result<Vec<SessionId>, StoreError> {
        Ok(Vec::new())
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.state().map(|_| Condition::Memory)
    }

    async fn feed_flaws(&self) -> Result<Vec<FeedFlaw>, StoreError> {
        // A position is a place in a list: there is none without something in it.
        self.state().map(|_| Vec::new())
    }

    async fn packable(&self, _before: Timestamp, _limit: u32) -> Result<Vec<SessionId>, StoreError> {
        Ok(Vec::new())
    }

    async fn pack(&self, session: SessionId) -> Result<Packed, StoreError> {
        match self.state()?.sessions.get(&session) {
            Some(entry) if ENDED.contains(&entry.row.directory.phase.as_str()) => Ok(Packed::default()),
            Some(_) => Err(not_ended(session)),
            None => Err(no_session(session)),
        }
    }

    async fn compact(&self) -> Result<Compacted, StoreError> {
        let bytes = self.info().await?.bytes;
        Ok(Compacted { before: bytes, after: bytes })
    }
}
