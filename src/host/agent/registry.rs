//! Agents by name.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::actions::Toolbox;
use super::catalogue;
use super::coder::Coder;
use super::model::{Endpoint, GenaiModel, Http, Pause, TokioPause};
use super::summary::ModelSummariser;
use crate::engine::ports::{Agent, AgentError, AgentRequest, Agents, Summariser, SummariserRequest};

/// The name of the tool-calling agent.
pub const CODER: &str = "coder";

/// Agents by name: `coder`, and those that are added.
pub struct AgentRegistry {
    pause: Arc<dyn Pause>,
    http: Http,
    added: BTreeMap<String, Arc<dyn Agents>>,
}

impl fmt::Debug for AgentRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRegistry").field("known", &self.known()).finish_non_exhaustive()
    }
}

impl Default for AgentRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentRegistry {
    /// Knows `coder`.
    pub fn new() -> Self {
        Self { pause: Arc::new(TokioPause), http: Http::default(), added: BTreeMap::new() }
    }

    /// Waits between tries as `pause` does.
    #[must_use]
    pub fn pausing(mut self, pause: Arc<dyn Pause>) -> Self {
        self.pause = pause;
        self
    }

    /// Knows `name` too, which `agents` make; an earlier one of that name, `coder` among them, is replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, agents: Arc<dyn Agents>) -> Self {
        self.added.insert(name.into(), agents);
        self
    }

    fn known(&self) -> Vec<&str> {
        let mut known: Vec<&str> = self.added.keys().map(String::as_str).chain([CODER]).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn coder(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError> {
        let AgentRequest { config, key, tools, delegates, asks_risk, .. } = request;
        let mut names: HashSet<&str> = config.tools.iter().map(|tool| catalogue::name(*tool)).collect();
        if names.len() < config.tools.len() {
            return Err(AgentError::Misconfigured("the agent is given a tool of its own twice".to_owned()));
        }
        if let Some(twice) = tools.iter().find(|tool| !names.insert(&tool.name)) {
            let why = format!("two tools are called `{}`; leave one of them out, or its server", twice.name);
            return Err(AgentError::Misconfigured(why));
        }
        let endpoint = Endpoint::new(&config.model, key)?;
        let model = Box::new(GenaiModel::new(config.model.clone(), endpoint, &self.http)?);
        let toolbox = Toolbox { own: config.tools, servers: tools, asks_risk, delegates };
        Ok(Arc::new(Coder::new(model, config.model, toolbox, Arc::clone(&self.pause))))
    }
}

#[async_trait]
impl Agents for AgentRegistry {
    async fn summariser(&self, request: SummariserRequest) -> Result<Arc<dyn Summariser>, AgentError> {
        let SummariserRequest { model: spec, key, .. } = request;
        let model = Box::new(GenaiModel::new(spec.clone(), Endpoint::new(&spec, key)?, &self.http)?);
        Ok(Arc::new(ModelSummariser::new(model, spec, Arc::clone(&self.pause))))
    }

    fn knows(&self, name: &str) -> bool {
        name == CODER || self.added.contains_key(name)
    }

    async fn agent(&self, request: AgentRequest) -> Result<Arc<dyn Agent>, AgentError> {
        match self.added.get(&request.name) {
            Some(agents) => agents.agent(request).await,
            None if request.name == CODER => self.coder(request),
            None => Err(AgentError::Unknown { known: self.known().join(", "), name: request.name }),
        }
    }
}
