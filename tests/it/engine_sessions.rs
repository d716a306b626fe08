//! The engine on the reference store, with a runtime that only remembers: what is run, how often, and what a crash leaves.

use std::sync::Arc;
use std::time::Duration;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::Ports;
use rekindle::engine::restore::{Trust, restore};
use rekindle::engine::{Engine, EngineError, Status};
use rekindle::session::replay::ReplayOutcome;
use rekindle::session::{
    Action, AgentState, Command, Extras, Item, Observation, OnDivergence, OnUnknown, Origin, Phase, Recorded, Seq, SessionId,
    SessionSpec,
};
use rekindle::store::MemoryStore;
use rekindle::store::{Read, Row, SharedStore, chain};
use rekindle::testing::{Answer, FakeRuntimes, FaultStore, Journaled};

/// A user's message, `actions` commands, and the end.
fn recording(actions: usize) -> String {
    let mut items = vec![r#"{"id":0,"source":"user","action":"message","args":{"content":"count"}}"#.to_owned()];
    for n in 0..actions {
        let (id, cause) = (2 * n + 1, 2 * n + 1);
        items.push(format!(r#"{{"id":{id},"source":"agent","action":"run","args":{{"command":"echo {n}"}}}}"#));
        items.push(format!(
            r#"{{"id":{},"cause":{cause},"source":"agent","observation":"run","content":"{n}","extras":{{"command":"echo {n}","metadata":{{"exit_code":0}}}}}}"#,
            id + 1
        ));
    }
    items.push(r#"{"source":"agent","action":"finish","args":{}}"#.to_owned());
    format!("[{}]", items.join(","))
}

/// Answers `echo X` with X.
fn echo(action: &Action) -> Answer {
    let Action::Run(run) = action else {
        return Answer::Observe(Box::new(Observation::error("not a command", "")));
    };
    let extras = format!(r#"{{"command":{:?},"metadata":{{"exit_code":0}}}}"#, run.command);
    let content = run.command.trim_start_matches("echo ").to_owned();
    Answer::Observe(Box::new(Observation { content, extras: Extras::Run(serde_json::from_str(&extras).unwrap()) }))
}

fn engine(store: &SharedStore, runtimes: &FakeRuntimes) -> Engine {
    let ports = Ports::new(Arc::new(runtimes.clone()), rekindle::trajectory::recording);
    Engine::new(Arc::clone(store), ports, Arc::new(SystemClock))
}

async fn spec(store: &SharedStore, id: SessionId, actions: usize) -> SessionSpec {
    let trajectory = store.put_blob(id, recording(actions).into_bytes()).await.unwrap();
    SessionSpec::new(Origin::Replay { trajectory, on_divergence: OnDivergence::Stop, on_unknown: OnUnknown::Stop }, "/tmp/none")
}

async fn start_replay(engine: &Engine, actions: usize) -> SessionId {
    let id = engine.new_session_id();
    let spec = spec(engine.store(), id, actions).await;
    engine.create(id, None, spec).await.unwrap();
    id
}

async fn log(store: &SharedStore, id: SessionId) -> Vec<Recorded> {
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event: &Recorded| event.seq);
        let page = store.read(Read::forward(id, after)).await.unwrap();
        events.extend(page.rows.into_iter().map(|row| match row {
            Row::Event { event, .. } => event,
            Row::Damaged { seq, what } => panic!("event {seq} is damaged: {what}"),
        }));
        if !page.more {
            return events;
        }
    }
}

/// Every intent has exactly one outcome, the chain holds, and the restored state is the fold of everything.
async fn assert_sound(store: &SharedStore, id: SessionId) {
    let events = log(store, id).await;
    for intent in events.iter().filter(|event| event.kind.as_str() == "action.run") {
        let outcomes = events.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.family() == "observation");
        assert_eq!(outcomes.count(), 1, "action {}", intent.seq);
    }
    chain::verify_session(store.as_ref(), id).await.unwrap();
    let row = store.session(id).await.unwrap().unwrap();
    let ports = Ports::new(Arc::new(FakeRuntimes::new(echo)), rekindle::trajectory::recording);
    let found = rekindle::engine::redecide(store, &ports, &row, row.head).await.unwrap();
    assert_eq!(found.divergences, [], "today's code decides it as it stands");
    let full = restore(store.as_ref(), id, Trust::Nothing).await.unwrap();
    let quick = restore(store.as_ref(), id, Trust::Snapshot).await.unwrap();
    assert_eq!(full.proof.digest, quick.proof.digest);
}

fn memory() -> SharedStore {
    Arc::new(MemoryStore::new())
}

async fn until_executing(runtimes: &FakeRuntimes, count: usize) {
    while runtimes.executed().len() < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_just_told_to_act_does_not_rest_before_it_has() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = engine.new_session_id();
    engine.create(id, None, SessionSpec::new(Origin::fresh(None), "/tmp/none")).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    for told in 1..=500 {
        let run = Item::decode(r#"{"action":"run","args":{"command":"echo 1"}}"#).unwrap();
        engine.submit(id, Command::Act { actions: vec![run] }).await.unwrap();
        assert_eq!(engine.rest(id).await, Status::Resting);
        assert_eq!(runtimes.executed().len(), told);
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn a_replay_runs_to_its_end_and_closes() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 5).await;
    assert_eq!(engine.rest(id).await, Status::Resting);
    let restored = engine.restore(id).await.unwrap();
    let replay = restored.session.replay.unwrap();
    assert_eq!(replay.outcome, Some(ReplayOutcome::Completed));
    assert_eq!((replay.verdicts.same, replay.verdicts.diverged), (5, 0));
    assert_eq!(restored.session.agent, AgentState::Finished);
    engine.submit(id, Command::Close { reason: "done".to_owned() }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    assert!(matches!(engine.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
    assert_eq!(runtimes.journal().last(), Some(&Journaled::Released));
    assert_sound(&store, id).await;
}

/// Runs a replay in an engine that dies while action `at` runs: its tasks end wherever they are, and it cleans nothing up.
fn crash_at(store: &SharedStore, actions: usize, at: usize) -> (SessionId, FakeRuntimes) {
    let hangs_at = format!("echo {at}");
    let runtimes = FakeRuntimes::new(move |action| match action {
        Action::Run(run) if run.command == hangs_at => Answer::Hang,
        other => echo(other),
    });
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let id = tokio.block_on(async {
        let engine = engine(store, &runtimes);
        let id = start_replay(&engine, actions).await;
        until_executing(&runtimes, at + 1).await;
        store.end_lease(engine.node()).await.unwrap();
        id
    });
    tokio.shutdown_background();
    (id, runtimes)
}

#[test]
fn after_a_crash_a_replay_goes_on_and_repeats_nothing_that_may_have_run() {
    let store = memory();
    let (id, before) = crash_at(&store, 6, 3);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let runtimes = FakeRuntimes::new(echo);
        let engine = engine(&store, &runtimes);
        let resumed = engine.resume(id).await.unwrap();
        assert!(resumed.running);
        assert_eq!(resumed.restored.proof.events, resumed.restored.session.version.0);
        engine.rest(id).await;
        let ran: Vec<_> = before.executed().into_iter().chain(runtimes.executed()).collect();
        let commands: Vec<_> =
            ran.iter().map(|action| if let Action::Run(run) = action { run.command.as_str() } else { "" }).collect();
        assert_eq!(commands, ["echo 0", "echo 1", "echo 2", "echo 3", "echo 4", "echo 5"]);
        let session = engine.restore(id).await.unwrap().session;
        assert_eq!(session.replay.unwrap().verdicts.unknown, 1);
        assert_eq!(session.agent, AgentState::Finished);
        assert_sound(&store, id).await;
        let log = log(&store, id).await;
        let restored = log.iter().find(|event| event.kind.as_str() == "session.restored").unwrap();
        assert!(restored.body.as_json().contains(&resumed.restored.proof.digest.to_string()));
    });
}

#[test]
fn at_boot_every_session_that_needs_one_gets_a_worker_and_no_other() {
    let store = memory();
    let (crashed, _) = crash_at(&store, 3, 1);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio.block_on(async {
        let runtimes = FakeRuntimes::new(echo);
        let first = engine(&store, &runtimes);
        let finished = start_replay(&first, 1).await;
        first.rest(finished).await;
        first.shutdown().await;
        let engine = engine(&store, &runtimes);
        let recoveries = engine.recover().await.unwrap();
        assert_eq!(recoveries.iter().map(|recovery| recovery.session).collect::<Vec<_>>(), [crashed]);
        assert!(recoveries.iter().all(|recovery| recovery.outcome.is_ok()));
        engine.rest(crashed).await;
        assert!(engine.recover().await.unwrap().is_empty(), "nothing is left to do");
    });
}

#[tokio::test]
async fn a_session_that_a_living_process_runs_is_not_taken_over() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(|_| Answer::Hang));
    let owner = engine(&store, &runtimes);
    let id = start_replay(&owner, 2).await;
    until_executing(&runtimes, 1).await;
    let other = engine(&store, &runtimes);
    assert!(matches!(other.resume(id).await, Err(EngineError::OwnedElsewhere { .. })));
    assert_eq!(store.session(id).await.unwrap().unwrap().owner, Some(owner.node()));
}

#[tokio::test]
async fn an_owner_that_was_taken_over_performs_nothing_more() {
    let (store, first_runtimes) = (memory(), FakeRuntimes::new(|_| Answer::Hang));
    let first = engine(&store, &first_runtimes);
    let id = start_replay(&first, 3).await;
    until_executing(&first_runtimes, 1).await;
    store.end_lease(first.node()).await.unwrap();
    let second_runtimes = FakeRuntimes::new(echo);
    let second = engine(&store, &second_runtimes);
    second.resume(id).await.unwrap();
    second.rest(id).await;
    let refused = first.submit(id, Command::Say { content: "still here".to_owned() }).await;
    assert!(refused.is_err(), "a command to the former owner is refused");
    assert!(matches!(first.rest(id).await, Status::Failed(_) | Status::Resting));
    assert_eq!(first_runtimes.executed().len(), 1);
    assert_eq!(second_runtimes.executed().len(), 2, "the action that may have run is not repeated");
    assert_sound(&store, id).await;
}

#[tokio::test]
async fn closing_ends_an_action_that_hangs() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(|_| Answer::Hang));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 2).await;
    until_executing(&runtimes, 1).await;
    engine.submit(id, Command::Close { reason: "enough".to_owned() }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    assert!(matches!(engine.restore(id).await.unwrap().session.phase, Phase::Closed { .. }));
    assert_eq!(runtimes.journal().last(), Some(&Journaled::Released));
    assert_sound(&store, id).await;
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_never_answers_is_given_up_at_its_deadline() {
    let (store, runtimes) = (
        memory(),
        FakeRuntimes::new(|action| if format!("{action:?}").contains("echo 0") { Answer::Hang } else { echo(action) }),
    );
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 2).await;
    engine.rest(id).await;
    let session = engine.restore(id).await.unwrap().session;
    assert_eq!((session.agent, session.replay.unwrap().verdicts.unknown), (AgentState::Finished, 1));
    assert_sound(&store, id).await;
}

#[tokio::test]
async fn a_lost_runtime_is_made_again_and_the_replay_goes_on() {
    let (store, runtimes) = (
        memory(),
        FakeRuntimes::new(|action| if format!("{action:?}").contains("echo 1") { Answer::Lose } else { echo(action) }),
    );
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 3).await;
    engine.rest(id).await;
    let made = runtimes.journal().iter().filter(|asked| matches!(asked, Journaled::Provisioned(..))).count();
    assert_eq!(made, 2);
    assert_eq!(engine.restore(id).await.unwrap().session.agent, AgentState::Finished);
    assert_sound(&store, id).await;
}

#[tokio::test]
async fn a_start_that_failed_can_be_started_again() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo).refusing(1));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 1).await;
    engine.rest(id).await;
    assert!(matches!(engine.restore(id).await.unwrap().session.phase, Phase::StartFailed { .. }));
    engine.shutdown().await;
    let again = self::engine(&store, &runtimes);
    assert!(again.resume(id).await.unwrap().running);
    again.rest(id).await;
    assert_eq!(again.restore(id).await.unwrap().session.agent, AgentState::Finished);
}

#[tokio::test]
async fn an_application_can_be_the_agent_itself() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = engine.new_session_id();
    let origin = Origin::fresh(Some("count to one".to_owned()));
    let spec = SessionSpec::new(origin, "/tmp/none");
    engine.create(id, None, spec).await.unwrap();
    engine.rest(id).await;
    let run = Item::decode(r#"{"action":"run","args":{"command":"echo 1"}}"#).unwrap();
    engine.submit(id, Command::Act { actions: vec![run.clone(), run] }).await.unwrap();
    engine.rest(id).await;
    assert_eq!(runtimes.executed().len(), 2);
    assert_sound(&store, id).await;
}

#[tokio::test]
async fn a_subscriber_sees_history_then_live_without_gap_or_double() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 40).await;
    let mut followers = Vec::new();
    for from in [0, 3, 20] {
        let mut subscription = engine.subscribe(id, Seq(from));
        followers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let Row::Event { event, .. } = subscription.next().await.unwrap() else { panic!("damaged") };
                seen.push(event.seq.0);
                if event.kind.as_str() == "replay.finished" {
                    return (from, seen);
                }
            }
        }));
    }
    for follower in followers {
        let (from, seen) = follower.await.unwrap();
        assert_eq!(seen, (from + 1..=*seen.last().unwrap()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_long_session_opens_from_a_snapshot_and_a_damaged_snapshot_is_passed_over() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 200).await;
    engine.rest(id).await;
    let restored = engine.restore(id).await.unwrap();
    let snapshot = restored.proof.snapshot.expect("a snapshot was kept");
    assert!(restored.session.version.0 - snapshot.0 <= 300);
    let full = restore(store.as_ref(), id, Trust::Nothing).await.unwrap();
    assert_eq!((full.proof.digest, full.proof.snapshot), (restored.proof.digest, None));
    let mut kept = store.snapshot(id, rekindle::session::REDUCER, restored.session.version).await.unwrap().unwrap();
    kept.seq = kept.seq.next();
    kept.bytes.reverse();
    store.put_snapshot(kept).await.unwrap();
    assert_eq!(engine.restore(id).await.unwrap().proof.digest, full.proof.digest);
}

#[tokio::test]
async fn a_session_stays_restorable_after_one_of_its_events_was_redacted() {
    let (store, runtimes) = (memory(), FakeRuntimes::new(echo));
    let engine = engine(&store, &runtimes);
    let id = start_replay(&engine, 2).await;
    engine.rest(id).await;
    let message = log(&store, id).await.into_iter().find(|event| event.kind.as_str() == "action.message").unwrap();
    store.redact(id, message.seq).await.unwrap();
    let restored = engine.restore(id).await.unwrap();
    assert_eq!((restored.session.title, restored.session.agent), (None, AgentState::Finished));
}

#[test]
fn whatever_the_store_answers_nothing_runs_twice_and_nothing_is_lost() {
    for seed in 0..60 {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        tokio.block_on(async {
            let inner = memory();
            let faulty: SharedStore = Arc::new(FaultStore::new(Arc::clone(&inner), seed, 40));
            let runtimes = FakeRuntimes::new(echo);
            let mut id = None;
            // An engine that gives up is replaced, as a supervisor would.
            for _ in 0..50 {
                let engine = engine(&faulty, &runtimes);
                match id {
                    None => {
                        let new = engine.new_session_id();
                        let spec = spec(&inner, new, 6).await;
                        if engine.create(new, None, spec).await.is_ok() || inner.session(new).await.unwrap().is_some() {
                            id = Some(new);
                        }
                    }
                    Some(id) => {
                        let _ = engine.resume(id).await;
                    }
                }
                if let Some(id) = id {
                    let _ = engine.rest(id).await;
                    engine.shutdown().await;
                    let session = restore(inner.as_ref(), id, Trust::Nothing).await.unwrap().session;
                    if session.agent == AgentState::Finished {
                        break;
                    }
                }
            }
            let id = id.expect("the session was created");
            let session = restore(inner.as_ref(), id, Trust::Nothing).await.unwrap().session;
            assert_eq!(session.agent, AgentState::Finished, "seed {seed}");
            let executed: Vec<String> = runtimes.executed().iter().map(|action| format!("{action:?}")).collect();
            let mut once = executed.clone();
            once.dedup();
            assert_eq!(executed, once, "seed {seed}: an action ran twice");
            assert_sound(&inner, id).await;
        });
    }
}
