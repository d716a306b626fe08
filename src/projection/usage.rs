//! What a session used: tokens and money as its models told, actions by kind.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Projection;
use crate::session::{Content, Entry, Event, Recorded};

/// What a session used.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// US dollars; unset when no model said.
    pub cost_usd: Option<f64>,
    /// The models that were named.
    pub models: Vec<String>,
    /// Actions by their V0 tag.
    pub actions: BTreeMap<String, u64>,
    /// Seconds between an action's dispatch and its outcome, by the action's V0 tag.
    pub seconds: BTreeMap<String, f64>,
    #[serde(skip)]
    dispatched: BTreeMap<u64, (String, crate::session::Timestamp)>,
}

impl Projection for Usage {
    fn apply(&mut self, event: &Recorded) {
        match event.kind.family() {
            "action" if event.kind.as_str() == "action.dispatched" => {
                if let Some(entry) = event.cause.and_then(|cause| self.dispatched.get_mut(&cause.0)) {
                    entry.1 = event.at;
                }
            }
            "action" => {
                *self.actions.entry(event.kind.tag().to_owned()).or_default() += 1;
                self.dispatched.insert(event.seq.0, (event.kind.tag().to_owned(), event.at));
                if let Event::Item(entry) = Event::read(event) {
                    self.metrics(&entry);
                }
            }
            "observation" => {
                if let Some((tag, since)) = event.cause.and_then(|cause| self.dispatched.remove(&cause.0)) {
                    *self.seconds.entry(tag).or_default() += event.at.since(since).as_secs_f64();
                }
            }
            _ => {}
        }
    }
}

impl Usage {
    /// Accumulated figures only grow.
    fn metrics(&mut self, entry: &Entry) {
        let (Content::Action(_), Some(metrics)) = (&entry.item.content, &entry.item.llm_metrics) else {
            return;
        };
        if let Some(tokens) = &metrics.accumulated_token_usage {
            let figure = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
            self.prompt_tokens = self.prompt_tokens.max(figure(tokens.prompt_tokens));
            self.completion_tokens = self.completion_tokens.max(figure(tokens.completion_tokens));
            self.cache_read_tokens = self.cache_read_tokens.max(figure(tokens.cache_read_tokens));
            if !matches!(tokens.model.as_str(), "" | "default") && !self.models.contains(&tokens.model) {
                self.models.push(tokens.model.clone());
            }
        }
        if metrics.accumulated_cost > 0.0 || !self.models.is_empty() {
            self.cost_usd = Some(self.cost_usd.unwrap_or(0.0).max(metrics.accumulated_cost));
        }
    }
}
