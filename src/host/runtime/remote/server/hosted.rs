//! One session on the server: its runtime, what it was handed, and who owns it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::memory::{Known, Memory};
use super::refusal::Refusal;
use super::run;
use crate::engine::ports::{Provision, Provisioned, Runtime, RuntimeReport, Runtimes};
use crate::host::runtime::remote::wire::{Handed, Opening, Task};
use crate::session::{Digest, Epoch};

/// How long it is waited for the ends of what was cancelled.
const CANCEL_WAIT: Duration = Duration::from_secs(15);

/// Why something ended that nobody waits for any more.
const INTERRUPTED: &str = "it was interrupted";

/// One session.
pub(super) struct Hosted {
    /// Held while its runtime is made or released.
    changing: AsyncMutex<()>,
    /// Held while something runs: one at a time.
    turn: AsyncMutex<()>,
    state: Mutex<State>,
}

struct State {
    memory: Memory,
    live: Option<Live>,
    running: HashMap<String, Running>,
    heard: Instant,
    /// How many requests wait for an answer.
    waiting: usize,
}

/// A runtime that is there.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) id: Uuid,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) report: RuntimeReport,
}

/// Something that runs.
struct Running {
    epoch: Epoch,
    /// Why it shall end.
    cancel: watch::Sender<Option<String>>,
    done: watch::Receiver<bool>,
}

/// Who asks, and which runtime is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) epoch: Epoch,
    pub(super) runtime: Option<Uuid>,
}

/// How a task stands.
pub(super) enum Standing {
    /// What came of it, as JSON.
    Ended(Arc<str>),
    /// It runs; turns true when it ends.
    Runs(watch::Receiver<bool>),
}

/// Counts as a request that waits, as long as it is there: its owner is heard.
pub(super) struct Heard<'a>(&'a Hosted);

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
        state.heard = Instant::now();
    }
}

impl Hosted {
    pub(super) fn new(memory: Memory) -> Self {
        let state = State { memory, live: None, running: HashMap::new(), heard: Instant::now(), waiting: 0 };
        Self { changing: AsyncMutex::default(), turn: AsyncMutex::default(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the owner is there, until the answer is dropped.
    pub(super) fn hear(&self) -> Heard<'_> {
        let mut state = self.state();
        state.waiting += 1;
        state.heard = Instant::now();
        Heard(self)
    }

    /// Whether nobody was heard for `timeout`.
    pub(super) fn is_forsaken(&self, timeout: Duration) -> bool {
        let state = self.state();
        state.waiting == 0 && state.heard.elapsed() >= timeout
    }

    pub(super) fn is_live(&self) -> bool {
        self.state().live.is_some()
    }

    /// Refuses an owner that was taken over.
    pub(super) fn admit(&self, epoch: Epoch) -> Result<(), Refusal> {
        self.state().admit(epoch)
    }

    /// Makes the runtime, or finds the one that is there, for an owner with this epoch or a higher one from now on.
    pub(super) async fn open(&self, opening: &Opening, runtimes: &dyn Runtimes, request: Provision) -> Result<Live, Refusal> {
        let _changing = self.changing.lock().await;
        {
            let mut state = self.state();
            state.admit(opening.epoch)?;
            state.memory.raise(opening.epoch).map_err(|error| Refusal::memory(&error))?;
            if let Some(live) = &state.live {
                return Ok(live.clone());
            }
        }
        let provisioned = runtimes.provision(request).await.map_err(|error| Refusal::Unavailable(error.to_string()))?;
        let Provisioned { runtime, report } = provisioned;
        let live = Live { id: Uuid::new_v4(), runtime, report };
        self.state().live = Some(live.clone());
        Ok(live)
    }

    /// The runtime that `owner` means.
    pub(super) fn live(&self, owner: Owner) -> Result<Live, Refusal> {
        let state = self.state();
        state.admit(owner.epoch)?;
        state.meant(owner)
    }

    /// Takes something over and begins it, unless that was done before. Waits for the disk.
    pub(super) fn hand(self: &Arc<Self>, owner: Owner, id: &str, handed: Handed) -> Result<Standing, Refusal> {
        let content = serde_json::to_vec(&handed.task).map_err(|error| Refusal::BadRequest(error.to_string()))?;
        let mut state = self.state();
        state.admit(owner.epoch)?;
        let digest = state.memory.digest(&content);
        match state.memory.recall(id, handed.seq, handed.again) {
            Known::Here(task) if task.digest != digest => return Err(Refusal::OtherContent(id.to_owned())),
            Known::Here(_) => return state.standing(id),
            Known::Forgotten => return Err(forgotten(id)),
            Known::Never => {}
        }
        let live = state.meant(owner)?;
        // Its owner was taken over, and the new one goes on with something else.
        for running in state.running.values().filter(|running| running.epoch < owner.epoch) {
            running.cancel.send_replace(Some("its owner was taken over, and the new one did not ask for it".to_owned()));
        }
        state.memory.began(id, handed.seq, digest).map_err(|error| Refusal::memory(&error))?;
        let (cancel, cancelled) = watch::channel(None);
        let (end, done) = watch::channel(false);
        state.running.insert(id.to_owned(), Running { epoch: owner.epoch, cancel, done: done.clone() });
        // Whatever becomes of the request, this runs to its end.
        tokio::spawn(Arc::clone(self).run(id.to_owned(), live, handed.task, cancelled, end));
        Ok(Standing::Runs(done))
    }

    async fn run(
        self: Arc<Self>,
        id: String,
        live: Live,
        task: Task,
        mut cancelled: watch::Receiver<Option<String>>,
        end: watch::Sender<bool>,
    ) {
        let outcome = {
            let why = async {
                match cancelled.wait_for(Option::is_some).await.map(|why| why.clone()) {
                    Ok(Some(why)) => why,
                    _ => "nobody waits for it any more".to_owned(),
                }
            };
            let performed = async {
                let _turn = self.turn.lock().await;
                run::perform(live.runtime.as_ref(), task).await
            };
            tokio::select! {
                biased;
                outcome = performed => outcome,
                why = why => run::Outcome::lost(why),
            }
        };
        let this = Arc::clone(&self);
        let ended = tokio::task::spawn_blocking(move || {
            let mut state = this.state();
            if outcome.runtime_is_lost && state.live.as_ref().is_some_and(|now| now.id == live.id) {
                state.live = None;
            }
            state.memory.ended(&id, outcome.answer);
            state.running.remove(&id);
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the end of a task was not remembered");
        }
        // Whoever waits looks it up now.
        let _ = end.send(true);
    }

    /// How a task stands that was handed over before.
    pub(super) fn standing(&self, owner: Owner, id: &str) -> Result<Standing, Refusal> {
        let state = self.state();
        state.admit(owner.epoch)?;
        state.standing(id)
    }

    /// Ends what runs under this id. What was not handed over yet, since its request is still on its way, never runs. Waits for the
    /// disk.
    pub(super) fn interrupt(&self, owner: Owner, id: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        state.admit(owner.epoch)?;
        if let Some(running) = state.running.get(id) {
            running.cancel.send_replace(Some(INTERRUPTED.to_owned()));
        } else if matches!(state.memory.recall(id, None, false), Known::Never) {
            state.memory.began(id, None, Digest::ZERO).map_err(|error| Refusal::memory(&error))?;
            state.memory.ended(id, run::Outcome::lost(INTERRUPTED.to_owned()).answer);
        }
        Ok(())
    }

    /// Ends everything that runs; what was handed over stays remembered.
    pub(super) async fn release(&self, why: &str) -> Result<(), Refusal> {
        let _changing = self.changing.lock().await;
        let (live, running) = {
            let mut state = self.state();
            let running: Vec<watch::Receiver<bool>> = state.running.values().map(|running| running.done.clone()).collect();
            for running in state.running.values() {
                running.cancel.send_replace(Some(why.to_owned()));
            }
            (state.live.take(), running)
        };
        let Some(live) = live else { return Ok(()) };
        if let Err(error) = live.runtime.release().await {
            self.state().live = Some(live);
            return Err(Refusal::Unavailable(error.to_string()));
        }
        let ended = async {
            for mut done in running {
                let _ = done.wait_for(|done| *done).await;
            }
        };
        let _ = tokio::time::timeout(CANCEL_WAIT, ended).await;
        Ok(())
    }
}

impl State {
    fn admit(&self, epoch: Epoch) -> Result<(), Refusal> {
        let seen = self.memory.epoch();
        if epoch < seen { Err(Refusal::TakenOver(epoch, seen)) } else { Ok(()) }
    }

    fn meant(&self, owner: Owner) -> Result<Live, Refusal> {
        match &self.live {
            Some(live) if Some(live.id) == owner.runtime => Ok(live.clone()),
            Some(_) => Err(Refusal::Gone("the runtime was made anew".to_owned())),
            None => Err(Refusal::Gone("the runtime is not there any more".to_owned())),
        }
    }

    fn standing(&self, id: &str) -> Result<Standing, Refusal> {
        match self.memory.recall(id, None, false) {
            Known::Here(task) => match (task.answer, self.running.get(id)) {
                (Some(answer), _) => Ok(Standing::Ended(answer)),
                (None, Some(running)) => Ok(Standing::Runs(running.done.clone())),
                (None, None) => Err(forgotten(id)),
            },
            Known::Never | Known::Forgotten => Err(Refusal::NeverHanded(id.to_owned())),
        }
    }
}

fn forgotten(id: &str) -> Refusal {
    Refusal::Gone(format!("what came of {id} is not known here any more"))
}
