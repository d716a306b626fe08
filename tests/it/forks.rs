//! A session goes on from any place of another one: what it shares, what is other than there, what was cut off, and that the other one
//! stays as it is.

use std::sync::Arc;

use rekindle::engine::ports::{AgentRequest, Past, Ports};
use rekindle::engine::restore::{Trust, restore, restore_at};
use rekindle::engine::{Engine, EngineError, Files, ForkOptions};
use rekindle::projection::activity::{ActivityByDay, days};
use rekindle::projection::catch_up::{CatchUp, FeedProjection};
use rekindle::session::decide::{Instead, NOT_EXECUTED, OUTCOME_UNKNOWN, Refused};
use rekindle::session::{
    AgentState, Command, ConfirmationPolicy, Limits, Phase, Recorded, SecuritySpec, Seq, Session, SessionId, SessionSpec,
};
use rekindle::store::{MemoryStore, Order, Read, Row, SessionFilter, SharedStore, StoreError, copy, verify_session};
use rekindle::testing::{FaultStore, Reply, Scenario};
use tokio::sync::Semaphore;

use crate::delegation_support::{World, content, delegating, done, finish, hand_over, message, rested, run, task, until};

fn spec(words: &str) -> SessionSpec {
    SessionSpec { origin: message(words), ..Scenario::agent_spec() }
}

fn plain() -> ForkOptions {
    ForkOptions { files: Files::Leave, ..ForkOptions::new("/tmp/fork") }
}

/// Forks and goes on until the fork rests.
async fn fork(engine: &Engine, parent: SessionId, at: u64, options: ForkOptions) -> SessionId {
    let id = begin(engine, parent, at, options).await;
    engine.resume(id).await.unwrap();
    rested(engine, id).await;
    id
}

async fn begin(engine: &Engine, parent: SessionId, at: u64, options: ForkOptions) -> SessionId {
    let id = engine.new_session_id();
    engine.fork(id, parent, Seq(at), options).await.unwrap();
    id
}

/// The state of a fork, whose chain holds and whose every decision is today's, too.
async fn state(world: &World, id: SessionId) -> Session {
    verify_session(world.store.as_ref(), id).await.unwrap();
    let row = world.store.session(id).await.unwrap().unwrap();
    let ports = Ports::new(Arc::new(world.runtimes.clone()), rekindle::trajectory::recording);
    let found = rekindle::engine::redecide(&world.store, &ports, &row, row.head).await.unwrap();
    assert_eq!(found.divergences, [], "{id}");
    assert_eq!(found.decided + found.given, row.head.0, "{id}");
    let whole = restore(world.store.as_ref(), id, Trust::Nothing).await.unwrap();
    let quick = restore(world.store.as_ref(), id, Trust::Snapshot).await.unwrap();
    assert_eq!(whole.proof.digest, quick.proof.digest);
    whole.session
}

/// All that the store has of a session, as it is stored.
async fn stored(store: &SharedStore, id: SessionId) -> (Vec<Row>, String) {
    let rows = store.read(Read { limit: 10_000, ..Read::forward(id, Seq::ZERO) }).await.unwrap().rows;
    (rows, format!("{:?}", store.session(id).await.unwrap()))
}

fn seq_of(log: &[Recorded], kind: &str, nth: usize) -> u64 {
    log.iter().filter(|event| event.kind.as_str() == kind).nth(nth).unwrap().seq.0
}

/// Three commands, named after what the user said, and the end.
fn three(_: &AgentRequest, history: &[Past]) -> Reply {
    match done(history) {
        0 => run(&format!("{} first", task(history))),
        1 => run("second"),
        2 => run("third"),
        _ => finish(&words(history)),
    }
}

/// What came of all that was done, and what else was said.
fn words(history: &[Past]) -> String {
    let said = history.iter().map(|past| format!("{} {}", content(&past.item), past.item.encode_body()));
    said.filter(|text| text.contains("made up")).map(|_| "it was made up").next().unwrap_or("done").to_owned()
}

#[tokio::test]
async fn a_fork_goes_on_from_every_event_and_its_parent_stays_as_it_is() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let (before, head) = (stored(&world.store, parent).await, world.log(parent).await.len() as u64);
    let ran = world.runtimes.executed().len();
    for at in 1..=head {
        let id = fork(&engine, parent, at, plain()).await;
        let session = state(&world, id).await;
        assert_eq!(session.agent, AgentState::Finished, "forked at {at}");
        assert_eq!(session.spec.unwrap().workspace.to_str(), Some("/tmp/fork"));
        let log = world.log(id).await;
        let there = world.log(parent).await;
        assert_eq!(log[..at as usize], there[..at as usize], "the same events up to {at}");
        assert_eq!(log[at as usize].kind.as_str(), "session.forked");
        let row = world.store.session(id).await.unwrap().unwrap();
        assert_eq!(row.base.map(|base| (base.session, base.seq)), Some((parent, Seq(at))));
        for intent in log.iter().filter(|event| event.kind.as_str() == "action.run") {
            let outcomes = log.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.family() == "observation");
            assert_eq!(outcomes.count(), 1, "forked at {at}: action {} has one outcome", intent.seq);
        }
        let requests = log.iter().filter(|event| event.kind.as_str() == "model.requested").count() as u64;
        assert!(session.iterations <= requests, "forked at {at}");
    }
    assert!(world.runtimes.executed().len() > ran, "what was not done yet was done in the forks");
    assert_eq!(stored(&world.store, parent).await, before, "byte for byte");
    engine.shutdown().await;
}

#[tokio::test]
async fn what_was_under_way_at_the_fork_is_of_unknown_outcome_and_is_not_repeated() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let there = world.log(parent).await;
    let action = seq_of(&there, "action.run", 1);
    let is_handed_out = |event: &&Recorded| event.kind.as_str() == "action.dispatched" && event.cause == Some(Seq(action));
    let dispatched = there.iter().find(is_handed_out).unwrap().seq.0;
    let before = world.runtimes.executed().len();
    let id = fork(&engine, parent, dispatched, plain()).await;
    let log = world.log(id).await;
    let outcome = log.iter().find(|event| event.cause == Some(Seq(action)) && event.kind.family() == "observation").unwrap();
    assert!(outcome.seq > Seq(dispatched), "it is the fork's own");
    assert!(outcome.body.as_json().contains(OUTCOME_UNKNOWN) && outcome.body.as_json().contains("forked while this ran"));
    let again = world.runtimes.executed()[before..].iter().filter(|run| format!("{run:?}").contains("second")).count();
    assert_eq!(again, 0, "what may have run is not repeated");
    // What was only queued runs in the fork.
    let queued = fork(&engine, parent, action, plain()).await;
    let log = world.log(queued).await;
    let outcome = log.iter().find(|event| event.cause == Some(Seq(action)) && event.kind.family() == "observation").unwrap();
    assert!(outcome.body.as_json().contains("ran second") && !outcome.body.as_json().contains(NOT_EXECUTED));
    engine.shutdown().await;
}

#[tokio::test]
async fn a_fork_of_a_session_that_runs_takes_nothing_from_it() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::new(move |request, history| match request.config.model.name.as_str() {
        "other" => three(request, history),
        _ if done(history) == 1 => Reply::After(Arc::clone(&held), Box::new(three(request, history))),
        _ => three(request, history),
    });
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    until(&world, parent, |session| session.iterations == 2).await;
    let head = world.log(parent).await.len() as u64;
    let id = fork(&engine, parent, head, ForkOptions { model: Some("other".to_owned()), ..plain() }).await;
    let session = state(&world, id).await;
    assert_eq!(session.agent, AgentState::Finished, "it does not wait for what its parent waits for");
    assert_eq!(session.spec.unwrap().agent.unwrap().config.model.name, "other");
    assert_eq!(world.session(parent).await.iterations, 2, "and that still waits");
    gate.add_permits(1);
    rested(&engine, parent).await;
    assert_eq!(world.session(parent).await.agent, AgentState::Finished);
    assert_eq!(world.log(parent).await.iter().filter(|event| event.kind.as_str() == "session.forked").count(), 0);
    engine.shutdown().await;
}

#[tokio::test]
async fn another_message_and_another_outcome_stand_where_the_ones_of_the_parent_did() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let there = world.log(parent).await;
    let said = there.iter().find(|event| event.kind.as_str() == "action.message").unwrap().seq.0;
    let message = Some(Instead::Message("weigh".to_owned()));
    let id = fork(&engine, parent, said, ForkOptions { instead: message.clone(), ..plain() }).await;
    let session = state(&world, id).await;
    assert_eq!((session.agent, session.title.as_deref()), (AgentState::Finished, Some("weigh")));
    let log = world.log(id).await;
    let messages: Vec<&Recorded> = log.iter().filter(|event| event.kind.as_str() == "action.message").collect();
    assert!(messages.len() == 1 && messages[0].body.as_json().contains("weigh"), "{messages:?}");
    assert!(log.iter().any(|event| event.body.as_json().contains("ran weigh first")));

    let outcome = seq_of(&there, "observation.run", 1);
    let made_up = Some(Instead::Result("this was made up".to_owned()));
    let id = fork(&engine, parent, outcome, ForkOptions { instead: made_up.clone(), ..plain() }).await;
    let session = state(&world, id).await;
    assert_eq!(session.fork.as_ref().unwrap().substituted, [format!("another outcome instead of event {outcome} there")]);
    let log = world.log(id).await;
    let action = there[outcome as usize - 1].cause;
    let outcomes: Vec<&Recorded> =
        log.iter().filter(|event| event.cause == action && event.kind.family() == "observation").collect();
    assert!(outcomes.len() == 1 && outcomes[0].body.as_json().contains("this was made up"), "{outcomes:?}");
    assert!(log.iter().any(|event| event.kind.as_str() == "action.finish" && event.body.as_json().contains("it was made up")));

    // Behind the end, a message is said after it.
    let id = fork(&engine, parent, there.len() as u64, ForkOptions { instead: message, ..plain() }).await;
    assert_eq!(state(&world, id).await.agent, AgentState::Finished);
    let refused = engine.fork(engine.new_session_id(), parent, Seq(said), ForkOptions { instead: made_up, ..plain() }).await;
    assert!(matches!(refused, Err(EngineError::Instead(Refused::NoOutcome(_)))), "{refused:?}");
    engine.shutdown().await;
}

#[tokio::test]
async fn lists_name_a_fork_as_its_own_log_will_from_the_moment_that_it_is_made() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let there = world.log(parent).await;
    let said = seq_of(&there, "action.message", 0);
    let with = |text: &str| ForkOptions { instead: Some(Instead::Message(text.to_owned())), ..plain() };
    let title = async |id: SessionId| world.store.session(id).await.unwrap().unwrap().directory.title;
    let cases = [
        (parent, said, with("  weigh "), "weigh"),
        (parent, 2, with("weigh"), "weigh"),
        (parent, said + 1, with("weigh"), "count"),
        (parent, there.len() as u64, with("weigh"), "count"),
        (parent, 2, plain(), "count"),
    ];
    for (of, at, options, wanted) in cases {
        let id = begin(&engine, of, at, options).await;
        assert_eq!(title(id).await.as_deref(), Some(wanted), "forked at {at}");
        // What nobody has gone on with yet is forked, too: its log holds no message.
        let head = world.log(id).await.len() as u64;
        let again = begin(&engine, id, head, plain()).await;
        assert_eq!(title(again).await.as_deref(), Some("count"), "forked at {at}, and again");
        for id in [id, again] {
            let before = title(id).await;
            engine.resume(id).await.unwrap();
            rested(&engine, id).await;
            assert_eq!(state(&world, id).await.title, before);
            assert_eq!(title(id).await, before);
        }
    }
    let named = world.begin(&engine, SessionSpec { title: Some("a name".to_owned()), ..spec("count") }).await;
    rested(&engine, named).await;
    let id = begin(&engine, named, said, with("weigh")).await;
    assert_eq!(title(id).await.as_deref(), Some("a name"));
    engine.shutdown().await;
}

#[tokio::test]
async fn what_waits_for_a_person_is_agreed_to_or_refused_in_a_fork_that_nobody_has_gone_on_with() {
    let world = World::new(|_, history| match done(history) {
        0 => run("it"),
        _ => finish("done"),
    });
    let engine = world.engine();
    let security = SecuritySpec { confirmation: ConfirmationPolicy::Always, ..SecuritySpec::default() };
    let parent = world.begin(&engine, SessionSpec { security, ..spec("count") }).await;
    rested(&engine, parent).await;
    assert_eq!(world.session(parent).await.agent, AgentState::AwaitingUserConfirmation);
    let before = stored(&world.store, parent).await;
    let head = world.log(parent).await.len() as u64;
    let by = || "me".to_owned();
    let action = Some(Seq(seq_of(&world.log(parent).await, "action.run", 0)));
    let agreed = Command::Confirm { action, by: by() };
    let refused = Command::Refuse { action: None, by: by(), reason: Some("not here".to_owned()) };
    for (command, ran) in [(agreed, 1), (refused, 0)] {
        let id = begin(&engine, parent, head, plain()).await;
        let executed = world.runtimes.executed().len();
        engine.submit(id, command.clone()).await.unwrap();
        rested(&engine, id).await;
        assert_eq!(state(&world, id).await.agent, AgentState::Finished, "{command:?}");
        let ran_now = world.runtimes.executed()[executed..].iter().filter(|run| format!("{run:?}").contains("\"it\"")).count();
        assert_eq!(ran_now, ran, "{command:?}");
        let late = engine.submit(id, command).await;
        assert!(matches!(late, Err(EngineError::Rejected(_))), "{late:?}");
    }
    assert_eq!(stored(&world.store, parent).await, before, "and its parent still waits");
    engine.shutdown().await;
}

#[tokio::test]
async fn other_limits_hold_and_what_stood_at_a_limit_goes_on() {
    let world = World::new(three);
    let engine = world.engine();
    let limits = Limits { iterations: 2, ..Limits::default() };
    let parent = world.begin(&engine, SessionSpec { limits, ..spec("count") }).await;
    rested(&engine, parent).await;
    assert_eq!(world.session(parent).await.agent, AgentState::Error, "it stands at its limit");
    let head = world.log(parent).await.len() as u64;
    let id = fork(&engine, parent, head, ForkOptions { iterations: Some(9), ..plain() }).await;
    let session = state(&world, id).await;
    assert_eq!((session.agent, session.iterations), (AgentState::Finished, 4), "what the parent had asked counts");
    let outcome = seq_of(&world.log(id).await, "observation.run", 2);
    let id = fork(&engine, id, outcome, ForkOptions { iterations: Some(3), ..plain() }).await;
    assert_eq!(state(&world, id).await.agent, AgentState::Error);
    let id = fork(&engine, parent, head, ForkOptions { budget_micro_usd: Some(30_000), iterations: Some(9), ..plain() }).await;
    let session = state(&world, id).await;
    assert_eq!((session.agent, session.usage.cost_micro_usd), (AgentState::Error, Some(30_000)), "one more call, and the budget");
    engine.shutdown().await;
}

#[tokio::test]
async fn a_held_session_is_gone_on_with_in_its_fork_and_a_message_ends_what_it_waited_for() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let there = world.log(parent).await;
    let at = seq_of(&there, "observation.run", 0);
    let held = begin(&engine, parent, at, plain()).await;
    engine.submit(held, Command::Pause).await.unwrap();
    rested(&engine, held).await;
    assert_eq!(state(&world, held).await.agent, AgentState::Paused);
    let head = world.log(held).await.len() as u64;
    let id = fork(&engine, held, head, plain()).await;
    assert_eq!(state(&world, id).await.agent, AgentState::Finished);
    assert_eq!(state(&world, held).await.agent, AgentState::Paused);

    let waits = begin(&engine, parent, there.len() as u64, plain()).await;
    engine.submit(waits, Command::Say { content: "once more".to_owned() }).await.unwrap();
    rested(&engine, waits).await;
    let session = state(&world, waits).await;
    assert_eq!((session.phase, session.agent), (Phase::Ready, AgentState::Finished));
    let closed = begin(&engine, parent, at, plain()).await;
    engine.submit(closed, Command::Close { reason: "not this".to_owned() }).await.unwrap();
    rested(&engine, closed).await;
    assert!(matches!(state(&world, closed).await.phase, Phase::Closed { .. }), "also one that nobody has gone on with");
    engine.shutdown().await;
}

#[tokio::test]
async fn forks_of_forks_count_what_they_share_once() {
    let world = World::new(three);
    let engine = world.engine();
    let root = world.begin(&engine, spec("count")).await;
    rested(&engine, root).await;
    let first = seq_of(&world.log(root).await, "observation.run", 0);
    let middle = fork(&engine, root, first, plain()).await;
    let second = seq_of(&world.log(middle).await, "observation.run", 1);
    let low = fork(&engine, middle, first - 1, plain()).await;
    let high = fork(&engine, middle, second, plain()).await;
    let mut deepest = high;
    for _ in 0..8 {
        let at = world.log(deepest).await.len() as u64;
        deepest = begin(&engine, deepest, at, plain()).await;
    }
    let last = fork(&engine, deepest, world.log(deepest).await.len() as u64, plain()).await;
    let mut own = 0;
    for (id, base) in [(root, None), (middle, Some(root)), (low, Some(root)), (high, Some(middle)), (last, Some(deepest))] {
        let session = state(&world, id).await;
        let row = world.store.session(id).await.unwrap().unwrap();
        assert_eq!(row.base.map(|base| base.session), base, "{id}");
        let log = world.log(id).await;
        let mine = log.iter().filter(|event| event.session == id && event.kind.family() == "action");
        let mine = mine.filter(|event| event.kind.as_str() != "action.dispatched").count() as u64;
        assert_eq!(row.directory.actions, mine, "its row counts what it did itself");
        assert!(session.counts.actions >= mine);
        own += mine;
    }
    let mut activity = CatchUp::new(Arc::clone(&world.store), ActivityByDay);
    activity.run_once().await.unwrap();
    let total = days(world.store.as_ref(), &ActivityByDay.id())
        .await
        .unwrap()
        .into_values()
        .fold((0, 0), |sum, day| (sum.0 + day.sessions, sum.1 + day.actions));
    assert_eq!(total, (13, own), "each session is begun once, and each action counted once");
    let feed = world.store.feed(rekindle::store::FeedCursor::default(), 10_000).await.unwrap().rows.len();
    let rows = world.store.sessions(SessionFilter::All, 100).await.unwrap();
    let written: u64 = rows.iter().map(|row| row.head.0 - row.base.map_or(0, |base| base.seq.0)).sum();
    assert_eq!(feed as u64, written);

    let other: SharedStore = Arc::new(MemoryStore::new());
    let copied = copy(world.store.as_ref(), other.as_ref(), |_| {}).await.unwrap();
    assert_eq!((copied.broken, copied.moving), (Vec::new(), Vec::new()));
    for row in rows {
        assert_eq!(stored(&other, row.id).await, stored(&world.store, row.id).await);
    }
    engine.shutdown().await;
}

/// Hands a part over, then another.
fn two_parts(_: &AgentRequest, history: &[Past]) -> Reply {
    match (task(history).as_str(), done(history)) {
        ("TASK: one", 0) => run("one"),
        ("TASK: two", 0) => run("two"),
        ("go", 0) => hand_over("helper", "one"),
        ("go", 1) => hand_over("helper", "two"),
        _ => finish("done"),
    }
}

#[tokio::test]
async fn a_fork_keeps_what_delegates_have_ended_and_cuts_off_those_that_have_not() {
    let world = World::new(two_parts);
    let engine = world.engine();
    let parent = world.begin(&engine, SessionSpec { origin: message("go"), ..delegating() }).await;
    rested(&engine, parent).await;
    let there = world.log(parent).await;
    let sessions = world.store.sessions(SessionFilter::All, 100).await.unwrap().len();
    // The first is over, the second at work.
    let at = seq_of(&there, "delegate.started", 1);
    let id = fork(&engine, parent, at, plain()).await;
    let session = state(&world, id).await;
    assert_eq!((session.agent, session.delegation.is_none()), (AgentState::Finished, true));
    let outcomes = world.events(id, "observation.delegate").await;
    assert_eq!(outcomes.len(), 1, "what the first one brought is still there");
    assert!(outcomes[0].seq < Seq(at));
    let cut = world.events(id, "observation.error").await;
    assert!(cut.len() == 1 && cut[0].body.as_json().contains(OUTCOME_UNKNOWN), "{cut:?}");
    assert_eq!(world.store.sessions(SessionFilter::All, 100).await.unwrap().len(), sessions + 1, "no delegate is begun again");
    // One that was asked for and not begun is the fork's own.
    let at = there.iter().filter(|event| event.kind.as_str() == "action.delegate").nth(1).unwrap().seq.0;
    let id = fork(&engine, parent, at, plain()).await;
    assert_eq!(state(&world, id).await.agent, AgentState::Finished);
    assert_eq!(world.events(id, "observation.delegate").await.len(), 2);
    assert_ne!(world.delegate(id).await, world.delegate(parent).await);
    // A delegate can be forked like any other session, and nobody waits for that.
    let delegate = world.delegate(parent).await;
    let at = seq_of(&world.log(delegate).await, "observation.run", 0);
    let id = fork(&engine, delegate, at, plain()).await;
    let session = state(&world, id).await;
    assert_eq!((session.agent, session.spec.unwrap().parent), (AgentState::Finished, None));
    assert_eq!(world.log(parent).await, there);
    engine.shutdown().await;
}

#[tokio::test]
async fn a_fork_whose_answer_was_lost_is_there_once() {
    for seed in 0..40 {
        let world = World::new(three);
        let engine = world.engine();
        let parent = world.begin(&engine, spec("count")).await;
        rested(&engine, parent).await;
        let there = world.log(parent).await;
        let faulty: SharedStore = Arc::new(FaultStore::new(Arc::clone(&world.store), seed, 30));
        let on_faults = world.engine_on(&faulty);
        let id = on_faults.new_session_id();
        let at = seq_of(&there, "observation.run", (seed % 3) as usize);
        on_faults.fork(id, parent, Seq(at), plain()).await.unwrap();
        let log = world.log(id).await;
        assert_eq!(log.len() as u64, at + 1);
        assert_eq!(log.iter().filter(|event| event.kind.as_str() == "session.forked").count(), 1);
        let again = on_faults.fork(id, parent, Seq(at), plain()).await;
        assert!(matches!(again, Err(EngineError::Store(StoreError::Conflict { .. }))), "{again:?}");
        assert_eq!(world.log(parent).await, there);
        on_faults.shutdown().await;
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn the_state_of_a_shared_event_is_that_of_the_parent() {
    let world = World::new(three);
    let engine = world.engine();
    let parent = world.begin(&engine, spec("count")).await;
    rested(&engine, parent).await;
    let at = seq_of(&world.log(parent).await, "observation.run", 2);
    let id = fork(&engine, parent, at, plain()).await;
    for seq in 1..=at {
        let (here, there) = (
            restore_at(world.store.as_ref(), id, Seq(seq), Trust::Nothing).await.unwrap(),
            restore_at(world.store.as_ref(), parent, Seq(seq), Trust::Nothing).await.unwrap(),
        );
        assert_eq!((here.session, here.hash), (there.session, there.hash));
    }
    let newest = world.store.read(Read { order: Order::NewestFirst, limit: 3, ..Read::forward(id, Seq::ZERO) }).await.unwrap();
    assert!(newest.rows.iter().all(|row| row.event().unwrap().session == id));
    engine.shutdown().await;
}

#[tokio::test]
async fn what_nobody_can_go_on_with_is_refused_with_a_reason() {
    let world = World::new(three);
    let engine = world.engine();
    let agentless = SessionSpec { agent: None, ..spec("count") };
    let parent = world.begin(&engine, agentless).await;
    rested(&engine, parent).await;
    let asked = [
        ForkOptions { instead: Some(Instead::Message("hello".to_owned())), ..plain() },
        ForkOptions { model: Some("other".to_owned()), ..plain() },
        ForkOptions { iterations: Some(3), ..plain() },
    ];
    for options in asked {
        let refused = engine.fork(engine.new_session_id(), parent, Seq(3), options).await;
        assert!(matches!(refused, Err(EngineError::Instead(Refused::NoAgent(_)))), "{refused:?}");
    }
    let refused = engine.fork(engine.new_session_id(), parent, Seq(1000), plain()).await;
    assert!(matches!(refused, Err(EngineError::Store(StoreError::Invalid(_)))), "{refused:?}");
    let nobody = engine.new_session_id();
    assert!(matches!(engine.fork(nobody, nobody, Seq(1), plain()).await, Err(EngineError::NotFound(_))));
    let first = Some(Instead::Result("x".to_owned()));
    let refused = engine.fork(engine.new_session_id(), parent, Seq(1), ForkOptions { instead: first, ..plain() }).await;
    assert!(matches!(refused, Err(EngineError::Instead(Refused::NoOutcome(_)))), "{refused:?}");
    assert_eq!(world.store.sessions(SessionFilter::All, 10).await.unwrap().len(), 1, "nothing was begun");
    engine.shutdown().await;
}
