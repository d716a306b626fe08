//! The one writer: a thread that owns its connection, takes all that waits into one transaction, and answers each caller.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};

use super::super::content::Secrecy;
use super::super::sealed::Sealed;
use super::super::statements::sqlite as sql;
use super::super::{Append, Appended, StoreError, closed};
use super::commit;
use super::fault::{Fault, Health};
use crate::session::SessionId;

/// The most appends in one transaction.
const BATCH_MAX: usize = 512;
/// A transaction takes no further appends once it holds this much, so that one burst of long bodies does not hold up the rest.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most appends that wait; further callers wait for room.
const QUEUE_MAX: usize = 1024;
/// The write-ahead log is copied into the database about every this many bytes.
const CHECKPOINT_BYTES: usize = 4 * 1024 * 1024;
/// What a commit writes beside its events: pages of the indexes, the session and the feed; about.
const COMMIT_BYTES: usize = 6 * 4096;

/// The callers' end of the writer.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    health: Arc<Health>,
}

enum Job {
    Append(Box<Sealed>, oneshot::Sender<Result<Appended, StoreError>>),
    DataVersion(oneshot::Sender<Option<i64>>),
    Compact(oneshot::Sender<Result<(), StoreError>>),
    Overwrite(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// Asks the writer's connection, without being able to write and without keeping the writer alive.
#[derive(Debug, Clone)]
pub(super) struct Asker(mpsc::WeakSender<Job>);

impl Asker {
    /// A number that changes with the commits of all other connections; `None` when it cannot be had.
    pub(super) async fn data_version(&self) -> Option<i64> {
        let (answer, answered) = oneshot::channel();
        self.0.upgrade()?.send(Job::DataVersion(answer)).await.ok()?;
        answered.await.ok()?
    }
}

impl Writer {
    /// Starts the thread. `gate` keeps other connections of this process from writing at the same time; without it they would poll for
    /// the lock that this thread hardly ever lets go.
    pub(super) fn start(
        connection: Connection,
        busy_wait: Duration,
        gate: Arc<Mutex<()>>,
        health: Arc<Health>,
        commits: broadcast::Sender<SessionId>,
    ) -> Result<Self, std::io::Error> {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let mut thread = Thread { connection, busy_wait, gate, health: Arc::clone(&health), commits, written: 0 };
        std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            let closers = thread.run(queue);
            drop(thread);
            for closer in closers {
                // Whoever asked may have gone.
                let _ = closer.send(());
            }
        })?;
        Ok(Self { jobs, health })
    }

    /// Hands an append to the thread and waits for its answer. What is handed over is done, whether the caller waits or not.
    pub(super) async fn append(&self, append: Append, secrecy: &Secrecy) -> Result<Appended, StoreError> {
        self.health.writable()?;
        let sealed = Box::new(Sealed::new(append, secrecy)?);
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Append(sealed, answer)).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Unknown("the writer went away".into())))
    }

    /// Writes the database anew without what is free.
    pub(super) async fn compact(&self) -> Result<(), StoreError> {
        self.health.writable()?;
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Compact(answer)).await.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Empties the write-ahead log, where older pages stay until they are written over, unless somebody is reading just now.
    pub(super) async fn overwrite(&self) {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Overwrite(answer)).await.is_ok() {
            let _ = answered.await;
        }
    }

    /// For those who only ask.
    pub(super) fn asker(&self) -> Asker {
        Asker(self.jobs.downgrade())
    }

    /// Finishes what was handed over, empties the write-ahead log as far as it can, and lets the connection go.
    pub(super) async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(Job::Close(answer)).await.is_ok() {
            let _ = answered.await;
        }
        self.jobs.closed().await;
    }
}

struct Thread {
    connection: Connection,
    busy_wait: Duration,
    gate: Arc<Mutex<()>>,
    health: Arc<Health>,
    commits: broadcast::Sender<SessionId>,
    /// About how much was written since the last checkpoint.
    written: usize,
}

impl Thread {
    fn run(&mut self, mut queue: mpsc::Receiver<Job>) -> Vec<oneshot::Sender<()>> {
        let mut waiting = Vec::with_capacity(BATCH_MAX);
        let mut closers = Vec::new();
        while queue.blocking_recv_many(&mut waiting, BATCH_MAX) > 0 {
            let mut batch = Vec::with_capacity(waiting.len());
            let mut answers = Vec::with_capacity(waiting.len());
            let mut bytes = 0;
            for job in waiting.drain(..) {
                match job {
                    Job::Append(sealed, answer) => {
                        bytes += sealed.bytes();
                        batch.push(*sealed);
                        answers.push(answer);
                        if bytes >= BATCH_BYTES_MAX {
                            self.commit(&mut batch, &mut answers, bytes);
                            bytes = 0;
                        }
                    }
                    Job::DataVersion(answer) => {
                        let _ = answer.send(self.connection.query_row(sql::DATA_VERSION, [], |row| row.get(0)).ok());
                    }
                    Job::Compact(answer) => {
                        let _ = answer.send(self.compact());
                    }
                    Job::Overwrite(answer) => {
                        self.overwrite();
                        let _ = answer.send(());
                    }
                    Job::Close(closer) => {
                        // What is in the queue already is still done.
                        queue.close();
                        closers.push(closer);
                    }
                }
            }
            self.commit(&mut batch, &mut answers, bytes);
        }
        if !self.health.is_poisoned() {
            let _turn = self.gate.blocking_lock();
            // Best effort: readers in other processes may keep it from being emptied.
            let _ = self.connection.query_row(sql::CHECKPOINT_ALL, [], |_| Ok(()));
        }
        closers
    }

    fn commit(
        &mut self,
        batch: &mut Vec<Sealed>,
        answers: &mut Vec<oneshot::Sender<Result<Appended, StoreError>>>,
        bytes: usize,
    ) {
        if batch.is_empty() {
            return;
        }
        if self.health.is_poisoned() {
            batch.clear();
            for answer in answers.drain(..) {
                let _ = answer.send(Err(StoreError::Poisoned(None)));
            }
            return;
        }
        let turn = self.gate.blocking_lock();
        let outcome = commit::commit(&self.connection, batch);
        if outcome.poisoned {
            self.health.poison();
        }
        let mut rung = HashSet::with_capacity(batch.len());
        for (sealed, answer) in batch.drain(..).zip(&outcome.answers) {
            let session = sealed.append.session;
            if answer.as_ref().is_ok_and(|appended| !appended.repeated) && rung.insert(session) {
                // Nobody may be listening.
                let _ = self.commits.send(session);
            }
        }
        for (answer, result) in answers.drain(..).zip(outcome.answers) {
            // The caller may have gone; its append stands all the same.
            let _ = answer.send(result);
        }
        self.written += bytes + COMMIT_BYTES;
        if self.written >= CHECKPOINT_BYTES {
            self.written = 0;
            self.checkpoint();
        }
        drop(turn);
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        if self.health.is_poisoned() {
            return Err(StoreError::Poisoned(None));
        }
        let _turn = self.gate.blocking_lock();
        // Before, so that nobody else is using it and the disk has the most room; after, so that the file really is shorter.
        let emptied = self.empty_log().and_then(|emptied| match emptied {
            true => self.connection.execute_batch(sql::COMPACT).and_then(|()| self.empty_log()).map(|_| true),
            false => Ok(false),
        });
        match emptied {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Busy("other processes kept using it".into())),
            Err(error) => {
                let fault = Fault::of(&error);
                if fault == Fault::Disk {
                    self.health.poison();
                }
                Err(fault.failed_write(error.into()))
            }
        }
    }

    /// Empties the log where that can be done at once: nobody is made to wait for it, and the next checkpoints come to it as well.
    fn overwrite(&self) {
        if self.health.is_poisoned() {
            return;
        }
        let _turn = self.gate.blocking_lock();
        let emptied = self.connection.busy_timeout(Duration::ZERO).and_then(|()| self.empty_log());
        if let Err(error) = self.connection.busy_timeout(self.busy_wait).and(emptied)
            && Fault::of(&error) == Fault::Disk
        {
            tracing::error!(%error, "a checkpoint of the store failed below the database; it refuses writes until it is opened again");
            self.health.poison();
        }
    }

    /// Copies all of the write-ahead log into the database and empties it; false when others kept using it.
    fn empty_log(&self) -> Result<bool, rusqlite::Error> {
        self.connection.query_row(sql::CHECKPOINT_ALL, [], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
    }

    /// Copies the write-ahead log into the database. Done here and not by the library, which hides a failed write of a checkpoint:
    /// after that the system may have dropped pages that the log still has, and the log must not be reused.
    fn checkpoint(&self) {
        if let Err(error) = self.connection.query_row(sql::CHECKPOINT, [], |_| Ok(()))
            && Fault::of(&error) == Fault::Disk
        {
            tracing::error!(%error, "a checkpoint of the store failed below the database; it refuses writes until it is opened again");
            self.health.poison();
        }
    }
}
