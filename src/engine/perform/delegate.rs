//! A part of the task in a session of its own: begun once, followed from its log, closed when its end is known.
//!
//! The delegate's session runs like any other, in this process as long as nobody else runs it. All that is known of it is read from its
//! log, so that whoever takes over after a crash finds it where it stands.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Performing;
use crate::engine::error::EngineError;
use crate::engine::{Engine, Subscription};
use crate::session::decide::{NOT_EXECUTED, STOPPED_BY_CLOSE};
use crate::session::delegation::{DelegateWait, Order, Used};
use crate::session::observation::Delegated;
use crate::session::{
    Action, AgentState, Command, Content, Event, Extras, Json, Object, Observation, Parent, Phase, Rejection, Seq, Session,
    SessionId, SessionSpec,
};
use crate::store::{Read, Row, StoreError};

/// How often it is looked whether anybody runs the delegate.
const LOOK: Duration = Duration::from_secs(2);
/// How many events are looked through, from the end, for the last words of a delegate.
const LOOKBACK: u32 = 64;
/// How long the close of a delegate may take beyond its own deadline.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// How a delegate stands, for the one that waits for it.
enum Standing {
    /// It goes its way.
    Works,
    /// It comes no further by itself.
    Waits(DelegateWait),
    /// It has come to an end.
    Ended,
}

/// A session's state, kept up with its log.
struct Followed {
    session: Session,
    events: Subscription,
}

impl Followed {
    async fn of(engine: &Engine, id: SessionId) -> Result<Self, EngineError> {
        let session = engine.restore(id).await?.session;
        let events = engine.subscribe(id, session.version);
        Ok(Self { session, events })
    }

    /// Waits for the next event, but no longer than `wait`; `false` when none came.
    async fn step(&mut self, wait: Duration) -> Result<bool, EngineError> {
        let Ok(row) = tokio::time::timeout(wait, self.events.next()).await else {
            return Ok(false);
        };
        if let Row::Event { event, .. } = row? {
            self.session.apply(&event);
        }
        Ok(true)
    }
}

impl Performing {
    /// Boxed by name, since the delegate is performed like this session.
    pub(super) fn delegate(
        &mut self,
        action: Seq,
        session: Option<SessionId>,
        order: Order,
    ) -> BoxFuture<'_, Result<Command, EngineError>> {
        Box::pin(async move {
            match session {
                None => Ok(self.name_delegate(action).await),
                Some(id) => Box::pin(self.see_to(action, id, order)).await,
            }
        })
    }

    async fn name_delegate(&self, action: Seq) -> Command {
        match self.action(action).await {
            Some((Action::Delegate(delegate), _)) => {
                Command::StartDelegate { action, session: self.id.delegate(action), agent: delegate.agent }
            }
            _ => unreadable(action),
        }
    }

    async fn see_to(&mut self, action: Seq, id: SessionId, order: Order) -> Result<Command, EngineError> {
        let engine = self.engine()?;
        if order == Order::End {
            let reason = match &self.session.phase {
                Phase::Closing { reason, .. } => format!("its parent was closed: {reason}"),
                _ => "its parent was stopped".to_owned(),
            };
            let (used, closed) = self.end(&engine, id, reason).await?;
            return Ok(Command::EndDelegate { action, outcome: None, used, closed });
        }
        if engine.store().session(id).await?.is_none() {
            let Some(spec) = self.delegate_spec(action).await else {
                return Ok(unreadable(action));
            };
            // Once more, since reading took time.
            self.own().await?;
            match engine.create(id, None, spec).await {
                Ok(()) | Err(EngineError::Rejected(Rejection::Exists)) => {}
                Err(other) => return Err(other),
            }
        }
        match order {
            Order::GoOn(limits) => {
                self.run(&engine, id).await?;
                tell(&engine, id, Command::Continue { limits: Some(limits) }).await?;
                return Ok(Command::DelegateGoesOn { action });
            }
            Order::Hold => tell(&engine, id, Command::Pause).await?,
            Order::Follow | Order::End => {}
        }
        Box::pin(self.follow(&engine, action, id)).await
    }

    /// Follows the delegate until there is something to say of it.
    async fn follow(&mut self, engine: &Engine, action: Seq, id: SessionId) -> Result<Command, EngineError> {
        let known = self.session.delegation.as_ref().and_then(|delegation| delegation.wait);
        let mut followed = match Followed::of(engine, id).await {
            Ok(followed) => followed,
            Err(error @ (EngineError::Unproven { .. } | EngineError::Purged(_))) => {
                let (used, closed) = (Used::default(), false);
                let outcome = Some(Box::new(failed(&self.called(), id, &error.to_string())));
                return Ok(Command::EndDelegate { action, outcome, used, closed });
            }
            Err(other) => return Err(other),
        };
        loop {
            match standing(id, &followed.session) {
                Standing::Works if known.is_some() => return Ok(Command::DelegateGoesOn { action }),
                Standing::Waits(wait) if known != Some(wait) => {
                    return Ok(Command::DelegateWaits { action, wait, used: Used::of(&followed.session) });
                }
                Standing::Ended => break,
                Standing::Works | Standing::Waits(_) => {}
            }
            if followed.session.wants_worker() {
                self.run(engine, id).await?;
            }
            self.rests.send_replace(true);
            followed.step(LOOK).await?;
        }
        let outcome = self.outcome_of(engine, id, &followed.session).await?;
        let (used, closed) = self.end(engine, id, "its part of the task is over".to_owned()).await?;
        Ok(Command::EndDelegate { action, outcome: Some(Box::new(outcome)), used, closed })
    }

    /// Makes sure that somebody runs the delegate.
    async fn run(&mut self, engine: &Engine, id: SessionId) -> Result<(), EngineError> {
        if engine.is_live(id) {
            return Ok(());
        }
        // A former owner of this session must not take its delegate from the next one.
        self.own().await?;
        match engine.resume(id).await {
            Ok(_) | Err(EngineError::OwnedElsewhere { .. } | EngineError::Rejected(_)) => Ok(()),
            Err(EngineError::Store(StoreError::Fenced { .. } | StoreError::Conflict { .. })) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Has the delegate closed and waits for that, but not for ever; says what it used and whether it is closed.
    async fn end(&mut self, engine: &Engine, id: SessionId, reason: String) -> Result<(Used, bool), EngineError> {
        if engine.store().session(id).await?.is_none() {
            return Ok((Used::default(), true));
        }
        let mut followed = match Followed::of(engine, id).await {
            Ok(followed) => followed,
            Err(EngineError::Unproven { .. } | EngineError::Purged(_) | EngineError::NotFound(_)) => {
                return Ok((Used::default(), false));
            }
            Err(other) => return Err(other),
        };
        let own = followed.session.spec.as_ref().map_or(0, |spec| spec.deadlines.close_ms);
        let mut within = Duration::from_millis(own) + CLOSE_GRACE;
        if let Phase::Closing { deadline, .. } = &self.session.phase {
            // Half of the time is for what this session holds itself.
            within = within.min(self.until(*deadline) / 2);
        }
        let closed = async {
            loop {
                match followed.session.phase {
                    Phase::Closed { .. } => return Ok(()),
                    Phase::Closing { .. } if !engine.is_live(id) => self.run(engine, id).await?,
                    Phase::Closing { .. } => {}
                    _ => tell(engine, id, Command::Close { reason: reason.clone() }).await?,
                }
                followed.step(LOOK).await?;
            }
        };
        match tokio::time::timeout(within, closed).await {
            Ok(Ok(())) => Ok((Used::of(&followed.session), true)),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok((Used::of(&followed.session), false)),
        }
    }

    /// The agent, by the name by which it was asked for.
    fn called(&self) -> String {
        self.session.delegation.as_ref().map(|delegation| delegation.agent.clone()).unwrap_or_default()
    }

    async fn delegate_spec(&self, action: Seq) -> Option<SessionSpec> {
        let Some((Action::Delegate(delegate), _)) = self.action(action).await else {
            return None;
        };
        let spec = self.session.spec.as_ref()?;
        let limits = self.session.delegation.as_ref()?.limits;
        let parent = Parent { session: self.id, action, level: spec.level().saturating_add(1) };
        // One that the registry knows is asked for by its own name; every other is set up from the agent that asks.
        let own = spec.agent.as_ref().map(|agent| agent.name.clone())?;
        let name = if self.shared.ports.agents.knows(&delegate.agent) { delegate.agent.clone() } else { own };
        spec.for_delegate(parent, &name, &delegate.agent, &delegate.inputs, limits)
    }

    /// What came of the delegate, as V0 puts it.
    async fn outcome_of(&self, engine: &Engine, id: SessionId, session: &Session) -> Result<Observation, EngineError> {
        let called = self.called();
        let why = |otherwise: &str| {
            if session.agent_reason.is_empty() { otherwise.to_owned() } else { session.agent_reason.clone() }
        };
        Ok(match (&session.phase, session.agent) {
            (Phase::StartFailed { step, error }, _) => failed(&called, id, &format!("the step {step} failed: {error}")),
            (_, AgentState::Finished | AgentState::Rejected | AgentState::AwaitingUserInput) => {
                succeeded(&called, id, last_outputs(engine, id, session.version).await?)
            }
            (_, AgentState::Error) => failed(&called, id, &why("it ended in an error")),
            (Phase::Closed { reason }, _) if session.agent_reason == STOPPED_BY_CLOSE => {
                failed(&called, id, &format!("it was closed: {reason}"))
            }
            (_, state) => failed(&called, id, &format!("it is {state}: {}", why("nobody said why"))),
        })
    }
}

/// Tells a delegate something that it may refuse, having gone on meanwhile.
async fn tell(engine: &Engine, id: SessionId, command: Command) -> Result<(), EngineError> {
    match engine.submit(id, command).await {
        Ok(_) | Err(EngineError::Rejected(_) | EngineError::OwnedElsewhere { .. } | EngineError::Unanswered { .. }) => Ok(()),
        Err(EngineError::Store(StoreError::Fenced { .. } | StoreError::Conflict { .. })) => Ok(()),
        Err(other) => Err(other),
    }
}

/// How a session stands that is somebody's delegate.
fn standing(id: SessionId, session: &Session) -> Standing {
    let at_work = session.in_flight().is_some() || session.model.is_some();
    match (&session.phase, session.agent) {
        (Phase::StartFailed { .. } | Phase::Forked {} | Phase::Closed { .. }, _) => Standing::Ended,
        (Phase::Imported { .. } | Phase::Audit {}, _) => Standing::Ended,
        (Phase::Unborn | Phase::Starting(_) | Phase::Closing { .. }, _) => Standing::Works,
        (Phase::Ready, AgentState::Loading | AgentState::Running) => Standing::Works,
        (Phase::Ready, AgentState::AwaitingUserConfirmation) => {
            let below = session.delegation.as_ref().and_then(|delegation| delegation.wait);
            match below.filter(|_| session.unconfirmed().next().is_none()) {
                Some(wait @ DelegateWait::Consent { .. }) => Standing::Waits(wait),
                _ => Standing::Waits(DelegateWait::Consent { session: id }),
            }
        }
        (Phase::Ready, AgentState::Paused) if at_work && session.delegation.is_none() => Standing::Works,
        (Phase::Ready, AgentState::Paused) => Standing::Waits(DelegateWait::Release),
        (Phase::Ready, AgentState::RateLimited) if session.until.is_some() => Standing::Works,
        (Phase::Ready, AgentState::RateLimited) => Standing::Waits(DelegateWait::Model),
        (Phase::Ready, AgentState::Error) if session.is_at_limit() => Standing::Waits(DelegateWait::Limits),
        (Phase::Ready, AgentState::Error | AgentState::Stopped) => Standing::Ended,
        // What it asks, it asks the agent that it works for. What it began before it came to an end is waited for.
        (Phase::Ready, AgentState::Finished | AgentState::Rejected | AgentState::AwaitingUserInput) => {
            if session.open.is_empty() { Standing::Ended } else { Standing::Works }
        }
    }
}

/// What the delegate gave as its results: its outputs by name, and its last words.
async fn last_outputs(engine: &Engine, id: SessionId, upto: Seq) -> Result<Object, EngineError> {
    let page = engine.store().read(Read { upto, ..Read::last(id, LOOKBACK) }).await?;
    for row in &page.rows {
        let Row::Event { event, .. } = row else { continue };
        let Event::Item(entry) = Event::read(event) else { continue };
        let (outputs, words) = match entry.item.content {
            Content::Action(Action::Finish(finish)) => (finish.outputs, finish.final_thought),
            Content::Action(Action::Reject(reject)) => (reject.outputs, String::new()),
            Content::Action(Action::Message(message)) => (Object::default(), message.content),
            _ => continue,
        };
        let said = (!words.is_empty()).then(|| ("message".to_owned(), Json::from(words.as_str())));
        return Ok(outputs.into_iter().chain(said).collect());
    }
    Ok(Object::default())
}

fn succeeded(agent: &str, id: SessionId, outputs: Object) -> Observation {
    let text = |value: &Json| value.as_text().unwrap_or_else(|| value.get().to_owned());
    let results: Vec<String> = outputs.iter().map(|(key, value)| format!("{key}: {}", text(value))).collect();
    let content = format!("Delegated agent finished with result:\n\n{agent} finishes task with {}", results.join(", "));
    observation(content, id, outputs)
}

fn failed(agent: &str, id: SessionId, why: &str) -> Observation {
    let content =
        format!("Delegated agent finished with result:\n\n{agent} encountered an error during execution. The reason: {why}");
    observation(content, id, [("error".to_owned(), Json::from(why))].into_iter().collect())
}

/// The id of the delegate's session is for those who read the log; the agent that waits has no use for it.
fn observation(content: String, id: SessionId, outputs: Object) -> Observation {
    let session = ("session".to_owned(), Json::from(id.to_string().as_str()));
    let outputs = outputs.into_iter().chain([session]).collect();
    Observation { content, extras: Extras::Delegate(Delegated { outputs }) }
}

fn unreadable(action: Seq) -> Command {
    let text = "The action cannot be read from the log, so it was not executed.";
    Command::Observe { action, observation: Box::new(Observation::error(text, NOT_EXECUTED)), recorded: None }
}
