//! A launcher starts a runtime server and ends it in any case; what goes wrong with it is told, and nothing is left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle::engine::ports::{Provision, Provisioned, RuntimeError, Runtimes};
use rekindle::host::runtime::HostRuntimes;
use rekindle::host::runtime::command::{launched, preset};
use rekindle::session::{Digest, Epoch, Launcher, RuntimeSpec, Seq, SessionId};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cli_support::Rig;
use crate::remote_support::{keyed, local, until, with_argument};
use crate::runtime_support::told;

/// A directory that stands in all arguments, so that what is left is seen.
struct Stage {
    folder: TempDir,
    request: Provision,
}

fn launcher(words: &[&str]) -> Launcher {
    Launcher { command: words.iter().map(|word| (*word).to_owned()).collect(), stop: Vec::new(), image: None, url: None }
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = SessionId::from_uuid(Uuid::new_v4());
        let workspace = folder.path().join("workspace with space");
        let request = Provision::new(session, Digest([9; 32]), format!("{session}-runtime-1"), Epoch(1), workspace);
        Self { folder, request: Provision { version: Seq(3), within: Duration::from_secs(50), ..request } }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The plain launcher: this program's own server.
    fn plain(&self) -> Launcher {
        let (program, state) = (env!("CARGO_BIN_EXE_rekindle"), self.path("state"));
        let listen = ["runtime-server", "--listen", "127.0.0.1:{port}", "--workspace", "{workspace}"];
        launcher(&[&[program], &listen[..], &["--state", &state, "--unsafe-local", "--once"]].concat())
    }

    fn asks(&self, launcher: Launcher) -> Provision {
        Provision { runtime: RuntimeSpec::Command(launcher), ..self.request.clone() }
    }

    async fn fails(&self, launcher: Launcher, within: Duration) -> String {
        let request = Provision { within, ..self.asks(launcher) };
        let error = runtimes().provision(request).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, RuntimeError::Unavailable(_)), "{error:?}");
        self.assert_clean();
        error.to_string()
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!(with_argument(&self.path("")), [] as [String; 0]);
        let left = launched().unwrap().into_iter().filter(|launched| launched.session == self.request.session);
        assert_eq!(left.count(), 0, "it is still on record");
    }

    /// A program of this name that is the shell script `text`.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join("bin").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn runtimes() -> HostRuntimes {
    HostRuntimes::new(local())
}

async fn provision(request: Provision) -> Provisioned {
    runtimes().provision(request).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_launched_runs_the_session_and_ends_with_it() {
    let stage = Stage::new();
    let made = provision(stage.asks(stage.plain())).await;
    assert_eq!(made.report.runtime, "command");
    assert_eq!(told(&keyed(&made, 5, 1, "echo hello > a; (setsid sleep 1000 &); cat a").await.unwrap()).1, "hello");
    assert_eq!(std::fs::read_to_string(stage.request.workspace.join("a")).unwrap(), "hello\n");
    assert!(!with_argument(&stage.path("")).is_empty());
    made.runtime.release().await.unwrap();
    made.runtime.release().await.unwrap();
    stage.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_ends_too() {
    let stage = Stage::new();
    drop(provision(stage.asks(stage.plain())).await);
    until("its processes end", || with_argument(&stage.path("")).is_empty()).await;
    until("it is off the record", || !launched().unwrap().iter().any(|left| left.session == stage.request.session)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing() {
    let stage = Stage::new();
    let request = stage.asks(launcher(&["sh", "-c", "sleep 1000; exit 1", &stage.path("x")]));
    let given_up = tokio::time::timeout(Duration::from_millis(600), runtimes().provision(request)).await;
    assert!(given_up.is_err());
    until("its processes end", || with_argument(&stage.path("")).is_empty()).await;
    until("it is off the record", || !launched().unwrap().iter().any(|left| left.session == stage.request.session)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_hangs_or_prints_garbage_is_told_and_ended() {
    let stage = Stage::new();
    let here = stage.path("x");
    let began = Instant::now();
    let dies = launcher(&["sh", "-c", "echo 'no such image: \"x\"' >&2; exit 3", &here]);
    let error = stage.fails(dies, Duration::from_secs(50)).await;
    assert!(error.contains("exit status: 3") && error.contains("no such image"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20), "a death is seen at once");
    let hangs = launcher(&["sh", "-c", "trap '' TERM; while :; do sleep 1; done", &here]);
    let error = stage.fails(hangs, Duration::from_secs(4)).await;
    assert!(error.contains("did not answer at http://127.0.0.1:") && error.contains("it wrote nothing"), "{error}");
    let garbage = launcher(&["sh", "-c", "while :; do head -c 100000 /dev/urandom; done", &here]);
    let error = stage.fails(garbage, Duration::from_secs(4)).await;
    assert!(error.len() < 6000 && !error.chars().any(char::is_control), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_launched_is_named() {
    let stage = Stage::new();
    let error = stage.fails(launcher(&["no-such-program-here"]), Duration::from_secs(5)).await;
    assert!(error.contains("there is no program no-such-program-here"), "{error}");
    let error = stage.fails(launcher(&["echo", "{image}"]), Duration::from_secs(5)).await;
    assert!(error.contains("no image is named"), "{error}");
    let error = stage.fails(launcher(&[]), Duration::from_secs(5)).await;
    assert!(error.contains("no words"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_in_no_argument_and_no_error() {
    let stage = Stage::new();
    let noted = stage.path("key");
    let script = "printf %s \"$REKINDLE_RUNTIME_KEY\" > \"$1\"; echo \"key: $REKINDLE_RUNTIME_KEY\"; exit 1";
    let error = stage.fails(launcher(&["sh", "-c", script, "sh", &noted]), Duration::from_secs(20)).await;
    let key = std::fs::read_to_string(&noted).unwrap();
    assert!(key.len() >= 32 && !error.contains(&key) && error.contains("key: ***"), "{error}");
    let made = provision(stage.asks(stage.plain())).await;
    let arguments = with_argument(&stage.path("")).join(" ");
    assert!(arguments.contains("runtime-server") && !arguments.to_lowercase().contains("key"), "{arguments}");
    // Commands do not see it either.
    let seen = keyed(&made, 5, 1, "env | grep -c REKINDLE_RUNTIME_KEY").await.unwrap();
    assert_eq!(told(&seen).1, "0");
    made.runtime.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_in_its_place_is_not_told_the_key() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::new();
    let impostor = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", impostor.local_addr().unwrap());
    let heard = Arc::new(std::sync::Mutex::new(String::new()));
    let hearing = Arc::clone(&heard);
    let listening = tokio::spawn(async move {
        loop {
            let (mut stream, _) = impostor.accept().await.unwrap();
            let mut bytes = vec![0; 65536];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            hearing.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            let body = r#"{"status":"ok","proof":"00"}"#;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let sleeps = Launcher { url: Some(url), ..launcher(&["sleep", "1000"]) };
    stage.fails(sleeps, Duration::from_secs(4)).await;
    listening.abort();
    let heard = heard.lock().unwrap();
    assert!(heard.contains("GET /alive?challenge="), "{heard}");
    assert!(!heard.contains("x-session-api-key"), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_leaves_its_server_behind_is_followed_and_ended() {
    let stage = Stage::new();
    let plain = stage.plain();
    let mut words = vec!["sh".to_owned(), "-c".to_owned(), "setsid \"$@\" & exit 0".to_owned(), "sh".to_owned()];
    words.extend(plain.command);
    let noted = stage.path("stopped");
    let stop = ["sh", "-c", "echo \"$2\" >> \"$1\"; exit 1", "sh", &noted, "{session}"].map(str::to_owned).to_vec();
    let made = provision(stage.asks(Launcher { command: words, stop, image: None, url: None })).await;
    assert_eq!(told(&keyed(&made, 5, 1, "echo on").await.unwrap()).1, "on");
    made.runtime.release().await.unwrap();
    stage.assert_clean();
    assert_eq!(std::fs::read_to_string(noted).unwrap(), format!("{}\n", stage.request.session));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_owner_finds_it_and_an_earlier_one_cannot_end_it() {
    let stage = Stage::new();
    let request = stage.asks(stage.plain());
    let first = provision(request.clone()).await;
    keyed(&first, 5, 1, "export A=kept").await.unwrap();
    let second = provision(Provision { epoch: Epoch(2), version: Seq(9), ..request.clone() }).await;
    first.runtime.release().await.unwrap();
    drop(first);
    let error = runtimes().provision(request).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("epoch 1 was taken over by epoch 2"), "{error}");
    assert_eq!(told(&keyed(&second, 7, 1, "echo $A").await.unwrap()).1, "kept");
    second.runtime.release().await.unwrap();
    stage.assert_clean();
}

/// Runs the preset `name` with a program of that name that does what the real one would, as far as the server is concerned.
async fn through_preset(name: &str, script: &str) {
    let stage = Stage::new();
    let program = Path::new(env!("CARGO_BIN_EXE_rekindle"));
    stage.script(name, &format!("log={}\necho \"$*\" >> \"$log\"\n{script}", stage.path("log")));
    let (bin, own) = (stage.path("bin"), program.parent().unwrap().display());
    let path = format!("PATH={bin}:{own}:{}", std::env::var("PATH").unwrap());
    let home = format!("XDG_DATA_HOME={}", stage.path("home"));
    let known = preset(name, "example/image").unwrap();
    let through = |words: Vec<String>| ["env", &path, &home].into_iter().map(str::to_owned).chain(words).collect();
    let made = provision(stage.asks(Launcher { command: through(known.command), stop: through(known.stop), ..known })).await;
    assert_eq!(told(&keyed(&made, 5, 1, "echo on").await.unwrap()).1, "on");
    made.runtime.release().await.unwrap();
    stage.assert_clean();
    let log = std::fs::read_to_string(stage.path("log")).unwrap();
    assert!(log.contains("example/image"), "{log}");
    let session = stage.request.session.to_string();
    assert!(name == "ssh" || log.contains(&format!("rekindle-{session}")), "{log}");
    let last = log.lines().last().unwrap();
    assert!(name == "ssh" || last.contains("rm --force") || last.contains("delete pod"), "it is ended by its own words: {last}");
}

/// What a container would do: the port that is published is the one inside.
const CONTAINER: &str = "[ \"$1\" = run ] || exit 0
[ -n \"$REKINDLE_RUNTIME_KEY\" ] || exit 9
for word; do case $word in 127.0.0.1:*:3000) port=${word#127.0.0.1:}; port=${port%:3000};; *:/workspace) work=${word%:/workspace};; esac; done
exec rekindle runtime-server --listen 127.0.0.1:$port --workspace \"$work\" --state \"$work/.state\" --unsafe-local --once </dev/null";

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_preset_starts_and_ends_a_container() {
    through_preset("docker", CONTAINER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_podman_preset_starts_and_ends_a_container() {
    through_preset("podman", CONTAINER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ssh_preset_tells_the_key_through_standard_input() {
    let script = "unset REKINDLE_RUNTIME_KEY
while [ \"$1\" != -- ]; do shift; done
shift 2
# What stands in for ssh forwards nothing, so the server has to be where the tunnel would begin.
exec sh -c \"exec $(echo \"$*\" | sed s/127.0.0.2/127.0.0.1/) --unsafe-local\"";
    through_preset("ssh", script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubectl_preset_starts_and_ends_a_pod() {
    let script = "unset REKINDLE_RUNTIME_KEY
dir=${log%/log}
case $1 in
run)
    while [ \"$1\" != -- ]; do shift; done
    while [ ! -e \"$dir/port\" ]; do sleep 0.01; done
    port=$(cat \"$dir/port\")
    exec rekindle runtime-server --listen 127.0.0.1:$port --key-file - --state \"$dir/state\" --workspace \"$dir/w\" --unsafe-local --once;;
wait) ;;
port-forward) echo \"${3%:3000}\" > \"$dir/new\"; mv \"$dir/new\" \"$dir/port\"; exec sleep 1000;;
esac";
    through_preset("kubectl", script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_an_engine_that_was_killed_has_launched_and_ends_it() {
    let stage = Stage::new();
    let rig = Rig::new();
    let id = {
        use rekindle::engine::Engine;
        use rekindle::engine::clock::SystemClock;
        use rekindle::engine::ports::Ports;
        use rekindle::session::{Origin, SessionSpec};
        use rekindle::store::{OpenOptions, connect};
        std::fs::create_dir_all(rig.store().parent().unwrap()).unwrap();
        let store = connect(&format!("sqlite://{}", rig.store().display()), OpenOptions::default()).await.unwrap();
        let ports = Ports::new(Arc::new(NeverThere), rekindle::trajectory::recording);
        let engine = Engine::new(Arc::clone(&store), ports, Arc::new(SystemClock));
        let id = engine.new_session_id();
        let spec = SessionSpec::new(Origin::fresh(None), stage.request.workspace.clone());
        engine.create(id, None, SessionSpec { runtime: RuntimeSpec::Command(stage.plain()), ..spec }).await.unwrap();
        engine.drain().await;
        store.close().await;
        id.to_string()
    };
    let said = std::fs::File::create(rig.path("said")).unwrap();
    let mut serve = rig.command(&["serve"]).stderr(said).spawn().unwrap();
    until("it is launched", || std::fs::read_to_string(rig.path("said")).unwrap().contains("rests")).await;
    let found = |rig: &Rig, args: &[&str]| -> Vec<String> {
        let findings: serde_json::Value = rig.json(args);
        let findings = findings.as_array().unwrap().iter().filter(|finding| finding["check"] == "launched");
        findings.map(|finding| format!("{} {} {}", finding["state"], finding["found"], finding["advice"])).collect()
    };
    assert!(found(&rig, &["doctor", "-o", "json"])[0].contains("well"));
    serve.kill().unwrap();
    serve.wait().unwrap();
    let told = found(&rig, &["doctor", "-o", "json"]);
    assert!(told[0].contains("warn") && told[0].contains(&id) && told[0].contains("--sweep"), "{told:?}");
    assert!(!with_argument(&stage.path("state")).is_empty());
    found(&rig, &["doctor", "--sweep", "-o", "json"]);
    assert_eq!(with_argument(&stage.path("state")), [] as [String; 0]);
    assert_eq!(found(&rig, &["doctor", "-o", "json"]), [] as [String; 0]);
}

/// Makes no runtime, ever.
struct NeverThere;

#[async_trait::async_trait]
impl Runtimes for NeverThere {
    async fn provision(&self, _: Provision) -> Result<Provisioned, RuntimeError> {
        std::future::pending().await
    }
}
