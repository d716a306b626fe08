//! Several committers, each with shards of its own: a task that takes all that waits into one transaction and answers each caller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::sealed::Sealed;
use super::super::{Appended, Expected, Shard, StoreError, Writer, closed};
use super::commit::{self, Care, Failure, Known, Speech};
use super::decode::Head;
use super::doorbell::Bell;
use super::fault::Fault;
use super::servers::Servers;
use crate::session::{Epoch, Seq};

/// How many commit at once: one transaction waits for the disk while the next is prepared; more only make each smaller (measured).
const COMMITTERS: usize = 2;
/// The same on a distributed store, where each transaction takes a trip to the worker for each of its statements.
const COMMITTERS_DISTRIBUTED: usize = 8;
/// How many batches of a distributed store are looked at a second time at once, beside the others.
const SECOND_LOOKS_MAX: usize = 8;
/// The most appends in one transaction.
const BATCH_MAX: usize = 512;
/// How often others are let run before a transaction begins.
const GATHER: usize = 4;
/// A transaction takes no further appends once it holds this much.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many sessions a committer remembers the heads of.
const KNOWN_MAX: usize = 16 * 1024;
/// The most appends that wait for one committer; further callers wait for room.
const QUEUE_MAX: usize = 1024;
/// How long to wait before the first repetition of a transaction; doubled each time up to the longest.
const RETRY_WAIT: Duration = Duration::from_millis(20);
/// How long a transaction may take before its connection is given up: longer than any commit that is still coming.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// The longest of these waits.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(1);

/// The callers' end of the committers.
#[derive(Debug)]
pub(super) struct Committers {
    queues: Vec<mpsc::Sender<Job>>,
}

enum Job {
    Append(Shard, Box<Sealed>, Answer),
    Close(oneshot::Sender<()>),
}

type Answer = oneshot::Sender<Result<Appended, StoreError>>;

impl Committers {
    /// Starts them.
    pub(super) fn start(servers: &Arc<Servers>, speech: Speech, patience: Duration, bell: &Bell) -> Self {
        let second_looks = Arc::new(Semaphore::new(SECOND_LOOKS_MAX));
        let start = |_| {
            let (queue, jobs) = mpsc::channel(QUEUE_MAX);
            let committer = Committer {
                servers: Arc::clone(servers),
                connection: None,
                speech,
                patience,
                bell: bell.clone(),
                known: Known::new(),
                second_looks: Arc::clone(&second_looks),
            };
            tokio::spawn(committer.run(jobs));
            queue
        };
        let count = if speech.routed { COMMITTERS_DISTRIBUTED } else { COMMITTERS };
        Self { queues: (0..count).map(start).collect() }
    }

    /// Hands an append over and waits for its answer. What is handed over is done, whether the caller waits or not.
    pub(super) async fn append(&self, shard: Shard, sealed: Sealed) -> Result<Appended, StoreError> {
        let index = usize::try_from(shard).unwrap_or_default() % self.queues.len().max(1);
        let Some(queue) = self.queues.get(index) else { return Err(closed()) };
        let (answer, answered) = oneshot::channel();
        queue.send(Job::Append(shard, Box::new(sealed), answer)).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the committer went away".into())))
    }

    /// Finishes what was handed over and lets the connections go.
    pub(super) async fn close(&self) {
        for queue in &self.queues {
            let (done, finished) = oneshot::channel();
            if queue.send(Job::Close(done)).await.is_ok() {
                let _ = finished.await;
            }
        }
    }
}

struct Committer {
    servers: Arc<Servers>,
    connection: Option<PgConnection>,
    speech: Speech,
    /// How long a transaction is repeated while the server is away.
    patience: Duration,
    bell: Bell,
    /// Where sessions stood after the last commit here. Others may have moved them since.
    known: Known,
    second_looks: Arc<Semaphore>,
}

/// What waits: appends, and who wants to know what became of each.
#[derive(Default)]
struct Batch {
    appends: Vec<(Shard, Sealed)>,
    answers: Vec<Answer>,
    bytes: usize,
}

impl Committer {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        let mut closers = Vec::new();
        let mut answered = 0;
        let mut apart = JoinSet::new();
        while queue.recv_many(&mut waiting, BATCH_MAX).await > 0 {
            // Whoever was answered just now is about to append again: a moment makes one transaction of what would be two. Somebody
            // who appends alone is not kept waiting.
            for _ in 0..GATHER {
                if waiting.len() >= answered {
                    break;
                }
                tokio::task::yield_now().await;
                while waiting.len() < BATCH_MAX
                    && let Ok(job) = queue.try_recv()
                {
                    waiting.push(job);
                }
            }
            answered = waiting.len();
            let mut batches = BTreeMap::<Shard, Batch>::new();
            for job in waiting.drain(..) {
                match job {
                    Job::Append(shard, sealed, answer) => {
                        // On a distributed database each transaction stays in one shard, hence on one of its servers.
                        let batch = batches.entry(if self.speech.routed { shard } else { 0 }).or_default();
                        batch.bytes += sealed.bytes();
                        batch.appends.push((shard, *sealed));
                        batch.answers.push(answer);
                        if batch.bytes >= BATCH_BYTES_MAX {
                            let full = std::mem::take(batch);
                            self.commit(full, &mut apart).await;
                        }
                    }
                    Job::Close(closer) => {
                        // What is in the queue already is still done.
                        queue.close();
                        closers.push(closer);
                    }
                }
            }
            for batch in batches.into_values() {
                self.commit(batch, &mut apart).await;
            }
            while apart.try_join_next().is_some() {}
        }
        while apart.join_next().await.is_some() {}
        if let Some(connection) = self.connection.take() {
            // The server sees it go in any case.
            let _ = connection.close().await;
        }
        for closer in closers {
            let _ = closer.send(());
        }
    }

    async fn commit(&mut self, batch: Batch, apart: &mut JoinSet<()>) {
        if batch.appends.is_empty() {
            return;
        }
        match self.attempt(&batch.appends, Care::Swift).await {
            Ok(results) => self.answer(batch, results),
            Err(failure) => {
                let (in_doubt, deadline) = (failure.leaves_doubt(), Instant::now() + self.patience);
                // Where only one of many servers is away, the shards of the others must not wait for it.
                if self.speech.routed && apart.len() < QUEUE_MAX {
                    apart.spawn(self.beside().look_again(batch, deadline, in_doubt));
                } else {
                    let results = self.each(&batch.appends, deadline, in_doubt).await;
                    self.answer(batch, results);
                }
            }
        }
    }

    /// One that does the work of this one on a connection of its own.
    fn beside(&self) -> Self {
        Self {
            servers: Arc::clone(&self.servers),
            connection: None,
            speech: self.speech,
            patience: self.patience,
            bell: self.bell.clone(),
            known: Known::new(),
            second_looks: Arc::clone(&self.second_looks),
        }
    }

    async fn look_again(mut self, batch: Batch, deadline: Instant, in_doubt: bool) {
        let second_looks = Arc::clone(&self.second_looks);
        let _turn = second_looks.acquire().await;
        let results = match Instant::now() < deadline {
            true => self.each(&batch.appends, deadline, in_doubt).await,
            // Whoever had the turns before waited in vain for as long.
            false => batch.appends.iter().map(|_| Err(away(in_doubt))).collect(),
        };
        self.answer(batch, results);
        if let Some(connection) = self.connection.take() {
            // The server sees it go in any case.
            let _ = connection.close().await;
        }
    }

    fn answer(&mut self, batch: Batch, results: Vec<Result<Appended, StoreError>>) {
        let Batch { appends, answers, .. } = batch;
        self.remember(&appends, &results);
        for ((_, sealed), result) in appends.iter().zip(&results) {
            if result.as_ref().is_ok_and(|appended| !appended.repeated) {
                self.bell.committed(sealed.append.session);
            }
        }
        for (answer, result) in answers.into_iter().zip(results) {
            // The caller may have gone; its append stands all the same.
            let _ = answer.send(result);
        }
    }

    /// Notes where the sessions stand now; of what failed in any way nothing is believed any more.
    fn remember(&mut self, appends: &[(Shard, Sealed)], results: &[Result<Appended, StoreError>]) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        for ((_, sealed), result) in appends.iter().zip(results) {
            let append = &sealed.append;
            match (result, &append.writer) {
                (Ok(Appended { last, hash, repeated: false, .. }), Writer::Owner(epoch) | Writer::Takeover { epoch, .. }) => {
                    self.known.insert(append.session, Head { seq: *last, hash: *hash, epoch: *epoch, purged: false });
                }
                (Ok(Appended { last, hash, repeated: false, .. }), Writer::Anyone) => match self.known.get_mut(&append.session) {
                    Some(head) => *head = Head { seq: *last, hash: *hash, epoch: head.epoch, purged: false },
                    None if append.expected == Expected::NoSession || *last == Seq(append.events.len() as u64) => {
                        self.known.insert(append.session, Head { seq: *last, hash: *hash, epoch: Epoch(0), purged: false });
                    }
                    None => {}
                },
                _ => {
                    self.known.remove(&append.session);
                }
            }
        }
    }

    /// Does each append by itself, its ids looked up first: one that cannot be done spoils no other, and what was done is known.
    async fn each(
        &mut self,
        appends: &[(Shard, Sealed)],
        deadline: Instant,
        in_doubt: bool,
    ) -> Vec<Result<Appended, StoreError>> {
        let mut results = Vec::with_capacity(appends.len());
        for append in appends.chunks(1) {
            let gone = Instant::now() >= deadline
                && matches!(results.last(), Some(Err(StoreError::Unavailable(_) | StoreError::Unknown(_))));
            results.push(match gone {
                // The server was waited for long enough: what came with the first fares as the first did.
                true => Err(away(in_doubt)),
                false => self.one(append, deadline, in_doubt).await,
            });
        }
        results
    }

    /// Does one append, again and again while trying again may help. `in_doubt` says whether it may have been committed already
    /// without our being told.
    async fn one(&mut self, append: &[(Shard, Sealed)], deadline: Instant, mut in_doubt: bool) -> Result<Appended, StoreError> {
        let mut wait = RETRY_WAIT;
        loop {
            let failure = match self.attempt(append, Care::Careful).await {
                Ok(mut results) => return results.pop().unwrap_or_else(|| Err(closed())),
                Err(failure) => failure,
            };
            let passing = match &failure {
                Failure::Raced => true,
                // Somebody else began the same session, or wrote the same event, since it was looked for.
                Failure::Database { error, .. } => {
                    let fault = Fault::of(error);
                    fault.is_passing() || fault == Fault::Constraint
                }
                Failure::Damaged(_) => false,
            };
            in_doubt |= failure.leaves_doubt();
            if !passing || Instant::now() >= deadline {
                return Err(match failure.answer() {
                    StoreError::Unavailable(error) if in_doubt => StoreError::Unknown(error),
                    error => error,
                });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }

    async fn attempt(&mut self, appends: &[(Shard, Sealed)], care: Care) -> Result<Vec<Result<Appended, StoreError>>, Failure> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                // After a failover a session can stand elsewhere, at the same number.
                self.known.clear();
                // Citus plans for the shard that the parameters name, which a plan for any parameters is not; workers plan for themselves.
                if self.speech.routed { self.servers.connect().await? } else { self.servers.connect_by_key().await? }
            }
        };
        let work = commit::commit(&mut connection, self.speech, appends, care, &self.known);
        // A server that vanished without a word would be waited for in vain.
        let result = tokio::time::timeout(ANSWER_WAIT, work).await.unwrap_or_else(|_| {
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer any more");
            Err(Failure::Database { error: sqlx::Error::Io(late), committing: true })
        });
        let lost = matches!(&result, Err(Failure::Database { error, .. }) if Fault::of(error) == Fault::Away);
        if !lost {
            self.connection = Some(connection);
        }
        result
    }
}

/// The answer when a server was waited for long enough.
fn away(in_doubt: bool) -> StoreError {
    let what = "the server is away".into();
    if in_doubt { StoreError::Unknown(what) } else { StoreError::Unavailable(what) }
}
