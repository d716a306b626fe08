//! Given events, when a command, then events: the pure core without a store or a clock.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use crate::session::decide::begin;
use crate::session::model::{CallReport, CallUsage, Decision, Judged, ModelErrorClass, ModelFailure};
use crate::session::replay::{RecordedEntry, Script};
use crate::session::{
    AgentConfig, AgentSpec, Command, Decided, Digest, EventId, Forked, Kind, ModelApi, ModelSpec, NodeId, OnDivergence,
    OnUnknown, Origin, Proof, Recorded, Rejection, Session, SessionId, SessionSpec, Timestamp, decide,
};

/// A session that is told commands, one microsecond after the other.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The state so far.
    pub session: Session,
    /// The log so far.
    pub log: Vec<Recorded>,
    id: SessionId,
    now: Timestamp,
    events_made: u128,
}

impl Default for Scenario {
    fn default() -> Self {
        Self::new()
    }
}

impl Scenario {
    /// A session that does not exist yet.
    pub fn new() -> Self {
        let id = SessionId::from_uuid(Uuid::from_u128(0x5e55));
        Self { session: Session::default(), log: Vec::new(), id, now: Timestamp(1_000_000), events_made: 0 }
    }

    /// The node in whose name a scenario runs.
    pub const fn node() -> NodeId {
        NodeId::from_uuid(Uuid::from_u128(0x0de))
    }

    /// A spec that begins so.
    pub fn spec(origin: Origin) -> SessionSpec {
        SessionSpec::new(origin, PathBuf::from("/tmp/scenario"))
    }

    /// The spec of a session whose agent decides, and that begins with a message.
    pub fn agent_spec() -> SessionSpec {
        let model = ModelSpec::new(ModelApi::OpenAi, "test-model");
        let agent = AgentSpec { name: "scripted".to_owned(), config: AgentConfig::new(model), delegates: BTreeMap::new() };
        let origin = Origin::fresh(Some("fix the test".to_owned()));
        SessionSpec { agent: Some(agent), ..Self::spec(origin) }
    }

    /// What an agent decides that wants these actions, each in the stored form.
    ///
    /// # Panics
    /// When one of them is no action.
    pub fn decision(actions: &[&str]) -> Decision {
        let judged = |text: &&str| match crate::session::Item::decode(text) {
            Ok(action) => Judged { action, judgement: None },
            Err(error) => panic!("{text} is no action: {error}"),
        };
        Decision { actions: actions.iter().map(judged).collect(), call: Self::call() }
    }

    /// A call that used ten tokens, and a hundredth of a dollar.
    pub fn call() -> CallReport {
        CallReport {
            model: "test-model".to_owned(),
            response_id: Some("r1".to_owned()),
            finish_reason: Some("tool_calls".to_owned()),
            reasoning: None,
            usage: CallUsage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: 0, cost_micro_usd: Some(10_000) },
            request: Digest::ZERO,
            prompt: None,
            latency_us: 1,
            retries: Vec::new(),
        }
    }

    /// A call that failed so.
    pub fn failure(class: ModelErrorClass, message: &str) -> Box<ModelFailure> {
        Box::new(ModelFailure { class, message: message.to_owned(), retry_after: None, usage: CallUsage::default() })
    }

    /// The origin of a replay with these policies; scenarios hand it its lines themselves.
    pub const fn replay(on_divergence: OnDivergence, on_unknown: OnUnknown) -> Origin {
        Origin::Replay { trajectory: Digest::ZERO, on_divergence, on_unknown }
    }

    /// Tells the session something that it must accept.
    ///
    /// # Panics
    /// When it refuses.
    #[track_caller]
    #[must_use]
    pub fn given(mut self, command: Command) -> Self {
        if let Err(rejection) = self.when(command) {
            panic!("the scenario's own command was refused: {rejection}");
        }
        self
    }

    /// Tells the session something and returns what it decided, folded in already.
    ///
    /// # Errors
    /// The rejection; the session is as it was.
    pub fn when(&mut self, command: Command) -> Result<Vec<Recorded>, Rejection> {
        self.now.0 += 1;
        let decided = decide(&self.session, command, self.now)?;
        Ok(decided.into_iter().map(|decided| self.append(decided)).collect())
    }

    /// The kinds of the events that a command leads to.
    ///
    /// # Errors
    /// As [`when`](Self::when).
    pub fn kinds(&mut self, command: Command) -> Result<Vec<String>, Rejection> {
        self.when(command).map(|events| events.iter().map(|event| event.kind.to_string()).collect())
    }

    /// Takes the session over, as after a crash.
    ///
    /// # Errors
    /// As [`when`](Self::when).
    pub fn crash_and_acquire(&mut self) -> Result<Vec<Recorded>, Rejection> {
        let proof = Proof { events: self.session.version.0, snapshot: None, digest: self.session.digest() };
        self.when(Command::Acquire {
            node: Self::node(),
            reason: "the process that ran it is gone".to_owned(),
            proof,
            then: None,
        })
    }

    /// Goes on as a fork of what it was until now, with a log of its own.
    #[must_use]
    pub fn forked(mut self) -> Self {
        self.now.0 += 1;
        if let Some(last) = self.log.last().cloned() {
            let forked = Forked::new(self.id, last.seq, Digest::of(b"the chain hash of its last event"), "/fork");
            let begun = begin(forked, &last, None, None).unwrap_or_default();
            begun.into_iter().for_each(|decided| drop(self.append(decided)));
        }
        self
    }

    /// A recording as a script.
    pub fn script(items: &[&str]) -> Script {
        let entry = |text: &&str| RecordedEntry {
            kind: kind_of(text),
            item: crate::session::Item::decode(text).map_err(|error| error.to_string()),
        };
        Script::read(items.iter().map(entry).collect())
    }

    fn append(&mut self, decided: Decided) -> Recorded {
        self.events_made += 1;
        let id = EventId::from_uuid(Uuid::from_u128(self.events_made));
        let recorded = decided.into_new_event(id, self.now).recorded(self.id, self.session.version.next());
        self.session.apply(&recorded);
        self.log.push(recorded.clone());
        recorded
    }
}

fn kind_of(text: &str) -> Kind {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let tag = |key: &str| value.get(key).and_then(|tag| tag.as_str()).map(|tag| format!("{key}.{tag}"));
    Kind::new(tag("action").or_else(|| tag("observation")).unwrap_or_default())
}
