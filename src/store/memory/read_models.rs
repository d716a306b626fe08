//! Read models in memory: one critical section per call.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::read_models::{session_key, session_of};
use super::super::{Change, Document, FeedCursor, Projected, ProjectionId, Quarantined, ReadModels, Shard, StoreError};
use super::MemoryStore;
use crate::session::{Seq, SessionId};

/// What one version of a projection has.
#[derive(Debug, Default)]
pub(super) struct Model {
    checkpoint: FeedCursor,
    documents: BTreeMap<(String, Shard), String>,
    quarantined: BTreeMap<(Shard, SessionId), Quarantined>,
}

impl Model {
    /// How far a shard was read.
    pub(super) fn position(&self, shard: Shard) -> u64 {
        self.checkpoint.position(shard)
    }

    /// Says that a shard was read up to there.
    pub(super) fn advance(&mut self, shard: Shard, to: u64) {
        self.checkpoint.advance(shard, to);
    }

    fn held(&self, shard: Shard) -> BTreeMap<SessionId, Seq> {
        let of_shard = self.quarantined.values().filter(|quarantined| quarantined.shard == shard);
        of_shard.map(|quarantined| (quarantined.session, quarantined.seq)).collect()
    }

    /// Forgets what is about one session alone.
    pub(super) fn forget(&mut self, session: SessionId) {
        let about = session_key(session);
        self.documents.retain(|(key, _), _| *key != about);
        self.quarantined.retain(|(_, held), _| *held != session);
    }

    fn project(&mut self, projected: Projected) {
        let shard = projected.shard;
        self.checkpoint.advance(shard, projected.to);
        for write in projected.writes {
            match write.change {
                Change::Put(value) => self.documents.insert((write.key, shard), value),
                Change::Delete => self.documents.remove(&(write.key, shard)),
            };
        }
        for session in projected.release {
            self.quarantined.remove(&(shard, session));
        }
        for quarantined in projected.quarantine {
            self.quarantined.insert((shard, quarantined.session), quarantined);
        }
    }
}

#[async_trait]
impl ReadModels for MemoryStore {
    async fn checkpoint(&self, projection: &ProjectionId) -> Result<FeedCursor, StoreError> {
        Ok(self.state()?.models.get(projection).map(|model| model.checkpoint.clone()).unwrap_or_default())
    }

    async fn project(&self, projected: Projected) -> Result<(), StoreError> {
        projected.validate()?;
        let mut state = self.state()?;
        let (position, held) = match state.models.get(&projected.projection) {
            Some(model) => (model.checkpoint.position(projected.shard), model.held(projected.shard)),
            None => (0, BTreeMap::new()),
        };
        if (position, &held) != (projected.from, &projected.held) {
            return Err(projected.moved());
        }
        let of_sessions = projected.writes.iter().filter_map(|write| Some((session_of(&write.key)?, write.key.clone())));
        let of_sessions: Vec<_> = of_sessions.filter(|(session, _)| state.is_purged(*session)).collect();
        let shard = projected.shard;
        let model = state.models.entry(projected.projection.clone()).or_default();
        model.project(projected);
        // What was read before a purge must not be kept after it.
        for (_, key) in of_sessions {
            model.documents.remove(&(key, shard));
        }
        Ok(())
    }

    async fn document(&self, projection: &ProjectionId, shard: Shard, key: &str) -> Result<Option<String>, StoreError> {
        let state = self.state()?;
        Ok(state.models.get(projection).and_then(|model| model.documents.get(&(key.to_owned(), shard))).cloned())
    }

    async fn documents(&self, projection: &ProjectionId, prefix: &str) -> Result<Vec<Document>, StoreError> {
        let state = self.state()?;
        let all = state.models.get(projection).into_iter().flat_map(|model| &model.documents);
        let found = all.filter(|((key, _), _)| key.starts_with(prefix));
        Ok(found.map(|((key, shard), value)| Document { key: key.clone(), shard: *shard, value: value.clone() }).collect())
    }

    async fn quarantined(&self, projection: &ProjectionId) -> Result<Vec<Quarantined>, StoreError> {
        let state = self.state()?;
        Ok(state.models.get(projection).into_iter().flat_map(|model| model.quarantined.values()).cloned().collect())
    }

    async fn drop_projection(&self, projection: &ProjectionId) -> Result<(), StoreError> {
        self.state()?.models.remove(projection);
        Ok(())
    }

    async fn projections(&self) -> Result<Vec<ProjectionId>, StoreError> {
        Ok(self.state()?.models.keys().cloned().collect())
    }
}
