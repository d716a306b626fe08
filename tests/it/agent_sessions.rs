//! Whole sessions whose agents follow a script: what an engine does about a model that hangs, refuses or goes in circles, about a
//! person who stops and goes on, and about a store that fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rekindle::engine::ports::{Memories, MemoryRequest, ModelErrorClass, Ports, Remembered};
use rekindle::engine::{Engine, EngineError};
use rekindle::session::{AgentState, Command, Phase, Recovery, Rejection, SessionSpec, StartStep};
use rekindle::store::{MemoryStore, SharedStore};
use rekindle::testing::{Answer, FaultStore, Reply, Scenario};

use crate::delegation_support::{World, content, done, finish, message, rested, run, until};

fn spec() -> SessionSpec {
    SessionSpec { origin: message("fix the test"), ..Scenario::agent_spec() }
}

/// Memory that never comes to an end.
struct Sleeping;

#[async_trait]
impl Memories for Sleeping {
    fn paths(&self, _spec: &SessionSpec) -> Vec<String> {
        Vec::new()
    }

    async fn gather(&self, _request: MemoryRequest) -> Result<Remembered, String> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_or_memory_that_never_answers_is_given_up() {
    let world = World::new(|_, _| Reply::Hang);
    let engine = world.engine();
    let id = world.begin(&engine, spec()).await;
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert_eq!(session.agent, AgentState::Error);
    assert!(session.agent_reason.starts_with("Timeout: there was no answer within"), "{}", session.agent_reason);
    engine.shutdown().await;

    let world = World::new(|_, _| finish("done"));
    let ports = Ports::new(Arc::new(world.runtimes.clone()), rekindle::trajectory::recording);
    let ports = Ports { agents: Arc::new(world.agents.clone()), memories: Arc::new(Sleeping), ..ports };
    let engine = Engine::new(Arc::clone(&world.store), ports, Arc::new(rekindle::engine::clock::SystemClock));
    let id = world.begin(&engine, spec()).await;
    rested(&engine, id).await;
    // The start gives it up already, and says so.
    let session = world.session(id).await;
    assert!(matches!(session.phase, Phase::StartFailed { step: StartStep::Memory, .. }), "{:?}", session.phase);
    engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_model_that_refuses_for_a_while_is_asked_again_by_itself() {
    let refusals = std::sync::atomic::AtomicUsize::new(0);
    let world = World::new(move |_, _| match refusals.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0..3 => Reply::failure(ModelErrorClass::RateLimit, "too many calls"),
        _ => finish("done"),
    });
    let engine = world.engine();
    let began = tokio::time::Instant::now();
    let id = world.begin(&engine, spec()).await;
    rested(&engine, id).await;
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    assert!(began.elapsed() >= Duration::from_secs(6 * 60), "one, two and four minutes, by its own clock");
    let states = world.events(id, "turn.state_changed").await;
    let waited = states.iter().filter(|event| event.body.as_json().contains("rate_limited")).count();
    assert_eq!(waited, 3, "and each wait is told");
    engine.shutdown().await;
}

#[tokio::test]
async fn an_agent_that_was_led_out_of_a_loop_no_more_sees_what_it_did_there() {
    for how in [Recovery::BeforeLoop, Recovery::LastPrompt] {
        let world = World::new(|_, history| {
            let warned = history.iter().any(|past| content(&past.item).contains("went in circles"));
            match (warned, done(history)) {
                (true, before) => finish(&format!("saw {before}")),
                (false, 0) => run("first"),
                (false, _) => run("again"),
            }
        });
        let engine = world.engine();
        let id = world.begin(&engine, spec()).await;
        rested(&engine, id).await;
        assert!(world.session(id).await.agent_reason.contains("stuck in a loop"));
        engine.shutdown().await;
        let engine = world.engine();
        engine.lead_out(id, how).await.unwrap();
        rested(&engine, id).await;
        let words = world.events(id, "action.finish").await.pop().unwrap();
        let left = if how == Recovery::BeforeLoop { "saw 1" } else { "saw 0" };
        assert!(words.body.as_json().contains(left), "{how:?}: {}", words.body.as_json());
        let refused = engine.lead_out(id, how).await;
        assert!(matches!(refused, Err(EngineError::Rejected(Rejection::Stale(_)))));
        world.assert_sound(id).await;
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_loop_is_left_for_good() {
    let world = World::new(|_, _| run("again"));
    let engine = world.engine();
    let id = world.begin(&engine, spec()).await;
    rested(&engine, id).await;
    engine.lead_out(id, Recovery::Stop).await.unwrap();
    rested(&engine, id).await;
    assert_eq!(world.session(id).await.agent, AgentState::Stopped);
    engine.shutdown().await;
}

#[tokio::test]
async fn stopping_ends_a_call_and_a_command_at_once_and_both_can_be_gone_on_from() {
    let world = World::answering(
        |_, history| match done(history) {
            0 if history.iter().all(|past| !format!("{past:?}").contains("now")) => Reply::Hang,
            0 => run("sleep"),
            _ => finish("done"),
        },
        |_| Answer::Hang,
    );
    let engine = world.engine();
    let id = world.begin(&engine, spec()).await;
    until(&world, id, |session| session.model.is_some()).await;
    while world.agents.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    engine.submit(id, Command::Stop { reason: "the call".to_owned() }).await.unwrap();
    rested(&engine, id).await;
    assert_eq!(world.session(id).await.agent, AgentState::Stopped);
    engine.submit(id, Command::Say { content: "now".to_owned() }).await.unwrap();
    while world.runtimes.executed().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    engine.submit(id, Command::Stop { reason: "the command".to_owned() }).await.unwrap();
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert_eq!((session.agent, session.open.len()), (AgentState::Stopped, 0));
    engine.submit(id, Command::Continue { limits: None }).await.unwrap();
    rested(&engine, id).await;
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    world.assert_sound(id).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn a_session_that_was_stopped_while_it_started_is_gone_on_with_later() {
    let world = World::new(|_, _| finish("done"));
    let engine = world.engine();
    let id = world.begin(&engine, spec()).await;
    // Wherever the start is by now.
    let stopped = engine.submit(id, Command::Stop { reason: "not yet".to_owned() }).await;
    rested(&engine, id).await;
    if stopped.is_ok() && world.session(id).await.agent == AgentState::Stopped {
        assert!(world.agents.asked().is_empty() || world.session(id).await.iterations > 0);
        engine.submit(id, Command::Continue { limits: None }).await.unwrap();
        rested(&engine, id).await;
    }
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    engine.shutdown().await;
}

#[test]
fn whatever_the_store_answers_an_agent_comes_to_its_end_and_does_nothing_twice() {
    for seed in 100..130 {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        tokio.block_on(async {
            let inner: SharedStore = Arc::new(MemoryStore::new());
            let script = World::new(|_, history| match done(history) {
                turn @ 0..5 => run(&format!("step {turn}")),
                _ => finish("done"),
            });
            let world = World { store: Arc::clone(&inner), ..script };
            let faulty: SharedStore = Arc::new(FaultStore::new(Arc::clone(&inner), seed, 40));
            let id = world.engine().new_session_id();
            for _ in 0..80 {
                let engine = world.engine_on(&faulty);
                if inner.session(id).await.unwrap().is_none() {
                    let _ = engine.create(id, None, spec()).await;
                } else {
                    let _ = engine.resume(id).await;
                }
                let _ = engine.rest(id).await;
                engine.shutdown().await;
                if inner.session(id).await.unwrap().is_some() && world.session(id).await.agent == AgentState::Finished {
                    break;
                }
            }
            let session = world.session(id).await;
            assert_eq!(session.agent, AgentState::Finished, "seed {seed}");
            let mut commands: Vec<String> = world.runtimes.executed().iter().map(|action| format!("{action:?}")).collect();
            let all = commands.len();
            commands.dedup();
            assert_eq!(all, commands.len(), "seed {seed}");
            world.assert_sound(id).await;
        });
    }
}

#[tokio::test]
async fn what_a_person_asks_of_a_session_of_another_process_is_a_way_out_of_a_loop_too() {
    let world = World::new(|_, _| run("again"));
    let first = world.engine();
    let id = world.begin(&first, spec()).await;
    rested(&first, id).await;
    let second = world.engine();
    second.lead_out(id, Recovery::Stop).await.unwrap();
    until(&world, id, |session| session.agent == AgentState::Stopped).await;
    assert!(first.is_live(id) && !second.is_live(id));
    first.shutdown().await;
    second.shutdown().await;
}
