//! Projections that follow the feed by themselves: each at its own pace, from its own checkpoint, none in the way of an append.
//!
//! Documents and checkpoint move in one transaction, by compare-and-set, so that each event counts once: after a crash, after an
//! answer that was lost, and with two runners at once. A session whose events cannot be folded goes into quarantine; the others
//! go on. A new version is built beside the one that is read, which goes when it is told to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fold::{Batch, Known};
use crate::session::{Recorded, Seq, SessionId};
use crate::store::{
    Change, DocumentWrite, FeedCursor, FeedPage, Projected, ProjectionId, Read, ReadModels, Row, Shard, SharedStore, StoreError,
};

pub use super::fold::Documents;

/// How many places of the feed are folded in one transaction.
const PAGE: u32 = 512;
/// The document that says that a version has caught up once. Keys that begin with `!` are not for projections.
const CAUGHT_UP: &str = "!caught-up";

/// A view of all sessions that follows the feed.
///
/// Events of one session come in order, those of different sessions in any. A session that was in quarantine comes late, hence
/// what sessions have in common must not depend on their order: sums do not.
pub trait FeedProjection: Send + Sync + 'static {
    /// What one document holds.
    type Document: Clone + Serialize + DeserializeOwned + Send + Sync;

    /// Its name and version; the version is raised whenever `keys` or `fold` change what they do.
    fn id(&self) -> ProjectionId;

    /// The documents that an event may change. Each shard has its own of each key; readers put them together.
    fn keys(&self, event: &Recorded) -> Vec<String>;

    /// Folds one event into those documents.
    ///
    /// # Errors
    /// Why it cannot be folded. Its session is quarantined there, and none of what this call did to the documents stands.
    fn fold(&self, event: &Recorded, documents: &mut Documents<Self::Document>) -> Result<(), String>;
}

/// Runs one projection. Any number of runners of one projection may run at once, in any processes.
pub struct CatchUp<P: FeedProjection> {
    store: SharedStore,
    projection: P,
    id: ProjectionId,
    page: u32,
    /// `None` until it is read, and whenever it may not be true any more: a step that is given up leaves it so.
    state: Option<State<P::Document>>,
    marked: bool,
}

/// What a runner knows of its projection.
struct State<D> {
    cursor: FeedCursor,
    held: BTreeMap<(Shard, SessionId), Seq>,
    known: Known<D>,
}

impl<D> State<D> {
    /// The sessions of a shard that are in quarantine.
    fn held_in(&self, shard: Shard) -> BTreeMap<SessionId, Seq> {
        let of_shard = self.held.iter().filter(|((of, _), _)| *of == shard);
        of_shard.map(|((_, session), seq)| (*session, *seq)).collect()
    }
}

/// One place of a page.
enum Place {
    Event(Box<Recorded>),
    Damaged { session: Option<SessionId>, seq: Seq, what: String },
}

impl<P: FeedProjection> CatchUp<P> {
    /// A runner of `projection` on `store`.
    pub fn new(store: SharedStore, projection: P) -> Self {
        let id = projection.id();
        Self { store, projection, id, page: PAGE, state: None, marked: false }
    }

    /// Folds at most `page` places of the feed in one transaction.
    #[must_use]
    pub fn with_page(mut self, page: u32) -> Self {
        self.page = page.max(1);
        self
    }

    /// The projection that it runs.
    pub const fn id(&self) -> &ProjectionId {
        &self.id
    }

    /// Folds everything that is in the feed at this moment, and says up to where that was.
    ///
    /// # Errors
    /// When the store fails; nothing is counted twice when it is called again. The same when its future is dropped.
    pub async fn run_once(&mut self) -> Result<FeedCursor, StoreError> {
        let head = self.store.feed_head().await?;
        loop {
            let mut state = match self.state.take() {
                Some(state) => state,
                None => self.load().await?,
            };
            if state.cursor.covers(&head) {
                self.state = Some(state);
                self.mark().await?;
                return Ok(head);
            }
            match self.step(&mut state, &head).await {
                Ok(()) => self.state = Some(state),
                // Another runner was first: what it did is done.
                Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Folds what there is and whatever comes; ends only with an error, after which it can be called again.
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once).
    pub async fn follow(&mut self) -> Result<std::convert::Infallible, StoreError> {
        let mut wake_ups = self.store.wake_ups();
        loop {
            self.run_once().await?;
            wake_ups.rung().await;
        }
    }

    /// Catches up until everything up to `cursor` is in the documents: a reader that comes after sees its own writes.
    ///
    /// # Errors
    /// As [`run_once`](Self::run_once), and [`StoreError::Ahead`] when the feed does not reach `cursor`.
    pub async fn wait_for(&mut self, cursor: &FeedCursor) -> Result<(), StoreError> {
        // Fails for a place that the feed does not reach.
        self.store.feed(cursor.clone(), 1).await?;
        while !self.store.checkpoint(&self.id).await?.covers(cursor) {
            self.run_once().await?;
        }
        Ok(())
    }

    /// Reads the documents of all shards whose keys begin with `prefix`.
    ///
    /// # Errors
    /// When the store fails, or holds a document that this version cannot read.
    pub async fn documents(&self, prefix: &str) -> Result<Vec<(String, P::Document)>, StoreError> {
        documents(self.store.as_ref(), &self.id, prefix).await
    }

    /// Takes a session out of quarantine and folds the events that it has missed. Says whether it could: otherwise the session
    /// stays in quarantine, at the event that could not be folded now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&mut self, session: SessionId) -> Result<bool, StoreError> {
        loop {
            self.run_once().await?;
            self.state = None;
            let state = self.load().await?;
            let Some((shard, seq)) = state.held.iter().find(|((_, held), _)| *held == session).map(|((of, _), seq)| (*of, *seq))
            else {
                return Ok(true);
            };
            let upto = self.folded_upto(&state, session).await?;
            let mut batch = Batch::new(shard);
            let missed = Missed { session, from: seq, upto };
            self.refold(&state, &mut batch, missed).await?;
            let released = batch.quarantined.is_empty();
            let position = state.cursor.position(shard);
            let mut projected = self.projected(&state, &batch, position)?;
            projected.release = released.then_some(session).into_iter().collect();
            match self.store.project(projected).await {
                Ok(()) => return Ok(released),
                Err(StoreError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn load(&self) -> Result<State<P::Document>, StoreError> {
        let cursor = self.store.checkpoint(&self.id).await?;
        let quarantined = self.store.quarantined(&self.id).await?;
        let held = quarantined.into_iter().map(|held| ((held.shard, held.session), held.seq)).collect();
        Ok(State { cursor, held, known: Known::default() })
    }

    /// Folds one page, one transaction per shard.
    async fn step(&self, state: &mut State<P::Document>, head: &FeedCursor) -> Result<(), StoreError> {
        let FeedPage { rows, mut next, damaged } = self.store.feed(state.cursor.clone(), self.page).await?;
        if next == state.cursor {
            // The head was there before the page was read, so what lies between was purged.
            next = head.clone();
        }
        let mut shards: BTreeMap<Shard, BTreeMap<u64, Place>> = BTreeMap::new();
        for row in rows {
            if let Row::Event { event, .. } = row.row {
                shards.entry(row.shard).or_default().insert(row.pos, Place::Event(Box::new(event)));
            }
        }
        for damage in damaged {
            let event = damage.event;
            let place = Place::Damaged { session: event.session, seq: event.seq, what: event.what };
            shards.entry(damage.shard).or_default().insert(damage.pos, place);
        }
        let further: Vec<_> = next.positions().filter(|(shard, position)| *position > state.cursor.position(*shard)).collect();
        for (shard, position) in further {
            let mut batch = Batch::new(shard);
            for place in shards.remove(&shard).unwrap_or_default().into_values() {
                self.fold(state, &mut batch, place).await?;
            }
            let projected = self.projected(state, &batch, position)?;
            self.store.project(projected).await?;
            state.cursor.advance(shard, position);
            state.held.extend(batch.quarantined.iter().map(|(session, held)| ((shard, *session), held.seq)));
            state.known.keep(batch);
        }
        Ok(())
    }

    async fn fold(&self, state: &State<P::Document>, batch: &mut Batch<P::Document>, place: Place) -> Result<(), StoreError> {
        match place {
            Place::Event(event) if !state.held.contains_key(&(batch.shard, event.session)) => {
                self.fold_event(state, batch, &event).await
            }
            Place::Damaged { session: Some(session), seq, what } if !state.held.contains_key(&(batch.shard, session)) => {
                batch.quarantine(session, seq, what);
                Ok(())
            }
            Place::Damaged { session: None, what, .. } => {
                tracing::warn!(projection = %self.id, what, "an event of nobody knows which session is passed over");
                Ok(())
            }
            Place::Event(_) | Place::Damaged { .. } => Ok(()),
        }
    }

    async fn fold_event(
        &self,
        state: &State<P::Document>,
        batch: &mut Batch<P::Document>,
        event: &Recorded,
    ) -> Result<(), StoreError> {
        if batch.quarantined.contains_key(&event.session) {
            return Ok(());
        }
        let mut documents = Documents::default();
        for key in self.projection.keys(event) {
            let now = match batch.get(&key).or_else(|| state.known.get(batch.shard, &key)) {
                Some(document) => document.clone(),
                None => match read(self.store.as_ref(), &self.id, batch.shard, &key).await? {
                    Ok(document) => document,
                    Err(what) => {
                        batch.quarantine(event.session, event.seq, what);
                        return Ok(());
                    }
                },
            };
            batch.read(&key, &now);
            documents.give(key, now);
        }
        match self.projection.fold(event, &mut documents).and_then(|()| documents.changes()) {
            Ok(changes) => batch.change(changes),
            Err(what) => batch.quarantine(event.session, event.seq, what),
        }
        Ok(())
    }

    fn projected(&self, state: &State<P::Document>, batch: &Batch<P::Document>, to: u64) -> Result<Projected, StoreError> {
        let shard = batch.shard;
        let mut writes = Vec::new();
        for (key, document) in &batch.changed {
            let change = match document {
                None => Change::Delete,
                Some(document) => {
                    Change::Put(serde_json::to_string(document).map_err(|error| unreadable(&self.id, key, &error))?)
                }
            };
            writes.push(DocumentWrite { key: key.clone(), change });
        }
        Ok(Projected {
            projection: self.id.clone(),
            shard,
            from: state.cursor.position(shard),
            to,
            held: state.held_in(shard),
            writes,
            quarantine: batch.quarantined.values().cloned().collect(),
            release: Vec::new(),
        })
    }

    /// The last event of a session that the checkpoint has passed.
    async fn folded_upto(&self, state: &State<P::Document>, session: SessionId) -> Result<Seq, StoreError> {
        // Read before the feed is: what comes later than both is behind the checkpoint too.
        let head = self.store.session(session).await?.map_or(Seq::ZERO, |row| row.head);
        let mut cursor = state.cursor.clone();
        loop {
            let page = self.store.feed(cursor.clone(), self.page).await?;
            let of_session = page.rows.iter().filter_map(|row| row.event()).filter(|event| event.session == session);
            let damaged = page.damaged.iter().filter(|damage| damage.event.session == Some(session));
            if let Some(first) = of_session.map(|event| event.seq).chain(damaged.map(|damage| damage.event.seq)).min() {
                return Ok(Seq(first.0.saturating_sub(1)));
            }
            if page.next == cursor {
                return Ok(head);
            }
            cursor = page.next;
        }
    }

    /// Folds the events of one session that were passed over.
    async fn refold(&self, state: &State<P::Document>, batch: &mut Batch<P::Document>, missed: Missed) -> Result<(), StoreError> {
        let Missed { session, from, upto } = missed;
        let mut after = Seq(from.0.saturating_sub(1));
        while after < upto && batch.quarantined.is_empty() {
            let page = self.store.read(Read { upto, limit: self.page, ..Read::forward(session, after) }).await?;
            let Some(last) = page.rows.last().map(Row::seq) else { break };
            for row in page.rows {
                match row {
                    Row::Event { event, .. } => self.fold_event(state, batch, &event).await?,
                    Row::Damaged { seq, what } => batch.quarantine(session, seq, what),
                }
            }
            after = last;
        }
        Ok(())
    }

    /// Says, once, that this version has caught up, so that it is read from now on.
    async fn mark(&mut self) -> Result<(), StoreError> {
        const SHARD: Shard = 0;
        if self.marked || self.store.document(&self.id, SHARD, CAUGHT_UP).await?.is_some() {
            self.marked = true;
            return Ok(());
        }
        let Some(state) = &self.state else { return Ok(()) };
        let write = DocumentWrite { key: CAUGHT_UP.to_owned(), change: Change::Put("true".to_owned()) };
        let here = self.projected(state, &Batch::new(SHARD), state.cursor.position(SHARD))?;
        match self.store.project(Projected { writes: vec![write], ..here }).await {
            Ok(()) => self.marked = true,
            // The other runner marks it, or this one does the next time.
            Err(StoreError::Moved { .. }) => self.state = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// What a quarantined session has missed.
struct Missed {
    session: SessionId,
    from: Seq,
    upto: Seq,
}

/// Reads one document; the inner error says why it is none that this version can read.
async fn read<D: DeserializeOwned>(
    store: &(impl ReadModels + ?Sized),
    id: &ProjectionId,
    shard: Shard,
    key: &str,
) -> Result<Result<Option<D>, String>, StoreError> {
    let Some(text) = store.document(id, shard, key).await? else { return Ok(Ok(None)) };
    Ok(serde_json::from_str(&text).map(Some).map_err(|error| format!("document {key:?} cannot be read: {error}")))
}

/// Reads the documents of all shards whose keys begin with `prefix`, by key.
///
/// # Errors
/// When the store fails, or holds a document of another form.
pub async fn documents<D: DeserializeOwned>(
    store: &(impl ReadModels + ?Sized),
    id: &ProjectionId,
    prefix: &str,
) -> Result<Vec<(String, D)>, StoreError> {
    let found = store.documents(id, prefix).await?.into_iter().filter(|document| !document.key.starts_with('!'));
    found
        .map(|document| {
            let value = serde_json::from_str(&document.value).map_err(|error| unreadable(id, &document.key, &error))?;
            Ok((document.key, value))
        })
        .collect()
}

fn unreadable(id: &ProjectionId, key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Invalid(format!(
        "document {key:?} of the projection {id} is not what it should be: {error}; drop it to build it anew"
    ))
}

/// The newest version of a projection that has caught up once: the one to read.
///
/// # Errors
/// When the store fails.
pub async fn serving(store: &(impl ReadModels + ?Sized), name: &str) -> Result<Option<ProjectionId>, StoreError> {
    let mut versions = store.projections().await?;
    versions.retain(|id| id.name == name);
    versions.sort_unstable();
    for id in versions.into_iter().rev() {
        if store.document(&id, 0, CAUGHT_UP).await?.is_some() {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
