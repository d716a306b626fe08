//! Search in memory, without any index: each event is looked at. The reference that indexes are held to.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::super::{
    Alike, FeedCursor, Find, Hit, Indexed, Place, ReadModels as _, SearchIndex, StoreError, id_range, search_projection,
};
use super::{MemoryStore, SHARD, State};
use crate::session::searchable::{self, Label};
use crate::session::{Body, Recorded, SessionId};

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
        let mut hits = Vec::new();
        for (pos, event) in state.indexed().into_iter().rev() {
            let place = Place { at: event.at, shard: SHARD, pos };
            let in_time = event.at >= find.since && event.at < find.until;
            let in_order = find.behind.is_none_or(|behind| pos < behind.pos);
            if in_time && in_order && searchable::terms(event).is_some_and(|terms| find.terms.are_met(&terms)) {
                hits.push(Hit { session: event.session, seq: event.seq, place });
            }
            if hits.len() >= usize::try_from(find.limit).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(hits)
    }

    async fn sessions_alike(&self, alike: &Alike) -> Result<Vec<SessionId>, StoreError> {
        let state = self.state()?;
        let rows = state.sessions.values().map(|entry| &entry.row);
        Ok(match alike {
            Alike::Id(prefix) => {
                let (first, last) = id_range(prefix)?;
                let between = |id: &SessionId| (first..=last).contains(id.as_bytes());
                state.sessions.keys().copied().filter(between).collect()
            }
            Alike::Phase(phase) => rows.filter(|row| row.directory.phase == *phase).map(|row| row.id).collect(),
            Alike::Cost(range) => {
                rows.filter(|row| range.contains(&row.directory.cost_micro_usd.unwrap_or(0))).map(|row| row.id).collect()
            }
            Alike::Model(label) => {
                let names = |event: &Recorded| {
                    let terms = searchable::terms(event).unwrap_or_default();
                    searchable::labelled(&terms, Label::Model).any(|named| named.starts_with(label))
                };
                let naming = state.indexed().into_iter().filter(|(_, event)| names(event)).map(|(_, event)| event.session);
                naming.collect::<BTreeSet<_>>().into_iter().collect()
            }
        })
    }
}

impl State {
    /// What the index has read and is still there, each with its position.
    fn indexed(&self) -> Vec<(u64, &Recorded)> {
        let upto = self.models.get(&search_projection()).map_or(0, |model| model.position(SHARD));
        let read = (1..).zip(&self.feed).take(usize::try_from(upto).unwrap_or(usize::MAX));
        let events = read.filter_map(|(pos, (session, seq))| Some((pos, self.event(*session, *seq)?.event()?)));
        events.filter(|(_, event)| event.body != Body::Redacted).collect()
    }
}
