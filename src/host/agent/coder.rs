//! The tool-calling agent: asks a model what to do next, and has it done.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;

use super::actions::Toolbox;
use super::chat::{Answer, Message, Request};
use super::history;
use super::model::{ChatModel, Heard, Patience, Pause};
use super::prompt::system_prompt;
use crate::engine::ports::{Agent, Briefing, Deltas, ModelErrorClass, ModelFailure, Response, Turn};
use crate::session::{Digest, ModelSpec};

/// The tool-calling agent.
pub struct Coder {
    model: Box<dyn ChatModel>,
    spec: ModelSpec,
    toolbox: Toolbox,
    briefing: Arc<Briefing>,
    pause: Arc<dyn Pause>,
}

impl Coder {
    /// An agent that asks `model`, which is the one that `spec` names.
    pub fn new(model: Box<dyn ChatModel>, spec: ModelSpec, toolbox: Toolbox, pause: Arc<dyn Pause>) -> Self {
        let prompt = system_prompt(&toolbox.own, !toolbox.servers.is_empty(), toolbox.asks_risk);
        let briefing = Arc::new(Briefing { prompt, tools: toolbox.definitions() });
        Self { model, spec, toolbox, briefing, pause }
    }

    fn asked<'a>(&'a self, messages: &'a [Message]) -> Asked<'a> {
        Asked::of(&self.spec, &self.briefing, messages)
    }
}

/// What is asked of whom, which is what the digest of a request is made of.
#[derive(Serialize)]
pub(super) struct Asked<'a> {
    model: &'a str,
    temperature_milli: Option<u32>,
    max_output_tokens: Option<u32>,
    briefing: &'a Briefing,
    messages: &'a [Message],
}

impl<'a> Asked<'a> {
    pub(super) fn of(spec: &'a ModelSpec, briefing: &'a Briefing, messages: &'a [Message]) -> Self {
        let ModelSpec { name, temperature_milli, max_output_tokens, .. } = spec;
        Self { model: name, temperature_milli: *temperature_milli, max_output_tokens: *max_output_tokens, briefing, messages }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

#[async_trait]
impl Agent for Coder {
    fn briefing(&self) -> &Briefing {
        &self.briefing
    }

    fn request(&self, turn: Turn<'_>) -> Option<Digest> {
        Some(self.asked(&history::messages(turn.history)).digest())
    }

    async fn step(&self, turn: Turn<'_>, deltas: &dyn Deltas) -> Result<Response, ModelFailure> {
        let request = Request { briefing: Arc::clone(&self.briefing), messages: history::messages(turn.history) };
        let digest = self.asked(&request.messages).digest();
        let patience = Patience { retries: self.spec.retries, pause: &*self.pause };
        let Heard { answer, retries, latency, usage } = patience.ask(&*self.model, &request, deltas).await?;
        // Results are told apart by the id of their answer; no request is made twice, so its digest serves where an endpoint gives none.
        let id = answer.id.clone().unwrap_or_else(|| format!("request-{}", digest.short()));
        let actions = self.toolbox.actions(&answer, &id, history::call_ids(turn.history)).map_err(|message| ModelFailure {
            class: ModelErrorClass::BadAnswer,
            message,
            retry_after: None,
            usage,
        })?;
        Ok(Response {
            actions,
            answer: whole(&answer).into(),
            model: answer.model.unwrap_or_else(|| self.spec.name.clone()),
            response_id: answer.id,
            finish_reason: answer.finish_reason,
            reasoning: Some(answer.reasoning).filter(|reasoning| !reasoning.is_empty()),
            usage,
            request: digest,
            latency,
            retries,
        })
    }
}

/// The answer as it came, for the log.
fn whole(answer: &Answer) -> serde_json::Value {
    json!({ "id": answer.id, "text": answer.text, "tool_calls": answer.calls })
}
