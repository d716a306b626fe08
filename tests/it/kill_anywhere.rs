//! The real program, killed with SIGKILL at random moments of a replay and of its resumes, two hundred times and more.
//!
//! After every kill: the log is whole, what was told is in it, nothing ran twice. At the end: every action has one outcome.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rekindle::engine::restore::{Trust, restore};
use rekindle::session::{AgentState, Recorded, Seq, SessionId};
use rekindle::store::{OpenOptions, Read, Row, SharedStore, verify_session};
use tempfile::TempDir;

/// How often each of the four tests below kills.
const KILLS: usize = 55;
/// How many actions each replay performs.
const ACTIONS: usize = 12;
/// The longest that a program lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(900);

/// A xorshift64* generator: every run of a test kills by the same numbers.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % bound
    }
}

fn recording(folder: &Path) -> PathBuf {
    let mut items = vec![r#"{"id":0,"source":"user","action":"message","args":{"content":"count"}}"#.to_owned()];
    for n in 0..ACTIONS {
        let id = 2 * n + 1;
        items.push(format!(r#"{{"id":{id},"source":"agent","action":"run","args":{{"command":"echo {n} >> journal"}}}}"#));
        items.push(format!(
            r#"{{"id":{},"cause":{id},"source":"agent","observation":"run","content":"","extras":{{"command":"","metadata":{{"exit_code":0}}}}}}"#,
            id + 1
        ));
    }
    items.push(r#"{"source":"agent","action":"finish","args":{}}"#.to_owned());
    let path = folder.join("recording.json");
    fs::write(&path, format!("[{}]", items.join(","))).unwrap();
    path
}

struct Trial {
    folder: TempDir,
    url: String,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("log.db").display());
        recording(folder.path());
        Self { folder, url }
    }

    fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// The program, replaying for the first time or resuming, and how many outcomes it has told.
    fn spawn(&self, resume: bool) -> (Child, Arc<AtomicU64>, mpsc::Receiver<()>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
        command.args(["--store", &self.url, "-v"]);
        if resume {
            command.args(["resume", "trial"]);
        } else {
            command.arg("replay").arg(self.folder.path().join("recording.json")).args(["--name", "trial", "--workspace"]);
            command.arg(self.workspace());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let told = Arc::new(AtomicU64::new(0));
        let (ended, end) = mpsc::channel();
        let (stderr, counter) = (child.stderr.take().unwrap(), Arc::clone(&told));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let count = line.trim_start().split_once('/').and_then(|(count, _)| count.parse().ok());
                if let Some(count) = count {
                    counter.store(count, Ordering::SeqCst);
                }
            }
            let _ = ended.send(());
        });
        (child, told, end)
    }

    /// Which lines the commands have written, each of them once.
    fn journal(&self) -> BTreeSet<usize> {
        let text = fs::read_to_string(self.workspace().join("journal")).unwrap_or_default();
        let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        let set: BTreeSet<usize> = lines.iter().copied().collect();
        assert_eq!(set.len(), lines.len(), "an action ran twice: {lines:?}");
        set
    }

    async fn store(&self) -> SharedStore {
        rekindle::store::connect(&self.url, OpenOptions::default()).await.unwrap()
    }
}

pub async fn log(store: &SharedStore, id: SessionId) -> Vec<Recorded> {
    let mut events: Vec<Recorded> = Vec::new();
    loop {
        let after = events.last().map_or(Seq::ZERO, |event| event.seq);
        let page = store.read(Read::forward(id, after)).await.unwrap();
        events.extend(page.rows.into_iter().map(|row| match row {
            Row::Event { event, .. } => event,
            Row::Damaged { .. } => panic!("{row:?}"),
        }));
        if !page.more {
            return events;
        }
    }
}

fn outcomes(events: &[Recorded], intent: &Recorded) -> usize {
    events.iter().filter(|event| event.cause == Some(intent.seq) && event.kind.family() == "observation").count()
}

/// What must hold after any kill. Returns whether the session is there, and whether it is done.
async fn assert_sound(trial: &Trial, told: u64) -> (bool, bool) {
    let written = trial.journal();
    let store = trial.store().await;
    let Some(row) = store.session(SessionId::named(&"trial".parse().unwrap())).await.unwrap() else {
        // A session that was created but not yet named is not the one that is resumed; nothing was told of it.
        assert_eq!((told, written.len()), (0, 0), "what was told is lost");
        store.close().await;
        return (false, false);
    };
    verify_session(store.as_ref(), row.id).await.unwrap();
    let full = restore(store.as_ref(), row.id, Trust::Nothing).await.unwrap();
    let quick = restore(store.as_ref(), row.id, Trust::Snapshot).await.unwrap();
    assert_eq!(full.proof.digest, quick.proof.digest);
    let session = full.session;
    assert!(session.replay.as_ref().map_or(0, |replay| replay.performed) >= told, "what was told is in the log");
    let events = log(&store, row.id).await;
    let intents: Vec<&Recorded> = events.iter().filter(|event| event.kind.as_str() == "action.run").collect();
    assert!(intents.iter().filter(|intent| outcomes(&events, intent) == 0).count() <= 1, "at most one action is in flight");
    assert!(intents.iter().all(|intent| outcomes(&events, intent) <= 1));
    assert!(written.len() <= intents.len(), "every action that ran was in the log before");
    let done = session.agent == AgentState::Finished && !session.wants_worker();
    if done {
        assert!(intents.iter().all(|intent| outcomes(&events, intent) == 1), "every action has its outcome");
        assert_eq!(intents.len(), ACTIONS);
        let unknown = session.replay.unwrap().verdicts.unknown;
        assert!(written.len() as u64 + unknown >= ACTIONS as u64, "only an unknown outcome may not have run");
    }
    store.close().await;
    (true, done)
}

fn kill_again_and_again(seed: u64) {
    let mut random = Random(seed);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut kills, mut completed) = (0, 0);
    while kills < KILLS || completed == 0 {
        let trial = Trial::new();
        let (mut there, mut done) = (false, false);
        let mut kills_here = 0;
        while !done {
            let (mut child, told, end) = trial.spawn(there);
            // Later programs of a trial live longer, so that every trial comes to its end.
            let life = random.below(LIFE_MAX.as_micros() as u64) * (1 + kills_here / 8);
            let ended = end.recv_timeout(Duration::from_micros(life)).is_ok();
            if !ended {
                child.kill().unwrap();
                kills += 1;
                kills_here += 1;
            }
            let status = child.wait().unwrap();
            assert!(!ended || status.success(), "seed {seed}: {status}");
            let _ = end.recv_timeout(Duration::from_secs(10));
            (there, done) = tokio.block_on(assert_sound(&trial, told.load(Ordering::SeqCst)));
        }
        completed += 1;
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_repeats_nothing_1() {
    kill_again_and_again(0x9E37_79B9);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_repeats_nothing_2() {
    kill_again_and_again(0x7F4A_7C15);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_repeats_nothing_3() {
    kill_again_and_again(0xBF58_476D);
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_repeats_nothing_4() {
    kill_again_and_again(0x94D0_49BB);
}
