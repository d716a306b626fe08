//! Sessions that append as fast as they can while their servers are mistreated, and what must hold afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rekindle::session::{EventId, Seq, SessionId};
use rekindle::store::conformance::{all_events, append, events, new_session};
use rekindle::store::{Expected, FeedCursor, SharedStore, StoreError, verify_session};
use tokio::task::JoinHandle;

/// How long one append may be refused in all before a test gives up.
const REFUSED_MAX: Duration = Duration::from_secs(90);

/// A xorshift64* generator: every run of a test uses the same numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % bound
    }

    pub fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Sessions at work.
pub struct Load {
    stopped: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    sessions: Vec<JoinHandle<Written>>,
}

/// What one session was told that it has.
pub struct Written {
    session: SessionId,
    ids: Vec<EventId>,
    /// Appends whose first answer was lost, but which had been done.
    repeated: u64,
    /// Answers that were failures.
    failures: u64,
    /// The longest time from one acknowledged append to the next.
    longest_wait: Duration,
}

/// All of it together.
#[derive(Debug)]
#[allow(dead_code, reason = "for people who read what a test prints")]
pub struct Summary {
    pub events: u64,
    pub repeated: u64,
    pub failures: u64,
    pub longest_wait: Duration,
}

impl Load {
    /// `sessions` sessions, in turn on one of `stores` each.
    pub fn start(stores: &[SharedStore], sessions: usize, seed: u64) -> Self {
        let (stopped, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let start = |index: usize| {
            let store = Arc::clone(&stores[index % stores.len()]);
            let random = Random(seed + 1 + index as u64);
            tokio::spawn(write(store, random, Arc::clone(&stopped), Arc::clone(&acknowledged)))
        };
        let sessions = (0..sessions).map(start).collect();
        Self { stopped, acknowledged, sessions }
    }

    /// How many events have been acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until this many more were acknowledged.
    pub async fn goes_on(&self, more: u64) {
        let (since, until) = (Instant::now(), self.acknowledged() + more);
        while self.acknowledged() < until {
            assert!(since.elapsed() < REFUSED_MAX, "the writers do not go on");
            assert!(!self.sessions.iter().any(JoinHandle::is_finished), "a writer gave up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets each session finish what it has begun.
    pub async fn end(self) -> Vec<Written> {
        self.stopped.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for session in self.sessions {
            all.push(session.await.unwrap());
        }
        all
    }
}

async fn write(store: SharedStore, mut random: Random, stopped: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) -> Written {
    let session = new_session();
    let mut written = Written { session, ids: vec![], repeated: 0, failures: 0, longest_wait: Duration::ZERO };
    let mut head = Seq::ZERO;
    while !stopped.load(Ordering::SeqCst) {
        let batch = events(1 + random.below(3) as usize);
        let since = Instant::now();
        loop {
            // The same events, with the same ids, until it is known what became of them.
            match store.append(append(session, Expected::Exact(head), batch.clone())).await {
                Ok(appended) => {
                    assert_eq!((appended.first, appended.last), (head.next(), Seq(head.0 + batch.len() as u64)));
                    head = appended.last;
                    written.repeated += u64::from(appended.repeated);
                    break;
                }
                Err(StoreError::Unknown(_) | StoreError::Unavailable(_) | StoreError::Busy(_)) => {
                    written.failures += 1;
                    assert!(since.elapsed() < REFUSED_MAX, "refused for too long");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        written.longest_wait = written.longest_wait.max(since.elapsed());
        written.ids.extend(batch.iter().map(|event| event.id));
        acknowledged.fetch_add(batch.len() as u64, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(random.below(6))).await;
    }
    written
}

/// Every acknowledged event is there once, in order, in a log that verifies; the feed has each of them once, without holes.
pub async fn assert_sound(store: &SharedStore, written: &[Written]) -> Summary {
    let mut all = HashSet::new();
    for Written { session, ids, .. } in written {
        verify_session(store.as_ref(), *session).await.unwrap();
        let stored = all_events(store, *session).await;
        assert!(stored.iter().map(|event| event.seq.0).eq(1..=stored.len() as u64), "the seqs are not dense");
        assert_eq!(&stored.iter().map(|event| event.id).collect::<Vec<_>>(), ids, "stored is not what was acknowledged");
        all.extend(ids.iter().copied());
    }
    let fed = drain(store, 500).await;
    let mut seqs = HashMap::<SessionId, u64>::new();
    for (session, seq, id) in fed.iter().copied() {
        assert!(all.remove(&id), "the feed has {id} twice, or nobody wrote it");
        let last = seqs.entry(session).or_default();
        assert_eq!(seq, Seq(*last + 1), "the feed is out of order");
        *last = seq.0;
    }
    assert!(all.is_empty(), "the feed misses {all:?}");
    Summary {
        events: fed.len() as u64,
        repeated: written.iter().map(|written| written.repeated).sum(),
        failures: written.iter().map(|written| written.failures).sum(),
        longest_wait: written.iter().map(|written| written.longest_wait).max().unwrap_or_default(),
    }
}

/// The whole feed, read in pages.
async fn drain(store: &SharedStore, limit: u32) -> Vec<(SessionId, Seq, EventId)> {
    let mut reader = FeedReader::default();
    while reader.read(store, limit).await.unwrap() > 0 {}
    reader.events
}

/// A reader of the feed, which checks that no position is passed over.
#[derive(Default)]
pub struct FeedReader {
    cursor: FeedCursor,
    positions: BTreeMap<i32, u64>,
    pub events: Vec<(SessionId, Seq, EventId)>,
}

impl FeedReader {
    /// Reads one page and says how long it was.
    pub async fn read(&mut self, store: &SharedStore, limit: u32) -> Result<usize, StoreError> {
        let page = store.feed(self.cursor.clone(), limit).await?;
        assert!(page.damaged.is_empty(), "{:?}", page.damaged);
        assert!(page.rows.len() <= limit as usize);
        for row in &page.rows {
            let last = self.positions.entry(row.shard).or_default();
            assert_eq!(row.pos, *last + 1, "the feed of shard {} has a hole or goes back", row.shard);
            *last = row.pos;
            let event = row.event().unwrap();
            self.events.push((event.session, event.seq, event.id));
        }
        self.cursor = page.next;
        Ok(page.rows.len())
    }
}
