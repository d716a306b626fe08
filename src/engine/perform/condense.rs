//! A history that has grown too long: what is forgotten of it, and its summary.

use std::sync::Arc;

use super::Performing;
use super::agent::{cannot_ask, failed, no_answer, patience};
use crate::engine::error::EngineError;
use crate::engine::history::{offset, surplus};
use crate::engine::ports::{Past, Summarised, Summariser, SummariserRequest};
use crate::session::model::Summary;
use crate::session::{Command, Condenser, ModelSpec, Seq};

impl Performing {
    /// Chooses what is forgotten of a history of which the agent sees more than it may.
    pub(super) async fn condense(&mut self) -> Result<Command, EngineError> {
        let condenser = self.session.condenser();
        let (keep_first, max) = condenser.map_or((0, None), |condenser| (condenser.keep_first(), condenser.max()));
        let history = Arc::clone(&self.holding.history);
        let mut history = history.lock().await;
        history.catch_up(self.shared.store.as_ref(), self.id, self.session.version).await?;
        Ok(Command::Forget { forget: max.map(|max| surplus(history.past(), keep_first, max)).unwrap_or_default() })
    }

    /// Has a model sum up what the session is about to forget.
    pub(super) async fn summarise(&mut self, request: Seq) -> Result<Command, EngineError> {
        let Some(model) = self.summary_model() else {
            return Ok(cannot_ask(request, "the session has no agent whose history could be summed up".to_owned()));
        };
        let within = patience(&model);
        let summariser = match tokio::time::timeout(self.start_step(), self.summariser(model)).await {
            Ok(Ok(summariser)) => summariser,
            Ok(Err(message)) => return Ok(cannot_ask(request, message)),
            Err(_) => return Ok(cannot_ask(request, "whoever sums up could not be made in time".to_owned())),
        };
        let history = Arc::clone(&self.holding.history);
        let mut history = history.lock().await;
        history.catch_up(self.shared.store.as_ref(), self.id, self.session.version).await?;
        let forgetting = self.session.forgetting.clone();
        let past: Vec<&Past> = history.past().iter().filter(|past| forgetting.contains(&past.seq)).collect();
        // Once more, since reading took time.
        self.own().await?;
        let answer = tokio::time::timeout(within, summariser.summarise(&past)).await;
        match answer.unwrap_or_else(|_| Err(no_answer(within))) {
            Ok(Summarised { text, mut call }) => {
                // What it was told is kept, so that a person can read it; without it the summary is as good.
                let prompt = self.mask.text(summariser.prompt().to_owned()).into_bytes();
                call.prompt = self.shared.store.put_blob(self.id, prompt).await.ok();
                let summary = Summary { text, offset: offset(history.past(), &forgetting), call };
                Ok(Command::Summarise { request, summary: Box::new(summary) })
            }
            Err(failure) => Ok(failed(request, failure)),
        }
    }

    /// The model that sums up: the agent's own where no other is named.
    fn summary_model(&self) -> Option<ModelSpec> {
        let config = &self.session.spec.as_ref()?.agent.as_ref()?.config;
        Some(match &config.condense {
            Condenser::Summary { model: Some(model), .. } => model.as_ref().clone(),
            _ => config.model.clone(),
        })
    }

    async fn summariser(&self, model: ModelSpec) -> Result<Arc<dyn Summariser>, String> {
        let key = self.secret(model.key.as_deref()).await?;
        let request = SummariserRequest { session: self.id, model, key };
        self.shared.ports.agents.summariser(request).await.map_err(|error| error.to_string())
    }
}
