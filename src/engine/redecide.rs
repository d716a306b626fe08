//! Today's code against what a session recorded, with no model and no tools: its decisions, what its judges said, what its model was
//! told and asked.
//!
//! The decisions are made again by [`Verifying`], which is pure. The rest is of the world, and is made again here where it depends on
//! nothing but the log: the rules over actions, the prompt, and the request of each call, by its digest.

use std::sync::Arc;

use serde_json::json;

use super::error::EngineError;
use super::history::History;
use super::ports::{Agent, AgentRequest, Past, Ports, Question, SummariserRequest, ToolDefinition, Turn};
use super::subscribe::Subscription;
use crate::session::event::{ActionJudged, Briefed, Created};
use crate::session::mask::HIDDEN;
use crate::session::model::CallReport;
use crate::session::replay::verify::{Divergence, Redecided, Shown, Unchecked, Verifying};
use crate::session::replay::{Difference, Script};
use crate::session::{
    Analyzer, Condenser, Content, Digest, Event, Extras, Forked, Item, ModelSpec, Observation, Origin, Recorded, SecuritySpec,
    Seq, SessionId, SessionSpec, Timestamp,
};
use crate::store::{Row, SessionRow, SharedStore};

/// Decides a session again, up to its event `upto`, which is not behind the head that `row` names. What was decided together with
/// that event is read, too, and nothing is said of it.
///
/// # Errors
/// [`EngineError::Unproven`] at the first event up to there that is damaged or missing; also when the store cannot be read.
pub async fn redecide(store: &SharedStore, ports: &Ports, row: &SessionRow, upto: Seq) -> Result<Redecided, EngineError> {
    let mut events = Subscription::new(SharedStore::clone(store), row.id, Seq::ZERO);
    let mut again: Option<Again> = None;
    let (mut read, mut at) = (Seq::ZERO, None);
    while read < row.head {
        let next = match events.next_recorded().await? {
            Some(Row::Event { event, .. }) if event.seq == read.next() => Ok(event),
            Some(Row::Event { .. }) | None => Err((read.next(), "it is missing".to_owned())),
            Some(Row::Damaged { seq, what }) => Err((seq, what)),
        };
        let event = match next {
            Ok(event) if read < upto || at == Some(event.at) => event,
            Ok(_) => break,
            Err((seq, what)) if read < upto => return Err(EngineError::Unproven { session: row.id, seq, what }),
            Err(_) => {
                // Nobody can tell what more was decided with the last one.
                again.iter_mut().for_each(|again| again.verifying.cut());
                break;
            }
        };
        (read, at) = (event.seq, Some(event.at));
        let again = match &mut again {
            Some(again) => again,
            none => none.insert(Again::begin(store, ports, row.id, &event).await?),
        };
        again.take(event).await?;
    }
    let mut found = again.map(Again::end).unwrap_or_default();
    // An event that is missing at the end of what was decided is told by the place that it would have.
    let missing = (read == upto).then(|| upto.next());
    found.divergences.retain(|found| found.seq <= upto || found.expected.is_none() && Some(found.seq) == missing);
    found.unchecked.retain(|found| found.seq <= upto);
    Ok(found)
}

/// What is known while a log is read.
struct Again<'a> {
    store: &'a SharedStore,
    ports: &'a Ports,
    id: SessionId,
    verifying: Verifying,
    spec: Option<Box<SessionSpec>>,
    history: History,
    /// The agent as it was last told what it is; unset where it cannot be made as it was.
    agent: Option<Arc<dyn Agent>>,
    /// The tools that it has beside its own.
    of_servers: Vec<ToolDefinition>,
    /// The last call: the digest of what is asked today, and where the shell stood.
    asked: Option<Digest>,
    directory: Option<String>,
    /// The actions of the last answer, and when it came.
    answer: (Timestamp, Vec<(Seq, Item)>),
    /// The moment of the last event that asked or told the model something, and what it is to sum up, if that is what it was asked.
    asks: Option<(Timestamp, Vec<Seq>)>,
    divergences: Vec<Divergence>,
    unchecked: Vec<Unchecked>,
}

impl<'a> Again<'a> {
    async fn begin(store: &'a SharedStore, ports: &'a Ports, id: SessionId, first: &Recorded) -> Result<Self, EngineError> {
        let spec = match Event::read(first) {
            Event::Created(Created { spec }) => Some(spec),
            _ => None,
        };
        let script = match spec.as_ref().map(|spec| &spec.origin) {
            Some(Origin::Replay { trajectory, .. }) => {
                let bytes = store.blob(id, *trajectory).await?;
                bytes.and_then(|bytes| (ports.recordings)(&bytes).ok()).map(|entries| Arc::new(Script::read(entries)))
            }
            _ => None,
        };
        Ok(Self {
            store,
            ports,
            id,
            verifying: Verifying::new(script),
            spec,
            history: History::default(),
            agent: None,
            of_servers: Vec::new(),
            asked: None,
            directory: None,
            answer: (Timestamp(0), Vec::new()),
            asks: None,
            divergences: Vec::new(),
            unchecked: Vec::new(),
        })
    }

    async fn take(&mut self, recorded: Recorded) -> Result<(), EngineError> {
        // The agent was asked on what the log held then; what came while it thought it has not seen.
        if let Some((_, summarises)) = self.asks.take_if(|(at, _)| *at != recorded.at) {
            self.asked = if summarises.is_empty() {
                self.agent.as_ref().and_then(|agent| agent.request(Turn { history: self.history.past() }))
            } else {
                self.asked_for_summary(&summarises).await
            };
            self.directory = directory(&self.history);
        }
        match Event::read(&recorded) {
            Event::Briefed(told) => {
                self.briefed(&recorded, &told).await?;
                self.asks = Some((recorded.at, Vec::new()));
            }
            Event::ModelRequested(body) => self.asks = Some((recorded.at, body.summarises)),
            Event::ModelResponded(call) => {
                self.request(&recorded, &call);
                self.answer = (recorded.at, Vec::new());
            }
            Event::Item(entry) if matches!(entry.item.content, Content::Action(_)) && self.answer.0 == recorded.at => {
                self.answer.1.push((recorded.seq, entry.item));
            }
            Event::Judged(judged) => self.judged(&recorded, &judged),
            Event::Forked(body) => self.forked(body).await,
            _ => {}
        }
        self.history.add(&recorded);
        self.verifying.take(recorded);
        Ok(())
    }

    fn end(self) -> Redecided {
        let mut found = self.verifying.end();
        found.divergences.extend(self.divergences);
        found.divergences.sort_by_key(|divergence| divergence.seq);
        found.unchecked.extend(self.unchecked);
        found.unchecked.sort_by_key(|unchecked| unchecked.seq);
        found
    }

    /// Makes the agent that was told this, and compares what it is told today.
    async fn briefed(&mut self, recorded: &Recorded, told: &Briefed) -> Result<(), EngineError> {
        self.agent = None;
        let (prompt, tools) = (self.store.blob(self.id, told.prompt).await?, self.store.blob(self.id, told.tools).await?);
        let (Some(prompt), Some(tools)) = (prompt, tools) else {
            self.unchecked(recorded, "what the model was told is not in the store");
            return Ok(());
        };
        let (prompt, tools) = (String::from_utf8_lossy(&prompt).into_owned(), String::from_utf8_lossy(&tools).into_owned());
        if prompt.contains(HIDDEN) || tools.contains(HIDDEN) {
            self.unchecked(recorded, "what the model was told held secrets");
            return Ok(());
        }
        let known: Vec<ToolDefinition> = serde_json::from_str(&tools).unwrap_or_default();
        let Some(own) = self.make(Vec::new()).await else {
            self.unchecked(recorded, "its agent cannot be made here");
            return Ok(());
        };
        let of_agent = |name: &str| own.briefing().tools.iter().any(|tool| tool.name == name);
        let of_servers: Vec<ToolDefinition> = known.into_iter().filter(|tool| !of_agent(&tool.name)).collect();
        let agent = if of_servers.is_empty() { Some(own) } else { self.make(of_servers.clone()).await };
        self.of_servers = of_servers;
        let Some(agent) = agent else {
            self.unchecked(recorded, "its agent cannot be made here");
            return Ok(());
        };
        let today = agent.briefing();
        let tools_today = serde_json::to_string(&today.tools).unwrap_or_default();
        let mut differences = Vec::new();
        for (field, before, now) in [("prompt", &prompt, &today.prompt), ("tools", &tools, &tools_today)] {
            if !same_text(before, now) {
                let (recorded, actual) = from_first_difference(before, now);
                differences.push(Difference { field: field.to_owned(), recorded, actual });
            }
        }
        if differences.is_empty() {
            self.agent = Some(agent);
            return Ok(());
        }
        let digests = json!({
            "prompt": Digest::of(today.prompt.as_bytes()), "tools": Digest::of(tools_today.as_bytes()),
        });
        self.differs(recorded, "what the model is told", digests, differences, "today's agent is told something else".to_owned());
        Ok(())
    }

    /// A fork asks another model, maybe.
    async fn forked(&mut self, body: Forked) {
        let agent = self.spec.as_mut().and_then(|spec| spec.agent.as_mut());
        if let (Some(model), Some(agent)) = (body.model, agent) {
            agent.config.model.name = model;
            if self.agent.is_some() {
                self.agent = self.make(self.of_servers.clone()).await;
            }
        }
    }

    async fn make(&self, tools: Vec<ToolDefinition>) -> Option<Arc<dyn Agent>> {
        let spec = self.spec.as_ref()?;
        let mut asked = spec.agent.clone()?;
        asked.config.model.key = None;
        let request = AgentRequest {
            session: self.id,
            name: asked.name,
            // Nobody is asked, so that no key is needed.
            key: None,
            delegates: asked.delegates.into_keys().collect(),
            config: asked.config,
            tools,
            asks_risk: spec.security.analyzers.contains(&Analyzer::Model),
        };
        self.ports.agents.agent(request).await.ok()
    }

    /// The digest of the request for a summary of these events, as it is made today.
    async fn asked_for_summary(&self, summarises: &[Seq]) -> Option<Digest> {
        let config = &self.spec.as_ref()?.agent.as_ref()?.config;
        let model = match &config.condense {
            Condenser::Summary { model: Some(model), .. } => model.as_ref(),
            _ => &config.model,
        };
        // Nobody is asked, so that no key is needed.
        let request = SummariserRequest { session: self.id, model: ModelSpec { key: None, ..model.clone() }, key: None };
        let summariser = self.ports.agents.summariser(request).await.ok()?;
        let past: Vec<&Past> = self.history.past().iter().filter(|past| summarises.contains(&past.seq)).collect();
        summariser.request(&past)
    }

    /// Compares the request that would be made today with the one that was made, by their digests.
    fn request(&mut self, recorded: &Recorded, call: &CallReport) {
        let Some(today) = self.asked.take() else { return };
        if today != call.request {
            let difference =
                Difference { field: "/request".to_owned(), recorded: call.request.to_string(), actual: today.to_string() };
            let explanation = "today's code makes another request of the same history".to_owned();
            self.differs(recorded, "what the model is asked", json!({ "request": today }), vec![difference], explanation);
        }
    }

    /// Has the rules judge an action again.
    fn judged(&mut self, recorded: &Recorded, body: &ActionJudged) {
        let Some(spec) = self.spec.as_ref().map(|spec| &spec.security) else { return };
        let at = self.answer.1.iter().position(|(seq, _)| Some(*seq) == recorded.cause);
        let (true, Some(at)) = (spec.analyzers.contains(&Analyzer::Rules), at) else { return };
        let items: Vec<Item> = self.answer.1.iter().take(at + 1).map(|(_, item)| item.clone()).collect();
        let Some((action, before)) = items.split_last() else { return };
        if items.iter().any(|item| item.encode_body().contains(HIDDEN)) {
            self.unchecked(recorded, "the action that was judged held secrets");
            return;
        }
        let rules = SecuritySpec { analyzers: vec![Analyzer::Rules], ..spec.clone() };
        let question = Question { spec: &rules, action, declared: None, directory: self.directory.as_deref(), before };
        let today = self.ports.judge.judge(question);
        if today.by.is_empty() {
            self.unchecked(recorded, "nobody here judges actions");
            return;
        }
        let alone = spec.analyzers.len() == 1;
        let was = &body.judgement;
        // Beside the rules, the model's own word counts, which is not asked again.
        let of_rules = |reasons: &[String]| -> Vec<String> {
            reasons.iter().filter(|reason| !reason.starts_with("model: ")).cloned().collect()
        };
        let (reasons, reasons_today) = (of_rules(&was.reasons), of_rules(&today.reasons));
        let mut differences = Vec::new();
        let mut differ = |field: &str, recorded: String, actual: String| {
            if recorded != actual {
                differences.push(Difference { field: field.to_owned(), recorded, actual });
            }
        };
        if alone || today.risk > was.risk {
            differ("/risk", was.risk.to_string(), today.risk.to_string());
        }
        differ("/reasons", reasons.join("\n"), reasons_today.join("\n"));
        let by = was.by.iter().find(|by| by.starts_with("rules/")).cloned().unwrap_or_default();
        differ("/by", by, today.by.join(", "));
        if !differences.is_empty() {
            let now = serde_json::to_value(&today).unwrap_or_default();
            let explanation = format!("today's rules say {} where {} was said", today.risk, was.risk);
            self.differs(recorded, "rules over actions", now, differences, explanation);
        }
    }

    fn differs(
        &mut self,
        recorded: &Recorded,
        rule: &'static str,
        body: serde_json::Value,
        differences: Vec<Difference>,
        explanation: String,
    ) {
        let expected = Shown::from(recorded);
        let actual = Some(Shown { body, ..expected.clone() });
        let (seq, expected) = (recorded.seq, Some(expected));
        let command = "the model's answer";
        self.divergences.push(Divergence { seq, command, rule, expected, actual, differences, explanation });
    }

    fn unchecked(&mut self, recorded: &Recorded, why: &'static str) {
        self.unchecked.push(Unchecked { seq: recorded.seq, kind: recorded.kind.clone(), why, events: 1 });
    }
}

/// Whether two texts say the same; JSON may order its keys otherwise.
fn same_text(a: &str, b: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || value(a).is_some_and(|a| value(b) == Some(a))
}

/// Both texts from where they first differ, shortened.
fn from_first_difference(a: &str, b: &str) -> (String, String) {
    const SHOWN_MAX: usize = 200;
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(20);
    let part = |text: &str| text.chars().skip(from).take(SHOWN_MAX).collect();
    (part(a), part(b))
}

/// Where the last command left the shell.
fn directory(history: &History) -> Option<String> {
    history.past().iter().rev().find_map(|past| match &past.item.content {
        Content::Observation(Observation { extras: Extras::Run(run), .. }) => run.metadata.working_dir.clone(),
        _ => None,
    })
}
