//! The log in memory: the readable reference of what a [`Store`] promises, and the store of tests and throw-away runs.
//!
//! Everything is under one lock and every call is one critical section, so that the contract can be read off line by line.

mod care;
mod read_models;
mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::time::Instant;
use uuid::Uuid;

use super::append::{self, Ownership};
use super::chain::Envelope;
use super::cursor::StoreMark;
use super::inbox::is_answer;
use super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::title::is_told_by;
use super::{
    Append, Appended, Base, Directory, Expected, FeedCursor, FeedPage, FeedRow, Inbox, Keeping, Letter, NodeRow, Order, Page,
    ProjectionId, Read, Row, SessionFilter, SessionRow, Shard, Snapshot, Store, StoreError, StoreInfo, WakeUps, fork, id_range,
};
use crate::session::{Body, Digest, Epoch, EventId, NodeId, Recorded, Seq, SessionId, SessionName, Timestamp};

/// The only shard.
const SHARD: Shard = 0;
/// Commits that a slow listener may be behind before its rings merge into one.
const RINGS_MAX: usize = 1024;
/// How often a listener looks by itself. Nobody else writes here, so this only bounds how long a waiter sleeps.
const POLL: Duration = Duration::from_millis(200);

/// A log that is gone with its process.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    commits: broadcast::Sender<SessionId>,
    mark: StoreMark,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    sessions: BTreeMap<SessionId, Entry>,
    feed: Vec<(SessionId, Seq)>,
    ids: HashMap<EventId, (SessionId, Seq)>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Which session was given which content.
    kept: BTreeSet<(SessionId, Digest)>,
    snapshots: BTreeMap<(SessionId, String, Seq), Snapshot>,
    nodes: BTreeMap<NodeId, (String, Instant)>,
    models: BTreeMap<ProjectionId, read_models::Model>,
    keepings: HashMap<SessionId, Keeping>,
    /// In the order in which they were sent.
    letters: Vec<(Letter, Stage)>,
}

/// How far a letter has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Sent,
    Begun,
    Answered(String),
}

#[derive(Debug)]
struct Entry {
    row: SessionRow,
    /// Its own events: that of seq n is at n - 1, in a fork so many less as it shares with others.
    events: Vec<Row>,
}

impl Entry {
    /// How many events it shares with the sessions that it lies on.
    fn shared(&self) -> Seq {
        self.row.base.map_or(Seq::ZERO, |base| base.seq)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { state: Mutex::default(), commits: broadcast::channel(RINGS_MAX).0, mark: StoreMark::of(Uuid::new_v4().as_bytes()) }
    }
}

impl MemoryStore {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        // A panic cannot leave the state half-changed: it only changes after everything that can fail.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(super::closed()) } else { Ok(state) }
    }
}

impl State {
    fn letter(&mut self, node: NodeId, id: Uuid) -> Option<&mut Stage> {
        self.letters.iter_mut().find(|(letter, _)| letter.to == node && letter.id == id).map(|(_, stage)| stage)
    }

    fn is_purged(&self, session: SessionId) -> bool {
        self.keepings.get(&session).is_some_and(|keeping| keeping.purged_at.is_some())
    }

    fn event(&self, session: SessionId, seq: Seq) -> Option<&Row> {
        let entry = self.sessions.get(&session)?;
        let index = usize::try_from(seq.0.checked_sub(entry.shared().next().0)?).ok()?;
        entry.events.get(index)
    }

    /// A session and those that it lies on, each with the last event of it that counts.
    fn lineage(&self, session: SessionId) -> Vec<(&Entry, Seq)> {
        let mut lineage = Vec::new();
        let mut next = Some(Base { session, seq: Seq(u64::MAX) });
        while let Some(Base { session, seq }) = next
            && let Some(entry) = self.sessions.get(&session)
            && lineage.len() < fork::DEPTH_MAX
        {
            lineage.push((entry, seq));
            // A purged one reads nothing any more.
            next = entry.row.base.filter(|_| !self.is_purged(session));
        }
        lineage
    }

    /// Where a fork begins: the base, in the session that really holds it.
    fn base(&self, base: Base, hash: Digest) -> Result<Base, StoreError> {
        let held = self.lineage(base.session).into_iter().find(|(entry, _)| entry.shared() < base.seq);
        let session = held.map(|(entry, _)| entry.row.id).ok_or_else(|| super::no_session(base.session))?;
        let base = Base { session, ..base };
        match self.event(session, base.seq) {
            _ if self.is_purged(session) => Err(fork::purged_base(base)),
            Some(Row::Event { hash: found, .. }) if *found == hash => Ok(base),
            _ => Err(fork::no_base(base, hash)),
        }
    }

    fn head(&self) -> FeedCursor {
        let mut head = FeedCursor::default();
        head.advance(SHARD, self.feed.len() as u64);
        head
    }

    fn by_id(&self, id: EventId) -> Option<(Recorded, Digest)> {
        let (session, seq) = self.ids.get(&id)?;
        match self.event(*session, *seq)? {
            Row::Event { event, hash, .. } => Some((event.clone(), *hash)),
            Row::Damaged { .. } => None,
        }
    }

    fn append(&mut self, append: Append) -> Result<Appended, StoreError> {
        if let Some(answer) = append::repeated(&append, |id| Ok::<_, StoreError>(self.by_id(id)))? {
            return Ok(answer);
        }
        if self.is_purged(append.session) {
            return Err(super::purged(append.session));
        }
        let row = match (self.sessions.get(&append.session), append.expected) {
            (Some(entry), Expected::Fork { .. }) => {
                return Err(StoreError::Conflict { session: append.session, head: entry.row.head });
            }
            (Some(entry), _) => entry.row.clone(),
            (None, Expected::Fork { base, hash }) => {
                let base = Some(self.base(base, hash)?);
                SessionRow { head: base.map_or(Seq::ZERO, |base| base.seq), hash, base, ..unborn(append.session) }
            }
            (None, _) => unborn(append.session),
        };
        let ownership = match append.expected {
            Expected::Fork { .. } => Ownership::Stays,
            _ => append.admit(row.head, row.epoch)?,
        };
        let seals = append::seal(&append.events)?;

        // From here on nothing can fail.
        let session = append.session;
        let entry = self.sessions.entry(session).or_insert_with(|| Entry { row, events: Vec::new() });
        let first = entry.row.head.next();
        for (new, seal) in append.events.into_iter().zip(seals) {
            let seq = entry.row.head.next();
            let hash = Envelope::of_new(session, seq, &new).hash(&entry.row.hash, &seal.digest);
            if entry.events.is_empty() {
                entry.row.created_at = new.at;
            }
            entry.row.updated_at = new.at;
            entry.row.head = seq;
            entry.row.hash = hash;
            self.ids.insert(new.id, (session, seq));
            self.feed.push((session, seq));
            let event = new.recorded(session, seq);
            entry.events.push(Row::Event { event, salt: Some(seal.salt), digest: None, hash });
        }
        if let Ownership::Passes { epoch, node } = ownership {
            entry.row.epoch = epoch;
            entry.row.owner = Some(node);
        }
        if let Some(directory) = append.directory {
            entry.row.directory = directory;
        }
        Ok(Appended { first, last: entry.row.head, hash: entry.row.hash, repeated: false })
    }

    fn matching(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        let range = match filter {
            SessionFilter::IdPrefix(prefix) => Some(id_range(prefix)?),
            _ => None,
        };
        let matches = |row: &SessionRow| match filter {
            SessionFilter::All => true,
            SessionFilter::Due => row.directory.due,
            SessionFilter::IdPrefix(_) => range.is_some_and(|(low, high)| (low..=high).contains(row.id.as_bytes())),
        };
        let mut rows: Vec<_> = self.sessions.values().map(|entry| &entry.row).filter(|row| matches(row)).cloned().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.updated_at, row.id)));
        Ok(rows)
    }
}

/// What a session is before its first event.
fn unborn(id: SessionId) -> SessionRow {
    SessionRow {
        id,
        name: None,
        head: Seq::ZERO,
        hash: Digest::ZERO,
        epoch: Epoch(0),
        owner: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        directory: Directory::default(),
        base: None,
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, append: Append) -> Result<Appended, StoreError> {
        append.validate()?;
        let session = append.session;
        let appended = self.state()?.append(append)?;
        // Nobody may be listening.
        let _ = self.commits.send(session);
        Ok(appended)
    }

    async fn read(&self, read: Read) -> Result<Page, StoreError> {
        let state = self.state()?;
        let lineage = state.lineage(read.session);
        let wanted = |row: &&Row| row.seq() > read.after && row.seq() <= read.upto;
        let limit = usize::try_from(read.limit.min(PAGE_ROWS_MAX)).unwrap_or(usize::MAX);
        let newest_first = lineage.iter().flat_map(|(entry, upto)| entry.events.iter().rev().filter(|row| row.seq() <= *upto));
        let oldest_first = lineage.iter().rev().flat_map(|(entry, upto)| entry.events.iter().filter(|row| row.seq() <= *upto));
        let in_order: Box<dyn Iterator<Item = &Row> + Send> = match read.order {
            Order::OldestFirst => Box::new(oldest_first.filter(wanted)),
            Order::NewestFirst => Box::new(newest_first.filter(wanted)),
        };
        let mut page = Page::default();
        let mut bytes = 0;
        for row in in_order {
            if page.rows.len() == limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += row.body_bytes();
            page.rows.push(row.clone());
        }
        Ok(page)
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.state()?.sessions.get(&id).map(|entry| entry.row.clone()))
    }

    async fn sessions(&self, filter: SessionFilter, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        let mut rows = self.state()?.matching(&filter)?;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(rows)
    }

    async fn name(&self, id: SessionId, name: &SessionName) -> Result<(), StoreError> {
        super::is_name_of(name, id)?;
        let mut state = self.state()?;
        let entry = state.sessions.get_mut(&id).ok_or_else(|| super::no_session(id))?;
        entry.row.name = Some(name.clone());
        Ok(())
    }

    async fn put_blob(&self, session: SessionId, bytes: Vec<u8>) -> Result<Digest, StoreError> {
        let digest = Digest::of(&bytes);
        let mut state = self.state()?;
        state.blobs.entry(digest).or_insert(bytes);
        state.kept.insert((session, digest));
        Ok(digest)
    }

    async fn blob(&self, _session: SessionId, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state()?.blobs.get(&digest).cloned())
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let (session, reducer) = (snapshot.session, snapshot.reducer.clone());
        state.snapshots.insert((session, reducer.clone(), snapshot.seq), snapshot);
        let kept = state.snapshots.range((session, reducer.clone(), Seq::ZERO)..=(session, reducer, Seq(u64::MAX)));
        let mut kept: Vec<_> = kept.map(|(key, _)| key.clone()).collect();
        kept.truncate(kept.len().saturating_sub(super::SNAPSHOTS_KEPT));
        let mut stretch = None;
        for key in kept {
            // The first of its stretch stays.
            if stretch.replace(key.2.0 / super::RUNG) == Some(key.2.0 / super::RUNG) {
                state.snapshots.remove(&key);
            }
        }
        Ok(())
    }

    async fn snapshot(&self, session: SessionId, reducer: &str, upto: Seq) -> Result<Option<Snapshot>, StoreError> {
        let state = self.state()?;
        let newest = |id: SessionId, upto: Seq| {
            let range = (id, reducer.to_owned(), Seq::ZERO)..=(id, reducer.to_owned(), upto);
            state.snapshots.range(range).next_back().map(|(_, snapshot)| snapshot.clone())
        };
        // Its own first: a cache does not ask whether the session is there.
        let of_parents = || state.lineage(session).iter().find_map(|(entry, counts)| newest(entry.row.id, upto.min(*counts)));
        Ok(newest(session, upto).or_else(of_parents))
    }

    async fn feed(&self, after: FeedCursor, limit: u32) -> Result<FeedPage, StoreError> {
        let state = self.state()?;
        super::is_ours(&after, self.mark)?;
        super::is_reached(&after, &state.head())?;
        let mut position = after.position(SHARD);
        let mut page = FeedPage { next: after, ..FeedPage::default() };
        page.next.mark(self.mark);
        let mut bytes = 0;
        let begin = usize::try_from(position).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit.min(PAGE_ROWS_MAX)).unwrap_or(usize::MAX);
        for (session, seq) in state.feed.iter().skip(begin).take(limit) {
            position += 1;
            if let Some(row) = state.event(*session, *seq) {
                bytes += row.body_bytes();
                page.rows.push(FeedRow { shard: SHARD, pos: position, row: row.clone() });
            }
            page.next.advance(SHARD, position);
            if bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }

    async fn feed_head(&self) -> Result<FeedCursor, StoreError> {
        let mut head = self.state()?.head();
        head.mark(self.mark);
        Ok(head)
    }

    async fn renew_lease(&self, node: NodeId, address: &str, ttl: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        let until = now.checked_add(ttl).unwrap_or_else(|| now + super::LEASE_MAX);
        self.state()?.nodes.insert(node, (address.to_owned(), until));
        Ok(())
    }

    async fn node(&self, node: NodeId) -> Result<Option<NodeRow>, StoreError> {
        let now = Instant::now();
        let row = |(address, until): &(String, Instant)| NodeRow { id: node, address: address.clone(), expired: *until <= now };
        Ok(self.state()?.nodes.get(&node).map(row))
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let now = Instant::now();
        let state = self.state()?;
        let row = |(id, (address, until)): (&NodeId, &(String, Instant))| NodeRow {
            id: *id,
            address: address.clone(),
            expired: *until <= now,
        };
        Ok(state.nodes.iter().map(row).collect())
    }

    async fn end_lease(&self, node: NodeId) -> Result<(), StoreError> {
        if let Some((_, until)) = self.state()?.nodes.get_mut(&node) {
            *until = Instant::now();
        }
        Ok(())
    }

    fn wake_ups(&self) -> WakeUps {
        WakeUps::new(self.commits.subscribe(), POLL)
    }

    async fn info(&self) -> Result<StoreInfo, StoreError> {
        let state = self.state()?;
        let rows = state.sessions.values().flat_map(|entry| &entry.events);
        let bytes = rows.map(Row::body_bytes).chain(state.blobs.values().map(Vec::len)).sum::<usize>();
        Ok(StoreInfo {
            address: "memory:".to_owned(),
            format: super::FORMAT,
            engine: "memory".to_owned(),
            sessions: state.sessions.len() as u64,
            events: state.feed.len() as u64,
            bytes: bytes as u64,
            encrypted: false,
            created_at: Timestamp(0),
            newest: state.matching(&SessionFilter::All)?.into_iter().next().map(Box::new),
        })
    }

    async fn redact(&self, session: SessionId, seq: Seq) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let row = state.sessions.get_mut(&session).and_then(|entry| {
            let index = usize::try_from(seq.0.wrapping_sub(entry.shared().next().0)).unwrap_or(usize::MAX);
            entry.events.get_mut(index)
        });
        let Some(Row::Event { event, salt, digest, .. }) = row else { return Err(super::no_event(session, seq)) };
        let mut told = None;
        if let (Body::Json(body), Some(grain)) = (&event.body, *salt) {
            told = Some(body.clone());
            *digest = Some(super::chain::digest(&grain, body));
            *salt = None;
            event.body = Body::Redacted;
        }
        // A snapshot may hold what the body said, also that of a fork which reads it here.
        let reads = |id: &SessionId| state.lineage(*id).iter().any(|(entry, upto)| entry.row.id == session && *upto >= seq);
        let readers: BTreeSet<SessionId> = state.sessions.keys().copied().filter(reads).collect();
        state.snapshots.retain(|(of, _, upto), _| !readers.contains(of) || *upto < seq);
        let title = state.sessions.get(&session).and_then(|entry| entry.row.directory.title.clone());
        if let (Some(title), Some(told)) = (title, told)
            && is_told_by(&title, &told)
        {
            for (_, entry) in state.sessions.iter_mut().filter(|(id, _)| readers.contains(*id)) {
                entry.row.directory.title.take_if(|shown| *shown == title);
            }
        }
        Ok(())
    }

    async fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

#[async_trait]
impl Inbox for MemoryStore {
    async fn post(&self, letter: Letter) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if state.letter(letter.to, letter.id).is_none() {
            state.letters.push((letter, Stage::Sent));
        }
        Ok(())
    }

    async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError> {
        let state = self.state()?;
        let waiting = state.letters.iter().filter(|(letter, stage)| letter.to == node && *stage == Stage::Sent);
        Ok(waiting.take(usize::try_from(limit).unwrap_or(usize::MAX)).map(|(letter, _)| letter.clone()).collect())
    }

    async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        let stage = state.letter(node, letter).filter(|stage| **stage == Stage::Sent);
        Ok(stage.map(|stage| *stage = Stage::Begun).is_some())
    }

    async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError> {
        is_answer(answer)?;
        if let Some(stage) = self.state()?.letter(node, letter) {
            *stage = Stage::Answered(answer.to_owned());
        }
        Ok(())
    }

    async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError> {
        let mut state = self.state()?;
        let Some(Stage::Answered(answer)) = state.letter(node, letter).cloned() else { return Ok(None) };
        state.letters.retain(|(other, _)| other.to != node || other.id != letter);
        Ok(Some(answer))
    }

    async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        let mut state = self.state()?;
        let there = state.letter(node, letter).is_some_and(|stage| *stage == Stage::Sent);
        if there {
            state.letters.retain(|(other, _)| other.to != node || other.id != letter);
        }
        Ok(there)
    }
}
