//! `--runtime ssh:HOST` with a real server of OpenSSH: real keys, a real login, a real tunnel. It has a network of its own, as another
//! machine has, where the port that is free here is free as well; ssh reaches it by a program and not by an address.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::cli_support::{Rig, Said, wait_until};
use crate::live_support::{assert_conversation, calls, finishes, following, messages, said, words};
use crate::model_server::ModelServer;

/// Where a server of ssh is.
enum At {
    /// On a machine of its own, as far as networks go.
    AnotherMachine,
    ThisMachine,
}

/// A server that lets in who has its one key, and a program `ssh` that knows it as `box`.
struct Server {
    rig: Rig,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let said = Said::of({
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command
    });
    assert_eq!(said.code, 0, "{program} {arguments:?}: {said:?}");
    said.out.trim().to_owned()
}

impl Server {
    fn new() -> Self {
        Self::at(At::AnotherMachine)
    }

    fn at(place: At) -> Self {
        let rig = Rig::new();
        let at = |name: &str| rig.path(name).display().to_string();
        for key in ["host", "user", "other"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", &at(key)]);
        }
        fs::copy(rig.path("user.pub"), rig.path("authorized")).unwrap();
        let own = Path::new(env!("CARGO_BIN_EXE_rekindle")).parent().unwrap().display().to_string();
        // What a login finds there: this program, and a place for what it keeps.
        let environment = format!("PATH={own}:/usr/local/bin:/usr/bin:/bin XDG_DATA_HOME={} TMPDIR={}", at("there"), at("there"));
        fs::create_dir(rig.path("there")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nLogLevel VERBOSE\n\
             SetEnv {environment}\n",
            at("host"),
            at("authorized"),
        );
        rig.write("sshd_config", config);
        rig.know_host("host.pub");
        let user = run("id", &["-un"]);
        let root = nix::unistd::geteuid().is_root();
        let rights = if root { "" } else { "--map-current-user --keep-caps " };
        let sshd = format!("exec /usr/sbin/sshd -i -f {} -E {}", at("sshd_config"), at("log"));
        let serve = match place {
            At::AnotherMachine => format!("exec unshare --net {rights}sh -c 'ip link set lo up && {sshd}'"),
            At::ThisMachine => sshd,
        };
        rig.write("serve", format!("#!/bin/sh\n{serve}\n"));
        fs::set_permissions(rig.path("serve"), fs::Permissions::from_mode(0o755)).unwrap();
        rig.write(
            "ssh_config",
            format!(
                "Host box\n ProxyCommand {}\n User {user}\n IdentityFile {}\n IdentitiesOnly yes\n \
                 UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n",
                at("serve"),
                at("user"),
                at("known"),
            ),
        );
        fs::create_dir(rig.path("bin")).unwrap();
        // A person has this in `~/.ssh/config`, which ssh finds by the user's entry, whatever `HOME` says.
        let ssh = run("sh", &["-c", "command -v ssh"]);
        rig.write("bin/ssh", format!("#!/bin/sh\nexec {ssh} -F {} \"$@\"\n", at("ssh_config")));
        fs::set_permissions(rig.path("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Path::new("/usr/sbin/sshd").exists(), "openssh-server is needed");
        if root {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        Self { rig }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.rig.path("log")).unwrap_or_default()
    }

    fn live(&self, name: &str, model: &ModelServer) -> Command {
        let command = self.rig.live_as(name, model, &["--runtime", "ssh:box", "make it"]);
        self.with_ssh(command)
    }

    fn with_ssh(&self, mut command: Command) -> Command {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.rig.path("bin").display()));
        command
    }

    /// The servers of runtimes that its logins have started, by their command lines.
    fn started(&self) -> Vec<String> {
        let there = self.rig.path("there").display().to_string();
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let read = |name: &str| fs::read(process.path().join(name)).map(|text| String::from_utf8_lossy(&text).into_owned());
            let (Ok(line), Ok(environment)) = (read("cmdline"), read("environ")) else { continue };
            if line.contains("runtime-server") && environment.contains(&there) {
                found.push(line.replace('\0', " "));
            }
        }
        found
    }
}

impl Rig {
    /// Has the server known by this key.
    fn know_host(&self, key: &str) {
        let key = fs::read_to_string(self.path(key)).unwrap();
        self.write("known", format!("box {key}"));
    }
}

/// Every file of this name below `directory`.
fn named(directory: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(named(&entry.path(), name));
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_works_behind_a_real_ssh_server_and_leaves_nothing_running_there() {
    let server = Server::new();
    let model = following(vec![
        calls(1, "bash", &json!({ "command": "echo 'there $HOME' > made; cat made; env | grep -c REKINDLE_RUNTIME_KEY" })),
        finishes(2, "made"),
    ])
    .await;
    let done = said(server.live("live", &model)).await;
    assert_eq!(done.code, 0, "{done:?}\n{}", server.log());
    let requests = model.received();
    requests.iter().for_each(assert_conversation);
    let result = messages(&requests[1]).iter().find(|message| message["role"] == "tool").map(words).unwrap();
    assert!(result.starts_with("there $HOME\n0"), "{result}");
    assert!(server.log().contains("Accepted publickey"), "{}", server.log());
    let made = named(&server.rig.path("there"), "made");
    assert_eq!(made.len(), 1, "it is made there");
    assert!(!server.rig.path("work/made").exists(), "and not here");
    wait_until("its server ends", || server.started().is_empty());
    let closed = said(server.with_ssh(server.rig.command(&["close", "live"]))).await;
    assert_eq!(closed.code, 0, "{closed:?}");
    wait_until("its server ends", || server.started().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_works_behind_the_ssh_server_of_the_machine_that_it_is_on() {
    let server = Server::at(At::ThisMachine);
    let model = following(vec![calls(1, "bash", &json!({ "command": "echo there > made" })), finishes(2, "made")]).await;
    let done = said(server.live("live", &model)).await;
    assert_eq!(done.code, 0, "{done:?}\n{}", server.log());
    assert_eq!(named(&server.rig.path("there"), "made").len(), 1, "it is made in the workspace of the server");
    let closed = said(server.with_ssh(server.rig.command(&["close", "live"]))).await;
    assert_eq!(closed.code, 0, "{closed:?}");
    wait_until("its server ends", || server.started().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_of_the_engine_ends_what_runs_behind_the_ssh_server_and_a_resume_goes_on() {
    let server = Server::new();
    let model = following(vec![
        calls(1, "bash", &json!({ "command": "echo begun >> begun; sleep 1000", "timeout": 500 })),
        calls(2, "bash", &json!({ "command": "wc -l < begun" })),
        finishes(3, "done"),
    ])
    .await;
    let mut running = server.live("live", &model).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it has begun", || !named(&server.rig.path("there"), "begun").is_empty());
    running.kill().unwrap();
    running.wait().unwrap();
    let mut told = String::new();
    running.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let done = said(server.with_ssh(server.rig.command(&["resume", "live"]))).await;
    assert_eq!(done.code, 0, "{done:?}\n{told}\n{}", server.log());
    model.received().iter().for_each(assert_conversation);
    let begun = named(&server.rig.path("there"), "begun");
    assert_eq!(begun.iter().map(|path| fs::read_to_string(path).unwrap()).collect::<String>(), "begun\n", "it ran once");
    let closed = said(server.with_ssh(server.rig.command(&["close", "live"]))).await;
    assert_eq!(closed.code, 0, "{closed:?}");
    wait_until("its servers end", || server.started().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_another_one_or_does_not_let_in_is_told_in_its_own_words() {
    let server = Server::new();
    let model = following(Vec::new()).await;
    fs::copy(server.rig.path("other.pub"), server.rig.path("authorized")).unwrap();
    let refused = said(server.live("refused", &model)).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("Permission denied (publickey)"), "{refused:?}");
    server.rig.know_host("other.pub");
    let another = said(server.live("another", &model)).await;
    assert_eq!(another.code, 1, "{another:?}");
    assert!(another.out.contains("Host key verification failed"), "{another:?}");
    assert!(model.received().is_empty() && server.started().is_empty());
}
