//! The real program, killed with SIGKILL at random moments while it forks, goes on with forks, forks those again, and rewinds.
//!
//! After every kill a fork is there whole or not at all, nothing ran twice, and what was forked is untouched, byte for byte; every
//! conversation that the model ever gets is one that endpoints take.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rekindle::engine::restore::{Trust, restore};
use rekindle::session::{AgentState, Phase, Recorded, Session, SessionId};
use rekindle::store::{OpenOptions, SharedStore, verify_session};
use serde_json::json;

use crate::cli_fork::rows;
use crate::cli_support::{Rig, lines};
use crate::kill_anywhere::{Random, log};
use crate::live_support::{answers, assert_conversation, calls, finishes};
use crate::model_server::{ModelAnswer, ModelServer};

/// How often each test kills.
const KILLS: usize = 40;
/// The longest that a program lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(700);
/// How many lines the agent's commands write.
const LINES: usize = 4;

struct Trial {
    rig: Rig,
    model: ModelServer,
    kills: usize,
    /// What the last program said that was not killed.
    said: String,
}

impl Trial {
    /// With a session `live` whose agent has come to its end.
    async fn new() -> Self {
        let mut script: Vec<ModelAnswer> =
            (0..LINES).map(|n| calls(n, "bash", &json!({ "command": format!("echo {n} >> /workspace/journal") }))).collect();
        script.push(finishes(LINES, "written"));
        let model = ModelServer::replying(move |request| {
            let said = answers(request);
            script.get(said).cloned().unwrap_or_else(|| finishes(said, "nothing is left")).into()
        })
        .await;
        Self { rig: Rig::new(), model, kills: 0, said: String::new() }
    }

    /// Runs the program, and kills it unless it ends before.
    fn run_and_kill(&mut self, mut command: Command, life: Duration) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + life;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.code().is_some());
                self.said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        self.kills += 1;
    }

    async fn store(&self) -> SharedStore {
        rekindle::store::connect(&format!("sqlite://{}", self.rig.store().display()), OpenOptions::default()).await.unwrap()
    }

    /// The state and the log of a session, if it is there: whole, and with one outcome for each action at most.
    async fn sound(&self, name: &str) -> Option<(Session, Vec<Recorded>)> {
        self.model.received().iter().for_each(assert_conversation);
        let (store, id) = (self.store().await, SessionId::named(&name.parse().unwrap()));
        if store.session(id).await.unwrap().is_none() {
            store.close().await;
            return None;
        }
        verify_session(store.as_ref(), id).await.unwrap();
        let session = restore(store.as_ref(), id, Trust::Nothing).await.unwrap().session;
        let log = log(&store, id).await;
        store.close().await;
        for intent in log.iter().filter(|event| event.kind.as_str() == "action.run") {
            let of = |kind: &str| {
                log.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.as_str().starts_with(kind)).count()
            };
            assert!(of("observation.") <= 1 && of("action.dispatched") <= 1, "{name}: action {}", intent.seq);
            assert!(of("observation.") == 1 || !is_done(&session), "{name}: action {} has no outcome", intent.seq);
        }
        let workspace = &session.spec.as_ref().unwrap().workspace;
        let mut written = lines(&workspace.join("journal"));
        written.sort_unstable();
        let length = written.len();
        written.dedup();
        assert_eq!(written.len(), length, "{name}: an action ran twice");
        Some((session, log))
    }
}

fn is_done(session: &Session) -> bool {
    matches!(session.agent, AgentState::Finished) || matches!(session.phase, Phase::Closing { .. } | Phase::Closed { .. })
}

fn fork_again_and_again(seed: u64) {
    let mut random = Random(seed);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut trial = tokio.block_on(Trial::new());
    let ran = Rig::live(&trial.rig, &trial.model, &["write it down"]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let (mut from, mut forks, mut nested) = ("live".to_owned(), 0, 0);
    while trial.kills < KILLS || nested == 0 {
        let (_, there) = tokio.block_on(trial.sound(&from)).unwrap();
        let parent = SessionId::named(&from.parse().unwrap()).to_string();
        let before = rows(&trial.rig.store(), &parent);
        let name = format!("fork{forks}");
        forks += 1;
        let outcomes: Vec<&Recorded> = there.iter().filter(|event| event.kind.as_str() == "observation.run").collect();
        let any = 1 + random.below(there.len() as u64);
        let (at, other) = match (random.below(4), outcomes.get(random.below(LINES as u64) as usize)) {
            (0, Some(outcome)) => (outcome.seq.0, vec!["--result", "made up"]),
            (1, _) => (any, vec!["--message", "and this"]),
            (2, _) => (any, vec!["--model", "other"]),
            _ => (any, vec!["--run"]),
        };
        let mut done = false;
        let mut tries = 0;
        while !done {
            let is_there = tokio.block_on(trial.sound(&name)).is_some();
            let mut command = match is_there {
                true => trial.rig.command(&["resume", &name]),
                false => trial.rig.command(&["fork", &format!("{from}@{at}"), "--name", &name]),
            };
            if !is_there {
                command.args(&other);
            }
            // Later programs live longer, so that every fork comes to its end.
            let life = Duration::from_micros(random.below(LIFE_MAX.as_micros() as u64) * (1 + tries / 4));
            trial.run_and_kill(command, life);
            tries += 1;
            assert_eq!(rows(&trial.rig.store(), &parent), before, "what is forked is untouched");
            done = tokio.block_on(trial.sound(&name)).is_some_and(|(session, _)| is_done(&session));
            assert!(tries < 60, "{name} of {from}@{at} with {other:?} never ends: {}", trial.said);
        }
        for mode in ["verify", "fold"] {
            let again = trial.rig.run(&["replay", &name, "--mode", mode]);
            assert_eq!(again.code, 0, "{name} of {from}@{at} with {other:?}: {again:?}");
        }
        if random.below(2) == 0 {
            nested += usize::from(from != "live");
            from = name;
        } else {
            from = "live".to_owned();
        }
    }
}

#[test]
fn forks_that_are_killed_anywhere_are_whole_or_not_there_1() {
    fork_again_and_again(0x9E37_79B9);
}

#[test]
fn forks_that_are_killed_anywhere_are_whole_or_not_there_2() {
    fork_again_and_again(0x7F4A_7C15);
}

#[test]
fn a_rewind_that_is_killed_anywhere_can_be_done_again_and_two_never_go_on() {
    let mut random = Random(0xBF58_476D);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut trial = tokio.block_on(Trial::new());
    let ran = Rig::live(&trial.rig, &trial.model, &["write it down"]).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let mut from = "live".to_owned();
    let mut rewinds = 0;
    while trial.kills < KILLS / 2 {
        let (_, there) = tokio.block_on(trial.sound(&from)).unwrap();
        let outcome = there.iter().rfind(|event| event.kind.as_str() == "observation.run").unwrap().seq;
        let name = format!("back{rewinds}");
        rewinds += 1;
        let mut tries = 0;
        loop {
            let command = trial.rig.command(&["rewind", &format!("{from}@{outcome}"), "--name", &name]);
            let life = Duration::from_micros(random.below(LIFE_MAX.as_micros() as u64 / 2) * (1 + tries / 4));
            trial.run_and_kill(command, life);
            tries += 1;
            let (old, log) = tokio.block_on(trial.sound(&from)).unwrap();
            assert_eq!(log[..there.len()], there, "nothing of it is taken away");
            if tokio.block_on(trial.sound(&name)).is_some() {
                assert!(matches!(old.phase, Phase::Closed { .. }), "the one that was rewound does not go on");
                break;
            }
            assert!(tries < 60, "{name} never begins");
        }
        let resumed = trial.rig.run(&["resume", &name]);
        assert_eq!(resumed.code, 0, "{resumed:?}");
        from = name;
    }
    let left: Vec<_> = fs::read_dir(trial.rig.path("rekindle/workspaces")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), rewinds, "each works in a place of its own: {left:?}");
}

#[test]
fn a_fork_of_any_event_comes_to_its_end() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut trial = tokio.block_on(Trial::new());
    assert!(Rig::live(&trial.rig, &trial.model, &["write it down"]).output().unwrap().status.success());
    let (_, there) = tokio.block_on(trial.sound("live")).unwrap();
    let mut bad = Vec::new();
    // One in three, so that this takes seconds; what the others do is tried wherever chance leads.
    for event in there.iter().filter(|event| event.kind.as_str() == "observation.run" || event.seq.0 % 3 == 1) {
        let is_outcome = event.kind.as_str() == "observation.run";
        let others = [&["--message", "and this"][..], &["--model", "other"], &["--run"], &["--result", "made up"]];
        let others = if is_outcome { &others[3..] } else { &others[event.seq.0 as usize % 2..][..1] };
        for (kind, other) in others.iter().map(|other| (&other[0][2..3], *other)) {
            let name = format!("{kind}{}", event.seq);
            let fork = trial.rig.run(&[&["fork", &format!("live@{}", event.seq), "--name", &name], other].concat());
            let mut said = vec![fork];
            let mut ended = false;
            for _ in 0..3 {
                ended = tokio.block_on(trial.sound(&name)).is_some_and(|(session, _)| is_done(&session));
                if ended {
                    break;
                }
                said.push(trial.rig.run(&["resume", &name]));
            }
            if !ended {
                bad.push((event.seq, event.kind.clone(), kind, said));
            }
        }
    }
    trial.kills = 0;
    assert!(bad.is_empty(), "{} of {}: {bad:#?}", bad.len(), there.len());
}
