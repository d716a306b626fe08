//! A runtime that does nothing but remember what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::engine::ports::{
    Containment, Mount, Preparation, Prepared, Provision, Provisioned, Runtime, RuntimeError, RuntimeReport, Runtimes, Timeout,
};
use crate::session::{Action, Epoch, Observation, SessionId};

/// What a fake runtime answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This observation.
    Observe(Box<Observation>),
    /// Nothing, ever.
    Hang,
    /// That it is gone.
    Lose,
}

/// One thing that a fake was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Journaled {
    /// To make a runtime of this name for this owner.
    Provisioned(String, Epoch),
    /// To execute an action.
    Executed(Box<Action>),
    /// To end.
    Released,
}

type Answers = dyn Fn(&Action) -> Answer + Send + Sync;

/// Makes runtimes that answer as they are told and remember what they were asked. Clones share one memory.
#[derive(Clone)]
pub struct FakeRuntimes {
    journal: Arc<Mutex<Vec<Journaled>>>,
    answers: Arc<Answers>,
    refusals: Arc<Mutex<u32>>,
    /// The highest epoch seen of each session.
    epochs: Arc<Mutex<HashMap<SessionId, Epoch>>>,
}

/// A fake as one owner of a session holds it.
struct FakeRuntime {
    all: FakeRuntimes,
    session: SessionId,
    epoch: Epoch,
}

impl FakeRuntimes {
    /// Answers every action with what `answers` says.
    pub fn new(answers: impl Fn(&Action) -> Answer + Send + Sync + 'static) -> Self {
        Self { journal: Arc::default(), answers: Arc::new(answers), refusals: Arc::default(), epochs: Arc::default() }
    }

    /// Refuses to make a runtime this many times first.
    pub fn refusing(self, times: u32) -> Self {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner) = times;
        self
    }

    /// What was asked so far, in order.
    pub fn journal(&self) -> Vec<Journaled> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The actions that were executed so far, in order.
    pub fn executed(&self) -> Vec<Action> {
        let executed = |asked| match asked {
            Journaled::Executed(action) => Some(*action),
            Journaled::Provisioned(..) | Journaled::Released => None,
        };
        self.journal().into_iter().filter_map(executed).collect()
    }

    /// Refuses an owner that was taken over.
    fn admit(&self, session: SessionId, epoch: Epoch) -> Result<(), RuntimeError> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = epochs.entry(session).or_default();
        if epoch < *seen {
            return Err(RuntimeError::Unavailable(format!("epoch {epoch} was taken over by epoch {seen}")));
        }
        *seen = epoch;
        Ok(())
    }

    fn note(&self, asked: Journaled) {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
}

#[async_trait]
impl Runtimes for FakeRuntimes {
    async fn provision(&self, request: Provision) -> Result<Provisioned, RuntimeError> {
        {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if *refusals > 0 {
                *refusals -= 1;
                return Err(RuntimeError::Unavailable("the fake was told to refuse".to_owned()));
            }
        }
        self.admit(request.session, request.epoch)?;
        self.note(Journaled::Provisioned(request.name, request.epoch));
        let report = RuntimeReport {
            runtime: "fake".to_owned(),
            workspace: request.workspace,
            mount: Mount::Namespace,
            containment: Containment::PidNamespace,
            sandbox: None,
            warnings: Vec::new(),
        };
        let (session, epoch) = (request.session, request.epoch);
        Ok(Provisioned { runtime: Arc::new(FakeRuntime { all: self.clone(), session, epoch }), report })
    }
}

#[async_trait]
impl Runtime for FakeRuntime {
    async fn execute(&self, action: &Action, _timeout: Timeout) -> Result<Observation, RuntimeError> {
        self.all.admit(self.session, self.epoch)?;
        self.all.note(Journaled::Executed(Box::new(action.clone())));
        match (self.all.answers)(action) {
            Answer::Observe(observation) => Ok(*observation),
            Answer::Hang => std::future::pending().await,
            Answer::Lose => Err(RuntimeError::Lost("the fake was told to be lost".to_owned())),
        }
    }

    async fn prepare(&self, preparation: Preparation) -> Result<Prepared, RuntimeError> {
        self.all.admit(self.session, self.epoch)?;
        Ok(Prepared::Skipped(format!("a fake does not {preparation}")))
    }

    async fn release(&self) -> Result<(), RuntimeError> {
        self.all.note(Journaled::Released);
        Ok(())
    }
}
