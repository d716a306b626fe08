//! Parts of a task in sessions of their own: what passes between a session and its delegate, and what a crash, a person or a limit
//! does to both.

use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::ports::{AgentRequest, ModelErrorClass, Past};
use rekindle::session::delegation::DelegateWait;
use rekindle::session::{
    Action, AgentConfig, AgentState, Command, ConfirmationPolicy, Limits, ModelApi, ModelSpec, Parent, Phase, SecuritySpec,
    Session, SessionSpec, Tool,
};
use rekindle::store::{MemoryStore, SharedStore};
use rekindle::testing::{Answer, FaultStore, Reply};
use tokio::sync::Semaphore;

use crate::delegation_support::{World, delegating, done, finish, hand_over, message, ran, rested, run, say, task, until};

/// The first agent hands over what it is told; the other one counts, and says that it did.
fn one_helper(_: &AgentRequest, history: &[Past]) -> Reply {
    match (task(history).as_str(), done(history)) {
        ("TASK: count the files", 0) => run("ls"),
        ("TASK: count the files", 1) => finish("there are three"),
        (_, 0) => run("pwd"),
        (_, 1) => hand_over("counter", "count the files"),
        _ => finish("done"),
    }
}

#[tokio::test]
async fn a_delegate_is_a_session_of_its_own_and_its_outcome_an_observation_of_its_parent() {
    let world = World::new(one_helper);
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("how many files?"), ..delegating() }).await;
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert_eq!((session.agent, session.delegation.is_none()), (AgentState::Finished, true));
    let told = world.told(id).await;
    assert_eq!(told, ["Delegated agent finished with result:\n\ncounter finishes task with message: there are three"]);
    let delegate = world.delegate(id).await;
    let outcome = world.events(id, "observation.delegate").await.pop().unwrap();
    assert!(outcome.body.as_json().contains(&delegate.to_string()), "the outcome names the delegate's session");
    let below = world.session(delegate).await;
    let spec = below.spec.clone().unwrap();
    let parent = spec.parent.unwrap();
    assert_eq!((parent.session, Some(parent.action), parent.level), (id, outcome.cause, 1));
    assert_eq!(spec.workspace, session.spec.as_ref().unwrap().workspace, "it works in the same place");
    assert!(matches!(below.phase, Phase::Closed { .. }), "it holds nothing any more");
    assert_eq!(below.agent, AgentState::Finished, "and how it ended is still known");
    assert_eq!(world.store.session(delegate).await.unwrap().unwrap().directory.origin, "delegate");
    for id in [id, delegate] {
        world.assert_sound(id).await;
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn what_a_delegate_used_is_added_to_its_parent_once() {
    let world = World::new(one_helper);
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("how many files?"), ..delegating() }).await;
    rested(&engine, id).await;
    let delegate = world.delegate(id).await;
    let (above, below) = (world.session(id).await, world.session(delegate).await);
    assert_eq!((above.iterations, below.iterations), (5, 2), "three calls of its own, two of the delegate");
    assert_eq!((above.usage.cost_micro_usd, below.usage.cost_micro_usd), (Some(50_000), Some(20_000)));
    assert_eq!((above.usage.prompt_tokens, above.usage.completion_tokens), (35, 15));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_parent_and_its_delegate_do_not_mix_their_states() {
    let world = World::new(one_helper);
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("how many files?"), ..delegating() }).await;
    rested(&engine, id).await;
    let delegate = world.delegate(id).await;
    let (above, below) = (world.log(id).await, world.log(delegate).await);
    let commands = |log: &[rekindle::session::Recorded]| {
        log.iter()
            .filter(|event| event.kind.as_str() == "action.run")
            .map(|event| event.body.as_json().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(commands(&above).iter().all(|command| command.contains("pwd")), "the delegate's actions are in its own log");
    assert!(commands(&below).iter().all(|command| command.contains("\"ls\"")));
    let states = above.iter().filter(|event| event.kind.as_str() == "turn.state_changed").count();
    assert_eq!(states, 2, "running and finished: the delegate's states are not its parent's");
    engine.shutdown().await;
}

/// Each level hands over to the next, as deep as it goes.
fn ever_deeper(request: &AgentRequest, history: &[Past]) -> Reply {
    let level = task(history).matches("deeper").count();
    match done(history) {
        0 if request.config.tools.contains(&Tool::Delegate) => {
            hand_over("digger", &format!("dig {}", "deeper ".repeat(level + 1)))
        }
        0 => run("dig"),
        _ => finish(&format!("level {level} is done")),
    }
}

#[tokio::test]
async fn delegates_have_delegates_as_deep_as_is_allowed() {
    let world = World::new(ever_deeper);
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("dig"), ..delegating() }).await;
    rested(&engine, id).await;
    let (mut levels, mut at) = (0, id);
    while !world.events(at, "delegate.started").await.is_empty() {
        at = world.delegate(at).await;
        levels += 1;
        assert!(matches!(world.session(at).await.phase, Phase::Closed { .. }));
        world.assert_sound(at).await;
    }
    assert_eq!(levels, Parent::LEVEL_MAX);
    let session = world.session(id).await;
    assert_eq!(session.agent, AgentState::Finished);
    assert_eq!(session.iterations, 2 * u64::from(Parent::LEVEL_MAX + 1), "all that was asked below is counted once");
    assert_eq!(session.usage.cost_micro_usd, Some(10_000 * session.iterations));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_delegate_below_the_deepest_level_is_refused_and_so_is_one_without_a_task() {
    let world = World::new(|_, history| match done(history) {
        0 => Reply::of(&[r#"{"action":"delegate","args":{"agent":"x","inputs":{}}}"#]),
        _ => finish("done"),
    });
    let engine = world.engine();
    let deep = Parent { session: engine.new_session_id(), action: rekindle::session::Seq(9), level: Parent::LEVEL_MAX };
    for parent in [None, Some(deep)] {
        let id = world.begin(&engine, SessionSpec { parent, origin: message("go"), ..delegating() }).await;
        rested(&engine, id).await;
        assert!(world.events(id, "delegate.started").await.is_empty());
        assert_eq!(world.events(id, "observation.error").await.len(), 1);
        assert_eq!(world.session(id).await.agent, AgentState::Finished);
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn a_delegate_is_set_up_as_it_is_configured_else_like_its_parent() {
    let world = World::new(|request, history| match (task(history).starts_with("TASK"), done(history)) {
        (true, _) => finish(&format!("{} asks {}", request.name, request.config.model.name)),
        (false, 0) => hand_over("reader", "read"),
        (false, 1) => hand_over("writer", "write"),
        (false, 2) => hand_over("known", "know"),
        _ => finish("done"),
    });
    let world = World { agents: world.agents.clone().knowing("known"), ..world };
    let mut spec = delegating();
    let agent = spec.agent.as_mut().unwrap();
    let config = AgentConfig { model: ModelSpec::new(ModelApi::OpenAi, "small-model"), ..agent.config.clone() };
    agent.delegates.insert("reader".to_owned(), config);
    let engine = world.engine();
    let id = world.begin(&engine, spec).await;
    rested(&engine, id).await;
    let told = world.told(id).await;
    assert!(told[0].ends_with("scripted asks small-model"), "{told:?}");
    assert!(told[1].ends_with("scripted asks test-model"), "{told:?}");
    assert!(told[2].ends_with("known asks test-model"), "{told:?}");
    engine.shutdown().await;
}

/// The delegate never comes to an end by itself.
fn a_busy_helper(_: &AgentRequest, history: &[Past]) -> Reply {
    match (task(history).starts_with("TASK"), done(history)) {
        (true, turn) if turn < 6 => run(&format!("step {turn}")),
        (true, _) => finish("at last"),
        (false, 0) => hand_over("worker", "work"),
        _ => finish("done"),
    }
}

#[tokio::test]
async fn a_limit_holds_over_all_levels_and_raising_it_lets_the_delegate_go_on_where_it_was() {
    let world = World::new(a_busy_helper);
    let engine = world.engine();
    let limits = Limits { iterations: 4, budget_micro_usd: None };
    let id = world.begin(&engine, SessionSpec { limits, origin: message("go"), ..delegating() }).await;
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert_eq!(session.agent, AgentState::Error);
    assert_eq!(
        session.agent_reason,
        "RuntimeError: Agent reached maximum iteration in headless mode. Current iteration: 4, max iteration: 4"
    );
    let delegate = world.delegate(id).await;
    assert_eq!(world.session(delegate).await.iterations, 3, "one call was its parent's");
    engine.submit(id, Command::Continue { limits: None }).await.unwrap();
    until(&world, id, |session| session.limits().iterations == 8 && session.agent == AgentState::Error).await;
    engine.submit(id, Command::Continue { limits: Some(Limits { iterations: 50, budget_micro_usd: None }) }).await.unwrap();
    let session = until(&world, id, |session| session.agent == AgentState::Finished).await;
    assert_eq!(session.iterations, 9);
    assert_eq!(world.events(id, "delegate.started").await.len(), 1, "it is the same delegate all along");
    let commands: Vec<_> = world.runtimes.executed();
    assert_eq!(commands.len(), 6, "and nothing was done twice");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_budget_holds_over_all_levels() {
    let world = World::new(a_busy_helper);
    let engine = world.engine();
    let limits = Limits { iterations: 100, budget_micro_usd: Some(30_000) };
    let id = world.begin(&engine, SessionSpec { limits, origin: message("go"), ..delegating() }).await;
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert!(session.agent_reason.ends_with("Current budget: 0.03, max budget: 0.03"), "{}", session.agent_reason);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_delegate_does_not_raise_its_own_limits() {
    let world = World::new(a_busy_helper);
    let engine = world.engine();
    let limits = Limits { iterations: 3, budget_micro_usd: None };
    let id = world.begin(&engine, SessionSpec { limits, origin: message("go"), ..delegating() }).await;
    rested(&engine, id).await;
    let delegate = world.delegate(id).await;
    engine.submit(delegate, Command::Continue { limits: None }).await.unwrap();
    rested(&engine, delegate).await;
    assert_eq!(world.session(delegate).await.iterations, 2);
    engine.shutdown().await;
}

/// The delegate's first command never ends.
fn hanging() -> World {
    World::answering(a_busy_helper, |action| match action {
        Action::Run(run) if run.command == "step 0" => Answer::Hang,
        other => ran(other),
    })
}

async fn executing(world: &World) {
    for _ in 0..10_000 {
        if !world.runtimes.executed().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("nothing was ever executed");
}

#[tokio::test]
async fn stopping_a_session_ends_its_delegate_and_gives_the_action_its_one_outcome() {
    let world = hanging();
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    executing(&world).await;
    engine.submit(id, Command::Stop { reason: "enough".to_owned() }).await.unwrap();
    rested(&engine, id).await;
    let session = world.session(id).await;
    assert_eq!((session.agent, session.delegation.is_none()), (AgentState::Stopped, true));
    let delegate = world.delegate(id).await;
    assert!(matches!(world.session(delegate).await.phase, Phase::Closed { .. }));
    world.assert_sound(id).await;
    world.assert_sound(delegate).await;
    // And it can go on: the agent sees that the delegate was stopped.
    engine.submit(id, Command::Continue { limits: None }).await.unwrap();
    rested(&engine, id).await;
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    engine.shutdown().await;
}

#[tokio::test]
async fn closing_a_session_closes_its_delegates_at_every_level() {
    let world = World::answering(ever_deeper, |_| Answer::Hang);
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("dig"), ..delegating() }).await;
    executing(&world).await;
    engine.submit(id, Command::Close { reason: "enough".to_owned() }).await.unwrap();
    rested(&engine, id).await;
    let mut at = id;
    for level in 0..=Parent::LEVEL_MAX {
        assert!(matches!(world.session(at).await.phase, Phase::Closed { .. }), "level {level}");
        world.assert_sound(at).await;
        if level < Parent::LEVEL_MAX {
            at = world.delegate(at).await;
        }
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn pausing_a_session_holds_its_delegate_and_going_on_lets_both_go_on() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::new(move |request, history| match (task(history).starts_with("TASK"), done(history)) {
        (true, 1) => Reply::After(Arc::clone(&held), Box::new(a_busy_helper(request, history))),
        _ => a_busy_helper(request, history),
    });
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    // The delegate has done one thing and thinks about the next.
    while world.agents.asked().len() < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let delegate = world.delegate(id).await;
    engine.submit(id, Command::Pause).await.unwrap();
    until(&world, delegate, |session| session.agent == AgentState::Paused).await;
    gate.add_permits(1);
    let waits = |session: &Session| session.delegation.as_ref().is_some_and(|below| below.wait == Some(DelegateWait::Release));
    let session = until(&world, id, waits).await;
    assert_eq!(session.agent, AgentState::Paused);
    rested(&engine, id).await;
    assert_eq!(world.runtimes.executed().len(), 1, "what was decided on is kept, and not done");
    // A restart changes nothing of that.
    engine.shutdown().await;
    let engine = world.engine();
    for recovery in engine.recover().await.unwrap() {
        recovery.outcome.unwrap();
    }
    rested(&engine, id).await;
    assert_eq!(world.runtimes.executed().len(), 1);
    engine.submit(id, Command::Continue { limits: None }).await.unwrap();
    let session = until(&world, id, |session| session.agent == AgentState::Finished).await;
    assert!(session.delegation.is_none());
    assert_eq!(world.runtimes.executed().len(), 6);
    world.assert_sound(delegate).await;
    engine.shutdown().await;
}

#[tokio::test]
async fn an_error_of_a_delegate_is_told_to_its_parent_which_goes_on() {
    let world = World::new(|_, history| match (task(history).as_str(), done(history)) {
        ("TASK: loop", _) => run("again"),
        ("TASK: ask", _) => Reply::failure(ModelErrorClass::Authentication, "the key is wrong"),
        (_, 0) => hand_over("looper", "loop"),
        (_, 1) => hand_over("asker", "ask"),
        _ => finish("done"),
    });
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    rested(&engine, id).await;
    let told = world.told(id).await;
    let error = "Delegated agent finished with result:\n\n";
    assert!(told[0].starts_with(&format!("{error}looper encountered an error during execution.")), "{told:?}");
    assert!(told[0].contains("Agent got stuck in a loop"), "{told:?}");
    assert!(told[1].contains("asker encountered an error during execution.") && told[1].contains("the key is wrong"));
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    engine.shutdown().await;
}

#[tokio::test]
async fn what_a_delegate_asks_it_asks_its_parent() {
    let asks = r#"{"action":"message","args":{"content":"which one?","wait_for_response":true}}"#;
    let world = World::new(move |_, history| match (task(history).starts_with("TASK"), done(history)) {
        (true, _) => Reply::of(&[asks]),
        (false, 0) => hand_over("asker", "choose"),
        _ => finish("done"),
    });
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    rested(&engine, id).await;
    assert!(world.told(id).await[0].ends_with("asker finishes task with message: which one?"));
    assert_eq!(world.session(id).await.agent, AgentState::Finished);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_delegate_that_is_closed_or_stopped_from_outside_is_an_outcome_like_any_other() {
    for command in [Command::Close { reason: "not now".to_owned() }, Command::Stop { reason: "not now".to_owned() }] {
        let world = hanging();
        let engine = world.engine();
        let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
        executing(&world).await;
        let delegate = world.delegate(id).await;
        engine.submit(delegate, command).await.unwrap();
        rested(&engine, id).await;
        let told = world.told(id).await;
        assert!(told[0].contains("worker encountered an error during execution.") && told[0].contains("not now"), "{told:?}");
        assert_eq!(world.session(id).await.agent, AgentState::Finished);
        assert!(matches!(world.session(delegate).await.phase, Phase::Closed { .. }));
        engine.shutdown().await;
    }
}

fn cautious() -> SessionSpec {
    let security = SecuritySpec { analyzers: Vec::new(), confirmation: ConfirmationPolicy::Always };
    SessionSpec { security, origin: message("go"), ..delegating() }
}

#[tokio::test]
async fn a_delegate_that_needs_consent_says_so_at_every_level_and_goes_on_with_it() {
    let world = World::new(ever_deeper);
    let engine = world.engine();
    let id = world.begin(&engine, cautious()).await;
    rested(&engine, id).await;
    let session = until(&world, id, |session| session.agent == AgentState::AwaitingUserConfirmation).await;
    let asks = engine.consenting(id).await.unwrap();
    assert!(session.agent_reason.contains(&asks.to_string()), "{}", session.agent_reason);
    assert_eq!(world.session(asks).await.unconfirmed().count(), 1);
    assert_eq!(engine.root(asks, &world.session(asks).await).await.unwrap(), id);
    assert!(world.runtimes.executed().is_empty());
    engine.submit(asks, Command::Confirm { action: None, by: "a person".to_owned() }).await.unwrap();
    let session = until(&world, id, |session| session.agent == AgentState::Finished).await;
    assert!(session.delegation.is_none());
    assert_eq!(world.runtimes.executed().len(), 1);
    engine.shutdown().await;
}

#[tokio::test]
async fn consent_can_be_given_after_a_restart_and_by_another_process_than_the_parents() {
    let world = World::new(one_helper);
    let first = world.engine();
    let mut spec = cautious();
    spec.security.confirmation = ConfirmationPolicy::Always;
    let id = world.begin(&first, spec).await;
    // The parent's own command comes first.
    rested(&first, id).await;
    first.submit(id, Command::Confirm { action: None, by: "a person".to_owned() }).await.unwrap();
    until(&world, id, |session| session.waits_for_consent_below()).await;
    let delegate = world.delegate(id).await;
    first.shutdown().await;
    let second = world.engine();
    second.submit(delegate, Command::Confirm { action: None, by: "a person".to_owned() }).await.unwrap();
    until(&world, delegate, |session| session.agent == AgentState::Finished).await;
    assert!(!second.is_live(id));
    let row = world.store.session(id).await.unwrap().unwrap();
    assert!(row.directory.due, "the parent has something left to do, which a node that serves takes up");
    for recovery in second.recover().await.unwrap() {
        recovery.outcome.unwrap();
    }
    let session = until(&world, id, |session| session.agent == AgentState::Finished).await;
    assert!(session.delegation.is_none());
    assert_eq!(world.runtimes.executed().len(), 2);
    second.shutdown().await;
}

#[tokio::test]
async fn what_is_said_to_a_session_reaches_its_agent_after_the_delegate() {
    let world = World::answering(
        |_, history| match (task(history).starts_with("TASK"), done(history)) {
            (true, 0) => run("slow"),
            (true, _) => finish("ok"),
            (false, 0) => hand_over("worker", "work"),
            (false, _) => {
                finish(&format!("{} messages", history.iter().filter(|past| format!("{past:?}").contains("hurry")).count()))
            }
        },
        ran,
    );
    let engine = world.engine();
    let id = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    until(&world, id, |session| session.delegation.is_some() || session.agent == AgentState::Finished).await;
    say(&engine, id, "hurry").await;
    let session = until(&world, id, |session| session.agent == AgentState::Finished && session.delegation.is_none()).await;
    assert!(session.open.is_empty());
    world.assert_sound(id).await;
    engine.shutdown().await;
}

#[test]
fn whatever_the_store_answers_a_delegate_is_begun_once_and_nothing_is_done_twice() {
    for seed in 0..40 {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        tokio.block_on(async {
            let inner: SharedStore = Arc::new(MemoryStore::new());
            let world = World { store: Arc::clone(&inner), ..World::new(a_busy_helper) };
            let faulty: SharedStore = Arc::new(FaultStore::new(Arc::clone(&inner), seed, 30));
            let id = world.engine().new_session_id();
            // An engine that gives up is replaced, as a supervisor would.
            for _ in 0..80 {
                let engine = world.engine_on(&faulty);
                if inner.session(id).await.unwrap().is_none() {
                    let _ = engine.create(id, None, SessionSpec { origin: message("go"), ..delegating() }).await;
                } else {
                    let _ = engine.recover().await;
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
            assert_eq!(world.events(id, "delegate.started").await.len(), 1, "seed {seed}");
            let delegate = world.delegate(id).await;
            assert_eq!(session.iterations, 2 + world.session(delegate).await.iterations, "seed {seed}: added once");
            let mut commands: Vec<String> = world.runtimes.executed().iter().map(|action| format!("{action:?}")).collect();
            let all = commands.len();
            commands.sort();
            commands.dedup();
            assert_eq!(all, commands.len(), "seed {seed}: a command ran twice");
            world.assert_sound(id).await;
            world.assert_sound(delegate).await;
        });
    }
}

/// Runs a session with its delegate until `cut` says that the process is dead, then goes on in a new one to the end. `false` when it
/// came to its end before.
async fn killed_after(appends: u64, applies: bool) -> bool {
    let inner: SharedStore = Arc::new(MemoryStore::new());
    let world = World { store: Arc::clone(&inner), ..World::new(a_busy_helper) };
    let cut = Arc::new(FaultStore::cut(Arc::clone(&inner), appends, applies));
    let faulty: SharedStore = Arc::<FaultStore>::clone(&cut);
    let first = world.engine_on(&faulty);
    let id = first.new_session_id();
    let spec = SessionSpec { origin: message("go"), ..delegating() };
    let created = first.create(id, None, spec.clone()).await;
    if created.is_ok() {
        let _ = first.rest(id).await;
    }
    first.shutdown().await;
    let second = world.engine();
    if inner.session(id).await.unwrap().is_none() {
        second.create(id, None, spec).await.unwrap();
    }
    for recovery in second.recover().await.unwrap() {
        recovery.outcome.unwrap();
    }
    let session = until(&world, id, |session| session.agent == AgentState::Finished && !session.wants_worker()).await;
    let at = format!("killed after {appends} appends");
    let delegate = world.delegate(id).await;
    let below = world.session(delegate).await;
    assert_eq!(world.events(id, "delegate.started").await.len(), 1, "{at}");
    assert!(matches!(below.phase, Phase::Closed { .. }), "{at}");
    assert_eq!((session.iterations, below.iterations), (9, 7), "{at}: as it would have been");
    assert_eq!(
        world.told(id).await,
        ["Delegated agent finished with result:\n\nworker finishes task with message: at last"],
        "{at}"
    );
    let mut commands: Vec<String> = world.runtimes.executed().iter().map(|action| format!("{action:?}")).collect();
    let all = commands.len();
    assert!((5..=6).contains(&all), "{at}: at most the one that may have run is not repeated");
    commands.sort();
    commands.dedup();
    assert_eq!(all, commands.len(), "{at}: a command ran twice");
    for id in [id, delegate] {
        world.assert_sound(id).await;
    }
    second.shutdown().await;
    cut.is_cut()
}

#[test]
fn killed_at_any_append_a_session_and_its_delegate_end_as_they_would_have() {
    for applies in [false, true] {
        for appends in 1.. {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            if !tokio.block_on(killed_after(appends, applies)) {
                assert!(appends > 30, "the run holds more appends than {appends}");
                break;
            }
        }
    }
}
