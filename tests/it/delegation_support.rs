//! An engine whose agents follow a script, for sessions that hand parts of their task to others.

use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::{AgentRequest, Past, Ports};
use rekindle::engine::{Engine, Status};
use rekindle::session::{
    Action, Command, Content, Extras, Item, Observation, Origin, Recorded, Seq, Session, SessionId, SessionSpec, Source, Tool,
};
use rekindle::store::{MemoryStore, Read, Row, SharedStore, chain};
use rekindle::testing::{Answer, FakeAgents, FakeRuntimes, Reply, Scenario};

/// A world in which sessions run: a store, a runtime and agents that remember what they were asked.
#[derive(Clone)]
pub struct World {
    pub store: SharedStore,
    pub runtimes: FakeRuntimes,
    pub agents: FakeAgents,
}

impl World {
    pub fn new(script: impl Fn(&AgentRequest, &[Past]) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(script, ran)
    }

    pub fn answering(
        script: impl Fn(&AgentRequest, &[Past]) -> Reply + Send + Sync + 'static,
        answers: impl Fn(&Action) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let store: SharedStore = Arc::new(MemoryStore::new());
        Self { store, runtimes: FakeRuntimes::new(answers), agents: FakeAgents::new(script) }
    }

    pub fn engine(&self) -> Engine {
        self.engine_on(&self.store)
    }

    pub fn engine_on(&self, store: &SharedStore) -> Engine {
        let ports = Ports::new(Arc::new(self.runtimes.clone()), rekindle::trajectory::recording);
        let ports = Ports { agents: Arc::new(self.agents.clone()), ..ports };
        Engine::new(Arc::clone(store), ports, Arc::new(SystemClock))
    }

    pub async fn begin(&self, engine: &Engine, spec: SessionSpec) -> SessionId {
        let id = engine.new_session_id();
        engine.create(id, None, spec).await.unwrap();
        id
    }

    pub async fn session(&self, id: SessionId) -> Session {
        self.assert_decided_again(id).await;
        rekindle::engine::restore::restore(self.store.as_ref(), id, rekindle::engine::Trust::Nothing).await.unwrap().session
    }

    /// Today's code decides all of it as it stands in the log.
    pub async fn assert_decided_again(&self, id: SessionId) {
        let row = self.store.session(id).await.unwrap().unwrap();
        let ports = Ports::new(Arc::new(self.runtimes.clone()), rekindle::trajectory::recording);
        let found = rekindle::engine::redecide(&self.store, &ports, &row, row.head).await.unwrap();
        assert_eq!(found.divergences, [], "{id}");
        assert_eq!(found.decided, row.head.0, "{id}: {:?}", found.unchecked);
    }

    pub async fn log(&self, id: SessionId) -> Vec<Recorded> {
        let mut log = Vec::new();
        loop {
            let after = log.last().map_or(Seq::ZERO, |event: &Recorded| event.seq);
            let page = self.store.read(Read::forward(id, after)).await.unwrap();
            for row in page.rows {
                let Row::Event { event, .. } = row else { panic!("damaged") };
                log.push(event);
            }
            if !page.more {
                return log;
            }
        }
    }

    /// The events of this kind.
    pub async fn events(&self, id: SessionId, kind: &str) -> Vec<Recorded> {
        self.log(id).await.into_iter().filter(|event| event.kind.as_str() == kind).collect()
    }

    /// The delegate that the session began last.
    pub async fn delegate(&self, id: SessionId) -> SessionId {
        let started = self.events(id, "delegate.started").await.pop().expect("a delegate was begun");
        let body: serde_json::Value = serde_json::from_str(started.body.as_json()).unwrap();
        serde_json::from_value(body["session"].clone()).unwrap()
    }

    /// What the session was told of its delegates.
    pub async fn told(&self, id: SessionId) -> Vec<String> {
        let told = self.events(id, "observation.delegate").await;
        told.iter().map(|event| Item::decode(event.body.as_json()).unwrap()).map(|item| content(&item)).collect()
    }

    /// Every intent has at most one outcome, and nothing ran twice that may not.
    pub async fn assert_sound(&self, id: SessionId) {
        chain::verify_session(self.store.as_ref(), id).await.unwrap();
        self.assert_decided_again(id).await;
        let log = self.log(id).await;
        for intent in log.iter().filter(|event| matches!(event.kind.as_str(), "action.run" | "action.delegate")) {
            let of = |family: &str| {
                log.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.family() == family).count()
            };
            assert_eq!(of("observation"), 1, "action {} of {id} has one outcome", intent.seq);
            if intent.kind.as_str() == "action.run" {
                let handed =
                    log.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.as_str() == "action.dispatched");
                assert!(handed.count() <= 1, "action {} of {id} was handed out once", intent.seq);
            }
        }
    }
}

pub fn content(item: &Item) -> String {
    match &item.content {
        Content::Observation(observation) => observation.content.clone(),
        Content::Action(_) => String::new(),
    }
}

/// Every command succeeds.
pub fn ran(action: &Action) -> Answer {
    let command = match action {
        Action::Run(run) => run.command.clone(),
        _ => String::new(),
    };
    let run = serde_json::from_value(serde_json::json!({"command": command, "metadata": {"exit_code": 0}})).unwrap();
    Answer::Observe(Box::new(Observation { content: format!("ran {command}"), extras: Extras::Run(run) }))
}

/// A session with an agent that may hand parts of its task to others.
pub fn delegating() -> SessionSpec {
    let mut spec = Scenario::agent_spec();
    let agent = spec.agent.as_mut().unwrap();
    agent.config.tools.push(Tool::Delegate);
    spec
}

/// The first words of the user.
pub fn task(history: &[Past]) -> String {
    let said = history.iter().find_map(|past| match &past.item.content {
        Content::Action(Action::Message(message)) if past.item.source == Some(Source::User) => Some(message.content.clone()),
        _ => None,
    });
    said.unwrap_or_default()
}

/// How many things the agent has done so far.
pub fn done(history: &[Past]) -> usize {
    let own = |past: &&Past| past.item.source == Some(Source::Agent) && matches!(past.item.content, Content::Action(_));
    history.iter().filter(own).count()
}

pub fn run(command: &str) -> Reply {
    Reply::of(&[&format!(r#"{{"action":"run","args":{{"command":"{command}"}}}}"#)])
}

pub fn hand_over(agent: &str, task: &str) -> Reply {
    Reply::of(&[&format!(r#"{{"action":"delegate","args":{{"agent":"{agent}","inputs":{{"task":"{task}"}}}}}}"#)])
}

pub fn finish(words: &str) -> Reply {
    Reply::of(&[&format!(r#"{{"action":"finish","args":{{"final_thought":"{words}"}}}}"#)])
}

/// Waits until `seen` is true of the session.
pub async fn until(world: &World, id: SessionId, seen: impl Fn(&Session) -> bool) -> Session {
    for _ in 0..3000 {
        if world.store.session(id).await.unwrap().is_some() {
            let session = world.session(id).await;
            if seen(&session) {
                return session;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the session never came there: {:?}", world.session(id).await);
}

pub async fn rested(engine: &Engine, id: SessionId) {
    assert_eq!(engine.rest(id).await, Status::Resting);
}

pub fn message(text: &str) -> Origin {
    Origin::fresh(Some(text.to_owned()))
}

pub async fn say(engine: &Engine, id: SessionId, text: &str) {
    engine.submit(id, Command::Say { content: text.to_owned() }).await.unwrap();
}
