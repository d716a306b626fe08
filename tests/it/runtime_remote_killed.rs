//! The real programs, killed with SIGKILL in the middle of remote commands: each command runs once, and what came of it is known.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle::session::{Launcher, RuntimeSpec, SessionId};
use rekindle::store::{OpenOptions, connect};
use tempfile::TempDir;

use crate::cli_support::wait_until;
use crate::kill_anywhere::Random;
use crate::node_support::{assert_ended, due, journal, prepare_in, sqlite_url};
use crate::remote_support::with_argument;

const ACTIONS: usize = 10;
/// The longest that a program lives before it is killed.
const LIFE_MAX: Duration = Duration::from_millis(1500);

struct Trial {
    folder: TempDir,
    url: String,
    session: SessionId,
    workspace: PathBuf,
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Trial {
    async fn new(runtime: impl Fn(&Path) -> RuntimeSpec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(folder.path());
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let made = prepare_in(&url, folder.path(), 1, ACTIONS, "0.05", &runtime(folder.path())).await;
        let (session, workspace) = made.into_iter().next().unwrap();
        Self { folder, url, session, workspace }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn engine(&self) -> Child {
        let session = self.session.to_string();
        program().args(["--store", &self.url, "resume", &session]).env("XDG_RUNTIME_DIR", self.run()).spawn().unwrap()
    }

    fn server(&self, port: u16) -> Child {
        let mut command = program();
        command.args(["runtime-server", "--unsafe-local", "--listen", &format!("127.0.0.1:{port}"), "--state"]);
        command.arg(self.folder.path().join("state")).arg("--workspace").arg(&self.workspace);
        command.env("XDG_RUNTIME_DIR", self.run()).env_remove("REKINDLE_RUNTIME_KEY").env_remove("SESSION_API_KEY");
        let child = command.spawn().unwrap();
        wait_until("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        child
    }

    async fn due(&self) -> bool {
        let store = connect(&self.url, OpenOptions::default()).await.unwrap();
        let due = due(&store).await > 0;
        store.close().await;
        due
    }

    /// Runs the session to its end, and kills its engine again and again meanwhile. Returns how often.
    async fn kill_engines(&self, random: &mut Random) -> u64 {
        let mut kills = 0;
        loop {
            let mut engine = self.engine();
            let life = random.below(LIFE_MAX.as_micros() as u64) * (1 + kills / 6);
            tokio::time::sleep(Duration::from_micros(life)).await;
            match engine.try_wait().unwrap() {
                Some(status) => assert!(status.success(), "{status}"),
                None => {
                    engine.kill().unwrap();
                    kills += 1;
                }
            }
            engine.wait().unwrap();
            journal(&self.workspace);
            if !self.due().await {
                return kills;
            }
        }
    }

    /// The session is at its end. Returns how many outcomes are unknown.
    async fn assert_ended(&self) -> u64 {
        let store = connect(&self.url, OpenOptions::default()).await.unwrap();
        let unknown = assert_ended(&store, self.session, &self.workspace, ACTIONS).await;
        store.close().await;
        unknown
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_learns_what_came_of_the_one_and_only_run() {
    let mut random = Random(0x51_7c_c1_b7);
    let mut kills = 0;
    while kills < 25 {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let trial = Trial::new(|_| RuntimeSpec::Remote { url: url.clone(), key: None }).await;
        let mut server = trial.server(port);
        kills += trial.kill_engines(&mut random).await;
        assert_eq!(trial.assert_ended().await, 0, "an outcome is unknown though the server knows it");
        assert_eq!(journal(&trial.workspace).len(), ACTIONS);
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_repeats_nothing_and_the_session_goes_on() {
    let mut random = Random(0x2545_f491);
    for _ in 0..3 {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let trial = Trial::new(|_| RuntimeSpec::Remote { url: url.clone(), key: None }).await;
        let mut server = trial.server(port);
        let mut engine = trial.engine();
        let mut kills = 0;
        while engine.try_wait().unwrap().is_none() {
            let before = journal(&trial.workspace).len();
            wait_until("it goes on", || journal(&trial.workspace).len() > before || engine.try_wait().unwrap().is_some());
            if kills < 4 && engine.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_micros(random.below(60_000))).await;
                server.kill().unwrap();
                server.wait().unwrap();
                server = trial.server(port);
                kills += 1;
            }
        }
        assert!(kills > 0 && engine.wait().unwrap().success());
        assert!(trial.assert_ended().await <= kills, "only what ran when the server was killed is unknown");
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launched_runtime_is_found_again_by_the_engine_after_the_one_that_was_killed() {
    let mut random = Random(0x9e37_79b9);
    let mut kills = 0;
    while kills < 15 {
        let trial = Trial::new(|folder| {
            let state = folder.join("state").display().to_string();
            let words = [
                "{program}",
                "runtime-server",
                "--listen",
                "127.0.0.1:{port}",
                "--workspace",
                "{workspace}",
                "--state",
                &state,
                "--unsafe-local",
                "--once",
            ];
            let command = words.map(str::to_owned).to_vec();
            RuntimeSpec::Command(Launcher { command, stop: Vec::new(), image: None, url: None })
        })
        .await;
        kills += trial.kill_engines(&mut random).await;
        assert_eq!(trial.assert_ended().await, 0, "an outcome is unknown though the server knows it");
        assert_eq!(journal(&trial.workspace).len(), ACTIONS);
        // The last engine may have been killed just after the end; whoever closes the session finds what it left.
        let mut close = program();
        close.args(["--store", &trial.url, "close", &trial.session.to_string()]).env("XDG_RUNTIME_DIR", trial.run());
        assert!(close.status().unwrap().success());
        let sweep = program().args(["--store", &trial.url, "doctor", "--sweep"]).env("XDG_RUNTIME_DIR", trial.run()).status();
        assert!(sweep.unwrap().success());
        let folder = trial.folder.path().display().to_string();
        assert_eq!(with_argument(&folder), [] as [String; 0]);
        let left: Vec<_> = std::fs::read_dir(trial.run().join("rekindle/launched")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
