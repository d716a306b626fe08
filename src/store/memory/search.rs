//! Search in memory, without any index: each event is looked at. The reference that indexes are held to.

use async_trait::async_trait;

use super::super::{FeedCursor, Find, Hit, Indexed, Place, ReadModels as _, Row, SearchIndex, StoreError, search_projection};
use super::{MemoryStore, SHARD};
use crate::session::{Body, searchable};

#[async_trait]
impl SearchIndex for MemoryStore {
    async fn indexed(&self) -> Result<FeedCursor, StoreError> {
        self.checkpoint(&search_projection()).await
    }

    async fn index(&self, indexed: Indexed) -> Result<(), StoreError> {
        indexed.validate()?;
        let mut state = self.state()?;
        let model = state.models.entry(search_projection()).or_default();
        if model.position(indexed.shard) != indexed.from {
            return Err(indexed.moved());
        }
        model.advance(indexed.shard, indexed.to);
        Ok(())
    }

    async fn find(&self, find: Find) -> Result<Vec<Hit>, StoreError> {
        let state = self.state()?;
        let upto = state.models.get(&search_projection()).map_or(0, |model| model.position(SHARD));
        let mut hits = Vec::new();
        for (pos, (session, seq)) in
            (1..).zip(&state.feed).take(usize::try_from(upto).unwrap_or(usize::MAX)).collect::<Vec<_>>().into_iter().rev()
        {
            let Some(Row::Event { event, .. }) = state.event(*session, *seq) else { continue };
            let place = Place { at: event.at, shard: SHARD, pos };
            let in_time = event.at >= find.since && event.at < find.until;
            let in_order = find.behind.is_none_or(|behind| pos < behind.pos);
            let readable = in_time && in_order && event.body != Body::Redacted;
            if readable && searchable::terms(event).is_some_and(|terms| find.terms.are_met(&terms)) {
                hits.push(Hit { session: *session, seq: *seq, place });
            }
            if hits.len() >= usize::try_from(find.limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(hits)
    }
}
