//! One task per live session: commands in, effects out, one at a time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::Running;
use super::error::EngineError;
use super::measure::Live;
use super::perform::{Holding, Performed, perform};
use super::restore::snapshot;
use super::submit::Writing;
use super::tell::session_span;
use crate::session::{Command, Effect, Rejection, Seq};
use crate::store::{RUNG, StoreError};

/// How many commands may wait for a worker.
const MAILBOX_MAX: usize = 32;
/// How many events lie between two snapshots.
const SNAPSHOT_EVERY: u64 = 256;

/// A command that somebody waits for.
pub(super) struct Request {
    /// Boxed, since a mailbox keeps room for many.
    pub(super) command: Box<Command>,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// What a worker says to a request.
pub(super) enum Reply {
    /// What came of it.
    Done(Result<Seq, EngineError>),
    /// Nothing: the worker has left just before. Another one will be found, or made.
    Left,
}

/// How a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The world owes the session something.
    Busy,
    /// Nothing is owed; the session waits for a command.
    Resting,
    /// The worker gave up: the log could not be written, or another owner has the session.
    Failed(Failure),
}

/// Why a worker gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In words, causes and all.
    pub why: String,
    /// On whose account.
    pub by: FailedBy,
}

/// On whose account a worker gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedBy {
    /// The log could not be written or read.
    Store,
    /// Another owner has the session.
    Owner,
    /// The worker itself.
    Worker,
}

impl Failure {
    /// The worker's own fault.
    pub(super) const fn own(why: String) -> Self {
        Self { why, by: FailedBy::Worker }
    }

    fn of(error: &EngineError) -> Self {
        let by = match error {
            EngineError::Store(StoreError::Fenced { .. } | StoreError::Conflict { .. })
            | EngineError::OwnedElsewhere { .. }
            | EngineError::Unanswered { .. }
            | EngineError::LeaseLost => FailedBy::Owner,
            EngineError::Store(_) | EngineError::Unproven { .. } => FailedBy::Store,
            EngineError::NotFound(_)
            | EngineError::Purged(_)
            | EngineError::Rejected(_)
            | EngineError::Secrets(_)
            | EngineError::Instead(_)
            | EngineError::SecretInSpec { .. }
            | EngineError::Snapshot(_)
            | EngineError::ShutDown => FailedBy::Worker,
        };
        Self { why: chain(error), by }
    }
}

/// A running worker, from outside.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) mailbox: mpsc::Sender<Request>,
    pub(super) status: watch::Receiver<Status>,
}

/// Starts a worker for a session that this process owns. It ends when the handle's mailbox is dropped, and when it has rested for
/// `idle`; then it leaves `running`.
pub(super) fn start(writing: Writing, idle: Duration, running: Weak<Running>) -> (Handle, JoinHandle<()>) {
    let (mailbox, requests) = mpsc::channel(MAILBOX_MAX);
    let first = if writing.session.next_effect().is_some() { Status::Busy } else { Status::Resting };
    let (status, watched) = watch::channel(first);
    let kept = writing.session.version;
    let span = session_span(writing.id, &writing.session);
    let live = Live::begin();
    let worker =
        Worker { writing, requests, status, holding: Holding::default(), under_way: None, kept, idle, running, _live: live };
    (Handle { mailbox, status: watched }, tokio::spawn(worker.run().instrument(span)))
}

/// An effect that is being performed; dropping it stops the performing.
struct UnderWay {
    effect: Effect,
    task: JoinHandle<Performed>,
    /// Whether it was looked already how things stand that a person moves elsewhere.
    rests: watch::Receiver<bool>,
}

impl UnderWay {
    /// Whether it is worth waiting for: what a person did elsewhere before now is noticed first.
    fn is_busy(&self) -> bool {
        !(self.effect.is_watching() && *self.rests.borrow())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    writing: Writing,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<Status>,
    holding: Holding,
    under_way: Option<UnderWay>,
    /// The version of the newest snapshot.
    kept: Seq,
    idle: Duration,
    running: Weak<Running>,
    _live: Live,
}

enum Woken {
    Asked(Request),
    Done(Effect, Box<Result<Performed, tokio::task::JoinError>>),
    Looked,
    Dropped,
    Idle,
}

impl Worker {
    async fn run(mut self) {
        loop {
            self.begin_effect();
            if self.under_way.is_none() {
                // It can be had again, and a session that rests needs it no more.
                self.holding.script = None;
            }
            if self.wants_snapshot() {
                Box::pin(self.keep_snapshot()).await;
            }
            self.tell_status();
            // What is done is boxed, so that a worker that rests is small.
            let outcome = match self.wake().await {
                Woken::Asked(request) => Box::pin(self.answer(request)).await,
                Woken::Done(effect, result) => match *result {
                    Ok(performed) => Box::pin(self.done(effect, performed)).await,
                    Err(error) => Err(Failure::own(format!("performing an effect failed: {error}"))),
                },
                Woken::Looked => Ok(()),
                Woken::Idle => {
                    Box::pin(self.leave()).await;
                    break;
                }
                Woken::Dropped => break,
            };
            if let Err(mut failure) = outcome {
                failure.why = self.writing.mask.text(failure.why);
                tracing::error!(session.id = %self.writing.id, why = failure.why, "a worker gave up");
                self.status.send_replace(Status::Failed(failure));
                break;
            }
        }
        self.under_way = None;
        Box::pin(self.release()).await;
    }

    async fn answer(&mut self, Request { command, reply }: Request) -> Result<(), Failure> {
        let result = self.writing.submit(*command).await;
        let fatal = result.as_ref().err().and_then(fatal);
        // Whoever asked may look at once whether the session rests: it does not while there is something to do about what was asked.
        self.begin_effect();
        self.tell_status();
        // Whoever asked may not be waiting any more.
        let _ = reply.send(Reply::Done(result));
        fatal.map_or(Ok(()), Err)
    }

    fn tell_status(&self) {
        let status = if self.under_way.as_ref().is_some_and(UnderWay::is_busy) { Status::Busy } else { Status::Resting };
        self.status.send_if_modified(|known| std::mem::replace(known, status.clone()) != status);
    }

    /// Takes no more requests, and keeps a snapshot so that the session comes back quickly.
    async fn leave(&mut self) {
        self.requests.close();
        if let Some(running) = self.running.upgrade() {
            running.forget(self.writing.id);
        }
        while let Some(Request { reply, .. }) = self.requests.recv().await {
            let _ = reply.send(Reply::Left);
        }
        if self.writing.session.version > self.kept {
            self.keep_snapshot().await;
        }
    }

    async fn release(&mut self) {
        if let Some(joined) = self.holding.tools.take() {
            joined.tools.close().await;
        }
        if let Some(runtime) = self.holding.runtime.take()
            && let Err(error) = runtime.release().await
        {
            let error = self.writing.mask.text(error.to_string());
            tracing::warn!(session.id = %self.writing.id, error, "a runtime was not released");
        }
    }

    /// Makes what is under way what the state says is next.
    fn begin_effect(&mut self) {
        let next = self.writing.session.next_effect();
        if self.under_way.as_ref().map(|under_way| &under_way.effect) == next.as_ref() {
            return;
        }
        self.under_way = next.map(|effect| {
            let session = Arc::new(self.writing.session.clone());
            let shared = Arc::clone(&self.writing.shared);
            let (looked, rests) = watch::channel(false);
            let around = (shared, Weak::clone(&self.running), looked);
            let holding = self.holding.clone();
            let mask = Arc::clone(&self.writing.mask);
            let task = tokio::spawn(perform(around, self.writing.id, session, mask, effect.clone(), holding));
            UnderWay { effect, task, rests }
        });
    }

    async fn wake(&mut self) -> Woken {
        let idle = self.idle;
        let performed = async {
            match &mut self.under_way {
                Some(UnderWay { effect, task, rests }) if effect.is_watching() && !*rests.borrow() => tokio::select! {
                    biased;
                    result = &mut *task => Ok(Some(result)),
                    Ok(()) = rests.changed() => Err(Woken::Looked),
                },
                Some(under_way) => Ok(Some((&mut under_way.task).await)),
                None => {
                    tokio::time::sleep(idle).await;
                    Ok(None)
                }
            }
        };
        let woken = tokio::select! {
            biased;
            request = self.requests.recv() => return request.map_or(Woken::Dropped, Woken::Asked),
            result = performed => match result {
                Ok(result) => result,
                Err(looked) => return looked,
            },
        };
        match (woken, self.under_way.take()) {
            (Some(result), Some(under_way)) => Woken::Done(under_way.effect.clone(), Box::new(result)),
            _ => Woken::Idle,
        }
    }

    async fn done(&mut self, effect: Effect, performed: Performed) -> Result<(), Failure> {
        self.holding = performed.holding;
        let command = performed.command.map_err(|error| Failure::of(&error))?;
        match self.writing.submit(command).await {
            Ok(_) | Err(EngineError::Rejected(Rejection::Stale(_))) => {}
            Err(error) => return Err(Failure::of(&error)),
        }
        // An effect that leaves the state as it was would be performed for ever.
        if self.writing.session.next_effect().as_ref() == Some(&effect) {
            return Err(Failure::own(format!("{effect:?} did not bring the session further")));
        }
        Ok(())
    }

    /// Every so often, and soon after a stretch of the log begins, so that the stretch has a snapshot near its beginning.
    const fn wants_snapshot(&self) -> bool {
        let (now, kept) = (self.writing.session.version.0, self.kept.0);
        now >= kept + SNAPSHOT_EVERY || now / RUNG > kept / RUNG
    }

    async fn keep_snapshot(&mut self) {
        let session = &self.writing.session;
        self.kept = session.version;
        if let Err(error) = self.writing.shared.store.put_snapshot(snapshot(self.writing.id, session, self.writing.hash)).await {
            tracing::warn!(session.id = %self.writing.id, error = &error as &dyn std::error::Error, "a snapshot was not kept");
        }
    }
}

/// Why a worker cannot go on after this; `None` when it can.
fn fatal(error: &EngineError) -> Option<Failure> {
    match error {
        EngineError::Rejected(_) | EngineError::Store(StoreError::Conflict { .. } | StoreError::Full(_)) => None,
        other => Some(Failure::of(other)),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
