//! Real recordings, performed for real: a SQLite store, the local runtime, an empty workspace.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rekindle::engine::clock::SystemClock;
use rekindle::engine::ports::Ports;
use rekindle::engine::{Engine, Status};
use rekindle::host::runtime::local::{LocalOptions, LocalRuntimes};
use rekindle::session::replay::{ReplayOutcome, Verdict};
use rekindle::session::{
    AgentState, Content, Deadlines, Event, Extras, OnDivergence, OnUnknown, Origin, Recorded, Seq, Session, SessionSpec, Source,
};
use rekindle::store::{OpenOptions, Read, Row, verify_session};
use tempfile::TempDir;

fn shared(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/trajectories").join(name);
    assert!(path.exists(), "{} is missing: the recordings of other systems lie beside the checkout", path.display());
    path
}

struct Replayed {
    session: Session,
    log: Vec<Recorded>,
    workspace: PathBuf,
    _folder: TempDir,
}

async fn replay(path: &Path) -> Replayed {
    let folder = tempfile::tempdir().unwrap();
    let workspace = folder.path().join("workspace");
    let url = format!("sqlite://{}", folder.path().join("log.db").display());
    let store = rekindle::store::connect(&url, OpenOptions { create: true, ..OpenOptions::default() }).await.unwrap();
    let runtimes = Arc::new(LocalRuntimes::new(LocalOptions::default()));
    let ports = Ports::new(runtimes, rekindle::trajectory::recording);
    let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
    let id = engine.new_session_id();
    let recording = rekindle::trajectory::read_file(path).unwrap().to_json();
    let trajectory = store.put_blob(id, recording.into_bytes()).await.unwrap();
    let origin = Origin::Replay { trajectory, on_divergence: OnDivergence::Continue, on_unknown: OnUnknown::Stop };
    let deadlines = Deadlines { action_max_ms: 30_000, quiet_ms: 5_000, ..Deadlines::default() };
    engine.create(id, None, SessionSpec { deadlines, ..SessionSpec::new(origin, workspace.clone()) }).await.unwrap();
    assert_eq!(engine.rest(id).await, Status::Resting);
    let session = engine.restore(id).await.unwrap().session;
    verify_session(store.as_ref(), id).await.unwrap();
    let mut log: Vec<Recorded> = Vec::new();
    loop {
        let after = log.last().map_or(Seq::ZERO, |event| event.seq);
        let page = store.read(Read::forward(id, after)).await.unwrap();
        log.extend(page.rows.into_iter().filter_map(|row| if let Row::Event { event, .. } = row { Some(event) } else { None }));
        if !page.more {
            break;
        }
    }
    engine.shutdown().await;
    store.close().await;
    Replayed { session, log, workspace, _folder: folder }
}

impl Replayed {
    fn assert_completed(&self, agent: AgentState) {
        assert_eq!(self.session.replay.as_ref().unwrap().outcome, Some(ReplayOutcome::Completed));
        assert_eq!(self.session.agent, agent);
        assert!(self.session.open.is_empty());
    }

    fn divergences(&self) -> Vec<String> {
        let told = |event: &Recorded| match Event::read(event) {
            Event::ReplayCompared(body) => match body.verdict {
                Verdict::Diverged { differences } => Some(format!("entry {}: {differences:?}", body.index)),
                _ => None,
            },
            _ => None,
        };
        self.log.iter().filter_map(told).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_session_is_performed_again_without_divergence() {
    let replayed = replay(&shared("basic.json")).await;
    replayed.assert_completed(AgentState::Finished);
    assert_eq!(replayed.divergences(), Vec::<String>::new());
    assert!(replayed.workspace.join("game_2048.py").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_user_messages_enter_again_in_order() {
    let replayed = replay(&shared("basic_interactions.json")).await;
    replayed.assert_completed(AgentState::Finished);
    let said = |event: &Recorded| match Event::read(event) {
        Event::Item(entry) if event.source == Source::User => match entry.item.content {
            Content::Action(rekindle::session::Action::Message(message)) => Some(message.content),
            _ => None,
        },
        _ => None,
    };
    let messages: Vec<String> = replayed.log.iter().filter_map(said).collect();
    assert_eq!(messages, ["what's 1+1?", "No, I mean by Goldbach's conjecture!", "Finish please"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_whose_files_are_missing_diverges_and_still_ends() {
    let replayed = replay(&shared("wrong_initial_state.json")).await;
    replayed.assert_completed(AgentState::Finished);
    let failed = replayed.log.iter().any(|event| match Event::read(event) {
        Event::Item(entry) => match entry.item.content {
            Content::Observation(observation) => {
                matches!(observation.extras, Extras::Run(run) if run.metadata.exit_code != 0)
            }
            Content::Action(_) => false,
        },
        _ => false,
    });
    assert!(failed, "the rename of a file that is not there fails");
    assert!(!replayed.divergences().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_begins_with_a_prompt_and_asks_memory_is_performed_to_its_end() {
    let replayed = replay(&shared("pony_parser_49.json")).await;
    replayed.assert_completed(AgentState::Finished);
    assert!(replayed.log.iter().any(|event| event.kind.as_str() == "observation.think"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_recording_is_performed_again_without_divergence() {
    let replayed = replay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.json")).await;
    replayed.assert_completed(AgentState::Finished);
    assert_eq!(replayed.divergences(), Vec::<String>::new());
}
