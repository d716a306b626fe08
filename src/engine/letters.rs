//! Commands for sessions that another node runs: sent there through the store, carried out there once, answered.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;
use uuid::Uuid;

use super::errand::{Answer, Errand};
use super::error::EngineError;
use super::{Engine, Running, Shared, ownership};
use crate::session::{NodeId, Seq, SessionId};
use crate::store::{Letter, StoreError};

/// How often a node looks for letters.
const LOOK: Duration = Duration::from_millis(250);
/// How many letters are carried out at once.
const AT_ONCE: u32 = 64;
/// How often whoever sent a letter looks for the answer.
const LOOK_FOR_ANSWER: Duration = Duration::from_millis(50);
/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked whether the owner still lives.
const LOOK_FOR_OWNER: Duration = Duration::from_secs(1);

/// Carries out the letters to this node until the engine is gone.
pub(super) fn keep_answering(shared: Arc<Shared>, running: Weak<Running>) -> BoxFuture<'static, ()> {
    // Boxed by name, since what it carries out may come back to where it is started.
    Box::pin(answer(shared, running))
}

async fn answer(shared: Arc<Shared>, running: Weak<Running>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(running) = running.upgrade() else { return };
        let engine = Engine { shared: Arc::clone(&shared), running };
        match shared.store.letters(shared.node, AT_ONCE).await {
            Ok(letters) => drop(join_all(letters.into_iter().map(|letter| engine.carry_out(letter))).await),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "letters cannot be read"),
        }
    }
}

impl Engine {
    async fn carry_out(&self, letter: Letter) {
        let store = &self.shared.store;
        let done = async {
            if !store.begin(letter.to, letter.id).await? {
                return Ok(());
            }
            let read = serde_json::from_str::<Errand>(&letter.command).map_err(|error| error.to_string());
            let answer = match read.and_then(Errand::command) {
                Ok(command) => Box::pin(self.submit_here(letter.session, command)).await.into(),
                Err(why) => Answer::Failed(format!("the command cannot be read: {why}")),
            };
            let answer = match answer {
                Answer::Failed(why) => Answer::Failed(match self.shared.mask_of(letter.session).await {
                    Ok(mask) => mask.text(why),
                    Err(error) => error.to_string(),
                }),
                other => other,
            };
            let text = serde_json::to_string(&answer).map_err(|error| StoreError::Invalid(error.to_string()))?;
            store.answer(letter.to, letter.id, &text).await
        };
        if let Err(error) = done.await {
            tracing::warn!(session.id = %letter.session, error = &error as &dyn std::error::Error, "a letter was not answered");
        }
    }

    /// Has `errand` carried out by the node that runs the session; `None` when that runs it no more, and nothing was done.
    ///
    /// # Errors
    /// [`EngineError::OwnedElsewhere`] when that node does not answer; the errand will not be carried out then.
    pub(super) async fn forward(
        &self,
        session: SessionId,
        node: NodeId,
        address: &str,
        errand: &Errand,
    ) -> Result<Option<Seq>, EngineError> {
        let store = &self.shared.store;
        let command = serde_json::to_string(errand).map_err(|error| StoreError::Invalid(error.to_string()))?;
        // A letter lies in the store, too.
        let command = self.shared.mask_of(session).await?.errand(command);
        let id = Uuid::now_v7();
        store.post(Letter { to: node, id, session, command }).await?;
        let sent = Instant::now();
        let mut looked = sent;
        let mut begun = false;
        loop {
            tokio::time::sleep(LOOK_FOR_ANSWER).await;
            if let Some(answer) = store.take_answer(node, id).await? {
                return read(&answer);
            }
            let late = sent.elapsed() >= ANSWER_WAIT;
            let dead = looked.elapsed() >= LOOK_FOR_OWNER && {
                looked = Instant::now();
                !ownership::lives(store.as_ref(), node).await?
            };
            if !late && !dead {
                continue;
            }
            let elsewhere = (session, node, address.to_owned());
            if !begun && store.withdraw(node, id).await? {
                let (session, node, address) = elsewhere;
                return if dead { Ok(None) } else { Err(EngineError::OwnedElsewhere { session, node, address }) };
            }
            begun = true;
            // What was begun is answered in a moment, unless its node has died over it.
            if dead || sent.elapsed() >= ANSWER_WAIT * 2 {
                if let Some(answer) = store.take_answer(node, id).await? {
                    return read(&answer);
                }
                let (session, node, address) = elsewhere;
                return Err(EngineError::Unanswered { session, node, address });
            }
        }
    }
}

fn read(answer: &str) -> Result<Option<Seq>, EngineError> {
    match serde_json::from_str(answer).map_err(|error| StoreError::Invalid(format!("an answer cannot be read: {error}")))? {
        Answer::Done(before) => Ok(Some(before)),
        Answer::Rejected(rejection) => Err(rejection.into()),
        Answer::Moved => Ok(None),
        Answer::Failed(why) => Err(StoreError::Unavailable(why.into()).into()),
    }
}
