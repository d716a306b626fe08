//! Many nodes on one store: who runs what, what becomes of it when one dies or leaves, and that nothing is done twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::Ports;
use rekindle::engine::{Engine, EngineError, EngineOptions, Status};
use rekindle::session::{
    Action, AgentState, Command, Extras, NodeId, Observation, OnDivergence, OnUnknown, Origin, Phase, Rejection, SessionId,
    SessionSpec,
};
use rekindle::store::{Letter, MemoryStore, SessionFilter, SharedStore};
use rekindle::testing::{Answer, FakeRuntimes, FaultStore, Journaled};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(10);

fn options() -> EngineOptions {
    EngineOptions { lease: LEASE, ..EngineOptions::default() }
}

fn node(store: &SharedStore, runtimes: &FakeRuntimes, options: EngineOptions) -> Engine {
    let ports = Ports::new(Arc::new(runtimes.clone()), rekindle::trajectory::recording);
    Engine::with_options(Arc::clone(store), ports, Arc::new(SystemClock), options)
}

fn serving(engine: &Engine) -> tokio::task::JoinHandle<()> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.serve(|_| {}).await })
}

fn hangs() -> FakeRuntimes {
    FakeRuntimes::new(|_| Answer::Hang)
}

fn quick() -> FakeRuntimes {
    FakeRuntimes::new(|action| {
        let Action::Run(run) = action else { return Answer::Observe(Box::new(Observation::error("not a command", ""))) };
        let extras = format!(r#"{{"command":{:?},"metadata":{{"exit_code":0}}}}"#, run.command);
        let extras = Extras::Run(serde_json::from_str(&extras).unwrap());
        Answer::Observe(Box::new(Observation { content: String::new(), extras }))
    })
}

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

async fn replay(engine: &Engine, commands: &[&str]) -> SessionId {
    let mut items = vec![r#"{"id":0,"source":"user","action":"message","args":{"content":"go"}}"#.to_owned()];
    for (command, id) in commands.iter().zip((1..).step_by(2)) {
        items.push(format!(r#"{{"id":{id},"source":"agent","action":"run","args":{{"command":"{command}"}}}}"#));
        items.push(format!(
            r#"{{"id":{},"cause":{id},"source":"agent","observation":"run","content":"","extras":{{"command":"{command}","metadata":{{"exit_code":0}}}}}}"#,
            id + 1
        ));
    }
    items.push(r#"{"source":"agent","action":"finish","args":{}}"#.to_owned());
    let id = engine.new_session_id();
    let trajectory = engine.store().put_blob(id, format!("[{}]", items.join(",")).into_bytes()).await.unwrap();
    let spec = SessionSpec::new(
        Origin::Replay { trajectory, on_divergence: OnDivergence::Stop, on_unknown: OnUnknown::Stop },
        "/tmp/none",
    );
    engine.create(id, None, spec).await.unwrap();
    id
}

async fn fresh(engine: &Engine) -> SessionId {
    let id = engine.new_session_id();
    let origin = Origin::fresh(None);
    let spec = SessionSpec::new(origin, "/tmp/none");
    engine.create(id, None, spec).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    id
}

async fn owners(store: &SharedStore) -> HashMap<NodeId, usize> {
    let mut owners = HashMap::new();
    for row in store.sessions(SessionFilter::Due, 1000).await.unwrap() {
        *owners.entry(row.owner.unwrap()).or_default() += 1;
    }
    owners
}

/// Waits until `node` runs nothing any more, and returns how long that took.
async fn until_all_are_taken(store: &SharedStore, node: NodeId) -> Duration {
    let begun = Instant::now();
    while owners(store).await.contains_key(&node) {
        assert!(begun.elapsed() < LEASE * 10, "never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

/// A node that ends wherever it is, in a runtime of its own, and cleans nothing up; its process lives on, so only its lease tells.
fn dies_with(store: &SharedStore, sessions: usize) -> NodeId {
    let store = Arc::clone(store);
    std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let runtimes = hangs();
            let engine = node(&store, &runtimes, options());
            for _ in 0..sessions {
                replay(&engine, &["a", "b"]).await;
            }
            while runtimes.executed().len() < sessions {
                tokio::task::yield_now().await;
            }
            // The store's clock is one of tokio, which stands still elsewhere: this node was last heard of just now.
            engine.node()
        })
    })
    .join()
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_dead_node_are_taken_within_one_lease_and_spread_over_all_that_serve() {
    let store = memory();
    let dead = dies_with(&store, 60);
    store.renew_lease(dead, "elsewhere", LEASE).await.unwrap();
    let nodes: Vec<_> = (0..3).map(|_| node(&store, &hangs(), options())).collect();
    let tasks: Vec<_> = nodes.iter().map(serving).collect();
    tokio::time::sleep(LEASE - Duration::from_millis(100)).await;
    assert_eq!(owners(&store).await, HashMap::from([(dead, 60)]), "nobody takes what a living node runs");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let took = until_all_are_taken(&store, dead).await;
    assert!(took <= LEASE, "{took:?}");
    let owners = owners(&store).await;
    assert_eq!(owners.values().sum::<usize>(), 60);
    for node in &nodes {
        // Chance spreads them; that one takes less than three or more than two thirds does not happen to an honest hash.
        assert!((3..=40).contains(&owners[&node.node()]), "{owners:?}");
    }
    for node in &nodes {
        node.drain().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_lives_but_takes_nothing_strands_no_session() {
    let store = memory();
    let dead = dies_with(&store, 20);
    store.end_lease(dead).await.unwrap();
    let stuck = node(&store, &hangs(), options()).node();
    store.renew_lease(stuck, "role=serves", LEASE * 100).await.unwrap();
    let living = node(&store, &hangs(), options());
    let task = serving(&living);
    let took = until_all_are_taken(&store, dead).await;
    assert!(took <= LEASE, "{took:?}");
    assert_eq!(owners(&store).await, HashMap::from([(living.node(), 20)]));
    living.drain().await;
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_drained_hands_over_at_once_and_takes_nothing_more() {
    let store = memory();
    let (leaving, staying) = (node(&store, &hangs(), options()), node(&store, &hangs(), options()));
    for _ in 0..10 {
        replay(&leaving, &["a", "b"]).await;
    }
    let tasks = [serving(&leaving), serving(&staying)];
    tokio::time::sleep(LEASE).await;
    assert_eq!(owners(&store).await, HashMap::from([(leaving.node(), 10)]));
    leaving.drain().await;
    let took = until_all_are_taken(&store, leaving.node()).await;
    assert!(took < LEASE / 2, "{took:?}");
    let id = leaving.new_session_id();
    let origin = Origin::fresh(None);
    let spec = SessionSpec::new(origin, "/tmp/none");
    assert!(matches!(leaving.create(id, None, spec).await, Err(EngineError::ShutDown)));
    staying.drain().await;
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_for_a_session_of_another_node_is_carried_out_there_once() {
    let store = memory();
    let (owner, other) = (node(&store, &quick(), options()), node(&store, &quick(), options()));
    let id = fresh(&owner).await;
    other.submit(id, Command::Say { content: "hello".to_owned() }).await.unwrap();
    let session = owner.restore(id).await.unwrap().session;
    assert_eq!((session.counts.messages, session.owner, session.epoch.0), (1, Some(owner.node()), 1));
    other.submit(id, Command::Close { reason: "enough".to_owned() }).await.unwrap();
    owner.rest(id).await;
    assert!(matches!(owner.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
    assert_eq!(store.letters(owner.node(), 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_refuses_is_refused_as_it_would_be_there() {
    let store = memory();
    let (owner, other) = (node(&store, &hangs(), options()), node(&store, &hangs(), options()));
    let id = replay(&owner, &["a"]).await;
    let refused = other.submit(id, Command::Act { actions: Vec::new() }).await;
    let there = owner.submit(id, Command::Act { actions: Vec::new() }).await;
    let (Err(EngineError::Rejected(refused)), Err(EngineError::Rejected(there))) = (refused, there) else { panic!("accepted") };
    assert_eq!(refused, there);
    assert_ne!(refused, Rejection::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_nobody_answers_names_the_owner_and_is_never_carried_out() {
    let store = memory();
    let (owner, other) = (node(&store, &quick(), options()), node(&store, &quick(), options()));
    let id = fresh(&owner).await;
    owner.shutdown().await;
    // It lives by its lease, but looks at no letter.
    store.renew_lease(owner.node(), "role=serves", LEASE * 100).await.unwrap();
    let outcome = other.submit(id, Command::Say { content: "hello".to_owned() }).await;
    assert!(matches!(outcome, Err(EngineError::OwnedElsewhere { node, .. }) if node == owner.node()), "{outcome:?}");
    assert_eq!(store.letters(owner.node(), 10).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_cannot_be_read_is_refused() {
    let store = memory();
    let owner = node(&store, &quick(), options());
    let id = fresh(&owner).await;
    let letter = Letter { to: owner.node(), id: uuid::Uuid::now_v7(), session: id, command: r#"{"do":"harm"}"#.to_owned() };
    store.post(letter.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.take_answer(letter.to, letter.id).await.unwrap().unwrap().contains("cannot be read"));
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_cannot_be_renewed_begins_nothing_more() {
    let faults = Arc::new(FaultStore::new(memory(), 1, 0));
    let store: SharedStore = faults.clone();
    // Each action takes a second, longer than the lease in all.
    let runtimes = quick();
    let owner = node(&store, &runtimes, options());
    let id = fresh(&owner).await;
    let run = |n: usize| {
        let text = format!(r#"{{"action":"run","args":{{"command":"{n}"}}}}"#);
        Command::Act { actions: vec![rekindle::session::Item::decode(&text).unwrap()] }
    };
    owner.submit(id, run(0)).await.unwrap();
    owner.rest(id).await;
    assert_eq!(runtimes.executed().len(), 1);
    faults.stop_leases();
    tokio::time::sleep(LEASE).await;
    owner.submit(id, run(1)).await.unwrap();
    assert!(matches!(owner.rest(id).await, Status::Failed(_)));
    assert_eq!(runtimes.executed().len(), 1, "nothing is begun once the lease may have passed");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_wakes_up_after_it_was_taken_over_runs_nothing_more() {
    let store = memory();
    let runtimes = hangs();
    let owner = node(&store, &runtimes, options());
    let id = replay(&owner, &["a", "b"]).await;
    while runtimes.executed().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // As its lease looks to others while it sleeps.
    store.end_lease(owner.node()).await.unwrap();
    let successor = quick();
    let other = node(&store, &successor, options());
    other.resume(id).await.unwrap();
    other.rest(id).await;
    assert!(owner.submit(id, Command::Close { reason: "late".to_owned() }).await.is_err());
    assert!(matches!(owner.rest(id).await, Status::Failed(_)));
    assert_eq!(runtimes.journal().last(), Some(&Journaled::Released));
    let ran = [runtimes.executed(), successor.executed()].concat().len();
    assert_eq!(ran, 2, "each action once");
    assert_eq!(store.session(id).await.unwrap().unwrap().owner, Some(other.node()));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_refuses_an_owner_that_was_taken_over() {
    use rekindle::engine::ports::{Provision, Runtimes, Timeout};
    use rekindle::session::Epoch;
    let runtimes = quick();
    let id = SessionId::from_uuid(uuid::Uuid::now_v7());
    let asked = |epoch| Provision::new(id, rekindle::session::Digest::ZERO, "of-a-test", Epoch(epoch), "/tmp/none");
    let old = runtimes.provision(asked(1)).await.unwrap().runtime;
    runtimes.clone().provision(asked(2)).await.unwrap();
    let action = Action::Null;
    let timeout = Timeout { hard: Duration::from_secs(1), quiet: Duration::from_secs(1) };
    assert!(old.execute(&action, timeout).await.is_err());
    assert!(runtimes.provision(asked(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_rests_leaves_memory_and_comes_back_when_it_is_asked_for() {
    let store = memory();
    let runtimes = quick();
    let engine = node(&store, &runtimes, EngineOptions { idle: Duration::from_secs(60), ..options() });
    let id = fresh(&engine).await;
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(engine.is_live(id));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!engine.is_live(id));
    assert_eq!(runtimes.journal().last(), Some(&Journaled::Released));
    assert_eq!(store.session(id).await.unwrap().unwrap().owner, Some(engine.node()), "it stays this node's");
    assert!(engine.restore(id).await.unwrap().proof.snapshot.is_some());
    // Through the store it comes back as well.
    let other = node(&store, &quick(), options());
    other.submit(id, Command::Say { content: "wake up".to_owned() }).await.unwrap();
    assert!(engine.is_live(id));
    assert_eq!(engine.rest(id).await, Status::Resting);
    engine.submit(id, Command::Close { reason: "enough".to_owned() }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    assert!(matches!(engine.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_replay_whose_node_died_ends_in_another_as_it_would_have() {
    let store = memory();
    let dead = dies_with(&store, 5);
    store.end_lease(dead).await.unwrap();
    let runtimes = quick();
    let living = node(&store, &runtimes, options());
    let task = serving(&living);
    let begun = Instant::now();
    while !owners(&store).await.is_empty() {
        assert!(begun.elapsed() < LEASE * 10);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for row in store.sessions(SessionFilter::All, 10).await.unwrap() {
        let session = living.restore(row.id).await.unwrap().session;
        assert_eq!((session.agent, session.replay.unwrap().verdicts.unknown), (AgentState::Finished, 1));
    }
    assert_eq!(runtimes.executed().len(), 5, "what may have run is not run again");
    living.drain().await;
    task.await.unwrap();
}
